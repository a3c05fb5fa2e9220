"""The limits on how long the server waits in our transactions: for a lock, for the next statement.

Each limit holds until the end of its transaction. So nothing is left on a connection that a pooler
gives to somebody else next.
"""

from __future__ import annotations

from jobqueue.adapters.sql.database import ANSWER_SECONDS

# Below the server's own `deadlock_timeout`, a second unless somebody has changed it.
LONGEST_WAIT_MS = 400
# At the end of a job's own transaction nobody waits but the job, whose work would be undone.
LONGEST_WAIT_OF_JOB_MS = 20_000
# Should the COMMIT never come (the process is frozen, its network gone), the server ends the
# transaction. Until then its rows are locked.
COMMIT_WITHIN_MS = 10_000
# In the middle of what is sent at one go, the server does not take us for silent. From version 17
# on it can limit all of it. By then nobody waits for the answer any more.
LONGEST_TURN_MS = round(ANSWER_SECONDS * 1000) + COMMIT_WITHIN_MS

_WAIT = "set_config('lock_timeout', %(longest_wait_ms)s::text, true)"
_SILENCE = f"set_config('idle_in_transaction_session_timeout', '{COMMIT_WITHIN_MS}', true)"
_TURN = f"""CASE current_setting('transaction_timeout', true) WHEN '0'
            THEN set_config('transaction_timeout', '{LONGEST_TURN_MS}', true) ELSE '' END"""

LIMIT_WAIT = f"SELECT {_WAIT}"
LIMIT_SILENCE = f"SELECT {_SILENCE}"

# Conditions that are always true. They are evaluated once, before the first row is touched, and
# save a statement.
WITHIN_TURN = f"(SELECT {_SILENCE} || {_TURN}) IS NOT NULL"
WAITING_WITHIN_TURN = f"(SELECT {_WAIT} || {_SILENCE} || {_TURN}) IS NOT NULL"
WAITING_WITHIN_TRANSACTION = f"(SELECT {_WAIT} || {_SILENCE}) IS NOT NULL"
