"""The path of a job in a SQL database: enqueue, claim, settle.

Each database has its own statements for the steps, since their plans make them fast. The steps are
put together here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Select, case, select, update
from sqlalchemy.exc import DBAPIError

from jobqueue.adapters.gate_room import rest_of
from jobqueue.adapters.roles.path import PathRole
from jobqueue.adapters.settlement import (
    NOTHING_APPLIED,
    NOTHING_TO_SETTLE,
    Applied,
    Pair,
    Settlement,
    Settlements,
    cancelled_among,
    settlements_of,
)
from jobqueue.adapters.sql.announcer import wakeup_for
from jobqueue.adapters.sql.enqueued import Enqueued
from jobqueue.adapters.sql.execute import Execute
from jobqueue.adapters.sql.flow_progress import FlowProgress
from jobqueue.adapters.sql.flow_statements import FlowStatements
from jobqueue.adapters.sql.gated_claims import GatedClaims, GatedMemory
from jobqueue.adapters.sql.queries import conditions, job_record, record_columns
from jobqueue.adapters.sql.readings import LARGEST
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS, BackgroundQueue
from jobqueue.errors import DatabaseError, DatabaseRefused, RowLocked
from jobqueue.records import (
    NO_DELAY,
    Claim,
    ClaimedJob,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    Released,
    Retried,
    Turn,
    Wakeup,
)
from jobqueue.redaction import in_ascii
from jobqueue.stored import StoredJob, kept_by

MOST_TRIED = 100
"""How many jobs are tried at most to find the one that cannot be claimed."""
CANNOT_BE_CLAIMED = (
    "this job cannot be claimed, since the database refuses what that changes in its row; mend the "
    "row, or what refuses it (a constraint, a trigger), and retry the job"
)


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a transaction that settles and claims.

    Args:
        applied: the settled jobs.
        claimed: the claimed jobs, in the order of the claim.
        look_again_in: when to look again although nothing was found; None for whenever.
        set_aside: jobs that cannot be claimed, and have been failed.
    """

    applied: Applied
    claimed: list[ClaimedJob]
    look_again_in: timedelta | None = None
    set_aside: Sequence[StoredJob] = ()


class Meanwhile:
    """Work that is done once, at the first moment when the database is busy."""

    def __init__(self, work: Callable[[], None] | None) -> None:
        self._work = work

    def __call__(self) -> None:
        """Do the work, unless it has been done."""
        work, self._work = self._work, None
        if work is not None:
            work()


class SqlPath(SqlRole, PathRole):
    """The path of jobs in a SQL database: they are enqueued, claimed and settled.

    Args:
        parts: what the roles share.
        gated: the claims at gates.
    """

    def __init__(self, parts: SqlParts, gated: GatedClaims) -> None:
        super().__init__(parts)
        self.gated = gated
        self.flows = FlowProgress(parts)

    # --- what each database says in its own way --------------------------------------------------

    @abstractmethod
    def insert(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """Insert jobs, in order, in a transaction of the caller."""

    @abstractmethod
    def flow_statements(self, execute: Execute) -> tuple[FlowStatements, dict[str, Any]]:
        """The statements that store flows in a transaction of the caller, and their times."""

    @abstractmethod
    def _insert_and_commit(self, jobs: Sequence[NewJob]) -> tuple[Sequence[StoredJob], bool]:
        """Insert jobs in a transaction of their own; return whether it has announced them, too."""

    @abstractmethod
    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        """Settle in a transaction of the caller, who commits it at once."""

    @abstractmethod
    def _settle_and_claim(
        self,
        settlements: Settlements,
        claim: Claim | None,
        given_back: Sequence[ClaimedJob],
        meanwhile: Meanwhile,
    ) -> Done:
        """Settle, then claim, in one transaction.

        Args:
            settlements: what to settle.
            claim: what to claim; None for nothing.
            given_back: the settled jobs that become ready at their old place in the queue.
            meanwhile: is called while the database works.
        """

    # --- enqueueing ------------------------------------------------------------------------------

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        records = self._store(jobs) if session is None else self._store_within(session, jobs)
        return records if isinstance(records, Enqueued) else kept_by(self.adapter, records)

    def _store(self, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """Store jobs in a transaction of their own, and announce them."""
        records, is_announced = self._insert_and_commit(jobs)
        if not is_announced:
            self.announcer.announce_new(wakeup_for(records))
        return records

    def _store_within(self, session: Any, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """Store jobs in the caller's transaction, and announce them when it is committed."""
        with self.database.errors_translated():
            records = self.insert(self.sessions.executing_on(session), jobs)
            self.announcer.announce_at_commit(session, wakeup_for(records))
        return records

    # --- claiming and settling -------------------------------------------------------------------

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        claimed = self._claim_ready(claim)
        gated = self.gated.claim(rest_of(claim, claimed), GatedMemory()).claimed
        return [*claimed, *gated]

    def _claim_ready(self, claim: Claim) -> list[ClaimedJob]:
        """Claim jobs that wait at no gate."""
        return self._settle_and_claim(NOTHING_TO_SETTLE, claim, (), Meanwhile(None)).claimed

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        turn = self.turn(outcomes, None)
        if turn.locked:
            ids = ", ".join(str(outcome.job.id) for outcome in turn.locked)
            raise RowLocked(f"{self.database.name}: somebody keeps the rows of jobs locked: {ids}")
        return list(turn.rejected)

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        settlements, once = settlements_of(outcomes), Meanwhile(meanwhile)
        given_back = _given_back(outcomes)
        ready = claim if claim is None else self.gated.memory_of(claim).part_for_others(claim)
        try:
            done = self._settle_and_claim(settlements, ready, given_back, once)
        except (DatabaseRefused, RowLocked) as error:
            if outcomes:
                done = Done(self._settle_apart(settlements), [])
            elif ready is not None and isinstance(error, DatabaseRefused):
                done = self._claim_apart(ready, error)
            else:
                raise
        once()
        if self._have_flows_go_on(outcomes) and claim is not None:
            self.gated.memory_of(claim).expects_more = True
        if claim is not None:
            done = self._claim_at_gates(done, outcomes, claim)
        else:
            self._announce_room_at_gates(outcomes)
        return self._turn_of(outcomes, done, given_back)

    def _have_flows_go_on(self, outcomes: Sequence[Outcome]) -> bool:
        """Start what waits for jobs that were settled; return whether there is something."""
        try:
            return self.flows.note_ended(outcomes)
        except DatabaseError:
            return False  # what has been settled is committed; the next look at it mends that

    def _announce_room_at_gates(self, outcomes: Sequence[Outcome]) -> None:
        """Tell others of the room that ended jobs leave, since this worker claims nothing now."""
        queues = frozenset(o.job.queue for o in outcomes if o.job.line is not None)
        self.announcer.announce(Wakeup(queues=queues, gated=True) if queues else None)

    def _claim_at_gates(self, done: Done, outcomes: Sequence[Outcome], claim: Claim) -> Done:
        """Claim at gates, too, if something may wait there; in a transaction of its own."""
        memory, is_idle = self.gated.memory_of(claim), not outcomes and not done.claimed
        memory.note_settled(outcomes)
        if not memory.has_to_look(claim.heard, is_idle=is_idle):
            return done
        try:
            found = self.gated.claim(rest_of(claim, done.claimed), memory)
        except DatabaseError:
            if is_idle:
                raise
            # What has been settled and claimed is committed. The next turn meets the error again.
            return replace(done, look_again_in=NO_DELAY)
        if found.leaves_room:
            self.announcer.announce(Wakeup(queues=found.leaves_room, gated=True))
        soonest = [each for each in (done.look_again_in, found.look_again_in) if each is not None]
        return replace(
            done,
            claimed=[*done.claimed, *found.claimed],
            look_again_in=min(soonest, default=None),
        )

    def settle_unlocked(self, outcomes: Sequence[Outcome]) -> Turn:
        done = Done(self._settle_apart(settlements_of(outcomes)), [])
        return self._turn_of(outcomes, done, _given_back(outcomes))

    def _turn_of(
        self, outcomes: Sequence[Outcome], done: Done, given_back: Sequence[ClaimedJob]
    ) -> Turn:
        # A worker that gives jobs back does not take them itself. Others may be asleep for minutes.
        self.announcer.announce(_wakeup_of(given_back))
        applied = done.applied
        return Turn(
            _rejected(outcomes, [*applied.pairs, *applied.locked]),
            tuple(done.claimed),
            done.look_again_in,
            cancelled=cancelled_among(outcomes, applied.reasons),
            locked=_first_of(outcomes, applied.locked),
            set_aside=tuple(done.set_aside),
        )

    def _settle_apart(self, settlements: Settlements) -> Applied:
        """Settle a batch, or its halves, since the database refused something in it.

        What somebody has locked is passed over. An outcome that is refused alone waits as well.
        """
        try:
            return self._settle_passing_over(settlements)
        except DatabaseRefused as error:
            if len(settlements) == 1:
                return self._settle_without_text(settlements, error)
        first, second = settlements.halves()
        return self._settle_apart(first).plus(self._settle_apart(second))

    def _settle_without_text(self, settlements: Settlements, error: DatabaseRefused) -> Applied:
        plain = [_settlement_in_ascii(change, error) for change in settlements.changes]
        try:
            return self._settle_passing_over(replace(settlements, changes=plain))
        except DatabaseRefused:
            changed = [(change.id, change.token) for change in settlements.changes]
            return Applied((), {}, [*settlements.removals, *changed])

    def _settle_passing_over(self, settlements: Settlements) -> Applied:
        """Settle in a transaction that waits for no locked row. A file has no locked rows."""
        return self._settle_and_claim(settlements, None, (), Meanwhile(None)).applied

    # --- a job that cannot be claimed ------------------------------------------------------------

    def _claim_apart(self, claim: Claim, error: DatabaseRefused) -> Done:
        """Claim fewer and fewer jobs, since the database refused to have so many claimed.

        When it refuses a single one, that job is set aside. The next turn goes on with the others.

        Raises:
            DatabaseRefused: it cannot even be set aside.
        """
        limit = claim.limit
        while limit > 1:
            limit //= 2
            fewer = replace(claim, limit=limit, heard=None)
            try:
                return self._settle_and_claim(NOTHING_TO_SETTLE, fewer, (), Meanwhile(None))
            except DatabaseRefused as again:
                error = again
        set_aside = self.database.write(lambda c: self._set_aside(c, claim, error))
        if not set_aside:
            raise error
        return Done(NOTHING_APPLIED, [], set_aside=kept_by(self.adapter, set_aside))

    def _set_aside(
        self, connection: Connection, claim: Claim, error: DatabaseRefused
    ) -> list[StoredJob]:
        """Fail the first job that cannot be claimed.

        None, if no job of several can be claimed: then that is not the fault of their rows.
        """
        due = connection.execute(self._first_due(claim)).scalars().all()
        refused = [job for job in due if not self._can_be_claimed(connection, claim, job)]
        if not refused or len(refused) == len(due) > 1:
            return []
        failed = self._failing(refused[0], f"{CANNOT_BE_CLAIMED}: {error}")
        return [job_record(row) for row in connection.execute(failed)]

    def _first_due(self, claim: Claim) -> Select[Any]:
        """The jobs that a claim comes to first, but those that somebody else is taking."""
        due = JobFilter(states=(JobState.READY,), queues=claim.queues, due=True)
        paused = select(BackgroundQueue.name).where(BackgroundQueue.paused_at.is_not(None))
        return (
            select(JOBS.c.id)
            .where(
                *conditions(due, self.time.now()),
                JOBS.c.queue.not_in(paused),
                JOBS.c.handler.not_in(claim.passing_over),
            )
            .order_by(JOBS.c.priority, JOBS.c.run_at, JOBS.c.id)
            .limit(MOST_TRIED)
            .with_for_update(skip_locked=True)
        )

    def _can_be_claimed(self, connection: Connection, claim: Claim, job_id: int) -> bool:
        """Whether the database lets a job be claimed. It is not claimed by that."""
        now = self.time.now()
        attempts = case((JOBS.c.attempts < LARGEST, JOBS.c.attempts + 1), else_=LARGEST)
        claimed = update(JOBS).where(JOBS.c.id == job_id)
        claimed = claimed.values(
            state=JobState.RUNNING.value,
            attempts=attempts,
            updated_at=now,
            locked_by=claim.worker_id,
            claim_token=claim.token,
            locked_at=now,
        )
        trial = connection.begin_nested()
        try:
            connection.execute(claimed)
        except DBAPIError:
            return False
        finally:
            trial.rollback()
        return True

    def _failing(self, job_id: int, error: str) -> Any:
        """The statement that fails a job, with its numbers in the range of what we write."""
        now = self.time.now()
        attempts = case(
            (JOBS.c.attempts < 0, 0),
            (JOBS.c.attempts >= LARGEST, LARGEST - 1),
            else_=JOBS.c.attempts,
        )
        failed = update(JOBS).where(JOBS.c.id == job_id, is_in(JOBS.c.state, JobState.READY))
        return failed.values(
            state=JobState.FAILED.value,
            attempts=attempts,
            last_error=error,
            error_key=None,
            failed_at=now,
            finished_at=now,
            updated_at=now,
        ).returning(*record_columns())


def in_order_of_claim(jobs: list[ClaimedJob]) -> list[ClaimedJob]:
    """Sort jobs in the order of the claim, since RETURNING has none."""
    return sorted(jobs, key=attrgetter("priority", "run_at", "id"))


def _settlement_in_ascii(settlement: Settlement, error: DatabaseRefused) -> Settlement:
    """A settlement with its text in ASCII, which a database of any encoding takes."""
    text = settlement.error
    if text is not None:
        text = in_ascii(text.replace("\0", ""))
    if settlement.result is not None:
        text = in_ascii(f"the result could not be stored: {error}")
    return replace(settlement, error=text, result=None, progress=None)


def seconds(delay: timedelta | None) -> float | None:
    """A delay in seconds."""
    return None if delay is None else delay.total_seconds()


def _wakeup_of(jobs: Sequence[ClaimedJob]) -> Wakeup | None:
    if not jobs:
        return None
    return Wakeup(
        queues=frozenset(job.queue for job in jobs),
        lowest=min((job.priority, job.run_at, job.id) for job in jobs),
        jobs=len(jobs),
    )


def _given_back(outcomes: Sequence[Outcome]) -> list[ClaimedJob]:
    """The jobs that become ready at their old place in the queue."""
    return [o.job for o in outcomes if isinstance(o, Released | Retried) and not o.delay]


def _first_of(outcomes: Sequence[Outcome], pairs: Sequence[Pair]) -> tuple[Outcome, ...]:
    """The first outcome of each of some claims."""
    first = {(o.job.id, o.job.token): o for o in reversed(outcomes)} if pairs else {}
    return tuple(first[pair] for pair in pairs)


def _rejected(outcomes: Sequence[Outcome], applied: Sequence[Pair]) -> tuple[Outcome, ...]:
    """The outcomes that did not apply. Of several outcomes of a claim only the first can."""
    if len(applied) == len(outcomes):
        return ()
    unseen, rejected = set(applied), []
    for outcome in outcomes:
        pair = (outcome.job.id, outcome.job.token)
        if pair not in unseen:
            rejected.append(outcome)
        unseen.discard(pair)
    return tuple(rejected)
