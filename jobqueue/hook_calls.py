"""The calls of the hooks around an attempt: those of the job class, and those for all jobs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobqueue import log
from jobqueue.errors import JobCancelled, JobTimeout
from jobqueue.hooks import ATTEMPT_HOOKS, OBSERVER_FAILS, Around, Finish, Hooks, overridden
from jobqueue.retry import Discard, Retry
from jobqueue.signal_exits import is_raised_by_signal_handler

InTime = Callable[[Any], Awaitable[Any]]
EndIfForked = Callable[[BaseException | None], None]

# Errors that end an attempt by itself: not `StopNow`, and not being cancelled.
ENDS_BY_ITSELF = (Exception, SystemExit, JobTimeout)

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
BESIDE_ARGUMENTS = {"after_success": "result", "after_failure": "error"}
NO_AROUND = (
    "around_perform returned {!r}; expected one `yield` in it, or a context manager (an async one "
    "for async jobs only)"
)


# --- the hooks of a job class --------------------------------------------------------------------


class HookMethods:
    """The hooks of a job class, for the attempts at its own jobs.

    Each takes those parameters of `perform` that it names. Hooks of an async job may be async.
    """

    def before_perform(self, *args: Any, **kwargs: Any) -> Finish:
        """An attempt begins. What this raises, `Retry` and `Discard` included, ends it."""

    def around_perform(self, *args: Any, **kwargs: Any) -> Around:
        """Wrap `perform`: `yield` once, where it is to be called, or return a context manager."""

    def after_perform(self, *args: Any, **kwargs: Any) -> Finish:
        """`perform` was called, whatever came of it. An error in here is only logged."""

    def after_success(self, *args: Any, **kwargs: Any) -> Finish:
        """`perform` returned, and `result` is what. An error in here is only logged."""

    def after_failure(self, *args: Any, **kwargs: Any) -> Finish:
        """The attempt raised `error`. An error in here is only logged."""


@dataclass(slots=True)
class PerformCall:
    """A call of `perform`: the job, its arguments, the same by name, and whether it was made."""

    job: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    by_name: Mapping[str, Any]
    end_if_forked: EndIfForked
    was_made: bool = False

    def perform(self) -> Any:
        """Call `perform`. A process that a job or a hook has forked goes no further than this."""
        self.end_if_forked(None)
        self.was_made = True
        try:
            answer = self.job.perform(*self.args, **self.kwargs)
        except BaseException as error:
            self.end_if_forked(error)
            raise
        self.end_if_forked(None)
        return answer

    async def perform_async(self) -> Any:
        """Call an async `perform`. A process that it has forked goes no further than this."""
        try:
            answer = await self.perform()
        except BaseException as error:
            self.end_if_forked(error)
            raise
        self.end_if_forked(None)
        return answer


class OwnHook:
    """A hook of a job class, which is given those arguments of `perform` that it names.

    A hook with `*args` is given all of them as `perform` is. `after_failure` gets the error first.

    Args:
        job_class: the class that has the hook.
        name: the name of the method.
        perform: the signature of `perform`, without `self`.
    """

    def __init__(self, job_class: type, name: str, perform: inspect.Signature) -> None:
        self.name = name
        kinds = {p.name: p.kind for p in _parameters(job_class, name)}
        self._wanted = [n for n, kind in kinds.items() if kind not in VARIADIC]
        self._keyword_only = [n for n in self._wanted if kinds[n] is inspect.Parameter.KEYWORD_ONLY]
        self._takes_args = inspect.Parameter.VAR_POSITIONAL in kinds.values()
        self._takes_kwargs = inspect.Parameter.VAR_KEYWORD in kinds.values()
        self._perform = perform

    def bound(self, call: PerformCall, **more: Any) -> partial[Any]:
        """The hook of the job's object, with its arguments; `more` is the error, or the result."""
        method = getattr(call.job, self.name)
        if self._takes_args:
            return self._as_performed(method, call, more)
        given = {**call.by_name, **more}
        unnamed = {*call.by_name, "error"} if self._takes_kwargs else set()
        wanted = unnamed.union(self._wanted)
        return partial(method, **{name: given[name] for name in given if name in wanted})

    def _as_performed(
        self, method: Any, call: PerformCall, more: Mapping[str, Any]
    ) -> partial[Any]:
        given = {**call.kwargs, **more}
        kwargs = {name: given[name] for name in self._keyword_only if name in given}
        if self._takes_kwargs:
            kwargs = {**call.kwargs, **kwargs}
        first = (more["error"],) if "error" in more and "error" not in kwargs else ()
        return partial(method, *first, *call.args, **kwargs)

    def why_not(self) -> str | None:
        """Why the hook cannot be called: it asks for an unknown parameter. None if it can."""
        kinds = {p.kind for p in self._perform.parameters.values()}
        if self._takes_args or inspect.Parameter.VAR_KEYWORD in kinds:
            return None
        known = [*self._perform.parameters]
        if self.name in BESIDE_ARGUMENTS:
            known.append(BESIDE_ARGUMENTS[self.name])
        unknown = [name for name in self._wanted if name not in known]
        if not unknown:
            return None
        return (
            f"{self.name} has a parameter {unknown[0]!r}; what it can be given is "
            f"{', '.join(known) or 'nothing'}"
        )


def _parameters(job_class: type, name: str) -> list[inspect.Parameter]:
    """The parameters of a method but for `self`."""
    parameters = list(inspect.signature(getattr(job_class, name)).parameters.values())
    stored = inspect.getattr_static(job_class, name)
    return parameters if isinstance(stored, staticmethod | classmethod) else parameters[1:]


def own_hooks_of(job_class: Any) -> dict[str, OwnHook]:
    """The hooks that a job class has itself, by name."""
    names = [name for name in ATTEMPT_HOOKS if _is_own(job_class, name)]
    return {name: OwnHook(job_class, name, job_class.parameters().signature) for name in names}


def _is_own(job_class: type, name: str) -> bool:
    return getattr(job_class, name) is not getattr(HookMethods, name)


def why_not_hooks(job_class: Any) -> str | None:
    """Say what is wrong with the hooks of a job class, if anything is."""
    may_be_async = inspect.iscoroutinefunction(job_class.perform)
    for name, hook in own_hooks_of(job_class).items():
        if not may_be_async and _is_async(getattr(job_class, name)):
            return f"{name} is async, and perform is not"
        why_not = hook.why_not()
        if why_not is not None:
            return why_not
    return None


def _is_async(method: Any) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


# --- around an attempt ---------------------------------------------------------------------------


class AttemptHooks:
    """The hooks around `perform` of one class: those for all jobs, and those of the class.

    Args:
        own: the hooks of the class.
        shared: the hooks for all jobs.
        perform: the signature of `perform`, without `self`.
        is_async: whether `perform` is.
    """

    def __init__(
        self,
        own: Mapping[str, OwnHook],
        shared: Sequence[Hooks],
        perform: inspect.Signature,
        is_async: bool,
    ) -> None:
        self._own = own
        self._shared = {name: overridden(name, shared) for name in ATTEMPT_HOOKS}
        self._perform = perform
        self._is_async = is_async

    def perform(
        self,
        job: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        in_time: InTime,
        end_if_forked: EndIfForked = lambda _: None,
    ) -> Any:
        """Call `perform` within the hooks; of an async job, return an awaitable that does.

        Args:
            in_time: awaits something for no longer than the job may take.
            end_if_forked: ends a process that the job has forked; given what `perform` raised.
        """
        call = _call_of(job, self._perform.bind(*args, **kwargs), end_if_forked)
        return self._run_async(call, in_time) if self._is_async else self._run(call)

    # --- a sync job ------------------------------------------------------------------------------

    def _run(self, call: PerformCall) -> Any:
        try:
            result = self._perform_within(call)
        except ENDS_BY_ITSELF as error:
            self._observe(call, _outcome(error), error=error)
            raise
        self._observe(call, "after_success", result=result)
        return result

    def _perform_within(self, call: PerformCall) -> Any:
        with ExitStack() as stack:
            for before in self._hooks("before_perform", call):
                _finished(before())
            for around in self._hooks("around_perform", call):
                _enter(stack, around())
            return _finished(call.perform())
        return None  # an around_perform has swallowed an error

    def _observe(self, call: PerformCall, outcome: str | None, **more: Any) -> None:
        for hook in self._observers(call, outcome, more):
            try:
                _finished(hook())
            except OBSERVER_FAILS as error:
                if is_raised_by_signal_handler(error):
                    raise
                log.hook_failed(call.job.logger, hook.func, error)

    # --- an async job ----------------------------------------------------------------------------

    async def _run_async(self, call: PerformCall, in_time: InTime) -> Any:
        try:
            result = await in_time(self._perform_within_async(call))
        except ENDS_BY_ITSELF as error:
            await self._observe_async(call, _outcome(error), error=error)
            raise
        await self._observe_async(call, "after_success", result=result)
        return result

    async def _perform_within_async(self, call: PerformCall) -> Any:
        async with AsyncExitStack() as stack:
            for before in self._hooks("before_perform", call):
                await _awaited(before())
            for around in self._hooks("around_perform", call):
                await _enter_async(stack, around())
            return await call.perform_async()
        return None  # as above

    async def _observe_async(self, call: PerformCall, outcome: str | None, **more: Any) -> None:
        for hook in self._observers(call, outcome, more):
            try:
                await _awaited(hook())
            except OBSERVER_FAILS as error:
                if is_raised_by_signal_handler(error):
                    raise
                log.hook_failed(call.job.logger, hook.func, error)

    # --- both ------------------------------------------------------------------------------------

    def _observers(
        self, call: PerformCall, outcome: str | None, more: Mapping[str, Any]
    ) -> list[partial[Any]]:
        """The hooks to call afterwards: the class's own first."""
        ended = self._hooks("after_perform", call) if call.was_made else []
        judged = self._hooks(outcome, call, **more) if outcome else []
        return [*reversed(ended), *reversed(judged)]

    def _hooks(self, name: str, call: PerformCall, **more: Any) -> list[partial[Any]]:
        """The hooks of one name: those for all jobs first."""
        hooks = [partial(h, call.job, call.by_name, *more.values()) for h in self._shared[name]]
        if name in self._own:
            hooks.append(self._own[name].bound(call, **more))
        return hooks


def attempt_hooks(job_class: Any, shared: Sequence[Hooks]) -> AttemptHooks | None:
    """The hooks around the attempts at jobs of a class; None when there are none."""
    is_own = any(_is_own(job_class, name) for name in ATTEMPT_HOOKS)
    if not is_own and not any(overridden(name, shared) for name in ATTEMPT_HOOKS):
        return None
    perform = job_class.parameters().signature
    is_async = inspect.iscoroutinefunction(job_class.perform)
    return AttemptHooks(own_hooks_of(job_class), shared, perform, is_async)


def _call_of(job: Any, bound: inspect.BoundArguments, end_if_forked: EndIfForked) -> PerformCall:
    """The call of a job's `perform`, with all arguments by name, those of `**kwargs` included."""
    args, kwargs = bound.args, bound.kwargs
    bound.apply_defaults()
    by_name = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            by_name |= by_name.pop(parameter.name)
    return PerformCall(job, args, kwargs, by_name, end_if_forked)


def _outcome(error: BaseException) -> str | None:
    is_no_failure = issubclass(type(error), (Retry, Discard, JobCancelled))
    return None if is_no_failure else "after_failure"


def _finished(answer: Any) -> Any:
    """The answer of a plain call; raises `TypeError` for a coroutine, which would need an await."""
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(
            f"{answer.__qualname__} returned a coroutine, and the job's perform is not `async def`"
        )
    return answer


async def _awaited(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


def _enter(stack: ExitStack, around: Any) -> None:
    context = _as_context(around)
    if context is not None:
        stack.enter_context(context)


async def _enter_async(stack: AsyncExitStack, around: Any) -> None:
    if inspect.iscoroutine(around):
        around = await around
    if inspect.isasyncgen(around):
        await stack.enter_async_context(asynccontextmanager(lambda: around)())
    elif isinstance(around, AbstractAsyncContextManager):
        await stack.enter_async_context(around)
    else:
        context = _as_context(around)
        if context is not None:
            stack.enter_context(context)


def _as_context(around: Any) -> AbstractContextManager[Any] | None:
    if isinstance(around, Generator):
        return contextmanager(lambda: around)()
    if around is None or isinstance(around, AbstractContextManager):
        return around
    if inspect.iscoroutine(around):
        around.close()
    raise TypeError(NO_AROUND.format(around))
