"""Reasons why a gated job waits: its limits, and the job before it in its order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from shlex import quote

from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.durations import duration, exact_duration
from jobqueue.records import GateUse, JobRecord, JobState
from jobqueue.views.reasons import Reason, ReasonKind

LIMITS_LOOKED_AT = "the limits of its class, and who counts against them"
ORDER_LOOKED_AT = "the jobs before it in its order"
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
