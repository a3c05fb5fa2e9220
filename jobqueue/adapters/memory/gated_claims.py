"""The claim of jobs that wait at gates, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jobqueue.adapters.gate_room import Candidate, GateRoom, choose, counted_time
from jobqueue.adapters.memory.store import MemoryStore, Row
from jobqueue.records import AfterFailure, Claim, ClaimedJob, Gate, JobState

MarkAsRunning = Callable[[Row, Claim], ClaimedJob]


@dataclass(slots=True)
class MemoryGatedClaims:
    """The claims at the gates of a store.

    Args:
        store: the rows.
        mark_as_running: claims the job of a row.
        last_line: the line that took its turn last.
        free_in: how soon a rate lets another job start, as of the last claim.
    """

    store: MemoryStore
    mark_as_running: MarkAsRunning
    last_line: str = ""
    free_in: timedelta | None = None

    def claim(self, claim: Claim, size_of: Callable[[Row], int]) -> list[ClaimedJob]:
        """Claim jobs that wait at gates, and those that have waited for too long."""
        self.free_in = None
        if not self.store.gated:
            return []
        now = self.store.now()
        rows = [row for row in self._rows(claim) if row.record.run_at <= now]
        expired = [row for row in rows if _is_expired(row, now)][: claim.limit]
        claimed = [self._claim_expired(row, claim) for row in expired]
        rows = [row for row in rows if not _is_expired(row, now)]
        rows = [row for row in rows if row.record.queue not in self.store.paused]
        rows = [row for row in rows if self._is_next(row)]
        rest = replace(claim, limit=claim.limit - len(claimed))
        room = self.room_at({gate for row in rows for gate in row.record.terms.gates}, now)
        self.free_in = room.free_in
        for candidate in choose(self._candidates(rows, size_of), room, rest):
            row = self.store.rows[candidate.id]
            if candidate.takes_turns:
                self.last_line = row.record.line or ""
            self._note_starts(room.as_declared(candidate.gates), now)
            self.store.put(replace(row, record=replace(row.record, waiting_key=None)))
            claimed.append(self.mark_as_running(self.store.rows[candidate.id], claim))
        return claimed

    def _rows(self, claim: Claim) -> list[Row]:
        rows = [self.store.rows[job_id] for job_id in list(self.store.gated)]
        return [
            row
            for row in rows
            if (claim.queues is None or row.record.queue in claim.queues)
            and row.record.handler not in claim.passing_over
        ]

    def _claim_expired(self, row: Row, claim: Claim) -> ClaimedJob:
        job = self.mark_as_running(row, claim)
        running = self.store.rows[job.id]
        refunded = replace(running.record, attempts=running.record.attempts - 1)
        self.store.put(replace(running, record=refunded))
        return replace(job, attempts=job.attempts - 1, is_expired=True)

    def _is_next(self, row: Row) -> bool:
        """Whether no earlier job of an ordered line has to come first."""
        record = row.record
        if record.terms.ordered is None:
            return True
        blocking = {JobState.GATED, JobState.RUNNING}
        if record.terms.ordered is AfterFailure.STOP:
            blocking.add(JobState.FAILED)
        return not any(
            other.record.line == record.line
            and other.record.id < record.id
            and other.record.state in blocking
            for other in self.store.rows.values()
        )

    def _candidates(self, rows: Iterable[Row], size_of: Callable[[Row], int]) -> list[Candidate]:
        by_line = defaultdict(list)
        for row in rows:
            by_line[row.record.line or ""].append(row)
        names = sorted(by_line)
        in_turn = [name for name in names if name > self.last_line]
        in_turn += [name for name in names if name <= self.last_line]
        return [
            _candidate(row, head, size_of(row))
            for head, name in enumerate(in_turn)
            for row in by_line[name]
        ]

    def room_at(self, gates: Collection[Gate], now: datetime) -> GateRoom:
        """The room at gates."""
        held: dict[str, int] = defaultdict(int)
        for running in self.store.running_rows():
            for gate in running.record.terms.gates:
                held[gate.name] += 1
        left: dict[str, int] = {}
        free_in: list[timedelta] = []
        declared = {gate.name: self.store.as_declared(gate) for gate in gates}
        for gate in declared.values():
            if gate.per is None:
                left[gate.name] = max(gate.number - held[gate.name], 0)
                continue
            begin = now - counted_time(gate)
            starts = [each for each in self.store.starts.get(gate.name, ()) if each > begin]
            self.store.starts[gate.name] = starts
            left[gate.name] = max(gate.number - len(starts), 0)
            if not left[gate.name] and starts:
                free_in.append(starts[0] - begin)
        return GateRoom(left, min(free_in, default=None), declared)

    def _note_starts(self, gates: Iterable[Gate], now: datetime) -> None:
        for gate in gates:
            if gate.per is not None:
                self.store.starts.setdefault(gate.name, []).append(now)


def _is_expired(row: Row, now: datetime) -> bool:
    return row.record.expires_at is not None and row.record.expires_at <= now


def _candidate(row: Row, head: int, size: int) -> Candidate:
    record = row.record
    is_rated = any(gate.per is not None for gate in record.terms.gates)
    return Candidate(
        id=record.id,
        priority=record.priority,
        run_at=record.run_at,
        gates=record.terms.gates,
        takes_turns=record.terms.takes_turns,
        head=head,
        only_at_once=record.max_attempts <= 1 or is_rated,
        bytes=size,
    )
