"""`jobs bench`: figures come out, and nothing is left behind, however it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobqueue.adapters import connect
from jobqueue.bench import runs
from jobqueue.bench.runs import Trial
from jobqueue.config import Settings
from jobqueue.records import JobFilter
from jobqueue.runner.attached import interruptible
from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker
from tests.conftest import Project

Wait = Callable[[Callable[[], bool], str], None]

TITLES = ["enqueue, one by one", "enqueue, in bulk", "drain", "latency"]
MANY = ("--jobs", "1000000")


def url_of(project: Project) -> str:
    return project.environment["JOBS_DATABASE_URL"]


def left_behind(project: Project) -> list[str]:
    """Scratch schemas or files that are there."""
    url = url_of(project)
    if url.startswith("sqlite"):
        database = Path(url.removeprefix("sqlite:///"))
        return [path.name for path in database.parent.glob(f"{database.name}.bench*")]
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jobqueue%'"
        ).fetchall()
    return [name for (name,) in found]


def scratch_is_filled(project: Project) -> bool:
    """Whether jobs are in the scratch tables."""
    names = [name for name in left_behind(project) if not name.endswith(("-wal", "-shm"))]
    if not names:
        return False
    url = url_of(project)
    if url.startswith("sqlite"):
        return (Path(url.removeprefix("sqlite:///")).parent / f"{names[0]}-wal").exists()
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = %s", names
        ).fetchone()
    return found is not None and found[0] > 0


@contextmanager
def started(project: Project, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "jobqueue", "bench", *arguments],
        cwd=project.folder,
        env=dict(project.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_table_of_all_there_is(project: Project) -> None:
    run = project.jobs("bench", "--jobs", "200")
    assert (run.exit_code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0].split() == ["BENCHMARK", "JOBS", "JOBS/S", "P50", "MS", "P99", "MS"]
    assert [re.split(r"  +", line)[0] for line in lines[1:5]] == TITLES
    assert re.fullmatch(r"(SQLite|PostgreSQL) \S+, one worker process, concurrency 1", lines[-1])
    assert left_behind(project) == []


@pytest.mark.parametrize("concurrency", [1, 4])
def test_figures_for_programs(project: Project, concurrency: int) -> None:
    run = project.jobs("bench", "--json", "--jobs", "300", "--concurrency", str(concurrency))
    assert (run.exit_code, run.err) == (0, "")
    found = json.loads(run.out)
    assert found["concurrency"] == concurrency
    figures: dict[str, Any] = {figure["name"]: figure for figure in found["figures"]}
    assert {name: figure["jobs"] for name, figure in figures.items()} == {
        "enqueue": 30,
        "enqueue_bulk": 300,
        "drain": 300,
        "latency": 3,
    }
    rates = [figures[name]["jobs_per_second"] for name in ("enqueue", "enqueue_bulk", "drain")]
    assert all(rate > 0 for rate in rates)
    for name in ("enqueue", "latency"):
        assert 0 < figures[name]["p50_ms"] <= figures[name]["p99_ms"]


def test_only_what_was_asked_for(project: Project) -> None:
    run = project.jobs("bench", "latency", "drain", "--jobs", "1", "--json")
    figures = json.loads(run.out)["figures"]
    assert [(figure["name"], figure["jobs"]) for figure in figures] == [
        ("drain", 1),
        ("latency", 1),
    ]


def test_the_jobs_of_the_application_are_left_alone(project: Project) -> None:
    project.write("jobqueue.toml", 'queues = ["elsewhere"]\nkeep_succeeded = true\n')
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    assert project.jobs("bench", "--jobs", "50").exit_code == 0
    adapter = connect(url_of(project))
    (job,) = adapter.list_jobs(JobFilter(), 10)
    assert (job.handler, job.state, job.attempts) == ("jobs.Greet", "ready", 0)
    assert adapter.workers() == []
    adapter.close()


def test_tables_are_not_needed(empty_project: Project, empty_database_url: str) -> None:
    run = empty_project.jobs("bench", "drain", "--jobs", "5", "--database-url", empty_database_url)
    assert (run.exit_code, run.err) == (0, "")
    assert empty_project.jobs("list", "--database-url", empty_database_url).exit_code == 3


@pytest.mark.parametrize("benchmark", ["enqueue", "drain", "latency"])
def test_ctrl_c_leaves_nothing_behind(project: Project, wait_for: Wait, benchmark: str) -> None:
    with started(project, benchmark, *MANY) as process:
        wait_for(lambda: scratch_is_filled(project), "the scratch tables")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert left_behind(project) == []


class Lossy:
    """Is interrupted where Python cannot raise it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_python_loses_is_noticed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_type))
    with interruptible() as end_if_interrupted:
        end_if_interrupted()
        Lossy()
        assert lost == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            end_if_interrupted()


@pytest.mark.timeout(30)
def test_ctrl_c_before_the_worker_has_performed_anything(
    database_url: str, wait_for: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = connect(database_url)

    def interrupted_at_once(worker: Worker) -> Tally:
        wait_for(lambda: adapter.count_by_state() != {}, "the first job")
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_attached", interrupted_at_once)
    with pytest.raises(KeyboardInterrupt):
        runs.latency(Trial(adapter, Settings(), 100, lambda *_: None))
    adapter.close()


def test_the_next_run_removes_what_a_killed_one_left(project: Project, wait_for: Wait) -> None:
    with started(project, "enqueue", *MANY) as process:
        wait_for(lambda: scratch_is_filled(project), "the scratch tables")
        process.kill()
        process.wait()
    assert left_behind(project)
    wait_for(lambda: next_run_leaves_nothing(project), "the removal")


def next_run_leaves_nothing(project: Project) -> bool:
    """A server notices only by and by that a client is gone."""
    assert project.jobs("bench", "drain", "--jobs", "1").exit_code == 0
    return not left_behind(project)


def test_two_at_a_time_leave_each_other_alone(project: Project, wait_for: Wait) -> None:
    with started(project, "enqueue", *MANY) as process:
        wait_for(lambda: scratch_is_filled(project), "the scratch tables")
        before = left_behind(project)[0]
        assert project.jobs("bench", "drain", "--jobs", "5").exit_code == 0
        assert before in left_behind(project)
        assert process.poll() is None


def test_mistakes(empty_project: Project) -> None:
    run = empty_project.jobs("bench", "--database-url", "memory://")
    assert (run.exit_code, run.out) == (2, "")
    assert "memory://" in run.err
    run = empty_project.jobs("bench", "speed")
    assert run.exit_code == 2
    assert "speed" in run.err
    run = empty_project.jobs("bench", "--jobs", "0")
    assert run.exit_code == 2
    run = empty_project.jobs("bench", "--database-url", "sqlite:///no/such/folder/jobs.sqlite3")
    assert run.exit_code == 3
    assert "folder" in run.err
