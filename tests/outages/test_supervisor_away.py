"""A supervisor and its workers, real processes, while PostgreSQL is away."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jobqueue.adapters import Adapter, connect
from jobqueue.records import JobFilter, JobState, NewJob
from tests.conftest import Project
from tests.outages.server import IMMEDIATE, Server, migrated_server
from tests.process.conftest import SLOW, Running

WaitFor = Callable[[Callable[[], bool], str], None]
LEASE_SECONDS = 1.5


@pytest.fixture
def server() -> Iterator[Server]:
    with migrated_server() as made:
        yield made


@pytest.fixture
def adapter(server: Server) -> Iterator[Adapter]:
    made = connect(server.url)
    yield made
    made.close()


@pytest.fixture
def supervisors(empty_project: Project, server: Server, tmp_path: Path) -> Iterator[list[Running]]:
    """Two of them, as on two machines, with two workers each."""
    empty_project.write("jobs.py", SLOW)
    environment = {**empty_project.environment, "JOBS_DATABASE_URL": server.url}
    project = replace(empty_project, environment=environment)
    options = ("work", "-n", "2", "--lease", str(LEASE_SECONDS), "--poll-interval", "0.1")
    running = [Running(project, tmp_path / f"{n}.log", *options) for n in range(2)]
    yield running
    for supervisor in running:
        supervisor.kill()


def test_nobody_is_freed_but_who_died_meanwhile(
    server: Server,
    adapter: Adapter,
    supervisors: list[Running],
    empty_project: Project,
    wait_for: WaitFor,
) -> None:
    """Four jobs run when the server crashes; one of their processes is killed while it is away."""
    folder = empty_project.folder
    jobs = [
        NewJob("jobs.Slow", json.dumps({"name": f"job{n}"}), "default", 50, 24) for n in range(4)
    ]
    adapter.enqueue(jobs)
    wait_for(lambda: _running(adapter) == 4, "four workers to be busy")
    wait_for(lambda: len(list(folder.glob("*.started"))) == 4, "the jobs to have begun")
    server.stop(IMMEDIATE)
    (victim, *_) = psutil.Process(supervisors[0].pid).children()
    os.kill(victim.pid, signal.SIGKILL)
    time.sleep(2 * LEASE_SECONDS)
    for n in range(2):
        (folder / f"job{n}.go").touch()
    server.start()
    # Whose jobs go on has nothing to ask of the database meanwhile.
    wait_for(lambda: any("waits for the database" in s.log for s in supervisors), "a word of it")
    for n in range(2, 4):
        (folder / f"job{n}.go").touch()
    wait_for(lambda: adapter.count_by_state() == {}, "all jobs to be settled")
    adapter.enqueue([NewJob("jobs.Quick", "{}", "default", 50, 24)])
    wait_for(lambda: "quick" in _done(folder), "another job")
    log = "".join(supervisor.log for supervisor in supervisors)
    assert sorted(_done(folder)) == ["job0", "job1", "job2", "job3", "quick"]
    assert "rejected" not in log
    assert "Traceback" not in log
    assert log.count("attempt 2 of") == 1, "only the job of the killed process is begun again"
    said = [line for line in log.splitlines() if "waits for the database" in line]
    assert len(said) <= 4, "each worker says so once"
    assert log.count("new jobs are not heard of") <= 2
    for supervisor in supervisors:
        supervisor.send(signal.SIGTERM)
    assert [supervisor.ended()[0] for supervisor in supervisors] == [0, 0]


def _running(adapter: Adapter) -> int:
    return adapter.count_jobs(JobFilter(states=(JobState.RUNNING,)))


def _done(folder: Path) -> list[str]:
    path = folder / "done.txt"
    return path.read_text().split() if path.exists() else []
