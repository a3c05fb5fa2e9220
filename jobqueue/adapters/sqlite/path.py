"""The path of a job in SQLite: enqueue, claim, settle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from jobqueue.adapters.settlement import (
    NOTHING_APPLIED,
    Applied,
    Pair,
    Settlement,
    Settlements,
    ids_by_token,
)
from jobqueue.adapters.sql.enqueued import Enqueued, record_of_new
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.adapters.sql.path import Done, Meanwhile, SqlPath, in_order_of_claim, seconds
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.tables import to_text, to_utc
from jobqueue.adapters.sqlite.database import readable
from jobqueue.adapters.sqlite.statements import (
    ARGS_PLACE,
    BUT,
    CHANGE,
    ENQUEUE,
    FIND_IN_ALL_QUEUES,
    FIND_IN_QUEUES,
    HELD,
    HELD_UNDER,
    INSERT,
    MARK_AS_RUNNING,
    PAUSED,
    READY_QUEUES,
    REMOVE,
    REMOVE_SOME,
)
from jobqueue.adapters.sqlite.time import SqliteTime
from jobqueue.records import FINISHED_STATES, Claim, ClaimedJob, JobState, NewJob
from jobqueue.stored import StoredJob

FEWEST_ROW_BY_ROW = 1000


class SqlitePath(SqlPath):
    """The path of jobs in a SQLite file: they are enqueued, claimed and settled."""

    time: SqliteTime

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts)
        now, later = self.time.now_sql, self.time.later_sql
        self._enqueue_sql = ENQUEUE.format(now=now, later=later("(value ->> 6)"))
        self._change_sql = CHANGE.format(now=now, later=later(":delay"))
        self._find_in_all_sql, self._find_in_one_sql, self._find_in_some_sql = _finding(but="")
        self._find_but = _finding(but=BUT)

    # --- enqueueing ------------------------------------------------------------------------------

    def _insert_and_commit(self, jobs: Sequence[NewJob]) -> tuple[Sequence[StoredJob], bool]:
        return self.database.write(lambda c: self.insert(executing_on(c), jobs)), False

    def insert(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if len(jobs) >= FEWEST_ROW_BY_ROW:
            return self._enqueue_row_by_row(execute, jobs)
        batch = [
            (
                job.handler,
                job.args,
                job.queue,
                job.priority,
                job.max_attempts,
                to_text(job.run_at) if job.run_at else None,
                seconds(job.delay),
            )
            for job in jobs
        ]
        values = {"jobs": json.dumps(batch), **self.time.values()}
        rows = sorted(tuple(row) for row in execute(self._enqueue_sql, values))
        return [record_of_new(job, *row) for job, row in zip(jobs, rows, strict=True)]

    def _enqueue_row_by_row(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        """Insert jobs one by one, which is faster for many than reading them from one JSON text.

        Nobody else can write meanwhile, so the ids are consecutive.
        """
        ((now_text,),) = execute(f"SELECT {self.time.now_sql}", self.time.values())
        now = to_utc(now_text)
        run_ats = [job.due_at(now) for job in jobs]
        execute(
            INSERT,
            [
                (
                    *(job.handler, job.args, job.queue, job.priority, job.max_attempts),
                    *(now_text if run_at is now else to_text(run_at), now_text, now_text),
                )
                for job, run_at in zip(jobs, run_ats, strict=True)
            ],
        )
        ((last,),) = execute("SELECT last_insert_rowid()", ())
        return Enqueued(self.adapter, jobs, range(last - len(jobs) + 1, last + 1), now)

    # --- claiming and settling -------------------------------------------------------------------

    def _settle_and_claim(
        self,
        settlements: Settlements,
        claim: Claim | None,
        given_back: Sequence[ClaimedJob],  # noqa: ARG002 - the claim finds them
        meanwhile: Meanwhile,
    ) -> Done:
        def work(connection: Connection) -> Done:
            settled = self.settle_within(connection, settlements)
            return Done(settled, self._claim(connection, claim) if claim is not None else [])

        # The database works on this very thread.
        meanwhile()
        return self.database.write(work)

    def _claim(self, connection: Connection, claim: Claim) -> list[ClaimedJob]:
        queues = self._queues_to_claim_from(connection, claim)
        now = self._now_text(connection)
        rows = self._find_due(connection, claim, queues, now)
        if rows:
            ids = json.dumps([row[0] for row in rows])
            connection.exec_driver_sql(
                MARK_AS_RUNNING,
                {"ids": ids, "worker_id": claim.worker_id, "token": claim.token, "now": now},
            )
        return in_order_of_claim(claimed_jobs(claim.token, now, rows))

    def _find_due(
        self, connection: Connection, claim: Claim, queues: Sequence[str] | None, now: str
    ) -> list[Any]:
        """The rows to claim, with the values that they will have."""
        values: dict[str, Any] = {
            "limit": claim.limit,
            "free_slots": claim.free_slots,
            "most_bytes": claim.most_bytes,
            "now": now,
        }
        in_all, in_one, in_some = (
            self._find_in_all_sql,
            self._find_in_one_sql,
            self._find_in_some_sql,
        )
        if claim.passing_over:
            in_all, in_one, in_some = self._find_but
            values["passing_over"] = json.dumps(claim.passing_over)
        sql = in_all
        if queues is not None and len(queues) == 1:
            sql, values["queue"] = in_one, queues[0]
        elif queues is not None:
            sql, values["queues"] = in_some, json.dumps(queues)
        return _decoded(connection.exec_driver_sql(sql, values).scalar_one())

    def _now_text(self, connection: Connection) -> str:
        """The current time, read once: SQLite would compute it for every row of a statement."""
        select_now = f"SELECT {self.time.now_sql}"
        return str(connection.exec_driver_sql(select_now, self.time.values()).scalar_one())

    def _queues_to_claim_from(self, connection: Connection, claim: Claim) -> list[str] | None:
        """The queues to claim from; None for all. Nobody else can write meanwhile."""
        paused = set(connection.exec_driver_sql(PAUSED).scalars())
        if claim.queues is None and not paused:
            return None
        wanted: Iterable[str] | None = claim.queues
        if wanted is None:
            wanted = connection.exec_driver_sql(READY_QUEUES).scalars()
        return [queue for queue in dict.fromkeys(wanted) if queue not in paused]

    def _remove(self, connection: Connection, pairs: Sequence[Pair]) -> Sequence[Pair]:
        removed: list[Any] = []
        for token, ids in ids_by_token(pairs).items():
            values = {"token": token, "ids": json.dumps(ids)}
            held = connection.exec_driver_sql(HELD_UNDER, values).scalar_one()
            if held == len(ids):
                connection.exec_driver_sql(REMOVE, values)
                removed += [(job_id, token) for job_id in ids]
            elif held:
                removed += connection.exec_driver_sql(REMOVE_SOME, values).all()
        return removed

    def _change(self, connection: Connection, changes: Sequence[Settlement]) -> Applied:
        if not changes:
            return NOTHING_APPLIED
        pairs = json.dumps([(change.id, change.token) for change in changes])
        rows = connection.exec_driver_sql(HELD, {"pairs": pairs}).all()
        held = {(job_id, token): reason for job_id, token, reason in rows}
        mine = [change for change in changes if (change.id, change.token) in held]
        if mine:
            connection.exec_driver_sql(self._change_sql, [self._columns(change) for change in mine])
        called_off = [(change.id, change.token) for change in mine if change.heeds_cancel]
        reasons = {pair: held[pair] for pair in called_off if held[pair] is not None}
        return Applied(list(held), reasons)

    def _columns(self, settlement: Settlement) -> dict[str, Any]:
        return {
            "id": settlement.id,
            "state": settlement.state.value,
            "refund": settlement.refund,
            "delay": seconds(settlement.delay),
            "error": settlement.error,
            "keeps_error": settlement.keeps_error,
            "progress": settlement.progress,
            "result": settlement.result,
            "failed": settlement.state is JobState.FAILED,
            "finished": settlement.state in FINISHED_STATES,
            **self.time.values(),
        }

    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        removed = Applied(self._remove(connection, settlements.removals), {})
        return removed.plus(self._change(connection, settlements.changes))


def _decoded(rows: bytes) -> list[Any]:
    """The rows in JSON that a claim has found. A row that is no UTF-8 does not spoil the others.

    Its arguments have `\\xff` in them, and are refused when they are read.
    """
    try:
        found: list[Any] = json.loads(rows)
    except UnicodeDecodeError:
        found = json.loads(rows.decode(errors="surrogateescape"))
        for row in found:
            row[ARGS_PLACE] = readable(row[ARGS_PLACE].encode(errors="surrogateescape"))
    return found


def _finding(but: str) -> tuple[str, str, str]:
    """The statements that find jobs to claim: in all queues, in one, and in several."""
    return (
        FIND_IN_ALL_QUEUES.format(now=":now", in_queue="", but=but),
        FIND_IN_ALL_QUEUES.format(now=":now", in_queue="AND queue = :queue", but=but),
        FIND_IN_QUEUES.format(now=":now", but=but),
    )


def claimed_jobs(token: int, now: str, rows: Sequence[Any]) -> list[ClaimedJob]:
    """The jobs in the rows of a claim, all of them locked at the same moment."""
    locked_at, read = to_utc(now), datetime.fromisoformat
    try:
        return [
            ClaimedJob(
                *(a, token, b, c, d, e, f, g, h),
                *(read(run_at + "Z"), read(created_at + "Z"), locked_at),
            )
            for a, b, c, d, e, f, g, h, run_at, created_at in rows
        ]
    except (TypeError, ValueError):  # a time that was written by hand is none
        return [
            ClaimedJob(
                *(a, token, b, c, d, e, f, g, h), to_utc(run_at), to_utc(created_at), locked_at
            )
            for a, b, c, d, e, f, g, h, run_at, created_at in rows
        ]
