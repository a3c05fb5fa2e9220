"""The limits in memory, and the lines of jobs that wait at gates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobqueue.adapters.gate_room import counted_time
from jobqueue.adapters.memory.store import MemoryRole
from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.records import (
    FINISHED_STATES,
    AfterFailure,
    DeclaredLimit,
    Gate,
    GatedLine,
    GateUse,
    JobRecord,
    JobState,
    LimitRecord,
    NewLimit,
    Wakeup,
)

MOST_COUNTED = 1_000


class MemoryLimits(MemoryRole, LimitsRole):
    """The limits in memory."""

    def declare_limits(self, limits: Sequence[DeclaredLimit]) -> None:
        with self._store.lock:
            now = self._store.now()
            for limit in limits:
                known = self._store.limits.get(limit.name)
                declared = LimitRecord(limit.name, limit.number, limit.per, now)
                if known is not None:
                    declared = replace(known, declared=limit.number, per=limit.per, declared_at=now)
                self._store.limits[limit.name] = declared

    def limits(self) -> list[LimitRecord]:
        with self._store.lock:
            return sorted(self._store.limits.values(), key=lambda limit: limit.name)

    def set_limit(self, new: NewLimit) -> bool:
        with self._store.lock:
            known = self._store.limits.get(new.name)
            if known is None:
                return False
            is_set = new.number is not None
            self._store.limits[new.name] = replace(
                known,
                set_number=new.number,
                set_at=self._store.now() if is_set else None,
                set_by=new.by if is_set else None,
                reason=new.reason if is_set else None,
            )
        self._store.wake(Wakeup(gated=True))
        return True

    def gated_lines(self, most: int, queue: str | None = None) -> list[GatedLine]:
        lines: dict[tuple[str, str, int], list[JobRecord]] = defaultdict(list)
        with self._store.lock:
            records = [self._store.rows[job_id].record for job_id in self._store.gated]
        for record in records:
            if queue is None or record.queue == queue:
                lines[record.queue, record.line or "", record.priority].append(record)
        return [
            GatedLine(
                *place,
                terms=waiting[0].terms,
                first_run_at=min(record.run_at for record in waiting),
                waiting=min(len(waiting), MOST_COUNTED),
                more=len(waiting) > MOST_COUNTED,
            )
            for place, waiting in sorted(lines.items())[:most]
        ]

    def uses_of_gates(self, gates: Sequence[Gate]) -> list[GateUse]:
        held: dict[str, int] = defaultdict(int)
        with self._store.lock:
            for row in self._store.running_rows():
                for gate in row.record.terms.gates:
                    held[gate.name] += 1
            return [self._use_of(gate, held) for gate in gates]

    def before_in_order(self, job: JobRecord) -> JobRecord | None:
        if job.line is None or job.terms.ordered is None:
            return None
        with self._store.lock:
            rows = sorted(self._store.rows.items())
        before = [r.record for i, r in rows if i < job.id and r.record.line == job.line]
        failed = [record for record in before if record.state is JobState.FAILED]
        unfinished = [record for record in before if record.state not in FINISHED_STATES]
        stopping = failed if job.terms.ordered is AfterFailure.STOP else []
        return next(iter([*stopping, *unfinished]), None)

    def _use_of(self, gate: Gate, held: Mapping[str, int]) -> GateUse:
        gate = self._store.as_declared(gate)
        if gate.per is None:
            return GateUse(gate, held.get(gate.name, 0))
        begin = self._store.now() - counted_time(gate)
        starts = [each for each in self._store.starts.get(gate.name, ()) if each > begin]
        is_used_up = bool(starts) and len(starts) >= gate.number
        return GateUse(gate, len(starts), starts[0] - begin if is_used_up else None)
