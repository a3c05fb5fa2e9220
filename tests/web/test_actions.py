"""The actions of people over HTTP, and bulk changes that are left to the workers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.bulk import bulk_action, run_action
from jobqueue.errors import RowLocked
from jobqueue.records import ActionFilter, ActionKind, JobFilter, JobState, NewAction, NewJob
from tests.conftest import wait_until
from tests.web import sample
from tests.web.conftest import client_of


@pytest.fixture
def adapter(database_url: str) -> Iterator[Adapter]:
    with closing(connect(database_url)) as made:
        Job.config(adapter=made)
        yield made


@pytest.fixture
def client(adapter: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(adapter)) as made:
        yield made


IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)


def actions(client: TestClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/actions{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["actions"])


def test_every_change_is_remembered_with_who_made_it(client: TestClient) -> None:
    job_id = sample.Hello.perform_later("Ann").id
    path = f"/api/job/{job_id}"
    client.patch(path, json={"times": 2})
    client.post(f"{path}/cancel", json={"reason": "no longer needed"})
    client.post(f"{path}/retry")
    client.delete(path)
    client.post("/api/queues/a/pause", json={"reason": "too many"})
    client.post("/api/queues/a/resume")
    body = {"filter": {"queue": ["a"]}, "reason": "all of them"}
    client.post("/api/jobs/cancel", json=body)
    client.post("/api/jobs/cancel", json={**body, "dry_run": True})
    found = actions(client)[::-1]
    assert {action["done_by"] for action in found} == {"ann"}
    assert [(a["kind"], a["target"], a["reason"], a["number"]) for a in found] == [
        ("edit", {"ids": [job_id], "args": ["times"]}, None, 1),
        ("cancel", {"ids": [job_id]}, "no longer needed", 1),
        ("retry", {"ids": [job_id]}, None, 1),
        ("delete", {"ids": [job_id]}, None, 1),
        ("pause queue", {"queue": "a"}, "too many", 1),
        ("resume queue", {"queue": "a"}, None, 1),
        ("cancel", {"query": "state:ready,gated,running queue:a"}, "all of them", 0),
    ]
    one = client.get(f"/api/actions/{found[0]['id']}").json()
    assert one == found[0]


def test_pages_and_filters(client: TestClient, adapter: Adapter) -> None:
    for number in range(5):
        adapter.note_action(NewAction(ActionKind.RETRY, f"u{number % 2}"))
    page = client.get("/api/actions?limit=2").json()
    assert ([a["id"] for a in page["actions"]], page["next"]) == ([5, 4], 4)
    page = client.get(f"/api/actions?limit=9&before={page['next']}").json()
    assert ([a["id"] for a in page["actions"]], page["next"]) == ([3, 2, 1], None)
    assert [a["id"] for a in actions(client, "?by=u1")] == [4, 2]
    assert len(actions(client, "?kind=retry,pause queue&state=done")) == 5
    assert actions(client, "?state=running,stopped") == []
    for odd in ("kind=odd", "state=odd", "limit=0", "before=0", "unknown=1"):
        assert client.get(f"/api/actions?{odd}").status_code == 422, odd


def test_the_workers_do_what_is_left_to_them(client: TestClient, adapter: Adapter) -> None:
    adapter.enqueue([NewJob("Work", "{}", "a", 50, 5, IN_AN_HOUR)] * 1_200)
    body = {"filter": {"queue": ["a"]}, "background": True, "reason": "enough"}
    answer = client.post("/api/jobs/cancel", json=body)
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    assert begun == {
        "dry_run": False,
        "count": 0,
        "more": True,
        "next": None,
        "action": begun["action"],
    }
    path = f"/api/actions/{begun['action']}"
    begun = client.get(path).json()
    assert (begun["state"], begun["course"]) == ("running", "waits for a worker")
    worker = JobQueue(adapter, poll_interval=0.1).worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(lambda: client.get(path).json()["state"] == "done", "the worker to do it")
    finally:
        worker.stop()
        thread.join()
    done = client.get(path).json()
    assert (done["number"], done["run_by"]) == (1_200, worker.id)
    assert adapter.count_by_state() == {JobState.CANCELLED: 1_200}
    [job] = adapter.list_jobs(JobFilter(), 1)
    assert job.last_error == "enough"


def test_what_is_left_to_the_workers_is_not_to_be_asked_for_again(client: TestClient) -> None:
    body = {"filter": {"queue": ["a"]}, "background": True, "before": 100}
    answer = client.post("/api/jobs/delete", json=body).json()
    assert (answer["next"], answer["more"]) == (None, True)
    assert client.get(f"/api/actions/{answer['action']}").json()["before"] == 100


def test_one_is_stopped_and_resumed(client: TestClient, adapter: Adapter) -> None:
    body = {"filter": {"queue": ["a"]}, "background": True}
    action = client.post("/api/jobs/delete", json=body).json()["action"]
    path = f"/api/actions/{action}"
    assert client.post(f"{path}/resume").status_code == 409
    stopped = client.post(f"{path}/stop")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "stopped")
    assert client.post(f"{path}/stop").status_code == 409
    assert adapter.take_over_action("me") is None
    resumed = client.post(f"{path}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (202, "running")
    assert adapter.take_over_action("me") is not None


def test_an_action_that_is_not_there(client: TestClient) -> None:
    for path in ("7", "9999999999999999999"):
        answer = client.get(f"/api/actions/{path}")
        assert answer.status_code == 404
        assert f"no action has the id {min(int(path), 2**63 - 1)}" in answer.json()["detail"]
        assert client.post(f"/api/actions/{path}/stop").status_code == 404
        assert client.post(f"/api/actions/{path}/resume").status_code == 404


def test_who_may_do_what(adapter: Adapter) -> None:
    action = adapter.begin_action(NewAction(ActionKind.RETRY, "ann", {"filter": {}}))
    with client_of(JobQueue(adapter), role="only read") as reader:
        assert reader.get(f"/api/actions/{action.id}").status_code == 200
        assert reader.post(f"/api/actions/{action.id}/stop").status_code == 403
    with client_of(JobQueue(adapter), role="only operate") as operator:
        assert operator.get("/api/actions").status_code == 403
        assert operator.post(f"/api/actions/{action.id}/stop").status_code == 200
    with client_of(JobQueue(adapter), role="only enqueue") as client:
        assert client.get("/api/actions").status_code == 403
        assert client.post(f"/api/actions/{action.id}/resume").status_code == 403


def test_an_action_of_a_later_release_stops_no_worker(client: TestClient, adapter: Adapter) -> None:
    """Its filter says something that this release does not know, so nothing is changed."""
    adapter.enqueue([NewJob("Work", "{}", "a", 50, 5, IN_AN_HOUR)])
    odd = {"filter": {"queues": ["a"], "mood": "bad"}}
    first = adapter.begin_action(NewAction(ActionKind.DELETE, "ann", odd))
    second = adapter.begin_action(
        NewAction(ActionKind.CANCEL, "ann", {"filter": {"states": ["ready"]}})
    )
    worker = JobQueue(adapter, poll_interval=0.1).worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        path = f"/api/actions/{second.id}"
        wait_until(lambda: client.get(path).json()["state"] == "done", "the second one")
    finally:
        worker.stop()
        thread.join()
    [_, stopped] = adapter.actions(ActionFilter(), 9)
    assert (stopped.id, stopped.state, stopped.number) == (first.id, "stopped", 0)
    shown = client.get(f"/api/actions/{first.id}").json()
    assert shown["target"]["query"] == "(jobs that this release cannot name)"
    assert adapter.count_by_state() == {JobState.CANCELLED: 1}


def test_what_has_failed_since_a_retry_began_is_left(adapter: Adapter) -> None:
    """Else a job would be retried twice, if it is retried by somebody else and fails meanwhile."""
    first, second = (sample.Hello.perform_later("nobody").id for _ in range(2))
    for _ in range(2):
        adapter.retry(JobFilter(ids=(second,)))
        adapter.cancel(JobFilter(ids=(first,)), "later")
        JobQueue(adapter).work_off()
    where = JobFilter(states=(JobState.FAILED,))
    action = adapter.begin_action(bulk_action(ActionKind.RETRY, where, "ann"), "me")
    for _ in range(2):
        adapter.retry(JobFilter(ids=(first,)))
        JobQueue(adapter).work_off()
    assert adapter.count_by_state() == {JobState.FAILED: 2}
    done = run_action(adapter, action, JobQueue(adapter).ends)
    assert (done.state, done.number) == ("done", 1)
    assert [job.id for job in adapter.list_jobs(where, 9)] == [first]


def test_a_locked_job_holds_up_neither_the_answer_nor_the_end(postgres_url: str) -> None:
    """The request is answered after some seconds, and a worker does the rest."""
    with closing(connect(postgres_url)) as adapter, client_of(JobQueue(adapter)) as client:
        adapter.enqueue([NewJob("Work", "{}", "a", 50, 5, IN_AN_HOUR)] * 700)
        lowest = min(job.id for job in adapter.list_jobs(JobFilter(), 700))
        with psycopg.connect(postgres_url) as somebody:
            somebody.execute("SELECT FROM background_jobs WHERE id = %s FOR UPDATE", (lowest,))
            answer = client.post("/api/jobs/cancel", json={"filter": {"queue": ["a"]}})
            assert answer.status_code == 202, answer.text
            begun = answer.json()
            assert (begun["count"], begun["more"], begun["next"]) == (500, True, None)
            action = adapter.action(begun["action"])
            assert action is not None
            with pytest.raises(RowLocked, match="keeps a row locked that this needs"):
                run_action(adapter, action, JobQueue(adapter).ends)
            assert adapter.stop_action(action.id), "it does not wait for the lock"
        assert adapter.resume_action(action.id)
        taken = adapter.take_over_action("me")
        assert taken is not None
        assert run_action(adapter, taken, JobQueue(adapter).ends).number == 700
        assert adapter.count_by_state() == {JobState.CANCELLED: 700}
