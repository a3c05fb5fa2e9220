"""Statistics of attempts, by the minute."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Stat,
    StatOfMinute,
)
from jobqueue.testing.contract.base import (
    ContractBase,
)


class StatsContract(ContractBase):
    """Tests `add_stats`, `stats` and `prune_stats`."""

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
