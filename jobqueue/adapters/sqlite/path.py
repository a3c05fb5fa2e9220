"""The path of a job in SQLite: enqueue, claim, settle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
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
from jobqueue.adapters.sql.controlled_jobs import has_flow_control, insert_controlled
from jobqueue.adapters.sql.enqueued import Enqueued, record_of_new
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.adapters.sql.flow_statements import FlowStatements
from jobqueue.adapters.sql.gated_claims import GatedClaims
from jobqueue.adapters.sql.path import Done, Meanwhile, SqlPath, in_order_of_claim, seconds
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.tables import to_text, to_utc
from jobqueue.adapters.sqlite.controlled_statements import controlled_statements
from jobqueue.adapters.sqlite.database import readable
from jobqueue.adapters.sqlite.flow_statements import flow_statements
from jobqueue.adapters.sqlite.statements import (
    BUT,
    CHANGE,
    ENQUEUE,
    FIND_BY_WALKING,
    FIND_IN_ALL_QUEUES,
    FIND_IN_QUEUES,
    FORGET,
    FORGET_TOO_MANY,
    FURTHER,
    HELD,
    HELD_UNDER,
    IN_QUEUES,
    INSERT,
    LANES_SEEN,
    MARK_AS_RUNNING,
    MEND_NAMES,
    MEND_QUEUES,
    MOST_LANES,
    MOST_ROWS,
    NOTE,
    PAUSED,
    PRIORITIES_SEEN,
    READY_QUEUES,
    REMOVE,
    REMOVE_SOME,
    ROWS_SEEN,
    TEXT_PLACES,
)
from jobqueue.adapters.sqlite.time import SqliteTime
from jobqueue.records import FINISHED_STATES, NO_DELAY, Claim, ClaimedJob, JobState, NewJob
from jobqueue.stored import StoredJob

FEWEST_ROW_BY_ROW = 1000
NAMES = ("handler", "queue")


class SqlitePath(SqlPath):
    """The path of jobs in a SQLite file: they are enqueued, claimed and settled."""

    time: SqliteTime

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts, GatedClaims(parts))
        now, later = self.time.now_sql, self.time.later_sql
        self._enqueue_sql = ENQUEUE.format(now=now, later=later("(value ->> 6)"))
        self._change_sql = CHANGE.format(
            now=now, later=later(":delay"), started=later("-:run_seconds")
        )
        self._find_in_all_sql, self._find_in_one_sql, self._find_in_some_sql = _finding(but="")
        self._find_but = _finding(but=BUT)
        self._controlled = controlled_statements(self.time)
        self._flows = flow_statements(self.time)
        self._walked_to: int | None = None
        self._has_found = False
        self._look_again_in: timedelta | None = None

    # --- enqueueing ------------------------------------------------------------------------------

    def _insert_and_commit(self, jobs: Sequence[NewJob]) -> tuple[Sequence[StoredJob], bool]:
        # Checked first, since nobody else can write to the file meanwhile.
        jobs = list(jobs)
        return self.database.write(lambda c: self.insert(executing_on(c), jobs)), False

    def flow_statements(self, execute: Execute) -> tuple[FlowStatements, dict[str, Any]]:  # noqa: ARG002 - a file has one schema
        return self._flows, self.time.values()

    def insert(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if has_flow_control(jobs):
            return insert_controlled(execute, self._controlled, jobs, self.time.values())
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
                job.meta,
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
                    job.meta,
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
            if claim is None:
                return Done(settled, [])
            return Done(settled, self._claim(connection, claim), self._look_again_in)

        # The database works on this very thread.
        meanwhile()
        return self.database.write(work)

    def _claim(self, connection: Connection, claim: Claim) -> list[ClaimedJob]:
        now = self._now_text(connection)
        rows = self._find_due(connection, claim, now)
        if rows:
            ids = json.dumps([row[0] for row in rows])
            connection.exec_driver_sql(
                MARK_AS_RUNNING,
                {"ids": ids, "worker_id": claim.worker_id, "token": claim.token, "now": now},
            )
        return in_order_of_claim(claimed_jobs(claim.token, now, rows))

    def _find_due(self, connection: Connection, claim: Claim, now: str) -> list[Any]:
        """The rows to claim, with the values that they will have."""
        self._look_again_in = None
        queues = self._queues_to_claim_from(connection, claim)
        if queues is None or _can_be_listed(queues):
            rows, number = self._find_in_lanes(connection, claim, queues, now)
            # Priorities are found in their order, so that the rest matters only if more is wanted.
            if number < MOST_LANES or (queues is None and len(rows) == claim.limit):
                return rows
        return self._find_by_walking(connection, claim, now)

    def _find_in_lanes(
        self, connection: Connection, claim: Claim, queues: Sequence[str] | None, now: str
    ) -> tuple[list[Any], int]:
        """The rows to claim, and the number of lanes, as far as they were counted."""
        values = _values_of(claim, now)
        in_all, in_one, in_some = (
            self._find_in_all_sql,
            self._find_in_one_sql,
            self._find_in_some_sql,
        )
        if claim.passing_over:
            in_all, in_one, in_some = self._find_but
        sql = in_all
        if queues is not None and len(queues) == 1:
            sql, values["queue"] = in_one, queues[0]
        elif queues is not None:
            sql, values["queues"] = in_some, json.dumps(queues)
        found, number, _ = connection.exec_driver_sql(sql, values).one()
        return _decoded(connection, found), number

    def _find_by_walking(self, connection: Connection, claim: Claim, now: str) -> list[Any]:
        """The rows to claim among the next thousands that are ready, whatever their lanes.

        Each claim goes on where the last one found too few, and begins anew at the end.
        """
        values = _values_of(claim, now) | {"paused": json.dumps(sorted(_paused(connection)))}
        in_queues = ""
        if claim.queues is not None:
            in_queues, values["queues"] = IN_QUEUES, json.dumps(claim.queues)
        if self._walked_to is not None:
            values["after"] = self._walked_to
        sql = FIND_BY_WALKING.format(
            now=":now",
            but=BUT if claim.passing_over else "",
            in_queues=in_queues,
            further="" if self._walked_to is None else FURTHER,
            most_rows=MOST_ROWS,
            tally=ROWS_SEEN,
        )
        found, number, last = connection.exec_driver_sql(sql, values).one()
        rows = _decoded(connection, found)
        self._has_found = bool(rows) or (self._has_found and self._walked_to is not None)
        if number < MOST_ROWS:
            last = None
        if last is not None or self._has_found:
            self._look_again_in = NO_DELAY
        if len(rows) < claim.limit:
            self._walked_to = last
        return rows

    def _now_text(self, connection: Connection) -> str:
        """The current time, read once: SQLite would compute it for every row of a statement."""
        select_now = f"SELECT {self.time.now_sql}"
        return str(connection.exec_driver_sql(select_now, self.time.values()).scalar_one())

    def _queues_to_claim_from(self, connection: Connection, claim: Claim) -> list[Any] | None:
        """The queues to claim from; None for all. Nobody else can write meanwhile."""
        paused = _paused(connection)
        if claim.queues is None and not paused:
            return None
        connection.exec_driver_sql(MEND_QUEUES)
        wanted: Iterable[Any] | None = claim.queues
        if wanted is None:
            wanted = map(_name_in, connection.exec_driver_sql(READY_QUEUES).scalars())
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
            self._note(connection, [change for change in mine if change.ended is not None])
        called_off = [(change.id, change.token) for change in mine if change.heeds_cancel]
        reasons = {pair: held[pair] for pair in called_off if held[pair] is not None}
        return Applied(list(held), reasons)

    def _note(self, connection: Connection, ended: Sequence[Settlement]) -> None:
        """Note attempts that have not succeeded."""
        if ended:
            attempts = [
                (one.id, one.refund, str(one.ended), one.error, one.error_key) for one in ended
            ]
            values = {"ended": json.dumps(attempts)}
            connection.exec_driver_sql(NOTE, values)
            connection.exec_driver_sql(FORGET_TOO_MANY, values)

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
            "run_seconds": seconds(settlement.run_time),
            "error_key": settlement.error_key,
            "failed": settlement.state is JobState.FAILED,
            "finished": settlement.state in FINISHED_STATES,
            **self.time.values(),
        }

    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        removed = Applied(self._remove(connection, settlements.removals), {})
        if settlements.tried_before:
            gone = {job_id for job_id, _ in removed.pairs}.intersection(settlements.tried_before)
            connection.exec_driver_sql(FORGET, {"ids": json.dumps(list(gone))})
        return removed.plus(self._change(connection, settlements.changes))


def _paused(connection: Connection) -> set[str]:
    return set(connection.exec_driver_sql(PAUSED).scalars())


def _name_in(text: bytes) -> str | bytes:
    """The name of a queue; its bytes if they are no UTF-8, as somebody may write them by hand."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _can_be_listed(queues: Sequence[Any]) -> bool:
    """Whether there are few queues, all with a name that is text."""
    return len(queues) < MOST_LANES and all(isinstance(queue, str) for queue in queues)


def _values_of(claim: Claim, now: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "limit": claim.limit,
        "free_slots": claim.free_slots,
        "most_bytes": claim.most_bytes,
        "now": now,
    }
    if claim.passing_over:
        values["passing_over"] = json.dumps(claim.passing_over)
    return values


def _decoded(connection: Connection, rows: bytes) -> list[Any]:
    """The rows in JSON that a claim has found. One that is no UTF-8 does not spoil the others.

    Its texts have `\\xff` in them: arguments are refused when they are read, and names are changed
    in the row, so that they are found by what they are shown as.
    """
    try:
        found: list[Any] = json.loads(rows)
    except UnicodeDecodeError:
        found = json.loads(rows.decode(errors="surrogateescape"))
        for row in found:
            for place in TEXT_PLACES.values():
                if row[place] is not None:
                    row[place] = readable(row[place].encode(errors="surrogateescape"))
        names = [{"id": row[0], **{n: row[TEXT_PLACES[n]] for n in NAMES}} for row in found]
        connection.exec_driver_sql(MEND_NAMES, names)
    return found


def _finding(but: str) -> tuple[str, str, str]:
    """The statements that find jobs to claim: in all queues, in one, and in several."""
    values = {"now": ":now", "but": but, "most_lanes": MOST_LANES}
    return (
        FIND_IN_ALL_QUEUES.format(in_queue="", tally=PRIORITIES_SEEN, **values),
        FIND_IN_ALL_QUEUES.format(in_queue="AND queue = :queue", tally=PRIORITIES_SEEN, **values),
        FIND_IN_QUEUES.format(tally=LANES_SEEN, **values),
    )


def claimed_jobs(token: int, now: str, rows: Sequence[Any]) -> list[ClaimedJob]:
    """The jobs in the rows of a claim, all of them locked at the same moment."""
    locked_at, read = to_utc(now), datetime.fromisoformat
    try:
        return [
            ClaimedJob(
                a,
                token,
                b,
                c,
                d,
                e,
                f,
                g,
                h,
                due := read(run_at + "Z"),
                due if created_at == run_at else read(created_at + "Z"),
                locked_at,
                meta,
            )
            for a, b, c, d, e, f, g, h, run_at, created_at, meta in rows
        ]
    except (TypeError, ValueError):  # a time that was written by hand is none
        return [
            ClaimedJob(
                *(a, token, b, c, d, e, f, g, h),
                *(to_utc(run_at), to_utc(created_at), locked_at, meta),
            )
            for a, b, c, d, e, f, g, h, run_at, created_at, meta in rows
        ]
