"""What a database has to do to carry jobs: the interface that every adapter implements.

It works in batches throughout: many jobs are enqueued by one call, many claimed by one call and
many settled by one call. `jobqueue.testing.AdapterContract` holds an adapter to all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, Protocol

from jobqueue.adapters.settlement import (
    Pair,
    cancelled_among,
    may_be_cancelled,
    was_called_off,
)
from jobqueue.adapters.stored import StoredJob
from jobqueue.adapters.transacting import AsyncTransaction, Transaction
from jobqueue.errors import ConfigurationError
from jobqueue.outside import (
    Count,
    EnqueuedOnce,
    Health,
    Page,
    Stat,
    StatOfMinute,
    TokenRecord,
    UsedKey,
)
from jobqueue.records import (
    Claim,
    ClaimedJob,
    CrashedJob,
    JobFilter,
    JobState,
    NewJob,
    NewSchedule,
    NewWorker,
    Outcome,
    QueueDepth,
    Rescue,
    ScheduleRecord,
    SchemaStatus,
    Succeeded,
    Turn,
    Wakeup,
    WorkerRecord,
)
from jobqueue.retention import Keep

NO_TRANSACTIONS = (
    "self.transaction() needs a database to write in, and the jobs here are kept by {}; it works "
    "with sqlite:///… and postgresql://…"
)


class Listener(Protocol):
    """Hears of jobs that become due. Made by `Adapter.listen`."""

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        """What has been heard since the last call, waiting for it; None when nothing has.

        Only one thread may call this. It returns early when the listener is closed.

        Raises:
            DatabaseError: the connection is lost. Close this listener, and listen anew.
        """
        ...

    def close(self) -> None:
        """Hear no more. May be called from any thread, and more than once."""
        ...


class Adapter(Protocol):
    """A place where jobs are kept.

    Every method may be called from any thread. All of them raise `DatabaseUnavailable` when the
    database does not answer and `SchemaError` when its tables are missing, and leave the database
    as it was when they raise. Times are compared by the database's own clock.
    """

    # --- the path: enqueue, claim, settle --------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """Store jobs, all or none, and return their records in the same order.

        Args:
            jobs: what to store. They may be made, and refused, as they are read.
            session: the caller's open transaction, which the jobs become part of: they exist when
                it commits and not otherwise. Without one they are committed on return.

        Raises:
            ConfigurationError: the adapter cannot join that kind of session.
        """
        ...

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        """Store a job, unless the key was used before: then return what it made.

        Of several that use it at the same moment, one makes the job and the others get that.
        """
        ...

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """Take jobs that are due: by priority (lower first), then `run_at`, then id.

        Each becomes `running`, its attempt counted, and carries the claim's token. A job that
        another worker is taking at the same time is passed over, not waited for. Jobs of paused
        queues stay where they are.
        """
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Store what became of claimed jobs, and return the outcomes that were rejected.

        An outcome applies only while its job is still running under the token it was claimed
        with; a rejected one changes nothing. An outcome whose text the database refuses is stored
        without that text, and does not take others with it.
        """
        ...

    def turn(self, outcomes: Sequence[Outcome], claim: Claim | None) -> Turn:
        """Settle, and then claim, in one transaction where the database has them.

        It says which jobs were cancelled instead, and why; where there are no transactions, by
        reading them once more.
        """
        rejected = self.settle(outcomes) if outcomes else []
        reasons = self._reasons_of_cancelled([o for o in outcomes if o not in rejected])
        claimed = self.claim(claim) if claim is not None else []
        cancelled = cancelled_among(outcomes, reasons)
        return Turn(tuple(rejected), tuple(claimed), cancelled=cancelled)

    def _reasons_of_cancelled(self, settled: Sequence[Outcome]) -> dict[Pair, str]:
        reasons = {}
        for outcome in settled:
            record = self.get(outcome.job.id) if may_be_cancelled(outcome) else None
            if record is not None and was_called_off(record):
                reasons[outcome.job.id, outcome.job.token] = record.last_error or ""
        return reasons

    def meanwhile(self, work: Callable[[], None]) -> AbstractContextManager[None]:
        """Have something called on this thread while the database is at the turn within, or before.

        Args:
            work: what to call, once. It may use the adapter, but must not wait for the rows that
                the turn settles and claims.
        """
        work()
        return nullcontext()

    # --- the transaction of a job ----------------------------------------------------------------

    def transaction(
        self,
        sessions: Callable[[], Any] | None = None,  # noqa: ARG002 - others can
    ) -> Transaction:
        """A transaction for a job to write in, which its completion becomes part of.

        Args:
            sessions: makes the session, of this adapter's database; None for one of the adapter's.

        Raises:
            ConfigurationError: there are no transactions here, or `sessions` makes something else.
        """
        raise ConfigurationError(NO_TRANSACTIONS.format(type(self).__name__))

    def transaction_async(
        self,
        sessions: Callable[[], Any] | None = None,  # noqa: ARG002 - others can
    ) -> AsyncTransaction:
        """As `transaction`, for an async job."""
        raise ConfigurationError(NO_TRANSACTIONS.format(type(self).__name__))

    def was_committed(self, outcome: Succeeded) -> bool:
        """Whether a transaction with this outcome has been committed whose answer was lost.

        A commit that may still be under way is waited for, so that the answer is final.
        """
        record = self.get(outcome.job.id)
        return record is None or record.state is JobState.SUCCEEDED

    def is_same_database(self, other: Adapter) -> bool:
        """Whether a transaction of this adapter can take in jobs that are enqueued on another."""
        return self is other

    # --- wake-ups --------------------------------------------------------------------------------

    def listen(self, url: str | None = None) -> Listener:
        """Hear of jobs that become due now: enqueued, retried, freed, or of a resumed queue.

        Nobody relies on it: a wake-up can be lost, and jobs whose time comes later are never
        announced, so who waits also looks by itself now and then.

        Args:
            url: of a connection to listen on, where that differs from the adapter's own.

        Raises:
            DatabaseError: it cannot be listened to now, or what is said is not delivered.
        """
        ...

    def due_in(self) -> timedelta | None:
        """How long until the first ready job is due, whatever its queue; None when there is none.

        Nothing (or less) when one is due. Cheap, however many jobs wait.
        """
        ...

    # --- workers and their leases ----------------------------------------------------------------

    def register_worker(self, worker: NewWorker) -> None:
        """Announce a worker, its heartbeat beginning now."""
        ...

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        """Renew the heartbeats of workers; return those that are still registered."""
        ...

    def unregister_worker(self, worker_id: str) -> Rescue:
        """Take a worker off the list. The jobs that it still holds become ready, refunded.

        Those that somebody had cancelled end so.
        """
        ...

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, the oldest first."""
        ...

    def is_living(self, worker: WorkerRecord) -> bool | None:  # noqa: ARG002 - others can tell
        """Whether a worker's process lives, where that can be known without its heartbeat.

        None, where only the heartbeat tells: in a database that many machines share.
        """
        return None

    def rescue(self, seen: WorkerRecord, error: str) -> Rescue | None:
        """Free the jobs of a worker that was found dead, unless it has given a sign of life since.

        Its jobs are due at once, the attempt spent; those without another attempt are failed with
        `error` as their `last_error`. Returns None when its heartbeat is not the one `seen`, or
        when `is_living` says that it lives.
        """
        ...

    def rescue_crashed(self, worker_id: str, performing: Sequence[CrashedJob]) -> Rescue:
        """Free the jobs of a worker whose process was seen to die, and take it off the list.

        What it was `performing` keeps the attempt spent, and the guilty are charged a crash: they
        become ready after their delay, or are failed when their attempts are used up or they have
        crashed three times. What it had claimed and not started is refunded and due at once.
        """
        ...

    def orphaned_workers(self) -> list[str]:
        """The ids in `locked_by` of running jobs that no registered worker has."""
        ...

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        """As `rescue`, for a worker without a row; None when it has one after all."""
        ...

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        """Give back, refunded, what a worker has claimed without knowing.

        What somebody had cancelled ends so.

        Args:
            held: the (id, token) pairs that it does know of, settled or not.
        """
        ...

    # --- reads -----------------------------------------------------------------------------------

    def get(self, job_id: int) -> StoredJob | None:
        """One job, or None when there is no row of that id."""
        ...

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        """At most `limit` jobs, the newest (highest id) first."""
        ...

    def count_jobs(self, where: JobFilter) -> int:
        """How many jobs match."""
        ...

    def count_by_state(self) -> Mapping[JobState, int]:
        """How many jobs there are in each state that has any."""
        ...

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        """At most `limit` jobs, the newest first, and where the next page begins.

        Costs about the same whatever the filter and however many jobs there are. Where finding
        them would mean to look at too many rows it returns fewer.
        """
        ...

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        """How many jobs match, counting no further than `most`; as cheap as `page_jobs`."""
        ...

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        """What there is to do in each queue that has unfinished jobs or is paused, by name.

        Args:
            most: how many jobs of one priority of a queue to count at most, which makes it cheap
                however many there are; None to count them all.
        """
        ...

    def running_jobs(self, limit: int) -> list[StoredJob]:
        """At most `limit` running jobs, those that were claimed first coming first."""
        ...

    def paused_queues(self) -> set[str]:
        """The names of the queues that are paused."""
        ...

    # --- steering --------------------------------------------------------------------------------

    def retry(self, where: JobFilter) -> int:
        """Make waiting, failed and cancelled jobs due now; return how many.

        One whose attempts are used up is allowed one more. Running and succeeded jobs are left.
        """
        ...

    def cancel(self, where: JobFilter, reason: str) -> int:
        """End jobs that have not started, with `reason` as their `last_error`; return how many."""
        ...

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:
        """As `cancel`, for a few jobs at a time, whose ids are given: return them as they are now.

        Each is returned to one caller only, however many cancel it.
        """
        ...

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        """End a job that has not started, as `cancel` does, or ask for the end of a running one.

        Returns the job as it is then: cancelled or running; None when it has ended before, or is
        not there. What was asked of a running job is not forgotten when its attempt ends: where it
        would become ready again it is cancelled, with this reason as its `last_error`.
        """
        ...

    def cancel_requests(self, worker_id: str) -> Mapping[tuple[int, int], str]:
        """Why somebody wants running jobs of a worker to end, by their (id, token). Cheap."""
        ...

    def update_args(self, job_id: int, args: str) -> bool:
        """Give a ready, failed or cancelled job other arguments, the text of a JSON object.

        Returns whether there was one of that id.
        """
        ...

    def change_args(self, job_id: int, change: Callable[[StoredJob], str]) -> bool:
        """Give a ready job the arguments that `change` makes of it, with nothing in between.

        What `change` raises comes out, and nothing is changed then. Returns whether there was one
        of that id.
        """
        ...

    def set_progress(self, job_id: int, progress: str) -> bool:
        """Store the progress of a ready or running job, as JSON; return whether there was one."""
        ...

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        """Store the progress, as JSON, of claimed jobs, by (id, token), but of no lost claim."""
        ...

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        """Remove rows; return how many. Running ones stay unless they are included."""
        ...

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        """As `delete`, for a few jobs at a time, whose ids are given: return them as they were."""
        ...

    def pause_queues(self, queues: Collection[str]) -> set[str]:
        """Let nothing be claimed from queues; return those that were not paused before.

        A claim that begins after this has returned passes them over, on every machine, until
        `resume_queues`. What was claimed before is performed and settled. A queue need not have
        had a job yet.
        """
        ...

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        """Let queues be claimed from again; return those that were paused."""
        ...

    # --- retention -------------------------------------------------------------------------------

    def finished_handlers(self, state: JobState) -> list[str]:
        """The names that finished jobs in a state have. Cheap, however many jobs there are."""
        ...

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        """Remove finished jobs that need not be kept, the oldest first; return how many.

        At most `limit`, in a short transaction of its own. Rows that somebody else is locking are
        passed over, and nobody's claim waits.

        Args:
            state: of the jobs.
            handlers: all the names of one class; they count together.
            keep: what stays.
        """
        ...

    def prune_keys(self, limit: int) -> int:
        """Remove idempotency keys that have expired, at most `limit`; return how many."""
        ...

    def prune_stats(self, limit: int) -> int:
        """Remove stats that are older than a week, at most `limit`; return how many rows."""
        ...

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        """Note which classes a registered worker has in its code; nothing if it is not there."""
        ...

    def declared_handlers(self) -> dict[str, set[str]]:
        """What registered workers have declared, by their ids."""
        ...

    # --- schedules -------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time that everything here is compared by."""
        ...

    def declare_schedules(self, app: str, schedules: Sequence[NewSchedule]) -> None:
        """Store schedules as an application has them now, over what is there of the same names.

        A new one, and one with another rule, ticks from now on. Others go on from their last
        tick, and what is paused stays paused. Those of other names are left as they are.
        """
        ...

    def renew_schedules(self, app: str, names: Collection[str]) -> set[str]:
        """Note that living workers still have these; return those that are there."""
        ...

    def schedules(self, app: str | None = None) -> list[ScheduleRecord]:
        """The schedules of an application, or of all of them, by app and name."""
        ...

    def enqueue_ticks(
        self, seen: ScheduleRecord, jobs: Sequence[NewJob], last_tick: datetime
    ) -> Sequence[StoredJob] | None:
        """Enqueue the jobs of ticks and note the last of them, in one transaction.

        Returns None, and does neither, when the schedule is paused or is no longer as it was
        `seen`: another worker has enqueued these ticks, or it was changed.
        """
        ...

    def pause_schedule(self, app: str, name: str) -> bool:
        """Let a schedule enqueue nothing; return whether it is there and was not paused."""
        ...

    def resume_schedule(self, app: str, name: str) -> bool:
        """Let a paused schedule tick again, from now on; return whether there was one."""
        ...

    # --- stats, and tokens for the API -----------------------------------------------------------

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """Store what became of a worker's attempts since it did this last, about a minute ago."""
        ...

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """The stats of all workers since then, the latest minute last. Never reads jobs."""
        ...

    def store_token(self, token: TokenRecord) -> None:
        """Store a bearer token under an id that no other has."""
        ...

    def find_token(self, token_id: str) -> TokenRecord | None:
        """A token, revoked or expired ones too; None when there is none of that id."""
        ...

    def tokens(self) -> list[TokenRecord]:
        """All tokens, the oldest first."""
        ...

    def revoke_token(self, token_id: str) -> bool:
        """Let a token be of no use any more; return whether there was one that was."""
        ...

    # --- the database itself ---------------------------------------------------------------------

    def ping(self) -> None:
        """Return if the database answers and its tables are there; raise otherwise."""
        ...

    def migrate(self, revision: str = "head") -> None:
        """Create the tables, or bring them to this release's revision."""
        ...

    def downgrade(self, revision: str) -> None:
        """Take the tables back to a revision; `base` removes them and every job in them."""
        ...

    def migration_sql(self, start: str | None = None) -> str:
        """The statements that bring the tables to this release's revision, for others to run.

        Args:
            start: the revision that they are at; None where there are none.

        Raises:
            SchemaError: there is no such revision.
        """
        ...

    def schema_status(self) -> SchemaStatus:
        """What answers, and which revision of the tables it has."""
        ...

    def health(self) -> Health:
        """What of the database hurts the queue. An adapter that cannot tell need not have it."""
        return Health()

    def close_spare_connections(self) -> None:
        """Keep one connection at most of those that nobody uses just now.

        Called now and then in a process that does nothing but work. An adapter without connections
        need not have it.
        """
        return

    def close(self) -> None:
        """Give up connections and other resources. The adapter is not used afterwards."""
        ...
