"""Recurring jobs over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from jobqueue import Hooks, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.records import ActionFilter, NewJob, NewSchedule, NewWorker
from tests.web.conftest import client_of

WORKER = NewWorker("worker-1", "web", "host-1", 4711, None, 1, timedelta(seconds=30))
RULE = {"cron": "0 3 * * *", "tz": "Europe/Paris"}
ODD = "odd/na me?#:é"


def declare(adapter: Adapter, name: str = "shop.Nightly", app: str = "shop") -> None:
    handler = "websample.Hello"
    new = NewSchedule(name, handler, '{"who": "Ann"}', RULE, True, "slow", 7, 5)
    adapter.declare_schedules(app, [new])


def path_of(name: str, word: str = "") -> str:
    return f"/api/schedules/{quote(name)}{word}"


def test_one_schedule(client: TestClient, adapter: Adapter) -> None:
    declare(adapter)
    adapter.register_worker(WORKER)
    [seen] = adapter.schedules("shop")
    job = NewJob("websample.Hello", "{}", "slow", 7, 5, run_at=seen.since)
    enqueued = adapter.enqueue_ticks(seen, [job], seen.since)
    assert enqueued is not None
    found = client.get(path_of("shop.Nightly")).json()
    assert client.get(path_of("Nightly")).json() == found
    assert client.get("/api/schedules").json()["schedules"] == [found]
    assert (found["state"], found["tz"], len(found["next_ticks"])) == ("active", "Europe/Paris", 5)
    assert found["next_tick"] == found["next_ticks"][0]
    assert found["next_ticks"] == sorted(found["next_ticks"])
    [last] = found["last_jobs"]
    assert (last["id"], last["state"], last["error"]) == (enqueued[0].id, "ready", None)
    client.delete(f"/api/job/{last['id']}")
    [last] = client.get(path_of("Nightly")).json()["last_jobs"]
    assert (last["state"], last["started_at"]) == ("gone", None)


@pytest.mark.parametrize("name", ["shop.Nightly", ODD])
def test_pausing_and_resuming(client: TestClient, adapter: Adapter, name: str) -> None:
    declare(adapter, name)
    first = client.post(path_of(name, "/pause"), json={"reason": "too slow"})
    assert first.status_code == 200, first.text
    assert first.json() == {"app": "shop", "name": name, "paused": True, "changed": True}
    assert client.post(path_of(name, "/pause")).json()["changed"] is False
    assert client.get(path_of(name)).json()["state"] == "paused"
    assert client.post(path_of(name, "/resume")).json()["changed"] is True
    assert client.post(path_of(name, "/resume")).json()["changed"] is False
    told = [(a.kind, a.done_by, a.target, a.reason) for a in adapter.actions(ActionFilter(), 9)]
    target = {"schedule": name, "app": "shop"}
    assert told == [
        ("resume schedule", "ann", target, None),
        ("pause schedule", "ann", target, "too slow"),
    ]


class AddsMeta(Hooks):
    """Adds to the meta of all that is enqueued."""

    def before_enqueue(self, job: Any, args: Any, meta: dict[str, Any]) -> None:
        meta["by"] = "a hook"


def test_running_one_now(adapter: Adapter) -> None:
    declare(adapter)
    with client_of(JobQueue(adapter, hooks=[AddsMeta()])) as client:
        answer = client.post(path_of("Nightly", "/run"), json={"reason": "it did not run"})
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/api/job/{job['id']}"
    assert (job["name"], job["args"], job["queue"], job["priority"]) == (
        "websample.Hello",
        {"who": "Ann"},
        "slow",
        7,
    )
    assert job["meta"] == {"by": "a hook"}
    [action] = adapter.actions(ActionFilter(), 9)
    assert (action.kind, action.target["job"], action.reason) == (
        "run schedule",
        job["id"],
        "it did not run",
    )
    assert adapter.schedules("shop")[0].last_tick is None


def test_names_that_mean_none_or_several(client: TestClient, adapter: Adapter) -> None:
    answer = client.get(path_of("Nightly"))
    assert (answer.status_code, answer.json()["detail"][:40]) == (
        404,
        "no schedule is named 'Nightly'; in the d",
    )
    declare(adapter)
    declare(adapter, app="other")
    declare(adapter, "other.Nightly", app="other")
    for word in ("", "/pause", "/resume", "/run"):
        ask = client.post if word else client.get
        several = ask(path_of("Nightly", word))
        assert (several.status_code, "use the full name" in several.text) == (404, True)
        several = ask(path_of("shop.Nightly", word))
        assert (several.status_code, "say which app" in several.text) == (404, True)
        assert ask(path_of("shop.Nightly", word) + "?app=nobody").status_code == 404
        assert ask(path_of("shop.Nightly", word) + "?app=other").status_code in {200, 201}
    assert adapter.count_by_state() == {"ready": 1}


def test_who_may_do_what(adapter: Adapter) -> None:
    declare(adapter)
    with client_of(JobQueue(adapter), role="only read") as reader:
        assert reader.get(path_of("Nightly")).status_code == 200
        for word in ("/pause", "/resume", "/run"):
            assert reader.post(path_of("Nightly", word)).status_code == 403
    with client_of(JobQueue(adapter), role="only operate") as operator:
        assert operator.get(path_of("Nightly")).status_code == 403
        job = operator.post(path_of("Nightly", "/run"))
        assert (job.status_code, set(job.json())) == (201, {"id", "state"})
