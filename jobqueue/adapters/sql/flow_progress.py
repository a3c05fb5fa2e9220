"""The progress of flows: what starts, and what is cancelled, when a job of a flow has ended.

The rows say it all: how each job stands, and, in the edges, how those ended that others wait for.
So it can be made at any time, and again. It is made in a transaction of its own under the lock of
the flow, by whoever has settled a job, and now and then by any worker for what is left over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from jobqueue.adapters.sql.role import SqlParts, SqlRole, waiting_state
from jobqueue.adapters.sql.states import HAS_NOT_SUCCEEDED, is_in
from jobqueue.adapters.sql.tables import EDGES, FLOWS, JOBS, to_name, to_utc
from jobqueue.records import (
    FINISHED_STATES,
    HELD_BACK,
    NOT_ALL_SUCCEEDED,
    PLACE_ON_FINISH,
    PLACE_ON_SUCCESS,
    JobState,
    Outcome,
    Wakeup,
)

REMOVED = "removed"
"""The outcome of a job whose row is gone."""
NOT_SUCCESSFUL = (JobState.FAILED.value, JobState.CANCELLED.value, REMOVED)
MOST_TOGETHER = 500
MOST_NOTED = 5_000
LOOKED_AT_AFTER_END = timedelta(days=1)
"""For so long a flow that has ended without success is looked at: its jobs may be retried."""


class FlowProgress(SqlRole):
    """The progress of the flows of a database."""

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        self._unfinished: dict[int, int] = {}
        self._looked_up_to = 0

    # --- after jobs have been settled ------------------------------------------------------------

    def note_ended(self, outcomes: Iterable[Outcome]) -> bool:
        """Have flows go on whose jobs were settled; return whether jobs may start for that.

        Raises:
            DatabaseError: it is made later, by any worker.
        """
        ended: dict[int, set[int]] = {}
        for outcome in outcomes:
            if outcome.job.flow_id is not None:
                ended.setdefault(outcome.job.flow_id, set()).add(outcome.job.id)
        if not ended:
            return False
        due = self.database.read(lambda c: self._due_among(c, ended))
        have_gone_on = [self.advance(flow_id, ended[flow_id]) for flow_id in sorted(due)]
        return any(have_gone_on)

    def _due_among(self, connection: Connection, ended: Mapping[int, Collection[int]]) -> set[int]:
        """The flows in which others wait for these jobs, and those that may be at their end."""
        ids = sorted({job_id for ids in ended.values() for job_id in ids})
        waited_for = select(EDGES.c.flow_id).where(EDGES.c.parent_id.in_(ids)).distinct()
        due = set(connection.execute(waited_for).scalars())
        due |= {flow for flow in ended if flow not in due and self._may_end(connection, flow)}
        return due & ended.keys()

    def _may_end(self, connection: Connection, flow_id: int) -> bool:
        return not self._has_unfinished(connection, flow_id)

    def _has_unfinished(self, connection: Connection, flow_id: int) -> bool:
        """Whether a flow has jobs that have not ended. The last one found is looked at first."""
        known = self._unfinished.get(flow_id)
        is_unfinished = JOBS.c.finished_at.is_(None)
        if known is not None:
            query = select(JOBS.c.id).where(JOBS.c.id == known, is_unfinished)
            if connection.execute(query).first() is not None:
                return True
        query = (
            select(JOBS.c.id)
            .where(JOBS.c.flow_id == flow_id, HAS_NOT_SUCCEEDED)
            .where(is_unfinished, JOBS.c.flow_place >= 0)
            .order_by(JOBS.c.flow_id.desc(), JOBS.c.id.desc())
            .limit(1)
        )
        found = connection.execute(query).scalar()
        if found is None:
            self._unfinished.pop(flow_id, None)
            return False
        if len(self._unfinished) >= MOST_NOTED:
            self._unfinished.clear()
        self._unfinished[flow_id] = found
        return True

    # --- for what is left over -------------------------------------------------------------------

    def advance_next(self, most: int) -> int:
        """Have flows go on, the next ones each time; return how many did."""
        due = self.database.read(lambda c: self._due_after(c, most))
        return sum(self.advance(flow_id, ended) for flow_id, ended in due)

    def _due_after(self, connection: Connection, most: int) -> list[tuple[int, set[int]]]:
        now = self.time.read(connection)
        ended_after = now - LOOKED_AT_AFTER_END
        going_on = (
            select(FLOWS.c.id, FLOWS.c.finished_at)
            .where(FLOWS.c.succeeded_at.is_(None), FLOWS.c.id > self._looked_up_to)
            .where(or_(FLOWS.c.finished_at.is_(None), FLOWS.c.finished_at > ended_after))
            .order_by(FLOWS.c.id)
            .limit(most)
        )
        rows = connection.execute(going_on.where(FLOWS.c.closed_at.is_not(None))).all()
        self._looked_up_to = rows[-1].id if len(rows) == most else 0
        due = []
        for flow_id, finished_at in rows:
            unnoted = self._unnoted_in(connection, flow_id)
            if unnoted or self._is_at_an_end(connection, flow_id, finished_at):
                due.append((flow_id, unnoted))
        return due

    def _unnoted_in(self, connection: Connection, flow_id: int) -> set[int]:
        """The jobs that others wait for and that have ended otherwise than it is noted."""
        has_ended = or_(JOBS.c.id.is_(None), JOBS.c.finished_at.is_not(None))
        is_noted = EDGES.c.outcome == func.coalesce(JOBS.c.state, REMOVED)
        query = (
            select(EDGES.c.parent_id)
            .select_from(EDGES.outerjoin(JOBS, JOBS.c.id == EDGES.c.parent_id))
            .where(EDGES.c.flow_id == flow_id, has_ended)
            .where(or_(EDGES.c.outcome.is_(None), and_(JOBS.c.id.is_not(None), ~is_noted)))
            .limit(MOST_TOGETHER)
        )
        return set(connection.execute(query).scalars())

    def _is_at_an_end(
        self, connection: Connection, flow_id: int, finished_at: datetime | None
    ) -> bool:
        if finished_at is None:
            return self._may_end(connection, flow_id)
        return not self._has_others_than_succeeded(connection, flow_id)

    # --- under the lock of a flow ----------------------------------------------------------------

    def advance(self, flow_id: int, ended: Collection[int]) -> bool:
        """Have a flow go on, of which some jobs have ended; return whether it did."""
        has_gone_on, queues = self.database.write(lambda c: self._advance(c, flow_id, ended))
        if queues:
            self.announcer.announce(Wakeup(queues=queues, gated=True))
        return has_gone_on

    def _advance(
        self, connection: Connection, flow_id: int, ended: Collection[int]
    ) -> tuple[bool, frozenset[str]]:
        flow = connection.execute(
            select(FLOWS).where(FLOWS.c.id == flow_id).with_for_update()
        ).first()
        if flow is None:
            return False, frozenset()
        # Statements after the lock: they see all that its last holders have stored.
        now = self.time.read(connection)
        number, queues = self._go_on_behind(connection, ended, now)
        has_ended = self._end(connection, flow, now, queues)
        return bool(number) or has_ended, frozenset(queues)

    def _go_on_behind(
        self, connection: Connection, ended: Collection[int], now: datetime
    ) -> tuple[int, set[str]]:
        """Start or cancel what waits for jobs, and what waits for what was cancelled."""
        number, queues = 0, set[str]()
        while ended:
            self._note_outcomes(connection, ended)
            held_back = []
            for child in self._children_of(connection, ended):
                if child.unsuccessful is not None:
                    if child.state == JobState.BLOCKED:
                        held_back.append(child)
                elif not child.is_waiting and _waits_for_others(child):
                    number += self._release(connection, child, now)
                    queues.add(to_name(child.queue))
            for child in held_back:
                reason = f"{HELD_BACK}{child.unsuccessful}, which has not succeeded"
                _cancel(connection, child.id, reason, now)
            number += len(held_back)
            ended = [child.id for child in held_back]
        return number, queues

    def _note_outcomes(self, connection: Connection, ended: Collection[int]) -> None:
        """Note in the edges how jobs have ended; those that have not are left as they were."""
        for ids in _some(ended):
            states = dict(
                connection.execute(select(JOBS.c.id, JOBS.c.state).where(JOBS.c.id.in_(ids))).all()
            )
            by_outcome: dict[str, list[int]] = {}
            for job_id in ids:
                by_outcome.setdefault(states.get(job_id, REMOVED), []).append(job_id)
            for outcome, those in sorted(by_outcome.items()):
                if outcome in (*FINISHED_STATES, REMOVED):
                    which = EDGES.c.parent_id.in_(those)
                    connection.execute(update(EDGES).where(which).values(outcome=outcome))

    def _children_of(self, connection: Connection, ended: Collection[int]) -> list[Any]:
        """The jobs that wait for some others, and how those before each of them stand."""
        before = EDGES.alias("before")
        is_before = before.c.child_id == JOBS.c.id
        unsuccessful = (
            select(func.min(before.c.parent_id))
            .where(is_before, before.c.outcome.in_(NOT_SUCCESSFUL), ~before.c.runs_anyway)
            .scalar_subquery()
        )
        columns = (JOBS.c.id, JOBS.c.queue, JOBS.c.state, JOBS.c.last_error, JOBS.c.attempts)
        found: list[Any] = []
        for ids in _some(ended):
            children = select(EDGES.c.child_id).where(EDGES.c.parent_id.in_(ids))
            query = select(
                *columns,
                *(JOBS.c.run_at, JOBS.c.expires_at),
                unsuccessful.label("unsuccessful"),
                exists().where(is_before, before.c.outcome.is_(None)).label("is_waiting"),
            ).where(JOBS.c.id.in_(children))
            found += connection.execute(query.order_by(JOBS.c.id)).all()
        return found

    def _release(self, connection: Connection, job: Any, now: datetime) -> int:
        """Let a job start; not if another one has its key by now."""
        run_at = max(to_utc(job.run_at), now)
        values: dict[str, Any] = {
            "state": waiting_state(),
            "run_at": run_at,
            "last_error": None,
            "finished_at": None,
            "cancel_requested_at": None,
            "updated_at": now,
        }
        if job.expires_at is not None:
            values["expires_at"] = run_at + (to_utc(job.expires_at) - to_utc(job.run_at))
        change = update(JOBS).where(JOBS.c.id == job.id, is_in(JOBS.c.state, JobState(job.state)))
        return connection.execute(change.where(_has_its_key()).values(values)).rowcount

    def _end(self, connection: Connection, flow: Any, now: datetime, queues: set[str]) -> bool:
        """End a flow whose jobs have all ended; return whether anything has changed for that."""
        if flow.closed_at is None or self._has_unfinished(connection, flow.id):
            return False
        has_succeeded = not self._has_others_than_succeeded(connection, flow.id)
        values: dict[str, Any] = {}
        if flow.finished_at is None:
            values["finished_at"] = now
            queues |= self._start_what_follows(connection, flow.id, PLACE_ON_FINISH, now)
            if not has_succeeded:
                self._hold_back_what_follows(connection, flow.id, now)
        if has_succeeded and flow.succeeded_at is None:
            values["succeeded_at"] = now
            queues |= self._start_what_follows(connection, flow.id, PLACE_ON_SUCCESS, now)
        if values:
            connection.execute(update(FLOWS).where(FLOWS.c.id == flow.id).values(values))
        return bool(values)

    def _has_others_than_succeeded(self, connection: Connection, flow_id: int) -> bool:
        query = select(JOBS.c.id).where(JOBS.c.flow_id == flow_id, HAS_NOT_SUCCEEDED)
        return connection.execute(query.where(JOBS.c.flow_place >= 0).limit(1)).first() is not None

    def _start_what_follows(
        self, connection: Connection, flow_id: int, place: int, now: datetime
    ) -> set[str]:
        """Start the jobs that follow a flow; return their queues."""
        columns = (JOBS.c.id, JOBS.c.queue, JOBS.c.state, JOBS.c.last_error, JOBS.c.attempts)
        query = select(*columns, JOBS.c.run_at, JOBS.c.expires_at)
        query = query.where(JOBS.c.flow_id == flow_id, JOBS.c.flow_place == place)
        waiting = [row for row in connection.execute(query) if _waits_for_others(row)]
        for job in waiting:
            self._release(connection, job, now)
        return {to_name(job.queue) for job in waiting}

    def _hold_back_what_follows(self, connection: Connection, flow_id: int, now: datetime) -> None:
        follows = and_(JOBS.c.flow_id == flow_id, JOBS.c.flow_place == PLACE_ON_SUCCESS)
        blocked = select(JOBS.c.id).where(follows, is_in(JOBS.c.state, JobState.BLOCKED))
        for job_id in connection.execute(blocked).scalars().all():
            _cancel(connection, job_id, NOT_ALL_SUCCEEDED, now)


def _waits_for_others(row: Any) -> bool:
    """Whether a job has to start when those before it have succeeded.

    One that was cancelled since they had not is revived, and no other.
    """
    if row.state == JobState.BLOCKED:
        return True
    reason = row.last_error or ""
    is_held_back = reason.startswith(HELD_BACK) or reason == NOT_ALL_SUCCEEDED
    return bool(row.state == JobState.CANCELLED and is_held_back and not row.attempts)


def _cancel(connection: Connection, job_id: int, reason: str, now: datetime) -> None:
    change = update(JOBS).where(JOBS.c.id == job_id, is_in(JOBS.c.state, JobState.BLOCKED))
    connection.execute(
        change.values(
            state=JobState.CANCELLED.value,
            last_error=reason,
            error_key=None,
            finished_at=now,
            updated_at=now,
        )
    )


def _has_its_key() -> ColumnElement[bool]:
    """The condition that no other unfinished job has a key of a job."""
    other = JOBS.alias("other")
    taken = [
        exists().where(other.c[name] == JOBS.c[name], other.c.finished_at.is_(None))
        for name in ("unique_key", "waiting_key")
    ]
    return or_(JOBS.c.finished_at.is_(None), and_(*(~each for each in taken)))


def open_before() -> ColumnElement[bool]:
    """The condition that a job has to wait for others."""
    is_open = or_(
        EDGES.c.outcome.is_(None),
        and_(EDGES.c.outcome != JobState.SUCCEEDED.value, ~EDGES.c.runs_anyway),
    )
    return exists().where(EDGES.c.child_id == JOBS.c.id, is_open)


def state_after_retry() -> ColumnElement[str]:
    """The state that a job of a flow has when it is retried with the others of the flow."""
    return case((open_before(), JobState.BLOCKED.value), else_=waiting_state())


def _some(ids: Collection[int]) -> Iterable[Sequence[int]]:
    """Ids in order, as many at a time as one statement takes."""
    listed = sorted(ids)
    for begin in range(0, len(listed), MOST_TOGETHER):
        yield listed[begin : begin + MOST_TOGETHER]
