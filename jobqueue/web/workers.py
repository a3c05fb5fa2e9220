"""Workers over HTTP."""

from __future__ import annotations

from typing import Any

from jobqueue.views.workers import WorkerView, all_workers
from jobqueue.web.operations import Answer, ApiCall


def list_workers(call: ApiCall) -> Answer:
    """Answer the workers of all machines, and the jobs that each performs."""
    return Answer({"workers": [_as_json(worker) for worker in all_workers(call.adapter)]})


def _as_json(worker: WorkerView) -> dict[str, Any]:
    record = worker.record
    return {
        "id": record.id,
        "name": record.name,
        "host": record.host,
        "pid": record.pid,
        "queues": None if record.queues is None else list(record.queues),
        "concurrency": record.concurrency,
        "started_at": record.started_at.isoformat(),
        "heartbeat_at": record.heartbeat_at.isoformat(),
        "lost": worker.lost,
        "jobs": [
            {
                "id": job.id,
                "name": job.handler,
                "locked_at": job.locked_at and job.locked_at.isoformat(),
            }
            for job in worker.jobs
        ],
    }
