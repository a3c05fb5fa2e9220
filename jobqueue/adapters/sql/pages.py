"""Pages of jobs and counts of them that cost the same however many jobs there are.

A filter becomes one *scan* for each state that it allows. A scan reads the rows of its state along
one index: finished jobs by id, ready jobs in the order of the claim, running jobs by worker. Where
that index has fewer than `WINDOW` rows of the state, all of them are read. Where it has more, the
scan reads at most `WINDOW` rows by descending id, and the page ends there; the next one goes on.
Every statement orders by exactly the columns of its index and has a limit, so that no statistics
can lead the planner to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    func,
    literal,
    select,
    true,
    tuple_,
)

from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.states import HAS_NOT_SUCCEEDED, is_in
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.adapters.sql.time import DatabaseTime
from jobqueue.read_budget import note_rows
from jobqueue.records import (
    FINISHED_STATES,
    LARGEST_ID,
    LARGEST_PAGE_CHARACTERS,
    Count,
    JobFilter,
    JobState,
    Page,
)
from jobqueue.stored import StoredJob

WINDOW = 10_000
FIRST_BATCH = 4
"""How many jobs of a page are read before it is known how large they are."""

_FILTERED = (
    *(JOBS.c.id, JOBS.c.queue, JOBS.c.handler, JOBS.c.run_at, JOBS.c.state),
    JOBS.c.error_key,
)
_SELDOM_FILTERED = (
    *(JOBS.c.created_at, JOBS.c.updated_at, JOBS.c.locked_at, JOBS.c.started_at),
    *(JOBS.c.finished_at, JOBS.c.attempts, JOBS.c.locked_by, JOBS.c.performed_by),
)
"""Columns that are read only where a filter needs them; large ones are named one by one."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A way to read the rows of one state, or of all states.

    Args:
        parts: the conditions that select rows of an index, once for each queue or handler; empty
            where the rows can only be read by id.
        order: the columns of that index, in its order.
        rest: the part of the filter that is left to be checked on each row.
        by_id: how to read the rows by descending id.
    """

    parts: tuple[tuple[ColumnElement[bool], ...], ...]
    order: tuple[Any, ...]
    rest: JobFilter
    by_id: Walk
    columns: tuple[Any, ...] = _FILTERED

    def windows(self, size: int) -> list[Select[Any]]:
        """The first rows of each part, in the order of the index."""
        rows = select(*self.columns).order_by(*self.order).limit(size)
        return [rows.where(*part) for part in self.parts]


@dataclass(frozen=True, slots=True)
class Walk:
    """A way to read the rows of a state, or of a group of errors, by descending id.

    Finished states have an index for that, and so have groups of errors. For others all rows are
    read, those of other states too.
    """

    state: JobState | None = None
    error_key: str | None = None
    columns: tuple[Any, ...] = _FILTERED

    def window(self, before: int, size: int) -> Select[Any]:
        """The next rows below an id."""
        if self.error_key is not None:
            here = tuple_(literal(self.error_key), literal(before))
            rows = select(*self.columns).where(
                JOBS.c.error_key.is_not(None),
                JOBS.c.error_key >= self.error_key,
                tuple_(JOBS.c.error_key, JOBS.c.id) < here,
            )
            return rows.order_by(JOBS.c.error_key.desc(), JOBS.c.id.desc()).limit(size)
        if self.state in FINISHED_STATES:
            here = tuple_(literal(self.state.value), literal(before))
            rows = select(*self.columns).where(
                JOBS.c.finished_at.is_not(None),
                JOBS.c.state >= self.state.value,
                tuple_(JOBS.c.state, JOBS.c.id) < here,
            )
            return rows.order_by(JOBS.c.state.desc(), JOBS.c.id.desc()).limit(size)
        rows = select(*self.columns).where(JOBS.c.id < before)
        return rows.order_by(JOBS.c.id.desc()).limit(size)

    def rest(self, where: JobFilter) -> JobFilter:
        """The part of a filter that is left to be checked on each row."""
        if self.error_key is not None:
            return replace(where, error_keys=None)
        passes_others = self.state is not None and self.state not in FINISHED_STATES
        return replace(where, states=(self.state,) if passes_others and self.state else None)


@dataclass(frozen=True, slots=True)
class Found:
    """Matching ids, the highest first, and the id down to which every row has been read."""

    ids: Sequence[int]
    down_to: int = 0


class Pages:
    """The pages of jobs in a SQL database, and counts of jobs.

    Args:
        time: what rows are compared by.
    """

    def __init__(self, time: DatabaseTime) -> None:
        self._time = time

    def page(self, connection: Connection, where: JobFilter, limit: int) -> Page[StoredJob]:
        """At most `limit` jobs, and where the next page begins."""
        ids, next_before = self._ids_of_page(connection, where, limit)
        jobs, left = self._read_while_there_is_room(connection, ids)
        if left:
            return Page(jobs, ids[-len(left) - 1], is_full=True)
        return Page(jobs, next_before)

    def _read_while_there_is_room(
        self, connection: Connection, ids: Sequence[int]
    ) -> tuple[list[StoredJob], Sequence[int]]:
        """The first of these jobs, until they are as large as a page may be; the ids of the rest.

        They are read some at a time, as many as probably fit.
        """
        jobs: list[StoredJob] = []
        taken, batch, left = 0, FIRST_BATCH, ids
        while left and taken < LARGEST_PAGE_CHARACTERS:
            some, left = left[:batch], left[batch:]
            query = queries.jobs_query(JobFilter(ids=tuple(some)), self._time.now(), batch)
            rows = connection.execute(query).all()
            jobs += map(queries.job_record, rows)
            taken += sum(map(_characters, rows))
            batch = _fitting(LARGEST_PAGE_CHARACTERS - taken, taken, len(ids) - len(left))
        return jobs, left

    def _ids_of_page(
        self, connection: Connection, where: JobFilter, limit: int
    ) -> tuple[Sequence[int], int | None]:
        """The ids of a page, and where the next one begins."""
        scans = scans_of(where)
        found = [self._find(connection, scan, where, limit + 1) for scan in scans]
        reach = max((one.down_to for one in found), default=0)
        ids = sorted((i for one in found for i in one.ids if i >= reach), reverse=True)
        if len(ids) > limit:
            return ids[:limit], ids[limit - 1]
        return ids, reach or None

    def _find(self, connection: Connection, scan: Scan, where: JobFilter, limit: int) -> Found:
        if scan.parts and self._has_few(connection, scan):
            return self._find_among_few(connection, scan, limit)
        rest = scan.by_id.rest(replace(where, before_id=None))
        return self._walk(connection, scan.by_id, rest, _before(where), limit)

    def _has_few(self, connection: Connection, scan: Scan) -> bool:
        left = WINDOW
        for window in scan.windows(WINDOW):
            count = select(func.count()).select_from(window.subquery())
            number = connection.execute(count).scalar_one()
            note_rows(number)
            left -= number
            if left <= 0:
                return False
        return True

    def _find_among_few(self, connection: Connection, scan: Scan, limit: int) -> Found:
        ids: list[int] = []
        for window in scan.windows(WINDOW):
            rows = window.subquery()
            query = select(rows.c.id).where(*self._conditions(scan.rest, rows))
            query = query.order_by(rows.c.id.desc()).limit(limit)
            ids += connection.execute(query).scalars()
        ids = sorted(ids, reverse=True)[:limit]
        return Found(ids, ids[-1] if len(ids) == limit else 0)

    def _walk(
        self, connection: Connection, walk: Walk, rest: JobFilter, before: int, limit: int
    ) -> Found:
        size = limit if rest == JobFilter() else WINDOW
        rows = walk.window(before, size).subquery()
        query = select(rows.c.id).where(*self._conditions(rest, rows))
        query = query.order_by(rows.c.id.desc()).limit(limit)
        ids = connection.execute(query).scalars().all()
        if len(ids) == limit:
            note_rows(limit)
            return Found(ids, ids[-1])
        end = select(func.count(), func.min(rows.c.id))
        seen, lowest = connection.execute(end).one()
        note_rows(seen)
        return Found(ids, lowest if seen == size else 0)

    def _conditions(self, rest: JobFilter, rows: Any) -> list[ColumnElement[bool]]:
        return queries.conditions(rest, self._time.now(), rows.c)

    # --- counting --------------------------------------------------------------------------------

    def count(self, connection: Connection, where: JobFilter, most: int) -> Count:
        counts = [self._count_scan(connection, scan, most) for scan in scans_of(where)]
        number = sum(count.number for count in counts)
        return Count(min(number, most), number > most or any(count.more for count in counts))

    def _count_scan(self, connection: Connection, scan: Scan, most: int) -> Count:
        size = most + 1 if scan.rest == JobFilter() else max(WINDOW, most + 1)
        windows = scan.windows(size) or [scan.by_id.window(_before(scan.rest), size)]
        number, more = 0, False
        for window in windows:
            rows = window.subquery()
            matching = func.count().filter(and_(true(), *self._conditions(scan.rest, rows)))
            query = select(func.count(), matching).select_from(rows)
            seen, found = connection.execute(query).one()
            note_rows(seen)
            number, more = number + found, more or seen == size
        return Count(number, more)


def _characters(row: Row[Any]) -> int:
    """The length of all texts of a row together, in characters."""
    return sum(len(value) for value in row if isinstance(value, str))


def _fitting(room: int, taken: int, read: int) -> int:
    """The number of jobs that fit into the rest of a page, if they are as large as those before."""
    return max(1, room * read // max(1, taken))


def scans_of(where: JobFilter) -> list[Scan]:
    """The scans that together find every matching job once."""
    columns = _columns_for(where)
    return [
        replace(scan, columns=columns, by_id=replace(scan.by_id, columns=columns))
        for scan in _scans_of(where)
    ]


def _columns_for(where: JobFilter) -> tuple[Any, ...]:
    """The columns that the conditions of a filter read."""
    times = (where.created, where.started, where.finished, where.changed)
    seldom = where.workers is not None or where.attempts is not None or any(times)
    return (
        *_FILTERED,
        *(_SELDOM_FILTERED if seldom else ()),
        *((JOBS.c.args,) if where.args else ()),
        *((JOBS.c.meta,) if where.meta else ()),
        *((JOBS.c.flow_id,) if where.flows else ()),
        *((JOBS.c.last_error,) if where.error is not None else ()),
    )


def _scans_of(where: JobFilter) -> list[Scan]:
    if where.ids is not None:
        ids = [job_id for job_id in where.ids if queries.can_be_id(job_id)]
        return [Scan(((JOBS.c.id.in_(ids),),), (JOBS.c.id,), where, Walk())]
    if where.flows is not None:
        return [_scan_of_flows(where)]
    if where == JobFilter(before_id=where.before_id):
        return [Scan((), (), where, Walk())]
    if where.error_keys is not None:
        rest = replace(where, error_keys=None)
        keys = dict.fromkeys(where.error_keys)
        return [Scan((), (), rest, Walk(error_key=key)) for key in keys]
    states = tuple(JobState) if where.states is None else dict.fromkeys(where.states)
    return [_scan_of_state(state, where) for state in states]


def _scan_of_flows(where: JobFilter) -> Scan:
    ids = [flow_id for flow_id in where.flows or () if queries.can_be_id(flow_id)]
    # Not `flow_id = …`: see below.
    parts = tuple(
        (JOBS.c.flow_id.is_not(None), JOBS.c.flow_id >= flow_id, JOBS.c.flow_id <= flow_id)
        for flow_id in dict.fromkeys(ids)
    )
    order = (JOBS.c.flow_id, JOBS.c.flow_place, JOBS.c.id)
    rest = replace(where, flows=None)
    return Scan(parts or ((JOBS.c.id.is_(None),),), order, rest, Walk())


def _scan_of_state(state: JobState, where: JobFilter) -> Scan:
    rest, is_state = replace(where, states=None), is_in(JOBS.c.state, state)
    if state in FINISHED_STATES:
        return _scan_of_finished(state, rest)
    if state is JobState.RUNNING:
        return Scan(((is_state,),), (JOBS.c.locked_by,), rest, Walk(state))
    if state is JobState.BLOCKED:
        return Scan(
            ((HAS_NOT_SUCCEEDED, is_state),), (JOBS.c.flow_id, JOBS.c.id), rest, Walk(state)
        )
    order: tuple[Any, ...] = (JOBS.c.priority, JOBS.c.run_at, JOBS.c.id)
    if state is JobState.GATED:
        order = (JOBS.c.line, *order)
        if where.queues is None:
            return Scan(((is_state,),), (JOBS.c.queue, *order), rest, Walk(state))
    if where.queues is None:
        return Scan(((is_state,),), order, rest, Walk(state))
    # Not `queue = …`: the order by it would mean nothing then, and another index would do as well.
    parts = tuple(
        (is_state, JOBS.c.queue >= queue, JOBS.c.queue <= queue)
        for queue in dict.fromkeys(where.queues)
    )
    return Scan(parts, (JOBS.c.queue, *order), replace(rest, queues=None), Walk(state))


def _scan_of_finished(state: JobState, rest: JobFilter) -> Scan:
    if rest.handlers is None:
        return Scan((), (), rest, Walk(state))
    is_kept = (is_in(JOBS.c.state, state), JOBS.c.finished_at.is_not(None))
    parts = tuple((*is_kept, JOBS.c.handler == name) for name in dict.fromkeys(rest.handlers))
    order = (JOBS.c.state, JOBS.c.handler, JOBS.c.finished_at)
    return Scan(parts, order, replace(rest, handlers=None), Walk(state))


def _before(where: JobFilter) -> int:
    highest = LARGEST_ID
    return highest if where.before_id is None else min(max(where.before_id, 0), highest)
