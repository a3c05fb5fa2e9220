"""Cancelling a job that another process performs, and watching its progress, by the commands."""

from __future__ import annotations

import json

import pytest

from jobqueue import JobState
from jobqueue.cli.who import user_at_host
from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, enqueue, exists, is_running, show

JOBS = """
    import asyncio
    import time
    from pathlib import Path

    from jobqueue import Job, JobCancelled


    class Base(Job):
        def say(self, what: str) -> None:
            with Path("said.txt").open("a") as file:
                file.write(what + "\\n")


    class Loop(Base):
        def perform(self) -> None:
            Path("started").touch()
            while not self.context.cancelled:
                time.sleep(0.01)
            self.say("saw it")


    class Asleep(Base):
        interrupt_on_cancel = True

        def perform(self) -> None:
            Path("started").touch()
            try:
                time.sleep(60)
            except JobCancelled:
                self.say("interrupted")
                raise


    class AsleepInTime(Asleep):
        max_runtime = 60


    class Async(Base):
        async def perform(self) -> None:
            Path("started").touch()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.say("cancelled")
                raise


    class Next(Base):
        def perform(self) -> None:
            self.say("next")


    class Steps(Job):
        keep_succeeded = True

        def perform(self) -> None:
            self.progress(0.25, "first")
            Path("started").touch()
            while not Path("go").exists():
                time.sleep(0.01)
            self.progress(1.0, "last")
"""


@pytest.mark.parametrize(
    ("job", "said", "concurrency"),
    [
        ("Loop", "saw it", "1"),
        ("Asleep", "interrupted", "1"),
        ("Async", "cancelled", "1"),
        ("Loop", "saw it", "2"),
        ("Async", "cancelled", "2"),
    ],
)
def test_a_job_in_another_process_is_cancelled(
    slow_project: Project,
    start: Start,
    wait_for: WaitFor,
    job: str,
    said: str,
    concurrency: str,
) -> None:
    slow_project.write("jobs.py", JOBS)
    job_id = enqueue(slow_project, job)
    worker = start("work", "--concurrency", concurrency, "--poll-interval", "0.05")
    wait_for(exists(slow_project, "started"), "the job to start")
    after = enqueue(slow_project, "Next")
    cancelled = slow_project.jobs("cancel", str(job_id))
    assert (cancelled.exit_code, cancelled.out) == (
        0,
        f"Job {job_id} is running, and is told to end.\n",
    ), cancelled.err
    wait_for(lambda: show(slow_project, after) is None, "the next job to succeed")
    record = show(slow_project, job_id)
    assert record is not None
    if concurrency == "1":
        assert record.state is JobState.CANCELLED
    wait_for(lambda: _state(slow_project, job_id) is JobState.CANCELLED, "the job to end")
    assert said in (slow_project.folder / "said.txt").read_text().splitlines()
    last = show(slow_project, job_id)
    assert last is not None
    assert last.last_error == f"cancelled by {user_at_host()}"
    assert "was cancelled" in worker.log
    assert "Traceback" not in worker.log


def _state(project: Project, job_id: int) -> JobState | None:
    record = show(project, job_id)
    return None if record is None else record.state


def test_a_job_with_a_time_limit_is_cancelled_and_the_next_one_goes_on(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobs.py", JOBS)
    job_id = enqueue(slow_project, "AsleepInTime")
    start("work", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "started"), "the job to start")
    assert slow_project.jobs("cancel", str(job_id)).exit_code == 0
    wait_for(lambda: _state(slow_project, job_id) is JobState.CANCELLED, "the job to end")
    (slow_project.folder / "started").unlink()
    again = enqueue(slow_project, "Asleep")
    wait_for(exists(slow_project, "started"), "the second job to start")
    assert is_running(show(slow_project, again), 1)
    assert slow_project.jobs("cancel", str(again)).exit_code == 0
    wait_for(lambda: _state(slow_project, again) is JobState.CANCELLED, "the second to end")


def test_watching_a_job_until_it_ends(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobs.py", JOBS)
    job_id = enqueue(slow_project, "Steps")
    start("work", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "started"), "the job to start")
    wait_for(
        lambda: bool(json.loads(slow_project.jobs("show", str(job_id), "--json").out)["progress"]),
        "its first progress",
    )
    (slow_project.folder / "go").touch()
    run = slow_project.jobs("show", str(job_id), "--watch")
    assert run.exit_code == 0, run.err
    *_, last, ending = run.out.splitlines()
    assert last == "succeeded 100% last"
    assert ending == f"Job {job_id} succeeded."


def test_watching_what_is_not_there_or_done(slow_project: Project) -> None:
    assert "there is no job 7" in slow_project.jobs("show", "7", "--watch").err
    job_id = enqueue(slow_project, "Quick")
    assert slow_project.jobs("cancel", str(job_id)).exit_code == 0
    run = slow_project.jobs("show", str(job_id), "--watch")
    assert run.out == (
        "cancelled\n" + f"Job {job_id} was cancelled: cancelled by {user_at_host()}\n"
    )
    refused = slow_project.jobs("show", str(job_id), "--watch", "--json")
    assert refused.exit_code == 2
