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
from jobqueue.adapters.sql.tables import WORKERS
from jobqueue.adapters.sqlite.adapter import SqliteAdapter
from jobqueue.process_identity import identity_of
from jobqueue.records import Claim, JobState, NewJob, NewWorker, Rescue

WORKER = "worker-1"

WaitFor = Callable[[Callable[[], bool], str], None]


@dataclass
class Watched:
    """A worker whose process can be seen, and that holds a job."""

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

    def set_clock(self, by: timedelta) -> None:
        """Set the machine's clock, as it shows in the row: start times move against it."""
        assert isinstance(self.adapter, SqliteAdapter)
        start_before = WORKERS.update().values(started_at=self.adapter.now() - by)
        self.adapter.database.write(lambda connection: connection.execute(start_before))

    def change_details(self, details: dict[str, str] | None) -> None:
        """Have the row as a former release would, or one of another process."""
        assert isinstance(self.adapter, SqliteAdapter)
        change = WORKERS.update().values(details=details)
        self.adapter.database.write(lambda connection: connection.execute(change))

    def is_living(self) -> bool | None:
        (seen,) = self.adapter.workers()
        return self.adapter.is_living(seen)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Watched]:
    adapter = connect(f"sqlite:///{tmp_path}/jobs.sqlite3")
    adapter.migrate()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = NewWorker(
            WORKER, "worker", socket.gethostname(), process.pid, None, 1, timedelta(seconds=30)
        )
        adapter.register_worker(worker)
        (job,) = adapter.enqueue([NewJob("Job", "{}", "default", 50, 24)])
        adapter.claim(Claim(WORKER, 4711, 1, 1))
        try:
            yield Watched(adapter, process, job.id)
        finally:
            process.kill()
    adapter.close()


@pytest.fixture
def frozen(living: Watched, wait_for: WaitFor) -> Watched:
    """One whose process stands still."""
    living.process.send_signal(signal.SIGSTOP)
    process = psutil.Process(living.process.pid)
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
    return living


def test_a_worker_that_stands_still_is_freed_of_its_jobs(frozen: Watched) -> None:
    assert frozen.rescue() == Rescue(WORKER, (frozen.job_id,))
    assert frozen.state() is JobState.READY


def test_one_that_is_killed_as_well(frozen: Watched) -> None:
    frozen.process.kill()
    frozen.process.wait()
    assert frozen.rescue() == Rescue(WORKER, (frozen.job_id,))


def test_one_that_goes_on_after_all_keeps_them(frozen: Watched, wait_for: WaitFor) -> None:
    """Who frees it may have waited for the write lock, and so has it, to beat."""
    (seen,) = frozen.adapter.workers()
    frozen.process.send_signal(signal.SIGCONT)
    process = psutil.Process(frozen.process.pid)
    wait_for(lambda: process.status() != psutil.STATUS_STOPPED, "it goes on")
    assert frozen.adapter.rescue(seen, "it was silent") is None
    assert frozen.state() is JobState.RUNNING
    assert frozen.adapter.workers() == [seen]


@pytest.mark.parametrize("by", [timedelta(0), timedelta(hours=1), timedelta(hours=-1)])
def test_one_that_lives_keeps_them_when_the_clock_is_set(living: Watched, by: timedelta) -> None:
    living.adapter.declare_handlers(WORKER, ["Job"])
    living.set_clock(by)
    assert living.is_living()
    assert living.rescue() is None
    assert living.state() is JobState.RUNNING
    assert living.adapter.declared_handlers() == {WORKER: {"Job"}}


def test_another_process_with_its_id_is_not_it(living: Watched) -> None:
    living.change_details({"process": str(identity_of(1))})
    assert living.is_living() is False


def test_a_worker_of_a_former_release_is_told_by_its_start(living: Watched) -> None:
    """What has started later may be another process, or itself after the clock was set."""
    living.change_details(None)
    assert living.is_living()
    living.set_clock(timedelta(hours=1))
    assert living.is_living() is None
    living.process.kill()
    living.process.wait()
    assert living.is_living() is False
