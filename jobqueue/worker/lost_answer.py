"""Outcomes of a turn whose answer was lost: which of them had been stored all the same."""

from __future__ import annotations

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.settlement import may_be_cancelled, settlement_of, was_called_off
from jobqueue.records import Cancelled, JobRecord, Outcome, Turn


def without_settled_before(
    turn: Turn, adapter: ReadsRole
) -> tuple[tuple[Outcome, ...], tuple[Cancelled, ...]]:
    """Look at what was rejected when outcomes were settled again, after a lost answer.

    Returns:
        The outcomes that were really rejected, and all jobs that were cancelled instead. The
        other rejected outcomes had been stored by the turn whose answer was lost.
    """
    rejected, cancelled = list[Outcome](), list(turn.cancelled)
    for outcome in turn.rejected:
        record = adapter.get(outcome.job.id)
        if not _was_settled(outcome, record):
            rejected.append(outcome)
        elif record is not None and _is_called_off(outcome, record):
            cancelled.append(Cancelled(outcome.job, reason=record.last_error or ""))
    return tuple(rejected), tuple(cancelled)


def _was_settled(outcome: Outcome, record: JobRecord | None) -> bool:
    """Whether an outcome that was rejected had been stored before."""
    settlement = settlement_of(outcome)
    if record is None:
        return settlement.remove
    if record.locked_by is not None:
        return False
    return record.state is settlement.state or _is_called_off(outcome, record)


def _is_called_off(outcome: Outcome, record: JobRecord) -> bool:
    return may_be_cancelled(outcome) and was_called_off(record)
