"""Rows that somebody wrote by hand, and that no release of ours would write: portable Core.

They stop nobody. But what they are about does not happen as their author may think, so `doctor`
shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select

from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import DAWN, DUSK, JOBS, KEYS, STATS, WORKERS, BackgroundSchedule
from jobqueue.records import Ailment, JobState

SCHEDULES: Any = BackgroundSchedule.__table__
MOST_SHOWN = 5
MOST_LOOKED_AT = 10_000
"""How many rows of a table are looked at, the latest ones."""
SHORTEST_LEASE, LONGEST_LEASE = 0.001, 1e9
INTEGER, MOST_ATTEMPTS, MOST_CRASHES = (-(2**31), 2**31 - 1), 2**31 - 2, 1000

IsOdd = Callable[[Any], ColumnElement[bool]]
"""A condition on the columns of a table."""


def odd_rows(connection: Connection) -> Iterator[Ailment]:
    """The faults of the rows of each table, and what to do about them."""
    for table, conditions in CONDITIONS.items():
        for what, is_odd in conditions.items():
            keys = _keys_of(connection, table, is_odd)
            if keys:
                yield _ailment(table, what, keys)


def _keys_of(connection: Connection, table: Table, is_odd: IsOdd) -> list[str]:
    keys = list(table.primary_key.columns)
    latest = select(table).order_by(*(key.desc() for key in keys)).limit(MOST_LOOKED_AT)
    rows = latest.subquery().c
    odd = select(*(rows[key.name] for key in keys)).where(is_odd(rows)).limit(MOST_SHOWN + 1)
    return ["/".join(map(str, row)) for row in connection.execute(odd)]


def _ailment(table: Table, what: str, keys: list[str]) -> Ailment:
    shown = ", ".join(keys[:MOST_SHOWN]) + (" and others" if len(keys) > MOST_SHOWN else "")
    remedy = f"see who writes there; mend these rows with SQL, or DELETE them FROM {table.name}"
    if table is JOBS:
        remedy = f"see who writes there; mend these rows with SQL, or `jobqueue delete {keys[0]}`"
    names = ", ".join(key.name for key in table.primary_key.columns)
    return Ailment("odd_rows", f"{table.name} has rows with {what} ({names}: {shown})", remedy)


# --- what no release of ours writes --------------------------------------------------------------


def _is_outside(column: Any, least: float, most: float) -> ColumnElement[bool]:
    return or_(column < least, column > most)


def _is_no_moment(column: Any) -> ColumnElement[bool]:
    return or_(column < DAWN, column > DUSK)


def _is_miscounted(job: Any) -> ColumnElement[bool]:
    attempts, crashes = (job.attempts, 0, MOST_ATTEMPTS), (job.crashes, 0, MOST_CRASHES)
    return or_(_is_outside(*attempts), _is_outside(*crashes))


def _is_unlimited(job: Any) -> ColumnElement[bool]:
    return or_(_is_outside(job.max_attempts, 1, INTEGER[1]), _is_outside(job.priority, *INTEGER))


def _has_odd_moment(job: Any) -> ColumnElement[bool]:
    return or_(*map(_is_no_moment, (job.run_at, job.created_at, job.updated_at)))


def _is_held_by_nobody(job: Any) -> ColumnElement[bool]:
    return and_(is_in(job.state, JobState.RUNNING), job.locked_by.is_(None))


CONDITIONS: Mapping[Table, Mapping[str, IsOdd]] = {
    JOBS: {
        "attempts or crashes that nobody can have counted": _is_miscounted,
        "a max_attempts or a priority that none can have": _is_unlimited,
        "a moment that is none": _has_odd_moment,
        "the state running and no worker, so that nobody frees them": _is_held_by_nobody,
    },
    WORKERS: {
        "a lease that is none": lambda worker: _is_outside(
            worker.lease_seconds, SHORTEST_LEASE, LONGEST_LEASE
        ),
        "a heartbeat that is no moment": lambda worker: _is_no_moment(worker.heartbeat_at),
    },
    SCHEDULES: {
        "a last_tick that is no moment": lambda schedule: _is_no_moment(schedule.last_tick)
    },
    KEYS: {"an expires_at that is no moment": lambda key: _is_no_moment(key.expires_at)},
    STATS: {"a minute that is no moment": lambda stat: _is_no_moment(stat.minute)},
}
