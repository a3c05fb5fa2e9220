"""Filters of jobs as JSON, in which a bulk action remembers which jobs it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from jobqueue.records.jobs import Between, JobFilter, JobState, JsonValue


def filter_to_json(where: JobFilter) -> dict[str, Any]:
    """Return a filter as a JSON object, with what it says and nothing else."""
    nothing = JobFilter()
    said = {field.name: getattr(where, field.name) for field in fields(JobFilter)}
    return {name: _plain(v) for name, v in said.items() if v != getattr(nothing, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Between):
        return [_plain(value.first), _plain(value.last)]
    if isinstance(value, JsonValue):
        return {"path": list(value.path), "value": value.value}
    return value.isoformat() if isinstance(value, datetime) else value


def filter_from_json(found: Any) -> JobFilter:
    """Return the filter that `filter_to_json` has made this JSON of.

    Raises:
        ValueError: it has not, or this release does not know all of it. To leave a part of a filter
            out would mean more jobs.
    """
    if not isinstance(found, Mapping):
        raise ValueError(f"{found!r:.100} is no filter of jobs")
    said = {}
    for name, value in found.items():
        if name not in READERS:
            raise ValueError(f"a filter of jobs has no {name!r:.100}")
        said[name] = READERS[name](value)
    return JobFilter(**said)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in _list(found))


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError(f"{found!r:.100} is no text")
    return found


def _whole_numbers(found: Any) -> tuple[int, ...]:
    return tuple(_whole_number(one) for one in _list(found))


def _whole_number(found: Any) -> int:
    if type(found) is not int:
        raise ValueError(f"{found!r:.100} is no whole number")
    return found


def _states(found: Any) -> tuple[JobState, ...]:
    return tuple(JobState(_text(one)) for one in _list(found))


def _flag(found: Any) -> bool:
    if type(found) is not bool:
        raise ValueError(f"{found!r:.100} is neither true nor false")
    return found


def _between(found: Any) -> Between:
    first, last = _list(found)
    return Between(_moment(first), _moment(last))


def _moment(found: Any) -> datetime | None:
    if found is None:
        return None
    moment = datetime.fromisoformat(_text(found))
    if moment.tzinfo is None:
        raise ValueError(f"{found!r:.100} has no time zone")
    return moment


def _json_values(found: Any) -> tuple[JsonValue, ...]:
    return tuple(_json_value(one) for one in _list(found))


def _json_value(found: Any) -> JsonValue:
    if not isinstance(found, Mapping) or set(found) != {"path", "value"}:
        raise ValueError(f"{found!r:.100} is no value at a path")
    path, value = _texts(found["path"]), found["value"]
    if not path:
        raise ValueError("a path has no names")
    return JsonValue(path, None if value is None else _text(value))


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"{found!r:.100} is no list")
    return found


READERS: Mapping[str, Callable[[Any], Any]] = {
    "ids": _whole_numbers,
    "states": _states,
    "queues": _texts,
    "handlers": _texts,
    "before_id": _whole_number,
    "due": _flag,
    "workers": _texts,
    "created": _between,
    "started": _between,
    "finished": _between,
    "changed": _between,
    "attempts": _whole_number,
    "args": _json_values,
    "meta": _json_values,
    "error": _text,
    "error_keys": _texts,
    "flows": _whole_numbers,
}
"""How the value of each field is read."""
