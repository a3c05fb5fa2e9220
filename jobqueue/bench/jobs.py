"""The jobs that are measured with. They do nothing, but have an argument as real ones have."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import ClassVar

from jobqueue.job import Job


class NoOp(Job):
    """The job that is enqueued and drained."""

    def perform(self, number: int) -> None:
        """Do nothing."""


class Ping(Job):
    """The job that latency is measured with."""

    begun: ClassVar[SimpleQueue[float | None]]

    def perform(self, number: int) -> None:  # noqa: ARG002 - it has an argument as NoOp has
        """Put the moment at which it begins into `begun`."""
        self.begun.put(time.perf_counter())
