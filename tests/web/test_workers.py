"""Workers that have ended, stacks, and pauses with a reason, over HTTP, on every adapter."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobqueue.adapters import Adapter
from jobqueue.records import NewWorker, Stack, WorkerNote, WorkerState

LEASE = timedelta(seconds=30)
ID = "web-1:default.0:8f3a61c2"
WORKER = NewWorker(ID, "default.0", "web-1", 1, None, 1, LEASE, "2026.11")
FACTS = {"id": ID, "name": "default.0", "host": "web-1", "pid": 1, "release": "2026.11"}


def the_queue(client: TestClient) -> dict[str, Any]:
    [queue] = client.get("/api/queues").json()["queues"]
    return dict(queue)


def test_a_worker_has_a_release_a_state_and_a_memory(client: TestClient, adapter: Adapter) -> None:
    adapter.register_worker(WORKER)
    answer = client.get("/api/workers").json()
    [worker] = answer["workers"]
    assert answer["ended"] is None
    assert (worker["release"], worker["state"], worker["memory_bytes"]) == ("2026.11", None, None)
    adapter.note_workers({ID: WorkerNote(WorkerState.STOPPING, 1000)})
    [worker] = client.get("/api/workers?ended=false").json()["workers"]
    assert (worker["state"], worker["memory_bytes"]) == ("stopping", 1000)


def test_workers_that_have_ended(client: TestClient, adapter: Adapter) -> None:
    assert client.get("/api/workers?ended=true").json() == {"workers": [], "ended": []}
    adapter.register_worker(WORKER)
    adapter.rescue_crashed(ID, [], "its process died: signal SIGKILL")
    answer = client.get("/api/workers?ended=true").json()
    [end] = answer["ended"]
    assert answer["workers"] == []
    assert datetime.fromisoformat(end.pop("ended_at")) >= datetime.fromisoformat(
        end.pop("started_at")
    )
    assert end == {**FACTS, "reason": "its process died: signal SIGKILL"}
    assert client.get("/api/workers?ended=perhaps").status_code == 422


def test_stacks_are_asked_for_and_read(client: TestClient, adapter: Adapter) -> None:
    adapter.register_worker(WORKER)
    path = f"/api/workers/{ID}/stacks"
    unasked = client.get(path)
    assert (unasked.status_code, "POST" in unasked.json()["detail"]) == (404, True)
    asked = client.post(path)
    assert asked.status_code == 202
    assert (asked.json()["answered_at"], asked.json()["stacks"]) == (None, [])
    assert adapter.workers_asked_for_stacks([ID]) == {ID}
    assert client.get(path).json() == asked.json()
    adapter.answer_with_stacks(ID, [Stack("t", ("a.py:1 in f",), 7, "Work"), Stack("other", ())])
    answer = client.get(path).json()
    assert answer["answered_at"] is not None
    assert answer["asked_by"] == asked.json()["asked_by"]
    assert answer["stacks"] == [
        {"name": "t", "job": {"id": 7, "name": "Work"}, "frames": ["a.py:1 in f"]},
        {"name": "other", "job": None, "frames": []},
    ]


def test_nobody_is_asked_who_is_not_there(client: TestClient, adapter: Adapter) -> None:
    missing = client.post("/api/workers/nobody/stacks")
    assert (missing.status_code, "GET /api/workers" in missing.json()["detail"]) == (404, True)
    assert adapter.stacks_of("nobody") is None


def test_a_pause_has_a_reason_and_an_end(client: TestClient, adapter: Adapter) -> None:
    body = {"until": "2h", "reason": "the mail server is down"}
    paused = client.post("/api/queues/email/pause", json=body)
    assert paused.json() == {"name": "email", "paused": True, "changed": True}
    queue = the_queue(client)
    since = datetime.fromisoformat(queue["paused_at"])
    length = datetime.fromisoformat(queue["paused_until"]) - since
    assert timedelta(minutes=119) < length < timedelta(minutes=121)
    assert queue["reason"] == "the mail server is down"
    assert queue["paused_by"]
    assert [one.pause.by for one in adapter.pauses()] == [queue["paused_by"]]

    assert not client.post("/api/queues/email/pause").json()["changed"]
    newer = the_queue(client)
    assert (newer["paused_until"], newer["reason"]) == (None, None)
    assert newer["paused_at"] == queue["paused_at"]

    client.post("/api/queues/email/resume")
    assert client.get("/api/queues").json()["queues"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"until": "soon"}, "expected a time such as"),
        ({"until": "2000-01-01T00:00:00Z"}, "in the past"),
        ({"until": "2999-01-01T08:00"}, "no time zone"),
        ({"until": "2999-01-01T08:00Z"}, "more than ten years"),
        ({"until": "0s"}, "in the past"),
        ({"until": 7}, "until"),
        ({"reason": "x" * 501}, "reason"),
        ({"why": "no"}, "why"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(
    client: TestClient, adapter: Adapter, body: dict[str, Any], says: str
) -> None:
    refused = client.post("/api/queues/email/pause", json=body)
    assert refused.status_code == 422
    assert says in refused.text
    assert adapter.pauses() == []
