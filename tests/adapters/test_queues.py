"""What a claim passes over: paused queues, and jobs that somebody else is taking."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import make_url

from jobqueue import JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import Claim, NewJob
from tests.sample_jobs import Note

QUEUES = ("a", "b", "c")


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    """Three jobs in each of three queues; those of `a` are the most urgent."""
    made = connect(database_url)
    assert isinstance(made, SqlAdapter)
    made.enqueue([NewJob("Work", "{}", queue, n, 5) for n, queue in enumerate(QUEUES * 3)])
    yield made
    made.close()


def claimed(adapter: SqlAdapter, queues: tuple[str, ...] | None = None) -> list[int]:
    """Ids of what a claim takes, which is given back."""
    jobs = adapter.claim(Claim("w", 7, 100, 100, queues))
    adapter.unregister_worker("w")
    return [job.id for job in jobs]


def test_jobs_of_a_paused_queue_stay(adapter: SqlAdapter) -> None:
    adapter.pause_queues(["a"])
    assert adapter.paused_queues() == {"a"}
    assert claimed(adapter) == [2, 3, 5, 6, 8, 9]
    assert claimed(adapter, ("a", "c")) == [3, 6, 9]
    assert claimed(adapter, ("a",)) == []


def test_several_queues_may_be_paused(adapter: SqlAdapter) -> None:
    adapter.pause_queues(["a", "c"])
    assert claimed(adapter) == [2, 5, 8]
    adapter.pause_queues(["b"])
    assert claimed(adapter) == []
    assert claimed(adapter, QUEUES) == []


def test_a_resumed_queue_is_claimed_from_again(adapter: SqlAdapter) -> None:
    adapter.pause_queues(["a"])
    adapter.resume_queues(["a"])
    assert adapter.paused_queues() == set()
    assert claimed(adapter) == list(range(1, 10))


def test_new_queues_are_seen_while_one_is_paused(adapter: SqlAdapter) -> None:
    adapter.pause_queues(["a"])
    made = adapter.enqueue([NewJob("Work", "{}", name, -1, 5) for name in ("A", "zz", "a")])
    assert claimed(adapter)[:2] == [made[0].id, made[1].id]


@pytest.mark.parametrize("queues", [None, QUEUES])
def test_jobs_that_another_is_taking_are_passed_over(
    postgres_url: str, queues: tuple[str, ...] | None
) -> None:
    impatient = make_url(postgres_url).update_query_dict({"options": "-c lock_timeout=2s"})
    adapter = connect(impatient.render_as_string(hide_password=False))
    adapter.enqueue([NewJob("Work", "{}", queue, 50, 5) for queue in QUEUES * 3])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT FROM background_jobs WHERE id IN (1, 2, 6) FOR UPDATE")
        jobs = adapter.claim(Claim("w", 7, 4, 4, queues))
    assert [job.id for job in jobs] == [3, 4, 5, 7]
    adapter.close()


@pytest.mark.parametrize("queues", ["*", ("a", "A")])
def test_working_off_waits_for_a_job_that_another_is_taking_however_many_are_paused(
    postgres_url: str, queues: str | tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connect(postgres_url)) as adapter, psycopg.connect(postgres_url) as other:
        adapter.enqueue([NewJob(Note.name, '{"what": "late"}', "a", 50, 5)])
        adapter.enqueue([NewJob("Held", "{}", "A", 50, 5) for _ in range(150)])
        adapter.pause_queues(["A"])
        other.execute("SELECT FROM background_jobs WHERE id = 1 FOR UPDATE")
        looked, list_paused = threading.Event(), adapter.paused_queues

        def note() -> set[str]:
            looked.set()
            return list_paused()

        monkeypatch.setattr(adapter, "paused_queues", note)
        queue = JobQueue(adapter, queues=queues, poll_interval=0.05)
        with ThreadPoolExecutor(1) as threads:
            tally = threads.submit(queue.work_off)
            assert looked.wait(20)
            with pytest.raises(TimeoutError):
                tally.result(0.5)
            other.rollback()
            assert tally.result(20).succeeded == 1
