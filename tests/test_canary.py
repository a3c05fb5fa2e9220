"""Canary retries, on every adapter, on a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobqueue.adapters import Adapter
from jobqueue.canary import AHEAD, LOOK, canary_action, canary_of, take_step
from jobqueue.clock import ManualClock
from jobqueue.errors import InvalidAction
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    RUN_LEASE,
    ActionKind,
    ActionRecord,
    ActionState,
    Failed,
    JobFilter,
    JobState,
    NewAction,
    NewJob,
    Retried,
    Succeeded,
    filter_to_json,
)
from jobqueue.testing.contract.base import a_claim
from jobqueue.views.actions import action_view
from jobqueue.views.errors import RETRIED_STATES, jobs_of_group

SECOND = timedelta(seconds=1)
GROUP = group_of("Work", "ValueError", "a.py:f", "no")
OTHER = group_of("Work", "KeyError", "a.py:f", "none")
FAILED = JobFilter(states=(JobState.FAILED,))
READY = JobFilter(states=(JobState.READY,))


@pytest.fixture
def adapter(clocked_adapter: Adapter) -> Adapter:
    return clocked_adapter


class Workers:
    """Workers that take the steps of actions, and perform jobs as a test says."""

    def __init__(self, adapter: Adapter, clock: ManualClock) -> None:
        self.adapter = adapter
        self.clock = clock
        self.steps = 0

    def step(self) -> ActionRecord | None:
        """The next step by a worker that took no other, if one is due."""
        self.steps += 1
        taken = self.adapter.take_over_action(f"w:{self.steps}")
        return None if taken is None else take_step(self.adapter, taken)

    def look(self) -> ActionRecord:
        """The step that is due some seconds later."""
        self.clock.advance(LOOK)
        action = self.step()
        assert action is not None
        return action

    def perform(self, outcome: str = "succeeds", limit: int = 1000) -> list[int]:
        """The ids of the due jobs, which end so a second later."""
        claimed = self.adapter.claim(a_claim("w:1:a", limit=limit))
        self.clock.advance(SECOND)
        error: Any = {"error": "ValueError: no", "error_group": GROUP}
        made: dict[str, Callable[[Any], Any]] = {
            "succeeds": lambda job: Succeeded(job, SECOND, keep=True),
            "fails": lambda job: Failed(job, SECOND, **error),
            "fails otherwise": lambda job: Failed(job, SECOND, error="no", error_group=OTHER),
            "is retried": lambda job: Retried(job, SECOND, delay=timedelta(hours=1), **error),
        }
        self.adapter.settle([made[outcome](job) for job in claimed])
        return [job.id for job in claimed]


@pytest.fixture
def workers(adapter: Adapter, clock: ManualClock) -> Workers:
    return Workers(adapter, clock)


def begun(
    workers: Workers, failed: int = 40, number: int = 10, spread: timedelta = 100 * SECOND
) -> ActionRecord:
    """A canary for the jobs that have just failed."""
    workers.adapter.enqueue([NewJob("Work", "{}", "default", 50, 1)] * failed)
    assert len(workers.perform("fails")) == failed
    workers.clock.advance(SECOND)
    where = jobs_of_group(GROUP.key, RETRIED_STATES)
    return workers.adapter.begin_action(canary_action(where, number, spread, "ann", reason="go"))


def number_of(adapter: Adapter, where: JobFilter) -> int:
    return adapter.count_jobs(where)


def course(workers: Workers, action: ActionRecord) -> str:
    latest = workers.adapter.action(action.id)
    assert latest is not None
    return action_view(latest, workers.clock.now()).course


def test_some_come_first_and_the_rest_when_they_have_ended(workers: Workers) -> None:
    action = begun(workers)
    assert action.kind == ActionKind.CANARY
    assert course(workers, action) == "waits for a worker"
    assert workers.step() is not None
    assert number_of(workers.adapter, READY) == 10
    assert course(workers, action) == "waits for its first jobs"
    for _ in range(3):
        assert workers.look().number == 10
    assert workers.perform("succeeds", limit=9)
    assert workers.look().number == 10, "one of them has not ended"
    workers.perform("succeeds")
    assert workers.look().number > 10
    assert course(workers, action) == "spreads the rest"


def test_the_rest_is_spread_evenly(workers: Workers, clock: ManualClock) -> None:
    action = begun(workers, failed=110, number=10, spread=100 * SECOND)
    workers.step()
    workers.perform()
    latest, begins = workers.look(), clock.now()
    due: dict[int, datetime] = {}
    while latest.state is ActionState.RUNNING:
        for job in workers.adapter.page_jobs(READY, 1000).jobs:
            due.setdefault(job.id, job.run_at)
        gone = (clock.now() - begins) / SECOND
        assert latest.number - 10 <= gone + AHEAD / SECOND + 10, "what is not near is left alone"
        latest = workers.look()
    for job in workers.adapter.page_jobs(READY, 1000).jobs:
        due.setdefault(job.id, job.run_at)
    assert (latest.id, latest.state, latest.number) == (action.id, ActionState.DONE, 110)
    times = sorted(max((moment - begins) / SECOND, 0) for moment in due.values())
    assert len(times) == 100
    for place, seconds in enumerate(times):
        assert abs(seconds - place) <= 3, times


def test_without_a_spread_the_rest_follows_at_once(workers: Workers) -> None:
    begun(workers, spread=0 * SECOND)
    workers.step()
    workers.perform()
    latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.DONE, 40)
    assert number_of(workers.adapter, READY) == 30


@pytest.mark.parametrize("outcome", ["fails", "is retried"])
def test_it_stops_when_the_same_error_comes_back(workers: Workers, outcome: str) -> None:
    action = begun(workers)
    workers.step()
    [broken] = workers.perform(outcome, limit=1)
    latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.STOPPED, 10)
    canary = canary_of(latest.target)
    assert canary is not None
    assert canary.came_back == broken
    workers.clock.advance(10 * RUN_LEASE)
    assert workers.step() is None
    assert number_of(workers.adapter, FAILED) >= 30
    assert course(workers, action) == "stopped"


def test_it_stops_when_the_error_comes_back_in_the_rest(workers: Workers) -> None:
    begun(workers, failed=110)
    workers.step()
    workers.perform()
    spread = workers.look()
    assert spread.state is ActionState.RUNNING
    workers.clock.advance(2 * SECOND)
    assert workers.perform("fails", limit=1)
    latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.STOPPED, spread.number)
    assert number_of(workers.adapter, FAILED) == 110 - spread.number + 1


def test_another_error_does_not_stop_it(workers: Workers) -> None:
    begun(workers)
    workers.step()
    workers.perform("fails otherwise")
    latest = workers.look()
    assert latest.state is ActionState.RUNNING
    assert latest.number > 10


def test_the_error_of_an_attempt_before_it_does_not_stop_it(workers: Workers) -> None:
    """A job that is retried keeps the error that it had."""
    begun(workers)
    workers.step()
    for _ in range(3):
        assert workers.look().state is ActionState.RUNNING


def test_it_begins_again_with_the_next_ones_when_it_is_resumed(workers: Workers) -> None:
    action = begun(workers)
    workers.step()
    workers.perform("fails")
    assert workers.look().state is ActionState.STOPPED
    assert workers.adapter.resume_action(action.id)
    latest = workers.step()
    assert latest is not None
    assert (latest.state, latest.number) == (ActionState.RUNNING, 20)
    assert len(workers.perform("succeeds")) == 10
    latest = workers.look()
    while latest.state is ActionState.RUNNING:
        latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.DONE, 40)


def test_one_that_somebody_stops_does_nothing_more(workers: Workers) -> None:
    action = begun(workers)
    workers.step()
    workers.perform()
    held = workers.adapter.take_over_action("w:0")
    assert held is None
    workers.clock.advance(LOOK)
    held = workers.adapter.take_over_action("w:0")
    assert held is not None
    assert workers.adapter.stop_action(action.id)
    assert take_step(workers.adapter, held).number == 10
    assert number_of(workers.adapter, FAILED) == 30


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_it_survives_the_death_of_who_carries_it_out(workers: Workers, steps: int) -> None:
    """Somebody dies with it after any step, before the next: each job is retried once."""
    begun(workers, failed=30, number=5, spread=20 * SECOND)
    for number in range(steps):
        assert workers.look().state is ActionState.RUNNING
        if number == 0:
            workers.perform()
    workers.clock.advance(LOOK)
    assert workers.adapter.take_over_action("dies") is not None
    assert workers.step() is None
    workers.clock.advance(RUN_LEASE)
    latest = workers.step()
    assert latest is not None
    while latest.state is ActionState.RUNNING:
        workers.perform()
        latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.DONE, 30)
    workers.clock.advance(100 * SECOND)
    workers.perform()
    assert number_of(workers.adapter, JobFilter(states=(JobState.SUCCEEDED,))) == 30


def test_a_small_group_is_watched_as_well(workers: Workers) -> None:
    action = begun(workers, failed=3)
    latest = workers.step()
    assert latest is not None
    assert (latest.state, latest.number) == (ActionState.RUNNING, 3)
    assert course(workers, action) == "waits for its first jobs"
    workers.perform()
    latest = workers.look()
    assert (latest.state, latest.number) == (ActionState.DONE, 3)


def test_in_a_small_group_the_error_comes_back(workers: Workers) -> None:
    begun(workers, failed=3)
    workers.step()
    [failed, *_] = workers.perform("fails")
    latest = workers.look()
    assert latest.state is ActionState.STOPPED
    canary = canary_of(latest.target)
    assert canary is not None
    assert canary.came_back is not None
    assert failed


def test_a_group_without_jobs_is_done_at_once(workers: Workers) -> None:
    action = begun(workers, failed=3)
    workers.adapter.delete(FAILED)
    latest = workers.step()
    assert latest is not None
    assert (latest.id, latest.state, latest.number) == (action.id, ActionState.DONE, 0)


@pytest.mark.parametrize(
    "course",
    [
        None,
        [],
        {},
        {"number": "x", "spread_seconds": 1},
        {"number": 1, "spread_seconds": 1, "phase": "later"},
        {"number": 1, "spread_seconds": 1, "phase": "rest"},
        {"number": 1, "spread_seconds": 1, "began_at": "yesterday"},
        {"number": 1, "spread_seconds": 1, "speed": 9},
        {"number": 1, "spread_seconds": -1},
    ],
)
def test_a_course_that_this_release_does_not_know_is_refused(
    workers: Workers, course: object
) -> None:
    where = filter_to_json(jobs_of_group(GROUP.key, RETRIED_STATES))
    target = {"filter": where, "canary": course}
    action = workers.adapter.begin_action(NewAction(ActionKind.CANARY, "ann", target), "w")
    with pytest.raises(InvalidAction, match="does not say how it goes on"):
        take_step(workers.adapter, action)
