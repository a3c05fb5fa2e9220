"""Why something is late, on the pages of queues and jobs and over HTTP; the queue's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import ActionFilter, ActionKind, NewJob
from jobqueue.testing.contract.base import a_claim
from jobqueue.views.reasons import ReasonKind
from tests.web.conftest import client_of
from tests.web.shop import CHARGE, WORKER, Shop, shop
from tests.web.test_dashboard import HOSTILE, OWN, plain


@pytest.fixture
def shown() -> Shop:
    return shop(ManualClock(datetime.now(UTC)))


@pytest.fixture
def client(shown: Shop) -> Iterator[TestClient]:
    with client_of(JobQueue(shown.adapter)) as made:
        made.headers.update(OWN)
        yield made


WITHOUT_GATES = [k.value for k in ReasonKind if k not in {ReasonKind.LIMIT, ReasonKind.ORDER}]
"""The reasons of a queue, and of a job that has no flow control."""


def why_of(page: str) -> str:
    [found] = re.findall(r'<section aria-labelledby="h-why".*?</section>', page, re.DOTALL)
    return plain(f"<main>{found}</main>")


def test_a_queue_says_why_it_is_late(client: TestClient) -> None:
    text = why_of(client.get("/queues/email").text)
    assert "Why is it late? The oldest due job of the queue email has waited for 30 min." in text
    assert "The queue email is paused by card declined: card declined (since 30 min ago)." in text
    assert "Looked at: the pauses of queues." in text
    assert "Resume it. jobqueue resume email" in text
    assert "jobqueue why email" in text
    assert f"{len(ReasonKind) - 4} reasons that do not hold" in text  # three are of gates
    late = why_of(client.get("/queues/payments").text)
    assert "No reason was found: a worker should take it within seconds." in late


def test_a_waiting_job_says_why_it_waits(client: TestClient, shown: Shop) -> None:
    for _ in range(3):
        shown.adapter.enqueue([NewJob("Urgent", "{}", "payments", 1, 5)])
    shown.adapter.claim(a_claim(WORKER, limit=3, queues=("payments",)))
    shown.adapter.enqueue([NewJob("Urgent", "{}", "payments", 1, 5)])
    text = why_of(client.get(f"/jobs/{shown.ready}").text)
    assert "Why does it wait?" in text
    assert "All 4 slots are busy: 3 of Urgent, 1 of shop.Charge." in text
    assert f"{CHARGE} #{shown.running} has run longest, for 30 min" in text
    assert "Due jobs that come before it, with priority 50: 1 in this queue." in text
    assert 'aria-labelledby="h-why"' not in client.get(f"/jobs/{shown.running}").text


def test_the_buttons_are_there_for_whom_they_are(client: TestClient) -> None:
    form = 'action="/queues/email/resume"'
    assert form in client.get("/queues/email").text
    assert form not in client.get("/queues/email", headers={"x-role": "read"}).text


def test_a_queue_is_resumed_with_a_reason(client: TestClient, shown: Shop) -> None:
    page = client.post("/queues/email/resume", data={"reason": "the server is back"})
    assert "The queue email is resumed." in plain(page.text)
    [action, *_] = shown.adapter.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == (ActionKind.RESUME_QUEUE, "the server is back")
    assert shown.adapter.paused_queues() == set()
    client.post("/queues/payments/pause", data={"reason": "no", "until": "2h"})
    text = plain(client.get("/queues/payments").text)
    assert re.search(r"Paused now by ann, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC : no", text)


def test_a_queue_shows_its_priorities_and_who_occupies_the_slots(
    client: TestClient, shown: Shop
) -> None:
    shown.adapter.enqueue([NewJob("Urgent", "{}", "payments", 7, 5)] * 3)
    shown.adapter.enqueue([NewJob("Other", "{}", "other", 7, 5)])
    shown.adapter.claim(a_claim(WORKER, limit=1, queues=("other",)))
    text = plain(client.get("/queues/payments").text)
    assert "Priority Due The first of them 7 3 due now 50 1 due 30 min ago" in text
    assert "1 worker takes from this queue, with 4 slots, of which 2 are busy." in text
    assert re.search(r"#\d+ Other other payments\.0 0 ms ", text)  # it takes from there as well
    assert re.search(rf"#{shown.running} {CHARGE} payments payments\.0 30 min 966 ms", text)
    assert "Wait p95 in each of the last 12 hours" in text


def test_the_api_says_the_same(client: TestClient, shown: Shop) -> None:
    answer = client.get("/api/queues/email/why").json()
    assert (answer["queue"], answer["job"]) == ("email", None)
    assert [reason["kind"] for reason in answer["reasons"]] == [
        kind.value for kind in list(ReasonKind)[:-3]
    ]
    [paused] = [reason for reason in answer["reasons"] if reason["holds"]]
    assert (paused["command"], paused["page"]) == ("jobqueue resume email", "/queues/email")
    page = why_of(client.get("/queues/email").text)
    for reason in answer["reasons"]:
        assert reason["evidence"] in page
    for path in ("job", "jobs"):
        one = client.get(f"/api/{path}/{shown.ready}/why").json()
        assert (one["job"], one["queue"]) == (shown.ready, "payments")
        assert one["summary"].startswith(f"Job {shown.ready} has waited for 30 min.")
    ended = client.get(f"/api/job/{shown.succeeded}/why").json()
    assert ended["reasons"] == []
    assert "does not wait" in ended["summary"]


def test_what_is_not_there_gets_an_honest_answer(client: TestClient) -> None:
    gone = client.get("/api/job/999/why")
    assert gone.status_code == 404
    assert "there is no job 999" in gone.json()["detail"]
    assert client.get("/api/queues/a b/why").status_code == 422
    answer = client.get("/api/queues/emial/why").json()
    assert "no trace of a queue 'emial'" in answer["summary"]
    assert "did you mean 'email'" in answer["summary"]
    assert answer["reasons"] == []


def test_every_adapter_answers(adapter: Adapter) -> None:
    [job] = adapter.enqueue([NewJob("Work", '{"a": 1}', "payments", 50, 5)])
    adapter.pause_queues(["payments"])
    with client_of(JobQueue(adapter)) as client:
        client.headers.update(OWN)
        for path in ("/queues/payments", f"/jobs/{job.id}"):
            text = why_of(client.get(path).text)
            assert "The queue payments is paused" in text
            assert "No living worker takes from the queue payments now." in text


def test_hostile_texts_stay_texts() -> None:
    seen = shop(ManualClock(datetime.now(UTC)), HOSTILE, name=HOSTILE[:200])
    seen.adapter.pause_queues(["payments"])
    with client_of(JobQueue(seen.adapter)) as client:
        client.headers.update(OWN)
        for path in ("/queues/email", "/queues/payments", f"/jobs/{seen.ready}"):
            page = client.get(path).text
            assert not re.search(r"<script>alert|<img", page)
            assert why_of(page)
