"""A process that is frozen in the middle of a transaction: `python -m tests.outages.freezing`.

It stops itself by SIGSTOP when the server has done a statement, before it sends anything more. When
it goes on, it prints how the call ended.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg

from jobqueue.adapters.postgres import limits

SECOND_MS = 1000
"""The server waits so long for the end of the transaction, for the test not to take ten seconds."""

for name, text in list(vars(limits).items()):
    for usual in (limits.COMMIT_WITHIN_MS, limits.LONGEST_TURN_MS):
        if isinstance(text, str):
            setattr(limits, name, getattr(limits, name).replace(f"'{usual}'", f"'{SECOND_MS}'"))

# These are made of the limits.
from jobqueue.adapters.postgres.adapter import PostgresAdapter  # noqa: E402
from jobqueue.adapters.postgres.connection import PatientConnection  # noqa: E402
from jobqueue.records import Claim, ClaimedJob, NewJob, NewWorker, Succeeded  # noqa: E402

FROZEN = "frozen"
WITH_SCHEMA = re.compile(r"\S+\.background_")
WORKER = NewWorker(FROZEN, "worker", "host", 1, None, 2, timedelta(seconds=30))

Call = Callable[[PostgresAdapter, list[ClaimedJob]], object]

# What is frozen, and after which of its statements.
CALLS: dict[str, tuple[str, Call]] = {
    "beat": ("UPDATE background_workers", lambda adapter, _: adapter.beat([FROZEN])),
    "register": (
        "INSERT INTO background_workers",
        lambda adapter, _: adapter.register_worker(WORKER),
    ),
    "settle": (
        "DELETE FROM background_jobs",
        lambda adapter, jobs: adapter.turn([Succeeded(jobs[0])], None),
    ),
    "claim": (
        "SET state = 'running'",
        lambda adapter, _: adapter.turn([], Claim(FROZEN, 2, 1, 1)),
    ),
    "rescue": (
        "UPDATE background_jobs",
        lambda adapter, _: adapter.rescue_orphans("gone", "it is gone"),
    ),
}


def main() -> None:
    """Prepare what is needed, freeze, and say how it ended."""
    url, name, how = sys.argv[1:]
    after, call = CALLS[name]
    adapter = PostgresAdapter(url)
    if name != "register":
        adapter.register_worker(WORKER)
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * 3)
    holder = "gone" if name == "rescue" else FROZEN
    jobs = adapter.claim(Claim(holder, 1, 1, 1))
    adapter.beat([])
    freeze_after(after, as_soon_as_sent=how == "as soon as sent")
    try:
        call(adapter, jobs)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        print(type(error).__name__)
    else:
        print("done")


def freeze_after(statement: str, *, as_soon_as_sent: bool) -> None:
    """Stop this process after a statement, once.

    In a pipeline that is when the server knows that it has to wait, or a moment before.
    """
    execute: Any = psycopg.Cursor.execute
    end_step: Any = PatientConnection.end_step
    times = itertools.count()

    def freeze() -> None:
        if next(times) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)

    def executing(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        text = WITH_SCHEMA.sub("background_", query.decode() if isinstance(query, bytes) else query)
        result = execute(cursor, query, *args, **kwargs)
        if statement in text and (as_soon_as_sent or not cursor.connection.info.pipeline_status):
            freeze()
        return result

    def ending_step(*args: Any) -> Any:
        end_step(*args)
        freeze()

    vars(psycopg)["Cursor"].execute = executing
    setattr(PatientConnection, "end_step", ending_step)  # noqa: B010


if __name__ == "__main__":
    main()
