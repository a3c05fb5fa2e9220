"""Somebody keeps the row of a running job locked, in PostgreSQL: a console left open.

The outcome of that job waits. Its worker settles all others meanwhile, and claims more.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

import psycopg
import pytest
from sqlalchemy import text

from jobqueue import Constant, Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.postgres import path
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import (
    Cancelled,
    Claim,
    ClaimedJob,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    NewJob,
    Outcome,
    Released,
    Retried,
    Succeeded,
    Turn,
)
from jobqueue.worker import pump
from tests.outages.conftest import Said
from tests.outages.locks import locked
from tests.process.conftest import WaitFor
from tests.sample_jobs import Note, calls
from tests.test_working import Background

ME = "me"
JOBS = "background_jobs"
TOKENS = itertools.count(1)


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    made = connect(postgres_url)
    assert isinstance(made, PostgresAdapter)
    calls.clear()
    yield made
    made.close()


def held(adapter: PostgresAdapter, number: int) -> list[ClaimedJob]:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * number)
    return adapter.claim(Claim(ME, next(TOKENS), number, number))


def states(adapter: PostgresAdapter, *jobs: ClaimedJob) -> list[JobState | None]:
    found = [adapter.get(job.id) for job in jobs]
    return [None if record is None else record.state for record in found]


# --- one turn ------------------------------------------------------------------------------------


OUTCOMES: dict[str, tuple[Callable[[ClaimedJob], Outcome], JobState | None]] = {
    "removed": (Succeeded, None),
    "kept": (partial(Succeeded, keep=True, result="7"), JobState.SUCCEEDED),
    "failed": (partial(Failed, error="broken"), JobState.FAILED),
    "retried": (partial(Retried, error="again", delay=timedelta(hours=1)), JobState.READY),
    "released": (Released, JobState.READY),
    "discarded": (partial(Discarded, reason="unwanted"), JobState.CANCELLED),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_others_are_settled_and_it_is_when_its_row_is_free(
    name: str, adapter: PostgresAdapter, postgres_url: str
) -> None:
    make, state = OUTCOMES[name]
    first, second, third = held(adapter, 3)
    outcomes = [make(first), make(second), Succeeded(third)]
    with locked(postgres_url, JOBS, first.id):
        assert adapter.turn(outcomes, None) == Turn((), (), locked=(outcomes[0],))
        assert states(adapter, first, second, third) == [JobState.RUNNING, state, None]
        assert adapter.settle_unlocked(outcomes[:1]) == Turn((), (), locked=(outcomes[0],))
    assert adapter.settle_unlocked(outcomes[:1]) == Turn((), ())
    assert states(adapter, first) == [state]


def test_a_lock_that_does_not_last_is_waited_for(
    adapter: PostgresAdapter, postgres_url: str, wait_for: WaitFor
) -> None:
    (job,) = held(adapter, 1)
    turns: list[Turn] = []
    settling = threading.Thread(target=lambda: turns.append(adapter.turn([Succeeded(job)], None)))
    with locked(postgres_url, JOBS, job.id), psycopg.connect(postgres_url) as other:
        settling.start()
        query = "SELECT FROM pg_locks WHERE NOT granted"
        wait_for(lambda: bool(other.execute(query).fetchall()) or bool(turns), "it to wait")
    settling.join(20)
    if turns[0].locked:  # on a crowded machine it has waited for long enough
        assert adapter.settle_unlocked(turns[0].locked) == Turn((), ())
    assert states(adapter, job) == [None]


def test_one_that_is_cancelled_meanwhile_ends_so(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    (job,) = held(adapter, 1)
    outcome = Retried(job, error="broken")
    with locked(postgres_url, JOBS, job.id) as console:
        assert adapter.turn([outcome], None).locked == (outcome,)
        console.execute("UPDATE background_jobs SET cancel_requested_at = now(), last_error = '?'")
    turn = adapter.settle_unlocked([outcome])
    assert turn.cancelled == (Cancelled(job, reason="?", error="broken"),)
    assert states(adapter, job) == [JobState.CANCELLED]


@pytest.mark.parametrize(
    "change", ["DELETE FROM background_jobs", "UPDATE background_jobs SET claim_token = 0"]
)
def test_one_that_is_lost_meanwhile_is_rejected(
    change: str, adapter: PostgresAdapter, postgres_url: str
) -> None:
    (job,) = held(adapter, 1)
    outcome = Succeeded(job)
    with locked(postgres_url, JOBS, job.id) as console:
        assert adapter.turn([outcome], None).locked == (outcome,)
        console.execute(change.encode())
        assert adapter.settle_unlocked([outcome]).locked == (outcome,)
    assert adapter.settle_unlocked([outcome]).rejected == (outcome,)


def test_a_text_that_is_refused_and_a_stale_claim_in_the_same_turn(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    first, second, third, fourth = held(adapter, 4)
    stale = Succeeded(replace(fourth, token=4711))
    refused = Failed(second, error="a\0b")
    outcomes: Sequence[Outcome] = [Succeeded(first), refused, stale, Succeeded(third)]
    with locked(postgres_url, JOBS, first.id):
        turn = adapter.turn(outcomes, None)
    assert (turn.locked, turn.rejected) == ((outcomes[0],), (stale,))
    assert states(adapter, second, third) == [JobState.FAILED, None]


def test_who_settles_at_one_go_is_told_what_was_not(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    first, second = held(adapter, 2)
    with locked(postgres_url, JOBS, first.id):
        with pytest.raises(DatabaseUnavailable, match=f"rows of jobs locked: {first.id}"):
            adapter.settle([Succeeded(first), Succeeded(second)])
        assert states(adapter, first, second) == [JobState.RUNNING, None]


def test_locks_met_again_and_again_on_one_connection(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    """The driver prepares what it has run five times, also what the server did not come to."""
    for _ in range(10):
        first, second = held(adapter, 2)
        outcomes = [Succeeded(first), Failed(second, keep=False)]
        with locked(postgres_url, JOBS, first.id):
            turn = adapter.turn(outcomes, Claim(ME, next(TOKENS), 1, 1))
            assert turn == Turn((), (), locked=(outcomes[0],))
        assert adapter.settle_unlocked(turn.locked) == Turn((), ())


# --- a worker ------------------------------------------------------------------------------------


class Held(Job):
    """Waits until the test lets it go."""

    entered: ClassVar[threading.Semaphore]
    let_go: ClassVar[threading.Event]

    def perform(self, name: str) -> None:
        wait_to_be_let_go()
        calls.append(name)


def wait_to_be_let_go() -> None:
    Held.entered.release()
    assert Held.let_go.wait(60)


class Broken(Held):
    retry = Constant(timedelta(hours=1))

    def perform(self, name: str) -> None:
        super().perform(name)
        raise ValueError("broken")


@pytest.fixture(autouse=True)
def nothing_let_go() -> None:
    Held.entered, Held.let_go = threading.Semaphore(0), threading.Event()


@pytest.mark.parametrize("job", [Held, Broken])
def test_a_worker_settles_the_other_seven_and_goes_on(
    job: type[Held], adapter: PostgresAdapter, postgres_url: str, wait_for: WaitFor, said: Said
) -> None:
    queue = JobQueue(adapter, poll_interval=0.05, concurrency=8)
    records = [queue.enqueue(job, str(number)) for number in range(8)]
    with Background(queue.worker()) as background:
        for _ in records:
            assert Held.entered.acquire(timeout=20)
        with locked(postgres_url, JOBS, records[0].id):
            Held.let_go.set()
            wait_for(lambda: are_settled(adapter, records[1:]), "the others to be settled")
            for number in range(8, 20):
                queue.enqueue(Note, str(number))
            wait_for(lambda: len(calls) == 20, "more to be claimed")
            wait_for(lambda: said.count("settle_waits") == 1, "what waits to be said")
            assert not are_settled(adapter, records[:1])
        wait_for(lambda: are_settled(adapter, records), "the last to be settled")
    assert sorted(map(int, calls)) == list(range(20))
    assert said.count("settle_waits") == 1
    assert f"#{records[0].id}: the outcome" in said.text_of("settle_waits")
    assert not {"database_lost", "job_rejected", "outcome_lost"}.intersection(said.events())
    performed = background.tally.succeeded + background.tally.retried
    assert (performed, background.tally.rejected) == (20, 0)


def are_settled(adapter: PostgresAdapter, records: Sequence[Any]) -> bool:
    ids = tuple(record.id for record in records)
    return adapter.count_jobs(JobFilter(ids=ids, states=(JobState.RUNNING,))) == 0


def test_a_worker_that_works_off_waits_for_it(
    adapter: PostgresAdapter, postgres_url: str, wait_for: WaitFor, said: Said
) -> None:
    queue = JobQueue(adapter, poll_interval=0.05)
    record = queue.enqueue(Held, "held")
    working = threading.Thread(target=queue.work_off)
    working.start()
    assert Held.entered.acquire(timeout=20)
    with locked(postgres_url, JOBS, record.id):
        Held.let_go.set()
        wait_for(lambda: said.count("settle_waits") == 1, "it to wait")
        working.join(0.3)
        assert working.is_alive()
    working.join(20)
    assert not working.is_alive()
    assert adapter.count_by_state() == {}
    assert calls == ["held"]


def test_a_worker_that_is_stopped_waits_for_it_some_seconds(
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pump, "LAST_SETTLE_SECONDS", 0.5)
    queue = JobQueue(adapter, poll_interval=0.05)
    record = queue.enqueue(Held, "held")
    with Background(queue.worker()) as background:
        assert Held.entered.acquire(timeout=20)
        with locked(postgres_url, JOBS, record.id):
            Held.let_go.set()
            wait_for(lambda: said.count("settle_waits") == 1, "it to wait")
            background.worker.stop()
            wait_for(lambda: said.count("worker_stopped") == 1, "it to end all the same")
    assert said.count("outcome_lost") == 1
    assert adapter.workers() == []
    assert adapter.rescue_orphans(adapter.orphaned_workers()[0], "gone") is not None
    assert are_settled(adapter, [record])


def test_its_row_is_no_stray(
    adapter: PostgresAdapter, postgres_url: str, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker holds it still, though it performs it no longer."""
    release, known = adapter.release_strays, list[bool]()

    def note(worker_id: str, claims: Any) -> Any:
        known.append(record.id in {job_id for job_id, _ in claims})
        return release(worker_id, claims)

    queue = JobQueue(adapter, poll_interval=0.05, lease=0.2)
    record = queue.enqueue(Held, "held")
    monkeypatch.setattr(adapter, "release_strays", note)
    with Background(queue.worker()):
        assert Held.entered.acquire(timeout=20)
        with locked(postgres_url, JOBS, record.id):
            Held.let_go.set()
            wait_for(lambda: calls == ["held"], "it to be performed")
            before = len(known)
            wait_for(lambda: len(known) > before + 1, "strays to be released")
        wait_for(lambda: adapter.count_by_state() == {}, "it to be settled")
    assert all(known[before:])
    assert calls == ["held"]


@pytest.mark.parametrize("commits", [True, False])
def test_a_turn_without_an_answer_that_still_has_it_locked(
    commits: bool,
    adapter: PostgresAdapter,
    postgres_url: str,
    wait_for: WaitFor,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection broke, and the server does not know yet. Then it commits, or does not."""
    turn, refuse = adapter.turn, threading.Event()

    def turn_without_an_answer(outcomes: Sequence[Outcome], *rest: Any) -> Turn:
        if outcomes and refuse.is_set():
            refuse.clear()
            raise DatabaseUnavailable("no answer")
        return turn(outcomes, *rest)

    monkeypatch.setattr(adapter, "turn", turn_without_an_answer)
    queue = JobQueue(adapter, poll_interval=0.05)
    record = queue.enqueue(Held, "held")
    with Background(queue.worker()):
        assert Held.entered.acquire(timeout=20)
        refuse.set()
        with psycopg.connect(postgres_url) as server:
            server.execute("DELETE FROM background_jobs WHERE id = %s", [record.id])
            Held.let_go.set()
            wait_for(lambda: said.count("settle_waits") == 1, "it to wait")
            queue.enqueue(Note, "more")
            wait_for(lambda: "more" in calls, "the worker to go on")
            server.commit() if commits else server.rollback()
        wait_for(lambda: is_counted(said, record.id), "it to be reported")
    assert adapter.count_by_state() == {}
    assert calls == ["held", "more"]
    assert "job_rejected" not in said.events()


def is_counted(said: Said, job_id: int) -> bool:
    done = [r for r in said.records("job_succeeded") if r.__dict__["job_id"] == job_id]
    return len(done) == 1


# --- a job's own transaction ---------------------------------------------------------------------


class Pay(Held):
    retry = Constant(timedelta(0))

    def perform(self, name: str) -> None:
        with self.transaction() as session:
            session.execute(text("INSERT INTO payments VALUES (1)"))
            super().perform(name)


class PayAsync(Job):
    retry = Constant(timedelta(0))

    async def perform(self, name: str) -> None:
        async with self.transaction() as session:
            await session.execute(text("INSERT INTO payments VALUES (1)"))
            await asyncio.to_thread(wait_to_be_let_go)


@pytest.fixture
def payments(postgres_url: str) -> Iterator[Callable[[], int]]:
    """A table of the application; how many rows it has."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE payments (amount int)")
        try:
            yield lambda: connection.execute("TABLE payments").rowcount
        finally:
            connection.execute("DROP TABLE payments")


@pytest.mark.parametrize("job", [Pay, PayAsync])
def test_a_jobs_own_transaction_is_rolled_back_and_made_again(
    job: type[Job],
    adapter: PostgresAdapter,
    payments: Callable[[], int],
    postgres_url: str,
    wait_for: WaitFor,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its completion is written in it, and waits only so long: it has locked other rows."""
    monkeypatch.setattr(path, "LONGEST_WAIT_OF_JOB_MS", 300)
    queue = JobQueue(adapter, poll_interval=0.05, concurrency=2)
    record = queue.enqueue(job, "paid")
    with Background(queue.worker()):
        assert Held.entered.acquire(timeout=20)
        with locked(postgres_url, JOBS, record.id):
            Held.let_go.set()
            wait_for(lambda: said.count("settle_waits") == 1, "its outcome to wait")
            queue.enqueue(Note, "another")
            wait_for(lambda: "another" in calls, "the worker to go on")
            assert payments() == 0
        wait_for(lambda: adapter.count_by_state() == {}, "it to be settled")
    assert payments() == 1
    assert "keeps its row in background_jobs locked" in said.text_of("job_retried")
    assert "database_lost" not in said.events()
