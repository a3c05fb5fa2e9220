"""Short jobs do not wait for a slow one, whoever holds them when it begins.

Workers that listen look by themselves every five minutes only, and with this lease they look for
strays even more seldom: one that slept on the jobs that it holds would not wake up in this test.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobqueue.records import NewJob
from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, database_of, exists

JOBS = """
    import asyncio
    import time
    from pathlib import Path

    from jobqueue import Job


    def note() -> None:
        with Path("short.txt").open("a") as file:
            file.write(f"{time.time()}\\n")


    class Short(Job):
        def perform(self) -> None:
            time.sleep(0.001)
            note()


    class Slow(Job):
        def perform(self, name: str) -> None:
            Path(f"{name}.started").touch()
            while not Path("go").exists():
                time.sleep(0.01)


    class ShortAsync(Job):
        async def perform(self) -> None:
            await asyncio.sleep(0.001)
            note()


    class SlowAsync(Job):
        async def perform(self, name: str) -> None:
            Path(f"{name}.started").touch()
            while not Path("go").exists():
                await asyncio.sleep(0.01)
"""
BEFORE = 300
BEHIND = 200
# Fewer than what a worker would hold ahead: it finds that there is nothing more to claim.
FEW_BEHIND = 50


@pytest.fixture
def slow_project(project: Project) -> Project:
    project.write("jobs.py", JOBS)
    return project


@pytest.mark.parametrize("kind", ["", "Async"])
@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
def test_short_jobs_do_not_wait_for_slow_ones(
    slow_project: Project,
    start: Start,
    wait_for: WaitFor,
    at_once: bool,
    concurrency: int,
    kind: str,
) -> None:
    running = start("work", "-n", "2", "--concurrency", str(concurrency), "--lease", "3600")
    wait_for(lambda: running.log.count("works on") == 2, "the workers")
    enqueue(slow_project, [short(kind)] * BEFORE, at_once=True)
    wait_for(lambda: performed(slow_project) == BEFORE, "the jobs before")

    # All slots of one of the workers; the other one is there for what is short.
    number = FEW_BEHIND if at_once else BEHIND
    names = [f"slow{slot}" for slot in range(concurrency)]
    behind = [slow(kind, name) for name in names] + [short(kind)] * number
    enqueue(slow_project, behind, at_once=at_once)
    for name in names:
        wait_for(exists(slow_project, f"{name}.started"), "the slow jobs")
    wait_for(lambda: performed(slow_project) == BEFORE + number, "the jobs behind")
    (slow_project.folder / "go").touch()


def short(kind: str) -> NewJob:
    return NewJob(f"jobs.Short{kind}", "{}", "default", 50, 24)


def slow(kind: str, name: str) -> NewJob:
    return NewJob(f"jobs.Slow{kind}", json.dumps({"name": name}), "default", 50, 24)


def enqueue(project: Project, jobs: list[NewJob], *, at_once: bool) -> None:
    with database_of(project) as adapter:
        for batch in [jobs] if at_once else [[job] for job in jobs]:
            adapter.enqueue(batch)


def performed(project: Project) -> int:
    path: Path = project.folder / "short.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0
