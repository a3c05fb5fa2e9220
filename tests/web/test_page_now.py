"""Now: each trouble is found there, and mended from there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    ActionFilter,
    ActionKind,
    Ailment,
    ErrorState,
    Health,
    Histogram,
    JobFilter,
    JobState,
    NewErrors,
    NewJob,
    NewSchedule,
    Pause,
    Stack,
    Stat,
)
from jobqueue.testing.contract.base import a_claim, new_worker
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SCHEDULE = "nightly / <b>\u202e"
TERMINATE = "SELECT pg_terminate_backend(4711);"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def adapter(clock: ManualClock) -> MemoryAdapter:
    made = MemoryAdapter(clock=clock)
    worker = replace(new_worker("w1:2"), queues=("email", "default"), lease=1000 * MINUTE)
    made.register_worker(worker)
    return made


@pytest.fixture
def client(adapter: MemoryAdapter) -> Iterator[TestClient]:
    with client_of(JobQueue(adapter)) as made:
        made.headers.update(OWN)
        yield made


def work(adapter: MemoryAdapter, queue: str = "email") -> int:
    [job] = adapter.enqueue([NewJob("Work", "{}", queue, 50, 5)])
    return job.id


def text_of(client: TestClient) -> str:
    return words(client.get("/").text)


def words(page: str) -> str:
    """The text of a page, with no space before the end of a sentence."""
    return re.sub(r" (?=[.,:;])", "", plain(page))


def test_a_paused_queue_is_resumed(client: TestClient, adapter: MemoryAdapter) -> None:
    work(adapter)
    adapter.pause_queues(["email"], Pause(None, "ann", "the server is away"))
    assert "The queue email is paused by ann: the server is away. 1 job is due." in text_of(client)
    assert 'action="/now/queues/email/resume"' in client.get("/").text
    page = client.post("/now/queues/email/resume")
    assert page.url.path == "/"
    assert "The queue email is resumed." in words(page.text)
    assert "All is well" in words(page.text)


def test_it_is_a_page_also_when_it_refreshes_itself(client: TestClient) -> None:
    answer = client.get("/", headers={"accept": "*/*", "hx-request": "true"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "All is well" in answer.text
    assert client.get("/", headers={"accept": "*/*"}).json()["jobs"] == "/api/jobs"


def test_a_queue_without_a_worker_says_how_to_start_one(
    client: TestClient, adapter: MemoryAdapter, clock: ManualClock
) -> None:
    work(adapter, "sms")
    clock.advance(2 * MINUTE)
    text = text_of(client)
    assert "No living worker takes from the queue sms, where 1 job is due. Began 2 min ago." in text
    assert "To mend it: jobqueue work -n sms:1" in text
    adapter.register_worker(replace(new_worker("w2"), queues=("sms",)))
    assert "All is well" in text_of(client)


def test_a_class_that_fails_since_a_release_is_muted(
    client: TestClient, adapter: MemoryAdapter
) -> None:
    group = group_of("Work", "ValueError", "a.py:f", "no")
    adapter.add_errors([NewErrors(group, 12, "no", 1)], "2.0")
    page = client.get("/").text
    assert "Work fails with ValueError (new with release 2.0): 12 times in 24 h." in words(page)
    assert f'href="/errors/{group.key}"' in page
    muted = words(client.post(f"/now/errors/{group.key}/mute").text)
    assert f"The errors {group.key} are muted." in muted
    assert "All is well" in muted
    record = adapter.error_group(group.key)
    assert record is not None
    assert record.state is ErrorState.MUTED


def test_a_stuck_job_shows_its_stack_and_is_cancelled(
    client: TestClient, adapter: MemoryAdapter, clock: ManualClock
) -> None:
    job_id = work(adapter)
    ran = Histogram.of([SECOND] * 20)
    adapter.add_stats("w1:2", [Stat("Work", "email", 20, longest=SECOND, ran=ran)])
    adapter.claim(a_claim("w1:2"))
    clock.advance(40 * MINUTE)
    page = client.get("/").text
    assert f"Work #{job_id} has run for 40 min; 95 % of its class" in words(page)
    [asked] = re.findall(r'action="(/now/workers/[^"]*/stacks)"', page)
    text = words(client.post(asked).text)
    assert "Asked now where it is; there is no answer yet." in text
    adapter.answer_with_stacks("w1:2", [Stack("job", ("jobs.py:7 in wait",), job_id, "Work")])
    text = text_of(client)
    assert "Where it was now" in text
    assert "jobs.py:7 in wait" in text
    done = client.post(f"/now/jobs/{job_id}/cancel", data={"reason": "it hangs"})
    assert f"Job {job_id} is cancelled, or asked to end if it runs." in words(done.text)
    record = adapter.get(job_id)
    assert record is not None
    assert record.cancel_requested_at is not None
    [action] = adapter.actions(ActionFilter(kinds=(ActionKind.CANCEL,)), 1)
    assert action.reason == "it hangs"


def test_a_schedule_that_did_not_run_is_run(
    client: TestClient, adapter: MemoryAdapter, clock: ManualClock
) -> None:
    rule = {"every_seconds": 3600.0}
    new = NewSchedule(SCHEDULE, "Report", '{"a": 1}', rule, False, "default", 50, 5)
    adapter.declare_schedules("a/b", [new])
    adapter.declare_schedules("other", [new])
    clock.advance(70 * MINUTE)
    adapter.renew_schedules("a/b", [SCHEDULE])
    page = client.get("/").text
    assert re.search(r"did not run: it was due \d+ min ago\. Began \d+ min ago\.", words(page))
    run, *_ = re.findall(r'action="(/now/schedules/run[^"]*)"', page)
    done = client.post(run.replace("&amp;", "&"))
    assert done.status_code == 200
    assert "The schedule has a job that is due now." in words(done.text)
    [job] = adapter.list_jobs(JobFilter(handlers=("Report",)), 10)
    assert (job.state, job.queue, job.args) == (JobState.READY, "default", {"a": 1})
    [action] = adapter.actions(ActionFilter(), 1)
    assert action.target == {"schedule": SCHEDULE, "app": "a/b", "job": job.id}
    missing = client.post("/now/schedules/run?app=a&name=none")
    assert missing.status_code == 404


def test_a_database_with_an_old_snapshot_says_how_to_end_it(
    client: TestClient,
    adapter: MemoryAdapter,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since = clock.now() - 2 * MINUTE
    ailment = Ailment("old_snapshot", "session 4711 holds the oldest snapshot", TERMINATE, since)
    monkeypatch.setattr(adapter, "health", lambda: Health({}, [ailment]))
    text = text_of(client)
    assert "The database is ill: session 4711 holds the oldest snapshot. Began 2 min ago." in text
    assert f"To mend it: {TERMINATE}" in text
    page = words(client.get("/database").text)
    assert "1 thing hurts the database" in page
    assert TERMINATE in page


def test_without_the_right_to_change_there_is_no_button(
    client: TestClient, adapter: MemoryAdapter
) -> None:
    work(adapter)
    adapter.pause_queues(["email"])
    page = client.get("/", headers={"x-role": "read"}).text
    assert "is paused" in page
    assert "<form" not in page.partition("<main")[2].partition("</main>")[0]
    answer = client.post("/now/queues/email/resume", headers={"x-role": "read"})
    assert answer.status_code == 403
    assert adapter.paused_queues() == {"email"}
