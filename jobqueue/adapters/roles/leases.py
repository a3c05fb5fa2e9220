"""Workers, their heartbeats, and the jobs of workers that are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from jobqueue.records import CrashedJob, NewWorker, Rescue, WorkerRecord

ASKED, LEASE_ENDED, PROCESS_DIED = "it was asked to", "its lease ended", "its process died"
"""The reasons for which workers end, where nobody knows a better one."""


class LeasesRole(Protocol):
    """The role that keeps workers, and frees the jobs of those that are gone.

    Whatever frees jobs passes over rows that somebody else keeps locked, and says so in the
    `Rescue`. The rest is freed when the same method is called again.
    """

    def register_worker(self, worker: NewWorker) -> None:
        """Announce a worker, its heartbeat beginning now."""
        ...

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        """Renew the heartbeats of workers; return those that are still registered.

        A worker whose row somebody else has locked is registered. Its heartbeat is not renewed, and
        not waited for.
        """
        ...

    def unregister_worker(self, worker_id: str, why: str = ASKED) -> Rescue:
        """Remove a worker. The jobs that it still holds become ready, with the attempt refunded.

        Jobs that somebody has cancelled end cancelled. Its end is stored, with the reason `why`,
        as by all methods here that remove a worker.
        """
        ...

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, the oldest first."""
        ...

    def is_living(self, worker: WorkerRecord) -> bool | None:  # noqa: ARG002 - others can tell
        """Whether a worker's process lives, if that can be known without its heartbeat.

        None if only the heartbeat tells, as in a database that many machines share.
        """
        return None

    def rescue(self, seen: WorkerRecord, error: str, why: str = LEASE_ENDED) -> Rescue | None:
        """Free the jobs of a worker that was found dead, unless it has given a sign of life since.

        Its jobs are due at once, the attempt spent; those without another attempt are failed with
        `error` as their `last_error`. Returns None when its heartbeat is not the one `seen`, or
        when `is_living` says that it lives. If the row of the worker is locked nothing is freed,
        since no heartbeat could have been stored; jobs that are left because they are locked are
        freed by `rescue_orphans`.
        """
        ...

    def rescue_crashed(
        self, worker_id: str, performing: Sequence[CrashedJob], why: str | None = None
    ) -> Rescue:
        """Free the jobs of a worker whose process was seen to die, and remove the worker.

        For the jobs that it was `performing` the attempt is spent, and the guilty are charged a
        crash. They become ready after their delay, or fail when their attempts are used up or
        they have crashed three times. Jobs that it had not started are refunded and due at once.
        If a reason is given and the worker has removed itself before, that one is stored for its
        end: who has seen the process end knows better. Without one, the reason of an earlier end
        stays.
        """
        ...

    def orphaned_workers(self) -> list[str]:
        """The ids in `locked_by` of running jobs that no registered worker has."""
        ...

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        """Free the jobs of a worker that is not registered, as `rescue` does; None when it is."""
        ...

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        """Give back jobs that a worker has claimed without knowing: the answer was lost.

        They become ready, with the attempt refunded. Jobs that somebody has cancelled end
        cancelled.

        Args:
            worker_id: the worker.
            held: the (id, token) pairs that the worker knows of, settled or not.
        """
        ...

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        """Note the job names that a registered worker has in its code. Others are ignored."""
        ...

    def declared_handlers(self) -> dict[str, set[str]]:
        """The job names that each registered worker has declared, by worker id."""
        ...
