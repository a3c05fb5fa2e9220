"""When a supervisor starts another worker, and when it gives up. The processes only seem so."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.errors import ConfigurationError
from jobqueue.records import CrashedJob
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.process import DATABASE_AWAY
from jobqueue.runner.supervisor import Supervisor
from tests.process.conftest import WaitFor

NO_DATABASE = 3


class SeemingProcess:
    """As a supervisor sees a worker process."""

    pid = 1
    age_seconds = 1.0
    was_overdue = told_to_hurry = False
    schedules = ()

    def __init__(self, name: str, over: tuple[CrashedJob, ...] = (), *, waits: bool) -> None:
        self.name = self.worker_id = name
        self.waits, self._over = waits, over
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
    with supervising_groups([WorkerGroup("worker", None, count)], spawned, over):
        yield spawned


@contextmanager
def supervising_groups(
    groups: list[WorkerGroup],
    spawned: list[SeemingProcess],
    over: tuple[CrashedJob, ...] = (),
    regroup: Callable[[], list[WorkerGroup]] | None = None,
) -> Iterator[Supervisor]:
    """A supervisor that runs, and notes which processes it spawns."""

    def spawn(group: WorkerGroup, index: int, *, waits: bool) -> Any:
        spawned.append(SeemingProcess(f"{group.name}.{index}", over, waits=waits))
        return spawned[-1]

    supervisor = Supervisor(
        groups,
        spawn,
        MemoryAdapter(),
        lease=timedelta(seconds=30),
        grace=timedelta(seconds=1),
        logger=logging.getLogger("jobqueue"),
        regroup=regroup,
    )
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    yield supervisor
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


GROWING = "at once 1.0 2.0"
AT_ONCE = "at once at once at once"


@pytest.mark.parametrize(
    ("ready", "exit_code", "over_a_job", "pauses"),
    [
        pytest.param(False, -signal.SIGKILL, False, GROWING, id="killed while it starts"),
        pytest.param(False, 1, False, GROWING, id="ends while it starts"),
        pytest.param(True, -signal.SIGKILL, False, AT_ONCE, id="killed while it is idle"),
        pytest.param(True, -signal.SIGTERM, False, AT_ONCE, id="ended by somebody"),
        pytest.param(True, -signal.SIGKILL, True, AT_ONCE, id="killed over a job"),
        pytest.param(True, -signal.SIGSEGV, True, AT_ONCE, id="a job crashes it"),
        pytest.param(True, 1, True, AT_ONCE, id="a job ends it"),
        pytest.param(True, -signal.SIGSEGV, False, GROWING, id="crashes of itself"),
        pytest.param(True, 3, False, GROWING, id="cannot work"),
        pytest.param(False, DATABASE_AWAY, False, "1.0 1.0 1.0", id="no database to start with"),
        pytest.param(True, DATABASE_AWAY, False, "1.0 1.0 1.0", id="the database goes away"),
    ],
)
def test_only_who_cannot_start_is_waited_for(
    wait_for: WaitFor,
    caplog: pytest.LogCaptureFixture,
    ready: bool,
    exit_code: int,
    over_a_job: bool,
    pauses: str,
) -> None:
    """A job that kills its worker is failed at its third crash; the others are to go on."""
    over = (CrashedJob(1, 1, "died"),) if over_a_job else ()
    with caplog.at_level(logging.ERROR, "jobqueue"), supervising(1, over) as spawned:
        for deaths in range(1, 4):
            wait_for(partial(has, spawned, deaths), "a worker")
            spawned[-1].is_ready = ready
            spawned[-1].exit_code = exit_code
        wait_for(lambda: len(caplog.records) == 3, "it to see the last one die")
    said = [record.getMessage().rsplit("started ")[1] for record in caplog.records]
    assert " ".join(said).replace("in ", "").replace(" s", "") == pauses


def test_who_was_fine_begins_to_count_anew(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "jobqueue"), supervising(1) as spawned:
        for deaths, ready in enumerate((False, False, True, False), start=1):
            wait_for(partial(has, spawned, deaths), "a worker")
            spawned[-1].is_ready = ready
            spawned[-1].exit_code = -signal.SIGKILL
        wait_for(lambda: len(caplog.records) == 4, "it to see the last one die")
    said = [record.getMessage().rsplit("started ")[1] for record in caplog.records]
    assert said == ["at once", "in 1.0 s", "at once", "at once"]


# --- a rolling restart to other groups -----------------------------------------------------------


class Restarts:
    """How the rolling restarts of a supervisor ended, and what it has running."""

    def __init__(self, supervisor: Supervisor, spawned: list[SeemingProcess]) -> None:
        self.ended: list[str | None] = []
        self.supervisor, self._spawned = supervisor, spawned
        supervisor.restarting.on_end = self.ended.append

    def running(self) -> list[str]:
        return sorted(p.name for p in self._spawned if p.exit_code is None)

    def end(self, name: str, exit_code: int) -> None:
        for process in self._spawned:
            if process.name == name:
                process.exit_code = exit_code

    def make_ready(self) -> None:
        for process in self._spawned:
            process.is_ready = True


@pytest.fixture
def wanted() -> list[WorkerGroup]:
    return [WorkerGroup("a", None, 2), WorkerGroup("b", ("b",), 1)]


@pytest.fixture
def restarts(wanted: list[WorkerGroup], wait_for: WaitFor) -> Iterator[Restarts]:
    spawned: list[SeemingProcess] = []
    given = list(wanted)

    def regroup() -> list[WorkerGroup]:
        if not wanted:
            raise ConfigurationError("the file is broken")
        return list(wanted)

    with supervising_groups(given, spawned, regroup=regroup) as supervisor:
        restarts = Restarts(supervisor, spawned)
        wait_for(lambda: len(spawned) == 3, "the workers")
        restarts.make_ready()
        yield restarts


def test_a_restart_brings_other_groups(
    restarts: Restarts, wanted: list[WorkerGroup], wait_for: WaitFor
) -> None:
    wanted[:] = [WorkerGroup("a", ("x",), 1), WorkerGroup("c", None, 2)]
    restarts.supervisor.restart()
    wait_for(lambda: restarts.running() == ["a.0", "a.0", "a.1", "b.0", "c.0", "c.1"], "new ones")
    assert restarts.ended == []
    restarts.make_ready()
    wait_for(lambda: restarts.ended == [None], "the end of the restart")
    wait_for(lambda: restarts.running() == ["a.0", "c.0", "c.1"], "the old ones to end")
    assert restarts.supervisor.shown() == "a:1,c:2"
    assert [name for name, _ in restarts.supervisor.worker_pids()] == ["a.0", "c.0", "c.1"]


def test_what_a_failed_restart_was_to_bring_and_to_take_away_stays_as_it_was(
    restarts: Restarts, wanted: list[WorkerGroup], wait_for: WaitFor
) -> None:
    wanted[:] = [WorkerGroup("c", None, 1)]
    restarts.supervisor.restart()
    wait_for(lambda: restarts.running() == ["a.0", "a.1", "b.0", "c.0"], "the new one")
    restarts.end("c.0", 2)
    wait_for(lambda: restarts.ended == ["c.0: exit code 2"], "the end of the restart")
    assert restarts.running() == ["a.0", "a.1", "b.0"]
    assert restarts.supervisor.shown() == "a:2,b:1"


def test_a_configuration_that_is_broken_changes_nothing(
    restarts: Restarts, wanted: list[WorkerGroup], wait_for: WaitFor
) -> None:
    wanted.clear()
    restarts.supervisor.restart()
    wait_for(lambda: restarts.ended == ["the file is broken"], "the end of the restart")
    assert restarts.running() == ["a.0", "a.1", "b.0"]
