"""The story of a job whose attempts ended in several ways, as it is told afterwards."""

from __future__ import annotations

import json
import signal

from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, show

JOBS = """
    import os
    import signal
    from datetime import timedelta
    from jobqueue import Job
    from jobqueue.retry import Constant

    class Unlucky(Job):
        max_attempts = 3
        retry = Constant(timedelta(seconds=0.1))

        def perform(self) -> None:
            if self.context.attempt == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"no luck at attempt {self.context.attempt}")
"""


def test_a_job_that_failed_three_times_once_by_a_crash(
    project: Project, start: Start, wait_for: WaitFor
) -> None:
    project.write("jobs.py", JOBS)
    job_id: int = json.loads(project.jobs("enqueue", "Unlucky", "--json").out)["id"]
    running = start("work", "--poll-interval", "0.05")

    def has_failed() -> bool:
        record = show(project, job_id)
        return record is not None and record.state == "failed"

    wait_for(has_failed, "the job to fail for good")
    told = json.loads(project.jobs("show", str(job_id), "--json").out)
    assert [(a["number"], a["outcome"]) for a in told["history"]] == [
        (1, "failed"),
        (2, "crashed"),
        (3, "failed"),
    ]
    first, second, third = told["history"]
    assert first["error"].endswith("ValueError: no luck at attempt 1")
    assert "signal SIGKILL" in second["error"]
    assert third["error"] == told["last_error"]
    assert first["worker_id"] == second["worker_id"] != third["worker_id"]
    assert told["performed_by"] == third["worker_id"]
    assert all(attempt["started_at"] <= attempt["ended_at"] for attempt in told["history"])
    printed = project.jobs("show", str(job_id)).out
    history = printed.partition("history\n")[2]
    assert [line.split()[1] for line in history.splitlines()] == [
        *("OUTCOME", "failed", "crashed", "failed"),
    ]
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0
