"""Errors in groups, where a supervisor frees the jobs of processes that have died."""

from __future__ import annotations

import signal

from jobqueue.fingerprints import WORKER_GONE
from jobqueue.records import ErrorFilter, ErrorGroupRecord, JobState
from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, database_of, enqueue, show


def groups(project: Project) -> list[ErrorGroupRecord]:
    with database_of(project) as adapter:
        return list(adapter.error_groups(ErrorFilter(), 100).groups)


def test_a_supervisor_counts_each_crash_once(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "KillsItself")
    supervisor = start("work", "-n", "2")

    def has_failed() -> bool:
        record = show(slow_project, job_id)
        return record is not None and record.state is JobState.FAILED

    wait_for(has_failed, "the third crash")
    supervisor.send(signal.SIGTERM)
    assert supervisor.ended()[0] == 0
    [record] = groups(slow_project)
    assert (record.group.handler, record.group.kind) == ("jobs.KillsItself", WORKER_GONE)
    assert record.group.message == (
        "the worker process <worker> died while it performed this job (signal SIGKILL)"
    )
    assert (sum(hour.number for hour in record.hours), record.last_job_id) == (3, job_id)


def test_the_workers_of_workoff_count_what_fails(slow_project: Project) -> None:
    for _ in range(3):
        enqueue(slow_project, "Fails")
    assert slow_project.jobs("workoff", "-n", "2").exit_code == 0
    [record] = groups(slow_project)
    assert (record.group.kind, record.group.place) == ("ValueError", "jobs.py:Fails.perform")
    assert sum(hour.number for hour in record.hours) == 3
