"""The announcements by every method that makes a job ready: an idle worker wakes and finds it.

Each method of `Adapter` is either in `MAKES_READY`, with what shows that it wakes, or in
`MAKES_NOTHING_READY`. One that is added later has to be put into one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter, Listener
from jobqueue.records import (
    NO_DELAY,
    ActionBatch,
    ActionKind,
    ClaimedJob,
    CrashedJob,
    DeclaredLimit,
    Failed,
    FlowControl,
    FlowKind,
    Gate,
    JobFilter,
    NewAction,
    NewFlow,
    NewLimit,
    NewStep,
    Outcome,
    Pause,
    Released,
    Retried,
    Succeeded,
    Terms,
    UsedKey,
    Wakeup,
    filter_to_json,
)
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_new,
    enqueue_one,
    new_job,
    new_worker,
    settle_all,
)
from jobqueue.testing.contract.schedules import declared

HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 10.0
SILENCE_SECONDS = 0.4

Act = Callable[[], object]
Scenario = Callable[[Adapter], Act]
"""Prepares, and returns what is to be heard of."""


# --- what makes jobs ready -----------------------------------------------------------------------


def enqueue(adapter: Adapter) -> Act:
    """Enqueue a job that is due."""
    return lambda: enqueue_one(adapter)


def enqueue_many(adapter: Adapter) -> Act:
    """Enqueue so many jobs that a database may store them in another way."""
    return lambda: adapter.enqueue([new_job()] * 2_000)


def enqueue_some_due(adapter: Adapter) -> Act:
    """Enqueue jobs of which only the last is due."""
    return lambda: adapter.enqueue([new_job(delay=HOUR), new_job(delay=HOUR), new_job()])


def enqueue_once(adapter: Adapter) -> Act:
    """Enqueue a job under an idempotency key."""
    return lambda: adapter.enqueue_once(UsedKey("a key", "what it stands for", HOUR), new_job())


def enqueue_ticks(adapter: Adapter) -> Act:
    """Enqueue the job of a schedule's tick."""
    seen = declared(adapter)
    return lambda: adapter.enqueue_ticks(seen, [new_job()], adapter.now())


def settle_with(make: Callable[[ClaimedJob], Outcome]) -> Scenario:
    """A scenario in which a claimed job is settled and becomes ready again."""

    def settle(adapter: Adapter) -> Act:
        job = claim_new(adapter)
        return lambda: settle_all(adapter, make(job))

    return settle


def turn_with(make: Callable[[ClaimedJob], Outcome], *, claims: bool = False) -> Scenario:
    """A scenario in which a turn makes a job ready, and claims nothing or from another queue."""

    def turn(adapter: Adapter) -> Act:
        job = claim_new(adapter)
        claim = a_claim(queues=("elsewhere",)) if claims else None
        return lambda: adapter.turn([make(job)], claim)

    return turn


def settle_unlocked(adapter: Adapter) -> Act:
    """Settle a job by `settle_unlocked`, so that it becomes ready again."""
    job = claim_new(adapter)
    return lambda: adapter.settle_unlocked([released(job)])


def released(job: ClaimedJob) -> Outcome:
    """The outcome of a job that was not started."""
    return Released(job)


def retried(job: ClaimedJob) -> Outcome:
    """The outcome of a job that is to be tried again at once."""
    return Retried(job, error="broken", delay=NO_DELAY)


def held(adapter: Adapter) -> ClaimedJob:
    """A job that a registered worker holds."""
    adapter.register_worker(new_worker())
    return claim_new(adapter)


def unregister_worker(adapter: Adapter) -> Act:
    """Unregister a worker that holds a job."""
    held(adapter)
    return lambda: adapter.unregister_worker("worker-1")


def rescue(adapter: Adapter) -> Act:
    """Rescue the job of a worker whose heartbeat has stopped."""
    held(adapter)
    (seen,) = adapter.workers()
    return lambda: adapter.rescue(seen, "it is gone")


def rescue_what_crashed(adapter: Adapter) -> Act:
    """Rescue a job whose worker has died while it performed it."""
    job = held(adapter)
    crashed = [CrashedJob(job.id, job.token, "it died")]
    return lambda: adapter.rescue_crashed("worker-1", crashed)


def rescue_what_was_not_started(adapter: Adapter) -> Act:
    """Rescue a job whose worker has died before it began with it."""
    held(adapter)
    return lambda: adapter.rescue_crashed("worker-1", [])


def rescue_orphans(adapter: Adapter) -> Act:
    """Rescue a job of a worker that is not registered."""
    claim_new(adapter)
    return lambda: adapter.rescue_orphans("worker-1", "it is gone")


def release_strays(adapter: Adapter) -> Act:
    """Give back a job that a worker holds without knowing of it."""
    held(adapter)
    return lambda: adapter.release_strays("worker-1", set())


def retry_a_failed_one(adapter: Adapter) -> Act:
    """Retry a failed job."""
    settle_all(adapter, Failed(claim_new(adapter), error="broken"))
    return lambda: adapter.retry(JobFilter())


def retry_a_waiting_one(adapter: Adapter) -> Act:
    """Retry a job that waits, so that it is due now."""
    enqueue_one(adapter, new_job(delay=HOUR))
    return lambda: adapter.retry(JobFilter())


def resume_queues(adapter: Adapter) -> Act:
    """Resume a queue that was paused."""
    adapter.pause_queues(["default"])
    enqueue_one(adapter)
    return lambda: adapter.resume_queues(["default"])


def resume_due_queues(adapter: Adapter) -> Act:
    """Resume a queue whose pause is over."""
    adapter.pause_queues(["default"], Pause(adapter.now()))
    enqueue_one(adapter)
    return adapter.resume_due_queues


def retry_in_bulk(adapter: Adapter) -> Act:
    """Retry a failed job by a bulk action."""
    job = claim_new(adapter)
    settle_all(adapter, Failed(job, error="broken"))
    target = {"filter": filter_to_json(JobFilter())}
    action = adapter.begin_action(NewAction(ActionKind.RETRY, "me", target), "me")
    return lambda: adapter.change_batch(action, ActionBatch(JobFilter(ids=(job.id,)), None))


def set_a_limit(adapter: Adapter) -> Act:
    """Set the number of a limit behind which a job waits."""
    adapter.declare_limits([DeclaredLimit("calls", 0)])
    terms = Terms((Gate("calls", None, 0),))
    enqueue_one(adapter, replace(new_job(), flow_control=FlowControl("calls", terms)))
    return lambda: adapter.set_limit(NewLimit("calls", 1, "me"))


def start_a_flow(adapter: Adapter) -> Act:
    """Start a flow."""
    return lambda: adapter.start_flow(NewFlow(FlowKind.FLOW), [NewStep(new_job())])


def settle_a_step(adapter: Adapter) -> Act:
    """Settle a job that another one waits for."""
    adapter.start_flow(NewFlow(FlowKind.CHAIN), [NewStep(new_job()), NewStep(new_job(), (0,))])
    [job] = adapter.claim(a_claim())
    return lambda: settle_all(adapter, Succeeded(job))


def close_a_batch(adapter: Adapter) -> Act:
    """Close a batch whose jobs have all ended."""
    flow_id = _open_batch(adapter)
    return lambda: adapter.close_flow(flow_id)


def cancel_a_batch(adapter: Adapter) -> Act:
    """Cancel a batch: a job may follow its end."""
    flow_id = _open_batch(adapter)
    return lambda: adapter.cancel_flow(flow_id, "no")


def _open_batch(adapter: Adapter) -> int:
    new = NewFlow(FlowKind.BATCH, on_finish=new_job(), is_open=True)
    flow_id, _ = adapter.start_flow(new, [])
    return flow_id


def advance_a_flow(adapter: Adapter) -> Act:
    """Have a flow go on of which somebody has cancelled a job."""
    steps = [NewStep(new_job()), NewStep(new_job(), (0,), runs_anyway=True)]
    _, (first, _) = adapter.start_flow(NewFlow(FlowKind.FLOW), steps)
    adapter.cancel(JobFilter(ids=(first.id,)), "no")
    return adapter.advance_flows


def retry_a_flow(adapter: Adapter) -> Act:
    """Retry a flow that has failed."""
    flow_id, _ = adapter.start_flow(NewFlow(FlowKind.FLOW), [NewStep(new_job())])
    [job] = adapter.claim(a_claim())
    settle_all(adapter, Failed(job, error="no"))
    return lambda: adapter.retry_flow(flow_id)


MAKES_READY: Mapping[str, tuple[Scenario, ...]] = {
    "enqueue": (enqueue, enqueue_many, enqueue_some_due),
    "enqueue_once": (enqueue_once,),
    "enqueue_ticks": (enqueue_ticks,),
    "settle_unlocked": (settle_unlocked,),
    "settle": (settle_with(released), settle_with(retried), settle_a_step),
    "turn": (
        turn_with(released),
        turn_with(retried),
        turn_with(released, claims=True),
        turn_with(retried, claims=True),
    ),
    "unregister_worker": (unregister_worker,),
    "rescue": (rescue,),
    "rescue_crashed": (rescue_what_crashed, rescue_what_was_not_started),
    "rescue_orphans": (rescue_orphans,),
    "release_strays": (release_strays,),
    "retry": (retry_a_failed_one, retry_a_waiting_one),
    "resume_queues": (resume_queues,),
    "resume_due_queues": (resume_due_queues,),
    "change_batch": (retry_in_bulk,),
    "set_limit": (set_a_limit,),
    "start_flow": (start_a_flow,),
    "close_flow": (close_a_batch,),
    "advance_flows": (advance_a_flow,),
    "cancel_flow": (cancel_a_batch,),
    "retry_flow": (retry_a_flow,),
}

MAKES_NOTHING_READY = frozenset(
    {
        "between_writes",
        "declare_limits",
        "limits",
        "gated_lines",
        "uses_of_gates",
        "before_in_order",
        "flow",
        "flows",
        "steps_before",
        "prune_flows",
        # What is enqueued in a transaction is announced by `enqueue`; see `TransactionContract`.
        "transaction",
        "transaction_async",
        "was_committed",
        "is_same_database",
        "claim",
        "attempts",
        "prune_attempts",
        "listen",
        "due_in",
        "register_worker",
        "beat",
        "workers",
        "is_living",
        "orphaned_workers",
        "get",
        "list_jobs",
        "count_jobs",
        "count_by_state",
        "page_jobs",
        "count_up_to",
        "queue_depths",
        "lane_depths",
        "due_before",
        "running_jobs",
        "paused_queues",
        "pauses",
        "cancel",
        "cancel_each",
        "note_action",
        "begin_action",
        "take_over_action",
        "end_action",
        "stop_action",
        "resume_action",
        "action",
        "actions",
        "prune_actions",
        "request_cancel",
        "cancel_requests",
        # A job whose arguments are changed was ready before, or stays failed or cancelled.
        "update_args",
        "change_args",
        "set_progress",
        "report_progress",
        "delete",
        "delete_each",
        "pause_queues",
        "finished_handlers",
        "prune",
        "prune_keys",
        "prune_stats",
        "prune_hours",
        "roll_up_stats",
        "note_workers",
        "ended_workers",
        "prune_ended_workers",
        "ask_for_stacks",
        "workers_asked_for_stacks",
        "answer_with_stacks",
        "stacks_of",
        "prune_stacks",
        "declare_handlers",
        "declared_handlers",
        # A schedule's jobs come by `enqueue_ticks`.
        "now",
        "declare_schedules",
        "renew_schedules",
        "schedules",
        "pause_schedule",
        "put_schedule_back",
        "resume_schedule",
        "add_stats",
        "stats",
        "class_stats",
        "ended_by_queue",
        "begin_sample",
        "store_sample",
        "samples",
        "prune_samples",
        "store_token",
        "find_token",
        "tokens",
        "revoke_token",
        "ping",
        "migrate",
        "downgrade",
        "migration_sql",
        "schema_status",
        "health",
        "close_spare_connections",
        "close",
        "add_errors",
        "error_groups",
        "error_group",
        "set_error_state",
        "prune_errors",
    }
)


def methods_of_adapters() -> set[str]:
    """The names of all methods that an adapter has to have, whichever role they are part of."""
    return {
        name
        for part in Adapter.__mro__
        if part.__module__.startswith("jobqueue.")
        for name, member in vars(part).items()
        if callable(member) and not name.startswith("_")
    }


ALL_SCENARIOS = [
    pytest.param(scenario, id=f"{method}-{number}")
    for method, scenarios in MAKES_READY.items()
    for number, scenario in enumerate(scenarios, 1)
]


# --- who hears of them ---------------------------------------------------------------------------


@dataclass
class Idler:
    """An idle worker, which claims when a wake-up comes, and never before."""

    adapter: Adapter
    listener: Listener
    heard: Wakeup | None = None
    claimed: list[ClaimedJob] = field(default_factory=list)

    def wait(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for a wake-up, and claim the jobs that are due at that moment."""
        self.heard = self.listener.wait(timeout_seconds)
        if self.heard is not None and self.heard.concerns(("default",)):
            self.claimed = self.adapter.claim(a_claim("the-idle-one", queues=("default",)))


@contextmanager
def idling(adapter: Adapter) -> Iterator[Idler]:
    """Have an idle worker wait during the block. At its end a wake-up has come, or none in time."""
    with closing(adapter.listen()) as listener:
        idler = Idler(adapter, listener)
        waiting = threading.Thread(target=idler.wait)
        waiting.start()
        try:
            yield idler
        finally:
            waiting.join()


class AnnouncementsContract(ContractBase):
    """The tests that a listener wakes whenever a method makes a job ready, and finds the job."""

    def test_it_is_decided_of_every_method(self) -> None:
        """Every method of adapters is in one of two lists: it makes jobs ready, or it does not."""
        assert methods_of_adapters() == MAKES_READY.keys() | MAKES_NOTHING_READY
        assert not MAKES_READY.keys() & MAKES_NOTHING_READY

    @pytest.mark.parametrize("scenario", ALL_SCENARIOS)
    def test_what_becomes_ready_is_heard_of(self, adapter: Adapter, scenario: Scenario) -> None:
        act = scenario(adapter)
        with idling(adapter) as idler:
            act()
        assert idler.heard is not None, "nobody was told"
        assert idler.claimed, "who was told found nothing"

    def test_a_claim_that_takes_nothing_wakes_nobody(self, adapter: Adapter) -> None:
        """A worker that claims would otherwise wake itself again and again."""
        enqueue_one(adapter, new_job(max_attempts=1))
        with closing(adapter.listen()) as listener:
            assert adapter.claim(a_claim(free_slots=0)) == []
            assert listener.wait(SILENCE_SECONDS) is None
