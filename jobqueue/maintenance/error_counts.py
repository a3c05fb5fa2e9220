"""Errors in groups, added up in this process and stored about once a minute.

Whoever sees an attempt end with an error adds it to the sum of its group, in memory. No job is ever
read for them, and jobs that succeed cost nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from jobqueue import log
from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.errors import DatabaseRefused
from jobqueue.fingerprints import OTHER
from jobqueue.maintenance.sums import Sums
from jobqueue.records import ErrorGroup, NewErrors
from jobqueue.redaction import in_ascii

MOST_GROUPS = 200
"""How many groups a process keeps until it stores them. The rest is in the group `OTHER`."""


@dataclass(slots=True)
class ErrorSum:
    """The errors of a group so far, with the first and the last moment by a monotonic clock."""

    number: int
    sample: str
    job_id: int | None
    first: float
    last: float


class ErrorCounts:
    """A service that adds up errors by their groups, and stores the sums about once a minute.

    Its thread starts with the first error.

    Args:
        adapter: where the sums are stored.
        logger: where it is logged that the database refuses them.
        release: the release of the application that the errors are seen with, if that is known.
        monotonic: seconds that only go up; for tests.
    """

    def __init__(
        self,
        adapter: ErrorsRole,
        logger: logging.Logger,
        release: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._release = release
        self._monotonic = monotonic
        self._is_started = False
        self._sums: Sums[ErrorGroup, ErrorSum] = Sums(
            "jobqueue-errors",
            self._store,
            self._add,
            logger,
            on_trouble=partial(log.errors_troubled, logger),
        )

    def note(self, group: ErrorGroup, error: str, job_id: int) -> None:
        """Count an error. It does not wait for the database, and may be called from any thread.

        Args:
            group: its group.
            error: its text, as it is stored with the job.
            job_id: the job.
        """
        now = self._monotonic()
        with self._sums.lock:
            self._add(group, ErrorSum(1, error, job_id, now, now))
        if self._is_started:
            with suppress(RuntimeError):  # no more threads now; the next error tries it again
                self._sums.start()

    def _add(self, group: ErrorGroup, new: ErrorSum) -> None:
        sums = self._sums.kept
        known = sums.get(group)
        if known is None and len(sums) >= MOST_GROUPS:
            group = OTHER
            known = sums.get(group)
        if known is None:
            sums[group] = new
            return
        known.number += new.number
        known.first = min(known.first, new.first)
        if new.last >= known.last:
            known.sample, known.job_id, known.last = new.sample, new.job_id, new.last

    def start(self) -> None:
        """Begin to store the sums, a first time with the first error."""
        self._is_started = True

    def stop(self) -> None:
        """Store the sums that are left. A database that does not answer is not waited for."""
        self._sums.stop()

    def flush(self) -> None:
        """Store the sums now. When the database is unavailable, they are kept for the next time."""
        self._sums.flush()

    def _store(self, taken: Mapping[ErrorGroup, ErrorSum]) -> Collection[ErrorGroup]:
        now = self._monotonic()
        errors = [_new_errors(group, summed, now) for group, summed in taken.items()]
        locked = self._store_in_any_encoding(errors)
        return [group for group in taken if group.key in locked]

    def _store_in_any_encoding(self, errors: Sequence[NewErrors]) -> set[str]:
        """Store sums, in ASCII where the database's encoding has not all of their characters.

        Return the keys of those that are left out, since their rows are locked.
        """
        try:
            return self._adapter.add_errors(errors, self._release)
        except DatabaseRefused:
            return self._adapter.add_errors(list(map(_in_ascii, errors)), self._release)


def _new_errors(group: ErrorGroup, summed: ErrorSum, now: float) -> NewErrors:
    return NewErrors(
        group,
        summed.number,
        summed.sample,
        summed.job_id,
        first_ago=timedelta(seconds=now - summed.first),
        last_ago=timedelta(seconds=now - summed.last),
    )


def _in_ascii(errors: NewErrors) -> NewErrors:
    group = errors.group
    place = None if group.place is None else in_ascii(group.place)
    texts = (in_ascii(group.handler), in_ascii(group.kind), place, in_ascii(group.message))
    return replace(errors, group=ErrorGroup(group.key, *texts), sample=in_ascii(errors.sample))
