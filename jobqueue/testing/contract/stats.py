"""Statistics of attempts, by the minute and by the hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Histogram,
    Stat,
    StatOfMinute,
)
from jobqueue.testing.contract.base import (
    ContractBase,
)


class StatsContract(ContractBase):
    """Tests all methods of the role: what is added up, read, rolled up and removed."""

    def test_stats_of_workers_are_added_up_by_minute(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        second = timedelta(seconds=1)
        one = Stat("One", "a", 3, 2, 1, 4, 10 * second, 3 * second, 5 * second)
        adapter.add_stats("worker-1", [one, Stat("One", "b", 1)])
        adapter.add_stats("worker-1", [])
        adapter.add_stats("worker-1", [one])
        adapter.add_stats("worker-2", [Stat("One", "a", 1, longest=9 * second)])
        minute = clock.now().replace(second=0, microsecond=0)
        clock.advance(60)
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        assert adapter.stats(timedelta(hours=1)) == [
            StatOfMinute(
                minute, Stat("One", "a", 7, 4, 2, 8, 20 * second, 9 * second, 10 * second)
            ),
            StatOfMinute(minute, Stat("One", "b", 1)),
            StatOfMinute(minute + timedelta(minutes=1), Stat("One", "a", 1)),
        ]
        assert [found.minute for found in adapter.stats(timedelta(seconds=60))] == [
            minute + timedelta(minutes=1)
        ]

    def test_durations_end_at_the_longest_there_is(self, adapter: Adapter) -> None:
        endless = Stat("One", "a", 1, wait_time=timedelta.max)
        for worker in ("worker-1", "worker-1", "worker-2"):
            adapter.add_stats(worker, [endless])
        [found] = adapter.stats(timedelta(hours=1))
        assert (found.stat.succeeded, found.stat.wait_time) == (3, timedelta.max)

    def test_stats_are_removed_after_a_week(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_stats("worker-1", [Stat("One", "a", 1), Stat("Two", "a", 1)])
        clock.advance(timedelta(days=6, hours=23))
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        assert adapter.prune_stats(10) == 0
        clock.advance(timedelta(hours=2))
        assert adapter.prune_stats(1) == 1
        assert adapter.prune_stats(10) == 1
        assert len(adapter.stats(timedelta(days=30))) == 1

    def test_what_a_clock_that_was_ahead_has_written_is_not_of_the_last_minutes(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        hour = timedelta(hours=1)
        ahead = clock.advance(hour)
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        clock.advance(timedelta(days=10))
        adapter.add_stats("worker-1", [Stat("Two", "a", 1)])
        clock.advance(-timedelta(days=10) - hour)
        assert adapter.stats(2 * hour) == []
        assert adapter.prune_stats(10) == 1
        clock.advance(hour)
        assert [found.minute for found in adapter.stats(2 * hour)] == [ahead]

    def test_histograms_are_added_up(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_stats("worker-1", [_timed("One", "a", 5, 40, 2_000)])
        adapter.add_stats("worker-1", [_timed("One", "a", 5)])
        adapter.add_stats("worker-2", [_timed("One", "a", 2_000_000)])
        clock.advance(MINUTE)
        [stat] = adapter.class_stats(HOUR)
        assert stat.ran == Histogram.of(map(_milliseconds, (5, 40, 2_000, 5, 2_000_000)))
        assert stat.waited == stat.ran
        [found] = adapter.stats(HOUR)
        assert replace(found.stat, ran=stat.ran, waited=stat.ran) == stat
        assert found.stat.ran.total == 0

    def test_what_has_ended_of_each_queue_however_many_classes_there_are(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.add_stats("worker-1", [Stat("One", "early", 9)])
        clock.advance(10 * MINUTE)
        many = [Stat(f"Class{n}", f"queue-{n % 2}", 9, retried=4) for n in range(1_500)]
        adapter.add_stats("worker-1", many)
        adapter.add_stats("worker-2", [Stat("One", "rare", 1, 5, 2, 3), Stat("Two", "rare", 4)])
        ended = {"queue-0": 750 * 9, "queue-1": 750 * 9, "rare": 10}
        assert adapter.ended_by_queue(5 * MINUTE) == ended
        assert adapter.ended_by_queue(HOUR) == ended | {"early": 9}
        clock.advance(2 * HOUR)
        adapter.roll_up_stats(10)
        assert adapter.ended_by_queue(4 * HOUR) == ended | {"early": 9}
        assert adapter.ended_by_queue(HOUR) == {}

    def test_stats_of_classes_over_a_window(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_stats("worker-1", [_timed("Two", "b", 5), _timed("One", "a", 5)])
        clock.advance(10 * MINUTE)
        adapter.add_stats("worker-1", [_timed("One", "a", 5, 5), _timed("One", "b", 5)])
        assert _numbers(adapter.class_stats(HOUR)) == {
            ("One", "a"): 3,
            ("One", "b"): 1,
            ("Two", "b"): 1,
        }
        assert _numbers(adapter.class_stats(5 * MINUTE)) == {("One", "a"): 2, ("One", "b"): 1}
        before = adapter.class_stats(HOUR, 5 * MINUTE)
        assert [(stat.handler, stat.queue) for stat in before] == [("One", "a"), ("Two", "b")]
        assert _numbers(adapter.class_stats(HOUR, handlers=["One"], queues=["b", "c"])) == {
            ("One", "b"): 1
        }
        assert adapter.class_stats(HOUR, queues=[]) == []

    def test_hours_are_rolled_up_when_they_are_over(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        _go_to_full_hour(clock)
        clock.advance(59 * MINUTE)
        adapter.add_stats("worker-1", [_timed("One", "a", 5, 2_000)])
        clock.advance(2 * MINUTE)
        assert adapter.roll_up_stats(10) == 0
        adapter.add_stats("worker-2", [_timed("One", "a", 5), _timed("Two", "a", 5)])
        clock.advance(4 * MINUTE)
        before = adapter.class_stats(3 * HOUR)
        assert adapter.roll_up_stats(10) == 1
        assert adapter.roll_up_stats(10) == 0
        assert adapter.class_stats(3 * HOUR) == before
        assert _numbers(before) == {("One", "a"): 3, ("Two", "a"): 1}
        clock.advance(HOUR)
        assert adapter.roll_up_stats(10) == 1
        assert adapter.class_stats(3 * HOUR) == before

    def test_a_window_counts_nothing_twice_wherever_it_begins_and_ends(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        _go_to_full_hour(clock)
        begin = clock.now()
        for _ in range(16):
            adapter.add_stats("worker-1", [Stat("One", "a", 1)])
            clock.advance(15 * MINUTE)
        clock.advance(8 * MINUTE)
        assert adapter.roll_up_stats(2) == 2
        for rolled_up in (2, 3, 4):
            for since in (0, 14, 15, 44, 45, 59, 60, 100, 121):
                for until in (0, 14, 60, 61, 121):
                    begins = begin + since * MINUTE
                    ends = clock.now() - until * MINUTE
                    stored = [begin + number * 15 * MINUTE for number in range(16)]
                    expected = sum(1 for minute in stored if begins < minute <= ends)
                    found = adapter.class_stats(clock.now() - begins, until * MINUTE)
                    assert sum(stat.succeeded for stat in found) == expected, (rolled_up, since)
            adapter.roll_up_stats(1)

    def test_long_windows_count_nothing_twice_wherever_they_begin_and_end(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """Adapters may read whole days at once. Some days have few attempts, and one has none."""
        _go_to_full_hour(clock)
        stored: list[datetime] = []
        clock.advance((24 - clock.now().hour) * HOUR)
        for pause in (23, 1, 23, 1, 24, 5, 43, 48, 1, 22, 1, 12):
            stored.append(clock.now())
            adapter.add_stats("worker-1", [_timed("One", "a", len(stored))])
            clock.advance(pause * HOUR)
            while adapter.roll_up_stats(5):
                pass
        now = clock.now()
        for since in range(0, 9 * 24, 11):
            for until in range(0, 9 * 24, 13):
                begins, ends = now - since * HOUR, now - until * HOUR
                if since >= 7 * 24:
                    begins -= MINUTE  # without minutes, the hour that it begins in is in it
                expected = [moment for moment in stored if begins < moment <= ends]
                found = adapter.class_stats(since * HOUR, until * HOUR)
                assert sum(stat.succeeded for stat in found) == len(expected), (since, until)
                ran = [number for stat in found for number in stat.ran.counts]
                assert sum(ran) == len(expected), (since, until)
        clock.advance(80 * DAY)
        adapter.prune_stats(100)
        assert sum(stat.succeeded for stat in adapter.class_stats(99 * DAY)) == len(stored)
        for _ in range(12):
            adapter.prune_hours(85 * DAY, 100)
            left = [moment for moment in stored if moment > clock.now() - 85 * DAY]
            found = adapter.class_stats(85 * DAY)
            assert sum(stat.succeeded for stat in found) >= len(left)
            clock.advance(DAY)
        adapter.prune_hours(85 * DAY, 100)
        assert adapter.class_stats(99 * DAY) == []

    def test_days_that_a_clock_which_was_ahead_rolled_up_are_rolled_up_again(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        _go_to_full_hour(clock)
        clock.advance(2 * DAY)
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        clock.advance(2 * DAY)
        assert adapter.roll_up_stats(10) == 1
        clock.advance(-3 * DAY)
        assert adapter.prune_hours(90 * DAY, 10) == 1
        for _ in range(4):
            adapter.add_stats("worker-2", [Stat("One", "a", 1)])
            clock.advance(12 * HOUR)
            adapter.roll_up_stats(10)
            adapter.prune_hours(90 * DAY, 10)
        clock.advance(2 * DAY)
        adapter.roll_up_stats(10)
        assert sum(stat.succeeded for stat in adapter.class_stats(30 * DAY)) == 5

    def test_hours_outlive_their_minutes(self, adapter: Adapter, clock: ManualClock) -> None:
        _go_to_full_hour(clock)
        for _ in range(3):
            clock.advance(10 * MINUTE)
            adapter.add_stats("worker-1", [_timed("One", "a", 5, 2_000)])
            adapter.add_stats("worker-2", [_timed("One", "a", 40)])
        [before] = adapter.class_stats(HOUR)
        clock.advance(2 * HOUR)
        assert adapter.roll_up_stats(10) == 1
        clock.advance(8 * DAY)
        assert adapter.prune_stats(10) == 6
        assert adapter.stats(30 * DAY) == []
        assert adapter.roll_up_stats(10) == 0
        assert adapter.class_stats(30 * DAY) == [before]
        assert adapter.class_stats(30 * DAY, 8 * DAY) == [before]
        assert adapter.class_stats(8 * DAY) == []
        clock.advance(82 * DAY)
        assert adapter.prune_hours(91 * DAY, 10) == 0
        assert adapter.prune_hours(90 * DAY, 10) == 1
        assert adapter.class_stats(99 * DAY) == []

    def test_hours_that_a_clock_which_was_ahead_rolled_up_are_rolled_up_again(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        _go_to_full_hour(clock)
        clock.advance(5 * HOUR)
        adapter.add_stats("worker-1", [Stat("One", "a", 1)])
        clock.advance(2 * HOUR)
        assert adapter.roll_up_stats(10) == 1
        clock.advance(-7 * HOUR)
        assert adapter.class_stats(HOUR) == []
        assert adapter.prune_hours(90 * DAY, 10) == 1
        clock.advance(5 * HOUR + MINUTE)
        adapter.add_stats("worker-2", [Stat("One", "a", 1)])
        clock.advance(2 * HOUR)
        assert adapter.roll_up_stats(10) == 1
        assert _numbers(adapter.class_stats(4 * HOUR)) == {("One", "a"): 2}

    def test_hours_without_attempts_are_passed_over(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """A minute that is pruned in part is not rolled up: a part of it would be too little."""
        for _ in range(3):
            adapter.add_stats("worker-1", [_timed("One", "a", 5)])
            clock.advance(2 * DAY + 3 * HOUR)
        assert adapter.roll_up_stats(1) == 1
        assert adapter.roll_up_stats(10) == 2
        assert _numbers(adapter.class_stats(30 * DAY)) == {("One", "a"): 3}
        adapter.add_stats("worker-1", [_timed("One", "a", 5)])
        clock.advance(7 * DAY)
        assert adapter.roll_up_stats(10) == 0


MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _go_to_full_hour(clock: ManualClock) -> None:
    hour = clock.now().replace(minute=0, second=0, microsecond=0) + HOUR
    clock.advance(hour - clock.now())


def _milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def _timed(handler: str, queue: str, *milliseconds: int) -> Stat:
    """Successes that took so long, each after its job had been due for as long."""
    lengths = [_milliseconds(number) for number in milliseconds]
    together, histogram = sum(lengths, timedelta(0)), Histogram.of(lengths)
    return Stat(
        *(handler, queue, len(lengths)),
        run_time=together,
        longest=max(lengths),
        wait_time=together,
        ran=histogram,
        waited=histogram,
    )


def _numbers(stats: list[Stat]) -> dict[tuple[str, str], int]:
    return {(stat.handler, stat.queue): stat.attempts for stat in stats}
