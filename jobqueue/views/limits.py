"""The limits of jobs as they are shown: their numbers, and who waits for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.errors import ConfigurationError
from jobqueue.records import Count, Gate, GatedLine, LimitRecord

MOST_LINES = 500


@dataclass(frozen=True, slots=True)
class GateView:
    """A limit for one value of its key, as it is shown.

    Args:
        key: the value; None for a limit without a key.
        held: how many jobs count against it now: those that run, or those that a rate let start
            within its period.
        waiting: how many jobs that wait have to pass it.
    """

    key: str | None
    held: int
    waiting: Count

    def facts(self) -> dict[str, Any]:
        """Return all that is known of it, by name."""
        return {
            "key": self.key,
            "held": self.held,
            "waiting": self.waiting.number,
            "waiting_more": self.waiting.more,
        }


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit as it is shown.

    Args:
        record: its row.
        gates: it for each value of its key that jobs wait for.
    """

    record: LimitRecord
    gates: tuple[GateView, ...]

    @property
    def waiting(self) -> Count:
        """How many jobs wait that have to pass it."""
        return _sum(gate.waiting for gate in self.gates)

    def facts(self) -> dict[str, Any]:
        """Return all that is known of the limit, by name."""
        record = self.record
        return {
            "name": record.name,
            "number": record.number,
            "per_seconds": None if record.per is None else record.per.total_seconds(),
            "declared": record.declared,
            "declared_at": record.declared_at,
            "set_at": record.set_at,
            "set_by": record.set_by,
            "reason": record.reason,
            "waiting": self.waiting.number,
            "waiting_more": self.waiting.more,
            "keys": [gate.facts() for gate in self.gates],
        }


def all_limits(adapter: LimitsRole) -> list[LimitView]:
    """Return the limits that workers have declared, by name, and who waits for them."""
    return _views(adapter, adapter.limits())


def limit_view(adapter: LimitsRole, record: LimitRecord) -> LimitView:
    """Return one limit, and who waits for it."""
    return _views(adapter, [record])[0]


def found_limit(adapter: LimitsRole, name: str) -> LimitRecord:
    """Return the limit of a name, or of the end of one.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    known = {record.name: record for record in adapter.limits()}
    if name in known:
        return known[name]
    ending = [each for each in known if each.endswith((f".{name}", f"/{name}"))]
    if len(ending) == 1:
        return known[ending[0]]
    if ending:
        raise ConfigurationError(f"several limits end in {name!r}: {', '.join(sorted(ending))}")
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ConfigurationError(
        f"there is no limit {name!r}{hint}; `jobqueue limits` lists them. A worker that starts "
        "stores the limits of its classes"
    )


def _views(adapter: LimitsRole, records: Sequence[LimitRecord]) -> list[LimitView]:
    waiting = _waiting_at(adapter.gated_lines(MOST_LINES), {record.name for record in records})
    for record in records:
        whole = Gate(record.name, None, record.number, record.per)
        waiting.setdefault(whole.name, (whole, Count(0)))
    uses = adapter.uses_of_gates([gate for gate, _ in waiting.values()])
    gates = [
        (use.gate.limit, GateView(use.gate.key, use.held, count))
        for use, (_, count) in zip(uses, waiting.values(), strict=True)
    ]
    return [
        LimitView(record, tuple(_shown_first([g for name, g in gates if name == record.name])))
        for record in records
    ]


def _shown_first(gates: list[GateView]) -> list[GateView]:
    """Gates in the order in which they are shown, without those that nobody is at."""
    used = [gate for gate in gates if gate.held or gate.waiting.number]
    return sorted(used, key=lambda gate: (-gate.waiting.number, gate.key or ""))


def _waiting_at(lines: Iterable[GatedLine], limits: set[str]) -> dict[str, tuple[Gate, Count]]:
    """The gates of some limits that lines of jobs wait at, by name, with the number of the jobs."""
    found: dict[str, tuple[Gate, Count]] = {}
    for line in lines:
        count = Count(line.waiting, line.more)
        for gate in line.terms.gates:
            if gate.limit in limits:
                before = found[gate.name][1] if gate.name in found else Count(0)
                found[gate.name] = gate, _sum((before, count))
    return found


def _sum(counts: Iterable[Count]) -> Count:
    all_counts = list(counts)
    return Count(sum(c.number for c in all_counts), any(c.more for c in all_counts))
