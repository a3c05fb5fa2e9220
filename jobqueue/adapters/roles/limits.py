"""The limits that jobs wait for, and who waits at which gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jobqueue.records import (
    DeclaredLimit,
    Gate,
    GatedLine,
    GateUse,
    JobRecord,
    LimitRecord,
    NewLimit,
)


class LimitsRole(Protocol):
    """The role that keeps limits, and tells of the lines of jobs that wait at gates."""

    def declare_limits(self, limits: Sequence[DeclaredLimit]) -> None:
        """Store the limits that the classes of a worker have. What somebody has set stays."""
        ...

    def limits(self) -> list[LimitRecord]:
        """Return the limits that workers have declared, and those that somebody has set."""
        ...

    def set_limit(self, new: NewLimit) -> bool:
        """Set the number of a limit until it is set again; return whether there is one.

        With no number it is what the classes declare again.
        """
        ...

    def gated_lines(self, most: int, queue: str | None = None) -> list[GatedLine]:
        """Return the lines in which jobs wait at gates, at most so many, each counted so far."""
        ...

    def uses_of_gates(self, gates: Sequence[Gate]) -> list[GateUse]:
        """Return how much of each gate is used now, in the order of the gates."""
        ...

    def before_in_order(self, job: JobRecord) -> JobRecord | None:
        """Return the job that an ordered job waits for; None if it is the next itself.

        That is the first unfinished one of its order, or one that failed and stops the order.
        """
        ...
