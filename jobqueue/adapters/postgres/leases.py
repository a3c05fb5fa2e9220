"""Workers and their leases in PostgreSQL, where somebody may have locked their rows."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Insert, select, update
from sqlalchemy.dialects.postgresql import insert

from jobqueue.adapters.sql.database import BEAT_SECONDS
from jobqueue.adapters.sql.leases import SqlLeases
from jobqueue.adapters.sql.tables import WORKERS


class PostgresLeases(SqlLeases):
    """The workers in PostgreSQL, and the rescue of the jobs of those that are gone."""

    def _insertion(self) -> Insert:
        return insert(WORKERS).on_conflict_do_nothing()

    def beat(self, worker_ids: Collection[str]) -> set[str]:
        these = WORKERS.c.id.in_(sorted(worker_ids))
        free = select(WORKERS.c.id).where(these)
        free_ids = free.with_for_update(skip_locked=True, key_share=True).cte("free")
        beaten = (
            update(WORKERS)
            .where(WORKERS.c.id.in_(select(free_ids.c.id)))
            .values(heartbeat_at=self.time.now())
            .cte("beaten")
        )
        # Those that are locked are registered, too.
        statement = select(WORKERS.c.id).where(these).add_cte(beaten)
        known = self._beats.write_in_one_statement(
            lambda c: c.execute(statement).scalars().all(), answer_seconds=BEAT_SECONDS
        )
        return set(known)
