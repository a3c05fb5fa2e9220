"""The inbox that the jobs of a test go into, to wait there or to be performed at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jobqueue.adapters import Adapter
from jobqueue.defaults import DefaultAdapter, default_configuration
from jobqueue.errors import InvalidArguments
from jobqueue.job import Job, registry
from jobqueue.records import UNFINISHED_STATES, ClaimedJob, JobFilter
from jobqueue.retry import as_timedelta
from jobqueue.stored import StoredJob
from jobqueue.testing.assertions import expectation_of, refuse_all, refuse_count
from jobqueue.testing.inbox_adapter import InboxAdapter, TravelClock

if TYPE_CHECKING:
    from jobqueue.testing.inbox_performer import Performance
    from jobqueue.worker.reporter import Tally

EVERYTHING = 1_000_000_000
MOST_JOBS = 10_000


class _Line:
    """The jobs that are performed before a call of `perform_later` returns, in inline mode."""

    def __init__(self, owner: Inbox, job_ids: Iterable[int]) -> None:
        self._lock = threading.Lock()
        self._owner = owner
        self._job_ids = deque(job_ids)
        self._is_open = True
        self._count = 0

    def join(self, owner: Inbox, job_ids: Iterable[int]) -> bool:
        """Add jobs, if this is the line of `owner` and open; return whether they were added."""
        with self._lock:
            if not self._is_open or owner is not self._owner:
                return False
            self._job_ids.extend(job_ids)
            return True

    def __iter__(self) -> Iterator[int]:
        while (job_id := self._next()) is not None:
            yield job_id

    def _next(self) -> int | None:
        with self._lock:
            if self._count == MOST_JOBS:
                raise AssertionError(
                    f"{MOST_JOBS:,} jobs came of one that was enqueued; does a job enqueue itself? "
                    "Use `jobs_inbox`, where nothing is performed by itself"
                )
            self._count += 1
            self._is_open = bool(self._job_ids)
            return self._job_ids.popleft() if self._job_ids else None

    def close(self) -> None:
        """Close the line: no more jobs can be added."""
        with self._lock:
            self._is_open = False


_line: ContextVar[_Line | None] = ContextVar("jobqueue_line", default=None)


class Inbox:
    """The jobs that a test has enqueued. Made by `inbox` and `inline`, and by the fixtures."""

    def __init__(self) -> None:
        self._clock = TravelClock()
        self.adapter = InboxAdapter(self._clock)

    def __repr__(self) -> str:
        return f"<Inbox: {len(self.jobs)} of {len(self.enqueued)} jobs wait>"

    # --- what was enqueued -----------------------------------------------------------------------

    @property
    def jobs(self) -> list[StoredJob]:
        """The jobs that wait to be performed, in the order in which they were enqueued."""
        unfinished = JobFilter(states=UNFINISHED_STATES)
        return self.adapter.list_jobs(unfinished, EVERYTHING)[::-1]

    @property
    def enqueued(self) -> list[StoredJob]:
        """All jobs as they were enqueued, in that order, whether performed since or not."""
        return list(self.adapter.enqueued)

    def assert_enqueued(self, job: Any, /, *args: Any, **expected: Any) -> StoredJob:
        """Fail unless such a job was enqueued, whether it has been performed since or not.

        Args:
            job: a job class, what `@job` made, the name of a job, or one after `.set()`, whose
                options are then expected as well.
            *args, **expected: arguments of its `perform`, only those that matter; each is compared
                as Python has it and as JSON does. Those of these names that are no parameters of
                it are options: `queue`, `priority`, `wait`, `wait_until`, and `count`, how many
                there have to be (at least one by default).

        Returns:
            The first of them, as it was enqueued.

        Raises:
            AssertionError: there is none, or another number; it says what was enqueued instead.
            InvalidArguments: `perform` has no such parameter (a `TypeError`).
        """
        __tracebackhide__ = True
        expectation = expectation_of(job, args, expected)
        found = [record for record in self.enqueued if expectation.fits(record)]
        if len(found) != (expectation.count or max(1, len(found))):
            refuse_count(expectation, len(found), self.enqueued, self._uncommitted())
        return found[0]

    def assert_not_enqueued(self, job: Any = None, /, *args: Any, **expected: Any) -> None:
        """Fail if such a job was enqueued, or any at all when no job is given.

        Args:
            job: as in `assert_enqueued`.
            *args, **expected: as in `assert_enqueued`; a job with other arguments is let pass.

        Raises:
            AssertionError: there is one; it says which.
            InvalidArguments: `perform` has no such parameter (a `TypeError`).
        """
        __tracebackhide__ = True
        if job is None and not args and not expected:
            found, what = self.enqueued, "nothing"
        else:
            expectation = expectation_of(job, args, expected)
            found = [record for record in self.enqueued if expectation.fits(record)]
            what = f"no {expectation}"
        if found:
            refuse_all(what, found)

    def clear(self) -> None:
        """Forget all jobs, as at the beginning of the test. The time stays."""
        self.adapter.delete(JobFilter(), include_running=True)
        self.adapter.enqueued.clear()
        self.adapter.joined.clear()

    def _uncommitted(self) -> list[StoredJob]:
        stored = {record.id for record in self.adapter.enqueued}
        return [record for record in self.adapter.joined if record.id not in stored]

    # --- time ------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time in the inbox: this machine's, and what was travelled."""
        return self._clock.now()

    def travel(self, by: timedelta | float | None = None, **units: float) -> datetime:
        """Put the inbox's clock forward, and return its time. Jobs that become due are not run.

        `datetime.now()` in the code under test stays as it is.

        Args:
            by: how far, as a `timedelta` or seconds.
            **units: or as the arguments of a `timedelta`: `travel(hours=1, minutes=30)`.
        """
        step = (as_timedelta(by) if by is not None else timedelta(0)) + timedelta(**units)
        if step < timedelta(0):
            raise InvalidArguments(f"the inbox cannot travel back ({step})")
        self._clock.travel_to(self.now + step)
        return self.now

    # --- performing ------------------------------------------------------------------------------

    def perform_all(
        self,
        *,
        until: datetime | timedelta | float | None = None,
        queue: str | None = None,
        raise_errors: bool = True,
        limit: int = MOST_JOBS,
    ) -> Tally:
        """Perform every job that is due, and those that they enqueue, as a worker would.

        Args:
            until: travel on to that moment (or for so long, as a `timedelta` or seconds), and
                perform each job when its time comes on the way.
            queue: only the jobs of that queue.
            raise_errors: raise what a job raised, after it was stored that it failed, and leave
                the others. Otherwise go on, as a worker does.
            limit: how many to perform at most.

        Returns:
            How many succeeded, were retried, failed, and so on.

        Raises:
            Exception: what a job raised; `Retry` and `Discard` are no errors.
            AssertionError: there are more jobs than `limit`.
        """
        __tracebackhide__ = True
        with self._performance(raise_errors) as performance:
            for claimed in self._due(self._moment(until), queue, limit):
                performance.perform(claimed)
        return performance.tally

    async def perform_all_async(
        self,
        *,
        until: datetime | timedelta | float | None = None,
        queue: str | None = None,
        raise_errors: bool = True,
        limit: int = MOST_JOBS,
    ) -> Tally:
        """Perform like `perform_all`, with async jobs on the event loop that awaits this."""
        __tracebackhide__ = True
        with self._performance(raise_errors) as performance:
            for claimed in self._due(self._moment(until), queue, limit):
                await performance.perform_async(claimed)
        return performance.tally

    def perform_as_they_come(self) -> None:
        """Perform each job when it is enqueued, whatever its time, from now on."""
        self.adapter.after_store = self._perform_at_once

    def _perform_at_once(self, records: Sequence[StoredJob]) -> None:
        """Perform enqueued jobs, and those that they enqueue, before the first call returns."""
        ids = [record.id for record in records]
        line = _line.get()
        if line is not None and line.join(self, ids):
            return
        line = _Line(self, ids)
        token = _line.set(line)
        try:
            with self._performance(raise_errors=True) as performance:
                for job_id in line:
                    claimed = self.adapter.take(job_id, None)
                    if claimed is not None:
                        performance.perform(claimed)
        finally:
            line.close()
            _line.reset(token)

    @contextmanager
    def _performance(self, raise_errors: bool) -> Iterator[Performance]:
        from jobqueue.testing.inbox_performer import Performance

        with closing(Performance(self.adapter, raise_errors)) as performance:
            yield performance

    def _due(self, until: datetime | None, queue: str | None, limit: int) -> Iterator[ClaimedJob]:
        for _ in range(limit):
            claimed = self.adapter.take(None, queue)
            while claimed is None and self._travel_to_next(until, queue):
                claimed = self.adapter.take(None, queue)
            if claimed is None:
                return
            yield claimed
        if any(record.run_at <= self.now for record in self.jobs):
            raise AssertionError(
                f"{limit:,} jobs were performed and more are due; does a job enqueue itself? "
                "If not, give perform_all a higher `limit`"
            )

    def _travel_to_next(self, until: datetime | None, queue: str | None) -> bool:
        """Travel to when the next job is due, or else to the end. Return whether there is a job."""
        if until is None:
            return False
        waiting = [r.run_at for r in self.jobs if queue in {None, r.queue} and r.run_at > self.now]
        moment = min(waiting, default=until)
        self._clock.travel_to(min(moment, until))
        return bool(waiting) and moment <= until

    def _moment(self, until: datetime | timedelta | float | None) -> datetime | None:
        if until is None or not isinstance(until, datetime):
            return None if until is None else self.now + as_timedelta(until)
        if until.utcoffset() is None:
            raise InvalidArguments(f"until={until!r} has no time zone; use an aware datetime")
        return until.astimezone(UTC)


# --- putting it in the place of the adapters -----------------------------------------------------


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A block in which no job runs: every job that this process enqueues goes into its inbox.

    The inbox takes the place of the default adapter, of those that job classes set, and of every
    `JobQueue`'s, in all threads; afterwards they are back.
    """
    box = Inbox()
    with default_configuration.substituted(box.adapter), _instead_of_own_adapters(box.adapter):
        yield box


@contextmanager
def inline() -> Iterator[Inbox]:
    """A block in which every job runs at once, even with `wait=`, before `perform_later` returns.

    A job that is enqueued in a session runs when that commits. What a job raises, its caller gets.
    """
    with inbox() as box:
        box.perform_as_they_come()
        yield box


@contextmanager
def _instead_of_own_adapters(adapter: Adapter) -> Iterator[None]:
    """Replace the adapters that classes set themselves, also those that are defined meanwhile."""
    replaced: list[tuple[type[Job], Adapter]] = []

    def replace(job_class: type[Job]) -> None:
        own = vars(job_class).get("adapter", adapter)
        if own is not adapter and not isinstance(own, DefaultAdapter):
            replaced.append((job_class, own))
            job_class.adapter = adapter

    def replace_with_bases(job_class: type[Job]) -> None:
        for each in job_class.__mro__:
            if issubclass(each, Job):
                replace(each)

    for job_class in _with_subclasses(Job):
        replace(job_class)
    try:
        with registry.watched(replace_with_bases):
            yield
    finally:
        for job_class, own in replaced:
            job_class.adapter = own


def _with_subclasses(job_class: type[Job]) -> Iterator[type[Job]]:
    yield job_class
    for subclass in job_class.__subclasses__():
        yield from _with_subclasses(subclass)
