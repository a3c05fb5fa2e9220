"""The changes to the row of a running job when its attempt ends, the same in every adapter.

An attempt ends with an outcome, which becomes a `Settlement`, or because its worker is gone, which
is `Freed`. Either way one rule holds: a job that somebody has cancelled while it ran does not
become ready again. It ends cancelled, and its `last_error` keeps the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from jobqueue.errors import StateConflict
from jobqueue.fingerprints import group_of_rescued
from jobqueue.records import (
    MOST_CRASHES,
    WAITING_STATES,
    AttemptOutcome,
    Cancelled,
    CrashedJob,
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

    The row is unlocked.

    Args:
        id: the job's.
        token: of the claim.
        state: the job's new state, unless the settlement heeds a cancel.
        remove: remove the row instead.
        refund: how many attempts to give back.
        delay: how long until a ready job is due; None to leave its `run_at` as it is.
        error: the new `last_error`.
        keeps_error: leave `last_error` as it is.
        result: the result, as JSON.
        progress: the progress, as JSON; None to leave it as it is.
        crashes: how many crashes to charge.
        is_freed: the worker is gone.
        ended: how the attempt ended, which is noted; None for one that has succeeded, or that is
            no attempt, since the job is given back as it was.
        run_time: how long the attempt took; None where nobody knows, or where it is no attempt.
        error_key: the key of the group of the error.
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
    crashes: int = 0
    is_freed: bool = False
    ended: AttemptOutcome | None = None
    run_time: timedelta | None = None
    error_key: str | None = None

    @property
    def heeds_cancel(self) -> bool:
        """Whether the job ends cancelled, with the reason, if somebody has cancelled it."""
        is_cancelled = self.state is JobState.CANCELLED and self.keeps_error
        return is_cancelled or self.is_freed or self.state in WAITING_STATES


@record
class Freed:
    """The change to a running job that is taken from its worker.

    It becomes ready, or fails when it may not be attempted again. If somebody has cancelled it, it
    ends cancelled instead.

    Args:
        refund: how many attempts to give back.
        crashes: how many crashes to charge.
        may_fail: whether it fails when its attempts are used up.
        most_crashes: the number of crashes at which it fails; None for any number.
        is_final: it fails, whatever attempts it has left.
        delay: how long until it is due; None to leave its `run_at` as it is.
        error: the new `last_error`; None to leave it as it is.
        ended: how the attempt ended, which is noted; None for a job that was given back.
    """

    refund: int = 0
    crashes: int = 0
    may_fail: bool = True
    most_crashes: int | None = None
    is_final: bool = False
    delay: timedelta | None = None
    error: str | None = None
    ended: AttemptOutcome | None = None

    @classmethod
    def lost(cls, error: str) -> Freed:
        """A job whose worker is lost: the attempt is spent."""
        return cls(error=error, ended=AttemptOutcome.LOST)

    @classmethod
    def crashed(cls, job: CrashedJob) -> Freed:
        """A job whose process died while performing it: the attempt is spent."""
        return cls(
            crashes=int(job.guilty),
            most_crashes=MOST_CRASHES,
            is_final=job.final,
            delay=job.delay or None,
            error=job.error,
            ended=AttemptOutcome.CRASHED if job.guilty else AttemptOutcome.TIMED_OUT,
        )

    def settlement_of(self, job: JobRecord, token: int) -> Settlement:
        """The settlement of a job that runs under `token`."""
        return Settlement(
            job.id,
            token,
            JobState.FAILED if self._fails(job) else job.waiting_state,
            refund=self.refund,
            delay=self.delay,
            error=self.error,
            keeps_error=self.error is None,
            crashes=self.crashes,
            is_freed=True,
            ended=self.ended,
            error_key=self.error_key_of(job.handler),
        )

    def error_key_of(self, handler: str) -> str | None:
        """The key of the group of its error; None for a job that was given back."""
        if self.ended is None or self.error is None:
            return None
        return group_of_rescued(handler, self.error).key

    def _fails(self, job: JobRecord) -> bool:
        is_used_up = self.may_fail and job.attempts >= job.max_attempts
        most = self.most_crashes
        return (
            is_used_up or self.is_final or (most is not None and job.crashes + self.crashes >= most)
        )


GIVEN_BACK = Freed(refund=1, may_fail=False)
"""A job that was not started, or is given back unfinished: nothing is charged."""


@record
class Settlements:
    """The changes of a batch of outcomes: rows to remove, by (id, token), and rows to change.

    Attempts may be noted of the removed jobs in `tried_before`: these are removed, too.
    """

    removals: Sequence[Pair]
    changes: Sequence[Settlement]
    tried_before: Collection[int] = ()

    def __len__(self) -> int:
        return len(self.removals) + len(self.changes)

    def halves(self) -> tuple[Settlements, Settlements]:
        """The batch in two halves."""
        removed, changed = len(self.removals) // 2, len(self.changes) // 2
        tried = self.tried_before
        if not changed and len(self.changes) == 1:
            return Settlements(self.removals, (), tried), Settlements((), self.changes)
        return (
            Settlements(self.removals[:removed], self.changes[:changed], tried),
            Settlements(self.removals[removed:], self.changes[changed:], tried),
        )


NOTHING_TO_SETTLE = Settlements((), ())


@record
class Applied:
    """The part of a batch that was applied, since its claims still held.

    Args:
        pairs: the (id, token) of each settled job.
        reasons: for each job that ended cancelled because somebody had cancelled it, the reason.
        locked: the (id, token) of each job that was passed over, since its row is locked.
    """

    pairs: Sequence[Pair]
    reasons: Mapping[Pair, str]
    locked: Sequence[Pair] = ()

    def plus(self, other: Applied) -> Applied:
        """Both parts together."""
        return Applied(
            [*self.pairs, *other.pairs],
            {**self.reasons, **other.reasons},
            [*self.locked, *other.locked],
        )


NOTHING_APPLIED = Applied((), {})


def may_be_cancelled(outcome: Outcome) -> bool:
    """Whether a job with this outcome ends cancelled if somebody has cancelled it."""
    return isinstance(outcome, Retried | Released | Cancelled)


def was_called_off(record: JobRecord) -> bool:
    """Whether a job ended cancelled because somebody cancelled it while it ran."""
    return record.state is JobState.CANCELLED and record.cancel_requested_at is not None


def cancelled_among(
    outcomes: Sequence[Outcome], reasons: Mapping[Pair, str]
) -> tuple[Cancelled, ...]:
    """The outcomes of jobs that ended cancelled. The first outcome of a claim counts."""
    if not reasons:
        return ()
    first = {(o.job.id, o.job.token): o for o in reversed(outcomes)}
    return tuple(_cancelled(first[pair], reason) for pair, reason in reasons.items())


def _cancelled(outcome: Outcome, reason: str) -> Cancelled:
    error = outcome.error if isinstance(outcome, Retried) else None
    return Cancelled(outcome.job, outcome.run_time, reason=reason, error=error)


def settlements_of(outcomes: Sequence[Outcome]) -> Settlements:
    """The changes of a batch of outcomes. Of several outcomes of a claim the first counts."""
    if len({outcome.job.id for outcome in outcomes}) < len(outcomes):
        first = {(o.job.id, o.job.token): o for o in reversed(outcomes)}
        outcomes = list(first.values())
    removals: list[Pair] = []
    changes: list[Settlement] = []
    tried_before: list[int] = []
    for outcome in outcomes:
        job = outcome.job
        if type(outcome) is Succeeded and not outcome.keep and job.flow_id is None:
            removals.append((job.id, job.token))
            # One that asked to be tried again has another time, but not another number.
            if job.attempts > 1 or job.run_at > job.created_at:
                tried_before.append(job.id)
            continue
        settlement = settlement_of(outcome)
        if settlement.remove:
            removals.append((settlement.id, settlement.token))
            tried_before.append(settlement.id)
        else:
            changes.append(settlement)
    return Settlements(removals, changes, tried_before)


def settlement_of(outcome: Outcome) -> Settlement:
    """The change to the row of a job with this outcome."""
    settlement = _settlement_of(outcome)
    if settlement.remove and outcome.job.flow_id is not None:
        # Others of its flow may wait for it, or ask for its result.
        settlement = replace(settlement, remove=False)
    if outcome.progress is None:
        return settlement
    return replace(settlement, progress=outcome.progress)


def _ended(outcome: Retried | Failed) -> AttemptOutcome:
    if isinstance(outcome, Retried) and outcome.refund:
        return AttemptOutcome.RETRY_ASKED
    return AttemptOutcome.TIMED_OUT if outcome.timed_out else AttemptOutcome.FAILED


def _key_of(outcome: Retried | Failed) -> str | None:
    return None if outcome.error_group is None else outcome.error_group.key


def _settlement_of(outcome: Outcome) -> Settlement:
    job_id, token, run_time = outcome.job.id, outcome.job.token, outcome.run_time
    match outcome:
        case Succeeded(keep=keep, result=result, note=note):
            return Settlement(
                *(job_id, token, JobState.SUCCEEDED, not keep),
                error=note,
                result=result,
                run_time=run_time,
            )
        case Failed(error=error, keep=keep):
            return Settlement(
                *(job_id, token, JobState.FAILED, not keep),
                error=error,
                ended=_ended(outcome),
                run_time=run_time,
                error_key=_key_of(outcome),
            )
        case Cancelled(keep=keep, error=error):
            return Settlement(
                *(job_id, token, JobState.CANCELLED, not keep),
                error=error,
                keeps_error=True,
                ended=AttemptOutcome.CANCELLED,
                run_time=run_time,
            )
        case Discarded(reason=reason, keep=keep):
            return Settlement(
                *(job_id, token, JobState.CANCELLED, not keep),
                error=reason,
                ended=AttemptOutcome.DISCARDED,
                run_time=run_time,
            )
        case Retried(error=error, delay=delay, refund=refund):
            return Settlement(
                *(job_id, token, outcome.job.waiting_state),
                refund=int(refund),
                delay=delay,
                error=error,
                ended=_ended(outcome),
                run_time=run_time,
                error_key=_key_of(outcome),
            )
        case Released(error=error, delay=delay):
            return Settlement(
                job_id,
                token,
                outcome.job.waiting_state,
                refund=1,
                # Untouched work keeps its place in the queue; only a wait moves it.
                delay=delay or None,
                error=error,
                keeps_error=error is None,
            )
    raise TypeError(f"{outcome!r} is no outcome")


def flow_is_over(flow_id: int) -> StateConflict:
    """The error of whoever adds a job to a flow that has ended."""
    return StateConflict(
        f"flow {flow_id} has ended, is cancelled, or is not there; nothing can be added to it any "
        "more, and nothing was stored. Only a job that it waits for can add others"
    )


def ids_by_token(pairs: Sequence[Pair]) -> dict[int, list[int]]:
    """The ids of each token. They ascend, so that two settlements cannot deadlock."""
    grouped: dict[int, list[int]] = {}
    for job_id, token in sorted(pairs):
        grouped.setdefault(token, []).append(job_id)
    return grouped
