"""A supervisor that is started, or whose workers are, while PostgreSQL is away."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
import pytest

from jobqueue.adapters import connect
from jobqueue.records import NewJob
from tests.conftest import Project
from tests.outages.server import IMMEDIATE, Server, migrated_server
from tests.process.conftest import Running

WaitFor = Callable[[Callable[[], bool], str], None]
JOBS = """
    import sys
    import time
    from pathlib import Path

    from jobqueue import Job

    if "worker_process" in sys.argv[0]:
        Path("booting").touch()
        while Path("hold").exists():
            time.sleep(0.01)


    class Quick(Job):
        def perform(self) -> None:
            Path("done").touch()
"""
QUICK = ("--poll-interval", "0.1")
WAITING = "waiting for the database"


@pytest.fixture
def server() -> Iterator[Server]:
    with migrated_server() as made:
        yield made


@pytest.fixture
def project(empty_project: Project, server: Server) -> Project:
    empty_project.write("jobs.py", JOBS)
    environment = {**empty_project.environment, "JOBS_DATABASE_URL": server.url}
    return replace(empty_project, environment=environment)


@pytest.fixture
def start(project: Project, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*arguments: str) -> Running:
        started.append(Running(project, tmp_path / f"{len(started)}.log", *arguments))
        return started[-1]

    yield run
    for running in started:
        running.kill()


def enqueue(server: Server) -> None:
    adapter = connect(server.url)
    adapter.enqueue([NewJob("jobs.Quick", "{}", "default", 50, 24)])
    adapter.close()


def children_of(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.pid).children()


# --- once it has reached the database itself -----------------------------------------------------


@pytest.mark.parametrize("command", [("work", *QUICK), ("workoff",)], ids=["work", "workoff"])
def test_an_outage_while_the_first_workers_start_is_waited_for(
    server: Server,
    project: Project,
    start: Callable[..., Running],
    wait_for: WaitFor,
    command: tuple[str, ...],
) -> None:
    enqueue(server)
    hold = project.folder / "hold"
    hold.touch()
    running = start(*command, "-n", "2")
    wait_for((project.folder / "booting").exists, "the workers to begin")
    wait_for(lambda: len(children_of(running)) == 2, "both of them")
    workers = {worker.pid for worker in children_of(running)}
    server.stop(IMMEDIATE)
    hold.unlink()
    wait_for(lambda: running.log.count("waits for the database") == 2, "the workers to say so")
    assert {worker.pid for worker in children_of(running)} == workers, "nobody gives up"
    server.start()
    wait_for((project.folder / "done").exists, "a job")
    if command[0] == "work":
        running.send(signal.SIGTERM)
    exit_code, log = running.ended()
    assert exit_code == 0, log
    assert "died" not in log
    assert "cannot work" not in log
    assert "Traceback" not in log


def test_workers_that_die_while_it_is_away_are_there_when_it_is_back(
    server: Server, project: Project, start: Callable[..., Running], wait_for: WaitFor
) -> None:
    running = start("work", "-n", "2", *QUICK)
    wait_for(lambda: running.log.count("works on") == 2, "the workers")
    server.stop(IMMEDIATE)
    for worker in children_of(running):
        worker.kill()
    wait_for(lambda: running.log.count("waits for the database: ") >= 2, "their successors")
    time.sleep(10)  # the pauses between attempts would have grown to several seconds
    assert running.log.count("; another is started at once") == 2
    assert "another is started in" not in running.log
    server.start()
    back_at = time.monotonic()
    enqueue(server)
    wait_for((project.folder / "done").exists, "a job")
    assert time.monotonic() - back_at < 5
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0


# --- at the very start ---------------------------------------------------------------------------


def status_of(port: int, path: str) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except URLError:
        return 0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_it_waits_at_the_very_start_when_told_to(
    server: Server, project: Project, start: Callable[..., Running], wait_for: WaitFor
) -> None:
    """A container is alive meanwhile, and not ready: it is not to be started anew."""
    enqueue(server)
    server.stop()
    port = free_port()
    running = start("work", "--wait-for-database", "--health", str(port), *QUICK)
    wait_for(lambda: WAITING in running.log, "it to say that it waits")
    assert status_of(port, "/healthz") == 200
    assert status_of(port, "/readyz") == 503
    server.start()
    wait_for((project.folder / "done").exists, "a job")
    wait_for(lambda: status_of(port, "/readyz") == 200, "it to be ready")
    assert running.log.count(WAITING) <= 2, "once for each thing that was wrong"
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0


def test_workoff_and_start_wait_as_well(
    server: Server, project: Project, start: Callable[..., Running], wait_for: WaitFor
) -> None:
    enqueue(server)
    server.stop()
    project.write("jobqueue.toml", "wait_for_database = true\n")
    commands = [start("workoff"), start("start", *QUICK)]
    try:
        for running in commands:
            wait_for(lambda: WAITING in running.log, "it to say that it waits")  # noqa: B023
        server.start()
        assert [running.ended()[0] for running in commands] == [0, 0]
        wait_for((project.folder / "done").exists, "a job")
    finally:
        project.jobs("stop")


@pytest.mark.parametrize(
    ("command", "how_long"),
    [
        (("work", "--wait-for-database=1"), None),
        (("work", "--wait-for-database", "1"), None),
        (("workoff", "--wait-for-database=1"), None),
        (("start",), "1"),
        (("workoff", "-n", "1"), "1"),
    ],
)
def test_it_waits_no_longer_than_that(
    server: Server, project: Project, command: tuple[str, ...], how_long: str | None
) -> None:
    server.stop()
    began_at = time.monotonic()
    run = project.jobs(*command, env={} if how_long is None else {"JOBS_WAIT_FOR_DATABASE": "1"})
    assert run.exit_code == 3
    assert time.monotonic() - began_at > 1
    assert "waiting for 1.0 s for the database" in run.err
    assert "does not answer" in run.err.splitlines()[-1]


@pytest.mark.parametrize(
    "command", [("work",), ("start",), ("workoff",), ("work", "--wait-for-database=false")]
)
def test_without_that_one_look_is_enough(
    server: Server, project: Project, command: tuple[str, ...]
) -> None:
    server.stop()
    environment = {"JOBS_WAIT_FOR_DATABASE": "true"} if len(command) > 1 else {}
    run = project.jobs(*command, env=environment)
    assert run.exit_code == 3
    assert len(run.err.splitlines()) == 1
    assert WAITING not in run.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_can_be_stopped(
    server: Server, start: Callable[..., Running], wait_for: WaitFor, number: signal.Signals
) -> None:
    server.stop()
    running = start("work", "--wait-for-database")
    wait_for(lambda: WAITING in running.log, "it to say that it waits")
    running.send(number)
    exit_code, log = running.ended()
    assert exit_code == 0
    assert "Traceback" not in log


def test_tables_that_are_missing_are_not_waited_for(empty_project: Project) -> None:
    empty_project.write("jobs.py", JOBS)
    run = empty_project.jobs("work", "--wait-for-database")
    assert run.exit_code == 3
    assert "run `jobs setup`" in run.err
