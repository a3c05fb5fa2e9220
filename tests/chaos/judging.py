"""What a run has shown: what was promised, held against what was written down."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobqueue.records import MOST_CRASHES
from tests.chaos.app import HOPELESS_ATTEMPTS
from tests.chaos.facts import POISON, STILL_GOES_ON, Change, Execution, Facts, Fault
from tests.chaos.operations import PAUSED

# A heartbeat may be a quarter of a lease old when it stops.
LEAST_OF_A_LEASE = 0.7
CLOCK_SECONDS = 0.05
OWN_TROUBLE = ("Trouble", "StopNow")
KILLS = ("kill", "kill supervisor", POISON)
CONNECTIONS = (
    "restart",
    "terminate backend",
    "cut before send",
    "cut after commit",
    "half open",
    "slow",
)
BEGUN_LATE = "begun by a frozen worker after it had lost it"
LOST_CLAIM = "ClaimLost"
LOST_DATABASE = (
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "DBAPIError",
    "DatabaseUnavailable",
)


@dataclass(slots=True)
class Verdict:
    """The findings. What is in `wrong` must not be; each is a sentence."""

    wrong: dict[str, list[str]] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    unknown_but_stored: int = 0
    executed: int = 0
    failed_by_themselves: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    late_settles_rejected: int = 0
    recoveries: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.wrong.values())

    def findings(self, most: int = 5) -> str:
        """What is wrong, with the first few sentences of each kind; nothing if nothing is."""
        lines = []
        for finding, sentences in self.wrong.items():
            if sentences:
                lines.append(f"{len(sentences)} {finding}")
                lines += [f"    {sentence}" for sentence in sentences[:most]]
        return "\n".join(lines)


class Judge:
    """Holds the promises against the facts.

    Args:
        facts: of the run.
        lease_seconds: of its workers.
    """

    def __init__(self, facts: Facts, lease_seconds: float) -> None:
        self._facts = facts
        self._lease_seconds = lease_seconds
        self._stored = facts.numbers_stored()
        self._numbers = {job: number for number, job in self._stored.items()}
        self._verdict = Verdict()

    def verdict(self) -> Verdict:
        """All findings."""
        facts, verdict = self._facts, self._verdict
        verdict.acknowledged = len(facts.acknowledged)
        verdict.unknown = len(facts.unknown)
        verdict.unknown_but_stored = len(facts.unknown & self._stored.keys())
        verdict.executed = sum(map(len, facts.executions.values()))
        verdict.late_settles_rejected = facts.logged["job_rejected"]
        verdict.faults = Counter(fault.kind for fault in facts.faults)
        verdict.wrong = {
            "lost": list(self._lost()),
            "stored, though rolled back": list(self._stored_though_rolled_back()),
            "duplicates that nothing explains": list(self._unexplained_duplicates()),
            "duplicates inside a transaction": list(self._wrong_effects()),
            "innocents failed as poison": list(self._innocents_failed()),
            "late settles accepted": list(self._late_settles_accepted()),
            "attempts not counted": list(self._uncounted_attempts()),
            "performed though cancelled": list(self._performed_though_cancelled()),
            "claimed while paused": list(self._claimed_while_paused()),
            "errors nobody meant": list(self._strange_errors()),
        }
        return verdict

    # --- enqueueing, and at least once -----------------------------------------------------------

    def _lost(self) -> Iterator[str]:
        """Of what was acknowledged, or is found to be stored: all that did not end as it should."""
        for number, job in sorted((self._facts.acknowledged | self._stored).items()):
            changes = self._facts.changes.get(job)
            what = f"{self._facts.kinds.get(number, 'job')} {number} (id {job})"
            if not changes or number not in self._stored:
                yield f"{what} was acknowledged, and is not there"
            elif reason := self._why_not_ended(job, changes[-1]):
                yield f"{what} {reason}"

    def _why_not_ended(self, job: int, last: Change) -> str | None:
        match last.new_state:
            case None | "succeeded":
                done = [e for e in self._facts.executions.get(job, ()) if e.how == "done"]
                done += [
                    e for e in self._facts.executions.get(job, ()) if e.how is None and e.finished
                ]
                if last.old_token not in {e.token for e in done}:
                    return "was removed by a claim that never finished it"
            case "cancelled":
                if not self._was_told("cancel", job):
                    return "was cancelled by nobody"
            case "failed":
                return None  # rightly or not: see the innocents
            case state:
                return f"is still {state}"
        return None

    def _stored_though_rolled_back(self) -> Iterator[str]:
        facts = self._facts
        for number in sorted(facts.rolled_back & (self._stored.keys() | facts.orders)):
            yield f"number {number} was rolled back, and is stored"
        for numbers in facts.in_transactions:
            orders = numbers & facts.orders
            if orders != numbers & self._stored.keys() or (orders and orders != numbers):
                yield f"of the transaction with {sorted(numbers)} only a part is stored"

    # --- duplicates ------------------------------------------------------------------------------

    def _unexplained_duplicates(self) -> Iterator[str]:
        for executions in self._facts.executions.values():
            for first, second in itertools.pairwise(executions):
                if first.how in OWN_TROUBLE or first.how in LOST_DATABASE:
                    self._verdict.failed_by_themselves += 1
                    continue
                cause = self._cause(first, second)
                if cause is None:
                    yield f"{_shown(first)} and again: {_shown(second)}"
                    continue
                self._verdict.duplicates[cause[0]] += 1
                if cause[0] != BEGUN_LATE:
                    self._verdict.recoveries.append(second.started - cause[1])

    def _cause(self, first: Execution, second: Execution) -> tuple[str, float] | None:
        """What made a job be performed once more, and since when; None when nothing did."""
        if first.token == second.token:
            return None
        if self._began_late(second):
            fault = self._loss(second)
            return None if fault is None else (BEGUN_LATE, fault.began)
        fault = self._loss(first)
        if fault is not None:
            return fault.kind, fault.began
        for retry in self._facts.operations:
            concerns = retry.kind == "retry" and retry.job == first.job
            if concerns and first.started <= retry.ended and retry.began <= second.started:
                return "an operator's retry", retry.began
        return None

    def _began_late(self, execution: Execution) -> bool:
        """Whether its claim was over before it began: it was held, and its worker stood still."""
        end = self._facts.end_of((execution.job, execution.token))
        return end is not None and end.at < execution.started - CLOCK_SECONDS

    def _loss(self, execution: Execution) -> Fault | None:
        """The fault for which a job was taken from its worker before it was settled."""
        end = self._facts.end_of((execution.job, execution.token))
        until = STILL_GOES_ON if end is None else end.at
        since = execution.started
        if self._began_late(execution):
            since = self._facts.claimed_at((execution.job, execution.token))
        found = [
            fault
            for fault in self._facts.faults
            if fault.hits(execution)
            and (self._explains(fault, since, until) or self._was_silent(fault, execution, until))
        ]
        for kinds in (KILLS, ("freeze",), CONNECTIONS):
            for fault in found:
                if fault.kind in kinds:
                    return fault
        return None

    def _explains(self, fault: Fault, since: float, until: float) -> bool:
        """Whether a fault falls into that time, and was there for long enough."""
        if fault.began > until + CLOCK_SECONDS or fault.ended < since - CLOCK_SECONDS:
            return False
        # Nobody is freed sooner than a lease after the last sign of life.
        past_lease = until - fault.began >= self._lease_seconds * LEAST_OF_A_LEASE
        return fault.kind in KILLS or past_lease

    def _was_silent(self, fault: Fault, execution: Execution, until: float) -> bool:
        """Whether it was freed when it had not been heard of for a whole lease, for that fault.

        The silence may have begun before, with a heartbeat that was late on a slow connection, and
        it goes on when the fault is over, until the next heartbeat.
        """
        silent = self._facts.silent_for((execution.job, execution.token), until)
        falls_into_it = fault.began <= until and fault.ended >= until - silent
        return falls_into_it and silent >= self._lease_seconds - CLOCK_SECONDS

    # --- transactions, fences and poison ---------------------------------------------------------

    def _wrong_effects(self) -> Iterator[str]:
        facts = self._facts
        stored = Counter(number for number, _, _ in facts.effects)
        for number, times in sorted(stored.items()):
            if times > 1:
                yield f"the effect of {number} is stored {times} times"
        removed = {
            self._numbers[job]: changes[-1].old_token
            for job, changes in facts.changes.items()
            if changes[-1].new_state in (None, "succeeded") and job in self._numbers
        }
        tokens = {number: token for number, _, token in facts.effects}
        for number, kind in facts.kinds.items():
            is_one = kind == "transacted" and number in self._stored
            if is_one and tokens.get(number) != removed.get(number):
                yield f"of {number} the effect is stored without its completion, or the reverse"

    def _late_settles_accepted(self) -> Iterator[str]:
        """A job that was done with before the claim that it ended under had finished it.

        So it was somebody else who settled it, under a claim that was over.
        """
        for job, changes in self._facts.changes.items():
            last = changes[-1]
            if last.new_state not in (None, "succeeded"):
                continue
            for execution in self._facts.executions.get(job, ()):
                if execution.token == last.old_token and not _finished_by(execution, last.at):
                    yield f"{_shown(execution)} was settled by another at {last.at:.3f}"
        for (job, token), how in self._facts.accepted:
            end = self._facts.end_of((job, token))
            if how == "failed" and end is not None and end.new_state == "ready":
                yield f"job {job} was settled as failed by a claim that it no longer had"

    def _innocents_failed(self) -> Iterator[str]:
        for job, state in sorted(self._facts.states.items()):
            if state != "failed":
                continue
            kind = self._facts.kinds[self._numbers[job]]
            last = self._facts.changes[job][-1]
            is_poison = kind == "poison" and last.crashes >= MOST_CRASHES
            is_hopeless = kind == "hopeless" and last.attempts >= HOPELESS_ATTEMPTS
            if not (is_poison or is_hopeless):
                facts = f"after {last.attempts} attempts and {last.crashes} crashes"
                yield f"{kind} {self._numbers[job]} (id {job}) was failed {facts}"

    def _uncounted_attempts(self) -> Iterator[str]:
        """Each claim counts one, and it is not given back to who was performing when it ended."""
        for job, changes in self._facts.changes.items():
            for before, change in itertools.pairwise(changes):
                if change.is_claim and change.attempts != before.attempts + 1:
                    yield f"job {job} was claimed at {change.at:.3f}, which was not counted"
            for execution in self._facts.executions.get(job, ()):
                end = self._facts.end_of((job, execution.token))
                if execution.how is None and end and end.attempts < execution.attempt:
                    yield f"{_shown(execution)}, which was not counted"

    # --- operators -------------------------------------------------------------------------------

    def _was_told(self, kind: str, job: int) -> bool:
        return any(o.kind == kind and o.job == job for o in self._facts.operations)

    def _performed_though_cancelled(self) -> Iterator[str]:
        for operation in self._facts.operations:
            job = operation.job
            if operation.kind != "cancel" or operation.answer != "cancelled" or job is None:
                continue
            for execution in self._facts.executions.get(job, ()):
                if execution.started > operation.ended and not self._was_told("retry", job):
                    yield f"{_shown(execution)}, cancelled before"

    def _claimed_while_paused(self) -> Iterator[str]:
        pauses = list(self._pauses())
        for changes in self._facts.changes.values():
            for change in changes:
                within = any(begin < change.began < end for begin, end in pauses)
                if within and change.queue == PAUSED and change.is_claim:
                    yield f"job {change.job} was claimed at {change.began:.3f}"

    def _pauses(self) -> Iterator[tuple[float, float]]:
        """From when a pause had certainly begun, until it was perhaps over."""
        since: float | None = None
        for operation in self._facts.operations:
            if operation.kind == "pause" and operation.answer != "unknown":
                since = operation.ended
            elif operation.kind == "resume" and since is not None:
                yield since, operation.began
                since = None

    # --- the rest --------------------------------------------------------------------------------

    def _strange_errors(self) -> Iterator[str]:
        expected = {"done", None, LOST_CLAIM, *OWN_TROUBLE, *LOST_DATABASE}
        for executions in self._facts.executions.values():
            for execution in executions:
                if execution.how not in expected:
                    yield f"{_shown(execution)} ended by {execution.how}"
        if self._facts.tracebacks:
            yield f"{self._facts.tracebacks} tracebacks in the logs of workers"


def _finished_by(execution: Execution, at: float) -> bool:
    return execution.finished is not None and execution.finished <= at + CLOCK_SECONDS


def _shown(execution: Execution) -> str:
    return (
        f"job {execution.job}, attempt {execution.attempt} by pid {execution.pid} at "
        f"{execution.started:.3f} ({execution.how or 'never ended'})"
    )
