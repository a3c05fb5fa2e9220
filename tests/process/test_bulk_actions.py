"""Bulk actions whose runner is killed, interrupted or stopped in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.bulk import BATCH
from jobqueue.records import ActionFilter, ActionRecord, ActionState, JobState, NewJob
from tests.conftest import Project
from tests.process.conftest import Running, Start, WaitFor, database_of
from tests.process.outage import freeze

NUMBER = 40 * BATCH
QUICK = ("--poll-interval", "0.1", "--concurrency", "4")


@pytest.fixture
def failed_project(slow_project: Project) -> Project:
    """A project with many jobs that have failed, and fail again."""
    with database_of(slow_project) as adapter:
        assert isinstance(adapter, SqlAdapter)
        adapter.enqueue([NewJob("jobs.FailsTwice", "{}", "default", 50, 2)] * NUMBER)
        now = adapter.now()
        failed = {"state": "failed", "attempts": 2, "failed_at": now, "finished_at": now}
        adapter.database.write(lambda connection: connection.execute(update(JOBS).values(failed)))
    return slow_project


def the_action(project: Project) -> ActionRecord | None:
    with database_of(project) as adapter:
        return next(iter(adapter.actions(ActionFilter(), 1)), None)


def has_begun(project: Project) -> bool:
    action = the_action(project)
    return action is not None and action.number > 0


def attempts_of_jobs(project: Project) -> Counter[tuple[str, int]]:
    """How many jobs there are of each state and number of attempts."""

    def work(connection: Connection) -> list[Any]:
        columns = (JOBS.c.state, JOBS.c.attempts)
        return list(connection.execute(select(*columns, func.count()).group_by(*columns)))

    with database_of(project) as adapter:
        assert isinstance(adapter, SqlAdapter)
        rows = adapter.database.read(work)
    return Counter({(state, attempts): number for state, attempts, number in rows})


def retry_in_the_middle(project: Project, start: Start, wait_for: WaitFor) -> Running:
    """A command that retries all jobs, frozen when it has changed some of them."""
    running = start("retry", "--failed", "--reason", "the mail server is back")
    wait_for(lambda: has_begun(project), "the first batch")
    freeze(running.pid, project.environment["JOBS_DATABASE_URL"])
    action = the_action(project)
    assert action is not None
    assert 0 < action.number < NUMBER, "it was quicker than this test"
    return running


def test_a_worker_finishes_what_a_killed_command_has_begun(
    failed_project: Project, start: Start, wait_for: WaitFor
) -> None:
    """Every job is retried once, though those of the first batches have failed again since."""
    command = retry_in_the_middle(failed_project, start, wait_for)
    command.kill()
    worker = start("work", *QUICK)

    def is_done() -> bool:
        action = the_action(failed_project)
        return action is not None and action.state is ActionState.DONE

    wait_for(is_done, "the worker to finish the action")
    action = the_action(failed_project)
    assert action is not None
    assert (action.number, action.reason) == (NUMBER, "the mail server is back")
    everything = {(JobState.FAILED.value, 3): NUMBER}
    wait_for(lambda: attempts_of_jobs(failed_project) == everything, "all jobs to fail once more")
    assert f"goes on with action {action.id}: retry by" in worker.log
    assert f"action {action.id} is done" in worker.log
    shown = json.loads(failed_project.jobs("actions", "--json").out)
    assert [(one["id"], one["number"], one["state"]) for one in shown] == [
        (action.id, NUMBER, "done")
    ]


def test_ctrl_c_stops_it_and_it_can_be_resumed(
    failed_project: Project, start: Start, wait_for: WaitFor
) -> None:
    command = retry_in_the_middle(failed_project, start, wait_for)
    command.send(signal.SIGINT)
    command.send(signal.SIGCONT)
    exit_code, log = command.ended()
    assert exit_code == 130, log
    stopped = the_action(failed_project)
    assert stopped is not None
    assert stopped.state is ActionState.STOPPED
    assert f"stopped after {stopped.number:,} jobs" in log
    assert f"actions resume {stopped.id}`" in log
    assert attempts_of_jobs(failed_project)["ready", 2] == stopped.number
    run = failed_project.jobs("actions", "resume", str(stopped.id))
    assert run.exit_code == 0, run.err
    assert f"Action {stopped.id} is done: retry, {NUMBER:,} jobs." in run.out
    assert attempts_of_jobs(failed_project) == {("ready", 2): NUMBER}
    again = failed_project.jobs("actions", "resume", str(stopped.id))
    assert (again.exit_code, "is done, so nothing of it is left" in again.err) == (1, True)


def test_somebody_else_stops_it(failed_project: Project, start: Start, wait_for: WaitFor) -> None:
    command = retry_in_the_middle(failed_project, start, wait_for)
    action = the_action(failed_project)
    assert action is not None
    held = failed_project.jobs("actions", "resume", str(action.id))
    assert (held.exit_code, "is run by" in held.err) == (1, True)
    run = failed_project.jobs("actions", "stop", str(action.id))
    assert run.exit_code == 0, run.err
    os.kill(command.pid, signal.SIGCONT)
    exit_code, log = command.ended()
    assert exit_code == 1, log
    assert "somebody stopped it after" in log
    stopped = the_action(failed_project)
    assert stopped is not None
    assert attempts_of_jobs(failed_project)["ready", 2] == stopped.number < NUMBER
    again = failed_project.jobs("actions", "stop", str(action.id))
    assert (again.exit_code, "does not run" in again.err) == (1, True)
