"""Cancelling and steering single jobs, waiting, running and ended."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

import jobqueue
from jobqueue import InvalidArguments, Job, JobCancelled, JobQueue, JobState, StateConflict
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.config import load_settings
from jobqueue.errors import JobFailed, JobNotFound
from jobqueue.job import registry
from jobqueue.records import JobFilter
from jobqueue.runner.alarm import SignalAlarm
from jobqueue.worker.worker import Worker

WaitFor = Callable[[Callable[[], bool], str], None]

started = threading.Event()
ended: list[str] = []


class Sync(Job):
    """Ends when it sees that it is cancelled."""

    def perform(self) -> None:
        started.set()
        deadline = time.monotonic() + 20
        while not self.context.cancelled:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ended.append("saw it")


class Async(Job):
    async def perform(self) -> None:
        started.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise


class Stubborn(Job):
    """Async, and goes on for a little after it was cancelled."""

    keep_result = True

    async def perform(self) -> str:
        started.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            ended.append("swallowed")
        return "all the same"


class Interrupted(Job):
    interrupt_on_cancel = True

    def perform(self) -> None:
        started.set()
        try:
            for _ in range(2000):
                time.sleep(0.01)
        except jobqueue.JobTimeout as error:
            ended.append(type(error).__name__)
            raise


class Asleep(Job):
    """In one blocking call, which only a signal gets through."""

    interrupt_on_cancel = True

    def perform(self) -> None:
        started.set()
        try:
            time.sleep(20)
        except JobCancelled as error:
            ended.append(str(error))
            raise


class Oblivious(Job):
    """Does not look whether it is cancelled."""

    keep_succeeded = True
    go_on: ClassVar[threading.Event]

    def perform(self, fail: bool = False) -> None:
        started.set()
        assert self.go_on.wait(20)
        if fail:
            raise ValueError("on its own account")


class Add(Job):
    keep_succeeded = True

    def perform(self, a: int, b: int = 0) -> None: ...


class Fail(Job):
    max_attempts = 1

    def perform(self) -> None:
        raise ValueError("broken")


@pytest.fixture(autouse=True)
def nothing_has_started() -> None:
    started.clear()
    ended.clear()


@pytest.fixture(params=[1, 3])
def running(request: pytest.FixtureRequest, adapter: Adapter) -> Iterator[JobQueue]:
    queue = JobQueue(adapter, poll_interval=0.05)
    with queue.running(concurrency=request.param):
        yield queue


# --- while it runs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "how"),
    [
        (Sync, "saw it"),
        (Async, "cancelled"),
        (Stubborn, "swallowed"),
        (Interrupted, "JobCancelled"),
    ],
)
def test_a_running_job_ends_cancelled(running: JobQueue, job: type[Job], how: str) -> None:
    record = JobQueue(running.adapter).enqueue(job)
    assert started.wait(20)
    assert record.cancel("no longer wanted") is JobState.RUNNING
    with pytest.raises(JobFailed, match="was cancelled: no longer wanted"):
        record.wait(timeout=60)
    assert ended == [how]
    now = record.refresh()
    assert (now.state, now.attempts, now.locked_by, now.result) == ("cancelled", 1, None, None)
    assert now.finished_at is not None
    assert now.cancel_requested_at is not None


def test_jobs_beside_a_cancelled_one_go_on(adapter: Adapter) -> None:
    Oblivious.go_on = threading.Event()
    with JobQueue(adapter, poll_interval=0.05).running(concurrency=3):
        cancelled, other = Async.perform_later(), Oblivious.perform_later()
        assert started.wait(20)
        cancelled.cancel()
        with pytest.raises(JobFailed):
            cancelled.wait(20)
        assert other.refresh().state is JobState.RUNNING
        Oblivious.go_on.set()
        other.wait(20)


def test_the_next_job_on_the_same_loop_is_not_cancelled(adapter: Adapter) -> None:
    with JobQueue(adapter, poll_interval=0.05).running(concurrency=1):
        first = Async.perform_later()
        assert started.wait(20)
        started.clear()
        second = Async.perform_later()
        first.cancel()
        assert started.wait(20)
        assert second.refresh().state is JobState.RUNNING
        second.cancel()
        with pytest.raises(JobFailed):
            second.wait(20)


def test_what_does_not_look_ends_as_it_ends(running: JobQueue) -> None:
    Oblivious.go_on = threading.Event()
    record = Oblivious.perform_later()
    assert started.wait(20)
    record.cancel()
    Oblivious.go_on.set()
    record.wait(20)
    assert record.refresh().state is JobState.SUCCEEDED


def test_what_fails_meanwhile_is_not_tried_again(running: JobQueue) -> None:
    Oblivious.go_on = threading.Event()
    record = Oblivious.perform_later(fail=True)
    assert started.wait(20)
    record.cancel()
    Oblivious.go_on.set()
    with pytest.raises(JobFailed, match="was cancelled: cancelled by the application"):
        record.wait(20)
    assert record.refresh().finished_at is not None


def test_a_blocking_call_on_the_main_thread_is_interrupted(adapter: Adapter) -> None:
    settings, logger = load_settings({"poll_interval": 0.05}), logging.getLogger("jobqueue")
    worker = Worker(adapter, registry, settings, logger, until_idle=True, alarm=SignalAlarm())
    record = Asleep.perform_later()

    def cancel() -> None:
        assert started.wait(20)
        record.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    tally = worker.run()
    canceller.join()
    assert ended == ["cancelled while it ran"]
    assert record.refresh().state is JobState.CANCELLED
    assert tally.discarded == 1


def test_a_job_that_is_given_back_stays_cancelled(adapter: Adapter) -> None:
    queue = JobQueue(adapter, poll_interval=0.05, grace=0.05)
    with queue.running():
        record = Interrupted.perform_later()
        assert started.wait(20)
        record.cancel()
    assert record.refresh().state is JobState.CANCELLED


# --- before and after it runs --------------------------------------------------------------------


def test_a_cancelled_job_never_runs(adapter: Adapter) -> None:
    record = Add.perform_later(1)
    assert record.cancel("on second thoughts") is JobState.CANCELLED
    assert JobQueue(adapter).work_off().performed == 0
    now = jobqueue.get(record.id)
    assert (now.state, now.last_error) == ("cancelled", "on second thoughts")


def test_what_has_ended_cannot_be_cancelled(adapter: Adapter) -> None:
    record = Add.perform_later(1)
    JobQueue(adapter).work_off()
    with pytest.raises(StateConflict, match=f"job {record.id} is succeeded"):
        record.cancel()


def test_a_cancelled_job_can_be_retried(adapter: Adapter) -> None:
    record = Add.perform_later(1)
    record.cancel()
    record.retry()
    JobQueue(adapter).work_off()
    assert record.refresh().state is JobState.SUCCEEDED


def test_a_job_cancelled_while_it_ran_can_be_retried(adapter: Adapter) -> None:
    queue = JobQueue(adapter, poll_interval=0.05)
    with queue.running():
        record = Async.perform_later()
        assert started.wait(20)
        record.cancel()
        with pytest.raises(JobFailed):
            record.wait(20)
    record.retry()
    now = record.refresh()
    assert (now.state, now.cancel_requested_at, now.finished_at) == ("ready", None, None)


def test_retry_makes_a_waiting_job_due(adapter: Adapter) -> None:
    record = Add.set(wait=3600).perform_later(1)
    record.retry()
    JobQueue(adapter).work_off()
    assert record.refresh().state is JobState.SUCCEEDED
    with pytest.raises(StateConflict, match="succeeded"):
        record.retry()


def test_retry_of_a_failed_job_allows_one_more_attempt(adapter: Adapter) -> None:
    record = Fail.perform_later()
    JobQueue(adapter).work_off()
    record.retry()
    assert (record.refresh().state, record.refresh().max_attempts) == ("ready", 2)


def test_deleting(adapter: Adapter) -> None:
    record = Add.perform_later(1)
    record.delete()
    with pytest.raises(JobNotFound, match=f"no job {record.id}"):
        record.delete()
    with pytest.raises(JobNotFound):
        record.cancel()
    assert record.wait() is None


def test_other_arguments(adapter: Adapter) -> None:
    record = Add.perform_later(1, b=2)
    record.update(args={"a": 7})
    assert jobqueue.get(record.id).args == {"a": 7}
    (claimed,) = adapter.list_jobs(JobFilter(), 10)
    assert json.loads(json.dumps(dict(claimed.args))) == {"a": 7}
    JobQueue(adapter).work_off()
    with pytest.raises(StateConflict, match="succeeded"):
        record.update(args={"a": 8})


@pytest.mark.parametrize("args", [{"a": "seven"}, {"b": 1}, {"a": 1, "c": 2}])
def test_arguments_that_do_not_fit_change_nothing(
    adapter: Adapter, args: dict[str, object]
) -> None:
    record = Add.perform_later(1)
    with pytest.raises(InvalidArguments):
        record.update(args=args)
    assert record.refresh().args == {"a": 1}


def test_a_running_job_cannot_be_deleted_updated_or_retried(adapter: Adapter) -> None:
    Oblivious.go_on = threading.Event()
    with JobQueue(adapter, poll_interval=0.05).running():
        record = Oblivious.perform_later()
        assert started.wait(20)
        ways: list[Callable[[], Any]] = [
            record.delete,
            record.retry,
            lambda: record.retry(args={"fail": True}),
            lambda: record.update(args={"fail": True}),
        ]
        for steer in ways:
            with pytest.raises(StateConflict, match=f"job {record.id} is running"):
                steer()
        Oblivious.go_on.set()


def test_a_record_from_anywhere_can_be_steered(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    Add.perform_later(1)
    (listed,) = clocked_adapter.list_jobs(JobFilter(), 10)
    listed.cancel()
    assert listed.refresh().state is JobState.CANCELLED
