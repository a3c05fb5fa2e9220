"""A shop for the pages to show: queues, workers, schedules and jobs in every state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

from jobqueue import Job
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.bulk import bulk_action
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    ActionKind,
    DeclaredLimit,
    Failed,
    FlowKind,
    Histogram,
    JobFilter,
    JobState,
    NewErrors,
    NewFlow,
    NewJob,
    NewLimit,
    NewSchedule,
    NewWorker,
    Pause,
    Retried,
    Stack,
    Stat,
    Succeeded,
    WorkerNote,
    WorkerState,
)
from jobqueue.testing.contract.base import a_claim

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
CHARGE, MAIL, REPORT = "shop.Charge", "shop.SendMail", "shop.NightlyReport"
WORKER = "web-1:4711:8f3a61c2"
LOST = "web-2:81:0c"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 41, in perform
    pay(card)
  File "/srv/venv/lib/python3.13/site-packages/bank/client.py", line 7, in pay
    raise Declined("{text}")
bank.Declined: {text}"""


class Refund(Job):
    """Is known here, and open to the API, so that its arguments can be changed."""

    name = "shop.Refund"
    api = True

    def perform(self, why: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Shop:
    """The adapter of a shop, and the ids of some of its jobs."""

    adapter: Adapter
    clock: ManualClock
    succeeded: int
    failed: int
    running: int
    ready: int
    error_key: str
    action: int
    editable: int
    flow: int


def shop(
    clock: ManualClock,
    text: str = "card declined",
    name: str = CHARGE,
    adapter: Adapter | None = None,
) -> Shop:
    """A shop in which a text of somebody else stands wherever one can stand."""
    adapter = adapter or MemoryAdapter(clock=clock)
    clock.advance(-30 * MINUTE)
    for id_, worker, lease in ((WORKER, "payments.0", 90), (LOST, text[:200], 10)):
        adapter.register_worker(
            NewWorker(id_, worker, text[:200] or "web", 4711, None, 4, lease * MINUTE, text[:200])
        )
    adapter.note_workers({WORKER: WorkerNote(WorkerState.RUNNING, 48_000_000)})
    _samples(adapter, clock)
    args, meta = json.dumps({"card": text, "amount": 1}), json.dumps({"tenant": text})
    made = adapter.enqueue([NewJob(name, args, "payments", 50, 5, meta=meta) for _ in range(4)])
    claimed = adapter.claim(a_claim(WORKER, limit=3))
    error = TRACEBACK.format(text=text)
    group = group_of(name, "bank.Declined", "jobs.py:perform", text)
    adapter.settle(
        [
            Succeeded(claimed[0], 2 * SECOND, keep=True, result=json.dumps({"said": text})),
            Retried(claimed[1], SECOND, error=error, error_group=group),
        ]
    )
    [again] = adapter.claim(a_claim(WORKER, limit=1, queues=("payments",)))
    adapter.settle([Failed(again, SECOND, error=error, error_group=group)])
    progress = json.dumps({"fraction": 0.4, "message": text})
    adapter.report_progress({(claimed[2].id, claimed[2].token): progress})
    adapter.add_errors([NewErrors(group, 12, error, again.id)], text[:100])
    ran = Histogram.of([SECOND] * 20)
    adapter.add_stats(
        WORKER, [Stat(name, "payments", 18, 1, 1, 0, 20 * SECOND, SECOND, SECOND, ran, ran)]
    )
    daily = NewSchedule("daily", name, "{}", {"every_seconds": 86400.0}, False, "reports", 50, 3)
    adapter.declare_schedules("shop", [_nightly(text), daily])
    adapter.enqueue([NewJob(MAIL, "{}", "email", 50, 5) for _ in range(12)])
    adapter.pause_queues(["email"], Pause(None, text[:500], text[:500]))
    adapter.ask_for_stacks(WORKER, text[:200])
    adapter.answer_with_stacks(
        WORKER, [Stack(text, (f"jobs.py:41 in {text}",), claimed[2].id, name)]
    )
    where = JobFilter(states=(JobState.FAILED,), error=text[:200])
    begun = adapter.begin_action(bulk_action(ActionKind.RETRY, where, text[:200], reason=text))
    clock.advance(30 * MINUTE)
    adapter.renew_schedules("shop", ["daily"])
    ids = [job.id for job in made]
    ready = next(id_ for id_ in ids if id_ not in {job.id for job in (*claimed, again)})
    [refund] = adapter.enqueue([NewJob(Refund.name, json.dumps({"why": text}), "refunds", 50, 5)])
    adapter.cancel(JobFilter(ids=(refund.id,)), text[:500])
    adapter.declare_limits([DeclaredLimit("charges", 5)])
    adapter.set_limit(NewLimit("charges", 3, text[:200], text[:200]))
    flow_id, _ = adapter.start_flow(NewFlow(FlowKind.BATCH, text[:200], is_open=True), [])
    shown = (claimed[0].id, again.id, claimed[2].id, ready)
    return Shop(adapter, clock, *shown, group.key, begun.id, refund.id, flow_id)


def _samples(adapter: Adapter, clock: ManualClock) -> None:
    depths = adapter.queue_depths()
    for _ in range(5):
        minute = adapter.begin_sample()
        assert minute is not None
        adapter.store_sample(minute, depths)
        clock.advance(MINUTE)
    clock.advance(-5 * MINUTE)


def _nightly(text: str) -> NewSchedule:
    rule = {"cron": "0 3 * * *", "tz": "Europe/Berlin"}
    args = json.dumps({"to": text})
    return NewSchedule(text[:100], REPORT, args, rule, False, "reports", 50, 3)
