"""Worker processes hear of a job at once, through their supervisor, whatever their `poll_interval`.

Each of these would take a minute without wake-ups: `--poll-interval` is 60 throughout.
"""

from __future__ import annotations

import signal
import time

import psutil
import psycopg
import pytest

from tests.conftest import Project
from tests.process.conftest import Running, Start, WaitFor, enqueue, exists

RARELY = ("--poll-interval", "60")
AT_ONCE_SECONDS = 5.0
SOON_SECONDS = 30.0

SLEEPY = """
    import os
    import time
    from pathlib import Path

    from jobqueue import Job


    class Slow(Job):
        def perform(self, name: str) -> None:
            Path(f"{name}.started").write_text(str(os.getpid()))
            while not Path(f"{name}.go").exists():
                time.sleep(0.01)
"""


CLOSING = """

    class Closes(Job):
        def perform(self) -> None:
            if not Path("closed").exists():
                Path("closed").touch()
                os.closerange(3, 1024)


    class SlowAsync(Job):
        async def perform(self, name: str) -> None:
            Path(f"{name}.started").touch()
"""


@pytest.fixture
def slow_project(project: Project) -> Project:
    project.write("jobs.py", SLEEPY)
    return project


def begin(project: Project, start: Start, wait_for: WaitFor, *arguments: str, n: int) -> Running:
    running = start("work", "-n", str(n), *RARELY, *arguments)
    wait_for(lambda: running.log.count("works on") == n, "the workers")
    perform(project, wait_for, "first")
    return running


def perform(project: Project, wait_for: WaitFor, name: str) -> float:
    """Have a job performed; return how many seconds it took to start."""
    (project.folder / f"{name}.go").touch()
    enqueued_at = time.monotonic()
    enqueue(project, "Slow", name=name)
    wait_for(exists(project, f"{name}.started"), f"the job {name}")
    return time.monotonic() - enqueued_at


def test_an_idle_worker_hears_of_a_job(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = begin(slow_project, start, wait_for, n=1)
    for name in ("second", "third"):
        assert perform(slow_project, wait_for, name) < AT_ONCE_SECONDS
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0
    assert "not heard" not in running.log


def test_it_is_relayed_to_every_worker(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    begin(slow_project, start, wait_for, n=2)
    names = ("left", "right")
    for name in names:
        enqueue(slow_project, "Slow", name=name)
        wait_for(exists(slow_project, f"{name}.started"), f"the job {name}")
    pids = {(slow_project.folder / f"{name}.started").read_text() for name in names}
    assert len(pids) == 2
    for name in names:
        (slow_project.folder / f"{name}.go").touch()


def test_the_successor_of_a_dead_worker_hears_too(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = begin(slow_project, start, wait_for, n=1)
    (child,) = psutil.Process(running.pid).children()
    child.kill()
    wait_for(lambda: running.log.count("works on") == 2, "the successor")
    perform(slow_project, wait_for, "second")
    assert perform(slow_project, wait_for, "third") < AT_ONCE_SECONDS


def test_without_listening_workers_poll(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    begin(slow_project, start, wait_for, "--no-listen", "--poll-interval", "0.05", n=1)
    perform(slow_project, wait_for, "second")
    if slow_project.environment["JOBS_DATABASE_URL"].startswith("postgresql"):
        assert listeners(slow_project) == []


def test_a_job_for_later_starts_when_it_is_due(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    """The supervisor looks for its idle workers, and knows how long there is to wait."""
    begin(slow_project, start, wait_for, "--poll-interval", "0.5", n=1)
    (slow_project.folder / "later.go").touch()
    code = "import jobs; jobs.Slow.set(wait=1).perform_later('later')"
    assert slow_project.python("-c", code).exit_code == 0
    due_at = time.monotonic() + 1
    wait_for(exists(slow_project, "later.started"), "the job")
    assert time.monotonic() - due_at < AT_ONCE_SECONDS


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_lost_connection_is_replaced(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = begin(slow_project, start, wait_for, n=1)
    (before,) = listeners(slow_project)
    with psycopg.connect(slow_project.environment["JOBS_DATABASE_URL"]) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (before,))
    wait_for(lambda: len(set(listeners(slow_project)) - {before}) == 1, "another connection")
    wait_for(lambda: "notifications of new jobs arrive again" in running.log, "the word of it")
    assert perform(slow_project, wait_for, "second") < AT_ONCE_SECONDS
    assert running.log.count("no notifications of new jobs arrive") == 1


def listeners(project: Project) -> list[int]:
    """The server's processes that serve a listener."""
    query = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'jobqueue listener' AND datname = current_database()"
    )
    with psycopg.connect(project.environment["JOBS_DATABASE_URL"]) as connection:
        return [row[0] for row in connection.execute(query).fetchall()]


def test_a_worker_does_not_wait_for_a_supervisor_that_is_stopped(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    """It would say nothing for ever. The worker looks for itself until it goes on."""
    running = begin(slow_project, start, wait_for, "--poll-interval", "0.5", n=1)
    running.send(signal.SIGSTOP)
    try:
        assert perform(slow_project, wait_for, "second") < SOON_SECONDS
    finally:
        running.send(signal.SIGCONT)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_job_that_closes_all_descriptors_does_not_leave_its_worker_deaf(
    slow_project: Project, start: Start, wait_for: WaitFor, concurrency: int
) -> None:
    """As daemons do, and what is written for them. Its supervisor puts another in its place.

    It ends by itself as soon as it has an outcome to store. If it waits for the database just then,
    it is replaced before.
    """
    slow_project.write("jobs.py", SLEEPY + CLOSING)
    more = ("--concurrency", str(concurrency), "--poll-interval", "0.5")
    running = begin(slow_project, start, wait_for, *more, n=1)
    enqueue(slow_project, "Closes")
    wait_for(exists(slow_project, "closed"), "the job")
    for kind in ("Slow", "SlowAsync"):
        (slow_project.folder / f"{kind}.go").touch()
        enqueue(slow_project, kind, name=kind)
        wait_for(exists(slow_project, f"{kind}.started"), f"a job after it, {kind}")
    wait_for(lambda: running.log.count("works on") == 2, "its successor")
    replaced = "is replaced: nothing that it is told reaches it any more" in running.log
    assert replaced or "a job has closed file descriptors" in running.log
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0
