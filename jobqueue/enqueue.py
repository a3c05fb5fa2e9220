"""The options of enqueueing, and `store`, which all ways to enqueue end in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, overload

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.sessions import after_commit
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import InvalidArguments
from jobqueue.flow_control import CONTROL_NAMES, Controls
from jobqueue.hooks import Observers
from jobqueue.meta import meta_text, with_meta_of_hooks
from jobqueue.records import NO_DELAY, EnqueuedOnce, NewFlow, NewJob, NewStep, UsedKey
from jobqueue.retry import LONGEST_WAIT, as_timedelta
from jobqueue.spelling import why_not_given
from jobqueue.stored import StoredJob
from jobqueue.transactions import joined_session

T = TypeVar("T")
PRIORITY_RANGE = range(-(2**31), 2**31)

# --- options -------------------------------------------------------------------------------------


class FilledBatch(Protocol):
    """A batch that jobs are added to."""

    @property
    def flow_id(self) -> int:
        """Its number."""
        ...

    @property
    def session(self) -> Any:
        """The transaction that it is part of; None for none."""
        ...


@dataclass(frozen=True, slots=True)
class EnqueueOptions:
    """The options that `.set()` was given."""

    wait: timedelta | None = None
    wait_until: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    session: Any = None
    meta: str | None = None
    batch: FilledBatch | None = None
    controls: Controls | None = None

    def merged(self, **given: Any) -> EnqueueOptions:
        """These options with the given ones (those not None) in their place.

        Raises:
            InvalidArguments: one of them cannot be used, or is none.
        """
        why_not = why_not_given(".set()", given, ENQUEUE_OPTIONS)
        if why_not:
            raise InvalidArguments(why_not)
        options = {name: value for name, value in given.items() if value is not None}
        controls = {name: options.pop(name) for name in CONTROL_NAMES if name in options}
        if controls:
            options["controls"] = Controls(**controls).over(self.controls or Controls())
        if "wait" in options and "wait_until" in options:
            raise InvalidArguments("wait and wait_until exclude each other; give one of them")
        if "wait" in options:
            options |= {"wait": checked_wait(options["wait"]), "wait_until": None}
        elif "wait_until" in options:
            options |= {"wait_until": checked_wait_until(options["wait_until"]), "wait": None}
        if "queue" in options:
            checked_queue(options["queue"])
        if "priority" in options:
            checked_priority(options["priority"])
        if "meta" in options:
            options["meta"] = meta_text(options["meta"])
        return replace(self, **options)

    @property
    def own_session(self) -> Any:
        """The session that was given, or that of the batch."""
        return self.batch.session if self.session is None and self.batch else self.session


ENQUEUE_OPTIONS = (
    *(each.name for each in fields(EnqueueOptions) if each.name != "controls"),
    *CONTROL_NAMES,
)


def checked_wait(wait: timedelta | float) -> timedelta:
    """A delay of zero or more, as a `timedelta`; raises `InvalidArguments` otherwise."""
    try:
        if isinstance(wait, bool):
            raise TypeError
        delay = as_timedelta(wait)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArguments(f"wait={wait!r} is neither seconds nor a timedelta") from None
    if not NO_DELAY <= delay <= LONGEST_WAIT:
        raise InvalidArguments(f"wait={wait!r} is out of range; give 0 seconds or more")
    return delay


def checked_wait_until(moment: datetime) -> datetime:
    """An aware datetime; raises `InvalidArguments` otherwise."""
    if not isinstance(moment, datetime):
        raise InvalidArguments(f"wait_until={moment!r} is not a datetime")
    if moment.utcoffset() is None:
        raise InvalidArguments(
            f"wait_until={moment!r} has no time zone; use an aware one, "
            "datetime.now(timezone.utc) for example"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidArguments(f"wait_until={moment!r} is beyond the years 1 to 9999") from None


def checked_queue(name: str) -> str:
    """A queue's name; raises `InvalidArguments` when it cannot be one."""
    if not is_queue_name(name):
        raise InvalidArguments(f"{name!r} is no name for a queue; expected {QUEUE_NAME_RULE}")
    return name


def checked_priority(priority: int) -> int:
    """A priority; raises `InvalidArguments` when it is not a whole number of 32 bits."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidArguments(f"priority={priority!r} is not a whole number")
    if priority not in PRIORITY_RANGE:
        raise InvalidArguments(f"priority={priority!r} is beyond 32 bits")
    return priority


CallArguments = tuple[Any, ...] | Mapping[str, Any]
"""The arguments of a call: positional ones, or keyword ones."""
NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})


# --- the jobs of many calls ----------------------------------------------------------------------


class NewJobs(Sequence[NewJob]):
    """The jobs of many calls, whose arguments are checked when they are first read.

    So a database can store the first ones while the last are still being checked. What is kept is
    their text: the garbage collector would look through a hundred thousand objects again and again,
    for a third of the time that it takes to store them.

    Args:
        calls: a tuple (positional) or a mapping (keyword) each.
        dump: checks the arguments of a call, and makes their text.
        make: makes the job of a text.
    """

    def __init__(
        self,
        calls: Sequence[CallArguments],
        dump: Callable[[tuple[Any, ...], Mapping[str, Any]], str],
        make: Callable[[str], NewJob],
    ) -> None:
        self._calls = calls
        self._dump = dump
        self._make = make
        self._texts: list[str] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[NewJob]:
        texts, dump, make = self._texts, self._dump, self._make
        yield from map(make, texts)
        for call in islice(self._calls, len(texts), None):
            text = dump(*split_call(call))
            texts.append(text)
            yield make(text)

    @overload
    def __getitem__(self, index: int) -> NewJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[NewJob]: ...
    def __getitem__(self, index: int | slice) -> NewJob | list[NewJob]:
        if isinstance(index, slice) or len(self._texts) < len(self):
            return list(self)[index]
        return self._make(self._texts[index])


def split_call(call: object) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The positional and the keyword arguments of a call; raises `InvalidArguments`."""
    if isinstance(call, tuple):
        return call, NO_KEYWORDS
    if isinstance(call, Mapping):
        return (), call
    raise InvalidArguments(
        f"perform_all_later takes a tuple (positional) or a dict (keyword) for each job, not "
        f"{call!r}; write ({call!r},) for a single argument"
    )


# --- storing them --------------------------------------------------------------------------------


def store(
    jobs: Sequence[NewJob],
    adapter: Adapter,
    *,
    session: Any = None,
    observers: Observers,
    logger: logging.Logger,
) -> Sequence[StoredJob]:
    """Store jobs, all or none, and return their records in the same order.

    Every way to enqueue ends here or in `store_once`, except for recurring jobs, whose tick is
    stored together with them.

    Args:
        jobs: the new jobs.
        adapter: where they are kept.
        session: the caller's transaction; by default that of the `self.transaction()` around the
            call, if there is one, and otherwise one of their own.
        observers: the hooks that are told of the jobs when they are committed.
        logger: where a hook is logged that fails.
    """
    session = session or joined_session(adapter)
    jobs = with_meta_of_hooks(jobs, observers, logger)
    records = adapter.enqueue(jobs, session=session)
    _call_hooks(records, session, observers, logger)
    return records


def store_flow(
    flow: NewFlow,
    steps: Sequence[NewStep],
    adapter: Adapter,
    *,
    session: Any = None,
    observers: Observers,
    logger: logging.Logger,
) -> tuple[int, Sequence[StoredJob]]:
    """Store a flow and its jobs, all or none; return its id, and the records of the jobs.

    The hook `before_enqueue` is called for all of them, and `job_enqueued` for the jobs that the
    flow has.
    """
    session = session or joined_session(adapter)

    def with_meta(job: NewJob) -> NewJob:
        return with_meta_of_hooks([job], observers, logger)[0]

    flow = replace(
        flow,
        on_success=None if flow.on_success is None else with_meta(flow.on_success),
        on_finish=None if flow.on_finish is None else with_meta(flow.on_finish),
    )
    steps = [replace(step, job=with_meta(step.job)) for step in steps]
    flow_id, records = adapter.start_flow(flow, steps, session=session)
    _call_hooks(records, session, observers, logger)
    return flow_id, records


def store_once(
    key: UsedKey,
    job: NewJob,
    adapter: KeysRole,
    *,
    observers: Observers,
    logger: logging.Logger,
) -> EnqueuedOnce[StoredJob]:
    """Store a job in a transaction of its own, unless the key was used before.

    The hook `job_enqueued` is called for a job that was stored.
    """
    [job] = with_meta_of_hooks([job], observers, logger)
    once = adapter.enqueue_once(key, job)
    if once.is_new and once.job is not None:
        _call_hooks([once.job], None, observers, logger)
    return once


def _call_hooks(
    records: Sequence[StoredJob], session: Any, observers: Observers, logger: logging.Logger
) -> None:
    """Call the hooks `job_enqueued` for jobs, once they are committed."""
    if not observers.has("job_enqueued"):
        return

    def call_hooks() -> None:
        for record in records:
            if not record.is_duplicate:
                observers.call(logger, "job_enqueued", record)

    if session is None:
        call_hooks()
    else:
        after_commit(session, call_hooks)


async def without_blocking(session: Any, enqueue: Callable[[Any], T]) -> T:
    """Call `enqueue` with a session that it can use: in a thread, or within an async session.

    Args:
        session: None; an `AsyncSession` or `AsyncConnection` of SQLAlchemy; or what
            `perform_later` takes, which belongs to this thread and is used on it.
    """
    if session is None:
        import asyncio

        return await asyncio.to_thread(enqueue, None)
    if type(session).__name__ == "async_scoped_session":
        session = session()
    if hasattr(session, "run_sync"):
        answer: T = await session.run_sync(enqueue)
        return answer
    return enqueue(session)
