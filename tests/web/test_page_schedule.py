"""The page of a schedule: what became of its ticks, pausing, resuming, and running it now."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.records import ActionFilter, ActionKind, JobFilter, NewSchedule
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

NAME = "nightly / <b>?#&"
ASKED = {"app": "shop", "name": NAME}
RULE = {"cron": "0 3 * * *", "tz": "Europe/Berlin"}


@pytest.fixture
def declared(adapter: Adapter) -> Adapter:
    args = '{"of": "sales"}'
    schedules = [NewSchedule(NAME, "shop.Report", args, RULE, False, "reports", 50, 3)]
    adapter.declare_schedules("shop", schedules)
    adapter.declare_schedules("blog", schedules)
    return adapter


@pytest.fixture
def client(declared: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(declared)) as made:
        made.headers.update(OWN)
        yield made


def test_it_is_paused_and_resumed_with_a_reason(client: TestClient, declared: Adapter) -> None:
    data = {"reason": "the sums are wrong"}
    paused = client.post("/schedule/pause", params=ASKED, data=data)
    assert "The schedule is paused" in plain(paused.text)
    assert re.search(r"Paused .* by ann: the sums are wrong \( action \d+ \)", plain(paused.text))
    found = {record.app: record.paused_at for record in declared.schedules()}
    assert found["shop"] is not None
    assert found["blog"] is None
    [action] = declared.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == (ActionKind.PAUSE_SCHEDULE, "the sums are wrong")
    resumed = client.post("/schedule/resume", params=ASKED, data={"reason": "they are right"})
    [action] = declared.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == (ActionKind.RESUME_SCHEDULE, "they are right")
    assert "The schedule is resumed" in plain(resumed.text)
    assert all(record.paused_at is None for record in declared.schedules())


def test_it_is_run_now(client: TestClient, declared: Adapter) -> None:
    page = client.post("/schedule/run", params=ASKED)
    assert "A job of the schedule is enqueued" in plain(page.text)
    [job] = declared.list_jobs(JobFilter(), 9)
    assert (job.handler, job.args, job.queue) == ("shop.Report", {"of": "sales"}, "reports")


def test_one_that_several_applications_have_needs_the_application(client: TestClient) -> None:
    answer = client.get("/schedule", params={"name": NAME})
    assert answer.status_code == 404
    assert "say which app" in plain(answer.text)
    assert client.get("/schedule", params={"name": "none"}).status_code == 404
    assert client.post("/schedule/run", params={"name": "none"}).status_code == 404
