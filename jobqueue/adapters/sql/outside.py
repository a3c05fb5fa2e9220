"""Idempotency keys, stats and tokens: portable SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.base import SqlBase
from jobqueue.adapters.sql.tables import (
    JOBS,
    KEYS,
    STATS,
    TOKENS,
    UtcDateTime,
    to_utc,
)
from jobqueue.adapters.stored import StoredJob, kept_by
from jobqueue.outside import (
    STATS_LIFETIME,
    EnqueuedOnce,
    Stat,
    StatOfMinute,
    TokenRecord,
    UsedKey,
)
from jobqueue.records import JobFilter, JobState, NewJob

# Who comes second waits here for the first to commit, and then finds the key taken.
TAKE_KEY = text("""
INSERT INTO background_keys (key, job_id, fingerprint, expires_at, created_at)
VALUES (:key, 0, :fingerprint, :expires_at, :now)
ON CONFLICT (key) DO UPDATE
SET job_id = 0, fingerprint = excluded.fingerprint, expires_at = excluded.expires_at,
    created_at = excluded.created_at
WHERE background_keys.expires_at <= excluded.created_at
""").bindparams(bindparam("expires_at", type_=UtcDateTime), bindparam("now", type_=UtcDateTime))

# The last flush of a worker may fall into the minute of the one before.
ADD_STATS = text("""
INSERT INTO background_stats
    (minute, worker_id, handler, queue, succeeded, retried, failed, cancelled,
     run_seconds, longest_seconds, wait_seconds)
VALUES (:minute, :worker_id, :handler, :queue, :succeeded, :retried, :failed, :cancelled,
        :run_seconds, :longest_seconds, :wait_seconds)
ON CONFLICT (minute, worker_id, handler, queue) DO UPDATE
SET succeeded = background_stats.succeeded + excluded.succeeded,
    retried = background_stats.retried + excluded.retried,
    failed = background_stats.failed + excluded.failed,
    cancelled = background_stats.cancelled + excluded.cancelled,
    run_seconds = background_stats.run_seconds + excluded.run_seconds,
    wait_seconds = background_stats.wait_seconds + excluded.wait_seconds,
    longest_seconds = CASE WHEN background_stats.longest_seconds > excluded.longest_seconds
                           THEN background_stats.longest_seconds
                           ELSE excluded.longest_seconds END
""").bindparams(bindparam("minute", type_=UtcDateTime))

_STATS_KEY = (STATS.c.minute, STATS.c.worker_id, STATS.c.handler, STATS.c.queue)


class SqlKeys(SqlBase):
    """The part of an adapter that stores a job once for an idempotency key."""

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        """See `Adapter.enqueue_once`."""
        return self.database.write(lambda connection: self._enqueue_once(connection, key, job))

    def _enqueue_once(
        self, connection: Connection, key: UsedKey, job: NewJob
    ) -> EnqueuedOnce[StoredJob]:
        now = self._read_time(connection)
        facts = {"key": key.key, "fingerprint": key.fingerprint, "now": now}
        taken = connection.execute(TAKE_KEY, facts | {"expires_at": now + key.lifetime})
        if not taken.rowcount:
            return self._made_before(connection, key)
        [record] = self.enqueue([job], session=connection)
        made: Any = {"job_id": record.id, "created_at": record.created_at}
        connection.execute(update(KEYS).where(KEYS.c.key == key.key).values(made))
        return EnqueuedOnce(record.id, record, True, key.fingerprint, record.created_at)

    def _made_before(self, connection: Connection, key: UsedKey) -> EnqueuedOnce[StoredJob]:
        used = connection.execute(select(KEYS).where(KEYS.c.key == key.key)).one()
        query = reads.jobs_query(JobFilter(ids=(used.job_id,)), self._now(), 1)
        found = kept_by(self, map(reads.job_record, connection.execute(query)))
        made_at = to_utc(used.created_at)
        return EnqueuedOnce(
            used.job_id, found[0] if found else None, False, used.fingerprint, made_at
        )

    def change_args(self, job_id: int, change: Callable[[StoredJob], str]) -> bool:
        """See `Adapter.change_args`."""

        def work(connection: Connection) -> bool:
            where = JobFilter(ids=(job_id,), states=(JobState.READY,))
            query = reads.jobs_query(where, self._now(), 1).with_for_update()
            row = connection.execute(query).first()
            if row is None:
                return False
            args = change(reads.job_record(row))
            changed = update(JOBS).where(JOBS.c.id == job_id)
            connection.execute(changed.values(args=reads.decoded(args), updated_at=self._now()))
            return True

        return self.database.write(work)


class SqlStats(SqlBase):
    """The part of an adapter that keeps what became of attempts."""

    def add_stats(self, worker_id: str, stats: Sequence[Stat]) -> None:
        """See `Adapter.add_stats`."""
        if not stats:
            return

        def work(connection: Connection) -> None:
            minute = self._read_time(connection).replace(second=0, microsecond=0)
            rows = [_stat_row(stat) | {"minute": minute, "worker_id": worker_id} for stat in stats]
            connection.execute(ADD_STATS, rows)

        self.database.write(work)

    def stats(self, period: timedelta) -> list[StatOfMinute]:
        """See `Adapter.stats`."""
        summed = [
            func.sum(STATS.c[name]).label(name)
            for name in ("succeeded", "retried", "failed", "cancelled", "run_seconds")
        ]
        summed.append(func.max(STATS.c.longest_seconds).label("longest_seconds"))
        summed.append(func.sum(STATS.c.wait_seconds).label("wait_seconds"))
        kinds = (STATS.c.minute, STATS.c.handler, STATS.c.queue)
        query = select(*kinds, *summed).where(STATS.c.minute > self._later(-period))
        query = query.group_by(*kinds).order_by(*kinds)
        rows = self.database.look(lambda connection: connection.execute(query).all())
        return [StatOfMinute(to_utc(row.minute), _stat(row)) for row in rows]

    def prune_stats(self, limit: int) -> int:
        """See `Adapter.prune_stats`."""
        too_old = select(*_STATS_KEY).where(STATS.c.minute <= self._later(-STATS_LIFETIME))
        too_old = too_old.order_by(*_STATS_KEY).limit(limit)
        if not self.database.read(lambda c: c.execute(too_old.limit(1)).first()):
            return 0
        return self._execute(delete(STATS).where(tuple_(*_STATS_KEY).in_(too_old)))


class SqlTokens(SqlBase):
    """The part of an adapter that keeps bearer tokens."""

    def store_token(self, token: TokenRecord) -> None:
        """See `Adapter.store_token`."""
        values = {name: getattr(token, name) for name in TOKENS.c.keys()}  # noqa: SIM118 - no dict
        self._execute(insert(TOKENS).values(values | {"scopes": list(token.scopes)}))

    def find_token(self, token_id: str) -> TokenRecord | None:
        """See `Adapter.find_token`."""
        query = select(TOKENS).where(TOKENS.c.id == token_id)
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _token(row)

    def tokens(self) -> list[TokenRecord]:
        """See `Adapter.tokens`."""
        query = select(TOKENS).order_by(TOKENS.c.created_at, TOKENS.c.id)
        return [_token(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def revoke_token(self, token_id: str) -> bool:
        """See `Adapter.revoke_token`."""
        revoke = update(TOKENS).where(TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None))
        return bool(self._execute(revoke.values(revoked_at=self._now())))


def _stat_row(stat: Stat) -> dict[str, Any]:
    return {
        "handler": stat.handler,
        "queue": stat.queue,
        "succeeded": stat.succeeded,
        "retried": stat.retried,
        "failed": stat.failed,
        "cancelled": stat.cancelled,
        "run_seconds": stat.run_time.total_seconds(),
        "longest_seconds": stat.longest.total_seconds(),
        "wait_seconds": stat.wait_time.total_seconds(),
    }


def _stat(row: Row[Any]) -> Stat:
    return Stat(
        handler=row.handler,
        queue=row.queue,
        succeeded=row.succeeded,
        retried=row.retried,
        failed=row.failed,
        cancelled=row.cancelled,
        run_time=timedelta(seconds=row.run_seconds),
        longest=timedelta(seconds=row.longest_seconds),
        wait_time=timedelta(seconds=row.wait_seconds),
    )


def _token(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        secret_hash=row.secret_hash,
        created_at=to_utc(row.created_at),
        expires_at=row.expires_at and to_utc(row.expires_at),
        revoked_at=row.revoked_at and to_utc(row.revoked_at),
    )
