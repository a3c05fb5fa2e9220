"""The amount of work of each row. All amounts follow from one number."""

from __future__ import annotations

from dataclasses import dataclass

FULL_JOBS = 100_000
QUICK_JOBS = 200


@dataclass(frozen=True)
class Sizes:
    """The sizes of a run. With 100,000 jobs they are those of the promise that is checked."""

    jobs: int = FULL_JOBS
    samples: int = 200
    polled_samples: int = 40
    idle_workers: int = 64
    idle_seconds: float = 30.0
    worker_counts: tuple[int, ...] = (1, 2, 4)
    batches: tuple[int, ...] = (1, 10, 100, 1000)
    load_shares: tuple[float, ...] = (0.1, 1.0)
    """Of the load, the sizes that are measured besides nothing and all of it."""

    @classmethod
    def quick(cls) -> Sizes:
        """The smallest amounts with which every code path still runs."""
        return cls(
            jobs=QUICK_JOBS,
            samples=3,
            polled_samples=2,
            idle_workers=2,
            idle_seconds=1.0,
            worker_counts=(1, 2),
            batches=(10, 1000),
            load_shares=(),
        )

    @property
    def singles(self) -> int:
        """Jobs where each is committed alone."""
        return max(10, self.jobs // 10)

    @property
    def sleeps(self) -> int:
        """Jobs that sleep 10 ms, ten at a time."""
        return max(10, self.jobs // 10)

    @property
    def load(self) -> int:
        """Rows of each kind that a table has grown by."""
        return self.jobs * 10

    @property
    def paused(self) -> int:
        """Due jobs in a paused queue."""
        return self.jobs * 3

    @property
    def long_drain(self) -> int:
        """Jobs of the drain beside a held snapshot."""
        return self.jobs * 5

    @property
    def window(self) -> int:
        """The first and the last jobs of a long drain that are compared."""
        return max(10, self.jobs // 10)

    @property
    def memory_jobs(self) -> int:
        """Jobs that one process performs while its memory is watched."""
        return self.jobs * 10

    def payloads(self, size: int) -> int:
        """Jobs with arguments of so many bytes: at most 100 MB in all."""
        return max(5, min(self.jobs, 1000 * self.jobs // max(size, 1000)))
