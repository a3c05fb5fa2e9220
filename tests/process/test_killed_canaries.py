"""A canary whose worker is killed: another one goes on with it."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import update

from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.fingerprints import group_of
from jobqueue.records import ActionFilter, ActionRecord, ActionState, JobFilter, NewErrors, NewJob
from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, database_of

NUMBER, FIRST = 60, 5
GROUP = group_of("jobs.Quick", "ValueError", "jobs.py:perform", "no")
QUICK = ("--poll-interval", "0.1", "--lease", "3")
JOBS_MODULE = """
from jobqueue import Job

class Quick(Job):
    keep_succeeded = True

    def perform(self):
        pass
"""


@pytest.fixture
def group(slow_project: Project) -> Project:
    """A project with a group of errors, whose jobs would succeed by now."""
    slow_project.write("jobs.py", JOBS_MODULE)
    with database_of(slow_project) as adapter:
        assert isinstance(adapter, SqlAdapter)
        made = adapter.enqueue([NewJob("jobs.Quick", "{}", "default", 50, 1)] * NUMBER)
        now = adapter.now()
        failed = {"state": "failed", "attempts": 1, "failed_at": now, "finished_at": now}
        change = update(JOBS).values(**failed, error_key=GROUP.key, last_error="ValueError: no")
        adapter.database.write(lambda connection: connection.execute(change))
        adapter.add_errors([NewErrors(GROUP, NUMBER, "ValueError: no", made[0].id)], None)
    return slow_project


def the_action(project: Project) -> ActionRecord:
    with database_of(project) as adapter:
        [action] = adapter.actions(ActionFilter(), 1)
        return action


def test_another_worker_goes_on(group: Project, start: Start, wait_for: WaitFor) -> None:
    asked = group.jobs("errors", "retry", GROUP.key, "--canary", f"{FIRST}", "--spread", "8s")
    assert asked.exit_code == 0, asked.err
    first = start("work", *QUICK)
    wait_for(lambda: the_action(group).number >= FIRST, "the first jobs to be retried")
    first.send(signal.SIGKILL)
    killed_at = the_action(group)
    assert killed_at.state is ActionState.RUNNING
    start("work", *QUICK)
    wait_for(lambda: the_action(group).state is ActionState.DONE, "another worker to finish it")
    assert the_action(group).number == NUMBER
    with database_of(group) as adapter:
        succeeded = JobFilter(handlers=("jobs.Quick",), attempts=2)
        wait_for(lambda: adapter.count_jobs(succeeded) == NUMBER, "all jobs to be performed")
        assert adapter.count_jobs(JobFilter(attempts=4)) == 0
