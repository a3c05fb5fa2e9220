"""The job that is measured: nothing but a job's way through the product."""

from __future__ import annotations

from jobqueue import Job


class NoOp(Job):
    """Has an argument, so that arguments are checked, stored and decoded as for any job."""

    def perform(self, number: int) -> None:
        """Do nothing."""
