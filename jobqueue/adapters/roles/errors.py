"""Errors in groups, counted by the hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from jobqueue.records import (
    SHOWN_HOURS,
    ErrorFilter,
    ErrorGroupRecord,
    ErrorPage,
    ErrorState,
    NewErrors,
)


class ErrorsRole(Protocol):
    """The role that keeps errors in groups, and counts them by the hour."""

    def add_errors(self, errors: Sequence[NewErrors], release: str | None = None) -> set[str]:
        """Add the errors that a process has seen since its last call, about a minute ago.

        A resolved group that was seen after somebody had resolved it is open again. Several
        processes may add errors of the same groups at the same time.

        Args:
            errors: the errors; one item for each group.
            release: the release of the application that they were seen with, if that is known.

        Returns:
            The keys of groups that are left out, since somebody keeps their rows locked. Their
            errors can be added later.
        """
        ...

    def error_groups(self, where: ErrorFilter, limit: int, hours: int = SHOWN_HOURS) -> ErrorPage:
        """At most `limit` groups that match, those that were seen last first.

        Each has no sample, and the counts of so many hours: those of the last day, or of `hours`.
        """
        ...

    def error_group(self, key: str) -> ErrorGroupRecord | None:
        """A group with all hours that are kept; None where there is none of that key."""
        ...

    def set_error_state(self, key: str, state: ErrorState, by: str) -> bool:
        """Change the state of a group. Return whether there is one of that key."""
        ...

    def prune_errors(self, keep: timedelta, limit: int) -> int:
        """Remove what is older than `keep`, and the groups beyond the number that are kept.

        Returns:
            How many rows were removed: at most `limit` hours and as many groups.
        """
        ...
