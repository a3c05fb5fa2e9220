"""`perform_later` and its siblings, with the parameters of the class's own `perform`.

These are descriptors, so that type checkers see those parameters on the class, on an instance, and
after `.set()`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from jobqueue.enqueue import CallArguments, FilledBatch
from jobqueue.flow_control import Debounce, Fair, Limit, Ordered, Rate, Unique
from jobqueue.job.flows import StartedFlow
from jobqueue.job.steps import Step
from jobqueue.stored import StoredJob

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
J = TypeVar("J")
J_co = TypeVar("J_co", covariant=True)


class Performs(Protocol[P, R_co]):
    """An object with a `perform` that takes `P` and returns `R_co`."""

    @property
    def perform(self) -> Callable[P, R_co]: ...


class PerformLater:
    """A descriptor by which `perform_later` takes exactly the parameters of `perform`."""

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
    """A descriptor by which `perform_later_async` takes exactly the parameters of `perform`."""

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
            """Store the job like `perform_later`, without blocking the event loop."""
            record: StoredJob = await job.enqueue_call_async(args, kwargs)
            return record

        return perform_later_async


class PerformNow:
    """A descriptor by which `perform_now` takes the parameters of `perform`, and returns the same.

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
    """The type of `.set`, on a class and on an instance."""

    def __call__(
        self,
        *,
        wait: timedelta | float | None = None,
        wait_until: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        session: Any = None,
        meta: Mapping[str, Any] | None = None,
        limits: Sequence[Limit | Rate] | None = None,
        unique: Unique | None = None,
        expires_in: timedelta | float | None = None,
        ordered: Ordered | None = None,
        fair: Fair | None = None,
        debounce: Debounce | None = None,
        batch: FilledBatch | None = None,
    ) -> J_co:
        """The same job, to be enqueued with these options."""
        ...


class SetOptions:
    """A descriptor by which `.set` returns a job of the class that it is called on."""

    @overload
    def __get__(self, instance: None, owner: type[J]) -> OptionSetter[J]: ...
    @overload
    def __get__(self, instance: J, owner: Any) -> OptionSetter[J]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance
        return job.with_options


class MakeStep:
    """A descriptor by which `step` takes exactly the parameters of `perform`."""

    @overload
    def __get__(
        self, instance: None, owner: Callable[..., Performs[P, Any]]
    ) -> Callable[P, Step]: ...
    @overload
    def __get__(self, instance: Performs[P, Any], owner: Any) -> Callable[P, Step]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        job = owner() if instance is None else instance

        def step(*args: Any, **kwargs: Any) -> Step:
            """The job with these arguments, for a `Chain`, a `Flow` or a `Batch`."""
            made: Step = job.step_of(args, kwargs)
            return made

        return step


class MapOfCalls(Protocol):
    """The type of `map`."""

    def __call__(
        self,
        calls: Iterable[CallArguments],
        *,
        then: Step | None = None,
        name: str | None = None,
        session: Any = None,
    ) -> StartedFlow: ...


class MapCalls:
    """A descriptor by which `map` works on a class and on an instance."""

    def __get__(self, instance: Any, owner: Any) -> MapOfCalls:
        job = owner() if instance is None else instance

        def map_calls(
            calls: Iterable[CallArguments],
            *,
            then: Step | None = None,
            name: str | None = None,
            session: Any = None,
        ) -> StartedFlow:
            """Store one job for each call, and one that starts when all have succeeded.

            The latter reads what they returned from `self.results`.
            """
            started: StartedFlow = job.map_calls(list(calls), then, name, session)
            return started

        return map_calls


class AllLater(Protocol):
    """The type of `perform_all_later`."""

    def __call__(self, calls: Iterable[CallArguments]) -> Sequence[StoredJob]: ...


class PerformAllLater:
    """A descriptor by which `perform_all_later` works on a class and on an instance."""

    def __get__(self, instance: Any, owner: Any) -> AllLater:
        job = owner() if instance is None else instance

        def perform_all_later(calls: Iterable[CallArguments]) -> Sequence[StoredJob]:
            """Store one job for each call, in one statement, all or none, in that order."""
            records: Sequence[StoredJob] = job.enqueue_calls(list(calls))
            return records

        return perform_all_later


class AllLaterAsync(Protocol):
    """The type of `perform_all_later_async`."""

    async def __call__(self, calls: Iterable[CallArguments]) -> Sequence[StoredJob]: ...


class PerformAllLaterAsync:
    """A descriptor by which `perform_all_later_async` works on a class and on an instance."""

    def __get__(self, instance: Any, owner: Any) -> AllLaterAsync:
        job = owner() if instance is None else instance

        async def perform_all_later_async(calls: Iterable[CallArguments]) -> Sequence[StoredJob]:
            """Store jobs like `perform_all_later`, without blocking the event loop."""
            records: Sequence[StoredJob] = await job.enqueue_calls_async(list(calls))
            return records

        return perform_all_later_async
