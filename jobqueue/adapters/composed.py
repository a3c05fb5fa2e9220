"""An adapter that consists of role objects: each method calls the role that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.roles.actions import ActionsRole, ChangedBatch
from jobqueue.adapters.roles.attempts import AttemptsRole
from jobqueue.adapters.roles.control import ControlRole
from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.roles.leases import ASKED, LEASE_ENDED, LeasesRole
from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.adapters.roles.schedules import SchedulesRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.adapters.roles.transactions import AsyncTransaction, Transaction, TransactionsRole
from jobqueue.adapters.roles.wakeups import Listener, WakeupsRole
from jobqueue.records import (
    RUN_LEASE,
    SHOWN_HOURS,
    UNTIL_RESUMED,
    ActionBatch,
    ActionFilter,
    ActionRecord,
    AttemptRecord,
    Claim,
    ClaimedJob,
    Count,
    CrashedJob,
    DeclaredLimit,
    EnqueuedOnce,
    ErrorFilter,
    ErrorGroupRecord,
    ErrorPage,
    ErrorState,
    FlowRecord,
    Gate,
    GatedLine,
    GateUse,
    Health,
    JobFilter,
    JobRecord,
    JobState,
    LaneDepth,
    LimitRecord,
    NewAction,
    NewErrors,
    NewFlow,
    NewJob,
    NewLimit,
    NewSchedule,
    NewStep,
    NewWorker,
    Outcome,
    Page,
    Pause,
    PausedQueue,
    QueueDepth,
    Rescue,
    Sample,
    ScheduleRecord,
    SchemaStatus,
    Stack,
    Stat,
    StatOfMinute,
    StepRecord,
    Succeeded,
    TickSpan,
    TokenRecord,
    Turn,
    UsedKey,
    WorkerEnd,
    WorkerNote,
    WorkerRecord,
    WorkerStacks,
)
from jobqueue.retention import Keep
from jobqueue.stored import StoredJob


@dataclass(frozen=True, slots=True)
class Roles:
    """One object for each role."""

    path: PathRole
    transactions: TransactionsRole
    wakeups: WakeupsRole
    leases: LeasesRole
    roster: RosterRole
    stacks: StacksRole
    reads: ReadsRole
    attempts: AttemptsRole
    control: ControlRole
    actions: ActionsRole
    retention: RetentionRole
    schedules: SchedulesRole
    stats: StatsRole
    errors: ErrorsRole
    samples: SamplesRole
    tokens: TokensRole
    keys: KeysRole
    limits: LimitsRole
    flows: FlowsRole
    schema: SchemaRole


class ComposedAdapter(Adapter):
    """An adapter whose methods are those of its roles.

    Args:
        roles: the objects that do the work.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles

    # --- the path ---------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        return self.roles.path.enqueue(jobs, session=session)

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        return self.roles.path.claim(claim)

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        return self.roles.path.settle(outcomes)

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        return self.roles.path.turn(outcomes, claim, meanwhile)

    def settle_unlocked(self, outcomes: Sequence[Outcome]) -> Turn:
        return self.roles.path.settle_unlocked(outcomes)

    # --- the transaction of a job -----------------------------------------------------------------

    def transaction(self, sessions: Callable[[], Any] | None = None) -> Transaction:
        return self.roles.transactions.transaction(sessions)

    def transaction_async(self, sessions: Callable[[], Any] | None = None) -> AsyncTransaction:
        return self.roles.transactions.transaction_async(sessions)

    def was_committed(self, outcome: Succeeded) -> bool:
        return self.roles.transactions.was_committed(outcome)

    def is_same_database(self, other: TransactionsRole) -> bool:
        return self.roles.transactions.is_same_database(other)

    def between_writes(self) -> AbstractContextManager[None]:
        return self.roles.transactions.between_writes()

    # --- wake-ups ---------------------------------------------------------------------------------

    def listen(self, url: str | None = None) -> Listener:
        return self.roles.wakeups.listen(url)

    def due_in(self) -> timedelta | None:
        return self.roles.wakeups.due_in()

    # --- workers and their leases -----------------------------------------------------------------

    def register_worker(self, worker: NewWorker) -> None:
        self.roles.leases.register_worker(worker)

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        return self.roles.leases.beat(worker_ids)

    def unregister_worker(self, worker_id: str, why: str = ASKED) -> Rescue:
        return self.roles.leases.unregister_worker(worker_id, why)

    def workers(self) -> list[WorkerRecord]:
        return self.roles.leases.workers()

    def is_living(self, worker: WorkerRecord) -> bool | None:
        return self.roles.leases.is_living(worker)

    def rescue(self, seen: WorkerRecord, error: str, why: str = LEASE_ENDED) -> Rescue | None:
        return self.roles.leases.rescue(seen, error, why)

    def rescue_crashed(
        self, worker_id: str, performing: Sequence[CrashedJob], why: str | None = None
    ) -> Rescue:
        return self.roles.leases.rescue_crashed(worker_id, performing, why)

    def orphaned_workers(self) -> list[str]:
        return self.roles.leases.orphaned_workers()

    def rescue_orphans(self, worker_id: str, error: str) -> Rescue | None:
        return self.roles.leases.rescue_orphans(worker_id, error)

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        return self.roles.leases.release_strays(worker_id, held)

    def declare_handlers(self, worker_id: str, handlers: Collection[str]) -> None:
        self.roles.leases.declare_handlers(worker_id, handlers)

    def declared_handlers(self) -> dict[str, set[str]]:
        return self.roles.leases.declared_handlers()

    # --- the roster of workers --------------------------------------------------------------------

    def note_workers(self, notes: Mapping[str, WorkerNote]) -> None:
        self.roles.roster.note_workers(notes)

    def ended_workers(self, limit: int) -> list[WorkerEnd]:
        return self.roles.roster.ended_workers(limit)

    def prune_ended_workers(self, age: timedelta, limit: int) -> int:
        return self.roles.roster.prune_ended_workers(age, limit)

    # --- stacks -----------------------------------------------------------------------------------

    def ask_for_stacks(self, worker_id: str, by: str | None = None) -> WorkerStacks:
        return self.roles.stacks.ask_for_stacks(worker_id, by)

    def workers_asked_for_stacks(self, worker_ids: Collection[str]) -> set[str]:
        return self.roles.stacks.workers_asked_for_stacks(worker_ids)

    def answer_with_stacks(self, worker_id: str, stacks: Sequence[Stack]) -> bool:
        return self.roles.stacks.answer_with_stacks(worker_id, stacks)

    def stacks_of(self, worker_id: str) -> WorkerStacks | None:
        return self.roles.stacks.stacks_of(worker_id)

    def prune_stacks(self, age: timedelta, limit: int) -> int:
        return self.roles.stacks.prune_stacks(age, limit)

    # --- reads ------------------------------------------------------------------------------------

    def get(self, job_id: int) -> StoredJob | None:
        return self.roles.reads.get(job_id)

    def list_jobs(self, where: JobFilter, limit: int) -> list[StoredJob]:
        return self.roles.reads.list_jobs(where, limit)

    def count_jobs(self, where: JobFilter) -> int:
        return self.roles.reads.count_jobs(where)

    def count_by_state(self) -> Mapping[JobState, int]:
        return self.roles.reads.count_by_state()

    def page_jobs(self, where: JobFilter, limit: int) -> Page[StoredJob]:
        return self.roles.reads.page_jobs(where, limit)

    def count_up_to(self, where: JobFilter, most: int) -> Count:
        return self.roles.reads.count_up_to(where, most)

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        return self.roles.reads.queue_depths(most)

    def lane_depths(self, most: int, queue: str | None = None) -> list[LaneDepth]:
        return self.roles.reads.lane_depths(most, queue)

    def due_before(self, job: JobRecord, most: int) -> Count:
        return self.roles.reads.due_before(job, most)

    def running_jobs(self, limit: int) -> list[StoredJob]:
        return self.roles.reads.running_jobs(limit)

    def now(self) -> datetime:
        return self.roles.reads.now()

    # --- attempts that did not succeed ------------------------------------------------------------

    def attempts(self, job_id: int) -> list[AttemptRecord]:
        return self.roles.attempts.attempts(job_id)

    def prune_attempts(self, keep: timedelta, limit: int) -> int:
        return self.roles.attempts.prune_attempts(keep, limit)

    # --- control ----------------------------------------------------------------------------------

    def retry(self, where: JobFilter) -> int:
        return self.roles.control.retry(where)

    def cancel(self, where: JobFilter, reason: str) -> int:
        return self.roles.control.cancel(where, reason)

    def cancel_each(self, where: JobFilter, reason: str) -> list[StoredJob]:
        return self.roles.control.cancel_each(where, reason)

    def request_cancel(self, job_id: int, reason: str) -> StoredJob | None:
        return self.roles.control.request_cancel(job_id, reason)

    def cancel_requests(self, worker_id: str) -> Mapping[tuple[int, int], str]:
        return self.roles.control.cancel_requests(worker_id)

    def update_args(self, job_id: int, args: str) -> bool:
        return self.roles.control.update_args(job_id, args)

    def change_args(
        self, job_id: int, change: Callable[[StoredJob], str], *, retry: bool = False
    ) -> bool:
        return self.roles.control.change_args(job_id, change, retry=retry)

    def set_progress(self, job_id: int, progress: str) -> bool:
        return self.roles.control.set_progress(job_id, progress)

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        self.roles.control.report_progress(reports)

    def delete(self, where: JobFilter, *, include_running: bool = False) -> int:
        return self.roles.control.delete(where, include_running=include_running)

    def delete_each(self, where: JobFilter, *, include_running: bool = False) -> list[StoredJob]:
        return self.roles.control.delete_each(where, include_running=include_running)

    def pause_queues(self, queues: Collection[str], pause: Pause = UNTIL_RESUMED) -> set[str]:
        return self.roles.control.pause_queues(queues, pause)

    def resume_queues(self, queues: Collection[str]) -> set[str]:
        return self.roles.control.resume_queues(queues)

    def resume_due_queues(self) -> set[str]:
        return self.roles.control.resume_due_queues()

    def paused_queues(self) -> set[str]:
        return self.roles.control.paused_queues()

    def pauses(self) -> list[PausedQueue]:
        return self.roles.control.pauses()

    # --- actions of people ------------------------------------------------------------------------

    def note_action(self, action: NewAction) -> ActionRecord:
        return self.roles.actions.note_action(action)

    def begin_action(
        self, action: NewAction, run_by: str | None = None, lease: timedelta = RUN_LEASE
    ) -> ActionRecord:
        return self.roles.actions.begin_action(action, run_by, lease)

    def take_over_action(
        self, run_by: str, lease: timedelta = RUN_LEASE, action_id: int | None = None
    ) -> ActionRecord | None:
        return self.roles.actions.take_over_action(run_by, lease, action_id)

    def change_batch(
        self,
        action: ActionRecord,
        batch: ActionBatch,
        lease: timedelta = RUN_LEASE,
        *,
        returning: bool = False,
    ) -> ChangedBatch | None:
        return self.roles.actions.change_batch(action, batch, lease, returning=returning)

    def end_action(self, action: ActionRecord) -> bool:
        return self.roles.actions.end_action(action)

    def stop_action(self, action_id: int) -> bool:
        return self.roles.actions.stop_action(action_id)

    def resume_action(self, action_id: int) -> bool:
        return self.roles.actions.resume_action(action_id)

    def action(self, action_id: int) -> ActionRecord | None:
        return self.roles.actions.action(action_id)

    def actions(self, where: ActionFilter, limit: int) -> Sequence[ActionRecord]:
        return self.roles.actions.actions(where, limit)

    def prune_actions(self, keep: timedelta, limit: int) -> int:
        return self.roles.actions.prune_actions(keep, limit)

    # --- retention --------------------------------------------------------------------------------

    def finished_handlers(self, state: JobState) -> list[str]:
        return self.roles.retention.finished_handlers(state)

    def prune(self, state: JobState, handlers: Collection[str], keep: Keep, limit: int) -> int:
        return self.roles.retention.prune(state, handlers, keep, limit)

    # --- schedules --------------------------------------------------------------------------------

    def declare_schedules(self, app: str, schedules: Sequence[NewSchedule]) -> None:
        self.roles.schedules.declare_schedules(app, schedules)

    def renew_schedules(self, app: str, names: Collection[str]) -> set[str]:
        return self.roles.schedules.renew_schedules(app, names)

    def schedules(self, app: str | None = None) -> list[ScheduleRecord]:
        return self.roles.schedules.schedules(app)

    def enqueue_ticks(
        self,
        seen: ScheduleRecord,
        jobs: Sequence[NewJob],
        last_tick: datetime,
        enqueued: tuple[TickSpan, ...] | None = None,
    ) -> Sequence[StoredJob] | None:
        return self.roles.schedules.enqueue_ticks(seen, jobs, last_tick, enqueued)

    def put_schedule_back(
        self, seen: ScheduleRecord, back: ScheduleRecord
    ) -> ScheduleRecord | None:
        return self.roles.schedules.put_schedule_back(seen, back)

    def pause_schedule(self, app: str, name: str) -> bool:
        return self.roles.schedules.pause_schedule(app, name)

    def resume_schedule(self, app: str, name: str) -> bool:
        return self.roles.schedules.resume_schedule(app, name)

    # --- stats ------------------------------------------------------------------------------------

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        self.roles.stats.add_stats(worker_id, stats)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        return self.roles.stats.stats(period)

    def class_stats(
        self,
        since: timedelta,
        until: timedelta = timedelta(0),
        handlers: Collection[str] | None = None,
        queues: Collection[str] | None = None,
    ) -> list[Stat]:
        return self.roles.stats.class_stats(since, until, handlers, queues)

    def ended_by_queue(self, since: timedelta) -> dict[str, int]:
        return self.roles.stats.ended_by_queue(since)

    def roll_up_stats(self, limit: int) -> int:
        return self.roles.stats.roll_up_stats(limit)

    def prune_stats(self, limit: int) -> int:
        return self.roles.stats.prune_stats(limit)

    def prune_hours(self, age: timedelta, limit: int) -> int:
        return self.roles.stats.prune_hours(age, limit)

    # --- errors -----------------------------------------------------------------------------------

    def add_errors(self, errors: Sequence[NewErrors], release: str | None = None) -> set[str]:
        return self.roles.errors.add_errors(errors, release)

    def error_groups(self, where: ErrorFilter, limit: int, hours: int = SHOWN_HOURS) -> ErrorPage:
        return self.roles.errors.error_groups(where, limit, hours)

    def error_group(self, key: str) -> ErrorGroupRecord | None:
        return self.roles.errors.error_group(key)

    def set_error_state(self, key: str, state: ErrorState, by: str) -> bool:
        return self.roles.errors.set_error_state(key, state, by)

    def prune_errors(self, keep: timedelta, limit: int) -> int:
        return self.roles.errors.prune_errors(keep, limit)

    # --- samples ----------------------------------------------------------------------------------

    def begin_sample(self) -> datetime | None:
        return self.roles.samples.begin_sample()

    def store_sample(self, minute: datetime, depths: Sequence[QueueDepth]) -> None:
        self.roles.samples.store_sample(minute, depths)

    def samples(
        self,
        period: timedelta,
        queue: str | None = None,
        every: int = 1,
        until: timedelta = timedelta(0),
    ) -> list[Sample]:
        return self.roles.samples.samples(period, queue, every, until)

    def prune_samples(self, age: timedelta, limit: int) -> int:
        return self.roles.samples.prune_samples(age, limit)

    # --- tokens -----------------------------------------------------------------------------------

    def store_token(self, token: TokenRecord) -> None:
        self.roles.tokens.store_token(token)

    def find_token(self, token_id: str) -> TokenRecord | None:
        return self.roles.tokens.find_token(token_id)

    def tokens(self) -> list[TokenRecord]:
        return self.roles.tokens.tokens()

    def revoke_token(self, token_id: str) -> bool:
        return self.roles.tokens.revoke_token(token_id)

    # --- idempotency keys -------------------------------------------------------------------------

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        return self.roles.keys.enqueue_once(key, job)

    def prune_keys(self, limit: int) -> int:
        return self.roles.keys.prune_keys(limit)

    # --- limits -----------------------------------------------------------------------------------

    def declare_limits(self, limits: Sequence[DeclaredLimit]) -> None:
        self.roles.limits.declare_limits(limits)

    def limits(self) -> list[LimitRecord]:
        return self.roles.limits.limits()

    def set_limit(self, new: NewLimit) -> bool:
        return self.roles.limits.set_limit(new)

    def gated_lines(self, most: int, queue: str | None = None) -> list[GatedLine]:
        return self.roles.limits.gated_lines(most, queue)

    def uses_of_gates(self, gates: Sequence[Gate]) -> list[GateUse]:
        return self.roles.limits.uses_of_gates(gates)

    def before_in_order(self, job: JobRecord) -> JobRecord | None:
        return self.roles.limits.before_in_order(job)

    # --- flows ------------------------------------------------------------------------------------

    def start_flow(
        self, flow: NewFlow, steps: Sequence[NewStep], *, session: Any = None
    ) -> tuple[int, Sequence[StoredJob]]:
        return self.roles.flows.start_flow(flow, steps, session=session)

    def close_flow(self, flow_id: int, *, session: Any = None) -> None:
        self.roles.flows.close_flow(flow_id, session=session)

    def advance_flows(self, most: int = 100) -> int:
        return self.roles.flows.advance_flows(most)

    def flow(self, flow_id: int) -> FlowRecord | None:
        return self.roles.flows.flow(flow_id)

    def flows(
        self, limit: int, *, before_id: int | None = None, going_on: bool = False
    ) -> list[FlowRecord]:
        return self.roles.flows.flows(limit, before_id=before_id, going_on=going_on)

    def steps_before(self, job_id: int) -> list[StepRecord]:
        return self.roles.flows.steps_before(job_id)

    def cancel_flow(self, flow_id: int, reason: str) -> int:
        return self.roles.flows.cancel_flow(flow_id, reason)

    def retry_flow(self, flow_id: int) -> int:
        return self.roles.flows.retry_flow(flow_id)

    def prune_flows(self, age: timedelta, limit: int) -> int:
        return self.roles.flows.prune_flows(age, limit)

    # --- the tables and the database --------------------------------------------------------------

    def ping(self) -> None:
        self.roles.schema.ping()

    def migrate(self, revision: str = "head") -> None:
        self.roles.schema.migrate(revision)

    def downgrade(self, revision: str) -> None:
        self.roles.schema.downgrade(revision)

    def migration_sql(self, start: str | None = None) -> str:
        return self.roles.schema.migration_sql(start)

    def schema_status(self) -> SchemaStatus:
        return self.roles.schema.schema_status()

    def health(self) -> Health:
        return self.roles.schema.health()

    def close_spare_connections(self) -> None:
        self.roles.schema.close_spare_connections()

    def close(self) -> None:
        self.roles.schema.close()
