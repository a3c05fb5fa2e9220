"""The flows in a SQL database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Text, cast, delete, exists, func, select, update

from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.sql.control import requesting_cancel, retrying
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.adapters.sql.flow_progress import state_after_retry
from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.readings import decoded, name_or_none
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.states import HAS_NOT_SUCCEEDED, is_in
from jobqueue.adapters.sql.tables import EDGES, FLOWS, JOBS, to_name, to_utc
from jobqueue.errors import InvalidArguments
from jobqueue.records import (
    LOOK_ANYWHERE,
    PLACE_ON_FINISH,
    PLACE_ON_SUCCESS,
    UNFINISHED_STATES,
    FlowKind,
    FlowRecord,
    JobFilter,
    JobState,
    NewFlow,
    NewJob,
    NewStep,
    StepRecord,
    Wakeup,
    member_of,
)
from jobqueue.stored import StoredJob, kept_by

MOST_COUNTED = 10_000
EDGES_TOGETHER = 5_000


class SqlFlows(SqlRole, FlowsRole):
    """The flows in a SQL database.

    Args:
        parts: what the roles share.
        path: inserts jobs, and has flows go on when jobs have been settled.
    """

    def __init__(self, parts: SqlParts, path: SqlPath) -> None:
        super().__init__(parts)
        self._path = path

    # --- storing them ----------------------------------------------------------------------------

    def start_flow(
        self, flow: NewFlow, steps: Sequence[NewStep], *, session: Any = None
    ) -> tuple[int, Sequence[StoredJob]]:
        if session is None:
            flow_id, stored = self.database.write(
                lambda c: self._start(executing_on(c), flow, steps)
            )
            self.announcer.announce(_wakeup_for(stored))
        else:
            with self.database.errors_translated():
                execute = self.sessions.executing_on(session)
                flow_id, stored = self._start(execute, flow, steps)
                self.announcer.announce_at_commit(session, _wakeup_for(stored))
        return flow_id, kept_by(self.adapter, stored[: len(steps)])

    def _start(
        self, execute: Execute, flow: NewFlow, steps: Sequence[NewStep]
    ) -> tuple[int, list[StoredJob]]:
        """Store a flow; return its jobs, and then those that follow all of them."""
        statements, times = self._path.flow_statements(execute)
        is_over = not steps and not flow.is_open
        facts = {"kind": flow.kind.value, "name": flow.name, "is_open": flow.is_open}
        ((flow_id,),) = execute(statements.insert_flow, {**facts, "is_over": is_over, **times})
        jobs = [
            member_of(step.job, flow_id, place, is_blocked=bool(step.after))
            for place, step in enumerate(steps)
        ]
        follow = [
            member_of(job, flow_id, place, is_blocked=not is_over)
            for place, job in _following(flow)
        ]
        stored = list(self._path.insert(execute, [*jobs, *follow])) if jobs or follow else []
        _refuse_duplicates(stored)
        edges = [
            (stored[place].id, stored[parent].id, step.runs_anyway)
            for place, step in enumerate(steps)
            for parent in sorted(set(step.after))
        ]
        for begin in range(0, len(edges), EDGES_TOGETHER):
            some = json.dumps(edges[begin : begin + EDGES_TOGETHER])
            execute(statements.insert_edges, {"flow_id": flow_id, "edges": some})
        return flow_id, stored

    def close_flow(self, flow_id: int, *, session: Any = None) -> None:
        if session is not None:
            with self.database.errors_translated():
                self._close(self.sessions.executing_on(session), flow_id)
            return
        self.database.write(lambda c: self._close(executing_on(c), flow_id))
        self._path.flows.advance(flow_id, ())

    def _close(self, execute: Execute, flow_id: int) -> None:
        statements, times = self._path.flow_statements(execute)
        execute(statements.close_flow, {"flow_id": flow_id, **times})

    def advance_flows(self, most: int = 100) -> int:
        return self._path.flows.advance_next(most)

    # --- reading them ----------------------------------------------------------------------------

    def flow(self, flow_id: int) -> FlowRecord | None:
        def work(connection: Connection) -> FlowRecord | None:
            row = connection.execute(select(FLOWS).where(FLOWS.c.id == flow_id)).first()
            return None if row is None else _flow_record(connection, row)

        return self.database.look(work)

    def flows(
        self, limit: int, *, before_id: int | None = None, going_on: bool = False
    ) -> list[FlowRecord]:
        query = select(FLOWS).order_by(FLOWS.c.id.desc()).limit(limit)
        if before_id is not None:
            query = query.where(FLOWS.c.id < before_id)
        if going_on:
            query = query.where(FLOWS.c.succeeded_at.is_(None))

        def work(connection: Connection) -> list[FlowRecord]:
            return [_flow_record(connection, row) for row in connection.execute(query).all()]

        return self.database.look(work)

    def steps_before(self, job_id: int) -> list[StepRecord]:
        def work(connection: Connection) -> list[StepRecord]:
            where = JOBS.c.id == job_id
            row = connection.execute(select(JOBS.c.flow_id, JOBS.c.flow_place).where(where)).first()
            if row is None or row.flow_id is None:
                return []
            if row.flow_place is not None and row.flow_place < 0:
                return _members(connection, row.flow_id)
            return _parents(connection, job_id)

        return self.database.look(work)

    # --- changing them ---------------------------------------------------------------------------

    def cancel_flow(self, flow_id: int, reason: str) -> int:
        where = JobFilter(flows=(flow_id,), states=UNFINISHED_STATES)

        def work(connection: Connection) -> int:
            now = self.time.now()
            cancelled = update(FLOWS).where(FLOWS.c.id == flow_id)
            connection.execute(
                cancelled.values(cancelled_at=now, closed_at=func.coalesce(FLOWS.c.closed_at, now))
            )
            statement = requesting_cancel(where, reason, now).where(JOBS.c.flow_place >= 0)
            return connection.execute(statement).rowcount

        number = self.database.write(work)
        self._path.flows.advance(flow_id, ())
        return number

    def retry_flow(self, flow_id: int) -> int:
        def work(connection: Connection) -> tuple[int, Sequence[int]]:
            ended = select(JOBS.c.id).where(
                JOBS.c.flow_id == flow_id,
                JOBS.c.flow_place >= 0,
                is_in(JOBS.c.state, JobState.FAILED, JobState.CANCELLED),
            )
            ids = connection.execute(ended.with_for_update()).scalars().all()
            if not ids:
                return 0, ()
            connection.execute(update(FLOWS).where(FLOWS.c.id == flow_id).values(cancelled_at=None))
            unknown = update(EDGES).where(EDGES.c.flow_id == flow_id, EDGES.c.parent_id.in_(ids))
            connection.execute(unknown.values(outcome=None))
            where = JobFilter(ids=tuple(ids))
            statement = retrying(where, self.time.now()).values(state=state_after_retry())
            number = connection.execute(statement).rowcount
            before = select(EDGES.c.parent_id).where(EDGES.c.child_id.in_(ids)).distinct()
            not_retried = before.where(EDGES.c.outcome.is_not(None))
            return number, connection.execute(not_retried).scalars().all()

        number, not_retried = self.database.write(work)
        self.announcer.announce(LOOK_ANYWHERE if number else None)
        if not_retried:  # some are gone, and what waits for them is cancelled once more
            self._path.flows.advance(flow_id, not_retried)
        return number

    def prune_flows(self, age: timedelta, limit: int) -> int:
        unfinished = exists().where(
            JOBS.c.flow_id == FLOWS.c.id, HAS_NOT_SUCCEEDED, JOBS.c.finished_at.is_(None)
        )
        old = select(FLOWS.c.id).where(FLOWS.c.finished_at <= self.time.later(-age), ~unfinished)
        old = old.order_by(FLOWS.c.finished_at, FLOWS.c.id).limit(limit)
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0

        def work(connection: Connection) -> int:
            ids = connection.execute(old.with_for_update(skip_locked=True)).scalars().all()
            connection.execute(delete(EDGES).where(EDGES.c.flow_id.in_(ids)))
            return connection.execute(delete(FLOWS).where(FLOWS.c.id.in_(ids))).rowcount

        return self.database.write(work)


def _following(flow: NewFlow) -> list[tuple[int, NewJob]]:
    found = ((PLACE_ON_SUCCESS, flow.on_success), (PLACE_ON_FINISH, flow.on_finish))
    return [(place, job) for place, job in found if job is not None]


def _refuse_duplicates(stored: Sequence[StoredJob]) -> None:
    for job in stored:
        if job.is_duplicate:
            raise InvalidArguments(
                f"a flow cannot have a job of {job.handler} that is on its way already, as job "
                f"{job.id}; nothing was stored. Wait for that one, or give the step other arguments"
            )


def _wakeup_for(jobs: Sequence[StoredJob]) -> Wakeup | None:
    queues = frozenset(job.queue for job in jobs if job.state is not JobState.BLOCKED)
    return Wakeup(queues=queues, gated=True) if queues else None


def _flow_record(connection: Connection, row: Any) -> FlowRecord:
    some = select(JOBS.c.state).where(JOBS.c.flow_id == row.id, JOBS.c.flow_place >= 0)
    counted = some.limit(MOST_COUNTED + 1).subquery()
    query = select(counted.c.state, func.count()).group_by(counted.c.state)
    numbers: Mapping[str, int] = dict(connection.execute(query).all())
    return FlowRecord(
        id=row.id,
        kind=FlowKind(row.kind) if row.kind in list(FlowKind) else FlowKind.FLOW,
        name=name_or_none(row.name),
        created_at=to_utc(row.created_at),
        jobs={state: numbers[state] for state in JobState if state in numbers},
        more=sum(numbers.values()) > MOST_COUNTED,
        **{
            name: None if getattr(row, name) is None else to_utc(getattr(row, name))
            for name in ("closed_at", "finished_at", "succeeded_at", "cancelled_at")
        },
    )


def _parents(connection: Connection, job_id: int) -> list[StepRecord]:
    query = (
        select(
            *(EDGES.c.parent_id, EDGES.c.runs_anyway, JOBS.c.handler, JOBS.c.state),
            cast(JOBS.c.result, Text).label("result"),
        )
        .select_from(EDGES.outerjoin(JOBS, JOBS.c.id == EDGES.c.parent_id))
        .where(EDGES.c.child_id == job_id)
        .order_by(JOBS.c.flow_place, EDGES.c.parent_id)
    )
    return [
        _step_record(row.parent_id, row, runs_anyway=bool(row.runs_anyway))
        for row in connection.execute(query)
    ]


def _members(connection: Connection, flow_id: int) -> list[StepRecord]:
    query = (
        select(
            *(JOBS.c.id, JOBS.c.handler, JOBS.c.state),
            cast(JOBS.c.result, Text).label("result"),
        )
        .where(JOBS.c.flow_id == flow_id, JOBS.c.flow_place >= 0)
        .order_by(JOBS.c.flow_place, JOBS.c.id)
    )
    return [_step_record(row.id, row) for row in connection.execute(query)]


def _step_record(job_id: int, row: Any, *, runs_anyway: bool = False) -> StepRecord:
    if row.state is None:
        return StepRecord(job_id, None, None, None, runs_anyway)
    result = decoded(row.result)
    return StepRecord(job_id, to_name(row.handler), JobState(row.state), result, runs_anyway)
