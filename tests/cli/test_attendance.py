"""`jobs doctor` and the workers: which queues have nobody, and which groups there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import pytest

from jobqueue.adapters import connect
from jobqueue.records import NewWorker
from tests.conftest import Project

WaitFor = Callable[[Callable[[], bool], str], None]

NOBODY = "and no living worker takes from it"
NOR_A_GROUP = "nor would one of a configured group: add it to the `queues` of one"
GROUPS = """
concurrency = 2

[workers.mail]
queues = ["email", "sms"]
count = 3
concurrency = 10

[workers.rest]
queues = ["default"]
"""


def examined(project: Project) -> Any:
    run = project.jobs("doctor", "--json")
    assert run.exit_code == 0, run.out
    return json.loads(run.out)


def enqueue(project: Project, queue: str) -> None:
    run = project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--queue", queue)
    assert run.exit_code == 0, run.err


@contextmanager
def worker_on(project: Project, queues: str, wait_for: WaitFor) -> Iterator[None]:
    """A real worker that can be seen."""
    log = project.folder / "worker.log"
    worker = project.start("work", "--queues", queues, "--lease", "3", log=log)
    try:
        wait_for(lambda: bool(examined(project)["workers"]), "the worker to be there")
        yield
    finally:
        children = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()  # first: it would take the rows of the others off the list
        for child in children:
            child.kill()
        worker.wait(timeout=60)


def test_a_queue_that_no_living_worker_takes(project: Project, wait_for: WaitFor) -> None:
    with worker_on(project, "email", wait_for):
        assert examined(project)["warnings"] == []
        enqueue(project, "sms")
        enqueue(project, "sms")
        enqueue(project, "paused")
        project.jobs("pause", "paused")
        project.jobs("enqueue", "Greet", '{"name": "A"}', "--queue", "later", "--wait", "3600")
        found = examined(project)
        assert found["warnings"] == [
            f"2 jobs are due in queue sms, {NOBODY}: `jobs work -n sms:1` would",
        ]
        assert (found["ok"], found["problems"], found["advice"]) == (True, [], [])
        assert [worker["lost"] for worker in found["workers"]] == [False]
        said = project.jobs("doctor").out
        assert "Warnings\n  - 2 jobs are due in queue sms," in said
        assert " on email (heard of " in said
        assert said.endswith("It works, and could be better.\n")
        enqueue(project, "default")
        assert len(examined(project)["warnings"]) == 2
    # It was killed, so its row is still there: nobody lives, by the database's clock.
    wait_for(lambda: bool(examined(project)["workers"][0]["lost"]), "the worker to be lost")
    enqueue(project, "email")
    found = examined(project)
    assert [line.partition(",")[0] for line in found["warnings"]] == [
        "1 job is due in queue default",
        "1 job is due in queue email",
        "2 jobs are due in queue sms",
    ]
    assert "no worker runs" in found["advice"][0]
    assert " on email (lost, heard of " in project.jobs("doctor").out


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_is_silent_for_longer_than_their_lease_is_lost(
    project: Project, database_url: str
) -> None:
    """Of a worker elsewhere only the heartbeat tells."""
    adapter = connect(database_url)
    for name, lease in (("a", timedelta(hours=1)), ("b", timedelta(milliseconds=1))):
        adapter.register_worker(NewWorker(name, name, "elsewhere", 1, (name,), 1, lease))
        enqueue(project, name)
    adapter.close()
    found = examined(project)
    assert {worker["id"]: worker["lost"] for worker in found["workers"]} == {"a": False, "b": True}
    assert [line.partition(",")[0] for line in found["warnings"]] == ["1 job is due in queue b"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_groups_are_shown(project: Project) -> None:
    assert examined(project)["groups"] == []
    assert "Groups" not in project.jobs("doctor").out
    project.write("jobqueue.toml", GROUPS)
    for queue in ("email", "default", "other"):
        enqueue(project, queue)
    found = examined(project)
    assert found["groups"] == [
        {"name": "mail", "queues": ["email", "sms"], "count": 3, "concurrency": 10},
        {"name": "rest", "queues": ["default"], "count": 1, "concurrency": None},
    ]
    assert found["warnings"] == [
        f"1 job is due in queue default, {NOBODY}: `jobs work` runs group rest, which would",
        f"1 job is due in queue email, {NOBODY}: `jobs work` runs group mail, which would",
        f"1 job is due in queue other, {NOBODY}, {NOR_A_GROUP}",
    ]
    said = project.jobs("doctor").out
    assert "Groups\n  mail  3 workers on queues email, sms, 10 jobs at a time\n" in said
    assert "  rest  1 worker on queues default\n" in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_group_that_cannot_be_used(project: Project) -> None:
    project.write("jobqueue.toml", "[workers.mail]\ncuont = 3\n")
    run = project.jobs("doctor")
    assert run.exit_code == 2
    assert "'cuont'" in run.out
