"""The room at gates, and the jobs that fit into it; the same in every adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from jobqueue.records import Claim, ClaimedJob, Gate, Terms

PARTS_OF_A_PERIOD = 40
"""A period is counted in so many parts, and two parts more: a rate gives away 5 % at most."""


@dataclass(frozen=True, slots=True)
class GateRoom:
    """How many more jobs may pass each gate now.

    Args:
        left: by the name of the gate.
        free_in: how soon a rate that is used up lets another job start; None where none is.
        gates: the gates as they are declared, by name.
    """

    left: Mapping[str, int]
    free_in: timedelta | None = None
    gates: Mapping[str, Gate] = field(default_factory=dict)

    def number_for(self, terms: Terms, most: int) -> int:
        """How many jobs with these terms may start now, and no more than `most`."""
        return min([most, *(self.left[gate.name] for gate in terms.gates)])

    def as_declared(self, gates: Iterable[Gate]) -> list[Gate]:
        """Return some of the gates as they are declared, whatever the terms of a job say."""
        return [self.gates[gate.name] for gate in gates]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that is due and may be claimed, if there is room at its gates.

    Args:
        id: the job's.
        priority: its priority.
        run_at: when it was due.
        gates: those that it has to pass.
        takes_turns: whether its line takes turns with others.
        head: the place of its head among those that were looked at.
        only_at_once: whether it is claimed only for a slot that is free now.
        bytes: the size of its arguments and meta.
    """

    id: int
    priority: int
    run_at: datetime
    gates: tuple[Gate, ...]
    takes_turns: bool
    head: int
    only_at_once: bool
    bytes: int


def choose(candidates: Iterable[Candidate], room: GateRoom, claim: Claim) -> list[Candidate]:
    """Choose from candidates those that fit: into the worker, and through their gates.

    The most urgent come first. Of those, lines that take turns give one job each, and then another
    one each. All other lines together are like one of them. A job is prefetched only while more
    than half of a limit is free: the slot that it holds meanwhile may be of use to other workers.
    """
    left, chosen, size = dict(room.left), list[Candidate](), 0
    for candidate in _in_turn(candidates):
        if len(chosen) >= claim.limit:
            break
        size_with_it = size + candidate.bytes
        is_prefetched = len(chosen) >= claim.free_slots
        if is_prefetched and not _may_be_prefetched(candidate, left):
            continue
        if is_prefetched and size_with_it > claim.most_bytes:
            continue
        names = {gate.name for gate in candidate.gates}
        if all(left.get(name, 0) > 0 for name in names):
            left |= {name: left[name] - 1 for name in names}
            chosen.append(candidate)
            size = size_with_it
    return chosen


def _may_be_prefetched(candidate: Candidate, left: Mapping[str, int]) -> bool:
    is_wanted = not candidate.only_at_once
    return is_wanted and all(left.get(g.name, 0) * 2 > g.number for g in candidate.gates)


def _in_turn(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Candidates in the order in which they are taken, as far as there is room."""
    turns: dict[int | None, int] = {}
    places: dict[int | None, int] = {}
    order = []
    for candidate in sorted(candidates, key=lambda each: (each.priority, each.run_at, each.id)):
        line = candidate.head if candidate.takes_turns else None
        turn = turns[line] = turns.get(line, -1) + 1
        place = places.setdefault(line, candidate.head)
        order.append((candidate.priority, turn, place, candidate.id, candidate))
    return [candidate for *_, candidate in sorted(order, key=lambda each: each[:4])]


def rest_of(claim: Claim, claimed: Sequence[ClaimedJob]) -> Claim:
    """The rest of a claim, when some jobs have been claimed."""
    size = sum(len(job.args) + len(job.meta or "") for job in claimed)
    return replace(
        claim,
        limit=max(claim.limit - len(claimed), 0),
        free_slots=max(claim.free_slots - len(claimed), 0),
        most_bytes=max(claim.most_bytes - size, 0),
    )


def half_of(claim: Claim, *, has_odd_place: bool) -> Claim | None:
    """Half of a claim, with the odd place or without it; None for no place."""
    odd = int(not has_odd_place)
    limit = claim.limit - (claim.limit + odd) // 2
    free_slots = claim.free_slots - (claim.free_slots + odd) // 2
    return replace(claim, limit=limit, free_slots=free_slots) if limit else None


def locks_of(terms: Terms, line: str) -> list[str]:
    """The locks that a claim needs before it takes jobs of a line."""
    locks = [gate.name for gate in terms.gates]
    return locks if terms.ordered is None else [*locks, line]


def part_length(gate: Gate) -> timedelta:
    """The length of the parts that starts at a rate are counted in."""
    assert gate.per is not None, "only rates have a period"  # noqa: S101
    return gate.per / PARTS_OF_A_PERIOD


def part_of(gate: Gate, now: datetime) -> datetime:
    """The beginning of the part of the period that a moment is in."""
    length = part_length(gate).total_seconds()
    return datetime.fromtimestamp(now.timestamp() // length * length, UTC)


def counted_time(gate: Gate) -> timedelta:
    """How far back starts are counted: the period, and two parts of it.

    What began in a part may have begun at its end; and a job starts a moment after its claim.
    """
    assert gate.per is not None, "only rates have a period"  # noqa: S101
    return gate.per + 2 * part_length(gate)
