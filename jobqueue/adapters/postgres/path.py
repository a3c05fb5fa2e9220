"""The path of a job in PostgreSQL: enqueue, claim, settle, each in one round trip."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import psycopg
from sqlalchemy import Connection

from jobqueue.adapters.postgres import copy_format
from jobqueue.adapters.postgres.announcer import PostgresAnnouncer
from jobqueue.adapters.postgres.claim_statements import MOST_LANES, ClaimStatements
from jobqueue.adapters.postgres.controlled_statements import controlled_statements
from jobqueue.adapters.postgres.database import PostgresDatabase, Statement
from jobqueue.adapters.postgres.flow_statements import flow_statements
from jobqueue.adapters.postgres.gated_claims import PostgresGatedClaims
from jobqueue.adapters.postgres.limits import LONGEST_WAIT_MS, LONGEST_WAIT_OF_JOB_MS
from jobqueue.adapters.postgres.low_water import (
    LONG_AGO,
    FoundLanes,
    Lane,
    LowWater,
    LowWaterMarks,
    found_along,
    found_in,
    moments_of,
    shares_of,
)
from jobqueue.adapters.postgres.statements import PathStatements, SettleStatements
from jobqueue.adapters.settlement import (
    NOTHING_TO_SETTLE,
    Applied,
    Settlement,
    Settlements,
    ids_by_token,
)
from jobqueue.adapters.sql.controlled_jobs import has_flow_control, insert_controlled
from jobqueue.adapters.sql.database import FOR_EVER
from jobqueue.adapters.sql.enqueued import Enqueued, record_of_new
from jobqueue.adapters.sql.execute import Execute, executing_on
from jobqueue.adapters.sql.flow_statements import FlowStatements
from jobqueue.adapters.sql.path import Done, Meanwhile, SqlPath, in_order_of_claim, seconds
from jobqueue.adapters.sql.role import SqlParts
from jobqueue.adapters.sql.tables import DAWN, to_utc
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import Claim, ClaimedJob, NewJob, Wakeup
from jobqueue.stored import StoredJob

FEWEST_TO_COPY = 1000
LONGEST_LOOK_SECONDS = 0.5
BEFORE_ALL = Lane(None, -(2**31), DAWN, 0)


class PostgresPath(SqlPath):
    """The path of jobs in PostgreSQL: they are enqueued, claimed and settled."""

    database: PostgresDatabase
    announcer: PostgresAnnouncer

    def __init__(self, parts: SqlParts) -> None:
        super().__init__(parts, PostgresGatedClaims(parts))
        now = "%(now)s::timestamptz" if self.time.clock else "statement_timestamp()"
        self._statements_in = functools.cache(lambda schema: PathStatements.of(schema, now))
        self._flows_in = functools.cache(lambda schema: flow_statements(schema, now))
        self._controlled_in = functools.cache(lambda schema: controlled_statements(schema, now))
        self.low_water_marks = LowWaterMarks()

    @property
    def _statements(self) -> PathStatements:
        """The statements over our tables."""
        return self._statements_in(self.database.schema())

    def _statements_for(self, execute: Execute) -> PathStatements:
        """The same, for a transaction of the caller."""
        return self._statements_in(self.database.schema_for(execute))

    # --- enqueueing ------------------------------------------------------------------------------

    def _insert_and_commit(self, jobs: Sequence[NewJob]) -> tuple[Sequence[StoredJob], bool]:
        if has_flow_control(jobs):
            # Made first: the server ends a transaction in which nothing happens for a while.
            made = list(jobs)
            return self.database.write(lambda c: self.insert(executing_on(c), made)), False
        if len(jobs) == 1 and _is_due_at_once(jobs[0]):
            said = self.announcer.what_to_say(Wakeup(queues=frozenset([jobs[0].queue])))
            if said is not None:
                return self._insert_and_notify(jobs, said)
        return self._insert_only(jobs), False

    def _insert_and_notify(
        self, jobs: Sequence[NewJob], said: Wakeup
    ) -> tuple[Sequence[StoredJob], bool]:
        """Insert a job, and announce it in the same transaction."""
        sql = self._statements.enqueue_one_and_notify
        values = {**_facts(jobs[0]), "more": said.more, **self._clock_value()}
        try:
            ((*stored, _),) = self.database.write_alone(sql, values)
        except DatabaseUnavailable:
            self.announcer.forget()
            raise
        except DatabaseError:
            # Nothing was stored. The server may refuse notifications, since its queue of them is
            # full. That is no reason to refuse a job.
            self.announcer.forget()
            return self._insert_only(jobs), False
        return _records(jobs, [stored]), True

    def _insert_only(self, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if len(jobs) >= FEWEST_TO_COPY:
            return self.database.write(
                lambda c: self._copy(executing_on(c), jobs), answer_seconds=FOR_EVER
            )
        statement = self._enqueue_statement(self._statements, jobs)
        return _records(jobs, self.database.write_alone(*statement))

    def insert(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        if has_flow_control(jobs):
            controlled = self._controlled_in(self.database.schema_for(execute))
            return insert_controlled(execute, controlled, jobs, self._clock_value())
        if len(jobs) >= FEWEST_TO_COPY and isinstance(execute.driver, psycopg.Connection):
            return self._copy(execute, jobs)
        statement = self._enqueue_statement(self._statements_for(execute), jobs)
        return _records(jobs, execute(*statement))

    def flow_statements(self, execute: Execute) -> tuple[FlowStatements, dict[str, Any]]:
        return self._flows_in(self.database.schema_for(execute)), self._clock_value()

    def _enqueue_statement(self, statements: PathStatements, jobs: Sequence[NewJob]) -> Statement:
        if len(jobs) == 1:
            return statements.enqueue_one, {**_facts(jobs[0]), **self._clock_value()}
        jobs = list(jobs)
        return statements.enqueue, {
            "handlers": [job.handler for job in jobs],
            "args": [job.args for job in jobs],
            "queues": [job.queue for job in jobs],
            "priorities": [job.priority for job in jobs],
            "max_attempts": [job.max_attempts for job in jobs],
            "run_ats": [job.run_at for job in jobs],
            "delays": [seconds(job.delay) for job in jobs],
            "metas": [job.meta for job in jobs],
            **self._clock_value(),
        }

    def _copy(self, execute: Execute, jobs: Sequence[NewJob]) -> Sequence[StoredJob]:
        statements = self._statements_for(execute)
        values = {"number": len(jobs), **self._clock_value()}
        ((reserved, stored_at),) = execute(statements.reserve, values)
        ids, now = sorted(reserved), to_utc(stored_at)
        with (
            psycopg.Cursor(execute.driver) as cursor,
            cursor.copy(statements.copy.encode()) as copy,
        ):
            for chunk in copy_format.rows_of(jobs, ids, now, execute.driver.info.encoding):
                copy.write(chunk)
        return Enqueued(self.adapter, jobs, ids, now)

    # --- claiming and settling -------------------------------------------------------------------

    def _claim_ready(self, claim: Claim) -> list[ClaimedJob]:
        """Claim from the first job on, whatever has been claimed before."""
        low_water = LowWater(claim.queues)
        self._look(low_water, claim)
        return self._claim_from(low_water, claim, NOTHING_TO_SETTLE, Meanwhile(None)).claimed

    def _settle_and_claim(
        self,
        settlements: Settlements,
        claim: Claim | None,
        given_back: Sequence[ClaimedJob],
        meanwhile: Meanwhile,
    ) -> Done:
        if claim is None:
            return Done(self._settle_at_once(settlements, meanwhile), [])
        low_water = self.low_water_marks.of(claim.worker_id, claim.queues)
        done = self._claim_on(low_water, claim, settlements, meanwhile)
        low_water.given_back(given_back)
        return replace(done, look_again_in=low_water.put_off_for())

    def _claim_on(
        self, low_water: LowWater, claim: Claim, settlements: Settlements, meanwhile: Meanwhile
    ) -> Done:
        """Claim from where the last claim ended, or from where a look finds something."""
        if claim.heard is not None:
            low_water.note(claim.heard)
        looked = self._look_if_time(low_water, claim, meanwhile)
        done = self._claim_from(low_water, claim, settlements, meanwhile)
        # If the result is empty the worker goes to sleep, so look before that.
        if looked or done.claimed or settlements:
            return done
        if not self._look_if_time(low_water, claim, meanwhile):
            return done
        found = self._claim_from(low_water, claim, NOTHING_TO_SETTLE, meanwhile)
        return replace(done, claimed=found.claimed)

    def _look_if_time(self, low_water: LowWater, claim: Claim, meanwhile: Meanwhile) -> bool:
        is_time = low_water.has_to_look()
        if is_time:
            # A look may take long, and `meanwhile` does not wait for it.
            meanwhile()
            self._look(low_water, claim)
        return is_time

    def _look(self, low_water: LowWater, claim: Claim) -> None:
        """Find lanes; where there are more than can be looked at, go on for a while."""
        give_up_at = low_water.monotonic() + LONGEST_LOOK_SECONDS
        low_water.look(
            lambda: self.find_lanes(low_water.queues, claim.passing_over, low_water.beyond)
        )
        while low_water.beyond is not None and low_water.monotonic() < give_up_at:
            if low_water.lanes():
                return
            low_water.look(
                lambda: self._find_along(low_water.queues, claim.passing_over, low_water.beyond)
            )

    def find_lanes(
        self,
        queues: tuple[str, ...] | None,
        passing_over: tuple[str, ...] = (),
        beyond: Lane | None = None,
    ) -> FoundLanes:
        """The lanes that have due jobs, in all queues or in some.

        Of too many, those that the next thousands of ready jobs are in.
        """
        if beyond is not None:
            return self._find_along(queues, passing_over, beyond)
        found = self._find_all(queues, passing_over)
        is_by_queue = any(lane.queue is not None for lane in found.lanes)
        # Priorities are found in their order, so that the rest matters only if none of them is due.
        if found.number < MOST_LANES or (found.lanes and not is_by_queue):
            return found
        return self._find_along(queues, passing_over, None)

    def _find_along(
        self,
        queues: tuple[str, ...] | None,
        passing_over: tuple[str, ...],
        beyond: Lane | None,
    ) -> FoundLanes:
        statements = self._claiming(passing_over)
        values = self._clock_value() | {"passing_over": list(passing_over)}
        sql = statements.look_along if queues is None else statements.look_along_queues
        if queues is not None:
            values["queues"] = list(queues)
        after = BEFORE_ALL if beyond is None else beyond
        values |= {"priority": after.priority, "id": after.id}
        values["run_at"] = LONG_AGO if after.run_at <= DAWN else after.run_at
        return found_along(self.database.read(lambda c: c.exec_driver_sql(sql, values).all()))

    def _find_all(
        self, queues: tuple[str, ...] | None, passing_over: tuple[str, ...]
    ) -> FoundLanes:
        values = self._clock_value()
        statements = self._claiming(passing_over)
        sql = statements.look_everywhere
        if queues is not None:
            sql = statements.look_in_queues
            values["queues"] = list(dict.fromkeys(queues))
        if passing_over:
            values["passing_over"] = list(passing_over)
        return found_in(self.database.read(lambda c: c.exec_driver_sql(sql, values).all()))

    def _claiming(self, passing_over: tuple[str, ...]) -> ClaimStatements:
        statements = self._statements
        return statements.claiming_but if passing_over else statements.claiming

    def _claim_from(
        self, low_water: LowWater, claim: Claim, settlements: Settlements, meanwhile: Meanwhile
    ) -> Done:
        """Settle and claim in one round trip: BEGIN, settlements, claim, COMMIT."""
        lanes = low_water.lanes()
        if not lanes:
            return Done(self._settle_at_once(settlements, meanwhile), [])
        statements = self.settle_statements(settlements)
        statements.append(self.claim_statement(claim, lanes))
        *settled, rows = self.database.write_at_once(statements, meanwhile)
        claimed = in_order_of_claim(claimed_jobs(claim.token, rows))
        low_water.claimed(claimed, claim.limit)
        return Done(_applied(settled, settlements), claimed)

    def _settle_at_once(self, settlements: Settlements, meanwhile: Meanwhile) -> Applied:
        statements = self.settle_statements(settlements)
        results = self.database.write_at_once(statements, meanwhile) if statements else []
        return _applied(results, settlements)

    def claim_statement(self, claim: Claim, lanes: Sequence[Lane]) -> Statement:
        """The statement that claims from lanes, with its values."""
        values: dict[str, Any] = {
            "limit": claim.limit,
            "free_slots": claim.free_slots,
            "most_bytes": claim.most_bytes,
            "worker_id": claim.worker_id,
            "token": claim.token,
            "priorities": [lane.priority for lane in lanes],
            "run_ats": moments_of(lanes),
            "ids": [lane.id for lane in lanes],
            **self._clock_value(),
        }
        statements = self._claiming(claim.passing_over)
        if claim.passing_over:
            values["passing_over"] = list(claim.passing_over)
        queues = [lane.queue for lane in lanes]
        if None in queues:
            return statements.claim_everywhere, values
        if len(set(queues)) == 1:
            return statements.claim_in_queue, values | {"queue": queues[0]}
        shares = shares_of(lanes, claim.limit)
        return statements.claim_in_queues, values | {"queues": queues, "shares": shares}

    def _settle_passing_over(self, settlements: Settlements) -> Applied:
        ours = self._statements
        statements = self._statements_of(ours.settling_unlocked, settlements, LONGEST_WAIT_MS)
        pairs = [
            *settlements.removals,
            *((change.id, change.token) for change in settlements.changes),
        ]
        ids, tokens = [job_id for job_id, _ in pairs], [token for _, token in pairs]
        statements.append((ours.still_held, {"ids": ids, "tokens": tokens}))
        *settled, locked = self.database.write_at_once(statements, lambda: None)
        return replace(_applied(settled, settlements), locked=locked)

    def settle_statements(self, settlements: Settlements) -> list[Statement]:
        """The statements that settle a batch in a turn, with their values."""
        return self._statements_of(self._statements.settling, settlements, LONGEST_WAIT_MS)

    def _statements_of(
        self, settling: SettleStatements, settlements: Settlements, longest_wait_ms: int
    ) -> list[Statement]:
        wait = {"longest_wait_ms": str(longest_wait_ms)}
        statements = [
            (settling.remove, {"ids": _array(ids), "token": token, **wait})
            for token, ids in ids_by_token(settlements.removals).items()
        ]
        if settlements.tried_before:
            tried_before = {"tried_before": list(settlements.tried_before)}
            statements = [(settling.remove_and_forget, v | tried_before) for _, v in statements]
        if settlements.changes:
            is_noted = any(change.ended is not None for change in settlements.changes)
            values = _columns(settlements.changes) | wait | self._clock_value()
            change = settling.change_and_note if is_noted else settling.change
            statements.append((change, values))
        return statements

    def settle_within(self, connection: Connection, settlements: Settlements) -> Applied:
        execute, settled = executing_on(connection), list[Sequence[Any]]()
        settling = self._statements_for(execute).settling_within
        statements = self._statements_of(settling, settlements, LONGEST_WAIT_OF_JOB_MS)
        for sql, values in statements:
            if isinstance(values["ids"], str):  # asyncpg takes no text for an array
                values["ids"] = [job_id for job_id, _ in settlements.removals]
            settled.append(execute(sql, values))
        return _applied(settled, settlements)

    def _clock_value(self) -> dict[str, Any]:
        return {"now": self.time.clock.now()} if self.time.clock else {}


def _applied(results: Sequence[Sequence[Any]], settlements: Settlements) -> Applied:
    """The rows of `settle_statements`. Those of changes come last, each with a reason."""
    *removed, changed = results if settlements.changes else (*results, ())
    pairs = list(chain.from_iterable(removed))
    pairs += [(job_id, token) for job_id, token, _ in changed]
    reasons = {(job_id, token): why for job_id, token, why in changed if why is not None}
    return Applied(pairs, reasons)


def _is_due_at_once(job: NewJob) -> bool:
    return job.run_at is None and not job.delay


def _facts(job: NewJob) -> dict[str, Any]:
    return {
        "handler": job.handler,
        "args": job.args,
        "queue": job.queue,
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "run_at": job.run_at,
        "delay": seconds(job.delay),
        "meta": job.meta,
    }


def _records(jobs: Sequence[NewJob], rows: Iterable[Any]) -> Sequence[StoredJob]:
    return [record_of_new(job, *row) for job, row in zip(jobs, sorted(rows), strict=True)]


def claimed_jobs(token: int, rows: Sequence[Any]) -> list[ClaimedJob]:
    """The jobs in the rows of a claim, all of them locked at the same moment."""
    if not rows:
        return []
    locked_at = datetime.fromtimestamp(rows[0][-1], UTC)
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
            due := run_at.astimezone(UTC),
            due if created_at is None else created_at.astimezone(UTC),
            locked_at,
            meta,
        )
        for a, b, c, d, e, f, g, h, run_at, created_at, meta, _ in rows
    ]


def _array(numbers: Iterable[int]) -> str:
    """An array as the server reads it. The driver takes ten times as long to make it."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _columns(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    return {
        "ids": [s.id for s in settlements],
        "tokens": [s.token for s in settlements],
        "states": [s.state.value for s in settlements],
        "refunds": [s.refund for s in settlements],
        "delays": [seconds(s.delay) for s in settlements],
        "errors": [s.error for s in settlements],
        "keeps_errors": [s.keeps_error for s in settlements],
        "results": [s.result for s in settlements],
        "progresses": [s.progress for s in settlements],
        "run_seconds": [seconds(s.run_time) for s in settlements],
        "error_keys": [s.error_key for s in settlements],
        "ended": [None if s.ended is None else s.ended.value for s in settlements],
    }
