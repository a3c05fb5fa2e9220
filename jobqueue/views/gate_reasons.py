"""Reasons why jobs wait at gates or for others: limits, orders, and the jobs of their flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from shlex import quote

from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.durations import duration, exact_duration
from jobqueue.records import (
    FINISHED_STATES,
    FlowRecord,
    Gate,
    GateUse,
    JobRecord,
    JobState,
    StepRecord,
)
from jobqueue.views.reasons import Reason, ReasonKind

LIMITS_LOOKED_AT = "the limits of its class, and who counts against them"
ORDER_LOOKED_AT = "the jobs before it in its order"
STEPS_LOOKED_AT = "the jobs of its flow"
MOST_NAMED = 5
MOST_LINES = 200
SET_IT = "Set the limit higher, if what it protects bears it."
OF_THE_CALL = (
    "No class declares it: the call that enqueued the job gave it. Wait, or cancel the job and "
    "enqueue it with another."
)


def gate_reasons(adapter: LimitsRole, job: JobRecord, now: datetime) -> Iterator[Reason]:
    """Yield the reasons that a gated job may have to wait for; none for other jobs."""
    if job.state is not JobState.GATED:
        return
    uses = adapter.uses_of_gates(job.terms.gates)
    declared = {limit.name for limit in adapter.limits()} if uses else set()
    for use in uses:
        yield _limit_reason(use, is_declared=use.gate.limit in declared)
    if job.terms.ordered is not None:
        yield _order_reason(adapter.before_in_order(job), now)


def step_reasons(adapter: FlowsRole, job: JobRecord) -> Iterator[Reason]:
    """Yield the reason that a blocked job waits for others; none for other jobs."""
    if job.state is not JobState.BLOCKED or job.flow_id is None:
        return
    if (job.flow_place or 0) < 0:
        yield _end_reason(adapter.flow(job.flow_id), job.flow_id)
        return
    before = [each for each in adapter.steps_before(job.id) if _is_waited_for(each)]
    named = ", ".join(f"{each.job_id} ({_state_text(each)})" for each in before[:MOST_NAMED])
    more = f" and {len(before) - MOST_NAMED} more" if len(before) > MOST_NAMED else ""
    jobs = "job" if len(before) == 1 else "jobs"
    yield Reason(
        ReasonKind.STEPS,
        bool(before),
        f"It waits for {jobs} {named}{more}." if before else "All jobs before it have ended.",
        STEPS_LOOKED_AT,
        {"flow": job.flow_id, "jobs": [each.job_id for each in before[:MOST_NAMED]]},
        command=f"jobqueue flows show {job.flow_id}",
        page=("flow", str(job.flow_id)),
    )


def _is_waited_for(step: StepRecord) -> bool:
    return step.state not in FINISHED_STATES and step.state is not None


def _state_text(step: StepRecord) -> str:
    return "deleted" if step.state is None else step.state.value


def _end_reason(flow: FlowRecord | None, flow_id: int) -> Reason:
    left = 0
    if flow is not None:
        left = sum(n for state, n in flow.jobs.items() if state not in FINISHED_STATES)
    is_open = flow is not None and flow.closed_at is None
    what = f"It waits for the end of flow {flow_id}: {left:,} of its jobs have not ended."
    if is_open:
        what = f"It waits for flow {flow_id}, to which jobs are still added."
    return Reason(
        ReasonKind.STEPS,
        flow is not None,
        what,
        STEPS_LOOKED_AT,
        {"flow": flow_id, "unfinished": left},
        command=f"jobqueue flows show {flow_id}",
        page=("flow", str(flow_id)),
    )


def queue_gate_reasons(adapter: LimitsRole, queue: str) -> Iterator[Reason]:
    """Yield the full limits that jobs of a queue wait for; nothing if there are none."""
    waiting: dict[Gate, int] = {}
    lines = adapter.gated_lines(MOST_LINES, queue)
    for line in lines:
        for gate in line.terms.gates:
            waiting[gate] = waiting.get(gate, 0) + line.waiting
    is_more = len(lines) == MOST_LINES or any(line.more for line in lines)
    declared = {limit.name for limit in adapter.limits()} if waiting else set()
    for use in adapter.uses_of_gates(list(waiting)):
        number = use.gate.number
        if use.held < number:
            continue
        asked = next(n for gate, n in waiting.items() if gate.name == use.gate.name)
        more = "+" if is_more else ""
        reason = _limit_reason(use, is_declared=use.gate.limit in declared)
        yield replace(
            reason,
            evidence=f"{asked:,}{more} {'job waits' if asked == 1 else 'jobs wait'} for a limit. "
            f"{reason.evidence}",
            facts={**reason.facts, "waiting": asked},
        )
    ordered = [line for line in lines if line.terms.ordered is not None]
    if ordered:
        number = sum(line.waiting for line in ordered)
        yield Reason(
            ReasonKind.ORDER,
            True,
            f"{number:,}{'+' if is_more else ''} {'job is' if number == 1 else 'jobs are'} "
            f"performed one at a time, in {len(ordered)} "
            f"{'order' if len(ordered) == 1 else 'orders'}.",
            ORDER_LOOKED_AT,
            {"waiting": number, "orders": len(ordered)},
        )


def _limit_reason(use: GateUse, *, is_declared: bool) -> Reason:
    gate, is_full = use.gate, use.held >= use.gate.number
    facts = {
        "limit": gate.limit,
        "key": gate.key,
        "number": gate.number,
        "held": use.held,
        "per_seconds": None if gate.per is None else gate.per.total_seconds(),
        "free_in_seconds": None if use.free_in is None else use.free_in.total_seconds(),
    }
    return Reason(
        ReasonKind.LIMIT,
        is_full,
        f"{_use_text(use)}{_next_text(use.free_in)}.",
        LIMITS_LOOKED_AT,
        facts,
        (SET_IT if is_declared else OF_THE_CALL) if is_full else "",
        f"jobqueue limits set {quote(gate.limit)} NUMBER" if is_full and is_declared else None,
    )


def _use_text(use: GateUse) -> str:
    gate = use.gate
    of_key = "" if gate.key is None else f" for {gate.key}"
    if gate.per is None:
        return f"The limit {gate.limit} lets {gate.number:,} run at once{of_key}: {use.held:,} run"
    period = exact_duration(gate.per.total_seconds())
    return (
        f"The limit {gate.limit} lets {gate.number:,} start in {period}{of_key}: "
        f"{use.held:,} have started"
    )


def _next_text(free_in: timedelta | None) -> str:
    if free_in is None:
        return ""
    return f", and the next may start in {duration(free_in.total_seconds())}"


def _order_reason(before: JobRecord | None, now: datetime) -> Reason:
    if before is None:
        return Reason(ReasonKind.ORDER, False, "It is the next in its order.", ORDER_LOOKED_AT, {})
    facts = {"job": before.id, "state": before.state.value}
    page = ("job", str(before.id))
    if before.state is JobState.FAILED:
        return Reason(
            ReasonKind.ORDER,
            True,
            f"Job {before.id} is before it in its order, has failed, and stops all behind it.",
            ORDER_LOOKED_AT,
            facts,
            "Retry that job, or delete it.",
            f"jobqueue retry {before.id}",
            page,
        )
    does = "runs" if before.state is JobState.RUNNING else _waits_text(before, now)
    what = f"Job {before.id} is before it in its order, and {does}."
    return Reason(ReasonKind.ORDER, True, what, ORDER_LOOKED_AT, facts, page=page)


def _waits_text(before: JobRecord, now: datetime) -> str:
    if before.run_at <= now:
        return "waits too"
    return f"is due in {duration((before.run_at - now).total_seconds())}"
