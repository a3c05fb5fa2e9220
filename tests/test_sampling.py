"""The samples that workers take, and statistics that outlive their minutes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest

from jobqueue import Job, JobQueue, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.config import Settings
from jobqueue.errors import DatabaseError
from jobqueue.job import registry
from jobqueue.maintenance.pruner import Pruner
from jobqueue.maintenance.sampler import SamplerService, take_sample
from jobqueue.records import Histogram, NewJob, QueueDepth, SampledDepth, Stat

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WaitFor = Callable[[Callable[[], bool], str], None]


class Sampled(Job):
    name = "sampling.Sampled"
    queue = "sampled"

    def perform(self) -> None: ...


def test_a_running_worker_takes_samples(adapter: Adapter, wait_for: WaitFor) -> None:
    Sampled.set(wait=HOUR).perform_later()
    with JobQueue(adapter).running():
        wait_for(lambda: bool(adapter.samples(HOUR)), "a sample")
    [sample] = adapter.samples(HOUR)[:1]
    assert sample.depths == (SampledDepth("sampled", later=1),)


def test_workoff_takes_none(adapter: Adapter) -> None:
    Sampled.perform_later()
    JobQueue(adapter).work_off()
    assert adapter.samples(HOUR) == []
    assert adapter.begin_sample() is not None


def test_the_depths_of_a_minute_are_counted_once(clock: ManualClock) -> None:
    adapter = Counting(clock=clock)
    assert [take_sample(adapter) for _ in range(3)] == [True, False, False]
    clock.advance(MINUTE)
    assert take_sample(adapter)
    assert adapter.counted == 2
    assert len(adapter.samples(HOUR)) == 2


class Counting(MemoryAdapter):
    counted = 0
    error: Exception | None = None

    def queue_depths(self, most: int | None = None) -> list[QueueDepth]:
        assert most is not None, "it would take long where many jobs wait"
        self.counted += 1
        return super().queue_depths(most)

    def store_sample(self, minute: datetime, depths: Sequence[QueueDepth]) -> None:
        if self.error is not None:
            raise self.error
        super().store_sample(minute, depths)


def test_what_the_database_refuses_is_said(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, wait_for: WaitFor
) -> None:
    adapter = Counting(clock=clock)
    adapter.error = DatabaseError("no")
    service = SamplerService(adapter, logging.getLogger("jobqueue"))
    service.start()
    wait_for(lambda: "the depths of queues could not be sampled: no" in caplog.text, "a line")
    service.stop()
    assert adapter.samples(HOUR) == []


def test_the_pruner_rolls_up_hours_and_removes_what_is_old(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    adapter = clocked_adapter
    settings = Settings(keep_stats=30 * DAY, keep_samples=2 * DAY)
    pruner = Pruner(adapter, "me", registry, settings)
    ran = Histogram.of([MINUTE] * 3)
    adapter.add_stats("me", [Stat("Work", "a", 3, ran=ran)])
    adapter.enqueue([NewJob("Work", "{}", "a", 50, 5)])
    take_sample(adapter)
    clock.advance(DAY)
    pruner.prune()
    assert len(adapter.samples(9 * DAY)) == 1
    clock.advance(7 * DAY)
    pruner.prune()
    assert adapter.samples(99 * DAY) == []
    assert adapter.stats(99 * DAY) == []
    assert [stat.ran for stat in adapter.class_stats(99 * DAY)] == [ran]
    clock.advance(23 * DAY)
    pruner.prune()
    assert adapter.class_stats(99 * DAY) == []
