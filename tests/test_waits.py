"""No thread of a worker waits longer than what it holds allows."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue.worker.handoff import Handoff
from tests.simulation import LEASE, POLL, World

HOUR = 3600.0
JOB_SECONDS = st.sampled_from([0.0005, 0.002, 0.02, 0.1, 0.3, 0.45, 0.6, 3.0, 40.0, 1000.0])
PAUSES = st.sampled_from([0.0, 0.0, 0.001, 0.1, 0.3, 0.6, 2.0, 20.0, 300.0])
STEPS = st.one_of(
    st.tuples(st.just("enqueue"), st.sampled_from([1, 2, 20, 300]), JOB_SECONDS, st.booleans()),
    st.tuples(st.just("single"), st.sampled_from([1, 3]), JOB_SECONDS, st.booleans()),
    st.tuples(st.just("large"), st.sampled_from([1, 30]), JOB_SECONDS, st.booleans()),
    st.tuples(st.just("crash"), JOB_SECONDS),
    st.tuples(st.just("call")),
    st.tuples(st.just("take")),
    st.tuples(st.just("rest"), st.booleans()),
    st.tuples(st.just("turns take"), st.sampled_from([0.001, 0.02, 0.1])),
)


@settings(max_examples=150)
@given(st.integers(1, 4), st.lists(st.tuples(PAUSES, STEPS), max_size=20))
def test_whatever_happens(slots: int, steps: list[tuple[float, tuple[Any, ...]]]) -> None:
    """What has to be so is in `World.check`, which is asked at every moment."""
    world = World(slots)
    at = 0.0
    for pause, step in steps:
        at += pause
        world.after(at, partial(world.do, *step))
    world.after(at + 2 * POLL, world.handoff.close)
    world.run()


def test_jobs_that_are_claimed_with_a_slow_one() -> None:
    """The worker expects them to be short, finds that there is nothing more, and has no reason to
    look again for minutes.
    """
    world = World(slots=1)
    world.after(0, lambda: world.enqueue(300, 0.001))
    world.after(1, lambda: world.do("enqueue", 1, HOUR, True))
    world.after(1, lambda: world.do("enqueue", 50, 0.001, True))
    world.after(3, world.handoff.close)
    world.run()


def test_a_job_after_the_other_that_is_not_quite_slow() -> None:
    world = World(slots=1)
    world.after(0, lambda: world.enqueue(300, 0.001))
    world.after(1, lambda: world.enqueue(100, 0.45))
    world.after(100, world.handoff.close)
    world.run()


def test_jobs_that_are_much_quicker_than_what_is_done_around_them() -> None:
    """A slot is taken for as long as hooks take, too: no more is held than there is time for."""
    world = World(slots=1, overhead_seconds=0.01)
    world.after(0, lambda: world.enqueue(2000, 0.0))
    world.after(40, world.handoff.close)
    world.run()
    assert world.given_back == 0


def test_it_does_not_wake_up_for_nothing() -> None:
    """With a job of an hour in its only slot there are strays to look for, and nothing else."""
    world = World(slots=1)
    world.after(0, lambda: world.enqueue(20, HOUR))
    world.after(HOUR - 1, world.handoff.close)
    world.run()
    assert world.waits < HOUR / LEASE + 10


def test_it_looks_now_and_then_by_itself() -> None:
    world = World(slots=1)
    world.after(HOUR, world.handoff.close)
    world.run()
    assert HOUR / POLL - 1 < world.looks < HOUR / (0.8 * POLL) + 3


def test_it_looks_rarely_only_while_there_are_signs_of_life() -> None:
    """Whoever would wake it may be stopped, or gone."""
    world = World(slots=1)
    world.pump.poll_interval = timedelta(seconds=1)
    for second in range(100):
        world.after(second, lambda: world.pump.rely_on_wakeups(4.0))
    looks: list[int] = []
    for second in (1, 99, 109):
        world.after(second, lambda: looks.append(world.looks))
    world.after(110, world.handoff.close)
    world.run()
    before, after_signs, after_silence = looks
    assert after_signs == before
    assert after_silence >= after_signs + 5


def test_a_single_attempt_in_a_stream_of_others() -> None:
    """It is claimed for a free slot only, and a stream leaves none free by itself."""
    world = World(slots=2)
    for tenth in range(50):
        world.after(tenth / 10, lambda: world.enqueue(300, 0.001))
    world.after(2, lambda: world.do("single", 1, 0.001, True))
    world.after(4, lambda: world.check_that_there_is_no("single"))
    world.after(5, world.handoff.close)
    world.run()


@pytest.mark.parametrize("seconds", [7.0, 60.0, HOUR])
def test_a_job_to_be_alone_gets_its_turn_beside_long_ones(seconds: float) -> None:
    """There is always one that has just begun and one that has half of its time before it."""
    world, halves, slots = World(slots := 4), 40, 4
    world.after(0, lambda: world.enqueue(1, seconds / 2))
    world.after(0, lambda: world.enqueue(halves * slots, seconds))
    world.after(seconds, lambda: world.crash(0.1))
    world.after(10 * seconds + 60, lambda: world.check_that_there_is_no("crashed"))
    world.after(halves / 2 * seconds, world.handoff.close)
    world.run()
    assert world.handoff.drained_in_vain < seconds


def test_large_jobs_after_small_ones() -> None:
    """The worker expects two thousand of them to fit."""
    world = World(slots=2)
    world.after(0, lambda: world.enqueue(2000, 0.0001))
    world.after(0, lambda: world.do("large", 100, 0.0001))
    world.after(5, world.handoff.close)
    world.run()
    assert world.adapter.count_by_state() == {}


def test_several_jobs_to_be_alone_share_in_what_they_cost() -> None:
    """There is always one that began a moment ago. `World` sees to what drains may cost."""
    world = World(slots=10)
    for tenth in range(10):
        world.after(0, partial(world.enqueue, 1, 20.0 * tenth))
    world.after(0, lambda: world.enqueue(100, 200.0))
    for _ in range(20):
        world.after(200, lambda: world.crash(0.1))
    world.after(1000, world.handoff.close)
    world.run()


def test_a_job_to_be_alone_holds_nothing_up_beside_one_without_an_end() -> None:
    world = World(slots=2)
    world.after(0, lambda: world.enqueue(1, 10 * HOUR))
    world.after(60, lambda: world.enqueue(30_000, 0.5))
    world.after(60, lambda: world.crash(0.1))
    world.after(4 * HOUR, world.handoff.close)
    world.run()
    assert world.handoff.drained_in_vain < 4 * HOUR / 10


def test_since_when_the_first_has_waited() -> None:
    world = World(slots=1)
    handoff = Handoff(1, world)
    first, second, third, fourth = (world.claimed_job() for _ in range(4))
    assert handoff.waiting_since is None
    handoff.put([first, second])
    world.time += 1
    handoff.put([third])
    assert handoff.waiting_since == world.now() - 1
    assert handoff.take_back(but=1) == [second, third]
    world.time += 1
    handoff.put([fourth])
    assert handoff.waiting_since == world.now() - 2
    handoff.take()
    assert handoff.waiting_since == world.now()
    handoff.take_back()
    assert handoff.waiting_since is None
