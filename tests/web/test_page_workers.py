"""The pages of workers: what each performs, what is possibly stuck, and those that have ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import Histogram, JobState, NewJob, NewWorker, Stat
from jobqueue.testing.contract.base import a_claim
from jobqueue.web import Role
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

WORKER = "web-1:4711:8f3a61c2"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.fixture
def busy(clocked_adapter: Adapter, clock: ManualClock) -> Adapter:
    """An adapter with a worker that has performed a job for half an hour, and another for 10 s."""
    adapter = clocked_adapter
    ran = Histogram.of([SECOND] * 40)
    took = (40 * SECOND, SECOND, SECOND, ran, ran)
    adapter.add_stats("w", [Stat("shop.Charge", "payments", 40, 0, 0, 0, *took)])
    clock.advance(60)
    adapter.register_worker(NewWorker(WORKER, "payments.0", "web-1", 4711, None, 4, 2 * HOUR))
    for wait in (1800, 10):
        adapter.enqueue([NewJob("shop.Charge", "{}", "payments", 50, 5)])
        assert len(adapter.claim(a_claim(WORKER, limit=1))) == 1
        clock.advance(wait)
    return adapter


@pytest.fixture
def client(busy: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(busy)) as made:
        made.headers.update(OWN)
        yield made


@pytest.mark.parametrize("path", ["/workers", f"/workers/{WORKER}"])
def test_a_job_that_is_possibly_stuck_is_marked(client: TestClient, path: str) -> None:
    page = plain(client.get(path).text)
    assert page.count("possibly stuck") == 1
    stuck, _, rest = page.partition("possibly stuck")
    assert "#1" in stuck[-200:]
    assert "#2" in rest
    assert "966 ms" in page


def test_it_is_cancelled_from_there(client: TestClient, busy: Adapter) -> None:
    page = client.get(f"/workers/{WORKER}")
    assert 'action="/jobs/1/cancel"' in page.text
    client.post("/jobs/1/cancel", data={"reason": "it hangs"})
    job = busy.get(1)
    assert job is not None
    assert (job.state, job.last_error) == (JobState.RUNNING, "it hangs")
    assert "asked to end" in plain(client.get(f"/workers/{WORKER}").text)


def test_who_only_reads_cancels_nothing(busy: Adapter) -> None:
    with client_of(JobQueue(busy), role=Role.READ) as client:
        page = client.get(f"/workers/{WORKER}", headers=OWN)
    assert "possibly stuck" in plain(page.text)
    assert "/cancel" not in page.text


def test_a_worker_that_has_ended_has_a_page(client: TestClient, busy: Adapter) -> None:
    busy.unregister_worker(WORKER, "it was asked to stop")
    page = client.get(f"/workers/{WORKER}")
    assert page.status_code == 200
    assert "It ended just now: it was asked to stop" in plain(page.text) or (
        "it was asked to stop" in plain(page.text)
    )
    assert f'href="/workers/{WORKER}"' in client.get("/workers").text
    assert client.get("/workers/nobody").status_code == 404


def test_a_timeline_leads_to_its_workers(client: TestClient) -> None:
    assert f'href="/workers/{WORKER}"' in client.get("/jobs/1").text
