"""The stacks of workers: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, Text, bindparam, cast, delete, select, update

from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import decoded, mapping, name_or_none, names
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import STACKS, UtcDateTime, to_name, to_utc
from jobqueue.records import LARGEST_ID, Stack, WorkerStacks

ASK = Named(
    """
INSERT INTO {schema}.background_stacks (worker_id, asked_at, asked_by) VALUES (:worker, :now, :by)
ON CONFLICT (worker_id) DO UPDATE
SET asked_at = excluded.asked_at, asked_by = excluded.asked_by, answered_at = NULL, stacks = NULL
""",
    bindparam("now", type_=UtcDateTime),
)


class SqlStacks(SqlRole, StacksRole):
    """The questions for stacks, and the answers, in a SQL database."""

    def ask_for_stacks(self, worker_id: str, by: str | None = None) -> WorkerStacks:

        def work(connection: Any) -> WorkerStacks:
            now = self.time.read(connection)
            facts = {"worker": worker_id, "now": now, "by": by}
            connection.execute(ASK.on(connection), facts)
            return WorkerStacks(worker_id, now, by)

        return self.database.write(work)

    def workers_asked_for_stacks(self, worker_ids: Collection[str]) -> set[str]:
        query = select(STACKS.c.worker_id).where(
            STACKS.c.worker_id.in_(sorted(worker_ids)), STACKS.c.answered_at.is_(None)
        )
        if not worker_ids:
            return set()
        return set(map(to_name, self.database.read(lambda c: c.execute(query).scalars().all())))

    def answer_with_stacks(self, worker_id: str, stacks: Sequence[Stack]) -> bool:
        is_asked = (STACKS.c.worker_id == worker_id) & STACKS.c.answered_at.is_(None)
        values = {"answered_at": self.time.now(), "stacks": [asdict(stack) for stack in stacks]}
        return bool(self._execute(update(STACKS).where(is_asked).values(values)))

    def stacks_of(self, worker_id: str) -> WorkerStacks | None:
        columns = [column for column in STACKS.c if column.name != "stacks"]
        text = cast(STACKS.c.stacks, Text).label("stacks")
        query = select(*columns, text).where(STACKS.c.worker_id == worker_id)
        row: Any = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _worker_stacks(row)

    def prune_stacks(self, age: timedelta, limit: int) -> int:
        old = select(STACKS.c.worker_id).where(STACKS.c.asked_at <= self.time.later(-age))
        if not self.database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        unlocked = old.limit(limit).with_for_update(skip_locked=True)
        return self._execute(delete(STACKS).where(STACKS.c.worker_id.in_(unlocked)))


def _worker_stacks(row: Row[Any]) -> WorkerStacks:
    found = decoded(row.stacks)
    return WorkerStacks(
        worker_id=to_name(row.worker_id),
        asked_at=to_utc(row.asked_at),
        asked_by=name_or_none(row.asked_by),
        answered_at=None if row.answered_at is None else to_utc(row.answered_at),
        stacks=tuple(map(_stack, found)) if isinstance(found, list) else (),
    )


def _stack(found: Any) -> Stack:
    facts = mapping(found)
    job_id, job_name, name = facts.get("job_id"), facts.get("job_name"), facts.get("name")
    return Stack(
        name=name if isinstance(name, str) else "",
        frames=names(facts.get("frames")),
        job_id=job_id if type(job_id) is int and 0 < job_id <= LARGEST_ID else None,
        job_name=job_name if isinstance(job_name, str) else None,
    )
