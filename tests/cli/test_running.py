"""`jobs work` while it runs, and what may be done to a running job."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.conftest import Project

WaitFor = Callable[[Callable[[], bool], str], None]
BLOCKING = """
    import time
    from pathlib import Path

    from jobqueue import Job


    class Block(Job):
        def perform(self) -> None:
            Path("began").touch()
            while not Path("go").exists():
                time.sleep(0.01)
"""


def test_a_running_job_is_left_alone(project: Project, wait_for: WaitFor) -> None:
    project.write("jobs.py", BLOCKING)
    project.jobs("enqueue", "Block")
    log = project.folder / "worker.log"
    worker = project.start("work", "--poll-interval", "0.1", log=log)
    try:
        wait_for((project.folder / "began").exists, "the job to begin")
        run = project.jobs("retry", "1")
        assert run.exit_code == 1
        assert "is running" in run.err
        run = project.jobs("clear", "--yes")
        assert run.out == "Removed 0 jobs. 1 running job left; --force removes them too.\n"
        assert project.jobs("clear", "--state", "running").exit_code == 2
        worker.send_signal(signal.SIGINT)
        (project.folder / "go").touch()
        worker.wait(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert "Block #1 succeeded" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_force_removes_a_running_job(project: Project, wait_for: WaitFor) -> None:
    project.write("jobs.py", BLOCKING)
    project.jobs("enqueue", "Block")
    log = project.folder / "worker.log"
    worker = project.start("work", log=log)
    try:
        wait_for((project.folder / "began").exists, "the job to begin")
        assert project.jobs("clear", "--force", "--yes").out == "Removed 1 job.\n"
        (project.folder / "go").touch()
        worker.terminate()
        worker.wait(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert "rejected" in log.read_text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_time_to_live_ends_a_worker(project: Project) -> None:
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    run = project.jobs("work", "--ttl", "4", "--log-format", "json")
    assert run.exit_code == 0
    assert '"event": "job_succeeded"' in run.err
    assert "(--ttl)" in run.err
    assert (project.folder / "greetings.txt").exists()
