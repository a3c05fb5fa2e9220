"""Errors in groups, counted by the hour: portable SQLAlchemy Core."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    false,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.queries import can_be_id
from jobqueue.adapters.sql.readings import name_or_none, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import (
    ERROR_COUNTS,
    ERRORS,
    UtcDateTime,
    to_name,
    to_utc,
)
from jobqueue.records import (
    LARGEST_ID,
    MOST_ERROR_GROUPS,
    SHOWN_HOURS,
    ErrorFilter,
    ErrorGroup,
    ErrorGroupRecord,
    ErrorHour,
    ErrorPage,
    ErrorPosition,
    ErrorState,
    NewErrors,
)

MOST_COUNTED = 2**62
"""A count that is beyond that grows no more, so that a sum stays in range."""
LONGEST_KEY = 100

# A moment in the future was written by a clock that was ahead, and does not count.
ADD_GROUPS = Named(
    """
INSERT INTO {schema}.background_errors
    (key, handler, kind, place, message, sample, first_seen_at, last_seen_at,
     first_release, last_release, last_job_id, state)
VALUES (:key, :handler, :kind, :place, :message, :sample, :first_seen_at, :last_seen_at,
        :release, :release, :job_id, 'open')
ON CONFLICT (key) DO UPDATE
SET sample = excluded.sample,
    last_seen_at = CASE WHEN background_errors.last_seen_at > excluded.last_seen_at
                             AND background_errors.last_seen_at <= :now
                        THEN background_errors.last_seen_at ELSE excluded.last_seen_at END,
    last_release = excluded.last_release,
    last_job_id = excluded.last_job_id,
    state = CASE WHEN background_errors.state = 'resolved'
                      AND (background_errors.changed_at IS NULL
                           OR background_errors.changed_at < excluded.last_seen_at
                           OR background_errors.changed_at > :now)
                 THEN 'open' ELSE background_errors.state END,
    reopened_at = CASE WHEN background_errors.state = 'resolved'
                            AND (background_errors.changed_at IS NULL
                                 OR background_errors.changed_at < excluded.last_seen_at
                                 OR background_errors.changed_at > :now)
                       THEN excluded.last_seen_at ELSE background_errors.reopened_at END
""",
    bindparam("first_seen_at", type_=UtcDateTime),
    bindparam("last_seen_at", type_=UtcDateTime),
    bindparam("now", type_=UtcDateTime),
)
ADD_COUNTS = Named(
    f"""
INSERT INTO {{schema}}.background_error_counts (key, hour, number)
VALUES (:key, :hour, :number)
ON CONFLICT (key, hour) DO UPDATE
SET number = CASE WHEN background_error_counts.number > {MOST_COUNTED}
                  THEN background_error_counts.number
                  ELSE background_error_counts.number + excluded.number END
""",  # noqa: S608 - composed of constants
    bindparam("hour", type_=UtcDateTime),
)

_COUNT_KEY = (ERROR_COUNTS.c.key, ERROR_COUNTS.c.hour)
# A sample may be long, and a list shows none.
_LISTED = (
    *(column for column in ERRORS.c if column.name != "sample"),
    literal("").label("sample"),
)
_NOT_OPEN = (ErrorState.MUTED.value, ErrorState.RESOLVED.value)


class SqlErrors(SqlRole, ErrorsRole):
    """The errors in groups, counted by the hour, in a SQL database."""

    def add_errors(self, errors: Sequence[NewErrors], release: str | None = None) -> set[str]:
        if not errors:
            return set()
        # In the order of their keys, so that two processes that do so cannot deadlock.
        ordered = sorted(errors, key=lambda new: new.group.key)

        def work(connection: Connection, passing_over: bool) -> set[str]:
            now = self.time.read(connection)
            locked = _locked(connection, ordered, now) if passing_over else set()
            free = [new for new in ordered if new.group.key not in locked]
            if free:
                rows = [_group_values(new, now, release) for new in free]
                connection.execute(ADD_GROUPS.on(connection), rows)
                counts = [_count_values(new, now) for new in free]
                connection.execute(ADD_COUNTS.on(connection), counts)
            return locked

        return self.database.write_giving_way(work)

    def error_groups(self, where: ErrorFilter, limit: int, hours: int = SHOWN_HOURS) -> ErrorPage:
        query = select(*_LISTED).where(*self._conditions(where))
        query = query.order_by(ERRORS.c.last_seen_at.desc(), ERRORS.c.key.desc()).limit(limit + 1)

        def read(connection: Connection) -> ErrorPage:
            rows = connection.execute(query).all()
            shown = rows[:limit]
            since = self.time.later(-timedelta(hours=hours))
            counts = _hours(connection, [row.key for row in shown], since)
            groups = tuple(_record(row, counts[to_name(row.key)]) for row in shown)
            is_last = len(rows) <= limit
            return ErrorPage(groups, None if is_last else groups[-1].position)

        return self.database.look(read)

    def error_group(self, key: str) -> ErrorGroupRecord | None:
        if not _can_be_key(key):
            return None

        def read(connection: Connection) -> ErrorGroupRecord | None:
            row = connection.execute(select(ERRORS).where(ERRORS.c.key == key)).first()
            if row is None:
                return None
            return _record(row, _hours(connection, [row.key])[to_name(row.key)])

        return self.database.look(read)

    def set_error_state(self, key: str, state: ErrorState, by: str) -> bool:
        if not _can_be_key(key):
            return False
        changed = update(ERRORS).where(ERRORS.c.key == key)
        values = {"state": state.value, "changed_by": by, "reopened_at": None}
        return bool(self._execute(changed.values(changed_at=self.time.now(), **values)))

    def _conditions(self, where: ErrorFilter) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if where.states is not None:
            found.append(or_(false(), *map(_is_in, where.states)))
        if where.handlers is not None:
            found.append(ERRORS.c.handler.in_(where.handlers))
        if where.period is not None:
            found.append(ERRORS.c.last_seen_at > self.time.later(-where.period))
        if where.before is not None:
            found.append(_is_after(where.before))
        return found

    # --- removing ---------------------------------------------------------------------------------

    def prune_errors(self, keep: timedelta, limit: int) -> int:
        return max(self._prune_counts(keep, limit), self._prune_groups(keep, limit))

    def _prune_counts(self, keep: timedelta, limit: int) -> int:
        old = select(*_COUNT_KEY).where(self._is_too_far(ERROR_COUNTS.c.hour, keep))
        old = old.order_by(*_COUNT_KEY).limit(limit)
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        unlocked = old.with_for_update(skip_locked=True)
        return self._execute(delete(ERROR_COUNTS).where(tuple_(*_COUNT_KEY).in_(unlocked)))

    def _prune_groups(self, keep: timedelta, limit: int) -> int:
        if not self.database.read(lambda c: self._to_go(c, keep, 1)):
            return 0

        def work(connection: Connection) -> int:
            keys = self._to_go(connection, keep, limit, locked=True)
            connection.execute(delete(ERRORS).where(ERRORS.c.key.in_(keys)))
            # Counts that somebody keeps locked are removed by their age, later.
            counts = select(*_COUNT_KEY).where(ERROR_COUNTS.c.key.in_(keys))
            unlocked = counts.with_for_update(skip_locked=True)
            connection.execute(delete(ERROR_COUNTS).where(tuple_(*_COUNT_KEY).in_(unlocked)))
            return len(keys)

        return self.database.write(work)

    def _to_go(
        self, connection: Connection, keep: timedelta, limit: int, *, locked: bool = False
    ) -> Sequence[Any]:
        """The keys of groups that are too old, or too many, the ones seen first in front."""
        order = (ERRORS.c.last_seen_at.desc(), ERRORS.c.key.desc())
        first_beyond = select(ERRORS.c.last_seen_at, ERRORS.c.key).order_by(*order)
        first_beyond = first_beyond.offset(MOST_ERROR_GROUPS).limit(1)
        which = self._is_too_far(ERRORS.c.last_seen_at, keep)
        beyond = connection.execute(first_beyond).first()
        if beyond is not None:
            which |= tuple_(ERRORS.c.last_seen_at, ERRORS.c.key) <= tuple_(*beyond)
        query = select(ERRORS.c.key).where(which)
        query = query.order_by(ERRORS.c.last_seen_at, ERRORS.c.key).limit(limit)
        if locked:
            query = query.with_for_update(skip_locked=True)
        return connection.execute(query).scalars().all()

    def _is_too_far(self, column: ColumnElement[datetime], keep: timedelta) -> ColumnElement[bool]:
        """Whether a moment is too long ago, or further ahead than a clock can be believed."""
        return or_(column <= self.time.later(-keep), column > self.time.later(keep))


def _locked(connection: Connection, errors: Sequence[NewErrors], now: datetime) -> set[str]:
    """The keys of the groups of which somebody else keeps a row locked that is to be changed."""
    hours = [
        (ERROR_COUNTS.c.key == new.group.key)
        & (ERROR_COUNTS.c.hour == bindparam(None, _hour_of(new, now), UtcDateTime))
        for new in errors
    ]
    groups = select(ERRORS.c.key).where(ERRORS.c.key.in_(new.group.key for new in errors))
    counts = select(ERROR_COUNTS.c.key).where(or_(false(), *hours))
    return _locked_of(connection, groups) | _locked_of(connection, counts)


def _locked_of(connection: Connection, there: Select[str]) -> set[str]:
    """The keys that a query finds in rows which somebody else keeps locked."""
    unlocked = there.with_for_update(skip_locked=True)
    return set(connection.execute(there).scalars()) - set(connection.execute(unlocked).scalars())


def _can_be_key(key: str) -> bool:
    """Whether a text can be a key: no driver takes what has NUL or broken Unicode in it."""
    return key.isprintable() and len(key) <= LONGEST_KEY


def _is_in(state: ErrorState) -> ColumnElement[bool]:
    """Whether a group is in a state. What is no state counts as open."""
    if state is ErrorState.OPEN:
        return ERRORS.c.state.not_in(_NOT_OPEN)
    return ERRORS.c.state == state.value


def _is_after(position: ErrorPosition) -> ColumnElement[bool]:
    there = (bindparam(None, position.last_seen_at, type_=UtcDateTime), position.key)
    return tuple_(ERRORS.c.last_seen_at, ERRORS.c.key) < tuple_(*there)


def _group_values(new: NewErrors, now: datetime, release: str | None) -> dict[str, Any]:
    return {
        "key": new.group.key,
        "handler": new.group.handler,
        "kind": new.group.kind,
        "place": new.group.place,
        "message": new.group.message,
        "sample": new.sample,
        "first_seen_at": now - new.first_ago,
        "last_seen_at": now - new.last_ago,
        "release": release,
        "job_id": new.job_id,
        "now": now,
    }


def _count_values(new: NewErrors, now: datetime) -> dict[str, Any]:
    return {"key": new.group.key, "hour": _hour_of(new, now), "number": new.number}


def _hour_of(new: NewErrors, now: datetime) -> datetime:
    return (now - new.last_ago).replace(minute=0, second=0, microsecond=0)


def _hours(
    connection: Connection, keys: Collection[Any], since: ColumnElement[Any] | None = None
) -> dict[str, list[ErrorHour]]:
    """The hours of some groups, the oldest first, by the keys of the groups."""
    query = select(ERROR_COUNTS).where(ERROR_COUNTS.c.key.in_(keys))
    if since is not None:
        query = query.where(ERROR_COUNTS.c.hour > since)
    query = query.order_by(ERROR_COUNTS.c.key, ERROR_COUNTS.c.hour)
    found: defaultdict[str, list[ErrorHour]] = defaultdict(list)
    for row in connection.execute(query):
        number = whole(row.number, 0, LARGEST_ID)
        found[to_name(row.key)].append(ErrorHour(to_utc(row.hour), number))
    return found


def _record(row: Row[Any], hours: Sequence[ErrorHour]) -> ErrorGroupRecord:
    return ErrorGroupRecord(
        group=ErrorGroup(
            to_name(row.key),
            to_name(row.handler),
            to_name(row.kind),
            name_or_none(row.place),
            to_name(row.message),
        ),
        sample=to_name(row.sample),
        first_seen_at=to_utc(row.first_seen_at),
        last_seen_at=to_utc(row.last_seen_at),
        first_release=name_or_none(row.first_release),
        last_release=name_or_none(row.last_release),
        last_job_id=_job_id(row.last_job_id),
        state=_state(row.state),
        changed_at=None if row.changed_at is None else to_utc(row.changed_at),
        changed_by=name_or_none(row.changed_by),
        reopened_at=None if row.reopened_at is None else to_utc(row.reopened_at),
        hours=tuple(hours),
    )


def _job_id(found: Any) -> int | None:
    return found if isinstance(found, int) and can_be_id(found) else None


def _state(found: Any) -> ErrorState:
    try:
        return ErrorState(found)
    except ValueError:
        return ErrorState.OPEN
