"""Filters of jobs, written as queries in the language of `job_query`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from jobqueue.records import Between, JobFilter, JsonValue

_PLAIN = re.compile(r'[^\s":,*\\]+')


def query_text(where: JobFilter) -> str:
    """Return the query that asks for the jobs of a filter, with full names and absolute times.

    It is empty for a filter that means every job. A page's place in a list is left out.
    """
    return " ".join(_words(where))


def _words(where: JobFilter) -> Iterator[str]:
    yield from _several("id", where.ids)
    yield from _several("state", where.states)
    yield from _several("queue", where.queues)
    yield from _several("job", where.handlers)
    yield from _several("worker", where.workers)
    yield from _several("error_key", where.error_keys)
    if where.due is not None:
        yield f"due:{'yes' if where.due else 'no'}"
    if where.attempts is not None:
        yield f"attempts:{where.attempts}"
    for key, between in (
        ("created", where.created),
        ("started", where.started),
        ("finished", where.finished),
    ):
        if between is not None and between != Between():
            yield f"{key}:{_moment(between.first)}..{_moment(between.last)}"
    if where.changed is not None and where.changed.first is not None:
        yield f"since:{_moment(where.changed.first)}"
    if where.changed is not None and where.changed.last is not None:
        yield f"until:{_moment(where.changed.last)}"
    yield from (_at_path("args", wanted) for wanted in where.args)
    yield from (_at_path("meta", wanted) for wanted in where.meta)
    if where.error is not None:
        yield _quoted(where.error)


def _several(key: str, values: Iterable[object] | None) -> Iterator[str]:
    if values is not None:
        texts = [str(value) for value in values]
        joined = ",".join(texts)
        # A worker's id has colons in it, which quotes keep together.
        is_plain = all(_PLAIN.fullmatch(text) for text in texts)
        yield f"{key}:{joined if is_plain else _quoted(joined)}"


def _at_path(kind: str, wanted: JsonValue) -> str:
    value = "*" if wanted.value is None else _text(wanted.value)
    return f"{kind}.{'.'.join(wanted.path)}:{value}"


def _text(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else _quoted(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
