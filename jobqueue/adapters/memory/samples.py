"""Samples: the depths of queues, by the minute, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.records import QueueDepth, Sample, SampledDepth

MINUTE = timedelta(minutes=1)


class MemorySamples(MemoryRole, SamplesRole):
    """The depths of queues, by the minute, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._samples: dict[datetime, Sample | None] = {}

    def begin_sample(self) -> datetime | None:
        minute = self._store.now().replace(second=0, microsecond=0)
        with self._store.lock:
            if minute in self._samples:
                return None
            self._samples[minute] = None
        return minute

    def store_sample(self, minute: datetime, depths: Sequence[QueueDepth]) -> None:
        sampled = (
            SampledDepth(one.queue, one.due, one.later, one.running, one.oldest_age, one.more)
            for one in depths
        )
        kept = sorted((one for one in sampled if one.unfinished), key=lambda one: one.queue)
        with self._store.lock:
            self._samples[minute] = Sample(minute, tuple(kept))

    def samples(
        self,
        period: timedelta,
        queue: str | None = None,
        every: int = 1,
        until: timedelta = timedelta(0),
    ) -> list[Sample]:
        with self._store.lock:
            last = self._store.now() - until
            found = [
                sample
                for minute, sample in sorted(self._samples.items())
                if sample is not None and last - period < minute <= last
                if minute.timestamp() // 60 % every == 0
            ]
        return found if queue is None else [_of(queue, sample) for sample in found]

    def prune_samples(self, age: timedelta, limit: int) -> int:
        with self._store.lock:
            now = self._store.now()
            too_far = sorted(key for key in self._samples if not now - age < key <= now + MINUTE)
            for minute in too_far[:limit]:
                del self._samples[minute]
            return len(too_far[:limit])


def _of(queue: str, sample: Sample) -> Sample:
    return Sample(sample.minute, tuple(one for one in sample.depths if one.queue == queue))
