"""When a supervisor starts another worker, and when it gives up. The processes only seem so."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.records import CrashedJob
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.supervisor import Supervisor
from tests.process.conftest import WaitFor

NO_DATABASE = 3


class SeemingProcess:
    """As a supervisor sees a worker process."""

    pid = 1
    age_seconds = 1.0
    was_overdue = told_to_hurry = False
    schedules = ()

    def __init__(self, index: int, over: tuple[CrashedJob, ...] = ()) -> None:
        self.name = self.worker_id = f"worker.{index}"
        self.index, self._over = index, over
        self.started = 0.0
        self.exit_code: int | None = None
        self.is_ready = self.asked_to_stop = False

    def crashed_jobs(self) -> tuple[CrashedJob, ...]:
        return self._over

    def is_beating(self) -> bool:
        return False

    def kill_if_overdue(self) -> bool:
        return False

    def look_whether_ready(self) -> None:
        pass

    def stop(self) -> None:
        self.asked_to_stop, self.exit_code = True, 0

    def send(self, number: signal.Signals) -> None:
        self.exit_code = -number

    def close(self) -> None:
        pass


@contextmanager
def supervising(count: int, over: tuple[CrashedJob, ...] = ()) -> Iterator[list[SeemingProcess]]:
    """The processes that a supervisor has spawned so far, while it runs."""
    spawned: list[SeemingProcess] = []

    def spawn(group: WorkerGroup, index: int) -> Any:
        spawned.append(SeemingProcess(index, over))
        return spawned[-1]

    supervisor = Supervisor(
        [WorkerGroup("worker", None, count)],
        spawn,
        MemoryAdapter(),
        lease=timedelta(seconds=30),
        grace=timedelta(seconds=1),
        logger=logging.getLogger("jobqueue"),
    )
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    yield spawned
    supervisor.stop("the test is over")
    thread.join(20)


def test_it_gives_up_when_its_first_workers_cannot_start(wait_for: WaitFor) -> None:
    with supervising(2) as spawned:
        wait_for(lambda: len(spawned) == 2, "the workers")
        spawned[1].exit_code = NO_DATABASE
        wait_for(lambda: spawned[0].asked_to_stop, "it to give up")
    assert len(spawned) == 2


def test_it_goes_on_when_one_has_started_and_another_cannot(wait_for: WaitFor) -> None:
    """All of them at the same time may never be ready, where they are killed again and again."""
    with supervising(2) as spawned:
        wait_for(lambda: len(spawned) == 2, "the workers")
        spawned[0].is_ready = True
        wait_for(lambda: len(spawned) == 2 and seen(spawned[0]), "it to see that one is ready")
        spawned[1].exit_code = NO_DATABASE
        wait_for(lambda: len(spawned) == 3, "another in its place")
        assert not spawned[0].asked_to_stop


def has(spawned: list[SeemingProcess], number: int) -> bool:
    return len(spawned) == number


def seen(process: SeemingProcess) -> bool:
    """Once the supervisor has gone round again."""
    asked = threading.Event()
    process.look_whether_ready = asked.set  # type: ignore[method-assign]
    return asked.wait(1)


@pytest.mark.parametrize(("over_a_job", "pauses"), [(True, "1.0 1.0"), (False, "1.0 2.0")])
def test_who_dies_over_a_job_is_missed_for_a_second_at_most(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture, over_a_job: bool, pauses: str
) -> None:
    """It is the job's fault, which is failed at its third crash; the others are to go on."""
    over = (CrashedJob(1, 1, "died"),) if over_a_job else ()
    with caplog.at_level(logging.ERROR, "jobqueue"), supervising(1, over) as spawned:
        for deaths in range(1, 4):
            wait_for(partial(has, spawned, deaths), "a worker")
            spawned[-1].exit_code = -signal.SIGKILL
        wait_for(lambda: len(caplog.records) == 3, "it to see the last one die")
    said = [record.getMessage().rsplit("started ")[1] for record in caplog.records]
    assert " ".join(said).replace("in ", "").replace(" s", "") == f"at once {pauses}"
