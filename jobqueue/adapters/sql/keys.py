"""Idempotency keys: portable SQLAlchemy Core."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    select,
    update,
)

from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.sql import queries
from jobqueue.adapters.sql.announcer import wakeup_for
from jobqueue.adapters.sql.execute import executing_on
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.path import SqlPath
from jobqueue.adapters.sql.role import SqlParts, SqlRole
from jobqueue.adapters.sql.tables import (
    KEYS,
    BackgroundKey,
    UtcDateTime,
    to_utc,
)
from jobqueue.records import (
    EnqueuedOnce,
    JobFilter,
    NewJob,
    UsedKey,
)
from jobqueue.stored import StoredJob, kept_by

# A second call waits here until the first commits, and then finds the key taken. A key from further
# in the future than it would be remembered was used while the clock was ahead, and is free.
TAKE_KEY = Named(
    """
INSERT INTO {schema}.background_keys (key, job_id, fingerprint, expires_at, created_at)
VALUES (:key, 0, :fingerprint, :expires_at, :now)
ON CONFLICT (key) DO UPDATE
SET job_id = 0, fingerprint = excluded.fingerprint, expires_at = excluded.expires_at,
    created_at = excluded.created_at
WHERE background_keys.expires_at <= excluded.created_at
   OR background_keys.created_at > excluded.expires_at
""",
    bindparam("expires_at", type_=UtcDateTime),
    bindparam("now", type_=UtcDateTime),
)


class SqlKeys(SqlRole, KeysRole):
    """The idempotency keys in a SQL database, and the one job that was stored for each.

    Args:
        parts: as for every role.
        path: inserts the job.
    """

    def __init__(self, parts: SqlParts, path: SqlPath) -> None:
        super().__init__(parts)
        self._path = path

    def enqueue_once(self, key: UsedKey, job: NewJob) -> EnqueuedOnce[StoredJob]:
        made = self.database.write(lambda connection: self._enqueue_once(connection, key, job))
        if made.is_new and made.job is not None:
            self.announcer.announce_new(wakeup_for([made.job]))
        return made

    def _enqueue_once(
        self, connection: Connection, key: UsedKey, job: NewJob
    ) -> EnqueuedOnce[StoredJob]:
        now = self.time.read(connection)
        facts = {"key": key.key, "fingerprint": key.fingerprint, "now": now}
        taken = connection.execute(
            TAKE_KEY.on(connection), facts | {"expires_at": now + key.lifetime}
        )
        if not taken.rowcount:
            return self._made_before(connection, key)
        [record] = kept_by(self.adapter, self._path.insert(executing_on(connection), [job]))
        made: Any = {"job_id": record.id, "created_at": record.created_at}
        connection.execute(update(KEYS).where(KEYS.c.key == key.key).values(made))
        return EnqueuedOnce(record.id, record, True, key.fingerprint, record.created_at)

    def _made_before(self, connection: Connection, key: UsedKey) -> EnqueuedOnce[StoredJob]:
        used = connection.execute(select(KEYS).where(KEYS.c.key == key.key)).one()
        query = queries.jobs_query(JobFilter(ids=(used.job_id,)), self.time.now(), 1)
        found = kept_by(self.adapter, map(queries.job_record, connection.execute(query)))
        made_at = to_utc(used.created_at)
        return EnqueuedOnce(
            used.job_id, found[0] if found else None, False, used.fingerprint, made_at
        )

    def prune_keys(self, limit: int) -> int:
        expired = select(BackgroundKey.key).where(BackgroundKey.expires_at <= self.time.now())
        expired = expired.order_by(BackgroundKey.expires_at).limit(limit)
        if not self.database.read(lambda c: c.execute(expired.limit(1)).first()):
            return 0
        unlocked = expired.with_for_update(skip_locked=True)
        return self._execute(delete(BackgroundKey).where(BackgroundKey.key.in_(unlocked)))
