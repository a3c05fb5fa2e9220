"""Flow control: what has to hold before a job starts, and which calls mean the same job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue.records.base import record

ANY_TIME = "at any time"
"""The line of jobs that wait for nothing but their time."""


class AfterFailure(StrEnum):
    """The fate of the jobs behind an ordered job that has failed."""

    STOP = "stop"
    """They wait until it is retried, or removed."""
    GO_ON = "go_on"
    """They go on without it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit, for one value of its key. So many jobs pass it at once, or within a period.

    Args:
        limit: the name of the limit.
        key: the value of its key; None for a limit without one.
        number: how many jobs may run at once; with `per`, how many may start within that period.
        per: the period of a rate; None for a limit.
    """

    limit: str
    key: str | None
    number: int
    per: timedelta | None = None

    @property
    def name(self) -> str:
        """Its name among all gates."""
        return self.limit if self.key is None else f"{self.limit}={self.key}"


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions that have to hold before a job starts. They are stored with it.

    Args:
        gates: the limits that it counts against.
        takes_turns: whether its line takes turns with other lines.
        ordered: what a failure does to the jobs behind; None for jobs that need no order.
    """

    gates: tuple[Gate, ...] = ()
    takes_turns: bool = False
    ordered: AfterFailure | None = None

    def to_json(self) -> str:
        """The terms as JSON."""
        return json.dumps(self.facts())

    def facts(self) -> dict[str, Any]:
        """The terms as JSON has them. Those that do not apply are left out."""
        facts: dict[str, Any] = {}
        if self.gates:
            facts["gates"] = [_gate_facts(gate) for gate in self.gates]
        if self.takes_turns:
            facts["takes_turns"] = True
        if self.ordered is not None:
            facts["ordered"] = self.ordered.value
        return facts

    @classmethod
    def from_json(cls, text: str | None) -> Terms:
        """The terms in a JSON text of `to_json`.

        Raises:
            ValueError: it is none.
        """
        try:
            facts = json.loads(text or "{}")
            gates = tuple(_gate(each) for each in facts.get("gates", ()))
            ordered = facts.get("ordered")
            return cls(
                gates,
                bool(facts.get("takes_turns", False)),
                None if ordered is None else AfterFailure(ordered),
            )
        except (AttributeError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{text!r} are no terms of a job: {error!r}") from None


NO_TERMS = Terms()


@record
class Debounced:
    """How a call changes a job of its key that still waits.

    Args:
        wait: how long after the last call it is due.
        max_wait: how long after the first one it is due at the latest; None for no such limit.
    """

    wait: timedelta
    max_wait: timedelta | None = None


@record
class FlowControl:
    """The flow control of a new job.

    Args:
        line: the line that it waits in: all jobs of a line are before the same gates. None for a
            job that starts as soon as a worker is free.
        terms: what has to hold before it starts.
        expires_in: how long after it is due it may still start; None for ever.
        unique_key: no other unfinished job has it.
        waiting_key: no other job has it that has not started yet.
        debounced: how a call with the same `waiting_key` changes the job that waits.
        held_key: no other job gets it for `held_for`.
        held_for: how long after the first call a key is held.
        flow_id: the flow that it belongs to.
        flow_place: its place among the jobs of the flow.
        is_blocked: whether it waits for other jobs of the flow.
    """

    line: str | None = None
    terms: Terms = NO_TERMS
    expires_in: timedelta | None = None
    unique_key: str | None = None
    waiting_key: str | None = None
    debounced: Debounced | None = None
    held_key: str | None = None
    held_for: timedelta | None = None
    flow_id: int | None = None
    flow_place: int | None = None
    is_blocked: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredLimit:
    """A limit, as a class declares it.

    Args:
        name: unique; classes that share it count together.
        number: how many jobs may run at once; with `per`, how many may start within that period.
        per: the period of a rate; None for a limit.
    """

    name: str
    number: int
    per: timedelta | None = None


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A limit as it is stored: what a class has declared last, and what somebody has set instead.

    Args:
        name: unique; classes that share it count together.
        declared: the number that a class has declared last.
        per: the period of a rate; None for a limit.
        declared_at: when that was.
        set_number: the number that somebody has set instead; None while nobody has.
        set_at: when that was.
        set_by: who it was.
        reason: why.
    """

    name: str
    declared: int
    per: timedelta | None
    declared_at: datetime
    set_number: int | None = None
    set_at: datetime | None = None
    set_by: str | None = None
    reason: str | None = None

    @property
    def number(self) -> int:
        """The number that holds: how many jobs may run at once, or start within the period."""
        return self.declared if self.set_number is None else self.set_number


@dataclass(frozen=True, slots=True)
class NewLimit:
    """A number that somebody sets for a limit.

    Args:
        name: of the limit.
        number: the number; None for what the classes declare.
        by: who sets it.
        reason: why.
    """

    name: str
    number: int | None
    by: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class GatedLine:
    """Jobs that wait at the same gates.

    Args:
        queue: the queue that they are in.
        line: the line that they wait in.
        priority: theirs; a line has one of these for each.
        terms: on which they start.
        first_run_at: when the first of them is due, or has been since.
        waiting: how many there are.
        more: whether there are more, since counting stopped there.
    """

    queue: str
    line: str
    priority: int
    terms: Terms
    first_run_at: datetime
    waiting: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class GateUse:
    """The use of a gate now.

    Args:
        gate: it, with the number that holds now.
        held: how many jobs run that count against it; of a rate, how many started lately.
        free_in: how soon a rate that is used up lets another job start; None of others.
    """

    gate: Gate
    held: int
    free_in: timedelta | None = None


def _gate_facts(gate: Gate) -> dict[str, Any]:
    facts: dict[str, Any] = {"limit": gate.limit, "number": gate.number}
    if gate.key is not None:
        facts["key"] = gate.key
    if gate.per is not None:
        facts["per_seconds"] = gate.per.total_seconds()
    return facts


def _gate(facts: Any) -> Gate:
    per_seconds = facts.get("per_seconds")
    per = None if per_seconds is None else timedelta(seconds=per_seconds)
    if per is not None and per <= timedelta(0):
        raise ValueError(f"a rate has a period of {per_seconds} seconds")
    return Gate(str(facts["limit"]), facts.get("key"), int(facts["number"]), per)
