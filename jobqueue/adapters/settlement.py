"""What an outcome does to a row: said once, for every adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from jobqueue.records import (
    Cancelled,
    Discarded,
    Failed,
    JobRecord,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
    record,
)

Pair = tuple[int, int]
"""A job's id and the token of a claim."""


@record
class Settlement:
    """The change to the row `id`, made only while it is running under `token`.

    A settled row is unlocked. One that becomes ready is due `delay` from now; the others are
    finished. One that would become ready, but is to be cancelled, is that instead, and keeps the
    reason. `last_error` takes `error`, or stays as it is when `keeps_error`; the progress stays
    when there is none.
    """

    id: int
    token: int
    state: JobState
    remove: bool = False
    refund: int = 0
    delay: timedelta | None = None
    error: str | None = None
    keeps_error: bool = False
    result: str | None = None
    progress: str | None = None

    @property
    def heeds_cancel(self) -> bool:
        """Whether the job ends cancelled where somebody had cancelled it, and keeps the reason."""
        is_cancelled = self.state is JobState.CANCELLED and self.keeps_error
        return is_cancelled or self.state is JobState.READY


@record
class Settlements:
    """What a batch of outcomes does: rows to remove, by (id, token), and rows to change."""

    removals: Sequence[Pair]
    changes: Sequence[Settlement]

    def __len__(self) -> int:
        return len(self.removals) + len(self.changes)

    def halves(self) -> tuple[Settlements, Settlements]:
        """The batch in two."""
        removed, changed = len(self.removals) // 2, len(self.changes) // 2
        if not changed and len(self.changes) == 1:
            return Settlements(self.removals, ()), Settlements((), self.changes)
        return (
            Settlements(self.removals[:removed], self.changes[:changed]),
            Settlements(self.removals[removed:], self.changes[changed:]),
        )


NOTHING_TO_SETTLE = Settlements((), ())


@record
class Applied:
    """What of a batch still matched.

    Args:
        pairs: what was settled.
        reasons: why somebody had cancelled those that ended so for that.
    """

    pairs: Sequence[Pair]
    reasons: Mapping[Pair, str]

    def plus(self, other: Applied) -> Applied:
        """Both in one."""
        return Applied([*self.pairs, *other.pairs], {**self.reasons, **other.reasons})


NOTHING_APPLIED = Applied((), {})


def may_be_cancelled(outcome: Outcome) -> bool:
    """Whether a job with this outcome ends cancelled where somebody had cancelled it."""
    return isinstance(outcome, Retried | Released | Cancelled)


def was_called_off(record: JobRecord) -> bool:
    """Whether a job has ended since somebody cancelled it while it ran."""
    return record.state is JobState.CANCELLED and record.cancel_requested_at is not None


def cancelled_among(
    outcomes: Sequence[Outcome], reasons: Mapping[Pair, str]
) -> tuple[Cancelled, ...]:
    """What became of those with a reason. Of several outcomes for one claim the first counts."""
    if not reasons:
        return ()
    first = {(o.job.id, o.job.token): o for o in reversed(outcomes)}
    return tuple(_cancelled(first[pair], reason) for pair, reason in reasons.items())


def _cancelled(outcome: Outcome, reason: str) -> Cancelled:
    error = outcome.error if isinstance(outcome, Retried) else None
    return Cancelled(outcome.job, outcome.run_time, reason=reason, error=error)


def settlements_of(outcomes: Sequence[Outcome]) -> Settlements:
    """What is to be done for a batch. Of several outcomes for one claim the first counts."""
    if len({outcome.job.id for outcome in outcomes}) < len(outcomes):
        first = {(o.job.id, o.job.token): o for o in reversed(outcomes)}
        outcomes = list(first.values())
    removals: list[Pair] = []
    changes: list[Settlement] = []
    for outcome in outcomes:
        if type(outcome) is Succeeded and not outcome.keep:
            removals.append((outcome.job.id, outcome.job.token))
            continue
        settlement = settlement_of(outcome)
        if settlement.remove:
            removals.append((settlement.id, settlement.token))
        else:
            changes.append(settlement)
    return Settlements(removals, changes)


def settlement_of(outcome: Outcome) -> Settlement:
    """What is to be done to the row of a job with this outcome."""
    settlement = _settlement_of(outcome)
    if outcome.progress is None:
        return settlement
    return replace(settlement, progress=outcome.progress)


def _settlement_of(outcome: Outcome) -> Settlement:
    job_id, token = outcome.job.id, outcome.job.token
    match outcome:
        case Succeeded(keep=keep, result=result, note=note):
            return Settlement(
                job_id, token, JobState.SUCCEEDED, not keep, error=note, result=result
            )
        case Failed(error=error, keep=keep):
            return Settlement(job_id, token, JobState.FAILED, not keep, error=error)
        case Cancelled(keep=keep):
            return Settlement(job_id, token, JobState.CANCELLED, not keep, keeps_error=True)
        case Discarded(reason=reason, keep=keep):
            return Settlement(job_id, token, JobState.CANCELLED, not keep, error=reason)
        case Retried(error=error, delay=delay, refund=refund):
            return Settlement(
                job_id, token, JobState.READY, refund=int(refund), delay=delay, error=error
            )
        case Released(error=error, delay=delay):
            return Settlement(
                job_id,
                token,
                JobState.READY,
                refund=1,
                # Untouched work keeps its place in the queue; only a wait moves it.
                delay=delay or None,
                error=error,
                keeps_error=error is None,
            )
    raise TypeError(f"{outcome!r} is no outcome")


def ids_by_token(pairs: Sequence[Pair]) -> dict[int, list[int]]:
    """The ids of each token, in ascending order, in which two settlements cannot deadlock."""
    grouped: dict[int, list[int]] = {}
    for job_id, token in sorted(pairs):
        grouped.setdefault(token, []).append(job_id)
    return grouped
