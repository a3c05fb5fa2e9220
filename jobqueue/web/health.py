"""Health over HTTP: this process answers, its database answers."""

from __future__ import annotations

from jobqueue.web.operations import Answer, ApiCall


async def healthz(_: ApiCall) -> Answer:
    """Answer that this process answers."""
    return Answer({"status": "ok"})


def readyz(call: ApiCall) -> Answer:
    """Answer that the database answers and has its tables."""
    call.adapter.ping()
    return Answer({"status": "ok"})


async def home(call: ApiCall) -> Answer:
    """Answer where to look further."""
    return Answer(
        {"document": call.url("/api/openapi.json"), "jobs": call.url("/api/jobs")},
    )
