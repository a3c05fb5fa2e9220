"""Rows as anybody may write them who may write to the tables: honest jobs and lists go on."""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import text

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.errors import DatabaseRefused
from jobqueue.maintenance.rescue_service import RescueService
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import (
    Claim,
    ClaimedJob,
    CrashedJob,
    Failed,
    JobFilter,
    JobState,
    NewJob,
    NewWorker,
    Released,
    Rescue,
)
from tests.conftest import Project
from tests.hostile import daily
from tests.hostile.daily import LEASE
from tests.hostile.rows import TABLES, Hand
from tests.sample_jobs import Note, calls
from tests.web.conftest import client_of

WaitFor = Callable[[Callable[[], bool], str], None]

SEED = 15
ROWS = 30
OTHERS = [table for table in TABLES if table != "background_jobs"]
HISTORY = "queues/odd/history?minutes=10080"
LISTS = (
    "jobs?limit=200",
    "queues",
    "workers",
    "schedules",
    "stats?minutes=180",
    "errors?limit=200",
    "stats?minutes=129600",
    HISTORY,
)
COMMANDS = (
    *("stats", "stats --since 1000d --json", "stats --job odd --since 1000d"),
    *("list", "list --json --limit 1000", "status", "status --json", "doctor", "doctor --json"),
    *("schedules list --json", "token list", "errors --state all", "errors --state all --json"),
)


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        Job.config(adapter=made)
        calls.clear()
        yield made


def do_all(adapter: SqlAdapter) -> None:
    for name, step in daily.steps(adapter):
        try:
            step()
        except Exception as error:  # noqa: BLE001 - pytest shows what led to it
            pytest.fail(f"{name}: {error!r}")


# --- any value of any column ---------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_value_of_every_column(adapter: SqlAdapter, table: str) -> None:
    hand = Hand(adapter)
    written = [row for row in hand.one_at_a_time(table) if hand.write(table, row)]
    assert len(written) > len(TABLES[table].columns)
    do_all(adapter)


def test_rows_in_which_much_is_odd(adapter: SqlAdapter) -> None:
    hand, chance = Hand(adapter), random.Random(SEED)
    for table in TABLES:
        for row in hand.at_random(table, chance, ROWS):
            hand.write(table, row)
    do_all(adapter)


def test_what_people_look_at_answers(
    project: Project, database_url: str, adapter: SqlAdapter
) -> None:
    hand, chance = Hand(adapter), random.Random(SEED)
    for table in TABLES:
        for row in hand.at_random(table, chance, ROWS):
            hand.write(table, row)
    number = adapter.count_jobs(JobFilter())
    with client_of(JobQueue(adapter)) as client:
        for path in LISTS:
            answer = client.get(f"/api/{path}")
            assert answer.status_code == 200, (path, answer.text[:500])
            json.loads(answer.text, parse_constant=pytest.fail)
    for command in COMMANDS:
        run = project.jobs(*command.split())
        assert run.exit_code == 0, (command, run.err)
        assert "Traceback" not in run.err
        if command.startswith("list --json"):
            assert len(json.loads(run.out)) == number
        if command == "doctor":
            assert "rows with" in run.out


# --- numbers at the ends of their columns --------------------------------------------------------


def held_job(adapter: SqlAdapter) -> CrashedJob:
    adapter.register_worker(NewWorker("w", "w", "h", 1, None, 1, LEASE))
    adapter.enqueue([NewJob(Note.name, "{}", "default", 50, 5)])
    [job] = adapter.claim(Claim("w", 1, 1, 1))
    return CrashedJob(job.id, job.token, "crashed")


def change(adapter: SqlAdapter, changes: str) -> None:
    with adapter.database.engine.begin() as connection:
        connection.execute(text(f"UPDATE background_jobs SET {changes}"))


@pytest.mark.parametrize("changes", ["crashes = 32767", "attempts = 2147483647"])
def test_a_crash_can_be_charged(adapter: SqlAdapter, changes: str) -> None:
    crashed = held_job(adapter)
    change(adapter, changes)
    assert adapter.rescue_crashed("w", [crashed]).failed == (crashed.id,)


@pytest.mark.parametrize("changes", ["attempts = -2147483648", "crashes = -32768"])
def test_an_attempt_can_be_refunded(adapter: SqlAdapter, changes: str) -> None:
    crashed = held_job(adapter)
    change(adapter, changes)
    assert adapter.unregister_worker("w").released == (crashed.id,)
    [job] = adapter.claim(Claim("w", 2, 1, 1))
    change(adapter, changes)
    assert not adapter.turn([Released(job)], None).rejected


def test_a_worker_whose_heartbeat_is_no_moment_is_rescued(adapter: SqlAdapter) -> None:
    crashed = held_job(adapter)
    far = "never" if adapter.database.engine.dialect.name == "sqlite" else "infinity"
    with adapter.database.engine.begin() as connection:
        connection.execute(text(f"UPDATE background_workers SET heartbeat_at = '{far}'"))
    [worker] = adapter.workers()
    rescue = adapter.rescue(worker, "it is gone")
    assert rescue is not None
    assert rescue.released == (crashed.id,)


# --- rows that the database lets nobody change ---------------------------------------------------


@pytest.fixture
def refusing(adapter: SqlAdapter) -> Iterator[Callable[[str], None]]:
    """Have the database refuse changes of rows that fulfil a condition."""

    def refuse(condition: str) -> None:
        for sql in _refusal(adapter, condition):
            with adapter.database.engine.begin() as connection:
                connection.exec_driver_sql(sql)

    yield refuse
    if adapter.database.engine.dialect.name != "sqlite":
        with adapter.database.engine.begin() as connection:
            connection.exec_driver_sql("DROP FUNCTION IF EXISTS refuse CASCADE")


def _refusal(adapter: SqlAdapter, condition: str) -> Iterator[str]:
    if adapter.database.engine.dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER refuse_{change} BEFORE {change} ON background_jobs "
                f"WHEN {condition.replace('NEW.', 'OLD.') if change == 'DELETE' else condition} "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        return
    yield (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
    )
    for change in ("UPDATE", "DELETE"):
        condition = condition.replace("NEW.", "OLD.") if change == "DELETE" else condition
        yield (
            f"CREATE TRIGGER refuse_{change} BEFORE {change} ON background_jobs FOR EACH ROW"
            f" WHEN ({condition}) EXECUTE FUNCTION refuse()"
        )


def test_a_job_that_cannot_be_claimed_is_set_aside_alone(
    adapter: SqlAdapter, refusing: Callable[[str], None]
) -> None:
    jobs = [NewJob(Note.name, f'{{"what": "{n}"}}', "default", 50, 5) for n in range(20)]
    records = adapter.enqueue(jobs)
    odd = records[7].id
    refusing(f"NEW.id = {odd} AND NEW.state = 'running'")
    assert JobQueue(adapter).work_off().succeeded == len(jobs) - 1
    failed = adapter.get(odd)
    assert failed is not None
    assert failed.state is JobState.FAILED
    assert "not this one" in (failed.last_error or "")


def test_no_job_is_failed_where_the_database_lets_none_be_claimed(
    adapter: SqlAdapter, refusing: Callable[[str], None]
) -> None:
    """As by a trigger that somebody has made: it is not the fault of the rows."""
    adapter.enqueue([NewJob(Note.name, "{}", "default", 50, 5)] * 3)
    refusing("NEW.state = 'running'")
    with pytest.raises(DatabaseRefused, match="not this one"):
        JobQueue(adapter).work_off()
    assert adapter.count_by_state() == {JobState.READY: 3}


def test_no_refused_claim_ends_a_worker(
    adapter: SqlAdapter, refusing: Callable[[str], None], wait_for: WaitFor
) -> None:
    """What it holds is settled, and it goes on when it can."""
    refusing("NEW.handler = 'nobody' OR NEW.queue = 'refused'")
    with JobQueue(adapter, poll_interval=0.1).running():
        [refused] = adapter.enqueue([NewJob(Note.name, "{}", "refused", 1, 5)])
        Note.perform_later("before")
        adapter.pause_queues(["refused"])
        wait_for(lambda: "before" in calls, "the worker to go on")
        adapter.resume_queues(["refused"])
        Note.perform_later("after")
        adapter.pause_queues(["refused"])
        wait_for(lambda: "after" in calls, "the worker to go on")
    left = adapter.get(refused.id)
    assert left is not None
    assert left.state is JobState.READY


def test_an_outcome_that_is_refused_waits_and_holds_up_no_other(
    adapter: SqlAdapter, refusing: Callable[[str], None]
) -> None:
    adapter.enqueue([NewJob(Note.name, "{}", "default", 50, 5)] * 5)
    jobs = adapter.claim(Claim("w", 1, 5, 5))
    refusing(f"NEW.id = {jobs[2].id}")
    outcomes = [Failed(job, error="it failed") for job in jobs]
    turn = adapter.turn(outcomes, Claim("w", 2, 5, 5))
    assert [outcome.job.id for outcome in turn.locked] == [jobs[2].id]
    assert not turn.rejected
    assert adapter.count_by_state() == {JobState.FAILED: 4, JobState.RUNNING: 1}


def test_workoff_says_what_is_refused(adapter: SqlAdapter, refusing: Callable[[str], None]) -> None:
    refusing("NEW.id > 0")
    Note.perform_later()
    with pytest.raises(DatabaseRefused, match="not this one"):
        JobQueue(adapter).work_off()


LOST = "the worker is lost"
RESCUES: dict[str, Callable[[SqlAdapter, list[ClaimedJob]], Rescue | None]] = {
    "rescue": lambda adapter, _: adapter.rescue(adapter.workers()[0], LOST),
    "rescue_crashed": lambda adapter, jobs: adapter.rescue_crashed(
        "w", [CrashedJob(job.id, job.token, LOST) for job in jobs[:4]]
    ),
    "release_strays": lambda adapter, _: adapter.release_strays("w", []),
    "unregister": lambda adapter, _: adapter.unregister_worker("w"),
}


@pytest.mark.parametrize("rescue_of", RESCUES.values(), ids=RESCUES.keys())
def test_jobs_that_cannot_be_freed_keep_no_other(
    adapter: SqlAdapter,
    refusing: Callable[[str], None],
    rescue_of: Callable[[SqlAdapter, list[ClaimedJob]], Rescue | None],
) -> None:
    adapter.register_worker(NewWorker("w", "w", "host", 1, None, 1, LEASE))
    adapter.enqueue([NewJob(Note.name, "{}", "default", 50, 5)] * 9)
    jobs = adapter.claim(Claim("w", 1, 9, 9))
    odd = [jobs[2].id, jobs[6].id]
    refusing(f"NEW.id IN ({odd[0]}, {odd[1]}) AND NEW.state = 'ready'")
    rescue = rescue_of(adapter, jobs)
    assert rescue is not None
    assert [job_id for job_id, _ in rescue.refused] == odd
    assert all("not this one" in why for _, why in rescue.refused)
    assert (rescue.locked, rescue.has_freed_all) == ((), False)
    assert rescue.released == tuple(job.id for job in jobs if job.id not in odd)
    assert len({job.id for job in rescue.charged}) == len(rescue.charged)
    assert adapter.count_by_state() == {JobState.READY: 7, JobState.RUNNING: 2}


def test_a_job_that_cannot_be_freed_is_logged_once_and_freed_when_it_can(
    adapter: SqlAdapter,
    refusing: Callable[[str], None],
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter.enqueue([NewJob(Note.name, '{"what": "x"}', "default", 50, 5)] * 3)
    jobs = adapter.claim(Claim("gone", 1, 3, 3))
    refusing(f"NEW.id = {jobs[1].id} AND NEW.state = 'ready'")
    rescuer, looks = Rescuer(adapter, timedelta(0)), itertools.count()

    def first() -> bool:
        next(looks)
        return True

    service = RescueService(
        rescuer, 0.2, lambda: 0, logging.getLogger("jobqueue"), "here", first=first
    )
    service.start()
    try:
        wait_for(lambda: next(looks) > 20, "several looks")
        assert adapter.count_by_state() == {JobState.READY: 2, JobState.RUNNING: 1}
        refusing_no_more(adapter)
        wait_for(lambda: adapter.count_by_state() == {JobState.READY: 3}, "the last one")
    finally:
        service.stop()
    refused = [r for r in caplog.records if r.__dict__.get("event") == "rescue_refused"]
    assert [record.__dict__["job_ids"] for record in refused] == [[jobs[1].id]]
    assert "not this one" in refused[0].getMessage()
    rescued = [r for r in caplog.records if r.__dict__.get("event") == "jobs_rescued"]
    assert len(rescued) == 2


def refusing_no_more(adapter: SqlAdapter) -> None:
    with adapter.database.engine.begin() as connection:
        for change in ("UPDATE", "DELETE"):
            on_table = "" if connection.dialect.name == "sqlite" else " ON background_jobs"
            connection.exec_driver_sql(f"DROP TRIGGER refuse_{change}{on_table}")
