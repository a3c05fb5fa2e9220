"""Pages of jobs and counts of them that cost the same however many jobs there are.

What matches a filter is sought in *lanes*, each of which an index leads along: the rows of one
finished state by id, the ready ones, the running ones, or all rows by id. Of each no more than
`WINDOW` rows are looked at for a page; where that is not far enough, the page ends there and the
next goes on. Where an index holds few rows of a kind, all of them are looked at instead, wherever
they are. Every statement orders by exactly what its index does and has a limit, so that no
statistics can lead the planner to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select, true, tuple_

from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.adapters.sql.time import DatabaseTime
from jobqueue.records import FINISHED_STATES, LARGEST_ID, Count, JobFilter, JobState, Page
from jobqueue.stored import StoredJob

WINDOW = 10_000

_FILTERED = (JOBS.c.id, JOBS.c.queue, JOBS.c.handler, JOBS.c.run_at, JOBS.c.state)


@dataclass(frozen=True, slots=True)
class Lane:
    """Rows of one state, or all of them, and the ways to them.

    Args:
        parts: the conditions by which an index is entered, once for each queue or handler; none
            where the only way is by id.
        order: the columns of that index, from the first on.
        rest: what of the filter this leaves to be looked at, row by row.
        by_id: how to walk along them, and perhaps along others, the newest first.
    """

    parts: tuple[tuple[ColumnElement[bool], ...], ...]
    order: tuple[Any, ...]
    rest: JobFilter
    by_id: Walk

    def windows(self, size: int) -> list[Select[Any]]:
        """The first rows of each part."""
        rows = select(*_FILTERED).order_by(*self.order).limit(size)
        return [rows.where(*part) for part in self.parts]


@dataclass(frozen=True, slots=True)
class Walk:
    """A way along the rows of a state by descending id: by an index of them, or past all others."""

    state: JobState | None = None

    def window(self, before: int, size: int) -> Select[Any]:
        """The next rows."""
        if self.state in FINISHED_STATES:
            here = tuple_(literal(self.state.value), literal(before))
            rows = select(*_FILTERED).where(
                JOBS.c.finished_at.is_not(None),
                JOBS.c.state >= self.state.value,
                tuple_(JOBS.c.state, JOBS.c.id) < here,
            )
            return rows.order_by(JOBS.c.state.desc(), JOBS.c.id.desc()).limit(size)
        rows = select(*_FILTERED).where(JOBS.c.id < before)
        return rows.order_by(JOBS.c.id.desc()).limit(size)

    def rest(self, where: JobFilter) -> JobFilter:
        """What has to be looked at on the way."""
        passes_others = self.state is not None and self.state not in FINISHED_STATES
        return replace(where, states=(self.state,) if passes_others and self.state else None)


@dataclass(frozen=True, slots=True)
class Found:
    """Ids that match, the highest first, and down to which id everything has been looked at."""

    ids: Sequence[int]
    down_to: int = 0


class Pages:
    """Reads pages of jobs, and counts them, on somebody's connection.

    Args:
        time: what rows are compared by.
    """

    def __init__(self, time: DatabaseTime) -> None:
        self._time = time

    def page(self, connection: Connection, where: JobFilter, limit: int) -> Page[StoredJob]:
        """At most `limit` jobs, and where the next page begins."""
        ids, next_before = self._ids_of_page(connection, where, limit)
        query = queries.jobs_query(JobFilter(ids=tuple(ids)), self._time.now(), limit)
        rows = connection.execute(query).all() if ids else []
        return Page(list(map(queries.job_record, rows)), next_before)

    def _ids_of_page(
        self, connection: Connection, where: JobFilter, limit: int
    ) -> tuple[Sequence[int], int | None]:
        """The ids of a page, and where the next begins. One more is sought than it holds."""
        lanes = lanes_of(where)
        found = [self._find(connection, lane, where, limit + 1) for lane in lanes]
        reach = max((one.down_to for one in found), default=0)
        ids = sorted((i for one in found for i in one.ids if i >= reach), reverse=True)
        if len(ids) > limit:
            return ids[:limit], ids[limit - 1]
        return ids, reach or None

    def _find(self, connection: Connection, lane: Lane, where: JobFilter, limit: int) -> Found:
        if lane.parts and self._has_few(connection, lane):
            return self._find_among_few(connection, lane, limit)
        rest = lane.by_id.rest(replace(where, before_id=None))
        return self._walk(connection, lane.by_id, rest, _before(where), limit)

    def _has_few(self, connection: Connection, lane: Lane) -> bool:
        left = WINDOW
        for window in lane.windows(WINDOW):
            count = select(func.count()).select_from(window.subquery())
            left -= connection.execute(count).scalar_one()
            if left <= 0:
                return False
        return True

    def _find_among_few(self, connection: Connection, lane: Lane, limit: int) -> Found:
        ids: list[int] = []
        for window in lane.windows(WINDOW):
            rows = window.subquery()
            query = select(rows.c.id).where(*self._conditions(lane.rest, rows))
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
            return Found(ids, ids[-1])
        end = select(func.count(), func.min(rows.c.id))
        seen, lowest = connection.execute(end).one()
        return Found(ids, lowest if seen == size else 0)

    def _conditions(self, rest: JobFilter, rows: Any) -> list[ColumnElement[bool]]:
        return queries.conditions(rest, self._time.now(), rows.c)

    # --- counting --------------------------------------------------------------------------------

    def count(self, connection: Connection, where: JobFilter, most: int) -> Count:
        counts = [self._count_lane(connection, lane, most) for lane in lanes_of(where)]
        number = sum(count.number for count in counts)
        return Count(min(number, most), number > most or any(count.more for count in counts))

    def _count_lane(self, connection: Connection, lane: Lane, most: int) -> Count:
        size = most + 1 if lane.rest == JobFilter() else max(WINDOW, most + 1)
        windows = lane.windows(size) or [lane.by_id.window(_before(lane.rest), size)]
        number, more = 0, False
        for window in windows:
            rows = window.subquery()
            matching = func.count().filter(and_(true(), *self._conditions(lane.rest, rows)))
            query = select(func.count(), matching).select_from(rows)
            seen, found = connection.execute(query).one()
            number, more = number + found, more or seen == size
        return Count(number, more)


def lanes_of(where: JobFilter) -> list[Lane]:
    """The lanes in which all that matches a filter is found, and nothing twice."""
    if where.ids is not None:
        ids = [job_id for job_id in where.ids if queries.can_be_id(job_id)]
        return [Lane(((JOBS.c.id.in_(ids),),), (JOBS.c.id,), where, Walk())]
    if where == JobFilter(before_id=where.before_id):
        return [Lane((), (), where, Walk())]
    states = tuple(JobState) if where.states is None else dict.fromkeys(where.states)
    return [_lane_of_state(state, where) for state in states]


def _lane_of_state(state: JobState, where: JobFilter) -> Lane:
    rest, is_state = replace(where, states=None), JOBS.c.state == state.value
    if state in FINISHED_STATES:
        return _lane_of_finished(state, rest)
    if state is JobState.RUNNING:
        return Lane(((is_state,),), (JOBS.c.locked_by,), rest, Walk(state))
    order = (JOBS.c.priority, JOBS.c.run_at, JOBS.c.id)
    if where.queues is None:
        return Lane(((is_state,),), order, rest, Walk(state))
    # Not `queue = …`: the order by it would mean nothing then, and another index would do as well.
    parts = tuple(
        (is_state, JOBS.c.queue >= queue, JOBS.c.queue <= queue)
        for queue in dict.fromkeys(where.queues)
    )
    return Lane(parts, (JOBS.c.queue, *order), replace(rest, queues=None), Walk(state))


def _lane_of_finished(state: JobState, rest: JobFilter) -> Lane:
    if rest.handlers is None:
        return Lane((), (), rest, Walk(state))
    is_kept = (JOBS.c.state == state.value, JOBS.c.finished_at.is_not(None))
    parts = tuple((*is_kept, JOBS.c.handler == name) for name in dict.fromkeys(rest.handlers))
    order = (JOBS.c.state, JOBS.c.handler, JOBS.c.finished_at)
    return Lane(parts, order, replace(rest, handlers=None), Walk(state))


def _before(where: JobFilter) -> int:
    highest = LARGEST_ID
    return highest if where.before_id is None else min(max(where.before_id, 0), highest)
