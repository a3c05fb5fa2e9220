"""The control of jobs and queues by people: retry, cancel, change, delete, pause."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from jobqueue.records import UNTIL_RESUMED, JobFilter, Pause, PausedQueue
from jobqueue.stored import StoredJob


class ControlRole(Protocol):
    """The role that changes jobs, asks running ones to end, and pauses queues."""

    def retry(self, where: JobFilter) -> int:
        """Make waiting, failed and cancelled jobs due now; return how many.

        One whose attempts are used up is allowed one more. Running and succeeded jobs are left.
        """
        ...

    def cancel(self, where: JobFilter, reason: str) -> int:
        """End jobs that have not started, with `reason` as their `last_error`; return how many."""
        ...

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:
        """Cancel a few jobs, whose ids are given, as `cancel` does; return them as they are now.

        Each is returned to one caller only, however many cancel it.
        """
        ...

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        """End a job that has not started, as `cancel` does, or ask for the end of a running one.

        Returns the job as it is then, cancelled or running; None when it has ended before, or is
        not there. A running job keeps the request until its attempt ends. If it would become ready
        again, it is cancelled instead, with this reason as its `last_error`.
        """
        ...

    def cancel_requests(self, worker_id: str) -> Mapping[tuple[int, int], str]:
        """The running jobs of a worker that are to end: (id, token) to reason. Cheap."""
        ...

    def update_args(self, job_id: int, args: str) -> bool:
        """Give a ready, failed or cancelled job other arguments, the text of a JSON object.

        Returns whether there was one of that id.
        """
        ...

    def change_args(
        self, job_id: int, change: Callable[[StoredJob], str], *, retry: bool = False
    ) -> bool:
        """Give a ready job the arguments that `change` returns for it, in one transaction.

        If `change` raises, the error is passed on and nothing is changed. Returns whether there
        was such a job.

        Args:
            job_id: its id.
            change: is called with the job as it is, and returns the text of a JSON object.
            retry: make the job due now, too, as `retry` does; it may also be failed or cancelled.
        """
        ...

    def set_progress(self, job_id: int, progress: str) -> bool:
        """Store the progress of a ready or running job, as JSON; return whether there was one."""
        ...

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        """Store the progress, as JSON, of claimed jobs by (id, token). A lost claim is ignored.

        Raises:
            RowLocked: somebody keeps the rows of some of them locked; the others are stored.
        """
        ...

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        """Remove rows; return how many. Running ones stay unless they are included."""
        ...

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        """Delete a few jobs, whose ids are given, as `delete` does; return them as they were."""
        ...

    def pause_queues(self, queues: Collection[str], pause: Pause = UNTIL_RESUMED) -> set[str]:
        """Pause queues, so that nothing is claimed from them; return those that were not paused.

        Claims that begin after this has returned pass them over, on every machine, until
        `resume_queues`. Jobs that were claimed before are performed and settled. A queue need not
        have had a job yet. For one that is paused already, the newest `pause` is the one that
        holds.
        """
        ...

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        """Resume queues, so that jobs are claimed from them; return those that were paused."""
        ...

    def resume_due_queues(self) -> set[str]:
        """Resume the queues whose pause is over; return their names.

        Of several that call it at the same time, one gets each name. Cheap if there is none.
        """
        ...

    def paused_queues(self) -> set[str]:
        """The names of the queues that are paused."""
        ...

    def pauses(self) -> list[PausedQueue]:
        """The queues that are paused, ordered by name: until when, by whom and why."""
        ...
