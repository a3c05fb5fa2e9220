"""The keys of flow control: which parameters a key is made of, and its value as text."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jobqueue.arguments.json_values import short
from jobqueue.errors import InvalidArguments
from jobqueue.flow_control import Key

if TYPE_CHECKING:
    from jobqueue.arguments import Parameters

LONGEST_KEY = 120

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def why_no_key(key: Key, parameters: Parameters) -> str | None:
    """Return why something cannot be a key of jobs with these parameters; None if it can."""
    try:
        wanted = parameters_of(key)
    except (TypeError, ValueError):
        return (
            f"{key!r} is no key; expected the name of a parameter, several names in a tuple, or a "
            "function of them"
        )
    for name in wanted:
        if name not in parameters.names:
            return f"perform has no parameter {name!r}; it has {parameters.shown()}"
    return None


def parameters_of(key: Key) -> tuple[str, ...]:
    """Return the parameters of `perform` that a key needs.

    Raises:
        TypeError: it is none. A set has another order in every process.
        ValueError: it is a function whose parameters are not known.
    """
    if isinstance(key, str):
        return (key,)
    if callable(key):
        return _parameters_of_function(key)
    if not isinstance(key, list | tuple) or not key:
        raise TypeError
    if not all(isinstance(name, str) for name in key):
        raise TypeError
    return tuple(key)


def _parameters_of_function(key: Callable[..., Any]) -> tuple[str, ...]:
    taken = inspect.signature(key).parameters
    kinds = {parameter.kind for parameter in taken.values()}
    if not taken or not kinds <= _NAMED or inspect.iscoroutinefunction(key):
        raise TypeError
    return tuple(taken)


def name_of_key(key: Key) -> str:
    """Return what a key is called, in the names of limits and lines."""
    if isinstance(key, str):
        return key
    if callable(key):
        name = getattr(key, "__name__", "key")
        return "+".join(parameters_of(key)) if name == "<lambda>" else name
    return "+".join(key)


def value_of_key(key: Key, values: Mapping[str, Any], job_name: str) -> str:
    """Return the value of a key as text, which is the same in every process.

    Args:
        key: the key.
        values: the values of the parameters by name.
        job_name: the job's name, for messages.

    Raises:
        InvalidArguments: its function raised something, or gave what has no such text.
    """
    wanted = parameters_of(key)
    if callable(key):
        value = _called(key, {name: values.get(name) for name in wanted}, job_name)
    else:
        found = [values.get(name) for name in wanted]
        value = found[0] if isinstance(key, str) else found
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidArguments(
            f"{job_name}: the key {name_of_key(key)!r} of its flow control is {short(value)}; "
            "expected text, a number, a date, None, or a list of these, which is the same in "
            "every process. Have a function of the parameters make one: key=lambda …"
        ) from None
    return text


def _called(key: Callable[..., Any], given: Mapping[str, Any], job_name: str) -> Any:
    try:
        return key(**given)
    except Exception as error:
        raise InvalidArguments(
            f"{job_name}: the key {name_of_key(key)!r} of its flow control raised "
            f"{type(error).__name__}: {error}"
        ) from error


def _plain(value: Any) -> Any:
    """The text of values that JSON has no form for; raises `TypeError` for all others."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, UUID | Decimal | timedelta):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError


def shortened(text: str, longest: int) -> str:
    """Return a text, with its hash in place of its end where it is too long for an index."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 40]}…{hash_of(text)}"


def hash_of(text: str) -> str:
    """Return the hash of a text, for keys that must not be seen."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
