"""Why a queue or a job is late: each reason by itself, on every adapter, and in a fixed order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.maintenance.sampler import take_sample
from jobqueue.records import (
    Ailment,
    Failed,
    Health,
    Histogram,
    NewJob,
    Pause,
    Released,
    Stat,
    Succeeded,
    WorkerNote,
    WorkerState,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import a_claim, new_worker
from jobqueue.views.database import LIFETIME_SECONDS
from jobqueue.views.lateness import NO_REASON, Lateness, why_job_is_late, why_queue_is_late
from jobqueue.views.reasons import Reason, ReasonKind

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def adapter(clocked_adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> Adapter:
    """Each adapter in turn. Workers live as long as their heartbeats say."""
    monkeypatch.setattr(clocked_adapter, "is_living", lambda _worker: None)
    return clocked_adapter


def work(
    adapter: Adapter,
    number: int = 1,
    queue: str = "email",
    priority: int = 50,
    delay: timedelta = timedelta(0),
) -> Sequence[StoredJob]:
    return adapter.enqueue([NewJob("Work", "{}", queue, priority, 5, delay=delay)] * number)


def a_worker(adapter: Adapter, *queues: str, slots: int = 2, name: str = "w1") -> None:
    worker = replace(new_worker(name), queues=queues or None, concurrency=slots)
    adapter.register_worker(replace(worker, lease=1000 * MINUTE))


WITHOUT_GATES = [k for k in ReasonKind if k not in {ReasonKind.LIMIT, ReasonKind.ORDER}]
"""The reasons of a job that has no flow control, and of a queue."""


def the_reason(found: Lateness, kind: ReasonKind) -> Reason:
    """The only reason that holds, which is of a kind."""
    assert [reason.kind for reason in found.holding] == [kind]
    assert found.reasons[0] is found.holding[0]
    assert {reason.kind for reason in found.reasons} == set(WITHOUT_GATES)
    assert all(reason.evidence and reason.looked_at for reason in found.reasons)
    json.dumps(found.facts())
    return found.holding[0]


def test_nothing_is_wrong(adapter: Adapter) -> None:
    a_worker(adapter)
    [job] = work(adapter)
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        assert found.holding == []
        assert found.verdict == NO_REASON
        assert [reason.kind for reason in found.reasons] == WITHOUT_GATES


def test_it_is_paused(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    [job] = work(adapter)
    until = clock.now() + HOUR
    adapter.pause_queues(["email"], Pause(until, "ann", "the server is away"))
    clock.advance(5 * MINUTE)
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        reason = the_reason(found, ReasonKind.PAUSED)
        assert "by ann: the server is away (since 5 min ago)." in reason.evidence
        assert reason.facts["until"] == until
        assert reason.command == "jobqueue resume email"
    adapter.resume_queues(["email"])
    assert why_queue_is_late(adapter, "email").holding == []


def test_no_living_worker_takes_from_it(adapter: Adapter) -> None:
    a_worker(adapter, "default")
    [job] = work(adapter)
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        reason = the_reason(found, ReasonKind.NO_WORKER)
        assert reason.evidence == "No living worker takes from the queue email now."
        assert reason.looked_at == "1 registered worker"
        assert reason.command == "jobqueue work -n email:1"
    a_worker(adapter, "email", name="w2")
    assert why_queue_is_late(adapter, "email").holding == []
    adapter.note_workers({"w2": WorkerNote(WorkerState.RESTING, 1)})
    reason = the_reason(why_queue_is_late(adapter, "email"), ReasonKind.NO_WORKER)
    assert reason.evidence.endswith("now: web rests.")


def test_its_workers_are_lost(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    work(adapter)
    clock.advance(2000 * MINUTE)
    reason = the_reason(why_queue_is_late(adapter, "email"), ReasonKind.NO_WORKER)
    assert reason.evidence.endswith("now: 1 of it is lost.")


def test_all_slots_are_busy(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    first, _, job = work(adapter, 3)
    ran = Histogram.of([SECOND] * 20)
    adapter.add_stats("w1", [Stat("Work", "email", 20, longest=SECOND, ran=ran)])
    adapter.claim(a_claim("w1", limit=1))
    assert why_queue_is_late(adapter, "email").holding == []
    clock.advance(10 * MINUTE)
    [second] = adapter.claim(a_claim("w1", limit=1))
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        reason = the_reason(found, ReasonKind.SLOTS_BUSY)
        assert reason.evidence == (
            f"All 2 slots are busy: 2 of Work. Work #{first.id} has run longest, for 10 min; 95 % "
            "of its class take at most 966 ms."
        )
        assert reason.facts["longest_job"] == first.id
    adapter.settle([Succeeded(second, SECOND)])
    assert why_queue_is_late(adapter, "email").holding == []


def test_more_urgent_jobs_of_the_queue_come_first(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    [_, job] = work(adapter, 2)
    clock.advance(MINUTE)
    work(adapter, 3, priority=10)
    work(adapter, 4, priority=90)
    work(adapter, 5, priority=1, delay=HOUR)
    reason = the_reason(why_queue_is_late(adapter, "email"), ReasonKind.MORE_URGENT)
    assert reason.evidence == (
        "Due jobs that come before its oldest due job, of priority 50: 3 in this queue."
    )
    reason = the_reason(why_job_is_late(adapter, job), ReasonKind.MORE_URGENT)
    assert reason.evidence == "Due jobs that come before it, with priority 50: 4 in this queue."
    assert (reason.facts["in_this_queue"], reason.facts["more"]) == (4, False)


def test_more_urgent_jobs_of_other_queues_come_first(adapter: Adapter) -> None:
    a_worker(adapter)
    [job] = work(adapter)
    work(adapter, 3, queue="vip", priority=10)
    work(adapter, 4, queue="slow", priority=90)
    work(adapter, 5, queue="paused", priority=10)
    adapter.pause_queues(["paused"])
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        reason = the_reason(found, ReasonKind.MORE_URGENT)
        assert reason.evidence.endswith(": 3 in vip, which its workers take as well.")
    a_worker(adapter, "email", name="w2")  # which has nothing else to do
    assert why_queue_is_late(adapter, "email").holding == []


def test_more_jobs_come_than_end(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    for _ in range(5):
        take_sample(adapter)
        work(adapter, 30)
        clock.advance(MINUTE)
        adapter.add_stats("w1", [Stat("Work", "email", 10)])
    reason = the_reason(why_queue_is_late(adapter, "email"), ReasonKind.GROWING)
    assert reason.evidence == (
        "More jobs come than end: 40.0 come and 10.0 end a minute. It will be empty: never, "
        "growing by 30 a minute."
    )


def test_the_time_has_not_come(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    [job] = work(adapter, delay=2 * HOUR)
    reason = the_reason(why_job_is_late(adapter, job), ReasonKind.NOT_DUE)
    assert reason.evidence == "Its time has not come: it is due in 2 h."
    assert reason.command == f"jobqueue retry {job.id}"
    reason = the_reason(why_queue_is_late(adapter, "email"), ReasonKind.NOT_DUE)
    assert reason.evidence == "No job is due: the next of 1 job is due in 2 h."
    assert reason.facts["next_at"] == clock.now() + 2 * HOUR
    clock.advance(2 * HOUR)
    assert why_job_is_late(adapter, job).holding == []


def test_no_worker_knows_the_class(adapter: Adapter, clock: ManualClock) -> None:
    a_worker(adapter)
    [job] = work(adapter)
    [claimed] = adapter.claim(a_claim("w1"))
    error = "no job named 'Work' is known to this worker (known: none)"
    adapter.settle([Released(claimed, error=error, delay=30 * SECOND)])
    clock.advance(30 * SECOND)
    left = job.refresh()
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, left)):
        reason = the_reason(found, ReasonKind.UNKNOWN_CLASS)
        assert reason.evidence.startswith(f"Workers left Work #{job.id} for others")
        assert reason.facts["classes"] == ["Work"]
    work(adapter, queue="other")
    assert why_queue_is_late(adapter, "other").holding == []


def test_the_database_is_ill(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    ailments = [
        Ailment("odd_rows", "rows are odd", "mend them"),
        Ailment("old_snapshot", "session 7 holds an old snapshot", "end it"),
    ]
    monkeypatch.setattr(adapter, "health", lambda: Health({}, ailments))
    a_worker(adapter)
    [job] = work(adapter)
    for found in (why_queue_is_late(adapter, "email"), why_job_is_late(adapter, job)):
        reason = the_reason(found, ReasonKind.DATABASE)
        assert reason.evidence == "The database is ill: session 7 holds an old snapshot."
        assert reason.command == "end it"


def test_a_database_that_cannot_be_examined_is_named_and_the_rest_is_answered(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue.errors import DatabaseUnavailable

    asked = []

    def health() -> Health:
        asked.append(1)
        raise DatabaseUnavailable("statement timeout")

    monkeypatch.setattr(adapter, "health", health)
    work(adapter)
    for _ in range(3):
        found = why_queue_is_late(adapter, "email")
    assert [reason.kind for reason in found.holding] == [ReasonKind.NO_WORKER]
    assert found.reasons[-1].evidence == "The database could not be examined: statement timeout"
    assert len(asked) == 1, f"within {LIFETIME_SECONDS} s it is asked once"


def test_what_holds_comes_first_in_the_fixed_order(adapter: Adapter) -> None:
    [job] = work(adapter, delay=HOUR)
    adapter.pause_queues(["email"])
    found = why_job_is_late(adapter, job)
    holding = [ReasonKind.PAUSED, ReasonKind.NO_WORKER, ReasonKind.NOT_DUE]
    others = [kind for kind in WITHOUT_GATES if kind not in holding]
    assert [reason.kind for reason in found.reasons] == [*holding, *others]
    assert found.verdict.endswith("(2 more below)")


def test_a_job_that_does_not_wait(adapter: Adapter, clock: ManualClock) -> None:
    [job] = work(adapter)
    [claimed] = adapter.claim(a_claim("w1"))
    clock.advance(3 * MINUTE)
    found = why_job_is_late(adapter, job.refresh())
    assert found.reasons == ()
    assert found.summary == f"Job {job.id} does not wait: it is running, since 3 min ago."
    adapter.settle([Failed(claimed, SECOND, error="no")])
    found = why_job_is_late(adapter, job.refresh())
    assert found.summary == f"Job {job.id} does not wait: it ended now, failed."


def test_a_queue_of_which_there_is_no_trace(adapter: Adapter) -> None:
    work(adapter)
    found = why_queue_is_late(adapter, "emial")
    assert not found.is_known
    assert "did you mean 'email'?" in found.summary
    assert why_queue_is_late(adapter, "email").is_known
    a_worker(adapter, "sms")
    assert why_queue_is_late(adapter, "sms").summary == "No job waits in the queue sms."
