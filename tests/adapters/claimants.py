"""Workers of which tests say when each turn takes place, and what time it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.low_water import (
    LowWater,
)
from jobqueue.records import (
    Claim,
    ClaimedJob,
    JobRecord,
    NewJob,
    Outcome,
    Succeeded,
    Wakeup,
)

TOKENS = itertools.count(1)


class Seconds:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Claimant:
    """A worker that takes turns, on a time of its own for when to look."""

    adapter: PostgresAdapter
    queues: tuple[str, ...] | None = None
    id: str = "w"
    seconds: Seconds = field(default_factory=Seconds)
    held: list[ClaimedJob] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.low_water.monotonic = self.seconds

    @property
    def low_water(self) -> LowWater:
        return self.adapter.path.low_water_marks.of(self.id, self.queues)

    def turn(
        self,
        limit: int = 10,
        *,
        heard: Wakeup | None = None,
        settling: Callable[[ClaimedJob], Outcome] = Succeeded,
    ) -> list[int]:
        """Settle what the last turn claimed, and claim; the ids of what was claimed."""
        claim = Claim(self.id, next(TOKENS), limit, limit, self.queues, heard)
        turn = self.adapter.turn([settling(job) for job in self.held], claim)
        assert turn.rejected == ()
        self.held = list(turn.claimed)
        return [job.id for job in turn.claimed]


def enqueued(
    adapter: PostgresAdapter,
    count: int = 1,
    *,
    queue: str = "a",
    priority: int = 50,
    run_at: datetime | None = None,
) -> Sequence[JobRecord]:
    return adapter.enqueue([NewJob("Work", "{}", queue, priority, 5, run_at)] * count)


def ids(records: Sequence[JobRecord]) -> list[int]:
    return [record.id for record in records]
