"""All that was written down in a run, put together by job."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.app import LEDGER
from tests.chaos.databases import COLUMNS, ChaosDatabase
from tests.chaos.faults import EVERYBODY, FAULTS
from tests.chaos.journal import read
from tests.chaos.operations import OPERATIONS
from tests.chaos.producer import PRODUCED

Claim = tuple[int, int]
"""The id of a job, and the token of a claim of it."""
STILL_GOES_ON = float("inf")
POISON = "poison"


@dataclass(slots=True)
class Execution:
    """A job as it was performed once. `ended` and `how` are None when nobody lived to say."""

    number: int
    job: int
    token: int
    attempt: int
    crashes: int
    pid: int
    parent: int
    started: float
    ended: float | None = None
    how: str | None = None
    finished: float | None = None
    """When it had nothing left to do: at its end, or just before it committed its own end."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a job's row, as the witness saw it. A state is None where there is no row."""

    began: float
    at: float
    job: int
    number: int | None
    queue: str
    old_state: str | None
    new_state: str | None
    old_token: int | None
    new_token: int | None
    worker: str | None
    attempts: int
    crashes: int

    @property
    def is_claim(self) -> bool:
        """Whether a worker took the job by it."""
        return self.new_state == "running" and self.new_token != self.old_token


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was broken: from when to when, and whose; None for everybody's."""

    kind: str
    pids: frozenset[int] | None
    began: float
    ended: float

    def hits(self, execution: Execution) -> bool:
        """Whether it concerned the worker of an execution, or its supervisor."""
        return self.pids is None or bool(self.pids & {execution.pid, execution.parent})


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator did. `answer` is "unknown" where it was lost."""

    kind: str
    job: int | None
    began: float
    ended: float
    answer: Any


@dataclass(slots=True)
class Facts:
    """See the module. Numbers are those that the producer gave to jobs."""

    kinds: dict[int, str] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    rolled_back: set[int] = field(default_factory=set)
    in_transactions: list[frozenset[int]] = field(default_factory=list)
    orders: set[int] = field(default_factory=set)
    changes: dict[int, list[Change]] = field(default_factory=dict)
    beats: dict[str, list[float]] = field(default_factory=dict)
    executions: dict[int, list[Execution]] = field(default_factory=dict)
    accepted: list[tuple[Claim, str]] = field(default_factory=list)
    effects: list[tuple[int, int, int]] = field(default_factory=list)
    states: dict[int, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    logged: Counter[str] = field(default_factory=Counter)
    tracebacks: int = 0

    @classmethod
    def gather(cls, folder: Path, database: ChaosDatabase) -> Facts:
        """Read everything. Nothing may be going on any more."""
        facts = cls()
        facts._read_producer(folder)
        facts._read_ledger(folder)
        facts._read_database(database)
        facts._read_journals(folder)
        facts._read_logs(folder)
        return facts

    def _read_producer(self, folder: Path) -> None:
        for line in read(folder / PRODUCED):
            numbers = [job[0] for job in line["jobs"]]
            if line["event"] == "tried":
                self.kinds.update({number: kind for kind, number in line["jobs"]})
                numbers = [number for _, number in line["jobs"]]
                if line["way"] == "rolled back":
                    self.rolled_back.update(numbers)
                if line["way"] == "transaction":
                    self.in_transactions.append(frozenset(numbers))
            elif line["event"] == "acknowledged":
                self.acknowledged.update(line["jobs"])
            elif line["way"] != "rolled back":
                self.unknown.update(number for _, number in line["jobs"])

    def _read_ledger(self, folder: Path) -> None:
        found: dict[int, list[Execution]] = defaultdict(list)
        for path in sorted((folder / LEDGER).glob("*")):
            going_on: dict[Claim, Execution] = {}
            for line in read(path):
                claim = (line["job"], line["token"])
                if line["event"] == "started":
                    going_on[claim] = _execution(line)
                    found[line["job"]].append(going_on[claim])
                elif line["event"] == "ended":
                    execution = going_on[claim]
                    execution.ended, execution.how = line["at"], line["how"]
                    if execution.finished is None and execution.how == "done":
                        execution.finished = execution.ended
                elif line["event"] == "finished":
                    going_on[claim].finished = line["at"]
                else:
                    self.accepted.append((claim, line["how"]))
        for executions in found.values():
            executions.sort(key=lambda e: e.started)
        self.executions = dict(found)

    def _read_database(self, database: ChaosDatabase) -> None:
        found: dict[int, list[Change]] = defaultdict(list)
        for row in database.run(f"SELECT {COLUMNS} FROM chaos_history ORDER BY seq"):
            change = Change(*row)
            found[change.job].append(change)
        self.changes = dict(found)
        beats: dict[str, list[float]] = defaultdict(list)
        for worker, at in database.run("SELECT worker, at FROM chaos_beats ORDER BY at"):
            beats[worker].append(at)
        self.beats = dict(beats)
        self.orders = {row[0] for row in database.run("SELECT number FROM chaos_orders")}
        self.effects = [
            (number, job, token)
            for number, job, token in database.run(
                "SELECT number, job_id, token FROM chaos_effects"
            )
        ]
        self.states = dict(_pairs(database.run("SELECT id, state FROM background_jobs")))

    def _read_journals(self, folder: Path) -> None:
        for line in read(folder / FAULTS):
            pids = None if line["pids"] == EVERYBODY else frozenset(line["pids"])
            ended = line.get("ended", line["at"])
            self.faults.append(Fault(line["fault"], pids, line["began"], ended))
        for executions in self.executions.values():
            for e in executions:
                if self.kinds[e.number] == POISON:
                    self.faults.append(Fault(POISON, frozenset({e.pid}), e.started, e.started + 1))
        for line in read(folder / OPERATIONS):
            job, began, ended = line.get("job"), line["began"], line["at"]
            self.operations.append(Operation(line["event"], job, began, ended, line["answer"]))

    def _read_logs(self, folder: Path) -> None:
        for path in (folder / "logs").glob("*"):
            for line in path.read_text().splitlines():
                if line.startswith("{"):
                    self.logged[json.loads(line).get("event", "")] += 1
                elif line.startswith("Traceback"):
                    self.tracebacks += 1

    # --- what follows from it --------------------------------------------------------------------

    def numbers_stored(self) -> dict[int, int]:
        """The jobs that were ever in the table, by number, with their ids."""
        return {
            change.number: job
            for job, changes in self.changes.items()
            for change in changes
            if change.old_state is None and change.number is not None
        }

    def end_of(self, claim: Claim) -> Change | None:
        """The change by which a claim ended."""
        job, token = claim
        for change in self.changes.get(job, ()):
            if change.old_token == token and change.new_token != token:
                return change
        return None

    def claimed_at(self, claim: Claim) -> float:
        """When a claim began."""
        return self._beginning_of(claim).at

    def silent_for(self, claim: Claim, until: float) -> float:
        """For how many seconds nothing had been heard, at a moment, of the worker with a claim."""
        beats = self.beats.get(self._beginning_of(claim).worker or "", [])
        heard = bisect_right(beats, until)
        return until - beats[heard - 1] if heard else 0.0

    def _beginning_of(self, claim: Claim) -> Change:
        job, token = claim
        return next(c for c in self.changes[job] if c.is_claim and c.new_token == token)


def _execution(line: dict[str, Any]) -> Execution:
    names = ("number", "job", "token", "attempt", "crashes", "pid", "parent")
    return Execution(**{name: line[name] for name in names}, started=line["at"])


def _pairs(rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, str]]:
    yield from ((row[0], row[1]) for row in rows)
