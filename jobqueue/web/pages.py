"""Pages of jobs over HTTP, and the filter of jobs that a request asks for."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.records import JobFilter
from jobqueue.views.job_query import narrowed
from jobqueue.views.jobs import names_meant
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
        InvalidQuery: its `q` cannot be understood.
    """
    names = [full for name in asked.name or () for full in names_meant(name)]
    where = JobFilter(
        ids=_tuple(getattr(asked, "ids", None)),
        states=_tuple(asked.state),
        queues=_tuple(asked.queue),
        handlers=None if asked.name is None else _tuple(names),
    )
    return narrowed(where, asked.q, adapter.now(), names_meant) if asked.q else where


def _tuple(values: Collection[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(dict.fromkeys(values))
