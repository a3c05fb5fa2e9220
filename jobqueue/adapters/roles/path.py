"""The path of a job: enqueue, claim, settle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jobqueue.records import Claim, ClaimedJob, NewJob, Outcome, Turn
from jobqueue.stored import StoredJob


class PathRole(Protocol):
    """The role that enqueues, claims and settles jobs."""

    def enqueue(self, jobs: Sequence[NewJob], *, session: Any = None) -> Sequence[StoredJob]:
        """Store jobs, all or none, and return their records in the same order.

        Args:
            jobs: what to store. They may be made, and refused, as they are read.
            session: the caller's open transaction, which the jobs become part of: they exist when
                it commits and not otherwise. Without one they are committed on return.

        Raises:
            ConfigurationError: the adapter cannot join that kind of session.
        """
        ...

    def claim(self, claim: Claim) -> list[ClaimedJob]:
        """Take jobs that are due: by priority (lower first), then `run_at`, then id.

        Each becomes `running`, its attempt counted, and carries the claim's token. A job that
        another worker is taking at the same time is passed over, not waited for. Jobs of paused
        queues stay where they are.
        """
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Store the outcomes of claimed jobs, and return those that were rejected.

        An outcome applies only while its job is still running under the token it was claimed
        with; a rejected one changes nothing. If the database refuses the text of an outcome, that
        outcome is stored with its error in ASCII, and without its result and progress. The
        others are stored as they are.

        Raises:
            DatabaseUnavailable: somebody keeps the rows of some jobs locked; the outcomes of the
                others are stored.
        """
        ...

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        """Settle, and then claim, in one transaction where the database has them.

        The turn also has the jobs that ended cancelled instead, with the reasons. Rows that
        somebody else keeps locked do not hold up the others: their outcomes come back.

        Args:
            outcomes: what to settle.
            claim: what to claim; None for nothing.
            meanwhile: is called once, on this thread: while the database works on the turn, if
                the adapter can do that, or before. It may use the adapter, but must not wait for
                rows that the turn settles or claims.
        """
        ...

    def settle_unlocked(self, outcomes: Sequence[Outcome]) -> Turn:
        """Settle as `turn` does, and wait for no row that somebody else has locked."""
        return self.turn(outcomes, None)
