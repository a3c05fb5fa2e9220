"""A stored job: its record, and the methods that act on its row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Protocol, Self, TypeVar

from jobqueue.ends import EndReporter, usual_ends
from jobqueue.errors import (
    ConfigurationError,
    JobFailed,
    JobNotFound,
    StateConflict,
)
from jobqueue.json_text import progress_text
from jobqueue.records import (
    FINISHED_STATES,
    RETRIABLE_STATES,
    FlowControl,
    JobFilter,
    JobRecord,
    JobState,
    NewJob,
)
from jobqueue.redaction import summary_of
from jobqueue.registry import registry
from jobqueue.retry import as_seconds

J = TypeVar("J", bound="StoredJob")

CANCEL_REASON = "cancelled by the application"
DELETE_REASON = "deleted by the application"
FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 1.0


class Keeper(Protocol):
    """The methods of an adapter by which a `StoredJob` reads and changes its row."""

    def get(self, job_id: int) -> StoredJob | None:
        """One job, or None when there is no row of that id."""
        ...

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        """End a job that has not started, or ask for the end of a running one."""
        ...

    def retry(self, where: JobFilter) -> int:
        """Make waiting, failed and cancelled jobs due now; return how many."""
        ...

    def delete_each(self, where: JobFilter) -> list[StoredJob]:
        """Remove the rows of jobs that are not running; return them as they were."""
        ...

    def change_args(
        self, job_id: int, change: Callable[[StoredJob], str], *, retry: bool = False
    ) -> bool:
        """Give a job the arguments that `change` returns for it; return whether there was one."""
        ...

    def update_args(self, job_id: int, args: str) -> bool:
        """Give a ready, failed or cancelled job other arguments; return whether there was one."""
        ...

    def set_progress(self, job_id: int, progress: str) -> bool:
        """Store the progress of a ready or running job; return whether there was one."""
        ...


class StoredJob(JobRecord):
    """A job as its row was when it was read, with methods that act on the row as it is now.

    They do not rely on this copy: the statement that changes a row checks its state. `refresh`
    reads the row once more.
    """

    __slots__ = ("_was_there", "adapter", "ends")

    adapter: Keeper
    """Where it is kept."""
    ends: EndReporter
    """Tells of its end when this record ends it; unset where the configured log and hooks do."""

    @classmethod
    def of_new(cls, job: NewJob, job_id: int, run_at: datetime, created_at: datetime) -> StoredJob:
        """The record of a job as it has just been stored."""
        control = job.flow_control
        return cls(
            id=job_id,
            handler=job.handler,
            args=json.loads(job.args),
            queue=job.queue,
            priority=job.priority,
            state=_first_state(control),
            attempts=0,
            max_attempts=job.max_attempts,
            run_at=run_at,
            created_at=created_at,
            updated_at=created_at,
            meta=None if job.meta is None else json.loads(job.meta),
            **({} if control is None else _controlled(control, run_at)),
        )

    @property
    def is_duplicate(self) -> bool:
        """Whether the call that returned it stored nothing, since this job was there before."""
        return getattr(self, "_was_there", False)

    def as_duplicate(self) -> Self:
        """This record, as that of a job that was there before."""
        self._was_there = True
        return self

    def refresh(self) -> StoredJob:
        """The job as its row is now.

        Raises:
            JobNotFound: its row is gone: it is done and was not kept, or it was deleted.
        """
        found = self._found(self._kept_by().get(self.id))
        if hasattr(self, "ends"):
            found.ends = self.ends
        return found

    def cancel(self, reason: str = CANCEL_REASON) -> JobState:
        """End the job before it runs, or, if it runs already, ask it to end.

        A running one learns of it within two seconds: an async job is cancelled, a sync one sees
        `self.context.cancelled`, and gets `JobCancelled` if its class has `interrupt_on_cancel`.
        It then ends cancelled, and is not tried again.

        Args:
            reason: what becomes its `last_error`.

        Returns:
            Its state now: cancelled, or still running.

        Raises:
            StateConflict: it has ended already.
            JobNotFound: its row is gone.
        """
        job = self._kept_by().request_cancel(self.id, reason)
        if job is None:
            raise self._conflict("a job that has ended cannot be cancelled")
        if job.state is JobState.CANCELLED:
            self._ends().report([job])
        return job.state

    def retry(self, *, args: Mapping[str, Any] | None = None) -> None:
        """Make the job due now, if it waits, has failed or was cancelled.

        A job whose attempts are used up is allowed one more.

        Args:
            args: arguments that it gets instead of those of the same names, by the names of the
                parameters of `perform`; in the same transaction.

        Raises:
            InvalidArguments: they do not fit its `perform`; nothing is changed.
            StateConflict: it is running, or has succeeded.
            JobNotFound: its row is gone.
        """

        def merged(job: StoredJob) -> str:
            return registry.encode_args({**job.args, **(args or {})}, job.handler)

        if args is None:
            is_retried = bool(self._kept_by().retry(JobFilter(ids=(self.id,))))
        else:
            is_retried = self._kept_by().change_args(self.id, merged, retry=True)
        if not is_retried:
            raise self._retry_conflict()

    def _retry_conflict(self) -> StateConflict:
        job = self._found(self._kept_by().get(self.id))
        if job.state in RETRIABLE_STATES and (job.unique_key or job.waiting_key):
            return StateConflict(
                f"job {self.id} is {job.state}, and another one with the same key is on its way, "
                "as a call of it would be a duplicate now; retry this one when that has ended, or "
                "cancel that"
            )
        return self._conflict(
            "a running job can be retried when it has ended (or, if its worker is gone, when "
            "that worker's lease has), and a succeeded one not at all: enqueue it anew"
        )

    def delete(self, reason: str = DELETE_REASON) -> None:
        """Remove the job's row for good, unless the job is running.

        Args:
            reason: what the log and the hooks are told, if it had not ended.

        Raises:
            StateConflict: it is running.
            JobNotFound: its row is gone already.
        """
        deleted = self._kept_by().delete_each(JobFilter(ids=(self.id,)))
        if not deleted:
            raise self._conflict("a running job cannot be deleted; cancel it first")
        self._ends().report_deleted(deleted, reason)

    def update(self, *, args: Mapping[str, Any]) -> None:
        """Give the job other arguments: all of them, by the names of the parameters of `perform`.

        Raises:
            InvalidArguments: they do not fit its `perform`.
            StateConflict: it is running, or has succeeded.
            JobNotFound: its row is gone.
        """
        text = registry.encode_args(args, self.handler)
        if not self._kept_by().update_args(self.id, text):
            raise self._conflict("a running or succeeded job cannot be changed any more")

    def set_progress(self, value: Any, message: str | None = None) -> None:
        """Store a progress at once, from outside of the job; `Job.progress` does so from inside.

        Args:
            value: any JSON value, such as "started", or a fraction from 0 to 1.
            message: what is going on; it and the value are stored as an object then.

        Raises:
            InvalidArguments: JSON cannot carry them.
            StateConflict: it has ended.
            JobNotFound: its row is gone.
        """
        if not self._kept_by().set_progress(self.id, progress_text(value, message)):
            raise self._conflict("only of a job that waits or runs can the progress be set")

    def wait(self, timeout: timedelta | float | None = None) -> Any:
        """Wait until the job has ended, and return its result: what `perform` returned, as JSON.

        There is a result where the class has `keep_result`. Without one, and for a job whose row
        is gone (it is done and was not kept, or its transaction has not been committed), it
        returns None.

        Args:
            timeout: how long to wait at most, as a `timedelta` or seconds; None for ever.

        Raises:
            JobFailed: it ended failed or cancelled.
            TimeoutError: it has not ended in that time.
        """
        for pause in self._looks(timeout):
            now = self._kept_by().get(self.id)
            if _has_ended(now):
                return _result_of(now)
            time.sleep(pause)
        raise self._not_in_time(timeout)

    async def wait_async(self, timeout: timedelta | float | None = None) -> Any:  # noqa: ASYNC109 - as `wait`
        """Wait like `wait`, without blocking the event loop."""
        import asyncio

        for pause in self._looks(timeout):
            now = await asyncio.to_thread(self._kept_by().get, self.id)
            if _has_ended(now):
                return _result_of(now)
            await asyncio.sleep(pause)
        raise self._not_in_time(timeout)

    def _looks(self, timeout: timedelta | float | None) -> Iterator[float]:
        """The pauses after each look at the row; the last look is when the time is up."""
        deadline = None if timeout is None else time.monotonic() + as_seconds(timeout)
        pause = FIRST_LOOK_SECONDS
        while deadline is None or (left := deadline - time.monotonic()) > 0:
            yield pause if deadline is None else min(pause, left)
            pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)
        yield 0.0

    def _not_in_time(self, timeout: timedelta | float | None) -> TimeoutError:
        seconds = as_seconds(timeout or 0)
        return TimeoutError(
            f"job {self.id} has not ended within {seconds:g} s; it goes on, and can be waited for "
            "again"
        )

    def _ends(self) -> EndReporter:
        return getattr(self, "ends", None) or usual_ends()

    def _kept_by(self) -> Keeper:
        adapter: Keeper | None = getattr(self, "adapter", None)
        if adapter is None:
            raise ConfigurationError(
                f"it is not known where job {self.id} is kept: this is a copy of its record; use "
                f"jobqueue.get({self.id})"
            )
        return adapter

    def _found(self, record: StoredJob | None) -> StoredJob:
        if record is None:
            raise not_found(self.id)
        return record

    def _conflict(self, why: str) -> StateConflict:
        state = self._found(self._kept_by().get(self.id)).state
        already = " already" if state in FINISHED_STATES else ""
        return StateConflict(f"job {self.id} is {state}{already}; {why}")

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """Pickle the record alone: another process has no use for the adapter of this one."""
        return None, {field.name: getattr(self, field.name) for field in fields(self)}


def kept_by(adapter: Keeper, records: Iterable[J]) -> list[J]:
    """The same records, which now act on their rows through this adapter."""
    known = list(records)
    for record in known:
        record.adapter = adapter
    return known


def not_found(job_id: int) -> JobNotFound:
    """The error for a job that is not there."""
    return JobNotFound(
        f"there is no job {job_id}: it never was, or it is done and was not kept; "
        "`jobqueue list` shows those that are there"
    )


def _has_ended(record: StoredJob | None) -> bool:
    return record is None or record.state in FINISHED_STATES


def _result_of(record: StoredJob | None) -> Any:
    if record is None:
        return None
    if record.state is JobState.SUCCEEDED:
        return record.result
    raise JobFailed(f"job {record.id} ({record.handler}) {_ended(record)}")


def _ended(record: StoredJob) -> str:
    how = "failed" if record.state is JobState.FAILED else "was cancelled"
    return f"{how}: {summary_of(record.last_error)}" if record.last_error else how


def _controlled(control: FlowControl, run_at: datetime) -> dict[str, Any]:
    """The fields of a new job's record that its flow control sets."""
    expires_in = control.expires_in
    return {
        "line": control.line,
        "terms": control.terms,
        "expires_at": None if expires_in is None else run_at + expires_in,
        "unique_key": control.unique_key,
        "waiting_key": control.waiting_key,
        "flow_id": control.flow_id,
        "flow_place": control.flow_place,
    }


def _first_state(control: FlowControl | None) -> JobState:
    if control is None or control.line is None:
        return JobState.READY
    return JobState.BLOCKED if control.is_blocked else JobState.GATED
