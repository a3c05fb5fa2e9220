"""What a claim passes over: paused queues, and jobs that somebody else is taking."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.records import Claim, NewJob

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
