"""Limits, orders and flows on several worker processes, some of which are killed with -9."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobqueue.records import UNFINISHED_STATES, JobFilter
from tests.conftest import Project
from tests.process.conftest import Running, database_of

WaitFor = Callable[[Callable[[], bool], str], None]
JOBS = """
    import json
    import os
    import time

    from jobqueue import Batch, Chain, Flow, Job, Limit, Ordered


    def note(what, job, key=""):
        facts = [what, type(job).__name__, str(key), job.context.job_id, os.getpid()]
        line = json.dumps([*facts, time.monotonic()])
        file = os.open("events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (line + "\\n").encode())
        os.close(file)


    class Noted(Job):
        _abstract = True

        def perform(self, key: str = "") -> str:
            note("begin", self, key)
            time.sleep(0.02)
            note("end", self, key)
            return key


    class Charge(Noted):
        _abstract = False
        limits = (Limit(3, name="charges"), Limit(1, key="key", name="customer"))

        def perform(self, key: str) -> str:
            return super().perform(key)


    class Sync(Noted):
        _abstract = False
        ordered = Ordered(key="key")

        def perform(self, key: str) -> str:
            return super().perform(key)


    class Step(Noted):
        _abstract = False

        def perform(self, key: str) -> str:
            return super().perform(key)


    class After(Noted):
        _abstract = False

        def perform(self, key: str) -> str:
            note("results", self, len(self.results))
            return super().perform(key)


    def fill():
        Charge.perform_all_later([(f"customer {n % 5}",) for n in range(60)])
        Sync.perform_all_later([(f"doc {n % 4}",) for n in range(40)])
        for n in range(5):
            with Batch(on_success=After.step(f"batch {n}")) as batch:
                Step.set(batch=batch).perform_all_later([("member",)] * 8)
            Chain(*(Step.step(f"chain {n}") for _ in range(4))).start()
"""
WORK = ("work", "--poll-interval", "0.2", "--lease", "2", "--concurrency", "3")


@dataclass(frozen=True)
class Run:
    """A run of a job, by its own account.

    Args:
        job: its class.
        key: its argument.
        job_id: its id.
        begun: when it began, by a clock that all processes have in common.
        ended: when it ended, or its process was dead.
    """

    job: str
    key: str
    job_id: int
    begun: float
    ended: float


@pytest.fixture
def project(project: Project) -> Project:
    project.write("jobs.py", JOBS)
    return project


@pytest.fixture
def start_worker(project: Project, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(project, tmp_path / f"{len(started)}.log", *WORK))
        return started[-1]

    yield start
    for running in started:
        running.kill()


def events(project: Project) -> list[list[Any]]:
    file = project.folder / "events.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def runs_in(found: list[list[Any]], kills: list[float]) -> list[Run]:
    """The runs in what jobs have noted. One that has no end was killed with its process."""
    begun: dict[tuple[int, int], tuple[str, str, float]] = {}
    runs = []
    for what, job, key, job_id, pid, at in found:
        if what == "begin":
            begun[job_id, pid] = (job, key, at)
        elif what == "end":
            name, of, since = begun.pop((job_id, pid))
            runs.append(Run(name, of, job_id, since, at))
    for (job_id, _), (name, of, since) in begun.items():
        runs.append(Run(name, of, job_id, since, min(kill for kill in kills if kill > since)))
    return sorted(runs, key=lambda run: run.begun)


def most_at_once(runs: list[Run]) -> int:
    """How many of them ran at the same moment, at most."""
    changes = sorted([(run.begun, 1) for run in runs] + [(run.ended, -1) for run in runs])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def by_key(runs: list[Run]) -> dict[str, list[Run]]:
    found = defaultdict(list)
    for run in runs:
        found[run.key].append(run)
    return found


def test_nothing_is_exceeded_lost_or_out_of_order(
    project: Project, start_worker: Callable[[], Running], wait_for: WaitFor
) -> None:
    filled = project.python("-c", "import jobs; jobs.fill()")
    assert filled.exit_code == 0, filled.err
    kills: list[float] = []
    workers = [start_worker() for _ in range(3)]
    for number in (30, 70, 110):
        wait_for(lambda n=number: len(events(project)) > n, f"{number} events")  # type: ignore[misc]
        workers.pop(0).kill()
        kills.append(time.monotonic())
        workers.append(start_worker())

    def all_have_ended() -> bool:
        with database_of(project) as adapter:
            return not adapter.count_jobs(JobFilter(states=UNFINISHED_STATES))

    wait_for(all_have_ended, "all jobs to end")
    runs = runs_in(events(project), kills)
    charges = [run for run in runs if run.job == "Charge"]
    assert len({run.job_id for run in charges}) == 60
    assert most_at_once(charges) <= 3
    assert all(most_at_once(of_one) == 1 for of_one in by_key(charges).values())
    for of_one in by_key([run for run in runs if run.job == "Sync"]).values():
        assert all(one.ended <= other.begun for one, other in pairwise(of_one))
        assert [run.job_id for run in of_one] == sorted(run.job_id for run in of_one)
    after = [run for run in runs if run.job == "After"]
    assert len({run.job_id for run in after}) == len({run.key for run in after}) == 5
    assert {key for what, _, key, *_ in events(project) if what == "results"} == {"8"}
    steps = by_key([run for run in runs if run.job == "Step"])
    assert len({run.job_id for run in steps.pop("member")}) == 40
    for chain in steps.values():
        assert all(one.ended <= other.begun for one, other in pairwise(chain))
        assert len({run.job_id for run in chain}) == 4
