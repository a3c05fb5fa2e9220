"""The flow control of a job class, and that of each job by its arguments."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobqueue.errors import InvalidArguments
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

LONGEST_KEY = 120
LONGEST_LINE = 400
LONGEST_LIMIT_NAME = 255
MOST_AT_ONCE = 2**31 - 1


# --- faults --------------------------------------------------------------------------------------


def faults_of(controls: Controls, parameters: Parameters, name: str) -> Iterator[str]:
    """Why controls cannot be used for a class with these parameters; nothing if they can."""
    yield from _faults_of_types(controls)
    yield from _faults_of_numbers(controls)
    for option, key in _keys_of(controls):
        yield from _faults_of_key(option, key, parameters)
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


def _faults_of_numbers(controls: Controls) -> Iterator[str]:
    for limit in controls.limits or ():
        number = limit.number
        if type(number) is not int or not 0 <= number <= MOST_AT_ONCE:
            yield f"{limit!r}: the number has to be a whole one, 0 or more"
        if isinstance(limit, Rate):
            yield from _faults_of_duration("per", limit.per)
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
        if unique is not None and unique.until == "start" and unique.within is None:
            yield 'debounce makes it unique until it starts; leave Unique(until="start") out'
    if controls.expires_in is not None:
        yield from _faults_of_duration("expires_in", controls.expires_in)


def _faults_of_duration(name: str, duration: Any) -> Iterator[str]:
    try:
        if isinstance(duration, bool):
            raise TypeError
        is_right = timedelta(0) < as_timedelta(duration) <= LONGEST_WAIT
    except (TypeError, ValueError, OverflowError):
        is_right = False
    if not is_right:
        yield f"{name} is {duration!r}; expected seconds or a timedelta, more than 0"


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


def _faults_of_key(option: str, key: Key, parameters: Parameters) -> Iterator[str]:
    try:
        wanted = _parameters_of(key)
    except (TypeError, ValueError):
        yield (
            f"{option}: {key!r} is no key; expected the name of a parameter, several names, or a "
            "function of them"
        )
        return
    for name in wanted:
        if name not in parameters.names:
            yield (f"{option}: perform has no parameter {name!r}; it has {parameters.shown()}")


def _parameters_of(key: Key) -> tuple[str, ...]:
    """The parameters of `perform` that a key needs."""
    if isinstance(key, str):
        return (key,)
    if callable(key):
        return tuple(inspect.signature(key).parameters)
    names = tuple(key)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError
    return names


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
        parts.append(_key_name(limit.key))
    if isinstance(limit, Rate):
        parts.append("rate")
    return "/".join(parts)


def _key_name(key: Key) -> str:
    if isinstance(key, str):
        return key
    if callable(key):
        name = getattr(key, "__name__", "key")
        return "+".join(_parameters_of(key)) if name == "<lambda>" else name
    return "+".join(key)


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
            return {**self._parameters.defaults(self._parameters.names), **json.loads(args)}
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
            return _shortened(f"{self._name}, in order{key}", LONGEST_LINE)
        parts = [gate.name for gate in terms.gates]
        if fair is not None:
            parts.append(f"{self._name}, turn of {self._named_text(fair.key, values)}")
        if not parts and not self._has_to_be_gated():
            return None
        return _shortened(" & ".join(parts) or ANY_TIME, LONGEST_LINE)

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
        return f"{self._name} {self._named_text(key, values)}" if key else self._name

    def _named_text(self, key: Key, values: Mapping[str, Any]) -> str:
        return f"{_key_name(key)}={self._text_of(key, values)}"

    def _text_of(self, key: Key, values: Mapping[str, Any]) -> str:
        """The value of a key as text; its hash where it is long, or must not be seen."""
        wanted = _parameters_of(key)
        if callable(key):
            value = self._call(key, {name: values.get(name) for name in wanted})
        else:
            found = [values.get(name) for name in wanted]
            value = found[0] if isinstance(key, str) else found
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        is_secret = not self._redact.isdisjoint(wanted)
        return _hash(text) if is_secret else _shortened(text, LONGEST_KEY)

    def _call(self, key: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        try:
            return key(**given)
        except Exception as error:
            raise InvalidArguments(
                f"{self._name}: the key {_key_name(key)!r} of its flow control raised "
                f"{type(error).__name__}: {error}"
            ) from error


def _timedelta(duration: timedelta | float | None) -> timedelta | None:
    return None if duration is None else as_timedelta(duration)


def _shortened(text: str, longest: int) -> str:
    """A text, with its hash in the place of its end where it is too long for an index."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 40]}…{_hash(text)}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
