"""Recurring jobs with real worker processes: several hosts, deploys, and mistakes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobqueue.adapters import Adapter
from jobqueue.records import JobFilter
from tests.conftest import Project
from tests.process.conftest import Running, Start, WaitFor, database_of

QUICK = ("--poll-interval", "0.1")
EVERY_SECOND = """
    from jobqueue import Every, Job


    class Tick(Job):
        keep_succeeded = True
        schedule = Every(seconds=1)

        def perform(self) -> None:
            pass
"""
NIGHTLY = """
    from jobqueue import Cron, Job


    class Report(Job):
        schedule = Cron("0 2 * * *", tz="Europe/Paris", args={"of": "sales"})

        def perform(self, of: str) -> None:
            pass
"""


@pytest.fixture
def database(slow_project: Project) -> Iterator[Adapter]:
    """The project's database, opened once: to open it anew while waiting keeps workers waiting."""
    with database_of(slow_project) as adapter:
        yield adapter


def seconds_of_ticks(database: Adapter) -> list[float]:
    return [record.run_at.timestamp() for record in database.list_jobs(JobFilter(), 1000)]


def declared(database: Adapter) -> list[str]:
    return [record.name for record in database.schedules()]


def stop(running: Running) -> None:
    running.send(signal.SIGTERM)
    exit_code, log = running.ended()
    assert exit_code == 0, log


def test_two_hosts_enqueue_each_tick_once(
    slow_project: Project, database: Adapter, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobs.py", EVERY_SECOND)
    first, second = start("work", "-n", "2", *QUICK), start("work", *QUICK)
    wait_for(lambda: len(seconds_of_ticks(database)) >= 3, "ticks of both")
    first.send(signal.SIGKILL)
    wait_for(lambda: len(seconds_of_ticks(database)) >= 7, "ticks of the other")
    stop(second)
    found = sorted(seconds_of_ticks(database))
    assert found == [found[0] + n for n in range(len(found))]


HOOKED = """
    from jobqueue import Every, Hooks, Job, configure


    class Tick(Job):
        keep_succeeded = True
        schedule = Every(seconds=1)

        def perform(self) -> None:
            pass


    class Tenants(Hooks):
        def before_enqueue(self, job, args, meta):
            meta["tenant"] = "acme"


    configure(hooks=[Tenants()])
"""


def test_hooks_add_to_the_meta_of_ticks_under_a_supervisor_too(
    slow_project: Project, database: Adapter, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobs.py", HOOKED)
    running = start("work", "-n", "2", *QUICK)
    wait_for(lambda: len(seconds_of_ticks(database)) >= 3, "ticks")
    worker = database.workers()[0]
    os.kill(worker.pid, signal.SIGKILL)
    known = len(seconds_of_ticks(database))
    wait_for(lambda: len(seconds_of_ticks(database)) >= known + 3, "ticks after a crash")
    stop(running)
    records = database.list_jobs(JobFilter(), 1000)
    assert {json.dumps(record.meta) for record in records} == {'{"tenant": "acme"}'}
    found = sorted(seconds_of_ticks(database))
    assert found == [found[0] + n for n in range(len(found))]


def test_a_deploy_changes_and_removes_schedules(
    slow_project: Project, database: Adapter, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobs.py", EVERY_SECOND)
    running = start("work", *QUICK)
    wait_for(lambda: len(seconds_of_ticks(database)) >= 1, "a tick")
    slow_project.write("jobs.py", NIGHTLY)
    running.send(signal.SIGHUP)
    wait_for(lambda: len(declared(database)) == 2, "the new worker to declare its own")
    assert declared(database) == ["jobs.Report", "jobs.Tick"]
    listed = json.loads(slow_project.jobs("schedules", "--json").out)
    assert listed[0]["state"] == "active"
    wait_for(lambda: running.log.count("stopped after") >= 1, "the old worker to end")
    ticks, over_at = len(seconds_of_ticks(database)), database.now() + timedelta(seconds=1.5)
    wait_for(lambda: database.now() > over_at, "the time of another tick")
    assert len(seconds_of_ticks(database)) == ticks
    stop(running)
    listed = json.loads(slow_project.jobs("schedules", "--json").out)
    assert [schedule["state"] for schedule in listed] == ["inactive"] * 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_arguments_that_do_not_fit_are_said_at_the_start(
    slow_project: Project, start: Start
) -> None:
    slow_project.write("jobs.py", NIGHTLY.replace("of: str", "of: int"))
    exit_code, log = start("work", *QUICK).ended()
    assert exit_code == 2
    assert "jobs.Report: of: Input should be a valid integer" in log
    slow_project.write("jobs.py", NIGHTLY.replace("0 2 * * *", "0 25 * * *"))
    exit_code, log = start("work", *QUICK).ended()
    assert exit_code == 2
    assert "Cron: '0 25 * * *' is no expression (bad hour)" in log
