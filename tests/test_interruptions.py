"""`JobTimeout` and `JobCancelled` end a job: its code does not take them for an error."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import jobqueue
from jobqueue import Constant, Job, JobCancelled, JobState, JobTimeout
from jobqueue.adapters import Adapter
from jobqueue.config import load_settings
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.records import JobFilter
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker

SOON = 0.1
LONG = 30.0
seen: list[str] = []
started = threading.Event()


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    seen.clear()
    started.clear()
    yield
    default_configuration.reset()


class Careful(Job):
    """Goes on after whatever goes wrong with one item, as jobs do that have many."""

    max_runtime = SOON
    retry = Constant(60)

    def perform(self) -> None:
        for _ in range(100):
            try:
                wait_for(LONG / 100)
            except Exception as error:  # noqa: BLE001 - as jobs do
                seen.append(type(error).__name__)


class CarefulAsync(Job):
    max_runtime = SOON
    retry = Constant(60)

    async def perform(self) -> None:
        for _ in range(100):
            try:
                await asyncio.sleep(LONG / 100)
            except Exception as error:  # noqa: BLE001 - as jobs do
                seen.append(type(error).__name__)


class Logs(Job):
    """Is interrupted in a handler of `logging`, which reports errors and goes on."""

    max_runtime = SOON
    retry = Constant(60)

    def perform(self) -> None:
        logger = logging.Logger("slow")  # noqa: LOG001 - it goes with the job
        logger.addHandler(SlowHandler())
        logger.warning("it takes long to write this")
        seen.append("went on")


class SlowHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            wait_for(LONG)
        except Exception:  # noqa: BLE001 - as those of `logging` do
            self.handleError(record)


class Suppresses(Job):
    max_runtime = SOON
    retry = Constant(60)

    def perform(self) -> None:
        with suppress(Exception):
            wait_for(LONG)


class Cleans(Job):
    """Cleans up in all the ways there are, and lets it pass."""

    max_runtime = SOON
    retry = Constant(60)

    def perform(self) -> None:
        try:
            try:
                wait_for(LONG)
            finally:
                seen.append("finally")
        except JobTimeout as error:
            seen.append(f"by name: {error}")
            raise


class Observed(Suppresses):
    def after_failure(self, error: BaseException) -> None:
        seen.append(f"{type(error).__name__}: {error}")


class Dawdles(Job):
    """Has returned, and its observer takes long."""

    max_runtime = SOON
    keep_succeeded = True

    def perform(self) -> None: ...

    def after_success(self) -> None:
        wait_for(LONG)


class CarefulUntilCancelled(Careful):
    max_runtime = LONG
    interrupt_on_cancel = True

    def perform(self) -> None:
        started.set()
        super().perform()


class EndsEarly(Job):
    """Is out of time, and makes the best of it: the attempt has not failed."""

    max_runtime = SOON

    def perform(self) -> None:
        with suppress(JobTimeout):
            wait_for(LONG)


def wait_for(seconds: float) -> None:
    """Sleep so that an interruption arrives on any thread."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.001)


def work_off(adapter: Adapter, alarm: SignalAlarm | None = None, **settings: Any) -> Tally:
    loaded, logger = load_settings(settings), default_configuration.logger
    return Worker(adapter, registry, loaded, logger, until_idle=True, alarm=alarm).run()


@pytest.fixture(params=["main thread", "thread of the worker", "threads"])
def working_off(request: pytest.FixtureRequest) -> Iterator[Callable[[Adapter], Tally]]:
    """Works off what is due, and interrupts in one of the ways there are."""
    if request.param != "main thread":
        concurrency = 1 if request.param == "thread of the worker" else 2
        yield lambda adapter: work_off(adapter, concurrency=concurrency)
        return
    before = signal.getsignal(signal.SIGALRM)
    alarm = SignalAlarm()
    yield lambda adapter: work_off(adapter, alarm)
    alarm.cancel()
    signal.signal(signal.SIGALRM, before)


def the_error(adapter: Adapter) -> str:
    (record,) = adapter.list_jobs(JobFilter(), 10)
    return record.last_error or ""


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize("job", [Careful, CarefulAsync, Logs, Suppresses, Observed, Cleans])
def test_a_timed_out_attempt_has_not_succeeded(
    adapter: Adapter, working_off: Callable[[Adapter], Tally], job: type[Careful]
) -> None:
    Job.config(adapter=adapter)
    job.perform_later()
    begun = time.monotonic()
    tally = working_off(adapter)
    assert (tally.retried, tally.succeeded) == (1, 0)
    assert time.monotonic() - begun < 5
    assert the_error(adapter).endswith("JobTimeout: ran longer than its max_runtime of 0.1 s")
    (record,) = adapter.list_jobs(JobFilter(), 10)
    assert (record.state, record.attempts) == (JobState.READY, 1)
    message = "ran longer than its max_runtime of 0.1 s"
    expected = {
        Observed: [f"JobTimeout: {message}"],
        Cleans: ["finally", f"by name: {message}"],
    }
    assert seen == expected.get(job, [])


@pytest.mark.timeout(60, method="thread")
def test_who_catches_it_by_name_may_end_well(
    adapter: Adapter, working_off: Callable[[Adapter], Tally]
) -> None:
    Job.config(adapter=adapter)
    EndsEarly.perform_later()
    assert working_off(adapter).succeeded == 1


@pytest.mark.timeout(60, method="thread")
def test_an_observer_that_is_interrupted_changes_nothing(
    adapter: Adapter, working_off: Callable[[Adapter], Tally], caplog: pytest.LogCaptureFixture
) -> None:
    Job.config(adapter=adapter)
    Dawdles.perform_later()
    assert working_off(adapter).succeeded == 1
    assert "after_success" in caplog.text


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_cancelled_job_ends_at_once(adapter: Adapter, concurrency: int) -> None:
    Job.config(adapter=adapter)
    record = CarefulUntilCancelled.perform_later()
    with jobqueue.JobQueue(adapter, poll_interval=0.05).running(concurrency=concurrency):
        assert started.wait(20)
        record.cancel("no longer wanted")
        begun = time.monotonic()
        with pytest.raises(jobqueue.JobFailed, match="no longer wanted"):
            record.wait(timeout=20)
        assert time.monotonic() - begun < 10
    assert record.refresh().state is JobState.CANCELLED
    assert seen == []


def test_they_are_no_errors() -> None:
    for kind in (JobTimeout, JobCancelled):
        assert not issubclass(kind, Exception)
    assert issubclass(JobCancelled, JobTimeout)
