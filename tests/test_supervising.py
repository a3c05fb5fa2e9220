"""When a supervisor starts another worker, and when it gives up. The processes only seem so."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.errors import ConfigurationError
from jobqueue.records import CrashedJob
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.open_files import FILES_PER_WORKER
from jobqueue.runner.process import DATABASE_AWAY, WorkerProcess
from jobqueue.runner.seats import seats_of
from jobqueue.runner.steps import Steps
from jobqueue.runner.supervisor import Supervisor
from tests.process.conftest import WaitFor

NO_DATABASE = 3


class SeemingProcess:
    """As a supervisor sees a worker process."""

    pid = 1
    age_seconds = 1.0
    was_overdue = is_suspended = False
    schedules = ()
    release: str | None = None

    def __init__(self, name: str, over: tuple[CrashedJob, ...] = (), *, waits: bool) -> None:
        self.name = self.worker_id = name
        self.waits, self._over = waits, over
        self.started = 0.0
        self.exit_code: int | None = None
        self.is_ready = self.asked_to_stop = False
        self.finished_with: int | None = None
        self.why_killed: str | None = None
        self.resting: list[bool] = []
        self.shows_stacks = 0
        self.told_to_hurry = False
        self.pipe = self

    @property
    def has_finished(self) -> bool:
        return self.final_code is not None

    @property
    def final_code(self) -> int | None:
        return self.exit_code if self.finished_with is None else self.finished_with

    @property
    def how_it_ended(self) -> str:
        return self.why_killed or f"exit code {self.exit_code}"

    @property
    def why_it_ended(self) -> str | None:
        return self.how_it_ended

    def hurry(self, kill_at: float) -> None:
        self.told_to_hurry, self.exit_code = True, -3

    def send_resting(self, resting: bool, *, alone: bool = False) -> None:
        if self.resting[-1:] != [resting]:
            self.resting.append(resting)

    def was_ready(self) -> bool:
        return self.is_ready

    def is_suspended_longer_than(self, seconds: float) -> bool:
        return self.is_suspended

    def kill_if_it_does_not_end(self, grace_seconds: float) -> bool:
        return False

    def show_stacks(self) -> None:
        self.shows_stacks += 1

    def kill(self, why: str) -> None:
        self.why_killed, self.exit_code = why, -9

    def crashed_jobs(self) -> tuple[CrashedJob, ...]:
        return self._over

    def is_beating(self) -> bool:
        return False

    def kill_if_overdue(self) -> bool:
        return False

    def note_messages(self) -> None:
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
    refusals: list[Exception] | None = None,
    **options: Any,
) -> Iterator[Supervisor]:
    """A supervisor that runs, and notes which processes it spawns.

    Spawning fails with each of `refusals`, in turn, and else succeeds.
    """

    def spawn(group: WorkerGroup, index: int, *, waits: bool) -> Any:
        if refusals:
            raise refusals.pop(0)
        spawned.append(SeemingProcess(f"{group.name}.{index}", over, waits=waits))
        return spawned[-1]

    given: dict[str, Any] = {
        "lease": timedelta(seconds=30),
        "grace": timedelta(seconds=1),
        "logger": logging.getLogger("jobqueue"),
        "regroup": regroup,
    }
    supervisor = Supervisor(groups, spawn, MemoryAdapter(), **(given | options))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    yield supervisor
    supervisor.stop("the test is over")
    thread.join(20)
    assert not thread.is_alive()


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
    process.note_messages = asked.set  # type: ignore[method-assign]
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


# --- what must not end it ------------------------------------------------------------------------

ONE = [WorkerGroup("worker", None, 1)]
TWO = [WorkerGroup("worker", None, 2)]
NO_PROCESS = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def said(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.__dict__.get("event") == event]


@pytest.mark.parametrize(
    "error",
    [NO_PROCESS, OSError(errno.EMFILE, "Too many open files"), MemoryError()],
    ids=["no process", "no descriptor", "no memory"],
)
def test_a_worker_that_cannot_be_started_costs_no_other_its_jobs(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    spawned: list[SeemingProcess] = []
    refusals: list[Exception] = []
    with supervising_groups(TWO, spawned, refusals=refusals):
        wait_for(partial(has, spawned, 2), "the workers")
        spawned[0].is_ready = spawned[1].is_ready = True
        refusals += [error, error]
        spawned[0].exit_code = -signal.SIGKILL
        wait_for(partial(has, spawned, 3), "another in its place")
        assert spawned[1].exit_code is None
        assert not spawned[1].asked_to_stop
    pauses = [line.rsplit("in ")[-1] for line in said(caplog, "worker_not_started")]
    assert pauses == ["1.0 s", "2.0 s"]


def test_a_seat_waits_longer_each_time_until_somebody_may_have_mended_it() -> None:
    (seat,) = seats_of(ONE)
    assert seat.is_to_be_filled()
    assert [seat.pause_after_failed_start() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert not seat.is_to_be_filled()
    seat.forget_pauses()
    assert seat.is_to_be_filled()
    assert seat.pause_after_failed_start() == 1


def test_a_restart_starts_its_workers_when_the_system_lets_it(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    spawned: list[SeemingProcess] = []
    refusals: list[Exception] = []
    with supervising_groups(TWO, spawned, refusals=refusals) as supervisor:
        ended: list[str | None] = []
        supervisor.restarting.on_end = ended.append
        wait_for(partial(has, spawned, 2), "the workers")
        refusals.append(NO_PROCESS)
        supervisor.restart()
        wait_for(partial(has, spawned, 4), "the new ones")
        assert len(said(caplog, "worker_not_started")) == 1
        assert not any(process.asked_to_stop for process in spawned)
        spawned[2].is_ready = spawned[3].is_ready = True
        wait_for(lambda: ended == [None], "the end of the restart")
        assert [process.asked_to_stop for process in spawned] == [True, True, False, False]


def test_a_restart_that_cannot_start_its_workers_in_time_fails(wait_for: WaitFor) -> None:
    spawned: list[SeemingProcess] = []
    refusals: list[Exception] = []
    soon = timedelta(seconds=0.5)
    with supervising_groups(TWO, spawned, refusals=refusals, boot_timeout=soon) as supervisor:
        ended: list[str | None] = []
        supervisor.restarting.on_end = ended.append
        wait_for(partial(has, spawned, 2), "the workers")
        refusals += [NO_PROCESS] * 9
        supervisor.restart()
        wait_for(lambda: len(ended) == 1, "the end of the restart")
        assert "the system did not let it start" in str(ended[0])
        assert [process.asked_to_stop for process in spawned] == [False, False]


def fails() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "called", ["on_ready", "on_turn", "keep_state", "on_new_code", "restarting.on_end"]
)
def test_what_fails_in_its_loop_costs_no_worker_its_jobs(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture, called: str
) -> None:
    spawned: list[SeemingProcess] = []
    calls: list[str] = []

    def fail(*_: object) -> None:
        calls.append(called)
        fails()

    with supervising_groups(TWO, spawned) as supervisor:
        *where, name = called.split(".")
        setattr(supervisor.restarting if where else supervisor, name, fail)
        wait_for(partial(has, spawned, 2), "the workers")
        spawned[0].is_ready = spawned[1].is_ready = True
        supervisor.restart()
        wait_for(lambda: len(spawned) == 4, "the restart")
        spawned[2].is_ready = spawned[3].is_ready = True
        wait_for(lambda: bool(calls), "what fails to be called")
        wait_for(lambda: spawned[0].asked_to_stop and spawned[1].asked_to_stop, "the old to end")
        spawned[2].exit_code = -signal.SIGKILL
        wait_for(partial(has, spawned, 5), "another in its place")
        assert not spawned[3].asked_to_stop
    assert len(said(caplog, "supervisor_troubled")) == 1
    assert all(process.exit_code == 0 for process in spawned[3:]), "they were let finish"


class NotToBeCaught(BaseException):
    """What no step is prepared for."""


def test_whatever_ends_its_loop_its_workers_finish_first(
    wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[SeemingProcess] = []
    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))

    def fail() -> None:
        supervisor.on_turn = lambda: None
        raise NotToBeCaught

    with supervising_groups(TWO, spawned) as supervisor:
        wait_for(partial(has, spawned, 2), "the workers")
        supervisor.on_turn = fail
        wait_for(lambda: all(process.exit_code is not None for process in spawned), "their end")
    assert [process.exit_code for process in spawned] == [0, 0], "asked to stop, and not killed"
    assert raised == [NotToBeCaught]


def test_a_step_waits_longer_each_time_that_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    now, calls = 0.0, []
    steps = Steps(logging.getLogger("jobqueue"), lambda: now)

    def step() -> None:
        calls.append(now)
        fails()

    for _ in range(140):
        steps.take("write its state file", step)
        now += 0.1
    assert [round(call) for call in calls] == [0, 1, 3, 7, 12]
    assert len(said(caplog, "supervisor_troubled")) == 1
    steps.take("something else", partial(calls.clear))
    assert calls == []


# --- those that do not get ready, do not end, or stand still -------------------------------------


def test_a_restart_by_hand_forgets_the_pauses_and_waits_for_who_could_not_start(
    wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    spawned: list[SeemingProcess] = []
    with supervising_groups(ONE, spawned) as supervisor:
        ended: list[str | None] = []
        supervisor.restarting.on_end = ended.append
        for number in range(1, 4):
            wait_for(partial(has, spawned, number), "a worker")
            spawned[-1].exit_code = 1
        wait_for(lambda: len(said(caplog, "worker_died")) == 3, "it to see the last one die")
        supervisor.restart()
        wait_for(partial(has, spawned, 4), "a new one before the pause of 2 s is over")
        wait_for(lambda: seen(spawned[3]), "it to go round")
        assert ended == [], "it is not renewed before the new one is ready"
        spawned[3].is_ready = True
        wait_for(lambda: ended == [None], "the end of the restart")
    assert len(spawned) == 4


def test_a_newer_restart_replaces_an_older_one(wait_for: WaitFor) -> None:
    spawned: list[SeemingProcess] = []
    with supervising_groups(ONE, spawned) as supervisor:
        ended: list[str | None] = []
        supervisor.restarting.on_end = ended.append
        wait_for(partial(has, spawned, 1), "the worker")
        spawned[0].is_ready = True
        supervisor.restart()
        wait_for(partial(has, spawned, 2), "a new one")
        supervisor.restart()
        wait_for(partial(has, spawned, 3), "one with still newer code")
        assert spawned[1].asked_to_stop
        assert not spawned[0].asked_to_stop
        spawned[2].is_ready = True
        wait_for(lambda: ended == [None], "the end of the restart")
        wait_for(lambda: spawned[0].asked_to_stop, "the first one to be let go")


def test_a_new_worker_that_hangs_is_ended_and_the_old_one_goes_on(wait_for: WaitFor) -> None:
    spawned: list[SeemingProcess] = []
    soon = timedelta(seconds=0.5)
    with supervising_groups(TWO[:1], spawned, boot_timeout=soon) as supervisor:
        ended: list[str | None] = []
        supervisor.restarting.on_end = ended.append
        wait_for(partial(has, spawned, 2), "the workers")
        supervisor.restart()
        wait_for(partial(has, spawned, 4), "the new ones")
        spawned[2].is_ready = True
        wait_for(lambda: len(ended) == 1, "the end of the restart")
        assert "it was not ready in 0.5 s (`boot_timeout`)" in str(ended[0])
        assert (spawned[3].shows_stacks, spawned[3].exit_code) == (1, -signal.SIGKILL)
        assert spawned[0].asked_to_stop
        assert not spawned[1].asked_to_stop


def test_a_worker_that_has_finished_and_lives_on_is_replaced_at_once(wait_for: WaitFor) -> None:
    with supervising(1) as spawned:
        wait_for(partial(has, spawned, 1), "the worker")
        spawned[0].is_ready = True
        spawned[0].finished_with = 0
        wait_for(partial(has, spawned, 2), "another in its place")
        assert spawned[0].exit_code is None
        spawned[0].exit_code = 0


def test_a_worker_that_is_suspended_is_replaced_and_not_killed(wait_for: WaitFor) -> None:
    spawned: list[SeemingProcess] = []
    with supervising_groups(TWO, spawned, lease=timedelta(seconds=0.4)) as supervisor:
        wait_for(partial(has, spawned, 2), "the workers")
        spawned[0].is_ready = spawned[1].is_ready = True
        wait_for(lambda: supervisor.is_ready, "it to be ready")
        spawned[0].is_suspended = True
        assert not supervisor.is_ready
        wait_for(partial(has, spawned, 3), "another in its place")
        assert spawned[0].asked_to_stop, "it ends when it goes on"
        assert not spawned[1].asked_to_stop


def test_who_comes_later_rests_too_and_a_pipe_that_was_full_is_told_again(
    wait_for: WaitFor,
) -> None:
    spawned: list[SeemingProcess] = []
    with supervising_groups(TWO, spawned) as supervisor:
        wait_for(partial(has, spawned, 2), "the workers")
        supervisor.rest()
        wait_for(lambda: spawned[0].resting[-1:] == [True], "it to rest")
        spawned[0].resting.clear()
        wait_for(lambda: spawned[0].resting == [True], "it to be told again")
        spawned[1].exit_code = 0
        wait_for(partial(has, spawned, 3), "another in its place")
        wait_for(lambda: spawned[2].resting[-1:] == [True], "it to rest too")
        supervisor.go_on()
        wait_for(lambda: spawned[2].resting == [True, False], "it to go on")


# --- a process that cannot be started ------------------------------------------------------------


@contextmanager
def room_for_files(count: int) -> Iterator[None]:
    """This process may open so many files more."""
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    free = (number for number in itertools.count() if number not in taken)
    limit = next(itertools.islice(free, count, None))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_that_cannot_be_started_leaves_no_file_open() -> None:
    before = os.listdir("/proc/self/fd")
    count, process = 0, None
    while process is None:
        assert os.listdir("/proc/self/fd") == before
        with suppress(OSError), room_for_files(count):
            process = WorkerProcess(
                WorkerGroup("worker", None, 1),
                0,
                ("-c", ""),
                {},
                concurrency=1,
                until_idle=False,
                max_jobs=None,
            )
        count += 1
    assert count > 6, "it failed at each step"
    assert len(os.listdir("/proc/self/fd")) == len(before) + FILES_PER_WORKER
    process.send(signal.SIGKILL)
    assert process._process.wait(60) is not None
    process.close()
    assert os.listdir("/proc/self/fd") == before


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
