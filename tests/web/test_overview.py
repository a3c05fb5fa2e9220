"""Queues, workers, recurring jobs and stats over HTTP, on every adapter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.maintenance.sampler import take_sample
from jobqueue.records import (
    Claim,
    Histogram,
    JobFilter,
    JobState,
    NewJob,
    NewSchedule,
    NewWorker,
    Stat,
)
from tests.web import sample
from tests.web.conftest import client_of

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def read(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def new_jobs(number: int, queue: str = "a", delay: timedelta = timedelta(0)) -> list[NewJob]:
    return [NewJob("Work", "{}", queue, 50, 5, delay=delay) for _ in range(number)]


def test_queues(client: TestClient, adapter: Adapter) -> None:
    adapter.enqueue([*new_jobs(3), *new_jobs(1, delay=HOUR), *new_jobs(2, "b")])
    adapter.claim(Claim("w", 1, 1, 1, queues=("a",)))
    paused = client.post("/api/queues/c/pause").json()
    assert paused == {"name": "c", "paused": True, "changed": True}
    assert not client.post("/api/queues/c/pause").json()["changed"]
    a, b, c = read(client, "/api/queues")["queues"]
    unpaused = dict.fromkeys(("paused_at", "paused_until", "paused_by", "reason"))
    assert {**a, "oldest_age_seconds": 0} == {
        **unpaused,
        "name": "a",
        "due": 2,
        "later": 1,
        "running": 1,
        "more": False,
        "oldest_age_seconds": 0,
        "paused": False,
        "course": "unknown",
        "in_per_minute": None,
        "out_per_minute": 0.0,
        "growth_per_minute": None,
        "empty_at": None,
    }
    assert (b["due"], c["due"], c["paused"]) == (2, 0, True)
    resumed = client.post("/api/queues/c/resume").json()
    assert resumed == {"name": "c", "paused": False, "changed": True}
    assert adapter.paused_queues() == set()


@pytest.mark.parametrize("name", ["not%20a%20queue", "x" * 129, "%00", "%2F"])
def test_names_that_no_queue_can_have(client: TestClient, adapter: Adapter, name: str) -> None:
    assert client.post(f"/api/queues/{name}/pause").status_code in {404, 422}
    assert adapter.paused_queues() == set()


def test_workers(client: TestClient, adapter: Adapter) -> None:
    worker = NewWorker("elsewhere:1", "web", "elsewhere", 1, ("a",), 2, 30 * SECOND)
    adapter.register_worker(worker)
    [job] = adapter.enqueue(new_jobs(1))
    adapter.claim(Claim("elsewhere:1", 1, 1, 1))
    [found] = read(client, "/api/workers")["workers"]
    assert (found["id"], found["queues"], found["lost"]) == ("elsewhere:1", ["a"], False)
    assert [one["id"] for one in found["jobs"]] == [job.id]


def test_schedules(client: TestClient, adapter: Adapter) -> None:
    rule = {"cron": "0 3 * * *", "tz": "UTC"}
    schedule = NewSchedule("Nightly", "Elsewhere", '{"a": 1}', rule, True, "default", 50, 5)
    adapter.declare_schedules("shop", [schedule])
    [found] = read(client, "/api/schedules")["schedules"]
    assert (found["name"], found["state"], found["args"]) == ("Nightly", "inactive", {"a": "***"})


def test_stats(client: TestClient, adapter: Adapter, queue: JobQueue) -> None:
    adapter.enqueue(new_jobs(2))
    adapter.add_stats("w1", [Stat("Work", "a", 3, 1, 0, 0, 8 * SECOND, 5 * SECOND, 2 * SECOND)])
    adapter.add_stats("w2", [Stat("Work", "a", 2, longest=SECOND), Stat("Other", "b", 0, 0, 1)])
    found = read(client, "/api/stats?minutes=10")
    assert found["states"]["ready"] == {"count": 2, "more": False}
    assert set(found["states"]) == {state.value for state in JobState}
    other, work = found["classes"]
    assert (other["name"], other["failed"], other["attempts_per_minute"]) == ("Other", 1, 0.1)
    assert work == {
        "name": "Work",
        "queue": "a",
        "succeeded": 5,
        "retried": 1,
        "failed": 0,
        "cancelled": 0,
        "attempts_per_minute": 0.6,
        "mean_seconds": round(8 / 6, 6),
        "longest_seconds": 5.0,
        "mean_wait_seconds": round(2 / 6, 6),
        "run": {"p50": None, "p95": None, "p99": None, "counts": [0] * 12},
        "wait": {"p50": None, "p95": None, "p99": None, "counts": [0] * 12},
    }
    assert [minute["succeeded"] for minute in found["series"]] == [5]


def test_stats_of_what_a_worker_performed(client: TestClient, queue: JobQueue) -> None:
    sample.Hello.perform_later("Ann")
    sample.Hello.perform_later("nobody")
    queue.work_off()
    [found] = read(client, "/api/stats")["classes"]
    assert (found["name"], found["succeeded"], found["retried"]) == ("websample.Hello", 1, 1)


def test_distributions_of_a_window(client: TestClient, adapter: Adapter) -> None:
    ran = Histogram.of([SECOND / 20] * 99 + [2000 * SECOND])
    waited = Histogram.of([2000 * SECOND] * 2)
    adapter.add_stats("w1", [Stat("Work", "a", 100, longest=HOUR, ran=ran, waited=waited)])
    found = read(client, f"/api/stats?minutes={90 * 24 * 60}")
    assert found["bucket_seconds"][::5] == [0.01, 3.162278, 1000.0]
    [work] = found["classes"]
    assert work["run"]["p50"] == {"seconds": pytest.approx(0.0661, abs=0.001), "more": False}
    assert work["run"]["counts"] == [0, 0, 99, *[0] * 8, 1]
    assert work["wait"]["p99"] == {"seconds": 1000.0, "more": True}
    assert len(found["series"]) == 1
    before = read(client, "/api/stats?minutes=60&minutes_ago=5")
    assert (before["classes"], before["series"]) == ([], [])


def test_the_history_of_a_queue(client: TestClient, adapter: Adapter) -> None:
    adapter.enqueue([*new_jobs(3), *new_jobs(1, delay=HOUR), *new_jobs(2, "b")])
    assert take_sample(adapter)
    found = read(client, "/api/queues/a/history")
    [sample] = found.pop("samples")
    assert found == {
        "name": "a",
        "minutes": 60,
        "step_minutes": 1,
        "course": "unknown",
        "in_per_minute": None,
        "out_per_minute": 0.0,
        "growth_per_minute": None,
        "empty_at": None,
    }
    minute = sample.pop("minute")
    assert {**sample, "oldest_age_seconds": 0} == {
        "due": 3,
        "later": 1,
        "running": 0,
        "more": False,
        "oldest_age_seconds": 0,
    }
    [of_nobody] = read(client, "/api/queues/nobody/history")["samples"]
    assert (of_nobody["minute"], of_nobody["due"]) == (minute, 0)
    assert client.get("/api/queues/not%20a%20queue/history").status_code == 422
    assert client.get("/api/queues/a/history?minutes=10081").status_code == 422


def test_a_long_history_has_every_so_many_minutes() -> None:
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    adapter = MemoryAdapter(clock=clock)
    for _ in range(30):
        take_sample(adapter)
        clock.advance(60)
    with client_of(JobQueue(adapter)) as client:
        found = read(client, "/api/queues/a/history?minutes=10080")
        assert found["step_minutes"] == 7
        minutes = [datetime.fromisoformat(sample["minute"]) for sample in found["samples"]]
        assert len(minutes) in {4, 5}
        assert {(later - earlier).seconds for earlier, later in pairwise(minutes)} == {7 * 60}
        assert len(read(client, "/api/queues/a/history?minutes=1440")["samples"]) == 30


@pytest.mark.parametrize(
    "query", ["minutes=0", "minutes=129601", "minutes=x", "hours=1", "minutes_ago=-1"]
)
def test_times_that_are_not_looked_back_on(client: TestClient, query: str) -> None:
    assert client.get(f"/api/stats?{query}").status_code == 422


def test_health(client: TestClient, adapter: Adapter) -> None:
    assert read(client, "/healthz") == read(client, "/readyz") == {"status": "ok"}
    assert adapter.count_jobs(JobFilter()) == 0
