"""Functions as jobs: `@job`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, cast, overload

from jobqueue.adapters.base import Adapter
from jobqueue.cron import Schedule
from jobqueue.errors import InvalidJob
from jobqueue.flow_control import Debounce, Fair, Limit, Ordered, Rate, Unique
from jobqueue.job.job_class import JOB_OPTIONS, Job
from jobqueue.records import DEFAULT_PRIORITY, DEFAULT_QUEUE
from jobqueue.retention import KeepRule
from jobqueue.retry import DEFAULT_RETRY, RetryPolicy
from jobqueue.spelling import why_not_given

P = ParamSpec("P")
R = TypeVar("R")


class FunctionJob(Job, Generic[P, R]):
    """A job made of a function by `@job`. Calling it calls the function."""

    _abstract = True
    function: ClassVar[Callable[..., Any]]

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return cast("R", type(self).function(*args, **kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it had not been decorated."""
        return cast("R", type(self).function(*args, **kwargs))

    @classmethod
    def performing_function(cls) -> tuple[Callable[..., Any], bool]:
        """The decorated function, which takes no `self`."""
        return cls.function, False


@overload
def job(function: Callable[P, R], /) -> FunctionJob[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    queue: str = DEFAULT_QUEUE,
    priority: int = DEFAULT_PRIORITY,
    max_attempts: int | None = None,
    max_runtime: timedelta | float | None = None,
    retry: RetryPolicy = DEFAULT_RETRY,
    keep_succeeded: KeepRule | None = None,
    keep_failed: KeepRule | None = None,
    keep_result: bool = False,
    interrupt_on_cancel: bool = False,
    schedule: Schedule | Sequence[Schedule] | None = None,
    limits: Sequence[Limit | Rate] = (),
    unique: Unique | None = None,
    expires_in: timedelta | float | None = None,
    ordered: Ordered | None = None,
    fair: Fair | None = None,
    debounce: Debounce | None = None,
    redact: Sequence[str] = (),
    api: bool = False,
    adapter: Adapter | None = None,
    logger: logging.Logger | None = None,
) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
def job(function: Any = None, /, **attributes: Any) -> Any:
    """Make a job of a function: `@job` or `@job(queue="email")`.

    The options are the class attributes of `Job`. The function can still be called, and is the
    `perform_now` of the job; `perform_later` and `.set()` work as on a class.
    """
    if function is None:
        return functools.partial(_job_of, attributes=attributes)
    return _job_of(function, attributes)


def _job_of(function: Callable[..., Any], attributes: Mapping[str, Any]) -> FunctionJob[Any, Any]:
    why_not = why_not_given("@job", attributes, JOB_OPTIONS)
    if why_not:
        raise InvalidJob(f"{function.__module__}.{function.__qualname__}: {why_not}")
    given = {name: value for name, value in attributes.items() if value is not None}
    namespace = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "function": staticmethod(function),
        **given,
    }
    if inspect.iscoroutinefunction(function):
        namespace["perform"] = _perform_async
    job_class = cast(
        "type[FunctionJob[Any, Any]]", type(function.__name__, (FunctionJob,), namespace)
    )
    return job_class()


async def _perform_async(self: FunctionJob[Any, Any], *args: Any, **kwargs: Any) -> Any:
    return await type(self).function(*args, **kwargs)
