"""Expectations of enqueued jobs, and the messages when they are not met."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn

from jobqueue.app import find_job
from jobqueue.enqueue import checked_wait, checked_wait_until
from jobqueue.errors import InvalidArguments, JobqueueError
from jobqueue.job import Job, names_of, registry
from jobqueue.records import DEFAULT_PRIORITY, JobRecord
from jobqueue.redaction import MASK

OPTIONS = ("queue", "priority", "wait", "wait_until", "count")
TOLERANCE = timedelta(seconds=1)
MOST_LISTED = 20
LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Say how a job is not as expected."""

    name: str
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """A job that a test expects.

    Args:
        job_class: its class.
        args: the arguments that matter, by parameter name.
        options: of `queue`, `priority`, `wait` and `wait_until` those that matter.
        count: how many there have to be; None for at least one.
    """

    job_class: type[Job]
    args: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    count: int | None = None

    def fits(self, record: JobRecord) -> bool:
        """Whether a job is as expected."""
        return self.is_same_job(record) and not self.differences(record)

    def is_same_job(self, record: JobRecord) -> bool:
        """Whether a job is of the class that is expected."""
        return record.handler in names_of(self.job_class)

    def differences(self, record: JobRecord) -> list[Difference]:
        """Say how a job of the expected class is not as expected."""
        return [*self._different_args(record), *self._different_options(record)]

    def _different_args(self, record: JobRecord) -> Iterator[Difference]:
        decoded = _decoded_args(self.job_class, record)
        for name, expected in self.args.items():
            if name not in decoded and name not in record.args:
                yield Difference(name, self._shown(name, expected), "nothing")
            elif not _matches(expected, decoded, record.args, name):
                actual = decoded.get(name, record.args.get(name))
                shown = self._shown(name, actual)
                yield Difference(name, self._shown(name, expected), _unlike(shown, expected))

    def _different_options(self, record: JobRecord) -> Iterator[Difference]:
        actual = {
            "queue": record.queue,
            "priority": record.priority,
            "wait": record.run_at - record.created_at,
            "wait_until": record.run_at,
        }
        for name, expected in self.options.items():
            if not _is_about(expected, actual[name]):
                yield Difference(name, _short(expected), _short(actual[name]))

    def _shown(self, name: str, value: Any) -> str:
        return MASK if name in self.job_class.redact else _short(value)

    def __str__(self) -> str:
        shown = [f"{name}={self._shown(name, value)}" for name, value in self.args.items()]
        options = "".join(f" {n}={_short(value)}" for n, value in self.options.items())
        arguments = f"({', '.join(shown)})" if shown else ""
        return f"{self.job_class.name}{arguments}{options}"


# --- what is expected ----------------------------------------------------------------------------


def expectation_of(job: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Expectation:
    """The expectation that the arguments of `assert_enqueued` mean.

    Raises:
        InvalidArguments: `perform` has no such parameter, or an option cannot be used.
    """
    job_class = _class_of(job)
    parameters = job_class.parameters().signature.parameters
    options = {n: v for n, v in named.items() if n in OPTIONS and n not in parameters}
    arguments = {name: value for name, value in named.items() if name not in options}
    count = options.pop("count", None)
    if count is not None and (type(count) is not int or count < 1):
        raise InvalidArguments(
            f"count={count!r} is not a whole number from 1; for none, use assert_not_enqueued"
        )
    return Expectation(
        job_class=job_class,
        args=_by_name(job_class, args, arguments),
        options=_options_of(job) | _checked(options),
        count=count,
    )


def _class_of(job: Any) -> type[Job]:
    if isinstance(job, str):
        return find_job(job)
    job_class = job if isinstance(job, type) else type(job)
    if not issubclass(job_class, Job):
        raise InvalidArguments(f"{job!r} is no job; give its class, or its name")
    return job_class


def _options_of(job: Any) -> dict[str, Any]:
    """The options that an expected job was `.set()` to."""
    if not isinstance(job, Job):
        return {}
    options = job._options  # noqa: SLF001 - what perform_later reads as well
    names = [name for name in OPTIONS if name != "count"]
    given = {name: getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(options)
    if "wait" in options:
        checked["wait"] = checked_wait(options["wait"])
    if "wait_until" in options:
        checked["wait_until"] = checked_wait_until(options["wait_until"])
    return checked


def _by_name(
    job_class: type[Job], args: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    signature = job_class.parameters().signature
    try:
        bound = signature.bind_partial(*args, **named)
    except TypeError as error:
        raise InvalidArguments(f"{job_class.name}: {error}; perform takes {signature}") from None
    return _flat(bound)


def _flat(bound: inspect.BoundArguments) -> dict[str, Any]:
    """Arguments by name, with **kwargs among the others, as rows have them."""
    values = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            values |= values.pop(parameter.name, {})
        elif parameter.kind is parameter.VAR_POSITIONAL and parameter.name in values:
            values[parameter.name] = list(values[parameter.name])
    return values


# --- what was enqueued ---------------------------------------------------------------------------


def _decoded_args(job_class: type[Job], record: JobRecord) -> dict[str, Any]:
    """A job's arguments as `perform` will get them, defaults included."""
    parameters = job_class.parameters()
    try:
        args, kwargs = parameters.load(json.dumps(dict(record.args)))
    except JobqueueError:
        return {}
    bound = parameters.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return _flat(bound)


def _matches(
    expected: Any, decoded: Mapping[str, Any], stored: Mapping[str, Any], name: str
) -> bool:
    """Whether an argument is as expected, as Python has it or as JSON does."""
    forms = [values[name] for values in (decoded, stored) if name in values]
    return any(form == expected or form == _as_json(expected) for form in forms)


def _as_json(value: Any) -> Any:
    """The JSON form of an expected value: a tuple is stored as a list, and so on."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return value


def _is_about(expected: Any, actual: Any) -> bool:
    if isinstance(expected, datetime | timedelta):
        return bool(abs(actual - expected) <= TOLERANCE)
    return bool(actual == expected)


# --- what is said --------------------------------------------------------------------------------


def refuse_count(
    expectation: Expectation,
    found: int,
    enqueued: Sequence[JobRecord],
    uncommitted: Sequence[JobRecord],
) -> NoReturn:
    """Raise an `AssertionError` that says what was enqueued instead of what is expected."""
    __tracebackhide__ = True
    parts = [_headline(expectation, found)]
    same = [record for record in enqueued if expectation.is_same_job(record)]
    if same and not found:
        parts.append(_nearest(expectation, same))
    parts.append(f"Enqueued ({len(enqueued)}):\n{listing(enqueued)}" if enqueued else NOTHING)
    if uncommitted:
        parts.append(f"{UNCOMMITTED} ({len(uncommitted)}):\n{listing(uncommitted)}")
    raise AssertionError("\n\n".join(parts))


NOTHING = "Nothing was enqueued."
UNCOMMITTED = "In transactions that have not been committed, or were rolled back"


def refuse_all(what: str, found: Sequence[JobRecord]) -> NoReturn:
    """Raise an `AssertionError` that lists what should not have been enqueued."""
    __tracebackhide__ = True
    raise AssertionError(f"{what} should have been enqueued, but there is:\n{listing(found)}")


def listing(records: Sequence[JobRecord]) -> str:
    """The text that lists jobs, one a line."""
    lines = [f"  {_title(record)}" for record in records[:MOST_LISTED]]
    if len(records) > MOST_LISTED:
        lines.append(f"  … and {len(records) - MOST_LISTED} more")
    return "\n".join(lines)


def _headline(expectation: Expectation, found: int) -> str:
    if expectation.count is None:
        return f"{expectation} was not enqueued."
    times = "once" if found == 1 else f"{found} times" if found else "not at all"
    return f"{expectation} was enqueued {times}, not {expectation.count} times."


def _nearest(expectation: Expectation, same: Sequence[JobRecord]) -> str:
    nearest = min(same, key=lambda record: len(expectation.differences(record)))
    lines = [
        f"  {difference.name}: expected {difference.expected}, was {difference.actual}"
        for difference in expectation.differences(nearest)
    ]
    return "\n".join([f"The nearest is #{nearest.id}:", *lines])


def _title(record: JobRecord) -> str:
    job_class = registry.find(record.handler)
    redact = job_class.redact if job_class is not None else ()
    shown = [
        f"{name}={MASK if name in redact else _short(value)}" for name, value in record.args.items()
    ]
    wait = record.run_at - record.created_at
    options = f" queue={record.queue!r}"
    if record.priority != DEFAULT_PRIORITY:
        options += f" priority={record.priority}"
    if wait:
        options += f" wait={wait}"
    return f"#{record.id} {record.handler}({', '.join(shown)}){options}"


def _unlike(shown: str, expected: Any) -> str:
    """The text of an actual value, with its type where it would look like the expected one."""
    if shown == MASK:
        return "another"
    return f"{shown} (not a {type(expected).__name__})" if shown == _short(expected) else shown


def _short(value: Any) -> str:
    text = str(value) if isinstance(value, datetime | timedelta) else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
