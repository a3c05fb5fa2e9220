"""The claim of jobs that wait at gates, in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam

from jobqueue.adapters.gate_room import Candidate, GateRoom
from jobqueue.adapters.sql.gated_claims import GatedClaims, candidate_of
from jobqueue.adapters.sql.gated_lines import Head
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.tables import UtcDateTime
from jobqueue.records import Claim

# The locks are given back with the transaction, when what it has stored can be seen. So whoever has
# one next counts all that was taken before. A statement sees what was stored before it begins:
# those that count come after this one.
LOCK = Named("""
SELECT gate FROM json_array_elements_text(CAST(:gates AS json)) AS wanted (gate)
WHERE pg_try_advisory_xact_lock(hashtextextended('jobqueue gate ' || gate, 0))
""")

# One probe of the index for each head.
CANDIDATES = """
SELECT head.place, job.* FROM (
    SELECT (each ->> 0)::int AS place, each ->> 1 AS queue, each ->> 2 AS line,
           (each ->> 3)::int AS priority, (each ->> 4)::int AS number
    FROM json_array_elements(CAST(:heads AS json)) AS each) AS head
CROSS JOIN LATERAL (
    SELECT waiting.id, waiting.priority, waiting.run_at, waiting.max_attempts, waiting.expires_at,
           waiting.terms::text AS terms,
           octet_length(waiting.args::text) + coalesce(octet_length(waiting.meta::text), 0) AS bytes
    FROM {schema}.background_jobs AS waiting
    WHERE waiting.state = 'gated' AND waiting.queue = head.queue AND waiting.line = head.line
      AND waiting.priority = head.priority AND waiting.run_at <= :now
      AND (waiting.expires_at IS NULL OR waiting.expires_at > :now){but}
    ORDER BY waiting.run_at, waiting.id LIMIT head.number FOR UPDATE SKIP LOCKED
) AS job
"""
_NOW = bindparam("now", type_=UtcDateTime)
CANDIDATES_OF_ALL = Named(CANDIDATES.replace("{but}", ""), _NOW)
CANDIDATES_BUT = Named(
    CANDIDATES.replace("{but}", " AND waiting.handler NOT IN :passing_over"),
    _NOW,
    bindparam("passing_over", expanding=True),
)


class PostgresGatedClaims(GatedClaims):
    """The claims at the gates of a PostgreSQL database."""

    def _lock(self, connection: Connection, locks: Sequence[str]) -> set[str]:
        given = {"gates": json.dumps(locks)}
        return set(connection.execute(LOCK.on(connection), given).scalars())

    def _due_behind_heads(
        self,
        connection: Connection,
        claim: Claim,
        heads: Sequence[tuple[int, Head]],
        room: GateRoom,
        now: datetime,
    ) -> list[Candidate]:
        """All of them in one statement."""
        wanted = [
            (place, head.queue, head.line, head.priority, number)
            for place, head in heads
            if (number := room.number_for(head.terms, claim.limit)) > 0
        ]
        if not wanted:
            return []
        given = {"heads": json.dumps(wanted), "now": now}
        statement = CANDIDATES_OF_ALL
        if claim.passing_over:
            statement, given["passing_over"] = CANDIDATES_BUT, claim.passing_over
        rows = connection.execute(statement.on(connection), given)
        return [found for row in rows if (found := candidate_of(row, row.place)) is not None]
