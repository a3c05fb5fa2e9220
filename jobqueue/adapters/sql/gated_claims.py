"""The claim of jobs that wait at gates.

It is a transaction of its own, beside the turn, so that jobs without flow control pay nothing for
it. It finds heads of lines, locks their gates, counts the room there, and takes the jobs that fit.
Whoever does not get the lock of a gate leaves its lines to the one who has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Text, and_, case, cast, func, or_, select, update

from jobqueue.adapters.gate_room import Candidate, GateRoom, choose, half_of, locks_of
from jobqueue.adapters.sql.gated_lines import (
    BEFORE_ALL_LINES,
    LOWEST_PRIORITY,
    Head,
    first_in_order,
    gated_queues,
    heads_of,
    with_terms_of_first,
)
from jobqueue.adapters.sql.gates import hold_slots, room_at
from jobqueue.adapters.sql.readings import LARGEST, name_or_none, whole
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS, to_name, to_utc
from jobqueue.adapters.sql.terms import terms_in
from jobqueue.records import NO_TERMS, Claim, ClaimedJob, JobState, Outcome, Wakeup, start_by

MOST_FREED = 50
MOST_HEADS = 100
"""How many heads a claim looks at. The next one goes on behind them."""
AT_THE_BEGINNING = ("", *BEFORE_ALL_LINES)
LOOK_AGAIN_SECONDS = 1.0
CONTENDED_SECONDS = 0.01
"""How soon to look again where somebody else held the lock of a gate."""


@dataclass(slots=True)
class GatedMemory:
    """The memory that one worker has of the gates between its claims.

    Args:
        monotonic: seconds that only go up; for tests.
        after: the head that the last claim ended with. The next goes on behind it, so that lines
            take turns.
        expects_more: whether more jobs may be claimed at once.
        freed: the queue and the line of jobs that have ended since then; these come first.
    """

    monotonic: Callable[[], float] = time.monotonic
    after: tuple[str, str, int] = AT_THE_BEGINNING
    expects_more: bool = False
    freed: set[tuple[str, str]] = field(default_factory=set)
    _look_at: float = field(default=float("-inf"))
    _has_odd_place: bool = False

    def has_to_look(self, heard: Wakeup | None, *, is_idle: bool) -> bool:
        """Whether to look for jobs at gates in this turn."""
        is_wanted = is_idle or self.expects_more or bool(self.freed)
        is_told = heard is not None and heard.may_be_gated
        return is_wanted or is_told or self.monotonic() >= self._look_at

    def part_for_others(self, claim: Claim) -> Claim | None:
        """The part of a claim for jobs that wait at no gate; None for no part.

        Both kinds have half of the room, if there are jobs of both. The odd place goes to each in
        turn.
        """
        if not self.expects_more:
            return claim
        self._has_odd_place = not self._has_odd_place
        return half_of(claim, has_odd_place=self._has_odd_place)

    def note_settled(self, outcomes: Iterable[Outcome]) -> None:
        """Remember the lines of jobs that have ended: there may be room at their gates.

        A line that takes turns does not come first for that.
        """
        for outcome in outcomes:
            job = outcome.job
            if job.line is None or len(self.freed) >= MOST_FREED:
                continue
            self.expects_more = True
            if not job.terms.takes_turns:
                self.freed.add((job.queue, job.line))

    def take_freed(self) -> set[tuple[str, str]]:
        """Return those lines, and forget them."""
        freed, self.freed = self.freed, set()
        return freed

    def note(self, found: GatedClaim, limit: int) -> None:
        """Remember how a claim ended."""
        self._look_at = self.monotonic() + LOOK_AGAIN_SECONDS
        self.after = found.after
        self.expects_more = bool(found.claimed) or (limit <= 0 and found.number_of_heads > 0)


@dataclass(frozen=True, slots=True)
class GatedClaim:
    """The result of a claim at gates.

    Args:
        claimed: the jobs.
        after: the head to go on behind.
        number_of_heads: how many have due jobs.
        look_again_in: how soon something may be free; None where nothing tells.
        leaves_room: the queues of freed lines that were not looked at again, for want of room in
            the worker.
    """

    claimed: tuple[ClaimedJob, ...]
    after: tuple[str, str, int]
    number_of_heads: int = 0
    look_again_in: timedelta | None = None
    leaves_room: frozenset[str] = frozenset()


class GatedClaims(SqlRole):
    """The claims at the gates of a database."""

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        self._memories: dict[tuple[str, tuple[str, ...] | None], GatedMemory] = {}

    def memory_of(self, claim: Claim) -> GatedMemory:
        """The memory of the worker of a claim."""
        return self._memories.setdefault((claim.worker_id, claim.queues), GatedMemory())

    def claim(self, claim: Claim, memory: GatedMemory) -> GatedClaim:
        """Claim jobs that wait at gates, and those that have waited for too long.

        The latter are expired: whoever performs jobs ends them without performing them.
        """
        freed = memory.take_freed()
        heads = self.database.read(lambda c: self._find_heads(c, claim, memory.after, freed))
        if not heads:
            found = GatedClaim((), AT_THE_BEGINNING)
        elif claim.limit <= 0:
            queues = frozenset(queue for queue, _ in freed)
            found = GatedClaim((), memory.after, len(heads), leaves_room=queues)
        else:
            found = self.database.write(lambda c: self._claim(c, claim, heads))
        memory.note(found, claim.limit)
        return found

    # --- finding lines ---------------------------------------------------------------------------

    def _find_heads(
        self,
        connection: Connection,
        claim: Claim,
        after: tuple[str, str, int],
        freed: Collection[tuple[str, str]],
    ) -> list[Head]:
        """The heads of freed lines, those behind the last one, and round to it again."""
        queues = gated_queues(connection, claim.queues)
        heads: list[Head] = []
        for queue, freed_line in freed:
            if queue in queues:
                found = heads_of(connection, queue, (freed_line, LOWEST_PRIORITY), 1)
                heads += [head for head in found if head.line == freed_line]
        last_queue, line, priority = after
        place = next((n for n, name in enumerate(queues) if name >= last_queue), 0)
        in_turn = [*queues[place:], *queues[:place]]
        if in_turn and in_turn[0] == last_queue:
            heads += heads_of(connection, last_queue, (line, priority), MOST_HEADS)
            in_turn = [*in_turn[1:], last_queue]
        for queue in in_turn:
            if len(heads) >= MOST_HEADS:
                break
            heads += heads_of(connection, queue, BEFORE_ALL_LINES, MOST_HEADS - len(heads))
        return list({head.position: head for head in heads}.values())

    # --- claiming --------------------------------------------------------------------------------

    def _claim(self, connection: Connection, claim: Claim, heads: Sequence[Head]) -> GatedClaim:
        now = self.time.read(connection)
        expired = self._claim_expired(connection, claim, now)
        due = with_terms_of_first(connection, (h for h in heads if h.run_at <= now), now)
        wanted = {lock for head in due for lock in locks_of(head.terms, head.line)}
        locked = self._lock(connection, sorted(wanted)) if wanted else set()
        reachable = [head for head in due if locked.issuperset(locks_of(head.terms, head.line))]
        # A statement after the locks: it sees all that their last holders have stored.
        room = room_at(connection, {gate for head in reachable for gate in head.terms.gates}, now)
        candidates = self._candidates(connection, claim, reachable, room, now)
        chosen = choose({each.id: each for each in candidates}.values(), room, claim)
        claimed = self._mark(connection, claim, chosen, room, now)
        look_again_in = room.free_in
        if len(reachable) < len(due) and not claimed:
            look_again_in = timedelta(seconds=CONTENDED_SECONDS)
        after = _last_taken(reachable or heads, chosen)
        return GatedClaim((*expired, *claimed), after, len(due), look_again_in)

    def _lock(self, connection: Connection, locks: Sequence[str]) -> set[str]:  # noqa: ARG002
        """Lock gates and ordered lines, but those that others have locked; return which.

        A file has one writer at a time: nobody else has locked any.
        """
        return set(locks)

    def _candidates(
        self,
        connection: Connection,
        claim: Claim,
        heads: Sequence[Head],
        room: GateRoom,
        now: datetime,
    ) -> list[Candidate]:
        """The jobs of heads that may be next. Of an ordered line that is one job at most."""
        found: list[Candidate] = []
        others = []
        for place, head in enumerate(heads):
            if head.terms.ordered is None:
                others.append((place, head))
                continue
            first = first_in_order(connection, head, now)
            if first is not None:
                which = JOBS.c.id == first[0]
                found += self._read_candidates(connection, claim, which, 1, place)
        return found + self._due_behind_heads(connection, claim, others, room, now)

    def _due_behind_heads(
        self,
        connection: Connection,
        claim: Claim,
        heads: Sequence[tuple[int, Head]],
        room: GateRoom,
        now: datetime,
    ) -> list[Candidate]:
        """The due jobs of heads, no more of each than there is room for."""
        found: list[Candidate] = []
        for place, head in heads:
            number = room.number_for(head.terms, claim.limit)
            if number > 0:
                which = _due_behind(head, now)
                found += self._read_candidates(connection, claim, which, number, place)
        return found

    def _read_candidates(
        self, connection: Connection, claim: Claim, which: Any, number: int, place: int
    ) -> list[Candidate]:
        query = (
            select(
                *(JOBS.c.id, JOBS.c.priority, JOBS.c.run_at, JOBS.c.max_attempts),
                cast(JOBS.c.terms, Text).label("terms"),
                (
                    func.length(cast(JOBS.c.args, Text))
                    + func.coalesce(func.length(cast(JOBS.c.meta, Text)), 0)
                ).label("bytes"),
            )
            .where(which, is_in(JOBS.c.state, JobState.GATED))
            .order_by(JOBS.c.run_at, JOBS.c.id)
            .limit(number)
            .with_for_update(skip_locked=True)
        )
        if claim.passing_over:
            query = query.where(JOBS.c.handler.not_in(claim.passing_over))
        rows = connection.execute(query)
        return [found for row in rows if (found := candidate_of(row, place)) is not None]

    def _claim_expired(
        self, connection: Connection, claim: Claim, now: datetime
    ) -> list[ClaimedJob]:
        """Claim jobs that nobody may start any more, whatever their gates."""
        expired = and_(is_in(JOBS.c.state, JobState.GATED), JOBS.c.expires_at <= now)
        query = select(JOBS.c.id).where(expired).order_by(JOBS.c.expires_at).limit(claim.limit)
        if claim.queues is not None:
            query = query.where(JOBS.c.queue.in_(claim.queues))
        if claim.passing_over:
            query = query.where(JOBS.c.handler.not_in(claim.passing_over))
        ids = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
        return self._update(connection, claim, ids, now, attempt=0) if ids else []

    def _mark(
        self,
        connection: Connection,
        claim: Claim,
        chosen: Sequence[Candidate],
        room: GateRoom,
        now: datetime,
    ) -> list[ClaimedJob]:
        if not chosen:
            return []
        places = {candidate.id: place for place, candidate in enumerate(chosen)}
        claimed = self._update(connection, claim, list(places), now, attempt=1)
        gates = {candidate.id: room.as_declared(candidate.gates) for candidate in chosen}
        taken = [(gate, job.id, job.token) for job in claimed for gate in gates[job.id]]
        if taken:
            hold_slots(connection, taken, now)
        return sorted(claimed, key=lambda job: places[job.id])

    def _update(
        self,
        connection: Connection,
        claim: Claim,
        ids: Collection[int],
        now: datetime,
        *,
        attempt: int,
    ) -> list[ClaimedJob]:
        columns = ("id", "handler", "queue", "priority", "attempts", "max_attempts", "crashes")
        moments = ("run_at", "created_at", "locked_at")
        further = ("line", "expires_at", "flow_id")
        attempts = case((JOBS.c.attempts < LARGEST, JOBS.c.attempts + attempt), else_=LARGEST)
        statement = (
            update(JOBS)
            .where(JOBS.c.id.in_(sorted(ids)), is_in(JOBS.c.state, JobState.GATED))
            .values(
                state=JobState.RUNNING.value,
                attempts=attempts,
                locked_by=claim.worker_id,
                claim_token=claim.token,
                locked_at=now,
                updated_at=now,
                waiting_key=None,
            )
            .returning(
                *(JOBS.c[name] for name in (*columns, *moments, *further)),
                *(cast(JOBS.c[name], Text).label(name) for name in ("args", "meta", "terms")),
            )
        )
        rows = connection.execute(statement).all()
        return [_claimed(row, claim.token, is_expired=not attempt) for row in rows]


def _due_behind(head: Head, now: datetime) -> Any:
    return and_(
        JOBS.c.queue == head.queue,
        JOBS.c.line == head.line,
        JOBS.c.priority == head.priority,
        JOBS.c.run_at <= now,
        or_(JOBS.c.expires_at.is_(None), JOBS.c.expires_at > now),
    )


def _last_taken(heads: Sequence[Head], chosen: Sequence[Candidate]) -> tuple[str, str, int]:
    """The head to go on behind: the last that gave a job in its turn, or that was looked at."""
    in_turn = [candidate.head for candidate in chosen if candidate.takes_turns]
    return heads[max(in_turn)].position if in_turn else heads[-1].position


def candidate_of(row: Any, head: int) -> Candidate | None:
    """The candidate in a row; None where somebody has written terms that are none."""
    terms = terms_in(row.terms)
    if terms is None:
        return None
    is_rated = any(gate.per is not None for gate in terms.gates)
    return Candidate(
        id=row.id,
        priority=whole(row.priority, 0),
        run_at=to_utc(row.run_at),
        gates=terms.gates,
        takes_turns=terms.takes_turns,
        head=head,
        only_at_once=row.max_attempts <= 1 or is_rated,
        bytes=row.bytes,
    )


def _start_by(row: Any) -> float | None:
    return (
        None if row.expires_at is None else start_by(to_utc(row.locked_at), to_utc(row.expires_at))
    )


def _claimed(row: Any, token: int, *, is_expired: bool) -> ClaimedJob:
    return ClaimedJob(
        id=row.id,
        token=token,
        handler=to_name(row.handler),
        args=to_name(row.args),
        queue=to_name(row.queue),
        priority=whole(row.priority, 0),
        attempts=whole(row.attempts, 0),
        max_attempts=whole(row.max_attempts, 0),
        crashes=whole(row.crashes, 0),
        run_at=to_utc(row.run_at),
        created_at=to_utc(row.created_at),
        locked_at=to_utc(row.locked_at),
        meta=name_or_none(row.meta),
        line=to_name(row.line),
        terms=terms_in(row.terms) or NO_TERMS,
        is_expired=is_expired,
        start_by=_start_by(row),
        flow_id=row.flow_id if type(row.flow_id) is int else None,
    )
