"""The low-water mark by itself: when it looks, where it goes on, and what pulls it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue.adapters.postgres.low_water import (
    CREDIT_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LOOK_AGAIN_SECONDS,
    SHARE_OF_TIME,
    FoundLanes,
    Lane,
    LowWater,
    LowWaterMarks,
)
from jobqueue.records import LOOK_ANYWHERE, ClaimedJob, Wakeup
from tests.adapters.claimants import Seconds

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def low_water(seconds: Seconds) -> LowWater:
    """That of a worker on all queues."""
    return LowWater(None, seconds)


def lane(job_id: int, priority: int = 50, queue: str | None = None) -> Lane:
    return Lane(queue, priority, START + job_id * SECOND, job_id)


def looked(low_water: LowWater, *lanes: Lane) -> LowWater:
    low_water.look(lambda: FoundLanes(lanes))
    return low_water


def looking_for(seconds: Seconds, cost: float, waited: float = 0.0) -> FoundLanes:
    """A look that takes some seconds after it has waited for others, and finds nothing."""
    seconds.pass_by(waited + cost)
    return FoundLanes((), timedelta(seconds=cost))


def job(job_id: int, priority: int = 50, queue: str = "a") -> ClaimedJob:
    run_at = START + job_id * SECOND
    return ClaimedJob(
        job_id, 7, "Work", "{}", queue, priority, 1, 5, 0, run_at, run_at, START + 1000 * SECOND
    )


def told(job_id: int, priority: int = 50, *queues: str) -> Wakeup:
    return Wakeup(frozenset(queues) or None, (priority, START + job_id * SECOND, job_id), 1)


def test_looks_at_first(low_water: LowWater) -> None:
    assert low_water.has_to_look()
    assert low_water.lanes() == []


def test_does_not_look_while_the_lanes_yield_enough(low_water: LowWater) -> None:
    looked(low_water, lane(1))
    assert not low_water.has_to_look()
    low_water.claimed([job(1), job(2)], limit=2)
    assert not low_water.has_to_look()


def test_looks_when_the_lanes_run_dry(low_water: LowWater) -> None:
    looked(low_water, lane(1))
    low_water.claimed([job(1), job(2)], limit=3)
    assert low_water.has_to_look()


def test_looks_again_when_the_last_look_found_nothing(low_water: LowWater) -> None:
    assert looked(low_water).has_to_look()


def test_looks_again_after_a_while(low_water: LowWater, seconds: Seconds) -> None:
    looked(low_water, lane(1))
    seconds.pass_by(LOOK_AGAIN_SECONDS - 0.001)
    assert not low_water.has_to_look()
    seconds.pass_by(0.001)
    assert low_water.has_to_look()
    looked(low_water, lane(1))
    assert not low_water.has_to_look()


@pytest.mark.parametrize("cost", [0.0005, 0.005, 0.1, LONGEST_PAUSE_SECONDS * SHARE_OF_TIME])
def test_never_looks_for_more_than_its_share_of_the_time(
    low_water: LowWater, seconds: Seconds, cost: float
) -> None:
    begun, spent = seconds.now, 0.0
    for _ in range(200_000):
        if low_water.has_to_look():
            low_water.look(lambda: looking_for(seconds, cost))
            spent += cost
        seconds.pass_by(max(0.0002, cost / 10))
    assert spent <= (seconds.now - begun + CREDIT_SECONDS) * SHARE_OF_TIME + cost
    assert spent >= (seconds.now - begun) * SHARE_OF_TIME / 2


def test_says_how_long_a_look_is_put_off(low_water: LowWater, seconds: Seconds) -> None:
    low_water.look(lambda: looking_for(seconds, 2 * CREDIT_SECONDS * SHARE_OF_TIME))
    assert not low_water.has_to_look()
    put_off_for = low_water.put_off_for()
    assert put_off_for is not None
    assert put_off_for.total_seconds() == pytest.approx(CREDIT_SECONDS)
    seconds.pass_by(CREDIT_SECONDS + 0.001)
    assert low_water.has_to_look()
    assert low_water.put_off_for() is None


@pytest.mark.parametrize(("cost", "waited"), [(0.002, 0.0), (0.002, 20.0), (20.0, 0.0)])
def test_the_next_look_is_never_far(
    low_water: LowWater, seconds: Seconds, cost: float, waited: float
) -> None:
    """Whatever the last one took, and for whatever reason."""
    low_water.look(lambda: looking_for(seconds, cost, waited))
    seconds.pass_by(LONGEST_PAUSE_SECONDS)
    assert low_water.has_to_look()


def test_waiting_for_a_lock_is_no_search(low_water: LowWater, seconds: Seconds) -> None:
    low_water.look(lambda: looking_for(seconds, 0.002, waited=8.0))
    assert low_water.has_to_look()


@pytest.mark.parametrize("scan_time", [timedelta(days=-400), timedelta(days=400)])
def test_the_servers_clock_may_be_set_meanwhile(
    low_water: LowWater, seconds: Seconds, scan_time: timedelta
) -> None:
    def look() -> FoundLanes:
        seconds.pass_by(0.002)
        return FoundLanes((), scan_time)

    low_water.look(look)
    assert low_water.has_to_look()


def test_a_cheap_look_may_follow_another_at_once(low_water: LowWater, seconds: Seconds) -> None:
    """What has been heard of must not wait for a poll since there was a look just before."""
    for _ in range(10):
        assert low_water.has_to_look()
        low_water.look(lambda: looking_for(seconds, 0.002))


def test_goes_on_behind_what_was_claimed(low_water: LowWater) -> None:
    looked(low_water, lane(1), lane(2, priority=10))
    low_water.claimed([job(2, priority=10), job(1), job(3)], limit=3)
    assert low_water.lanes() == [lane(2, priority=10), lane(3)]


def test_goes_on_in_each_queue_behind_what_was_claimed_there(seconds: Seconds) -> None:
    low_water = looked(LowWater(("a", "b"), seconds), lane(1, queue="a"), lane(2, queue="b"))
    low_water.claimed([job(1, queue="a"), job(4, queue="a")], limit=2)
    assert low_water.lanes() == [lane(2, queue="b"), lane(4, queue="a")]


def test_lanes_of_queues_are_kept_where_some_are_paused(low_water: LowWater) -> None:
    looked(low_water, lane(1, queue="a"), lane(2, queue=""))
    low_water.claimed([job(5, queue="")], limit=1)
    assert low_water.lanes() == [lane(1, queue="a"), lane(5, queue="")]


def test_a_queue_may_have_no_name(low_water: LowWater) -> None:
    looked(low_water, lane(1, queue=""))
    low_water.claimed([job(5, queue="")], limit=1)
    assert low_water.lanes() == [lane(5, queue="")]


def test_most_urgent_and_oldest_first(low_water: LowWater) -> None:
    looked(low_water, lane(5), lane(9, priority=-3), lane(2, priority=70))
    assert [found.id for found in low_water.lanes()] == [9, 5, 2]


def test_a_look_forgets_lanes_that_are_empty(low_water: LowWater) -> None:
    looked(low_water, lane(1), lane(2, priority=10))
    assert looked(low_water, lane(7)).lanes() == [lane(7)]


def test_word_of_an_earlier_job_pulls_the_mark_back(low_water: LowWater) -> None:
    looked(low_water, lane(5))
    low_water.note(told(3))
    assert low_water.lanes() == [lane(3)]
    assert not low_water.has_to_look()


def test_word_of_a_later_job_leaves_the_mark(low_water: LowWater) -> None:
    looked(low_water, lane(5))
    low_water.note(told(8))
    assert low_water.lanes() == [lane(5)]


def test_word_of_a_job_adds_its_lane_without_a_look(low_water: LowWater) -> None:
    looked(low_water)
    low_water.note(told(3, 10))
    assert low_water.lanes() == [lane(3, priority=10)]
    assert not low_water.has_to_look()


def test_word_of_nothing_in_particular_asks_for_a_look(low_water: LowWater) -> None:
    looked(low_water, lane(5))
    low_water.note(LOOK_ANYWHERE)
    assert low_water.has_to_look()
    assert low_water.lanes() == [lane(5)]


def test_word_concerns_the_queues_of_the_worker(seconds: Seconds) -> None:
    low_water = looked(LowWater(("a", "b"), seconds), lane(9, queue="a"))
    low_water.note(told(3, 50, "a", "b", "c"))
    assert sorted((found.queue or "", found.id) for found in low_water.lanes()) == [
        ("a", 3),
        ("b", 3),
    ]


def test_word_of_queues_that_are_not_named_asks_for_a_look(seconds: Seconds) -> None:
    low_water = looked(LowWater(("a", "b"), seconds), lane(9, queue="a"))
    low_water.note(told(3))
    assert low_water.has_to_look()


def test_what_is_given_back_pulls_the_mark_back(low_water: LowWater) -> None:
    looked(low_water, lane(5))
    low_water.given_back([job(3), job(8)])
    assert low_water.lanes() == [lane(3)]


def test_each_worker_has_marks_of_its_own() -> None:
    marks = LowWaterMarks()
    mine = marks.of("worker-1", None)
    assert marks.of("worker-1", None) is mine
    assert marks.of("worker-2", None) is not mine
    assert marks.of("worker-1", ("a",)) is not mine


def test_the_marks_that_were_used_last_are_kept() -> None:
    marks = LowWaterMarks(most=2)
    first, second = marks.of("worker-1", None), marks.of("worker-2", None)
    assert marks.of("worker-1", None) is first
    marks.of("worker-3", None)
    assert marks.of("worker-1", None) is first
    assert marks.of("worker-2", None) is not second
