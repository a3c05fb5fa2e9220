"""The judge of a run notices what it is there to notice.

Shown on the record of a single job, which is falsified in one way after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.facts import Change, Execution, Facts, Fault, Operation
from tests.chaos.judging import Judge

NUMBER, JOB, FIRST, SECOND = 1, 10, 100, 200
ENQUEUED = Change(1, 1, JOB, NUMBER, "default", None, "ready", None, None, None, 0, 0)


def claimed(at: float, token: int, attempt: int) -> Change:
    return Change(at, at, JOB, NUMBER, "default", "ready", "running", None, token, "w", attempt, 0)


def ended(at: float, token: int, state: str | None, attempt: int) -> Change:
    return Change(at, at, JOB, NUMBER, "default", "running", state, token, None, "w", attempt, 0)


def executed(token: int, attempt: int, started: float, end: float | None) -> Execution:
    how = None if end is None else "done"
    return Execution(NUMBER, JOB, token, attempt, 0, token, 1, started, end, how, end)


def killed_once() -> Facts:
    """A job whose first worker was killed over it, and whose second one finished it."""
    return Facts(
        kinds={NUMBER: "plain"},
        acknowledged={NUMBER: JOB},
        changes={
            JOB: [
                ENQUEUED,
                claimed(2, FIRST, 1),
                ended(4, FIRST, "ready", 1),
                claimed(5, SECOND, 2),
                ended(7, SECOND, None, 2),
            ]
        },
        executions={JOB: [executed(FIRST, 1, 2.5, None), executed(SECOND, 2, 5.5, 6.5)]},
        accepted=[((JOB, SECOND), "succeeded")],
        faults=[Fault("kill", frozenset({FIRST}), 3, 3)],
    )


def judged(falsify: Callable[[Facts], None]) -> list[str]:
    """What is found wrong once the record is falsified."""
    facts = killed_once()
    falsify(facts)
    verdict = Judge(facts, 2.0).verdict()
    return [finding for finding, sentences in verdict.wrong.items() if sentences]


def test_a_true_record_is_clean() -> None:
    verdict = Judge(killed_once(), 2.0).verdict()
    assert verdict.is_clean
    assert verdict.duplicates == {"kill": 1}
    assert verdict.recoveries == [2.5]


def test_a_frozen_worker_may_begin_what_it_has_lost() -> None:
    facts = killed_once()
    begun_after_its_claim(facts)
    facts.faults = [Fault("freeze", frozenset({FIRST}), 2.5, 7.2)]
    facts.changes[JOB][2] = ended(4.5, FIRST, "ready", 1)
    assert Judge(facts, 2.0).verdict().is_clean


def test_a_worker_that_is_frozen_may_have_been_silent_before() -> None:
    facts = killed_once()
    frozen_and_freed_while_its_heart_beat(facts)
    facts.beats = {"w": [1.0, 1.9, 4.5]}
    verdict = Judge(facts, 2.0).verdict()
    assert verdict.is_clean
    assert verdict.duplicates == {"freeze": 1}


def test_it_may_be_freed_when_it_goes_on_before_its_heart_beats() -> None:
    facts = killed_once()
    thawed_and_freed_after_a_heartbeat(facts)
    facts.beats = {"w": [0.5, 4.5]}
    verdict = Judge(facts, 2.0).verdict()
    assert verdict.is_clean
    assert verdict.duplicates == {"freeze": 1}


def never_stored(facts: Facts) -> None:
    facts.changes, facts.executions = {}, {}
    facts.accepted = []


def never_ended(facts: Facts) -> None:
    facts.changes[JOB].pop()


def never_performed(facts: Facts) -> None:
    facts.executions = {}


def killed_another(facts: Facts) -> None:
    facts.faults = [Fault("kill", frozenset({SECOND}), 3, 3)]


def killed_before(facts: Facts) -> None:
    facts.faults = [Fault("kill", frozenset({FIRST}), 2.1, 2.1)]


def killed_after(facts: Facts) -> None:
    facts.faults = [Fault("kill", frozenset({FIRST}), 4.5, 4.5)]


def frozen_too_shortly(facts: Facts) -> None:
    facts.faults = [Fault("freeze", frozenset({FIRST}), 3, 6)]


def frozen_and_freed_while_its_heart_beat(facts: Facts) -> None:
    facts.faults = [Fault("freeze", frozenset({FIRST}), 3, 6)]
    facts.beats = {"w": [1.0, 2.5, 4.5]}


def thawed_and_freed_after_a_heartbeat(facts: Facts) -> None:
    facts.faults = [Fault("freeze", frozenset({FIRST}), 0.6, 2.2)]
    facts.beats = {"w": [0.5, 2.3]}


def performed_twice_in_one_claim(facts: Facts) -> None:
    facts.executions[JOB].append(executed(SECOND, 2, 6.6, 6.7))


def begun_after_its_claim(facts: Facts) -> None:
    facts.executions[JOB] = [executed(SECOND, 2, 5.5, 6.5), executed(FIRST, 1, 7.5, 7.6)]
    facts.faults = [Fault("slow", frozenset({SECOND}), 3, 7)]


def settled_by_the_first(facts: Facts) -> None:
    facts.changes[JOB][-1] = replace(facts.changes[JOB][-1], at=6.0)


def not_counted(facts: Facts) -> None:
    facts.changes[JOB][3] = replace(facts.changes[JOB][3], attempts=1)


def refunded(facts: Facts) -> None:
    facts.changes[JOB][2] = replace(facts.changes[JOB][2], attempts=0)
    facts.changes[JOB][3] = replace(facts.changes[JOB][3], attempts=1)


def failed(facts: Facts) -> None:
    facts.changes[JOB][-1] = replace(facts.changes[JOB][-1], new_state="failed", crashes=3)
    facts.states = {JOB: "failed"}


def rolled_back(facts: Facts) -> None:
    facts.rolled_back = {NUMBER}


def stored_twice(facts: Facts) -> None:
    facts.kinds = {NUMBER: "transacted"}
    facts.effects = [(NUMBER, JOB, FIRST), (NUMBER, JOB, SECOND)]


def stored_by_the_killed(facts: Facts) -> None:
    facts.kinds = {NUMBER: "transacted"}
    facts.effects = [(NUMBER, JOB, FIRST)]


def paused(facts: Facts) -> None:
    facts.changes[JOB][3] = replace(facts.changes[JOB][3], queue="paused")
    facts.operations = [
        Operation("pause", None, 4.1, 4.2, ["paused"]),
        Operation("resume", None, 5.1, 5.2, ["paused"]),
    ]


def cancelled(facts: Facts) -> None:
    facts.operations = [Operation("cancel", JOB, 4.1, 4.2, "cancelled")]


def raised(facts: Facts) -> None:
    facts.executions[JOB][1].how = "TypeError"


@pytest.mark.parametrize(
    ("falsify", "finding"),
    [
        (never_stored, "lost"),
        (never_ended, "lost"),
        (never_performed, "lost"),
        (killed_another, "duplicates that nothing explains"),
        (killed_before, "duplicates that nothing explains"),
        (killed_after, "duplicates that nothing explains"),
        (frozen_too_shortly, "duplicates that nothing explains"),
        (frozen_and_freed_while_its_heart_beat, "duplicates that nothing explains"),
        (thawed_and_freed_after_a_heartbeat, "duplicates that nothing explains"),
        (performed_twice_in_one_claim, "duplicates that nothing explains"),
        (begun_after_its_claim, "duplicates that nothing explains"),
        (settled_by_the_first, "late settles accepted"),
        (not_counted, "attempts not counted"),
        (refunded, "attempts not counted"),
        (failed, "innocents failed as poison"),
        (rolled_back, "stored, though rolled back"),
        (stored_twice, "duplicates inside a transaction"),
        (stored_by_the_killed, "duplicates inside a transaction"),
        (paused, "claimed while paused"),
        (cancelled, "performed though cancelled"),
        (raised, "errors nobody meant"),
    ],
)
def test_a_false_one_is_found_out(falsify: Callable[[Facts], None], finding: str) -> None:
    assert finding in judged(falsify)
