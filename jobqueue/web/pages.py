"""Pages of jobs over HTTP, and the filter of jobs that a request asks for."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.errors import InvalidQuery
from jobqueue.job import registry
from jobqueue.records import JobFilter
from jobqueue.views.job_query import narrowed
from jobqueue.views.jobs import is_public, names_meant
from jobqueue.web.jobs import job_json
from jobqueue.web.models import JobFilterBody, JobsQuery
from jobqueue.web.operations import Answer, ApiCall

FILLING_SECONDS = 0.05


def list_jobs(call: ApiCall) -> Answer:
    """Answer a page of jobs, the newest first."""
    query: JobsQuery = call.query
    where = replace(filter_of(query, call.adapter), before_id=query.before)
    shown, following = _some(call.adapter, where, query.limit)
    return Answer({"jobs": shown, "next": following})


def _some(
    adapter: ReadsRole, where: JobFilter, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    """Return some jobs, and where to go on; short pages are joined while there is time."""
    shown: list[dict[str, Any]] = []
    deadline = time.monotonic() + FILLING_SECONDS
    while True:
        page = adapter.page_jobs(where, limit - len(shown))
        shown += map(job_json, page.jobs)
        where = replace(where, before_id=page.next_before_id)
        is_over = page.next_before_id is None or page.is_full or time.monotonic() > deadline
        if is_over or len(shown) == limit:
            return shown, page.next_before_id


def filter_of(asked: JobsQuery | JobFilterBody, adapter: ReadsRole) -> JobFilter:
    """Return the filter that a query or a body asks for.

    Raises:
        InvalidQuery: its `q` cannot be understood, or asks for secret arguments.
    """
    names = [full for name in asked.name or () for full in names_meant(name)]
    where = JobFilter(
        ids=_tuple(getattr(asked, "ids", None)),
        states=_tuple(asked.state),
        queues=_tuple(asked.queue),
        handlers=None if asked.name is None else _tuple(names),
    )
    if not asked.q:
        return where
    where = narrowed(where, asked.q, adapter.now(), names_meant, "a parameter")
    return _without_secrets(where, asked.q) if where.args else where


def _without_secrets(where: JobFilter, query: str) -> JobFilter:
    """Return a filter that asks for arguments which are shown, of classes that are known here.

    Otherwise somebody could find out by trying what is masked.

    Raises:
        InvalidQuery: it asks for others.
    """
    classes = {name: registry.find(name) for name in where.handlers or ()}
    known = {name: job_class for name, job_class in classes.items() if job_class is not None}
    if not known:
        why = "args. needs job: with a class that this server knows: others may keep theirs secret"
        raise InvalidQuery(why, query, 0, len(query))
    for job_class in known.values():
        for wanted in where.args:
            if not is_public(job_class, wanted.path[0]):
                why = f"{job_class.name} keeps {wanted.path[0]} secret; ask for something else"
                raise InvalidQuery(why, query, 0, len(query))
    return replace(where, handlers=tuple(known))


def _tuple(values: Collection[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(dict.fromkeys(values))
