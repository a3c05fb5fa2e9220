"""The meta of a job: what travels with it beside its arguments, such as a trace or a tenant.

It is a small JSON object that the job's `perform` is not called with. `.set(meta={…})` gives it,
and the hook `before_enqueue` may add to it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobqueue import log
from jobqueue.errors import InvalidArguments
from jobqueue.hooks import Observers
from jobqueue.json_text import json_text
from jobqueue.records import NewJob

MOST_META_BYTES = 8192
EXPECTED = "give a dict with text as keys and JSON values, such as meta={'tenant': 42}"


def meta_text(meta: Any, what: str = "meta") -> str | None:
    """Return the JSON of a job's meta; None for an empty one.

    Args:
        meta: what was given.
        what: by what name, for messages.

    Raises:
        InvalidArguments: it is no JSON object, or it is too large.
    """
    if not isinstance(meta, Mapping) or not all(isinstance(key, str) for key in meta):
        raise InvalidArguments(f"{what} is {_kind(meta)} and no JSON object; {EXPECTED}")
    text = json_text(dict(meta), what)
    size = len(text.encode())
    if size > MOST_META_BYTES:
        raise InvalidArguments(
            f"{what} has {size:,} bytes of JSON, and at most {MOST_META_BYTES:,} travel with a "
            "job; store what is large elsewhere, and its key here"
        )
    return text if meta else None


def _kind(meta: Any) -> str:
    """The type of what was given. Its values may be secret."""
    return "a dict with other keys than text" if isinstance(meta, Mapping) else type(meta).__name__


def meta_in(text: str | None) -> Mapping[str, Any]:
    """Return the meta in a row; an empty one where there is none, or where it is no object."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def with_meta_of_hooks(
    jobs: Sequence[NewJob], observers: Observers, logger: logging.Logger
) -> Sequence[NewJob]:
    """Return new jobs with what the hooks `before_enqueue` add to the meta of each.

    A hook that fails is logged. Where hooks add what cannot be stored, that is logged as well, and
    the job is stored without it.
    """
    if not observers.has("before_enqueue"):
        return jobs
    return [_with_meta_of_hooks(job, observers, logger) for job in jobs]


def _with_meta_of_hooks(job: NewJob, observers: Observers, logger: logging.Logger) -> NewJob:
    meta = dict(meta_in(job.meta))
    observers.call(logger, "before_enqueue", job, json.loads(job.args), meta)
    try:
        return replace(job, meta=meta_text(meta))
    except InvalidArguments as error:
        log.meta_refused(logger, job.handler, error)
        return job
