"""The database as it is shown: the state of its tables, what hurts it, and what mends that."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import dataclass
from datetime import datetime

from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import Ailment, Health, SchemaStatus

LIFETIME_SECONDS = 10.0
"""For how long a finding stands, so that pages that are refreshed do not examine all the time."""
SLOWING = frozenset(
    {
        "idle_in_transaction",
        "old_snapshot",
        "standby_feedback",
        "prepared_transaction",
        "stale_slot",
        "autovacuum_off",
        "dead_rows",
        "invalid_index",
        "missing_index",
    }
)
"""The ailments that slow a queue down, sooner or later."""


@dataclass(frozen=True, slots=True)
class DatabaseView:
    """A database as it is shown.

    Args:
        now: when it was examined, by the database's clock.
        status: the server, and the revision of the tables.
        problem: what is wrong with the tables; None if nothing is.
        health: what hurts it; of nothing while the tables cannot be used.
        unexamined: why it is not known what hurts it; empty if it is known.
    """

    now: datetime
    status: SchemaStatus
    problem: str | None
    health: Health
    unexamined: str = ""

    @property
    def is_current(self) -> bool:
        """Whether the tables are those that this release works with."""
        return is_current(self.status)

    @property
    def slowing(self) -> list[Ailment]:
        """The ailments that slow the queue down, the worst first."""
        return [one for one in self.health.ailments if one.kind in SLOWING]


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was found some moments ago: a view, or why there is none."""

    found_at: float
    view: DatabaseView | None
    error: DatabaseError | None


_lock = threading.Lock()
_findings: weakref.WeakKeyDictionary[Adapter, _Finding] = weakref.WeakKeyDictionary()


def examined(adapter: Adapter) -> DatabaseView:
    """Return the state of a database, as it was within the last seconds.

    Raises:
        DatabaseError: it does not answer; for some seconds it is not asked again.
    """
    # What reads an adapter for a page is another object each time.
    adapter = getattr(adapter, "whole", adapter)
    with _lock:
        last = _findings.get(adapter)
    if last is None or time.monotonic() - last.found_at > LIFETIME_SECONDS:
        last = _found(adapter)
        with _lock:
            _findings[adapter] = last
    if last.view is None:
        raise last.error or DatabaseError("the database could not be examined")
    return last.view


def _found(adapter: Adapter) -> _Finding:
    try:
        return _Finding(time.monotonic(), database_view(adapter), None)
    except DatabaseError as error:
        return _Finding(time.monotonic(), None, error)


def database_view(adapter: Adapter) -> DatabaseView:
    """Examine a database now.

    Raises:
        DatabaseError: it does not answer.
    """
    status = adapter.schema_status()
    problem = schema_problem(status)
    if problem is not None:
        return DatabaseView(adapter.now(), status, problem, Health(), problem)
    try:
        return DatabaseView(adapter.now(), status, None, adapter.health())
    except DatabaseUnavailable as error:  # it takes too long, which may be what is wrong
        return DatabaseView(adapter.now(), status, None, Health(), str(error))


def is_current(status: SchemaStatus) -> bool:
    """Return whether the tables are those that this release works with."""
    return (status.current or "") == status.head and not status.missing


def schema_problem(status: SchemaStatus) -> str | None:
    """Return what is wrong with the tables; None if others made them, and they are complete."""
    if is_current(status) or (status.current is None and not status.missing):
        return None
    if status.trouble is not None:
        return status.trouble
    if status.current is None:
        return "the tables are missing; run `jobqueue setup`"
    return (
        f"the tables are at revision {status.current} and this release works with {status.head}; "
        "run `jobqueue migrate`"
    )
