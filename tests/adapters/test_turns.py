"""Turns on PostgreSQL, which claim from a mark on: what they pass over, and must not miss."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, make_url

from jobqueue import Job
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.low_water import (
    LOOK_AGAIN_SECONDS,
)
from jobqueue.adapters.sql.announcer import wakeup_for
from jobqueue.defaults import default_configuration
from jobqueue.errors import DatabaseRefused
from jobqueue.records import (
    LOOK_ANYWHERE,
    Claim,
    ClaimedJob,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    NewJob,
    Released,
    Succeeded,
    Wakeup,
)
from tests.adapters.claimants import TOKENS, Claimant, enqueued, ids
from tests.adapters.explaining import Explained, Table
from tests.sample_jobs import Note

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    impatient = make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=5s"})
    made = PostgresAdapter(impatient.render_as_string(hide_password=False))
    yield made
    made.close()


@pytest.fixture
def other(postgres_url: str) -> Iterator[Connection]:
    """Somebody else's connection."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


WORKERS = pytest.mark.parametrize("queues", [None, ("a",), ("a", "b")], ids=["all", "one", "two"])


def test_many_jobs_are_stored_without_work_for_the_garbage_collector(
    adapter: PostgresAdapter,
) -> None:
    """It looks through all objects that are left after every 700: no job leaves one."""
    Job.config(adapter=adapter)
    calls = [(str(number),) for number in range(20_000)]
    Note.perform_all_later(calls[:2000])
    collections: list[str] = []
    gc.collect()
    gc.callbacks.append(lambda phase, _: collections.append(phase))
    try:
        Note.perform_all_later(calls)
    finally:
        gc.callbacks.pop()
        default_configuration.reset()
    assert len(collections) <= 4


def test_the_server_works_meanwhile(
    adapter: PostgresAdapter, other: Connection, wait_for: Callable[[Callable[[], bool], str], None]
) -> None:
    """It has committed before the answer is read, which is not before the work is over."""
    _, job_id = ids(enqueued(adapter, 2))
    adapter.path.low_water_marks.of("w", None).monotonic = lambda: 0.0
    adapter.turn([], Claim("w", next(TOKENS), 1, 1))  # which looks for where the jobs are
    other.autocommit = True
    running = "SELECT 1 FROM background_jobs WHERE id = %s AND state = 'running'"

    def work() -> None:
        wait_for(lambda: other.execute(running, (job_id,)).fetchone() is not None, "the claim")

    turn = adapter.turn([], Claim("w", next(TOKENS), 1, 1), work)
    assert [job.id for job in turn.claimed] == [job_id]


@pytest.mark.parametrize("number", [1, 1000])
def test_what_the_table_has_no_room_for_is_refused(adapter: PostgresAdapter, number: int) -> None:
    with pytest.raises(DatabaseRefused):
        adapter.enqueue([NewJob("Work", "{}", "a", 50, 2**40)] * number)
    assert adapter.count_jobs(JobFilter()) == 0


# Pages, not seconds: dead entries that a snapshot holds are walked over by a look alone.


@WORKERS
def test_a_turn_does_not_walk_over_what_is_done(
    adapter: PostgresAdapter,
    postgres_url: str,
    other: Connection,
    queues: tuple[str, ...] | None,
) -> None:
    enqueued(adapter, 4500)
    enqueued(adapter, 500, queue="b", priority=60)
    other.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    other.commit()
    other.execute("SELECT FROM background_jobs LIMIT 1")
    claimant = Claimant(adapter, queues)
    early, late = (explained_after(claimant, turns, postgres_url) for turns in (5, 35))
    assert late.claimed == early.claimed == 1
    assert late.claims[0].pages <= early.claims[0].pages + 20
    assert late.look.pages >= early.look.pages + 50


def explained_after(claimant: Claimant, turns: int, url: str) -> Explained:
    """What the next turn would do for one job after these, and what a look would do."""
    for _ in range(turns):
        assert len(claimant.turn(100)) == 100
    with psycopg.connect(url, autocommit=True) as connection:
        table = Table(connection, claimant.adapter)
        claim = Claim(claimant.id, next(TOKENS), 1, 1, claimant.queues)
        next_claim = claimant.adapter.path.claim_statement(claim, claimant.low_water.lanes())
        look = table.statement_of(lambda: claimant.adapter.path.find_lanes(claimant.queues))
        mode = "force_custom_plan"
        return Explained(table.explain(look, mode), [table.explain(next_claim, mode)])


def test_a_turn_is_one_look_at_most(adapter: PostgresAdapter) -> None:
    enqueued(adapter, 40)
    claimant, looks = Claimant(adapter), 0

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal looks
        looks += "RECURSIVE" in statement and "gated" not in statement

    event.listen(adapter.database.engine, "before_cursor_execute", count)
    taken = [(len(claimant.turn(10)), looks) for _ in range(7)]
    assert taken == [(10, 1), (10, 1), (10, 1), (10, 1), (0, 1), (0, 2), (0, 3)]


# What appears behind the mark is found within a look; at once, where it is heard of.


Arrival = Callable[[PostgresAdapter, Connection], Callable[[], int]]
"""Prepares something, and returns what makes a job due; that returns the job's id."""


def committed_late(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    (record,) = adapter.enqueue([NewJob("Work", "{}", "a", 50, 5)], session=other)

    def happen() -> int:
        other.commit()
        return record.id

    return happen


def released(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    job = claimed_by_another(adapter)

    def happen() -> int:
        adapter.settle([Released(job)])
        return job.id

    return happen


def retried(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    job = claimed_by_another(adapter)
    adapter.settle([Failed(job, error="broken")])

    def happen() -> int:
        assert adapter.retry(JobFilter(ids=(job.id,))) == 1
        return job.id

    return happen


def freed(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    job = claimed_by_another(adapter)

    def happen() -> int:
        adapter.unregister_worker("another")
        return job.id

    return happen


def rolled_back(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    """It is locked while the mark passes it."""
    (record,) = enqueued(adapter)
    other.execute("SELECT FROM background_jobs FOR UPDATE")

    def happen() -> int:
        other.rollback()
        return record.id

    return happen


def more_urgent(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    return lambda: enqueued(adapter, priority=1)[0].id


def due_long_ago(adapter: PostgresAdapter, other: Connection) -> Callable[[], int]:
    return lambda: enqueued(adapter, run_at=datetime(2001, 1, 1, tzinfo=UTC))[0].id


def claimed_by_another(adapter: PostgresAdapter) -> ClaimedJob:
    enqueued(adapter)
    (job,) = adapter.claim(Claim("another", next(TOKENS), 1, 1))
    return job


ARRIVALS = (committed_late, released, retried, freed, rolled_back, more_urgent, due_long_ago)


@WORKERS
@pytest.mark.parametrize("prepare", ARRIVALS)
def test_what_appears_behind_the_mark_is_found_within_a_look(
    adapter: PostgresAdapter,
    other: Connection,
    prepare: Arrival,
    queues: tuple[str, ...] | None,
) -> None:
    happen = prepare(adapter, other)
    first, *_ = ids(enqueued(adapter, 100))
    claimant = Claimant(adapter, queues)
    assert claimant.turn(10) == list(range(first, first + 10))
    appeared = happen()
    assert appeared not in claimant.turn(10)
    claimant.seconds.pass_by(LOOK_AGAIN_SECONDS)
    assert claimant.turn(10)[0] == appeared


@WORKERS
@pytest.mark.parametrize("prepare", ARRIVALS)
def test_what_is_heard_of_is_found_at_once(
    adapter: PostgresAdapter,
    other: Connection,
    prepare: Arrival,
    queues: tuple[str, ...] | None,
) -> None:
    happen = prepare(adapter, other)
    enqueued(adapter, 100)
    claimant = Claimant(adapter, queues)
    claimant.turn(10)
    appeared = happen()
    assert claimant.turn(10, heard=wakeup_about(adapter, appeared))[0] == appeared


@WORKERS
def test_word_without_a_place_is_heard_as_well(
    adapter: PostgresAdapter, other: Connection, queues: tuple[str, ...] | None
) -> None:
    happen = committed_late(adapter, other)
    enqueued(adapter, 100)
    claimant = Claimant(adapter, queues)
    claimant.turn(10)
    appeared = happen()
    assert claimant.turn(10, heard=LOOK_ANYWHERE)[0] == appeared


@WORKERS
def test_a_look_that_waited_for_a_lock_does_not_put_off_the_next(
    adapter: PostgresAdapter,
    other: Connection,
    queues: tuple[str, ...] | None,
    wait_for: Callable[[Callable[[], bool], str], None],
) -> None:
    claimant = Claimant(adapter, queues)
    other.execute("LOCK TABLE background_jobs IN ACCESS EXCLUSIVE MODE")
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'background_jobs'::regclass"
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(claimant.turn)
        wait_for(lambda: other.execute(waiting).fetchone() is not None, "the look")
        claimant.seconds.pass_by(8)
        other.commit()
        assert turn.result() == []
    late = ids(enqueued(adapter))
    assert claimant.turn(heard=LOOK_ANYWHERE) == late


def wakeup_about(adapter: PostgresAdapter, job_id: int) -> Wakeup:
    record = adapter.get(job_id)
    assert record is not None
    return Wakeup(frozenset([record.queue]), (record.priority, record.run_at, record.id), 1)


@WORKERS
def test_a_claim_finds_everything_at_once(
    adapter: PostgresAdapter, other: Connection, queues: tuple[str, ...] | None
) -> None:
    happen = committed_late(adapter, other)
    enqueued(adapter, 50)
    claimant = Claimant(adapter, queues)
    claimant.turn(10)
    appeared = happen()
    (job,) = adapter.claim(Claim("w", next(TOKENS), 1, 1, queues))
    assert job.id == appeared


@WORKERS
def test_what_a_worker_gives_back_is_the_next_that_it_gets(
    adapter: PostgresAdapter, queues: tuple[str, ...] | None
) -> None:
    first, *_ = ids(enqueued(adapter, 30))
    claimant = Claimant(adapter, queues)
    claimant.turn(10)
    given_back = claimant.turn(10)
    claimant.turn(5, settling=Released)
    assert given_back == list(range(first + 10, first + 20))
    assert claimant.turn(10)[:5] == given_back[:5]


def test_who_hears_of_a_job_that_another_took_looks_for_the_next(
    adapter: PostgresAdapter,
) -> None:
    """It would sleep otherwise, and the next job wait for its poll."""
    claimant = Claimant(adapter)
    assert claimant.turn() == []
    records = [*enqueued(adapter, priority=10), *enqueued(adapter, priority=50)]
    adapter.claim(Claim("another", next(TOKENS), 1, 1))
    assert claimant.turn(heard=wakeup_for(records)) == [records[1].id]


def test_who_hears_of_a_job_looks_where_a_queue_is_paused(adapter: PostgresAdapter) -> None:
    adapter.pause_queues(["b"])
    enqueued(adapter, queue="b")
    claimant = Claimant(adapter)
    assert claimant.turn() == []
    records = enqueued(adapter, queue="a")
    assert claimant.turn(heard=wakeup_for(records)) == ids(records)


# A pause holds from the next turn on; a resumed queue is back within a look.


@WORKERS
def test_a_paused_queue_yields_nothing_from_the_next_turn_on(
    adapter: PostgresAdapter, queues: tuple[str, ...] | None
) -> None:
    enqueued(adapter, 50)
    others = ids(enqueued(adapter, 5, queue="b", priority=60))
    claimant = Claimant(adapter, queues)
    assert len(claimant.turn(10)) == 10
    adapter.pause_queues(["a"])
    left = claimant.turn(10) + claimant.turn(10)
    assert left == ([] if queues == ("a",) else others)
    assert claimant.turn(10) == []


@WORKERS
def test_a_resumed_queue_is_back_within_a_look(
    adapter: PostgresAdapter, queues: tuple[str, ...] | None
) -> None:
    first, *_ = ids(enqueued(adapter, 50))
    enqueued(adapter, 100, queue="b", priority=60)
    claimant = Claimant(adapter, queues)
    adapter.pause_queues(["a"])
    claimant.turn(10)
    adapter.resume_queues(["a"])
    at_once = claimant.turn(10)
    claimant.seconds.pass_by(LOOK_AGAIN_SECONDS)
    assert {*at_once, *claimant.turn(10)} >= set(range(first, first + 10))


# Several at once never share a job.


@WORKERS
def test_two_that_claim_from_the_same_lanes_get_each_job_once(
    postgres_url: str, queues: tuple[str, ...] | None
) -> None:
    adapters = [PostgresAdapter(postgres_url) for _ in range(2)]
    expected = ids(enqueued(adapters[0], 2000)) + ids(enqueued(adapters[0], 500, priority=60))
    claimants = [Claimant(made, queues, str(made)) for made in adapters]
    got: list[list[int]] = [[], []]
    begin = threading.Barrier(2)

    def drain(number: int) -> None:
        begin.wait(10)
        while taken := claimants[number].turn(50):
            got[number].extend(taken)

    threads = [threading.Thread(target=drain, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    left = [*claimants[0].turn(2500), *claimants[1].turn(2500)]
    assert sorted(got[0] + got[1] + left) == expected
    assert all(got)
    for made in adapters:
        made.close()


# Nobody settles what is not theirs any more.


def test_a_lost_claim_is_not_removed_by_a_turn(adapter: PostgresAdapter) -> None:
    (record,) = enqueued(adapter)
    claimant = Claimant(adapter)
    claimant.turn()
    (lost,) = claimant.held
    adapter.unregister_worker("w")
    (mine,) = adapter.claim(Claim("another", next(TOKENS), 1, 1))
    claim = Claim("w", next(TOKENS), 10, 10)
    assert adapter.turn([Succeeded(lost)], claim).rejected == (Succeeded(lost),)
    found = adapter.get(record.id)
    assert found is not None
    assert found.locked_by == "another"
    assert adapter.turn([Discarded(mine), Succeeded(lost)], None).rejected == (Succeeded(lost),)


# A turn is one round trip, however much there is to say.


def test_a_turn_of_many_megabytes_comes_to_an_end(empty_postgres_url: str) -> None:
    """More than the system buffers: the driver can wait for an answer to what it has not sent."""
    adapter = PostgresAdapter(empty_postgres_url)
    adapter.migrate()
    enqueued(adapter, 100)
    claimant, got = Claimant(adapter), list[int]()
    claimant.turn(50)
    error = "broken " * 20_000

    def settle() -> None:
        got.extend(claimant.turn(50, settling=lambda job: Failed(job, error=error)))

    turning = threading.Thread(target=settle, daemon=True)
    turning.start()
    turning.join(30)
    assert len(got) == 50
    assert adapter.count_jobs(JobFilter(states=(JobState.FAILED,))) == 50
    adapter.close()
