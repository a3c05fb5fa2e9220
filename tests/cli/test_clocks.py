"""What commands and the API say of times, where the database's clock is not the host's."""

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
from jobqueue.cli import app
from jobqueue.clock import ManualClock
from jobqueue.defaults import default_configuration
from jobqueue.records import JobFilter, NewJob, NewSchedule
from jobqueue.testing.contract.base import LEASE, a_claim, new_worker
from tests.conftest import DATABASES, build_adapter

MINUTE = timedelta(minutes=1)
RULE = {"cron": "0 * * * *", "tz": "UTC"}

Jobs = Callable[..., str]


@pytest.fixture(params=[-5, 5], ids=["years behind", "years ahead"])
def clock(request: pytest.FixtureRequest) -> ManualClock:
    """The database's clock."""
    return ManualClock(datetime(datetime.now(UTC).year + request.param, 6, 1, tzinfo=UTC))


@pytest.fixture(params=DATABASES)
def adapter(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
    made = build_adapter(request, request.param, clock)
    yield made
    made.close()


@pytest.fixture
def jobs(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """The command line, on that database."""
    monkeypatch.setattr(default_configuration, "_connect", lambda _: adapter)
    monkeypatch.setenv("JOBS_APP", "tests.sample_jobs")
    monkeypatch.setenv("JOBS_DATABASE_URL", "sqlite:///the-one-of-the-test.sqlite3")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        return done.output

    yield run
    default_configuration.reset()


def test_a_worker_is_lost_when_its_lease_has_ended_there(
    adapter: Adapter, clock: ManualClock, jobs: Jobs
) -> None:
    adapter.register_worker(new_worker())
    for age, lost in ((timedelta(0), False), (LEASE, False), (LEASE + MINUTE, True)):
        clock.advance(age)
        found = json.loads(jobs("status", "--json"))["workers"]
        assert [worker["lost"] for worker in found] == [lost]
        assert ("lost" in jobs("status")) is lost
        assert [worker["lost"] for worker in workers_of_the_api(adapter)] == [lost]
        adapter.beat(["worker-1"])


def test_a_heartbeat_in_the_future_is_no_sign_of_life(
    adapter: Adapter, clock: ManualClock, jobs: Jobs
) -> None:
    """It was sent while the clock was ahead."""
    clock.advance(10 * MINUTE)
    adapter.register_worker(new_worker())
    clock.advance(-10 * MINUTE)
    for lost in (True, False):
        found = json.loads(jobs("status", "--json"))["workers"]
        assert [worker["lost"] for worker in found] == [lost]
        adapter.beat(["worker-1"])


def workers_of_the_api(adapter: Adapter) -> list[dict[str, Any]]:
    with TestClient(
        jobqueue.web.app(lambda _: ("ann", "admin"), queue=JobQueue(adapter))
    ) as client:
        found: list[dict[str, Any]] = client.get("/api/workers").json()["workers"]
    return found


def test_how_long_ago_it_was(adapter: Adapter, clock: ManualClock, jobs: Jobs) -> None:
    adapter.register_worker(new_worker())
    adapter.enqueue([NewJob("Later", "{}", "default", 50, 5, delay=10 * MINUTE)])
    adapter.enqueue([NewJob("Begun", "{}", "default", 50, 5)])
    adapter.claim(a_claim())
    clock.advance(5 * MINUTE)
    adapter.enqueue([NewJob("Done", "{}", "default", 50, 5)])
    adapter.cancel(JobFilter(handlers=("Done",)), "not wanted")
    clock.advance(timedelta(seconds=20))
    status = jobs("status").splitlines()[1]
    assert status.count("5 min") == 2, status
    rows = {line.split()[2]: line for line in jobs("list").splitlines()[1:4]}
    assert "in 5 min" in rows["Later"]
    assert "5 min ago" in rows["Begun"]
    assert "20 s ago" in rows["Done"]
    assert "(5 min ago)" in jobs("show", "1")
    assert "(lost, heard of 5 min ago)" in jobs("doctor")


def test_when_a_schedule_ticks(adapter: Adapter, clock: ManualClock, jobs: Jobs) -> None:
    schedule = NewSchedule("Hourly", "Work", "{}", RULE, True, "default", 50, 5)
    adapter.register_worker(new_worker())
    adapter.declare_schedules("jobs", [schedule])
    (seen,) = adapter.schedules("jobs")
    adapter.enqueue_ticks(seen, [], clock.now())
    clock.advance(timedelta(seconds=20))
    row = jobs("schedules", "list").splitlines()[1]
    assert "active" in row
    assert "20 s ago" in row
    assert "in 60 min" in row


def test_when_a_job_is_due_that_is_enqueued_for_later(jobs: Jobs) -> None:
    said = jobs("enqueue", "tests.sample_jobs.Note", "--wait", "600")
    assert said.strip().endswith("due in 10 min.")


def test_when_a_token_ends(clock: ManualClock, jobs: Jobs) -> None:
    jobs("token", "create", "billing", "--days", "1")
    clock.advance(timedelta(seconds=20))
    row = jobs("token", "list").splitlines()[1]
    assert "valid" in row
    assert "20 s ago" in row
    assert "in 24 h" in row
