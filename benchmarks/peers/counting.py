"""The job of every peer: it counts itself.

The clock runs from the start of the worker, or from the first job where starting takes long, to
the beginning of the last job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Counter:
    """Counts jobs, and knows when the last of them began.

    Args:
        done: called when as many have begun as are expected.
    """

    def __init__(self, expected: int = 0, done: Callable[[], None] | None = None) -> None:
        self.expected, self.done = expected, done
        self.count = 0
        self.started = self.last = 0.0

    def start(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def __call__(self) -> None:
        """Count one."""
        self.count += 1
        if not self.started:
            self.start()
        if self.count == self.expected:
            self.last = time.monotonic()
            if self.done is not None:
                self.done()

    def figures(self) -> Mapping[str, Any]:
        """The number of jobs, and the seconds they took."""
        if self.count != self.expected:
            raise SystemExit(f"{self.count:,} jobs were performed instead of {self.expected:,}")
        return {"jobs": self.count, "seconds": self.last - self.started}
