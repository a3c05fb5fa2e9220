"""Values of columns, read as what they ought to be.

Somebody may have written anything into a row that its column allows, and SQLite allows anything
anywhere. One such row must not spoil the reading of all others. So nothing here raises: a value
that cannot be one is read as the nearest that can, or as nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from jobqueue.adapters.sql.tables import to_name
from jobqueue.records import duration_of

UNDECODABLE = "(undecodable)"
LARGEST = 2**31 - 1
"""The largest number in an integer column."""


def decoded(text: str | bytes | None) -> Any:
    """The value of JSON in a column, or the text if it is no JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return to_name(text)


def decoded_args(text: str | bytes) -> Mapping[str, Any]:
    """The arguments of a row; if they are no JSON object, their text under `UNDECODABLE`."""
    return args_in(decoded(text), text)


def args_in(found: Any, text: Any = None) -> Mapping[str, Any]:
    """Decoded arguments; if they are no JSON object, they or their text under `UNDECODABLE`."""
    return found if isinstance(found, dict) else {UNDECODABLE: found if text is None else text}


def whole(found: Any, least: int, most: int = LARGEST) -> int:
    """A whole number of that range, the nearest one; the least where there is no number."""
    if not isinstance(found, int | float | Decimal) or math.isnan(found):
        return least
    return int(min(max(found, least), most))


def span(seconds: Any) -> timedelta:
    """A duration in seconds, as long as durations can be, and never less than none."""
    if not isinstance(seconds, int | float) or math.isnan(seconds):
        return timedelta(0)
    return max(duration_of(seconds), timedelta(0))


def mapping(found: Any) -> Mapping[str, Any]:
    """A JSON object; an empty one where there is none."""
    return found if isinstance(found, dict) else {}


def names(found: Any) -> tuple[str, ...]:
    """The texts in a JSON array; none where there is no array."""
    return tuple(name for name in found if isinstance(name, str)) if _is_list(found) else ()


def name_or_none(found: str | bytes | None) -> str | None:
    """A name, where there is one."""
    return None if found is None else to_name(found)


def moment(found: Any, otherwise: datetime) -> datetime:
    """A moment out of JSON, in UTC."""
    with suppress(TypeError, ValueError, OverflowError):
        read = datetime.fromisoformat(found)
        if read.tzinfo is not None:
            return read.astimezone(UTC)
    return otherwise


def _is_list(found: Any) -> bool:
    return isinstance(found, list | tuple)
