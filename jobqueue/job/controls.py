"""The flow control of a job class, and that of each job by its arguments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobqueue.flow_control import (
    Controls,
    Debounce,
    Fair,
    Key,
    Limit,
    Ordered,
    Rate,
    Unique,
)
from jobqueue.job.keys import (
    LONGEST_KEY,
    hash_of,
    name_of_key,
    parameters_of,
    shortened,
    value_of_key,
    why_no_key,
)
from jobqueue.records import (
    ANY_TIME,
    AfterFailure,
    Debounced,
    DeclaredLimit,
    FlowControl,
    Gate,
    Terms,
)
from jobqueue.retry import LONGEST_WAIT, as_timedelta

if TYPE_CHECKING:
    from jobqueue.arguments import Parameters

LONGEST_LINE = 400
LONGEST_UNIQUE_KEY = 600
LONGEST_LIMIT_NAME = 255
MOST_AT_ONCE = 2**31 - 1
SHORTEST_PERIOD = timedelta(milliseconds=1)


# --- faults --------------------------------------------------------------------------------------


def faults_of(controls: Controls, parameters: Parameters, name: str) -> Iterator[str]:
    """Why controls cannot be used for a class with these parameters; nothing if they can."""
    yield from _faults_of_types(controls)
    yield from _faults_of_numbers(controls)
    for option, key in _keys_of(controls):
        why_not = why_no_key(key, parameters)
        if why_not is not None:
            yield f"{option}: {why_not}"
    yield from _faults_together(controls)
    names: list[Any] = [limit.name for limit in declared_limits(controls, name)]
    for limit_name in sorted({each for each in names if names.count(each) > 1}):
        yield (
            f"two limits are named {limit_name!r}; give one of them another name: Limit(…, name=…)"
        )
    yield from (
        f"the name of a limit has to be a text of 1 to {LONGEST_LIMIT_NAME} characters, not {n!r}"
        for n in names
        if not isinstance(n, str) or not 0 < len(n) <= LONGEST_LIMIT_NAME or not n.isprintable()
    )


def _faults_of_types(controls: Controls) -> Iterator[str]:
    limits: Any = controls.limits
    if limits is not None and not isinstance(limits, list | tuple):
        yield f"limits is {limits!r}; expected a tuple of Limit(…) and Rate(…)"
        return
    for limit in [] if limits is None else limits:
        if not isinstance(limit, Limit | Rate):
            yield f"limits has {limit!r}; expected Limit(…) and Rate(…)"
    for name, wanted in (
        ("unique", Unique),
        ("ordered", Ordered),
        ("fair", Fair),
        ("debounce", Debounce),
    ):
        value = getattr(controls, name)
        if value is not None and not isinstance(value, wanted):
            yield f"{name} is {value!r}; expected {wanted.__name__}(…)"
    if isinstance(controls.fair, Fair) and controls.fair.key is None:
        yield "fair needs a key, by which its jobs take turns: Fair(key=…)"


def _faults_of_numbers(controls: Controls) -> Iterator[str]:
    for limit in controls.limits or ():
        number = limit.number
        if type(number) is not int or not 0 <= number <= MOST_AT_ONCE:
            yield f"{limit!r}: the number has to be a whole one, 0 or more"
        if isinstance(limit, Rate):
            yield from _faults_of_duration("per", limit.per, SHORTEST_PERIOD)
    unique, debounce, ordered = controls.unique, controls.debounce, controls.ordered
    if unique is not None and unique.until not in {"finish", "start"}:
        yield f'unique: until is {unique.until!r}; expected "finish" or "start"'
    if unique is not None and unique.within is not None:
        yield from _faults_of_duration("unique: within", unique.within)
    if ordered is not None and ordered.on_failed not in {"stop", "go_on"}:
        yield f'ordered: on_failed is {ordered.on_failed!r}; expected "stop" or "go_on"'
    if debounce is not None:
        yield from _faults_of_duration("debounce: wait", debounce.wait)
        if debounce.max_wait is not None:
            yield from _faults_of_duration("debounce: max_wait", debounce.max_wait)
    if controls.expires_in is not None:
        yield from _faults_of_duration("expires_in", controls.expires_in)


def _faults_of_duration(
    name: str, duration: Any, least: timedelta = timedelta(microseconds=1)
) -> Iterator[str]:
    try:
        if isinstance(duration, bool):
            raise TypeError
        is_right = least <= as_timedelta(duration) <= LONGEST_WAIT
    except (TypeError, ValueError, OverflowError):
        is_right = False
    if not is_right:
        most = "1 ms or more" if least == SHORTEST_PERIOD else "more than 0"
        yield f"{name} is {duration!r}; expected seconds or a timedelta, {most}"


def _faults_together(controls: Controls) -> Iterator[str]:
    """Options that contradict each other. Each by itself is right."""
    unique, debounce = controls.unique, controls.debounce
    if debounce is not None:
        if unique is not None and unique.until == "start" and unique.within is None:
            yield 'debounce makes it unique until it starts; leave Unique(until="start") out'
        most = debounce.max_wait
        if most is not None and as_timedelta(most) < as_timedelta(debounce.wait):
            yield f"debounce: max_wait is {most!r}, which is shorter than wait, {debounce.wait!r}"
    if controls.ordered is not None and controls.fair is not None:
        yield (
            "ordered and fair exclude each other: jobs of an order cannot take turns; leave one "
            "of them out"
        )


def _keys_of(controls: Controls) -> Iterator[tuple[str, Key]]:
    """The keys, and the option that each belongs to."""
    given: list[tuple[str, Key | None]] = [("limits", each.key) for each in controls.limits or ()]
    if controls.unique is not None:
        given.append(("unique", controls.unique.by))
    for name in ("ordered", "fair", "debounce"):
        control = getattr(controls, name)
        if control is not None:
            given.append((name, control.key))
    yield from ((name, key) for name, key in given if key is not None)


# --- limits --------------------------------------------------------------------------------------


def declared_limits(controls: Controls, job_name: str) -> list[DeclaredLimit]:
    """The limits that a class declares, with their names."""
    return [
        DeclaredLimit(
            _limit_name(limit, job_name) if limit.name is None else limit.name,
            limit.number,
            as_timedelta(limit.per) if isinstance(limit, Rate) else None,
        )
        for limit in controls.limits or ()
    ]


def _limit_name(limit: Limit | Rate, job_name: str) -> str:
    parts = [job_name]
    if limit.key is not None:
        parts.append(name_of_key(limit.key))
    if isinstance(limit, Rate):
        parts.append("rate")
    return "/".join(parts)


# --- the flow control of a job -------------------------------------------------------------------


class ControlledCalls:
    """The flow control of the jobs of a class, or of one call, by their arguments.

    Args:
        controls: of the class, or of the call.
        parameters: those of `perform`.
        job_name: the name of the class.
        redact: parameters whose values must not be seen; a key of them is a hash.
    """

    def __init__(
        self,
        controls: Controls,
        parameters: Parameters,
        job_name: str,
        redact: Collection[str] = (),
    ) -> None:
        self._controls = controls
        self._parameters = parameters
        self._name = job_name
        self._redact = frozenset(redact)
        self._limits = list(
            zip(controls.limits or (), declared_limits(controls, job_name), strict=True)
        )
        self._needs_objects = any(callable(key) for _, key in _keys_of(controls))

    @property
    def wait(self) -> timedelta | None:
        """How long a job waits for other calls; None where there is no debounce."""
        debounce = self._controls.debounce
        return None if debounce is None else as_timedelta(debounce.wait)

    def of(self, args: str) -> FlowControl:
        """The flow control of a job, by the JSON text of its arguments.

        Raises:
            InvalidArguments: the function of a key raised something.
        """
        values = self._values(args)
        controls = self._controls
        terms = Terms(
            gates=tuple(self._gate(*limit, values) for limit in self._limits),
            takes_turns=controls.fair is not None,
            ordered=None if controls.ordered is None else AfterFailure(controls.ordered.on_failed),
        )
        return FlowControl(
            line=self._line(terms, values),
            terms=terms,
            expires_in=_timedelta(controls.expires_in),
            **self._keys(values),
        )

    def _values(self, args: str) -> Mapping[str, Any]:
        """The values of the parameters: as JSON has them, or as `perform` would get them."""
        if not self._needs_objects:
            return self._parameters.json_values(args)
        positional, named = self._parameters.load(args)
        bound = self._parameters.signature.bind(*positional, **named)
        bound.apply_defaults()
        return bound.arguments

    def _gate(
        self, limit: Limit | Rate, declared: DeclaredLimit, values: Mapping[str, Any]
    ) -> Gate:
        key = None if limit.key is None else self._text_of(limit.key, values)
        return Gate(declared.name, key, declared.number, declared.per)

    def _line(self, terms: Terms, values: Mapping[str, Any]) -> str | None:
        """The line that a job waits in. Jobs of a line pass the same gates, unless it is ordered:
        then each has its own, and all of them the same place in the order.
        """
        ordered, fair = self._controls.ordered, self._controls.fair
        if ordered is not None:
            key = "" if ordered.key is None else " of " + self._named_text(ordered.key, values)
            return shortened(f"{self._name}, in order{key}", LONGEST_LINE)
        parts = [gate.name for gate in terms.gates]
        if fair is not None:
            parts.append(f"{self._name}, turn of {self._named_text(fair.key, values)}")
        if not parts and not self._has_to_be_gated():
            return None
        return shortened(" & ".join(parts) or ANY_TIME, LONGEST_LINE)

    def _has_to_be_gated(self) -> bool:
        """Whether a release before flow control must not claim it."""
        unique = self._controls.unique
        is_freed_by_start = unique is not None and unique.until == "start" and not unique.within
        return (
            self._controls.expires_in is not None
            or self._controls.debounce is not None
            or is_freed_by_start
        )

    def _keys(self, values: Mapping[str, Any]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        unique, debounce = self._controls.unique, self._controls.debounce
        if unique is not None:
            key = self._unique_text(unique.by, values)
            if unique.within is not None:
                keys["held_key"] = f"{self._name} within {key}"
                keys["held_for"] = as_timedelta(unique.within)
            else:
                keys["waiting_key" if unique.until == "start" else "unique_key"] = key
        if debounce is not None:
            keys["waiting_key"] = (
                self._name if debounce.key is None else self._unique_text(debounce.key, values)
            )
            keys["debounced"] = Debounced(
                as_timedelta(debounce.wait), _timedelta(debounce.max_wait)
            )
        return keys

    def _unique_text(self, by: Key | None, values: Mapping[str, Any]) -> str:
        key = self._parameters.names if by is None else by
        if not key:
            return self._name
        return shortened(f"{self._name} {self._named_text(key, values)}", LONGEST_UNIQUE_KEY)

    def _named_text(self, key: Key, values: Mapping[str, Any]) -> str:
        return f"{name_of_key(key)}={self._text_of(key, values)}"

    def _text_of(self, key: Key, values: Mapping[str, Any]) -> str:
        """The value of a key as text; its hash where it is long, or must not be seen."""
        text = value_of_key(key, values, self._name)
        is_secret = not self._redact.isdisjoint(parameters_of(key))
        return hash_of(text) if is_secret else shortened(text, LONGEST_KEY)


def _timedelta(duration: timedelta | float | None) -> timedelta | None:
    return None if duration is None else as_timedelta(duration)
