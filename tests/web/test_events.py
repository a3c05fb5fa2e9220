"""Following a job by server-sent events, over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.records import JobFilter
from tests.web import sample
from tests.web.conftest import by_header, served


@pytest.fixture
def url(queue: JobQueue) -> Iterator[str]:
    with served(jobqueue.web.app(by_header, queue=queue)) as url:
        yield url


def events(url: str, job_id: int) -> Iterator[tuple[str, Any]]:
    """The events of a job, as they come."""
    address, headers = f"{url}/api/jobs/{job_id}/events", {"x-role": "read"}
    with httpx2.stream("GET", address, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            kind, _, value = line.partition(": ")
            if kind == "event":
                name = value
            elif kind == "data":
                yield name, json.loads(value)


def test_every_change_until_the_end(url: str, queue: JobQueue) -> None:
    job = sample.Hello.perform_later("Ann")
    following = events(url, job.id)
    name, first = next(following)
    assert (name, first["state"], first["progress"]) == ("progress", "ready", None)
    job.set_progress("started")
    name, second = next(following)
    assert (name, second["progress"]) == ("progress", "started")
    queue.work_off()
    *between, (name, last) = following
    assert {name for name, _ in between} <= {"progress"}
    assert (name, last["state"], last["result"]) == ("finished", "succeeded", "hello Ann")
    assert list(events(url, job.id)) == [("finished", last)]


def test_a_job_whose_row_goes(url: str, adapter: Adapter) -> None:
    job = sample.Login.perform_later("ann", "hunter2")
    following = events(url, job.id)
    assert next(following)[1]["args"] == {"user": "ann", "password": "***"}
    adapter.delete(JobFilter())
    assert list(following) == [("gone", {"id": job.id})]


def test_what_is_no_stream(url: str) -> None:
    headers = {"x-role": "read"}
    assert httpx2.get(f"{url}/api/job/999/events", headers=headers).status_code == 404
    job = sample.Hello.perform_later("Ann")
    address = f"{url}/api/job/{job.id}/events"
    assert httpx2.head(address, headers=headers).status_code == 200
    assert httpx2.get(address).status_code == 401
    cross = {**headers, "sec-fetch-site": "cross-site"}
    assert httpx2.get(address, headers=cross).status_code == 403
