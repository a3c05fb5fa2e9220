"""How a job is enqueued: its options, and `perform_later` with its siblings.

These are descriptors, so that type checkers see the parameters of the class's own `perform` on
them: on the class, on an instance, and after `.set()`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from jobqueue.adapters.sessions import after_commit
from jobqueue.adapters.stored import StoredJob
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import InvalidArguments
from jobqueue.hooks import Observers
from jobqueue.records import NO_DELAY, NewJob
from jobqueue.retry import LONGEST_WAIT, as_timedelta
from jobqueue.spelling import why_not_given

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
J = TypeVar("J")
J_co = TypeVar("J_co", covariant=True)

PRIORITY_RANGE = range(-(2**31), 2**31)

# --- how a job is enqueued -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EnqueueOptions:
    """What `.set()` was told."""

    wait: timedelta | None = None
    wait_until: datetime | None = None
    queue: str | None = None
    priority: int | None = None
    session: Any = None

    def merged(self, **given: Any) -> EnqueueOptions:
        """These options with the given ones (those not None) in their place.

        Raises:
            InvalidArguments: one of them cannot be used, or is none.
        """
        why_not = why_not_given(".set()", given, ENQUEUE_OPTIONS)
        if why_not:
            raise InvalidArguments(why_not)
        options = {name: value for name, value in given.items() if value is not None}
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
        return replace(self, **options)


ENQUEUE_OPTIONS = tuple(each.name for each in fields(EnqueueOptions))


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


Call = tuple[Any, ...] | Mapping[str, Any]
"""The arguments of a call: positional ones, or keyword ones."""
NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})


# --- what is to be enqueued ----------------------------------------------------------------------


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
        calls: Sequence[Call],
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
            text = dump(*_split(call))
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


def _split(call: object) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(call, tuple):
        return call, NO_KEYWORDS
    if isinstance(call, Mapping):
        return (), call
    raise InvalidArguments(
        f"perform_all_later takes a tuple (positional) or a dict (keyword) for each job, not "
        f"{call!r}; write ({call!r},) for a single argument"
    )


# --- what has been enqueued ----------------------------------------------------------------------


def tell_enqueued(
    records: Sequence[StoredJob], session: Any, observers: Observers, logger: logging.Logger
) -> None:
    """Call the hooks `job_enqueued` for jobs, once they are committed."""
    if not observers.hears("job_enqueued"):
        return

    def tell() -> None:
        for record in records:
            observers.tell(logger, "job_enqueued", record)

    if session is None:
        tell()
    else:
        after_commit(session, tell)


# --- what type checkers see ----------------------------------------------------------------------


class Performs(Protocol[P, R_co]):
    """Anything with a `perform` that takes `P` and returns `R_co`."""

    @property
    def perform(self) -> Callable[P, R_co]: ...


class PerformLater:
    """Makes `perform_later` take exactly the parameters of `perform`."""

    @overload
    def __get__(
        self, instance: None, owner: Callable[..., Performs[P, Any]]
    ) -> Callable[P, StoredJob]: ...
    @overload
    def __get__(self, instance: Performs[P, Any], owner: Any) -> Callable[P, StoredJob]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance

        def perform_later(*args: Any, **kwargs: Any) -> StoredJob:
            """Store the job, to be performed by a worker, and return its record."""
            record: StoredJob = job.enqueue_call(args, kwargs)
            return record

        return perform_later


class PerformLaterAsync:
    """Makes `perform_later_async` take exactly the parameters of `perform`."""

    @overload
    def __get__(
        self, instance: None, owner: Callable[..., Performs[P, Any]]
    ) -> Callable[P, Coroutine[Any, Any, StoredJob]]: ...
    @overload
    def __get__(
        self, instance: Performs[P, Any], owner: Any
    ) -> Callable[P, Coroutine[Any, Any, StoredJob]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance

        async def perform_later_async(*args: Any, **kwargs: Any) -> StoredJob:
            """As `perform_later`, while the event loop goes on."""
            record: StoredJob = await job.enqueue_call_async(args, kwargs)
            return record

        return perform_later_async


class PerformNow:
    """Makes `perform_now` take the parameters of `perform` and return what it returns.

    Of an `async def perform` it returns the result where no event loop runs, and something to
    await where one does; hence `Any`.
    """

    @overload
    def __get__(
        self, instance: None, owner: Callable[..., Performs[P, Coroutine[Any, Any, Any]]]
    ) -> Callable[P, Any]: ...
    @overload
    def __get__(self, instance: None, owner: Callable[..., Performs[P, R]]) -> Callable[P, R]: ...
    @overload
    def __get__(
        self, instance: Performs[P, Coroutine[Any, Any, Any]], owner: Any
    ) -> Callable[P, Any]: ...
    @overload
    def __get__(self, instance: Performs[P, R], owner: Any) -> Callable[P, R]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance

        def perform_now(*args: Any, **kwargs: Any) -> Any:
            """Run the job here and now, without the database."""
            return job.run_here(args, kwargs)

        return perform_now


class OptionSetter(Protocol[J_co]):
    """What `.set` is, on a class and on an instance."""

    def __call__(
        self,
        *,
        wait: timedelta | float | None = None,
        wait_until: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        session: Any = None,
    ) -> J_co:
        """The same job, to be enqueued with these options."""
        ...


class SetOptions:
    """Makes `.set` give back a job of the class that it is called on."""

    @overload
    def __get__(self, instance: None, owner: type[J]) -> OptionSetter[J]: ...
    @overload
    def __get__(self, instance: J, owner: Any) -> OptionSetter[J]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance
        return job.with_options


class AllLater(Protocol):
    """What `perform_all_later` is."""

    def __call__(self, calls: Iterable[Call]) -> Sequence[StoredJob]: ...


class PerformAllLater:
    """Makes `perform_all_later` work on a class and on an instance."""

    def __get__(self, instance: Any, owner: Any) -> AllLater:
        job = owner() if instance is None else instance

        def perform_all_later(calls: Iterable[Call]) -> Sequence[StoredJob]:
            """Store one job for each call, in one statement, all or none, in that order."""
            records: Sequence[StoredJob] = job.enqueue_calls(list(calls))
            return records

        return perform_all_later


class AllLaterAsync(Protocol):
    """What `perform_all_later_async` is."""

    async def __call__(self, calls: Iterable[Call]) -> Sequence[StoredJob]: ...


class PerformAllLaterAsync:
    """Makes `perform_all_later_async` work on a class and on an instance."""

    def __get__(self, instance: Any, owner: Any) -> AllLaterAsync:
        job = owner() if instance is None else instance

        async def perform_all_later_async(calls: Iterable[Call]) -> Sequence[StoredJob]:
            """As `perform_all_later`, while the event loop goes on."""
            records: Sequence[StoredJob] = await job.enqueue_calls_async(list(calls))
            return records

        return perform_all_later_async


async def enqueue_without_blocking(
    session: Any, enqueue: Callable[[Any], Sequence[StoredJob]]
) -> Sequence[StoredJob]:
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
        records: Sequence[StoredJob] = await session.run_sync(enqueue)
        return records
    return enqueue(session)
