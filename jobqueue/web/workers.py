"""Workers over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from jobqueue.records import WorkerEnd
from jobqueue.views.workers import WorkerView, all_workers, ended_workers, stacks_json
from jobqueue.web.operations import Answer, ApiCall
from jobqueue.web.problems import Problem


def list_workers(call: ApiCall) -> Answer:
    """Answer the workers of all machines, and the jobs that each performs."""
    ended = ended_workers(call.adapter) if call.query.ended == "true" else None
    return Answer(
        {
            "workers": [_as_json(worker) for worker in all_workers(call.adapter)],
            "ended": None if ended is None else [_end_json(end) for end in ended],
        }
    )


def ask_for_stacks(call: ApiCall) -> Answer:
    """Ask a worker for the stacks of its threads and tasks."""
    worker_id: str = call.path["id"]
    if all(worker.id != worker_id for worker in call.adapter.workers()):
        raise Problem(404, f"no worker has the id {worker_id!r}; GET /api/workers lists them")
    question = call.adapter.ask_for_stacks(worker_id, call.access.who)
    call.note("asked for", f"the stacks of worker {worker_id}")
    return Answer(stacks_json(question), 202)


def show_stacks(call: ApiCall) -> Answer:
    """Answer the stacks that a worker has stored, if it has."""
    worker_id: str = call.path["id"]
    found = call.adapter.stacks_of(worker_id)
    if found is None:
        raise Problem(404, f"nobody has asked for the stacks of worker {worker_id!r}; POST does so")
    return Answer(stacks_json(found))


def _end_json(end: WorkerEnd) -> dict[str, Any]:
    times = {"started_at": end.started_at.isoformat(), "ended_at": end.ended_at.isoformat()}
    return asdict(end) | times


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
        "release": record.release,
        "state": worker.state,
        "memory_bytes": worker.memory_bytes,
        "jobs": [
            {
                "id": job.id,
                "name": job.handler,
                "locked_at": job.locked_at and job.locked_at.isoformat(),
            }
            for job in worker.jobs
        ],
    }
