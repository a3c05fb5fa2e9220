"""Workers that end at a given point of their turn as `kill -9` ends them, each in a fresh process.

`main` is for a program of its own, without threads, that forks a worker for every point. It prints
what became of the job, a line of JSON for each.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import psycopg
from sqlalchemy import event

from jobqueue import Job
from jobqueue.adapters import connect
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.connection import PatientConnection
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.config import Settings
from jobqueue.job import registry
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import Claim, CrashedJob, JobRecord, NewWorker, Outcome, Turn
from jobqueue.worker.slots import Slots
from jobqueue.worker.worker import Worker

POINTS = (
    "before claim",
    "claim, before COMMIT",
    "after claim",
    "before the slot is taken",
    "before perform",
    "during perform",
    "after perform",
    "after the slot is free",
    "before settle",
    "settle, before COMMIT",
    "after COMMIT",
)
RECOVERIES = ("the supervisor sees it die", "its machine is gone")
SETTINGS = Settings(concurrency=1, listen=False)

_ledger = Path()
_point: str | None = None


def reached(point: str) -> None:
    """End here, at once, if it is the point."""
    if point == _point:
        os.kill(os.getpid(), signal.SIGKILL)


class Note(Job):
    """Writes down that it was performed."""

    keep_succeeded = True

    def perform(self) -> None:
        """Half of it is done when it dies in the middle."""
        with _ledger.open("a") as file:
            file.write(f"{self.context.job_id}\n")
        reached("during perform")


def main() -> None:
    """Take each point in turn, once for each way in which the death is found out."""
    global _ledger
    url, _ledger = sys.argv[1], Path(sys.argv[2]) / "ledger.txt"
    _ledger.touch()
    for recovery, point in itertools.product(RECOVERIES, POINTS):
        facts = {"point": point, "recovery": recovery, **die_and_recover(url, point, recovery)}
        print(json.dumps(facts), flush=True)


def die_and_recover(url: str, point: str, recovery: str) -> dict[str, Any]:
    """What became of a job, and of one behind it, whose worker died there."""
    with contextlib.closing(connect(url)) as adapter:
        Job.config(adapter=adapter)
        first, second = Note.perform_later(), Note.perform_later()
        slots = Slots.create(1)
        worker_id = f"worker at {point}, {recovery}"
        adapter.register_worker(NewWorker(worker_id, "w", "host", 1, None, 1, SETTINGS.lease))
    ending = in_a_fork(lambda: work_until(point, url, worker_id, slots))
    with contextlib.closing(connect(url)) as adapter:
        if recovery == RECOVERIES[0]:
            performing = [CrashedJob(e.job_id, e.token, "it died") for e in slots.performing()]
            adapter.rescue_crashed(worker_id, performing)
        else:
            rescue_after_a_lease(adapter)
    slots.close()
    recovered = in_a_fork(lambda: work_until(None, url, "another", None))
    with contextlib.closing(connect(url)) as adapter:
        rows = [what_is_left(adapter.get(job.id)) for job in (first, second)]
    performed = _ledger.read_text().split()
    times = [performed.count(str(job.id)) for job in (first, second)]
    return {
        "killed": ending == -signal.SIGKILL,
        "recovered": recovered == 0,
        "first": {**rows[0], "performed": times[0]},
        "second": {**rows[1], "performed": times[1]},
    }


def what_is_left(row: JobRecord | None) -> dict[str, Any]:
    """A row, as far as a crash changes it."""
    if row is None:
        return {"state": None}
    return {"state": row.state.value, "attempts": row.attempts, "crashes": row.crashes}


def rescue_after_a_lease(adapter: Adapter) -> None:
    """By somebody who has seen its heartbeat stand still for so long."""
    seconds = 0.0
    rescuer = Rescuer(adapter, SETTINGS.lease, monotonic=lambda: seconds)
    rescuer.rescue()
    seconds = 1000.0
    rescuer.rescue()
    assert adapter.workers() == []


def in_a_fork(work: Callable[[], Any]) -> int:
    """How a process ended that did this, minus the signal if one ended it."""
    pid = os.fork()
    if pid == 0:
        leave(work)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def leave(work: Callable[[], Any]) -> NoReturn:
    """Do it and end, without what Python does at an exit."""
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def work_until(point: str | None, url: str, worker_id: str, slots: Slots | None) -> None:
    """Work off what is due, or die on the way."""
    global _point  # noqa: PLW0603 - of this process, which is the worker's alone
    _point = point
    adapter = connect(url)
    Job.config(adapter=adapter)
    make_mortal(adapter)
    worker = Worker(
        adapter,
        registry,
        replace(SETTINGS, poll_interval=SETTINGS.poll_interval / 10),
        logging.getLogger("crashing"),
        until_idle=True,
        slots=slots,
        supervised_as=worker_id,
    )
    worker.run()


# --- the points, around what is there -------------------------------------------------------------


def make_mortal(adapter: Adapter) -> None:
    """Let the worker that uses this adapter die at its point."""
    steps = Steps(adapter)
    put_over(adapter, "turn", steps.turn)
    steps.stop_before_commits()
    publish, clear = Slots.publish, Slots.clear

    def publishing(slots: Slots, *args: Any) -> None:
        reached("before the slot is taken")
        publish(slots, *args)
        reached("before perform")

    def clearing(slots: Slots, index: int) -> None:
        reached("after perform")
        clear(slots, index)
        reached("after the slot is free")

    put_over(Slots, "publish", publishing)
    put_over(Slots, "clear", clearing)


def put_over(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Replace a method, in this process."""
    setattr(owner, name, function)


class Steps:
    """The steps of a turn: which of them the COMMIT belongs to is told by the one under way."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._turn = adapter.turn
        self._under_way: str | None = None

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        """A turn; one that settles is not also one that claims, for the points to be told apart."""
        if outcomes:
            reached("before settle")
            self._under_way = "settle"
            settled = self._turn(outcomes, None, meanwhile)
            reached("after COMMIT")
            self._under_way = None
            return settled
        if claim is not None:
            reached("before claim")
        self._under_way = "claim"
        turn = self._turn(outcomes, claim, meanwhile)
        self._under_way = None
        if turn.claimed:
            reached("after claim")
        return turn

    def stop_before_commits(self) -> None:
        """The statements have been made by then, each by itself, and nothing has been committed."""
        if not isinstance(self._adapter, PostgresAdapter):
            assert isinstance(self._adapter, SqliteAdapter)
            engine = self._adapter.database.engine
            event.listen(engine, "commit", lambda _: self._before_commit())
            return
        execute: Any = psycopg.Cursor.execute

        def executing(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            if query == b"COMMIT":
                self._before_commit()
            return execute(cursor, query, *args, **kwargs)

        put_over(psycopg.Cursor, "execute", executing)
        put_over(PatientConnection, "pipeline", lambda _: nullcontext())
        put_over(PatientConnection, "end_step", lambda *_: None)

    def _before_commit(self) -> None:
        if self._under_way is not None:
            reached(f"{self._under_way}, before COMMIT")
