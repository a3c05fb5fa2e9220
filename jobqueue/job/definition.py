"""Checks of a job class when it is defined."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobqueue.arguments import Parameters
from jobqueue.arguments.parameters import unquoted
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.enqueue import PRIORITY_RANGE
from jobqueue.errors import InvalidJob
from jobqueue.hook_calls import why_not_hooks
from jobqueue.hooks import ATTEMPT_HOOKS, why_never_called
from jobqueue.job.controls import faults_of
from jobqueue.registry import names_of, registry
from jobqueue.retention import KEEP_EXPECTED_IN_CODE, is_keep_rule
from jobqueue.retry import LONGEST_WAIT, as_seconds
from jobqueue.spelling import OR_YOUR_OWN, close_to

if TYPE_CHECKING:
    from jobqueue.job.job_class import Job

MAX_NAME_LENGTH = 255
MOST_ATTEMPTS = 2**31 - 1

SELF = {"self", "this", "me"}

# What other queues call an option: left as it is, it would silently do nothing here.
NAMES_ELSEWHERE = {
    "max_retries": "max_attempts",
    "queue_name": "queue",
    "retries": "max_attempts",
    "time_limit": "max_runtime",
}


def refuse_main(job_class: type[Job]) -> None:
    """Raise `InvalidJob` for a class that no worker could import."""
    if job_class.__module__ == "__main__":
        raise InvalidJob(
            f"{job_class.__qualname__} is defined in __main__, the script that was started, which "
            "a worker cannot import; move it into a module (jobs.py, say) and import it from there"
        )


def check_definition(job_class: type[Job], base: type[Job]) -> None:
    """Raise `InvalidJob` for a class whose attributes cannot be used.

    Args:
        job_class: the new class.
        base: `Job` itself, whose annotated attributes are the options.
    """
    why_not = next(_faults(job_class, base), None)
    if why_not is not None:
        raise InvalidJob(f"{job_class.__module__}.{job_class.__qualname__}: {why_not}")


def options_of(base: type[Job]) -> tuple[str, ...]:
    """The names of the attributes that a job class may set, and that `@job` takes."""
    return tuple(name for name in base.__annotations__ if not name.startswith("_"))


def _faults(job_class: type[Job], base: type[Job]) -> Iterator[str]:
    """The faults of a job class, one message each; the most basic fault comes first."""
    yield from _faults_of_perform(job_class)
    yield from _faults_of_spelling(job_class, base)
    yield from _faults_of_name(job_class)
    yield from _faults_of_queue(job_class)
    yield from _faults_of_limits(job_class)
    yield from _faults_of_end(job_class)
    yield from _faults_of_methods(job_class)
    why_not = why_not_hooks(job_class)
    if why_not is not None:
        yield why_not
    yield from _faults_of_arguments(job_class, job_class.parameters())
    yield from faults_of(job_class.controls(), job_class.parameters(), job_class.name)
    yield from _faults_of_kept_order(job_class)
    yield from registry.clashes_of_limits(job_class.declared_limits(), job_class.name)


def _faults_of_kept_order(job_class: type[Job]) -> Iterator[str]:
    ordered = job_class.ordered
    if ordered is not None and ordered.on_failed == "stop" and job_class.keep_failed is False:
        yield (
            "ordered stops at a job that has failed, as long as its row is there, but keep_failed "
            'is False; leave that out, or say Ordered(…, on_failed="go_on")'
        )


# --- perform -------------------------------------------------------------------------------------


def _faults_of_perform(job_class: type[Job]) -> Iterator[str]:
    """A `perform` without `self`: its first parameter would silently be the job's object."""
    stored = inspect.getattr_static(job_class, "perform")
    if isinstance(stored, staticmethod | classmethod):
        yield (
            f"perform is a {type(stored).__name__}; leave the decorator out, and write "
            "def perform(self, …), since an object of the class is made for every attempt"
        )
        return
    if not inspect.isfunction(stored):
        return
    parameters = list(inspect.signature(stored).parameters.values())
    if not parameters or not _is_self(parameters[0]):
        given = ", ".join(str(unquoted(parameter)) for parameter in parameters)
        written = f"self, {given}" if given else "self"
        how = "async def" if inspect.iscoroutinefunction(stored) else "def"
        yield f"perform({given}) has no `self`; write {how} perform({written})"


def _is_self(parameter: inspect.Parameter) -> bool:
    """Whether a first parameter is meant to be the object. A decorator's `*args` begin with it."""
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return True
    name = parameter.name
    is_positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    return is_positional and (name in SELF or name.startswith("_"))


# --- the attributes ------------------------------------------------------------------------------


def _faults_of_spelling(job_class: type[Job], base: type[Job]) -> Iterator[str]:
    """Attributes that are nearly an option, such as `redcat`, or one of another queue's.

    Methods are something else whatever they are called, and so are constants in capitals.
    """
    options = options_of(base)
    for name, value in _attributes_of_the_application(job_class):
        is_other = name.startswith("_") or name.isupper() or not _is_data(value)
        option = None if is_other or hasattr(base, name) else _option_meant(name, options)
        if option not in (None, name):
            yield f"{name!r} is no option of a job; did you mean {option!r}? {OR_YOUR_OWN}"


def _attributes_of_the_application(job_class: type[Job]) -> Iterator[tuple[str, Any]]:
    """The attributes that the class and its bases define, without those of our own bases."""
    for owner in job_class.__mro__:
        if owner.__module__.partition(".")[0] not in {"jobqueue", "builtins", "typing"}:
            yield from vars(owner).items()


def _option_meant(name: str, options: Iterable[str]) -> str | None:
    return NAMES_ELSEWHERE.get(name) or close_to(name, options)


def _is_data(value: object) -> bool:
    others = (classmethod, staticmethod, property, functools.cached_property)
    return not (inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, others))


def _faults_of_name(job_class: type[Job]) -> Iterator[str]:
    names: tuple[object, ...] = names_of(job_class)
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or "\x00" in name:
            yield f"{name!r} is no name for a job; expected 1 to {MAX_NAME_LENGTH} characters"
    if isinstance(job_class.aliases, str):
        yield "aliases is a string; expected a tuple of names"


def _faults_of_queue(job_class: type[Job]) -> Iterator[str]:
    if not is_queue_name(job_class.queue):
        yield f"queue = {job_class.queue!r}; expected {QUEUE_NAME_RULE}"
    if type(job_class.priority) is not int or job_class.priority not in PRIORITY_RANGE:
        yield f"priority = {job_class.priority!r}; expected a whole number of 32 bits"


def _faults_of_limits(job_class: type[Job]) -> Iterator[str]:
    attempts: object = job_class.max_attempts
    if not _is_number_of_attempts(attempts):
        yield f"max_attempts = {attempts!r}; expected a whole number from 1, of 32 bits"
    if not _is_duration(job_class.max_runtime):
        yield f"max_runtime = {job_class.max_runtime!r}; expected a timedelta or seconds, above 0"


def _is_number_of_attempts(value: object) -> bool:
    return value is None or (type(value) is int and 1 <= value <= MOST_ATTEMPTS)


def _is_duration(value: object) -> bool:
    if value is None or isinstance(value, bool) or not isinstance(value, timedelta | float | int):
        return value is None
    return 0 < as_seconds(value) <= LONGEST_WAIT.total_seconds()


def _faults_of_end(job_class: type[Job]) -> Iterator[str]:
    if not callable(job_class.retry):
        yield f"retry = {job_class.retry!r}; expected a policy, such as Constant(30)"
    yield from _faults_of_policy(job_class)
    for name in ("api", "keep_result", "interrupt_on_cancel"):
        if not isinstance(getattr(job_class, name), bool):
            yield f"{name} = {getattr(job_class, name)!r}; expected True or False"
    for name in ("keep_succeeded", "keep_failed"):
        rule = getattr(job_class, name)
        if rule is not None and not is_keep_rule(rule):
            yield f"{name} = {rule!r}; expected {KEEP_EXPECTED_IN_CODE}"
    if job_class.keep_result and job_class.keep_succeeded is False:
        yield "keep_result needs the rows of succeeded jobs; leave keep_succeeded out"


def _faults_of_policy(job_class: type[Job]) -> Iterator[str]:
    """A policy that would fail whenever it is asked, such as a class or a method of the job."""
    policy: object = job_class.retry
    if inspect.isclass(policy):
        yield f"retry is the class {policy.__name__}; give an object of it, such as Constant(30)"
    elif inspect.isfunction(policy):
        try:
            inspect.signature(policy).bind(1, Exception())
        except TypeError as error:
            yield (
                f"retry cannot be called with the number of the attempt and the error ({error}); "
                "write it as a function of these two, outside of the class or as a staticmethod"
            )
    attempts = getattr(policy, "attempts", None)
    if not _is_number_of_attempts(attempts):
        yield f"attempts of its retry policy is {attempts!r}; expected a whole number from 1"


# --- the methods ---------------------------------------------------------------------------------


def _faults_of_methods(job_class: type[Job]) -> Iterator[str]:
    yield from _faults_of_making(job_class)
    yield from _faults_of_generators(job_class)
    yield from _misspelt_hooks(job_class)


def _faults_of_making(job_class: type[Job]) -> Iterator[str]:
    """An `__init__` that wants arguments: workers make an object for each attempt without any."""
    if not inspect.isfunction(job_class.__init__):
        return
    try:
        inspect.signature(job_class.__init__).bind(None)
    except TypeError as error:
        yield (
            "an object of it is made for each attempt, without arguments, but __init__ wants them "
            f"({error}); let perform take what differs from job to job"
        )


def _faults_of_generators(job_class: type[Job]) -> Iterator[str]:
    perform = getattr(job_class, "perform")  # noqa: B009 - mypy does not know it of every class
    if inspect.isgeneratorfunction(perform) or inspect.isasyncgenfunction(perform):
        yield (
            "perform has a `yield`, so that calling it would run nothing of it; return a value, or "
            "enqueue a job for each part"
        )


def _misspelt_hooks(job_class: type[Job]) -> Iterator[str]:
    for name, value in _attributes_of_the_application(job_class):
        why_not = why_never_called(name, ATTEMPT_HOOKS) if inspect.isfunction(value) else None
        if why_not is not None:
            yield why_not


# --- the arguments -------------------------------------------------------------------------------


def _faults_of_arguments(job_class: type[Job], parameters: Parameters) -> Iterator[str]:
    unknown = [name for name in job_class.redact if name not in parameters.names]
    if unknown:
        yield f"redact names {unknown[0]!r}, which is no parameter of perform"
    for schedule in job_class.schedules().values():
        why_not = _why_not_with(parameters, schedule.args)
        if why_not:
            yield f"its schedule {schedule.expression!r}: {why_not}; give args={{…}} that fit"


def _why_not_with(parameters: Parameters, args: Mapping[str, Any]) -> str | None:
    """Why `perform` cannot be called with arguments of these names, if it cannot.

    A worker looks at their types when it starts. Here, the types that annotations name may not be
    defined yet.
    """
    kinds = parameters.signature.parameters
    star = [name for name, p in kinds.items() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    try:
        parameters.signature.bind(**{k: v for k, v in args.items() if k not in star})
    except TypeError as error:
        return str(error)
    return None
