"""Samples: the depths of queues, by the minute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import NewJob, QueueDepth, Sample, SampledDepth
from jobqueue.testing.contract.base import ContractBase, a_claim, new_worker

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NONE = timedelta(0)


def _depth(queue: str, due: int, later: int = 0, running: int = 0) -> QueueDepth:
    return QueueDepth(queue, due, later, running, due * MINUTE, paused=False)


class SamplesContract(ContractBase):
    """Tests `begin_sample`, `store_sample`, `samples` and `prune_samples`."""

    def test_one_process_takes_the_sample_of_a_minute(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        with ThreadPoolExecutor(4) as threads:
            begun = list(threads.map(lambda _: adapter.begin_sample(), range(8)))
        minute = clock.now().replace(second=0, microsecond=0)
        assert sorted(begun, key=str) == [minute, *[None] * 7]
        clock.advance(MINUTE)
        assert adapter.begin_sample() == minute + MINUTE

    def test_samples_have_the_depths_of_their_minutes(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        first = adapter.begin_sample()
        assert first is not None
        more = replace(_depth("b", 3, 2, 1), more=True)
        adapter.store_sample(first, [more, _depth("a", 1)])
        clock.advance(MINUTE)
        second = adapter.begin_sample()
        assert second is not None
        adapter.store_sample(second, [])
        a = SampledDepth("a", 1, 0, 0, MINUTE)
        b = SampledDepth("b", 3, 2, 1, 3 * MINUTE, more=True)
        assert adapter.samples(HOUR) == [Sample(first, (a, b)), Sample(second, ())]
        assert adapter.samples(HOUR, "b") == [Sample(first, (b,)), Sample(second, ())]
        assert adapter.samples(HOUR, "c") == [Sample(first, ()), Sample(second, ())]
        assert adapter.samples(MINUTE) == [Sample(second, ())]
        assert adapter.samples(HOUR, until=second - first) == [Sample(first, (a, b))]
        assert adapter.samples(HOUR, until=HOUR) == []

    def test_the_depths_of_a_sample_are_those_of_queues(self, adapter: Adapter) -> None:
        adapter.register_worker(new_worker())
        later = NewJob("Work", "{}", "email", 50, 5, delay=HOUR)
        adapter.enqueue([*[NewJob("Work", "{}", "email", 50, 5)] * 3, later])
        adapter.claim(a_claim(limit=1))
        adapter.pause_queues(["resting"])
        minute = adapter.begin_sample()
        assert minute is not None
        adapter.store_sample(minute, adapter.queue_depths(100))
        [sample] = adapter.samples(HOUR)
        assert sample.depths == (SampledDepth("email", 2, 1, 1, NONE),)

    def test_a_sample_that_was_begun_and_not_stored_is_none(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """Its process may have died. That is not the same as that all queues were empty."""
        assert adapter.begin_sample() is not None
        assert adapter.samples(HOUR) == []
        clock.advance(MINUTE)
        assert adapter.begin_sample() is not None

    def test_samples_of_a_clock_that_was_ahead_are_taken_again(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        ahead = clock.advance(HOUR).replace(second=0, microsecond=0)
        assert adapter.begin_sample() == ahead
        adapter.store_sample(ahead, [_depth("a", 1)])
        clock.advance(-HOUR)
        assert adapter.samples(9 * HOUR) == []
        assert adapter.prune_samples(HOUR, 10) > 0
        clock.advance(HOUR)
        assert adapter.begin_sample() == ahead

    def test_every_so_many_samples(self, adapter: Adapter, clock: ManualClock) -> None:
        for _ in range(30):
            minute = adapter.begin_sample()
            assert minute is not None
            adapter.store_sample(minute, [_depth("a", 1), _depth("b", 1)])
            clock.advance(MINUTE)
        every = adapter.samples(HOUR, "a", 7)
        assert every == [
            sample
            for sample in adapter.samples(HOUR, "a")
            if sample.minute.timestamp() // 60 % 7 == 0
        ]
        assert len(every) in {4, 5}
        assert adapter.samples(MINUTE, "a", 7) == [s for s in every if s.minute == clock.now()]

    def test_samples_are_removed_when_they_are_old(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        for _ in range(3):
            minute = adapter.begin_sample()
            assert minute is not None
            adapter.store_sample(minute, [_depth("a", 1)])
            clock.advance(HOUR)
        assert adapter.prune_samples(4 * HOUR, 10) == 0
        assert adapter.prune_samples(2 * HOUR, 1) == 1
        adapter.prune_samples(2 * HOUR, 10)
        assert adapter.prune_samples(2 * HOUR, 10) == 0
        assert len(adapter.samples(9 * HOUR)) == 1
