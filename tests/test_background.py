"""Services: how they start, wait, are woken and stopped, and what they do when a step raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from jobqueue.background import RETRY_SECONDS, Service, Step
from jobqueue.errors import DatabaseError, DatabaseUnavailable

LOG = logging.getLogger("jobqueue.tests.background")
PATIENCE_SECONDS = 60
NEVER = 1e9


class Steps:
    """A step that is counted, and does what it is told to."""

    def __init__(self, *answers: float | BaseException | None) -> None:
        self.number = 0
        self.taken = threading.Semaphore(0)
        self._answers = list(answers)

    def __call__(self) -> float | None:
        self.number += 1
        self.taken.release()
        answer = self._answers.pop(0) if self._answers else NEVER
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def wait_for_one(self) -> None:
        assert self.taken.acquire(timeout=PATIENCE_SECONDS)


@contextmanager
def running(step: Step, *, until: Callable[[], bool] | None = None) -> Iterator[Service]:
    service = Service("jobqueue-test", step, LOG, retry_seconds=0.0, until=until)
    service.start()
    try:
        yield service
    finally:
        service.stop(PATIENCE_SECONDS)
        assert not threads()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "jobqueue-test"]


# --- starting and stopping -----------------------------------------------------------------------


def test_the_first_step_begins_at_once() -> None:
    steps = Steps()
    with running(steps):
        steps.wait_for_one()
    assert steps.number == 1


@pytest.mark.parametrize("answer", [NEVER, float("inf"), None])
def test_it_is_stopped_while_it_waits(answer: float | None) -> None:
    steps = Steps(answer)
    with running(steps) as service:
        steps.wait_for_one()
    assert service.is_stopping
    assert steps.number == 1


def test_it_is_stopped_during_a_step() -> None:
    begun, number = threading.Event(), 0

    def step() -> float:
        nonlocal number
        number += 1
        begun.set()
        service.pause(PATIENCE_SECONDS)
        return 0.0

    service = Service("jobqueue-test", step, LOG)
    service.start()
    assert begun.wait(PATIENCE_SECONDS)
    service.stop()
    assert not threads()
    assert number == 1


def test_a_step_that_does_not_end_is_waited_for_no_longer_than_asked() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def step() -> None:
        begun.set()
        assert may_end.wait(PATIENCE_SECONDS)

    service = Service("jobqueue-test", step, LOG)
    service.start()
    assert begun.wait(PATIENCE_SECONDS)
    service.stop(0.0)
    assert threads()
    may_end.set()
    service.stop()
    assert not threads()


def test_it_has_one_thread_however_often_it_is_started() -> None:
    steps = Steps()
    with running(steps) as service:
        service.start()
        assert len(threads()) == 1


def test_one_that_was_stopped_does_not_start() -> None:
    steps = Steps()
    service = Service("jobqueue-test", steps, LOG)
    service.stop()
    service.start()
    assert not threads()
    assert steps.number == 0


def test_one_whose_thread_cannot_be_started_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    service = Service("jobqueue-test", Steps(), LOG)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            service.start()
    service.stop()


# --- waking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [NEVER, None])
def test_it_is_woken_while_it_waits(answer: float | None) -> None:
    steps = Steps(answer)
    with running(steps) as service:
        steps.wait_for_one()
        service.wake()
        steps.wait_for_one()


def test_being_woken_during_a_step_is_not_forgotten() -> None:
    number = 0
    second = threading.Event()

    def step() -> None:
        nonlocal number
        number += 1
        if number == 1:
            service.wake()
        else:
            second.set()

    service = Service("jobqueue-test", step, LOG)
    service.start()
    assert second.wait(PATIENCE_SECONDS)
    service.stop()


def test_it_goes_on_after_the_pause() -> None:
    steps = Steps(0.0, 0.0)
    with running(steps):
        for _ in range(3):
            steps.wait_for_one()


# --- what is left to do --------------------------------------------------------------------------


def test_a_step_follows_the_stop() -> None:
    steps = Steps()
    with running(steps, until=lambda: True):
        steps.wait_for_one()
    assert steps.number == 2


def test_a_step_follows_the_stop_that_came_during_one() -> None:
    left: list[str] = []
    begun = threading.Event()

    def step() -> None:
        left.clear()
        begun.set()
        if not service.is_stopping:
            service.pause(PATIENCE_SECONDS)
            left.append("what came after the step had looked")

    service = Service("jobqueue-test", step, LOG, until=lambda: True)
    service.start()
    assert begun.wait(PATIENCE_SECONDS)
    service.stop()
    assert left == []


def test_steps_go_on_until_nothing_is_left() -> None:
    steps = Steps(NEVER, DatabaseUnavailable("away"), DatabaseError("no"), ValueError("?"), NEVER)
    with running(steps, until=lambda: steps.number == 5):
        steps.wait_for_one()
    assert steps.number == 5


# --- steps that raise ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), DatabaseError("no"), ValueError()])
def test_it_goes_on_after_an_error(error: Exception) -> None:
    steps = Steps(error, error)
    with running(steps):
        for _ in range(3):
            steps.wait_for_one()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_nothing_that_a_step_raises_ends_it(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook of the application may call `sys.exit`, and others depend on the thread."""
    steps = Steps(error, error)
    with running(steps):
        for _ in range(3):
            steps.wait_for_one()
    assert [record.__dict__["event"] for record in caplog.records] == ["service_failed"]


def test_it_goes_on_where_an_error_cannot_be_logged(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: logging.LogRecord) -> bool:
        raise ValueError("a mistake in a filter")

    steps = Steps(OSError("a mistake"), OSError("a mistake"))
    LOG.addFilter(refuse)
    try:
        with running(steps):
            for _ in range(3):
                steps.wait_for_one()
    finally:
        LOG.removeFilter(refuse)
    (line,) = capsys.readouterr().err.splitlines()
    assert "a mistake in a filter" in line
    assert "jobqueue-test failed, and goes on: OSError: a mistake" in line


def attempts(service: Service, number: int) -> list[float | None]:
    return [service.run_step() for _ in range(number)]


def test_a_database_that_is_away_is_waited_for_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    steps, told = Steps(*[DatabaseUnavailable("away")] * 2, 7.0), list[DatabaseError]()
    service = Service("jobqueue-test", steps, LOG, on_trouble=told.append)
    assert attempts(service, 3) == [RETRY_SECONDS, RETRY_SECONDS, 7.0]
    assert told == []
    assert not caplog.records


def test_a_database_that_refuses_is_told_of_once_a_trouble() -> None:
    first, second = DatabaseError("no"), DatabaseError("no again")
    away = DatabaseUnavailable("away")
    steps, told = Steps(first, away, DatabaseError("still"), 1.0, second), list[DatabaseError]()
    service = Service("jobqueue-test", steps, LOG, on_trouble=told.append, retry_seconds=3.0)
    assert attempts(service, 5) == [3.0, 3.0, 3.0, 1.0, 3.0]
    assert told == [first, second]


def test_what_nobody_expected_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps(ValueError("a mistake"), ValueError("a mistake"), None, ValueError("a mistake"))
    service = Service("jobqueue-test", steps, LOG)
    assert attempts(service, 4) == [RETRY_SECONDS, RETRY_SECONDS, None, RETRY_SECONDS]
    assert len(caplog.records) == 2
    for record in caplog.records:
        assert record.__dict__["event"] == "service_failed"
        assert record.getMessage() == "jobqueue-test failed, and goes on: ValueError: a mistake"
        assert record.exc_info is not None


def test_one_kind_of_trouble_does_not_hide_another(caplog: pytest.LogCaptureFixture) -> None:
    told: list[DatabaseError] = []
    steps = Steps(DatabaseError("no"), ValueError("a mistake"))
    attempts(Service("jobqueue-test", steps, LOG, on_trouble=told.append), 2)
    assert len(told) == 1
    assert len(caplog.records) == 1
