"""Workers under a supervisor: their stacks, their states, and why they have ended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from jobqueue.records import WorkerRecord, WorkerState
from tests.conftest import Project
from tests.process.conftest import Start, database_of, enqueue
from tests.process.outage import freeze

WaitFor = Callable[[Callable[[], bool], str], None]
QUICK = ("--poll-interval", "0.1")


def workers(project: Project) -> list[WorkerRecord]:
    with database_of(project) as adapter:
        return adapter.workers()


def ends(project: Project) -> list[dict[str, Any]]:
    return list(json.loads(project.jobs("status", "--ended", "--json").out)["ended"])


def test_a_worker_shows_its_stacks_and_how_it_ended(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    enqueue(slow_project, "Blocked")
    running = start("work", "-n", "2", "--app-version", "2026.11", *QUICK)
    wait_for(lambda: running.log.count("works on") == 2, "the workers")
    wait_for(lambda: any(w.note for w in workers(slow_project)), "how they are")
    assert {worker.release for worker in workers(slow_project)} == {"2026.11"}
    shown = json.loads(slow_project.jobs("status", "--json").out)["workers"]
    [busy] = [worker for worker in shown if worker["jobs"]]
    assert (busy["state"], busy["memory_bytes"] > 1_000_000) == ("running", True)

    run = slow_project.jobs("stacks", busy["id"])
    assert run.exit_code == 0, run.err
    assert "performs jobs.Blocked #1" in run.out.splitlines()[0]
    assert "in Blocked.perform" in run.out
    run = slow_project.jobs("stacks", busy["host"])
    assert (run.exit_code, "means 2 workers" in run.err) == (2, True)

    os.kill(busy["pid"], signal.SIGKILL)
    wait_for(lambda: len(ends(slow_project)) == 1, "the end of the worker")
    [end] = ends(slow_project)
    assert (end["id"], end["release"]) == (busy["id"], "2026.11")
    assert end["reason"] == "its process died: signal SIGKILL"
    assert "its process died" in slow_project.jobs("status", "--ended").out

    idle = [worker["id"] for worker in shown if not worker["jobs"]]
    running.send(signal.SIGTERM)
    running.send(signal.SIGQUIT)
    running.ended()
    reasons = {end["id"]: end["reason"] for end in ends(slow_project)}
    assert len(reasons) == 3
    # One of the two that were left may perform the job by now, which does not let it end.
    assert {reasons[worker_id] for worker_id in (*idle, *reasons.keys() - {*idle, busy["id"]})} <= {
        "its supervisor asked it to",
        "it had nothing left to do",  # one that was asked before it had begun
        "it was killed: it did not end",
        "it was killed: a job ignored its max_runtime",
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_rests_says_so(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "-n", "1", *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")

    def state() -> WorkerState | None:
        [worker] = workers(slow_project)
        return None if worker.note is None else worker.note.state

    wait_for(lambda: state() is WorkerState.RUNNING, "the worker to say that it works")
    running.send(signal.SIGTSTP)
    wait_for(lambda: state() is WorkerState.RESTING, "the worker to rest")
    running.send(signal.SIGCONT)
    wait_for(lambda: state() is WorkerState.RUNNING, "the worker to go on")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_does_not_answer(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")
    [worker] = workers(slow_project)
    wake = freeze(worker.pid, slow_project.environment["JOBS_DATABASE_URL"])
    run = slow_project.jobs("stacks", worker.name, "--wait", "0.1")
    assert run.exit_code == 1
    assert "has not answered" in run.err
    assert "USR2" in run.err
    wake()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_is_called_so(slow_project: Project) -> None:
    run = slow_project.jobs("stacks", "nobody")
    assert (run.exit_code, run.err) == (
        2,
        "Error: no worker is called 'nobody'; there are: none\n",
    )
    assert slow_project.jobs("status", "--ended").out == "No worker has ended lately.\n"
