"""The keys of the command line's JSON and of the API's answers, in their order, as published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.cli import app
from jobqueue.clock import ManualClock
from jobqueue.defaults import default_configuration
from jobqueue.records import NewJob, NewSchedule
from jobqueue.testing.contract.base import a_claim, new_worker

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
RULE = {"cron": "0 * * * *", "tz": "UTC"}

JOB = [
    *("id", "handler", "args", "queue", "priority", "state", "attempts", "max_attempts"),
    *("run_at", "created_at", "updated_at", "locked_at", "locked_by", "crashes", "last_error"),
    *("failed_at", "finished_at", "progress", "result", "cancel_requested_at"),
    *("started_at", "run_seconds", "performed_by", "error_key", "meta"),
    *("line", "terms", "expires_at", "unique_key", "waiting_key"),
]
WORKER = ["id", "name", "host", "pid", "queues", "concurrency", "started_at", "heartbeat_at"]
OUTLOOK = {
    "course": "unknown",
    "in_per_minute": None,
    "out_per_minute": 0.0,
    "growth_per_minute": None,
    "empty_at": None,
}
SCHEDULE = [
    *("app", "name", "job", "args", "schedule", "tz", "catch_up", "queue", "priority", "state"),
    *("paused", "next_tick", "last_tick", "next_ticks", "last_jobs"),
]

Read = Callable[..., Any]


@pytest.fixture
def adapter() -> Iterator[Adapter]:
    """One job that a worker performs, one that waits, and a recurring one."""
    made = MemoryAdapter(clock=ManualClock(NOON))
    made.register_worker(new_worker())
    made.enqueue([NewJob("Begun", "{}", "email", 50, 5)])
    made.claim(a_claim())
    made.enqueue([NewJob("Due", '{"to": "ann"}', "email", 50, 5)])
    made.declare_schedules(
        "jobs", [NewSchedule("Hourly", "Work", "{}", RULE, True, "default", 50, 5)]
    )
    yield made
    made.close()


@pytest.fixture
def jobs(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """The command line on it, which answers with JSON."""
    monkeypatch.setattr(default_configuration, "_connect", lambda _: adapter)
    monkeypatch.setenv("JOBS_APP", "tests.sample_jobs")

    def run(*arguments: str) -> Any:
        return json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)

    yield run
    default_configuration.reset()


@pytest.fixture
def api(adapter: Adapter) -> Iterator[Read]:
    """The API on it."""
    application = jobqueue.web.app(lambda _: ("ann", "admin"), queue=JobQueue(adapter))
    with TestClient(application) as client:
        yield lambda path: client.get(f"/api/{path}").json()


def test_a_job(jobs: Read, api: Read) -> None:
    listed, shown = jobs("list"), jobs("show", "2")
    assert [list(job) for job in listed] == [JOB] * 2
    assert list(shown) == [*JOB, "history"]
    page = api("jobs")
    assert list(page) == ["jobs", "next"]
    assert [list(job) for job in (*page["jobs"], api("job/2"))] == [["id", "name", *JOB[1:]]] * 3
    assert page["jobs"] == [{"name": job["handler"], **job} for job in listed]
    assert shown["args"] == {"to": "***"}


def test_a_worker(jobs: Read, api: Read) -> None:
    status = jobs("status")
    assert list(status) == ["workers", "queues"]
    [by_command], [by_api], [examined] = (
        status["workers"],
        api("workers")["workers"],
        jobs("doctor")["workers"],
    )
    assert list(by_command) == [
        *(*WORKER, "memory_bytes", "lost", "resting", "release", "state", "jobs")
    ]
    assert list(by_api) == [*WORKER, "lost", "release", "state", "memory_bytes", "jobs"]
    assert list(examined) == [*WORKER[:6], "lease", *WORKER[6:], "release", "lost"]
    assert [list(job) for job in by_command["jobs"]] == [["id", "handler", "locked_at"]]
    assert [list(job) for job in by_api["jobs"]] == [["id", "name", "locked_at"]]
    assert {name: by_command[name] for name in (*WORKER, "lost")} == {
        name: by_api[name] for name in (*WORKER, "lost")
    }


def test_a_queue(jobs: Read, api: Read) -> None:
    [by_command], [by_api] = jobs("status")["queues"], api("queues")["queues"]
    unpaused = dict.fromkeys(("paused_at", "paused_until", "paused_by", "reason"))
    assert by_command == {
        "queue": "email",
        "due": 1,
        "later": 0,
        "running": 1,
        "oldest_age_seconds": 0.0,
        "paused": False,
        **OUTLOOK,
        **unpaused,
    }
    assert by_api == {
        "name": "email",
        "due": 1,
        "later": 0,
        "running": 1,
        "more": False,
        "oldest_age_seconds": 0.0,
        "paused": False,
        **OUTLOOK,
        **unpaused,
    }


def test_a_schedule(jobs: Read, api: Read) -> None:
    by_command, by_api = jobs("schedules", "list"), api("schedules")["schedules"]
    assert [list(schedule) for schedule in by_command] == [SCHEDULE]
    assert by_command == by_api
    assert by_api[0]["next_tick"] == (NOON + timedelta(hours=1)).isoformat()
