"""An exit that a signal handler raises ends the process, whatever code of ours it interrupts."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest

import jobqueue
from jobqueue import Hooks, Job, MemoryAdapter
from jobqueue.defaults import default_configuration
from tests.conftest import Project
from tests.test_running import WaitFor, jobs_of, started


class Quiet(Job):
    def perform(self) -> None:
        pass


def leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


class Leaver:
    """A handler that is a method, or an object that is called."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        leave(number, frame)

    def leave(self, number: int, frame: FrameType | None) -> None:
        leave(number, frame)


class Interrupted(logging.Handler):
    """A log handler in the middle of which SIGTERM comes, when a job is cancelled."""

    def emit(self, record: logging.LogRecord) -> None:
        if "cancelled" in record.getMessage():
            signal.raise_signal(signal.SIGTERM)


class Exits(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sys.exit(3)


class InterruptedHook(Hooks):
    def job_enqueued(self, job: Any) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def configured_for_one_test() -> Iterator[None]:
    yield
    default_configuration.reset()


@contextmanager
def sigterm_calls(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def log_handler(handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger("of an application with handlers")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [handler]
    return logger


@pytest.mark.parametrize("handler", [leave, Leaver(), Leaver().leave, partial(leave)])
def test_an_exit_comes_out_of_a_log_line(
    handler: Callable[[int, FrameType | None], None],
) -> None:
    jobqueue.configure(adapter=MemoryAdapter(), logger=log_handler(Interrupted()))
    job = Quiet.perform_later()
    with sigterm_calls(handler), pytest.raises(SystemExit, match="143"):
        job.cancel()


def test_an_exit_comes_out_of_a_hook() -> None:
    jobqueue.configure(adapter=MemoryAdapter(), hooks=[InterruptedHook()])
    with sigterm_calls(leave), pytest.raises(SystemExit, match="143"):
        Quiet.perform_later()


def test_what_a_log_handler_raises_itself_ends_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobqueue.configure(adapter=MemoryAdapter(), logger=log_handler(Exits()))
    job = Quiet.perform_later()
    with sigterm_calls(leave):
        job.cancel()
    assert "not logged, since that raised SystemExit: 3" in capsys.readouterr().err


def test_a_second_signal_in_the_middle_of_a_log_line_is_heeded(
    project: Project, wait_for: WaitFor
) -> None:
    """It comes while the first one is logged, on the thread that stops the worker."""
    with started(project, "interrupted") as process:
        wait_for((project.folder / "began").exists, "the job")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143, errors.decode()
    assert not (project.folder / "done").exists()
    assert jobs_of(project) == {"ready": 1}
