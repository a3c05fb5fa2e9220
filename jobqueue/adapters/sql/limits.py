"""The limits in a SQL database, and the lines of jobs that wait at gates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from jobqueue.adapters.roles.limits import LimitsRole
from jobqueue.adapters.sql.gated_lines import (
    BEFORE_ALL_LINES,
    Head,
    gated_queues,
    heads_of,
)
from jobqueue.adapters.sql.gates import uses_of
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.queries import job_record, record_columns
from jobqueue.adapters.sql.readings import name_or_none, span
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import JOBS, LIMITS, UtcDateTime, to_name, to_utc
from jobqueue.records import (
    AfterFailure,
    DeclaredLimit,
    Gate,
    GatedLine,
    GateUse,
    JobRecord,
    JobState,
    LimitRecord,
    NewLimit,
    Wakeup,
)

MOST_COUNTED = 1_000
DECLARE = Named(
    """
INSERT INTO {schema}.background_limits (name, number, per_seconds, declared_at)
VALUES (:name, :number, :per_seconds, :now)
ON CONFLICT (name) DO UPDATE SET number = excluded.number, per_seconds = excluded.per_seconds,
    declared_at = excluded.declared_at
""",
    bindparam("now", type_=UtcDateTime),
)


class SqlLimits(SqlRole, LimitsRole):
    """The limits in a SQL database."""

    def declare_limits(self, limits: Sequence[DeclaredLimit]) -> None:
        if not limits:
            return

        def work(connection: Connection) -> None:
            now = self.time.read(connection)
            # In the order of their names, as everybody does, so that no two wait for each other.
            for limit in sorted(limits, key=lambda each: each.name):
                per = None if limit.per is None else limit.per.total_seconds()
                given = {"name": limit.name, "number": limit.number, "per_seconds": per}
                connection.execute(DECLARE.on(connection), {**given, "now": now})

        self.database.write(work)

    def limits(self) -> list[LimitRecord]:
        query = select(LIMITS).order_by(LIMITS.c.name)
        rows = self.database.read(lambda connection: connection.execute(query).all())
        return [_limit_record(row) for row in rows]

    def set_limit(self, new: NewLimit) -> bool:
        now = self.time.now()
        is_set = new.number is not None
        change = update(LIMITS).where(LIMITS.c.name == new.name)
        change = change.values(
            set_number=new.number,
            set_at=now if is_set else None,
            set_by=new.by if is_set else None,
            reason=new.reason if is_set else None,
        )
        is_there = bool(self._execute(change))
        self.announcer.announce(Wakeup(gated=True) if is_there else None)
        return is_there

    def gated_lines(self, most: int, queue: str | None = None) -> list[GatedLine]:
        def work(connection: Connection) -> list[GatedLine]:
            wanted = None if queue is None else [queue]
            heads: list[Head] = []
            for name in gated_queues(connection, wanted, with_paused=True):
                heads += heads_of(connection, name, BEFORE_ALL_LINES, most - len(heads))
                if len(heads) >= most:
                    break
            return [_line(connection, head) for head in heads]

        return self.database.look(work)

    def uses_of_gates(self, gates: Sequence[Gate]) -> list[GateUse]:
        if not gates:
            return []
        return self.database.look(lambda c: uses_of(c, gates, self.time.read(c)))

    def before_in_order(self, job: JobRecord) -> JobRecord | None:
        if job.line is None or job.terms.ordered is None:
            return None
        before = [JOBS.c.line == job.line, JOBS.c.id < job.id]
        unfinished = select(*record_columns()).where(*before, JOBS.c.finished_at.is_(None))
        failed = select(*record_columns()).where(*before, is_in(JOBS.c.state, JobState.FAILED))
        queries = [unfinished.order_by(JOBS.c.id).limit(1)]
        if job.terms.ordered is AfterFailure.STOP:
            queries.insert(0, failed.order_by(JOBS.c.id).limit(1))

        def work(connection: Connection) -> JobRecord | None:
            rows = [connection.execute(query).first() for query in queries]
            return next((job_record(row) for row in rows if row is not None), None)

        return self.database.look(work)


def _line(connection: Connection, head: Head) -> GatedLine:
    waiting = (
        select(JOBS.c.id)
        .where(
            is_in(JOBS.c.state, JobState.GATED),
            JOBS.c.queue == head.queue,
            JOBS.c.line == head.line,
            JOBS.c.priority == head.priority,
        )
        .limit(MOST_COUNTED + 1)
    )
    count = select(func.count()).select_from(waiting.subquery())
    number = connection.execute(count).scalar_one()
    return GatedLine(
        head.queue,
        head.line,
        head.priority,
        head.terms,
        head.run_at,
        min(number, MOST_COUNTED),
        more=number > MOST_COUNTED,
    )


def _limit_record(row: Any) -> LimitRecord:
    per: timedelta | None = None if row.per_seconds is None else span(row.per_seconds)
    return LimitRecord(
        name=to_name(row.name),
        declared=row.number,
        per=per,
        declared_at=to_utc(row.declared_at),
        set_number=row.set_number,
        set_at=None if row.set_at is None else to_utc(row.set_at),
        set_by=name_or_none(row.set_by),
        reason=name_or_none(row.reason),
    )
