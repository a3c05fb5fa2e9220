"""A job that is gone is an honest 404: what is still known of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.records import (
    ActionKind,
    NewAction,
    NewJob,
    NewSchedule,
    Stat,
    Succeeded,
)
from jobqueue.testing.contract.base import a_claim
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

SECOND = timedelta(seconds=1)
JOB = NewJob("shop.Charge", "{}", "payments", 50, 5)


@pytest.fixture
def client(adapter: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(adapter)) as made:
        made.headers.update(OWN)
        yield made


def page_of(client: TestClient, job_id: int) -> str:
    answer = client.get(f"/jobs/{job_id}")
    assert answer.status_code == 404
    return plain(answer.text)


def test_a_job_that_has_succeeded(client: TestClient, adapter: Adapter) -> None:
    before, gone, after = adapter.enqueue([JOB] * 3)
    claimed = {job.id: job for job in adapter.claim(a_claim("w", limit=9))}
    adapter.settle([Succeeded(claimed[gone.id], SECOND)])
    adapter.add_stats("w", [Stat("shop.Charge", "payments", 1)])
    page = page_of(client, gone.id)
    assert "Most likely it has succeeded" in page
    assert f"Before it #{before.id} of shop.Charge" in page
    assert f"After it #{after.id} of shop.Charge" in page
    assert "shop.Charge payments 1 1" in page


def test_a_job_that_somebody_has_removed(client: TestClient, adapter: Adapter) -> None:
    _, gone, _ = adapter.enqueue([JOB] * 3)
    data = {"reason": "it was a test"}
    assert client.post(f"/jobs/{gone.id}/delete", data=data).status_code == 200
    assert re.search("ann has removed it .*: it was a test", page_of(client, gone.id))


def test_a_job_that_a_change_to_many_may_have_removed(client: TestClient, adapter: Adapter) -> None:
    _, gone, _ = adapter.enqueue([JOB] * 3)
    claimed = {job.id: job for job in adapter.claim(a_claim("w", limit=9))}
    adapter.settle([Succeeded(claimed[gone.id], SECOND)])
    target = {"filter": {"states": ["failed"]}}
    adapter.note_action(NewAction(ActionKind.DELETE, "bob", target, "too old", 7))
    assert "bob removed 7 jobs" in page_of(client, gone.id)


def test_a_tick_and_its_schedule(client: TestClient, adapter: Adapter) -> None:
    rule = {"every_seconds": 60.0}
    nightly = NewSchedule("nightly", "shop.Report", "{}", rule, False, "reports", 50, 3)
    adapter.declare_schedules("shop", [nightly])
    [record] = adapter.schedules()
    tick = record.since + 60 * SECOND
    assert adapter.enqueue_ticks(record, [NewJob("shop.Report", "{}", "reports", 50, 3)], tick)
    [gone] = [job.job_id for job in adapter.schedules()[0].last_jobs]
    [claimed] = adapter.claim(a_claim("w", limit=9))
    adapter.settle([Succeeded(claimed, SECOND)])
    assert "It was a tick of the schedule nightly" in page_of(client, gone)


def test_one_that_never_was(client: TestClient, adapter: Adapter) -> None:
    assert "No jobs are there at all." in page_of(client, 7)
    [newest] = adapter.enqueue([JOB])
    assert "no job has had this id yet" in page_of(client, newest.id + 1000)
    assert "no job has had this id yet" in page_of(client, 2**63 - 1)
    assert client.get(f"/jobs/{2**63 - 1}/edit").status_code == 404


def test_the_last_job_of_all_that_has_succeeded(client: TestClient, adapter: Adapter) -> None:
    [gone] = adapter.enqueue([JOB])
    [claimed] = adapter.claim(a_claim("w", limit=9))
    adapter.settle([Succeeded(claimed, SECOND)])
    assert "Either it has succeeded and was not kept" in page_of(client, gone.id)
