"""SQLite, where whoever frees the jobs of a worker can see whether its process lives."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from jobqueue.adapters import connect
from jobqueue.adapters.base import Adapter
from jobqueue.records import Claim, JobState, NewJob, NewWorker, Rescue

WORKER = "worker-1"

WaitFor = Callable[[Callable[[], bool], str], None]


@dataclass
class Frozen:
    """A worker whose process stands still, and that holds a job."""

    adapter: Adapter
    process: subprocess.Popen[bytes]
    job_id: int

    def rescue(self) -> Rescue | None:
        """What somebody does who has seen it stand still for a lease."""
        (seen,) = self.adapter.workers()
        return self.adapter.rescue(seen, "it was silent")

    def state(self) -> JobState:
        job = self.adapter.get(self.job_id)
        assert job is not None
        return job.state


@pytest.fixture
def frozen(tmp_path: Path, wait_for: WaitFor) -> Iterator[Frozen]:
    adapter = connect(f"sqlite:///{tmp_path}/jobs.sqlite3")
    adapter.migrate()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = NewWorker(
            WORKER, "worker", socket.gethostname(), process.pid, None, 1, timedelta(seconds=30)
        )
        adapter.register_worker(worker)
        (job,) = adapter.enqueue([NewJob("Job", "{}", "default", 50, 24)])
        adapter.claim(Claim(WORKER, 4711, 1, 1))
        process.send_signal(signal.SIGSTOP)
        wait_for(
            lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "it stands still"
        )
        try:
            yield Frozen(adapter, process, job.id)
        finally:
            process.kill()
    adapter.close()


def test_a_worker_that_stands_still_is_freed_of_its_jobs(frozen: Frozen) -> None:
    assert frozen.rescue() == Rescue(WORKER, (frozen.job_id,))
    assert frozen.state() is JobState.READY


def test_one_that_is_killed_as_well(frozen: Frozen) -> None:
    frozen.process.kill()
    frozen.process.wait()
    assert frozen.rescue() == Rescue(WORKER, (frozen.job_id,))


def test_one_that_goes_on_after_all_keeps_them(frozen: Frozen, wait_for: WaitFor) -> None:
    """Who frees it may have waited for the write lock, and so has it, to beat."""
    (seen,) = frozen.adapter.workers()
    frozen.process.send_signal(signal.SIGCONT)
    process = psutil.Process(frozen.process.pid)
    wait_for(lambda: process.status() != psutil.STATUS_STOPPED, "it goes on")
    assert frozen.adapter.rescue(seen, "it was silent") is None
    assert frozen.state() is JobState.RUNNING
    assert frozen.adapter.workers() == [seen]
