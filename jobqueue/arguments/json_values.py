"""Checks of values that are JSON, and the text of a job's arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from jobqueue.errors import InvalidArguments
from jobqueue.exact_json import numbers_in, written_in
from jobqueue.json_text import MAX_JSON_BYTES, json_text

MAX_ARGS_BYTES = MAX_JSON_BYTES
DEEPEST_NESTING = 200
LONGEST_SHOWN = 80

Refuse = Callable[[str], NoReturn]
"""Raises `InvalidArguments` for a reason."""


def refuse_for(job_name: str, why: str) -> NoReturn:
    """Raise `InvalidArguments` for a job of that name."""
    raise InvalidArguments(f"{job_name}: {why}") from None


# --- the text of arguments -----------------------------------------------------------------------


def encode_args(values: Mapping[str, Any], job_name: str) -> str:
    """The JSON text of arguments by name.

    Raises:
        InvalidArguments: they hold NaN, an infinity, NUL, half a surrogate pair or something that
            is not JSON, or their text is over 1 MiB.
    """
    return json_text(values, called_for(job_name)) if values else "{}"


def encode_unchecked(given: Mapping[str, Any], job_name: str) -> str:
    """The JSON text of arguments for a job whose code is not here.

    Raises:
        InvalidArguments: as in `encode_args`; also for keys that are not strings.
    """
    refuse = partial(refuse_for, job_name)
    require_json(dict(given), refuse)
    refuse_changed(given, refuse)
    return encode_args(given, job_name)


def called_for(job_name: str) -> str:
    """The name of a job's arguments in messages."""
    return f"{job_name}: the arguments"


# --- checks --------------------------------------------------------------------------------------


def require_json(value: Any, refuse: Refuse, depth: int = 0) -> None:
    """Refuse a value that JSON cannot carry, or would turn into something else."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            refuse(f"{value!r} is not a number that JSON has")
        return
    if depth > DEEPEST_NESTING:
        refuse("it contains itself, or is nested too deeply")
    if isinstance(value, list | tuple):
        for item in value:
            require_json(item, refuse, depth + 1)
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                refuse(f"key {key!r} of a dict is not a string, as JSON wants it")
            require_json(item, refuse, depth + 1)
        return
    refuse(
        f"{type(value).__name__} is not JSON; annotate the parameter with its type, "
        "or pass something simpler (an id)"
    )


def refuse_changed(value: Any, refuse: Refuse) -> None:
    """Refuse numbers that a float would change."""
    for number in written_in(value):
        if number.is_sure and not number.is_faithful:
            refuse(rounded(number.text))


def refuse_rounded_whole(value: Any, made: Callable[[], Any], refuse: Refuse) -> None:
    """Refuse whole numbers that have become floats with other digits.

    Args:
        value: in its JSON form.
        made: gives what came of it, as plain Python.
    """
    large = [n for n in numbers_in(value) if isinstance(n, int) and _as_float(n) != n]
    if not large:
        return
    floats = {number for number in numbers_in(made()) if type(number) is float}
    for number in large:
        if _as_float(number) in floats:
            refuse(rounded(str(number)))


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def has_nan(value: Any) -> bool:
    """Whether a JSON value holds NaN or an infinity."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(has_nan(item) for item in value.values())
    return isinstance(value, list) and any(has_nan(item) for item in value)


# --- messages ------------------------------------------------------------------------------------


def rounded(text: str) -> str:
    """The message for a number that a float would change."""
    return (
        f"{_cut(text)} has more digits than a float, and would be changed; annotate the parameter "
        "as Decimal, or pass a string"
    )


def short(value: object) -> str:
    """The `repr` of a value, cut if it is long."""
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
