"""A job's progress as server-sent events, for `EventSource` in a web page."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
from starlette.responses import Response

from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import FINISHED_STATES
from jobqueue.stored import StoredJob
from jobqueue.web.access import Scope
from jobqueue.web.jobs import found, job_json
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import as_json
from jobqueue.web.streams import EventStream

FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 1.0
SILENCE_SECONDS = 15.0
LONGEST_STREAM_SECONDS = 300.0
ACCESS_SECONDS = 5.0
"""How often it is asked whether the caller may still read: a token may have been revoked."""
HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
COMMENT = b": still here\n\n"


async def events(call: ApiCall) -> Response:
    """Answer an event for every change of a job, until it is done."""
    job = await call.on_thread(found, call)
    if call.request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=HEADERS)
    return EventStream(_stream(call, job), call.api.streams, call.access.who, HEADERS)


async def _stream(call: ApiCall, job: StoredJob) -> AsyncGenerator[bytes, None]:
    """Yield the events. An error ends the stream; the client connects again, and is told."""
    yield b"retry: 1000\n\n"
    try:
        async with aclosing(_changes(call, job)) as changes:
            async for change in changes:
                yield change
    except Exception as error:  # noqa: BLE001 - every error is logged
        call.api.answer_error(error, call.request.method, call.request.url.path)


async def _changes(call: ApiCall, job: StoredJob) -> AsyncGenerator[bytes, None]:
    """Yield an event for each change. It ends after a while, and when access is withdrawn."""
    began = said_at = asked_at = time.monotonic()
    seen: Any = None
    pause = FIRST_LOOK_SECONDS
    while time.monotonic() - began < LONGEST_STREAM_SECONDS:
        # Masking takes its time, which other requests must not wait for.
        now_shown = await call.on_thread(job_json, job)
        if job.state in FINISHED_STATES:
            yield event("finished", now_shown)
            return
        if now_shown != seen:
            yield event("progress", now_shown)
            seen, said_at, pause = now_shown, time.monotonic(), FIRST_LOOK_SECONDS
        elif time.monotonic() - said_at > SILENCE_SECONDS:
            yield COMMENT
            said_at = time.monotonic()
        await anyio.sleep(pause)
        if time.monotonic() - asked_at > ACCESS_SECONDS:
            if not await call.api.may(Scope.READ, call.request):
                return
            asked_at = time.monotonic()
        pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)
        now = await _now(call, job)
        if now is None:
            yield event("gone", {"id": job.id})
            return
        job = now


async def _now(call: ApiCall, job: StoredJob) -> StoredJob | None:
    """Return the job as it is now, or as it was if the database does not answer."""
    try:
        now: StoredJob | None = await call.on_thread(call.adapter.get, job.id, can_be_left=True)
    except DatabaseUnavailable:
        return job
    return now


def event(name: str, value: Any) -> bytes:
    """Return an event as it is sent. JSON has no line breaks of its own."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), as_json(value))
