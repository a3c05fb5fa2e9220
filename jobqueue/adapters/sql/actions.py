"""The actions of people, and bulk changes of jobs: portable SQLAlchemy Core."""

from __future__ import annotations

from datetime import timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, delete, insert, select, update

from jobqueue.adapters.roles.actions import ActionsRole, ChangedBatch
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.attempts import forget_attempts
from jobqueue.adapters.sql.control import deletable, requesting_cancel, retrying
from jobqueue.adapters.sql.readings import decoded, mapping, name_or_none, whole
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import ACTIONS, JOBS, to_name, to_utc
from jobqueue.records import (
    BULK_KINDS,
    LARGEST_ID,
    RUN_LEASE,
    UNFINISHED_STATES,
    ActionBatch,
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
    JobState,
    NewAction,
)
from jobqueue.stored import kept_by

IS_RUNNING: ColumnElement[bool] = ACTIONS.c.ended_at.is_(None)
COLUMNS = (
    *(column for column in ACTIONS.c if column.name != "target"),
    cast(ACTIONS.c.target, Text).label("target"),
)
RETRIES = {ActionKind.RETRY.value, ActionKind.CANARY.value}
ON_ITS_WAY = {"state": ActionState.RUNNING.value, "ended_at": None}
"""The columns of an action that is not at its end."""


class SqlActions(SqlRole, ActionsRole):
    """The actions of people, and bulk changes of jobs, in a SQL database."""

    def note_action(self, action: NewAction) -> ActionRecord:
        now = self.time.now()
        return self._insert(action, number=action.number, done_at=now, ended_at=now)

    def begin_action(
        self, action: NewAction, run_by: str | None = None, lease: timedelta = RUN_LEASE
    ) -> ActionRecord:
        run_until = None if run_by is None else self.time.later(lease)
        values = {"cursor": action.before_id, "run_by": run_by, "run_until": run_until}
        return self._insert(action, number=0, done_at=self.time.now(), **ON_ITS_WAY, **values)

    def _insert(self, action: NewAction, **values: Any) -> ActionRecord:
        said = {
            "done_by": action.by,
            "what": action.kind.value,
            "target": dict(action.target),
            "reason": action.reason,
        }
        statement = insert(ACTIONS).values(said | values).returning(*COLUMNS)
        row = self.database.write(lambda connection: connection.execute(statement).one())
        return _action_record(row)

    def take_over_action(
        self, run_by: str, lease: timedelta = RUN_LEASE, action_id: int | None = None
    ) -> ActionRecord | None:
        is_free = (ACTIONS.c.run_until <= self.time.now()) | ACTIONS.c.run_until.is_(None)
        kinds = [kind.value for kind in BULK_KINDS]
        free = select(ACTIONS.c.id).where(IS_RUNNING, is_free, ACTIONS.c.what.in_(kinds))
        if action_id is not None:
            free = free.where(ACTIONS.c.id == action_id)
        free = free.order_by(ACTIONS.c.id).limit(1)
        if self.database.read(lambda connection: connection.execute(free).first()) is None:
            return None
        unlocked = free.with_for_update(skip_locked=True).scalar_subquery()
        statement = (
            update(ACTIONS)
            .where(ACTIONS.c.id == unlocked)
            .values(run_by=run_by, run_until=self.time.later(lease))
            .returning(*COLUMNS)
        )
        row = self.database.write(lambda connection: connection.execute(statement).first())
        return None if row is None else _action_record(row)

    def change_batch(
        self,
        action: ActionRecord,
        batch: ActionBatch,
        lease: timedelta = RUN_LEASE,
        *,
        returning: bool = False,
    ) -> ChangedBatch | None:
        now, is_last = self.time.now(), batch.before_id is None
        state = ActionState.STOPPED if batch.stops else ActionState.DONE
        ended: dict[str, Any] = {}
        if is_last or batch.stops:
            ended |= {"state": state.value, "ended_at": now}
        if batch.target is not None:
            ended["target"] = dict(batch.target)

        def work(connection: Connection) -> ChangedBatch | None:
            held = select(ACTIONS.c.id).where(*_held(action)).with_for_update()
            if connection.execute(held).first() is None:
                return None
            number, rows = self._change(connection, action, batch, returning)
            go_on: dict[str, Any] = {
                "cursor": batch.before_id,
                "number": ACTIONS.c.number + number,
                "run_until": self.time.later(lease),
            }
            noted = update(ACTIONS).where(ACTIONS.c.id == action.id).values(go_on | ended)
            row = connection.execute(noted.returning(*COLUMNS)).one()
            jobs = kept_by(self.adapter, map(queries.job_record, rows))
            return ChangedBatch(_action_record(row), number, tuple(jobs))

        changed = self.database.write_unless_locked(work)
        if action.kind in RETRIES:
            self._announce_if(changed is not None and changed.number)
        return changed

    def _change(
        self, connection: Connection, action: ActionRecord, batch: ActionBatch, returning: bool
    ) -> tuple[int, list[Any]]:
        """Change the jobs of a batch; return how many, and their rows if they are wanted."""
        now, where = self.time.now(), batch.where
        if not where.ids:
            return 0, []
        statement: Any
        if action.kind in RETRIES:
            due = self.time.later(batch.delay) if batch.delay else None
            statement = retrying(where, now, due)
        elif action.kind == ActionKind.CANCEL:
            is_unfinished = is_in(JOBS.c.state, *UNFINISHED_STATES)
            reason = action.reason or f"cancelled by {action.done_by}"
            statement = requesting_cancel(where, reason, now).where(is_unfinished)
        else:
            include_running = JobState.RUNNING in (where.states or ())
            statement = delete(JOBS).where(*deletable(where, now, include_running))
        columns = queries.record_columns() if returning else (JOBS.c.id,)
        rows = connection.execute(statement.returning(*columns)).all()
        if action.kind == ActionKind.DELETE:
            forget_attempts(connection, [row.id for row in rows])
        return len(rows), sorted(rows, key=attrgetter("id")) if returning else []

    def end_action(self, action: ActionRecord) -> bool:
        values = {"state": ActionState.DONE.value, "ended_at": self.time.now()}
        return bool(self._execute(update(ACTIONS).where(*_held(action)).values(values)))

    def stop_action(self, action_id: int) -> bool:
        is_it = (ACTIONS.c.id == action_id) & IS_RUNNING
        values = {"state": ActionState.STOPPED.value, "ended_at": self.time.now()}
        return queries.can_be_id(action_id) and bool(
            self._execute(update(ACTIONS).where(is_it).values(values))
        )

    def resume_action(self, action_id: int) -> bool:
        is_it = (ACTIONS.c.id == action_id) & (ACTIONS.c.state == ActionState.STOPPED.value)
        values = ON_ITS_WAY | {"run_by": None, "run_until": None}
        return queries.can_be_id(action_id) and bool(
            self._execute(update(ACTIONS).where(is_it).values(values))
        )

    def action(self, action_id: int) -> ActionRecord | None:
        query = select(*COLUMNS).where(ACTIONS.c.id == action_id)
        if not queries.can_be_id(action_id):
            return None
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _action_record(row)

    def actions(self, where: ActionFilter, limit: int) -> list[ActionRecord]:
        query = select(*COLUMNS).where(*_conditions(where))
        query = query.order_by(ACTIONS.c.id.desc()).limit(limit)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return list(map(_action_record, rows))

    def prune_actions(self, keep: timedelta, limit: int) -> int:
        old = select(ACTIONS.c.id).where(ACTIONS.c.ended_at <= self.time.later(-keep))
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        oldest = old.order_by(ACTIONS.c.ended_at, ACTIONS.c.id).limit(limit)
        unlocked = oldest.with_for_update(skip_locked=True)
        return self._execute(delete(ACTIONS).where(ACTIONS.c.id.in_(unlocked)))


def _held(action: ActionRecord) -> tuple[ColumnElement[bool], ...]:
    """The conditions that an action runs, and belongs to who ran it when it was read."""
    return (ACTIONS.c.id == action.id, IS_RUNNING, ACTIONS.c.run_by == action.run_by)


def _conditions(where: ActionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if where.kinds is not None:
        conditions.append(ACTIONS.c.what.in_([kind.value for kind in where.kinds]))
    if where.states is not None:
        conditions.append(ACTIONS.c.state.in_([state.value for state in where.states]))
    if where.by is not None:
        conditions.append(ACTIONS.c.done_by == where.by)
    if where.before_id is not None:
        conditions.append(ACTIONS.c.id < min(where.before_id, LARGEST_ID))
    return conditions


def _action_record(row: Row[Any]) -> ActionRecord:
    state = to_name(row.state)
    return ActionRecord(
        id=row.id,
        done_at=to_utc(row.done_at),
        done_by=to_name(row.done_by),
        kind=to_name(row.what),
        target=mapping(decoded(row.target)),
        reason=name_or_none(row.reason),
        number=whole(row.number, 0, LARGEST_ID),
        # A later release may have other states; none of them runs here.
        state=ActionState(state) if state in set(ActionState) else ActionState.STOPPED,
        before_id=None if row.cursor is None else whole(row.cursor, 0, LARGEST_ID),
        run_by=name_or_none(row.run_by),
        run_until=None if row.run_until is None else to_utc(row.run_until),
        ended_at=None if row.ended_at is None else to_utc(row.ended_at),
    )
