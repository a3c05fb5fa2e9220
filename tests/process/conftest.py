"""Processes that tests start, signal and kill."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobqueue import JobRecord, JobState
from jobqueue.adapters import Adapter, connect
from jobqueue.records import NewJob
from tests.conftest import Project

WaitFor = Callable[[Callable[[], bool], str], None]

SLOW = """
    import os
    import time
    from pathlib import Path

    from jobqueue import Job


    class Slow(Job):
        def perform(self, name: str = "slow") -> None:
            Path(f"{name}.started").touch()
            while not Path(f"{name}.go").exists():
                time.sleep(0.01)
            with Path("done.txt").open("a") as file:
                file.write(f"{name}\\n")


    class Quick(Job):
        def perform(self) -> None:
            with Path("done.txt").open("a") as file:
                file.write("quick\\n")


    class SlowAsync(Job):
        async def perform(self) -> None:
            import asyncio

            Path("slow.started").touch()
            while not Path("slow.go").exists():
                await asyncio.sleep(0.01)


    class Counted(Job):
        def perform(self, number: int) -> None:
            time.sleep(0.001)
            with Path("counted.txt").open("a") as file:
                file.write(f"{self.context.job_id}\\n")


    class Stubborn(Job):
        max_runtime = 0.5

        def perform(self) -> None:
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass


    class Blocked(Job):
        max_runtime = 0.2
        retry = staticmethod(lambda attempt, error: 0)

        def perform(self) -> None:
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass


    class Fails(Job):
        def perform(self) -> None:
            raise ValueError("no luck")


    class FailsTwice(Job):
        max_attempts = 2

        def perform(self) -> None:
            raise ValueError("no luck")


    class Grows(Job):
        def perform(self) -> None:
            global ballast
            ballast = bytearray(os.urandom(1024)) * 100_000


    class KillsItself(Job):
        def perform(self) -> None:
            os.kill(os.getpid(), 9)
"""


class Running:
    """A `jobs` process that the test has started."""

    def __init__(self, project: Project, log: Path, *arguments: str) -> None:
        self._log = log
        self._process = project.start(*arguments, log=log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Its exit code and all that it logged, when it has ended."""
        return self._process.wait(timeout=60), self.log

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Start = Callable[..., Running]


@pytest.fixture
def slow_project(project: Project) -> Project:
    project.write("jobs.py", SLOW)
    return project


@pytest.fixture
def start(slow_project: Project, tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(*arguments: str) -> Running:
        log = tmp_path / f"{len(started)}.log"
        started.append(Running(slow_project, log, *arguments))
        return started[-1]

    yield run
    for running in started:
        running.kill()


def enqueue(project: Project, job: str, **arguments: Any) -> int:
    with database_of(project) as adapter:
        new_job = NewJob(f"jobs.{job}", json.dumps(arguments), "default", 50, 24)
        return adapter.enqueue([new_job])[0].id


def show(project: Project, job_id: int) -> JobRecord | None:
    with database_of(project) as adapter:
        return adapter.get(job_id)


@contextmanager
def database_of(project: Project) -> Iterator[Adapter]:
    adapter = connect(project.environment["JOBS_DATABASE_URL"])
    yield adapter
    adapter.close()


def is_untouched(record: JobRecord | None) -> bool:
    return record is not None and (record.state, record.attempts, record.locked_by) == (
        JobState.READY,
        0,
        None,
    )


def is_running(record: JobRecord | None, attempt: int) -> bool:
    return record is not None and (record.state, record.attempts) == (JobState.RUNNING, attempt)


def exists(project: Project, name: str) -> Callable[[], bool]:
    return (project.folder / name).exists
