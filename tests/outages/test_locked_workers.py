"""Somebody keeps rows of workers and of their jobs locked, in PostgreSQL: a console left open.

What is locked waits. Everybody's heartbeats and all other jobs do not.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import make_url

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.errors import DatabaseError
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import (
    Claim,
    ClaimedJob,
    CrashedJob,
    JobState,
    NewJob,
    NewWorker,
    Rescue,
)
from jobqueue.runner.heartbeats import EndedWorker, WorkerHeartbeats
from tests.outages.conftest import Said
from tests.outages.locks import locked
from tests.process.conftest import WaitFor
from tests.test_working import Background

DEAD, LIVING = "dead", "living"
LEASE = timedelta(seconds=60)
TOKENS = itertools.count(1)


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    """One that gives up sooner than usual, so that a wait that must not be is an error."""
    hasty = make_url(postgres_url).update_query_dict({"options": "-c statement_timeout=8s"})
    made = PostgresAdapter(hasty.render_as_string(hide_password=False))
    yield made
    made.close()


def worker(name: str) -> NewWorker:
    return NewWorker(name, "worker", "host", 1, None, 2, LEASE)


def held_by(adapter: Adapter, worker_id: str, number: int = 2) -> list[ClaimedJob]:
    """Jobs that a registered worker has claimed."""
    adapter.register_worker(worker(worker_id))
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)] * number)
    return adapter.claim(Claim(worker_id, next(TOKENS), number, number))


def state_of(adapter: Adapter, job: ClaimedJob) -> tuple[JobState, int, int]:
    found = adapter.get(job.id)
    assert found is not None
    return found.state, found.attempts, found.crashes


# --- what frees jobs passes over what is locked --------------------------------------------------


Way = Callable[[Adapter, list[ClaimedJob]], Rescue | None]


def rescue(adapter: Adapter, _: list[ClaimedJob]) -> Rescue | None:
    seen = [found for found in adapter.workers() if found.id == DEAD]
    return adapter.rescue(seen[0], "gone") if seen else adapter.rescue_orphans(DEAD, "gone")


def rescue_crashed(adapter: Adapter, jobs: list[ClaimedJob]) -> Rescue | None:
    return adapter.rescue_crashed(DEAD, [CrashedJob(job.id, job.token, "died") for job in jobs])


WAYS: dict[str, Way] = {
    "signed off": lambda adapter, _: adapter.unregister_worker(DEAD),
    "lost": rescue,
    "crashed": rescue_crashed,
    "crashed beside its jobs": lambda adapter, _: adapter.rescue_crashed(DEAD, []),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_locked_job_is_passed_over_and_freed_later(
    name: str, adapter: PostgresAdapter, postgres_url: str
) -> None:
    first, second = jobs = held_by(adapter, DEAD)
    with locked(postgres_url, "background_jobs", first.id):
        assert WAYS[name](adapter, jobs) == Rescue(DEAD, (second.id,), locked=(first.id,))
        assert WAYS[name](adapter, jobs) == Rescue(DEAD, locked=(first.id,))
    assert adapter.workers() == []
    assert WAYS[name](adapter, jobs) == Rescue(DEAD, (first.id,))
    assert state_of(adapter, first) == state_of(adapter, second)


def test_orphans_as_well(adapter: PostgresAdapter, postgres_url: str) -> None:
    first, second = held_by(adapter, DEAD)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DELETE FROM background_workers")
    with locked(postgres_url, "background_jobs", first.id):
        freed = adapter.rescue_orphans(DEAD, "gone")
        assert freed == Rescue(DEAD, (second.id,), locked=(first.id,))
    assert adapter.rescue_orphans(DEAD, "gone") == Rescue(DEAD, (first.id,))


def test_strays_as_well(adapter: PostgresAdapter, postgres_url: str) -> None:
    first, second, mine = held_by(adapter, LIVING, 3)
    held = {(mine.id, mine.token)}
    with locked(postgres_url, "background_jobs", first.id):
        assert adapter.release_strays(LIVING, held) == Rescue(LIVING, (second.id,))
    assert adapter.release_strays(LIVING, held) == Rescue(LIVING, (first.id,))
    assert state_of(adapter, mine)[0] is JobState.RUNNING


def test_a_job_that_crashed_is_charged_for_it_when_it_can_be_freed(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    guilty, prefetched = held_by(adapter, DEAD)
    crashed = [CrashedJob(guilty.id, guilty.token, "died")]
    with locked(postgres_url, "background_jobs", guilty.id):
        assert adapter.rescue_crashed(DEAD, crashed).locked == (guilty.id,)
    assert adapter.rescue_crashed(DEAD, crashed).has_freed_all
    assert state_of(adapter, guilty) == (JobState.READY, 1, 1)
    assert state_of(adapter, prefetched) == (JobState.READY, 0, 0)


@pytest.mark.parametrize("name", ["signed off", "crashed"])
def test_the_locked_row_of_a_worker_that_has_ended_does_not_keep_its_jobs(
    name: str, adapter: PostgresAdapter, postgres_url: str
) -> None:
    jobs = held_by(adapter, DEAD)
    ids = tuple(job.id for job in jobs)
    with locked(postgres_url, "background_workers", DEAD):
        assert WAYS[name](adapter, jobs) == Rescue(DEAD, ids, worker_is_locked=True)
    assert WAYS[name](adapter, jobs) == Rescue(DEAD)
    assert adapter.workers() == []


def test_a_worker_whose_row_is_locked_is_not_taken_for_dead(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    """It cannot beat, so its heartbeat says nothing. It counts anew when the row is free."""
    seconds = 0.0
    (job,) = held_by(adapter, LIVING, 1)
    rescuer = Rescuer(adapter, LEASE, monotonic=lambda: seconds)
    assert rescuer.rescue() == []
    with locked(postgres_url, "background_workers", LIVING):
        seconds += LEASE.total_seconds()
        assert rescuer.rescue() == [Rescue(LIVING, worker_is_locked=True)]
    assert rescuer.rescue() == []
    assert state_of(adapter, job)[0] is JobState.RUNNING
    seconds += LEASE.total_seconds()
    assert rescuer.rescue() == [Rescue(LIVING, (job.id,))]


def test_one_locked_job_does_not_hold_up_the_rescue_of_others(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    seconds = 0.0
    first, second = held_by(adapter, DEAD)
    (other,) = held_by(adapter, "dead as well", 1)
    rescuer = Rescuer(adapter, LEASE, monotonic=lambda: seconds)
    rescuer.rescue()
    seconds += LEASE.total_seconds()
    with locked(postgres_url, "background_jobs", first.id):
        assert rescuer.rescue() == [
            Rescue(DEAD, (second.id,), locked=(first.id,)),
            Rescue("dead as well", (other.id,)),
        ]
        assert rescuer.rescue() == [Rescue(DEAD, locked=(first.id,))]
    # Not only after another lease: that the worker is dead is known.
    assert rescuer.rescue() == [Rescue(DEAD, (first.id,))]
    assert rescuer.rescue() == []


def test_a_worker_whose_jobs_cannot_be_freed_does_not_hold_up_the_rescue_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory, seconds = MemoryAdapter(), 0.0
    for name in (DEAD, "dead as well"):
        held_by(memory, name, 1)
    free, rescued = memory.rescue, list[str]()

    def refuse_one(seen: object, error: str, why: str | None = None) -> Rescue | None:
        if seen.id == DEAD:  # type: ignore[attr-defined]
            raise DatabaseError("a trigger refuses it")
        return free(seen, error, why)  # type: ignore[arg-type]

    monkeypatch.setattr(memory, "rescue", refuse_one)
    rescuer = Rescuer(memory, LEASE, monotonic=lambda: seconds)
    rescuer.rescue()
    seconds += LEASE.total_seconds()
    with pytest.raises(DatabaseError, match="trigger"):
        rescuer.rescue(lambda rescue: rescued.append(rescue.worker_id))
    assert rescued == ["dead as well"]


# --- heartbeats ----------------------------------------------------------------------------------


def test_a_locked_worker_does_not_keep_the_others_from_beating(
    adapter: PostgresAdapter, postgres_url: str
) -> None:
    for name in (DEAD, LIVING):
        adapter.register_worker(worker(name))
    before = beats_of(adapter)
    with locked(postgres_url, "background_workers", DEAD):
        assert adapter.beat([DEAD, LIVING, "stranger"]) == {DEAD, LIVING}
    after = beats_of(adapter)
    assert after[DEAD] == before[DEAD]
    assert after[LIVING] > before[LIVING]
    assert adapter.beat([DEAD, LIVING]) == {DEAD, LIVING}
    assert beats_of(adapter)[DEAD] > before[DEAD]


def beats_of(adapter: Adapter) -> dict[str, datetime]:
    return {found.id: found.heartbeat_at for found in adapter.workers()}


def test_a_supervisor_beats_and_rescues_while_rows_of_a_dead_worker_are_locked(
    adapter: PostgresAdapter, postgres_url: str, wait_for: WaitFor, said: Said
) -> None:
    first, second = held_by(adapter, DEAD)
    (other,) = held_by(adapter, "dead as well", 1)
    adapter.register_worker(worker(LIVING))
    heartbeats = WorkerHeartbeats(
        adapter,
        Rescuer(adapter, LEASE),
        0.4,
        lambda: [worker(LIVING)],
        logging.getLogger("jobqueue.test"),
    )
    heartbeats.start()
    try:
        with locked(postgres_url, "background_jobs", first.id):
            heartbeats.clear(EndedWorker(DEAD))
            heartbeats.clear(EndedWorker("dead as well"))
            wait_for(lambda: are_ready(adapter, second, other), "what is not locked to be freed")
            wait_for(lambda: said.count("rescue_waits") > 0, "what waits to be said")
            beaten = beats_of(adapter)[LIVING]
            wait_for(lambda: beats_of(adapter)[LIVING] > beaten, "a beat")
            assert not are_ready(adapter, first)
        wait_for(lambda: are_ready(adapter, first), "what was locked to be freed")
    finally:
        heartbeats.stop(timeout_seconds=10)
    assert said.count("rescue_waits") == 1
    assert f"its jobs #{first.id} locked" in said.text_of("rescue_waits")


def are_ready(adapter: Adapter, *jobs: ClaimedJob) -> bool:
    return all(state_of(adapter, job)[0] is JobState.READY for job in jobs)


@pytest.mark.parametrize("method", ["rescue_crashed", "workers", "orphaned_workers"])
def test_no_beat_of_a_supervisor_waits_for_a_rescue(
    method: str, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    memory = MemoryAdapter()
    memory.register_worker(worker(LIVING))
    heartbeats = WorkerHeartbeats(
        memory,
        Rescuer(memory, LEASE),
        0.1,
        lambda: [worker(LIVING)],
        logging.getLogger("jobqueue.test"),
    )
    with beats_noted(memory, monkeypatch) as beaten:
        with stuck(memory, method, monkeypatch) as is_stuck:
            heartbeats.start()
            heartbeats.clear(EndedWorker(DEAD))
            beats_go_on(beaten, is_stuck, wait_for)
        heartbeats.stop(timeout_seconds=10)


@pytest.mark.parametrize("method", ["workers", "orphaned_workers"])
def test_no_beat_of_a_worker_without_a_supervisor_waits_for_a_rescue(
    method: str, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    memory = MemoryAdapter()
    with (
        beats_noted(memory, monkeypatch) as beaten,
        Background(JobQueue(memory, lease=1).worker()),
        stuck(memory, method, monkeypatch) as is_stuck,
    ):
        beats_go_on(beaten, is_stuck, wait_for)


def beats_go_on(beaten: list[str], is_stuck: threading.Event, wait_for: WaitFor) -> None:
    assert is_stuck.wait(20)
    before = len(beaten)
    wait_for(lambda: len(beaten) > before + 1, "beats that go on")


@contextmanager
def beats_noted(memory: MemoryAdapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    beat, beaten = memory.beat, list[str]()

    def note(worker_ids: list[str]) -> set[str]:
        beaten.extend(worker_ids)
        return beat(worker_ids)

    monkeypatch.setattr(memory, "beat", note)
    yield beaten


@contextmanager
def stuck(
    memory: MemoryAdapter, method: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[threading.Event]:
    """Whoever calls a method is stuck until the end of the block; the event says that one is."""
    call, is_stuck, go_on = getattr(memory, method), threading.Event(), threading.Event()

    def wait(*arguments: object) -> object:
        is_stuck.set()
        assert go_on.wait(60)
        return call(*arguments)

    monkeypatch.setattr(memory, method, wait)
    try:
        yield is_stuck
    finally:
        go_on.set()
