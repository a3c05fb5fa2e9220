"""`max_runtime`: a job that takes longer is interrupted, and only that job."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from jobqueue import Constant, InvalidJob, Job, JobState, JobTimeout, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.config import load_settings
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.records import JobFilter
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.worker.interruption import AlarmClock, Interruptible
from jobqueue.worker.reporter import Tally
from jobqueue.worker.worker import Worker
from tests.sample_jobs import calls

LOG = logging.getLogger("jobqueue")
SOON = 0.1
LONG = 30
RETRY = Constant(60)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    calls.clear()
    yield
    default_configuration.reset()


@pytest.fixture
def memory() -> Adapter:
    adapter = MemoryAdapter()
    Job.config(adapter=adapter)
    return adapter


@pytest.fixture
def alarm() -> Iterator[SignalAlarm]:
    """The alarm of a worker process. pytest-timeout must not use the same signal."""
    before = signal.getsignal(signal.SIGALRM)
    made = SignalAlarm()
    yield made
    made.cancel()
    signal.signal(signal.SIGALRM, before)


def work_off(adapter: Adapter, alarm: SignalAlarm | None = None, **settings: Any) -> Tally:
    logger = default_configuration.logger
    loaded = load_settings(settings)
    return Worker(adapter, registry, loaded, logger, until_idle=True, alarm=alarm).run()


def the_error(adapter: Adapter) -> str:
    (record,) = adapter.list_jobs(JobFilter(), 10)
    return record.last_error or ""


class Sleep(Job):
    max_runtime = SOON
    retry = RETRY

    def perform(self) -> None:
        time.sleep(LONG)


class Receive(Job):
    max_runtime = timedelta(seconds=SOON)
    retry = RETRY

    def perform(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.recv(1)


class Loop(Job):
    max_runtime = SOON
    retry = RETRY

    def perform(self) -> None:
        while True:
            time.sleep(0.001)


class Await(Job):
    max_runtime = SOON
    retry = RETRY

    async def perform(self) -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            calls.append("cleaned up")


def check_timed_out(adapter: Adapter, tally: Tally, line: str) -> None:
    assert tally.retried == 1
    (record,) = adapter.list_jobs(JobFilter(), 10)
    assert (record.state, record.attempts, record.crashes) == (JobState.READY, 1, 0)
    assert record.run_at - record.updated_at == timedelta(seconds=60)
    lines = (record.last_error or "").splitlines()
    assert lines[-1].endswith("JobTimeout: ran longer than its max_runtime of 0.1 s")
    assert lines[0] == "Traceback (most recent call last):"
    assert "test_timeouts.py" in lines[1]
    assert any(line in shown for shown in lines)
    for ours in ("interrupting.py", "alarm.py", "execution.py", "attempt.py", "performing.py"):
        assert ours not in (record.last_error or "")


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize(
    ("job", "line"),
    [(Sleep, "time.sleep(LONG)"), (Receive, "ours.recv(1)"), (Loop, "time.sleep(0.001)")],
)
def test_a_sync_job_on_the_main_thread(
    adapter: Adapter, alarm: SignalAlarm, job: type[Sleep], line: str
) -> None:
    job.perform_later()
    started = time.monotonic()
    tally = work_off(adapter, alarm)
    assert time.monotonic() - started < 5
    check_timed_out(adapter, tally, line)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_sync_job_without_signals(adapter: Adapter, concurrency: int) -> None:
    Loop.perform_later()
    check_timed_out(adapter, work_off(adapter, concurrency=concurrency), "time.sleep(0.001)")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_async_job(adapter: Adapter, concurrency: int) -> None:
    Await.perform_later()
    tally = work_off(adapter, concurrency=concurrency)
    check_timed_out(adapter, tally, "await asyncio.sleep(LONG)")
    assert calls == ["cleaned up"]


def test_the_setting_is_for_classes_without_their_own(memory: Adapter) -> None:
    class Unlimited(Job):
        def perform(self) -> None:
            while True:
                time.sleep(0.001)

    class Own(Job):
        max_runtime = LONG

        def perform(self) -> None:
            time.sleep(3 * SOON)

    Unlimited.perform_later()
    Own.perform_later()
    tally = work_off(memory, max_runtime=SOON)
    assert (tally.retried, tally.succeeded) == (1, 1)
    assert "max_runtime of 0.1 s" in the_error(memory)


def test_the_last_attempt_fails(memory: Adapter) -> None:
    class Once(Loop):
        max_attempts = 1

    Once.perform_later()
    assert work_off(memory).failed == 1
    assert "JobTimeout" in the_error(memory)


def test_a_policy_can_treat_a_timeout_otherwise(memory: Adapter) -> None:
    class NotAgain:
        def __call__(self, attempt: int, error: BaseException) -> None:
            calls.append(error)

    class Choosy(Job):
        max_runtime = SOON
        retry = NotAgain()

        def perform(self) -> None:
            while True:
                time.sleep(0.001)

    Choosy.perform_later()
    assert work_off(memory).failed == 1
    assert isinstance(calls[0], JobTimeout)
    assert str(calls[0]) == "ran longer than its max_runtime of 0.1 s"


def test_a_job_may_end_well_after_all(memory: Adapter) -> None:
    class Tidy(Job):
        max_runtime = SOON

        def perform(self) -> None:
            with suppress(JobTimeout):
                while True:
                    time.sleep(0.001)

    class TidyAsync(Job):
        max_runtime = SOON

        async def perform(self) -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG)

    Tidy.perform_later()
    TidyAsync.perform_later()
    assert work_off(memory).succeeded == 2
    assert work_off(memory).performed == 0


def test_a_time_limit_of_the_jobs_own_is_not_ours(memory: Adapter) -> None:
    class Impatient(Job):
        max_runtime = LONG

        async def perform(self) -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(LONG)

    Impatient.perform_later()
    assert work_off(memory, concurrency=2).retried == 1
    assert the_error(memory).endswith("TimeoutError")
    assert "JobTimeout" not in the_error(memory)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_one_that_ignores_it_runs_on_and_is_reported_once(
    memory: Adapter, concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    reported = threading.Event()

    class Stubborn(Job):
        max_runtime = 0.05

        def perform(self) -> None:
            while not reported.wait(0.001):
                with suppress(JobTimeout):
                    while not reported.wait(0.001):
                        pass
            calls.append("done")

    class Report(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.__dict__.get("event") == "job_overdue":
                calls.append("reported")
                reported.set()

    handler = Report()
    default_configuration.logger.addHandler(handler)
    Stubborn.perform_later()
    try:
        assert work_off(memory, concurrency=concurrency, kill_after=0.05).succeeded == 1
    finally:
        default_configuration.logger.removeHandler(handler)
    assert calls == ["reported", "done"]


@pytest.mark.parametrize("wrong", [0, -1, "1", True, float("nan"), timedelta(0), 1e300])
def test_a_max_runtime_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJob, match="max_runtime = "):
        type("Wrong", (Job,), {"perform": lambda self: None, "max_runtime": wrong})


# --- never in the next job, never in our own code -------------------------------------------------


def close_call(seconds: float) -> None:
    """Take about so long, in Python code, where an exception can arrive at any instruction."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class CloseCall(Job):
    max_runtime = 0.002
    retry = RETRY

    def perform(self, seconds: float) -> None:
        close_call(seconds)
        calls.append("close")


class CloseCallAsync(Job):
    max_runtime = 0.002
    retry = RETRY

    async def perform(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Bystander(Job):
    """Has no time limit, so nothing may interrupt it."""

    def perform(self) -> None:
        close_call(0.0005)


@pytest.mark.timeout(100, method="thread")
@pytest.mark.parametrize("how", ["signals", "watcher", "threads"])
def test_a_timeout_hits_its_own_job_or_none(
    memory: Adapter, alarm: SignalAlarm, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    number = 300
    jobs = []
    for _ in range(number):
        seconds = random.uniform(0.0015, 0.0025)
        jobs.append(CloseCall.perform_later(seconds).id)
        jobs.append(CloseCallAsync.perform_later(seconds).id)
        Bystander.perform_later()
    tally = work_off(
        memory, alarm if how == "signals" else None, concurrency=4 if how == "threads" else 1
    )
    assert tally.performed == 3 * number
    assert (tally.rejected, tally.failed) == (0, 0)
    left = memory.list_jobs(JobFilter(), 10_000)
    assert len(left) == tally.retried == 3 * number - tally.succeeded
    assert {record.id for record in left} <= set(jobs)
    assert all("JobTimeout" in (record.last_error or "") for record in left)
    assert tally.retried > 0
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_an_interruptible_lets_nothing_through_after_its_work() -> None:
    """An interruption that is under way when the work ends must not arrive later."""
    alarm_clock, interrupted = AlarmClock(LOG), 0
    try:
        for _ in range(2000):
            work = Interruptible()
            alarm_clock.call_after(random.uniform(0, 0.0002), partial(work.interrupt, JobTimeout))
            try:
                work.run(lambda: close_call(0.0001))
            except JobTimeout:
                interrupted += 1
    finally:
        alarm_clock.stop()
    assert 0 < interrupted < 2000


def test_an_interruption_before_the_work_keeps_it_from_starting() -> None:
    work = Interruptible()
    work.interrupt(JobTimeout)
    with pytest.raises(JobTimeout):
        work.run(lambda: calls.append("started"))
    assert calls == []


def test_an_interruption_after_the_work_does_nothing() -> None:
    work = Interruptible()
    work.run(lambda: calls.append("done"))
    work.interrupt(JobTimeout)
    assert calls == ["done"]


def test_the_alarm_clock_calls_in_the_order_of_their_times() -> None:
    alarm_clock, done = AlarmClock(LOG), threading.Event()
    try:
        alarm_clock.call_after(0.4, done.set)
        alarm_clock.call_after(0.3, lambda: calls.append("second"))
        alarm_clock.call_after(0.2, lambda: calls.append("first"))
        alarm_clock.cancel(alarm_clock.call_after(0.25, lambda: calls.append("cancelled")))
        assert done.wait(20)
    finally:
        alarm_clock.stop()
    assert calls == ["first", "second"]


def test_an_alarm_that_fails_does_not_keep_others_from_their_calls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ValueError("a mistake")

    alarm_clock, done = AlarmClock(LOG), threading.Event()
    try:
        alarm_clock.call_after(0.0, fail)
        alarm_clock.call_after(0.0, done.set)
        assert done.wait(20)
    finally:
        alarm_clock.stop()
    assert [record.__dict__["event"] for record in caplog.records] == ["service_failed"]
