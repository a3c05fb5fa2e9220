"""What somebody keeps locked holds up nothing else: attempts, and the counts of errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.records import (
    MOST_ATTEMPTS_KEPT,
    Claim,
    ClaimedJob,
    CrashedJob,
    ErrorGroup,
    Failed,
    JobFilter,
    JobState,
    NewErrors,
    NewJob,
    NewWorker,
    Retried,
    Succeeded,
)
from jobqueue.retention import NOTHING

SECOND = timedelta(seconds=1)


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    made = PostgresAdapter(postgres_url)
    lease = timedelta(seconds=30)
    made.register_worker(NewWorker("worker", "w", "h", 1, None, 1, lease))
    yield made
    made.close()


def tried(adapter: PostgresAdapter, times: int) -> ClaimedJob:
    """A job that is running, after attempts that have failed."""
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 1000)])
    for number in range(times):
        (job,) = adapter.claim(Claim("worker", number + 1, 1, 1))
        assert adapter.settle([Retried(job, error=f"no {number}")]) == []
    (job,) = adapter.claim(Claim("worker", times + 1, 1, 1))
    return job


@pytest.mark.parametrize("times", [1, MOST_ATTEMPTS_KEPT])
@pytest.mark.parametrize("what", ["succeeds", "fails", "crashes", "deleted", "pruned"])
def test_nobody_waits_for_a_locked_attempt(
    adapter: PostgresAdapter, postgres_url: str, times: int, what: str
) -> None:
    job = tried(adapter, times)
    if what in {"deleted", "pruned"}:
        adapter.settle([Failed(job, error="at last")])
    with psycopg.connect(postgres_url) as somebody:
        somebody.execute("SELECT FROM background_attempts FOR UPDATE")
        adapter.enqueue([NewJob("Other", "{}", "other", 50, 5)])
        (other,) = adapter.claim(Claim("worker", 4711, 1, 1, queues=("other",)))
        if what == "succeeds":
            assert adapter.turn([Succeeded(job), Succeeded(other)], None).rejected == ()
        elif what == "fails":
            assert adapter.turn([Failed(job, error="at last"), Succeeded(other)], None).locked == ()
        elif what == "crashes":
            rescue = adapter.rescue_crashed("worker", [CrashedJob(job.id, job.token, "it died")])
            assert set(rescue.released) == {job.id, other.id}
        elif what == "deleted":
            assert adapter.delete(JobFilter(ids=(job.id,))) == 1
        else:
            assert adapter.prune(JobState.FAILED, ["Work"], NOTHING, 10) == 1
    if what in {"fails", "crashes"}:
        assert adapter.attempts(job.id)[-1].number == times + 1


@pytest.mark.parametrize("table", ["background_errors", "background_error_counts"])
def test_a_locked_group_of_errors_holds_up_no_other(
    adapter: PostgresAdapter, postgres_url: str, table: str
) -> None:
    def errors(*names: str) -> list[NewErrors]:
        groups = [ErrorGroup(name, "Work", "ValueError", None, name) for name in names]
        return [NewErrors(group, 1, group.message, 1) for group in groups]

    def counted(name: str) -> int:
        group = adapter.error_group(name)
        return 0 if group is None else sum(hour.number for hour in group.hours)

    adapter.add_errors(errors("held", "free"))
    with psycopg.connect(postgres_url) as somebody:
        somebody.execute(f"SELECT FROM {table} WHERE key = 'held' FOR UPDATE".encode())
        assert adapter.add_errors(errors("held", "free", "new")) == {"held"}
        assert [counted(name) for name in ("held", "free", "new")] == [1, 2, 1]
    assert adapter.add_errors(errors("held")) == set()
    assert counted("held") == 2
