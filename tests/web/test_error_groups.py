"""Errors in groups over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.records import (
    ActionFilter,
    ErrorGroup,
    ErrorState,
    JobFilter,
    JobState,
    NewErrors,
    NewJob,
)
from tests.web.conftest import client_of


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        Job.config(adapter=made)
        yield made


@pytest.fixture
def client(adapter: SqlAdapter) -> Iterator[TestClient]:
    with client_of(JobQueue(adapter)) as made:
        yield made


def add(adapter: SqlAdapter, *keys: str) -> None:
    groups = [ErrorGroup(key, "websample.Hello", "ValueError", "a.py:f", "no") for key in keys]
    adapter.add_errors([NewErrors(group, 2, "Traceback\nno", 1) for group in groups])


def jobs_of_group(adapter: SqlAdapter, key: str, number: int) -> None:
    adapter.enqueue([NewJob("websample.Hello", "{}", "default", 50, 5) for _ in range(number)])
    statement = update(JOBS).values(error_key=key, state="failed")
    adapter.database.write(lambda c: c.execute(statement.where(JOBS.c.id % 2 == 0)))
    adapter.database.write(lambda c: c.execute(update(JOBS).values(error_key=key)))
    adapter.enqueue([NewJob("websample.Hello", "{}", "default", 50, 5)])


def keys(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [group["key"] for group in answer.json()["errors"]]


def test_a_list_in_pages(adapter: SqlAdapter, client: TestClient) -> None:
    assert client.get("/api/errors").json() == {"errors": [], "next": None}
    add(adapter, "aaa", "bbb", "ccc")
    adapter.set_error_state("bbb", ErrorState.MUTED, "ann")
    first = client.get("/api/errors?limit=2")
    assert keys(first) == ["ccc", "bbb"]
    following = first.json()["next"]
    assert keys(client.get(f"/api/errors?before={following}")) == ["aaa"]
    assert keys(client.get("/api/errors?state=muted,resolved")) == ["bbb"]
    assert keys(client.get("/api/errors?name=Hello&hours=1&state=open")) == ["ccc", "aaa"]
    assert keys(client.get("/api/errors?name=None")) == []
    [one] = client.get("/api/errors?state=muted").json()["errors"]
    assert (one["number_of_day"], one["changed_by"], one["state"]) == (2, "ann", "muted")
    assert "sample" not in one


@pytest.mark.parametrize(
    "query", ["before=x", "before=999999999999999999.x", "state=closed", "hours=0"]
)
def test_a_query_that_does_not_fit(client: TestClient, query: str) -> None:
    assert client.get(f"/api/errors?{query}").status_code == 422


def test_everything_about_a_group(adapter: SqlAdapter, client: TestClient) -> None:
    add(adapter, "aaa")
    jobs_of_group(adapter, "aaa", 4)
    found = client.get("/api/errors/aaa").json()
    assert (found["place"], found["sample"], found["last_job_id"]) == ("a.py:f", "Traceback\nno", 1)
    assert (len(found["hours"]), len(found["days"]), found["days"][-1]["number"]) == (24, 30, 2)
    assert [job["id"] for job in found["jobs"]] == [4, 3, 2, 1]


def test_states(adapter: SqlAdapter, client: TestClient) -> None:
    add(adapter, "aaa")
    for path, state in (("mute", "muted"), ("resolve", "resolved"), ("reopen", "open")):
        answer = client.post(f"/api/errors/aaa/{path}").json()
        assert answer == {"key": "aaa", "state": state, "changed": True}
        assert client.get("/api/errors/aaa").json()["state"] == state
    assert client.post("/api/errors/aaa/reopen").json()["changed"] is False
    assert client.get("/api/errors/aaa").json()["changed_by"] == "ann"
    client.post("/api/errors/aaa/resolve")
    add(adapter, "aaa")
    found = client.get("/api/errors/aaa").json()
    assert (found["state"], found["reopened_at"]) == ("open", found["last_seen_at"])


def test_all_jobs_of_a_group_are_changed(adapter: SqlAdapter, client: TestClient) -> None:
    add(adapter, "aaa", "bbb")
    jobs_of_group(adapter, "aaa", 6)
    assert client.post("/api/errors/bbb/retry").json()["count"] == 0
    assert client.post("/api/errors/aaa/retry", json={"dry_run": True}).json()["count"] == 6
    assert adapter.count_jobs(JobFilter(states=(JobState.FAILED,))) == 3
    answer = client.post("/api/errors/aaa/retry", json={"before": 6})
    assert answer.json() == {
        "dry_run": False,
        "count": 5,
        "more": False,
        "next": None,
        "action": adapter.actions(ActionFilter(), 1)[0].id,
    }
    assert [job.id for job in adapter.list_jobs(JobFilter(states=(JobState.FAILED,)), 10)] == [6]
    answer = client.post("/api/errors/aaa/cancel", json={"reason": "no longer needed"})
    assert answer.json()["count"] == 5
    cancelled = adapter.list_jobs(JobFilter(states=(JobState.CANCELLED,)), 10)
    assert {job.last_error for job in cancelled} == {"no longer needed"}
    assert adapter.count_jobs(JobFilter(states=(JobState.READY,))) == 1


PATHS = ("mute", "resolve", "reopen", "retry", "cancel")


def test_a_key_of_no_group(client: TestClient) -> None:
    assert client.get("/api/errors/aaa").status_code == 404
    for path in PATHS:
        answer = client.post(f"/api/errors/a%00a/{path}")
        assert answer.status_code == 404
        assert "no group of errors has the key" in answer.json()["detail"]


def test_who_may_do_what(adapter: SqlAdapter) -> None:
    add(adapter, "aaa")
    with client_of(JobQueue(adapter), role="only read") as reader:
        assert keys(reader.get("/api/errors")) == ["aaa"]
        assert reader.get("/api/errors/aaa").status_code == 200
        for path in PATHS:
            assert reader.post(f"/api/errors/aaa/{path}").status_code == 403
    with client_of(JobQueue(adapter), role="only operate") as operator:
        assert operator.get("/api/errors").status_code == 403
        for path in PATHS:
            assert operator.post(f"/api/errors/aaa/{path}").status_code == 200
