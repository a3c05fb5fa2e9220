"""Workers on every adapter: claim, perform, settle, and what is left in the table."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar, Self

import pytest

import jobqueue
from jobqueue import Job, JobQueue, JobState
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.log import LineHandler, TextFormatter
from jobqueue.records import Claim, ClaimedJob, JobFilter, Turn
from jobqueue.worker import prefetch, pump
from jobqueue.worker.worker import Worker
from tests.sample_jobs import (
    Boom,
    Drop,
    Keep,
    Later,
    Never,
    Note,
    NoteAsync,
    Secret,
    calls,
    note,
)

WaitFor = Callable[[Callable[[], bool], str], None]


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def queue(clocked_adapter: Adapter) -> JobQueue:
    return JobQueue(clocked_adapter)


def test_a_first_job(queue: JobQueue) -> None:
    Note.perform_later("one")
    NoteAsync.perform_later("two")
    note.perform_later("three")
    tally = queue.work_off()
    assert calls == ["one", "two", "three"]
    assert (tally.succeeded, tally.performed) == (3, 3)
    assert queue.adapter.count_by_state() == {}
    assert queue.adapter.workers() == []


def test_order_is_by_priority_then_time_then_id(queue: JobQueue, clock: ManualClock) -> None:
    Note.set(priority=90).perform_later("last")
    Note.set(wait=2).perform_later("second of its priority")
    Note.perform_later("first of its priority")
    Note.set(priority=-5).perform_later("urgent")
    Note.set(wait=100).perform_later("not due")
    clock.advance(5)
    queue.work_off()
    assert calls == ["urgent", "first of its priority", "second of its priority", "last"]


def test_only_the_queues_that_were_asked_for(clocked_adapter: Adapter) -> None:
    for name in ("a", "b", "c"):
        Note.set(queue=name).perform_later(name)
    JobQueue(clocked_adapter, queues=["c", "a"]).work_off()
    assert calls == ["a", "c"]
    JobQueue(clocked_adapter, queues="b").work_off()
    assert calls == ["a", "c", "b"]


def test_a_failure_waits_and_then_fails_for_good(queue: JobQueue, clock: ManualClock) -> None:
    job_id = Boom.perform_later("first").id
    for attempt in (1, 2):
        assert queue.work_off().retried == 1
        waiting = jobqueue.get(job_id)
        assert (waiting.state, waiting.attempts) == (JobState.READY, attempt)
        assert waiting.run_at == clock.now() + timedelta(seconds=60)
        assert (waiting.locked_by, waiting.locked_at, waiting.failed_at) == (None, None, None)
        assert (waiting.last_error or "").endswith("ValueError: first")
        assert queue.work_off().performed == 0
        clock.advance(60)
    assert queue.work_off().failed == 1
    failed = jobqueue.get(job_id)
    assert (failed.state, failed.attempts) == (JobState.FAILED, 3)
    assert failed.failed_at == failed.finished_at == clock.now()
    assert queue.work_off().performed == 0


def test_what_is_kept(queue: JobQueue, clock: ManualClock) -> None:
    kept, never, dropped = Keep.perform_later(), Never.perform_later(), Drop.perform_later()
    tally = queue.work_off()
    assert (tally.succeeded, tally.discarded, tally.failed) == (1, 1, 1)
    assert jobqueue.get(kept.id).state is JobState.SUCCEEDED
    assert jobqueue.get(kept.id).finished_at == clock.now()
    assert jobqueue.get(never.id).state is JobState.CANCELLED
    assert jobqueue.get(never.id).last_error == "no such user"
    assert jobqueue.get(never.id).failed_at is None
    with pytest.raises(jobqueue.JobNotFound):
        jobqueue.get(dropped.id)


def test_retry_comes_back_without_spending_an_attempt(queue: JobQueue, clock: ManualClock) -> None:
    job_id = Later.perform_later(30.0).id
    for _ in range(3):
        queue.work_off()
        waiting = jobqueue.get(job_id)
        assert (waiting.attempts, waiting.run_at) == (0, clock.now() + timedelta(seconds=30))
        clock.advance(30)


def test_what_comes_back_at_once_is_performed_in_the_same_work_off(queue: JobQueue) -> None:
    class Thrice(Job):
        def perform(self) -> None:
            calls.append(self.context.attempt)
            if len(calls) < 3:
                raise jobqueue.Retry(in_=0)

    Thrice.perform_later()
    assert queue.work_off().succeeded == 1
    assert len(calls) == 3


def test_an_unknown_job_is_left_for_another_worker(queue: JobQueue, clock: ManualClock) -> None:
    unknown = jobqueue.enqueue("somewhere.Else", unchecked=True)
    Note.perform_later("known")
    tally = queue.work_off()
    assert (tally.succeeded, tally.released) == (1, 1)
    left = jobqueue.get(unknown.id)
    assert (left.state, left.attempts) == (JobState.READY, 0)
    assert left.run_at >= clock.now() + timedelta(seconds=5)
    assert "no job named 'somewhere.Else'" in (left.last_error or "")


def test_a_bad_row_fails_alone(queue: JobQueue) -> None:
    wrong = jobqueue.enqueue("tests.sample_jobs.Note", {"what": [1]}, unchecked=True)
    Note.perform_later("fine")
    assert queue.work_off().failed == 1
    assert calls == ["fine"]
    failed = jobqueue.get(wrong.id)
    assert failed.state is JobState.FAILED
    assert "what: Input should be a valid string" in (failed.last_error or "")


def test_secrets_do_not_reach_the_table(queue: JobQueue) -> None:
    job_id = Secret.perform_later("ann", "hunter2").id
    queue.work_off()
    error = jobqueue.get(job_id).last_error or ""
    assert "ann used" in error
    assert "hunter2" not in error


def test_secrets_do_not_reach_a_log_that_a_record_is_written_to(queue: JobQueue) -> None:
    made = Secret.perform_later("ann", "hunter2")
    claim = Claim("w", 7, 1, 1)
    for shown in (made, jobqueue.get(made.id), *queue.adapter.claim(claim)):
        assert "handler='tests.sample_jobs.Secret'" in f"{shown}"
        assert "hunter2" not in f"{shown} {shown!r}"


def test_a_thousand_jobs_in_order(queue: JobQueue) -> None:
    Note.perform_all_later([(f"{n}",) for n in range(1000)])
    assert queue.work_off().succeeded == 1000
    assert calls == [f"{n}" for n in range(1000)]
    assert queue.adapter.count_by_state() == {}


class Single(Job):
    """May be attempted once, so it is claimed for a free slot and never ahead."""

    max_attempts = 1

    def perform(self) -> None:
        """Say that it was its turn."""
        calls.append("single")


def test_a_job_of_one_attempt_gets_its_turn_in_a_stream_of_others(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "LONGEST_WITHOUT_FREE_SLOT_SECONDS", 0.1)
    Note.perform_all_later([("before",)] * 10)
    Single.perform_later()
    Note.perform_all_later([("after",)] * 20_000)
    JobQueue(adapter).work_off()
    assert calls.index("single") < 15_000


def test_every_event_is_one_log_record(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    Note.perform_later()
    Boom.perform_later("why")
    Never.perform_later()
    with caplog.at_level(logging.INFO, "jobqueue"):
        queue.work_off()
    events = {record.__dict__["event"]: record for record in caplog.records}
    assert list(events) == [
        "worker_started",
        "worker_ready",
        "job_succeeded",
        "job_retried",
        "job_discarded",
        "worker_stopped",
    ]
    retried = events["job_retried"].__dict__
    assert retried["job"] == "tests.sample_jobs.Boom"
    assert (retried["attempt"], retried["max_attempts"]) == (1, 3)
    assert retried["retry_in_seconds"] == 60
    assert retried["run_seconds"] >= 0
    assert "again in 60.0 s: ValueError: why" in events["job_retried"].getMessage()


# --- a worker that runs --------------------------------------------------------------------------


class Background:
    """A worker on a thread of its own."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.tally: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.tally = self.worker.run()
        except DatabaseError as error:
            self.error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


class Gate(Job):
    """Waits until the test lets it through."""

    entered = threading.Event()
    leave = threading.Event()

    def perform(self) -> None:
        self.entered.set()
        assert self.leave.wait(20)
        calls.append("gate")


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    Gate.entered.clear()
    Gate.leave.clear()
    yield
    Gate.leave.set()


def test_a_worker_polls_until_it_is_stopped(adapter: Adapter, wait_for: WaitFor) -> None:
    with Background(JobQueue(adapter, poll_interval=0.01).worker()) as background:
        Note.perform_later("one")
        wait_for(lambda: calls == ["one"], "the first job")
        Note.perform_later("two")
        wait_for(lambda: calls == ["one", "two"], "the second job")
        assert [worker.id for worker in adapter.workers()] == [background.worker.id]
    assert background.tally.succeeded == 2
    assert adapter.workers() == []


def test_stop_finishes_what_runs_and_gives_back_the_rest_at_once(
    adapter: Adapter, wait_for: WaitFor
) -> None:
    Note.perform_all_later([()] * 3)
    running = Gate.perform_later().id
    rest = [record.id for record in Note.perform_all_later([()] * 100)]
    with Background(JobQueue(adapter, poll_interval=0.01).worker()) as background:
        assert Gate.entered.wait(20)
        background.worker.stop()
        untouched = JobFilter(ids=tuple(rest), states=(JobState.READY,))
        wait_for(lambda: adapter.count_jobs(untouched) == 100, "the unstarted jobs")
        assert jobqueue.get(running).state is JobState.RUNNING
        Gate.leave.set()
    assert background.tally.succeeded == 4
    assert all(jobqueue.get(job_id).attempts == 0 for job_id in rest)


def test_a_slow_job_does_not_hold_others_behind_it(adapter: Adapter, wait_for: WaitFor) -> None:
    Note.perform_all_later([("before",)] * 50)
    Gate.perform_later()
    Note.perform_all_later([("behind",)] * 20)

    def others_do_it() -> bool:
        JobQueue(adapter).work_off()
        return calls.count("behind") == 20

    with Background(JobQueue(adapter, poll_interval=0.01).worker()):
        assert Gate.entered.wait(20)
        wait_for(others_do_it, "another worker to perform what was behind the slow job")
        assert not Gate.leave.is_set()
        Gate.leave.set()


class Tick(Job):
    """A job of two milliseconds."""

    def perform(self) -> None:
        never.wait(0.002)
        calls.append("tick")


class Urgent(Job):
    priority = 1

    def perform(self) -> None:
        calls.append("urgent")


never = threading.Event()


def test_an_urgent_job_overtakes_what_has_not_started_within_a_second(
    adapter: Adapter, wait_for: WaitFor
) -> None:
    Tick.perform_all_later([()] * 3000)
    with Background(JobQueue(adapter).worker()) as background:
        wait_for(lambda: len(calls) > 100, "the worker to be at full speed")
        Urgent.perform_later()
        enqueued_at = len(calls)
        wait_for(lambda: "urgent" in calls, "the urgent job")
        background.worker.stop()
    # In a second no more than 500 of two milliseconds can be performed.
    assert calls.index("urgent") - enqueued_at < 500


def test_a_long_job_is_claimed_alone(adapter: Adapter) -> None:
    Gate.perform_later()
    others = [record.id for record in Note.perform_all_later([()] * 5)]
    with Background(JobQueue(adapter, poll_interval=0.01).worker()):
        assert Gate.entered.wait(20)
        assert all(jobqueue.get(job_id).state is JobState.READY for job_id in others)
        Gate.leave.set()


def test_an_outcome_that_comes_too_late_changes_nothing(
    adapter: Adapter, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = Gate.perform_later().id
    with Background(JobQueue(adapter, poll_interval=0.01).worker()) as background:
        assert Gate.entered.wait(20)
        adapter.unregister_worker(background.worker.id)
        assert jobqueue.get(job_id).state is JobState.READY
        adapter.cancel(JobFilter(ids=(job_id,)), "taken away")
        Gate.leave.set()
    assert background.tally.rejected == 1
    assert jobqueue.get(job_id).state is JobState.CANCELLED
    assert any(record.__dict__.get("event") == "job_rejected" for record in caplog.records)


def test_a_worker_that_was_taken_for_dead_registers_anew(
    adapter: Adapter, wait_for: WaitFor
) -> None:
    with Background(JobQueue(adapter, poll_interval=0.01, lease=0.2).worker()) as background:
        wait_for(lambda: bool(adapter.workers()), "the worker's row")
        adapter.unregister_worker(background.worker.id)
        wait_for(lambda: bool(adapter.workers()), "the worker's row again")


def test_jobs_of_a_lost_worker_come_back_when_its_lease_ends(
    adapter: Adapter, wait_for: WaitFor
) -> None:
    from jobqueue.records import NewWorker

    dead = NewWorker("dead", "worker", "host", 1, None, 1, timedelta(seconds=0.3))
    adapter.register_worker(dead)
    lost, orphan = Note.perform_later("lost"), Note.perform_later("orphan")
    adapter.claim(Claim("dead", 1, 1, 1))
    adapter.claim(Claim("never registered", 2, 1, 1))
    assert jobqueue.get(lost.id).locked_by == "dead"
    assert jobqueue.get(orphan.id).locked_by == "never registered"
    with Background(JobQueue(adapter, poll_interval=0.01, lease=0.3).worker()) as background:
        wait_for(lambda: sorted(calls) == ["lost", "orphan"], "the jobs of the lost workers")
        assert {worker.id for worker in adapter.workers()} == {background.worker.id}


# --- when the database goes away -----------------------------------------------------------------


class Flaky:
    """An adapter whose turns fail for a while, before or after they have been committed."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self.failures_before = 0
        self.failures_after = 0

    def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
        if self.failures_before:
            self.failures_before -= 1
            raise DatabaseUnavailable("gone before")
        turn = self._adapter.turn(outcomes, claim, meanwhile)
        if self.failures_after and (outcomes or turn.claimed):
            self.failures_after -= 1
            raise DatabaseUnavailable("gone after")
        return turn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


@pytest.mark.parametrize("when", ["failures_before", "failures_after"])
def test_a_lost_answer_loses_no_job(
    adapter: Adapter, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    flaky = Flaky(adapter)
    Note.perform_all_later([(f"{n}",) for n in range(50)])
    setattr(flaky, when, 3)
    queue = JobQueue(flaky, poll_interval=0.01)
    with caplog.at_level(logging.INFO, "jobqueue"):
        tally = queue.work_off()
    assert calls == [f"{n}" for n in range(50)]
    assert (tally.succeeded, tally.rejected) == (50, 0)
    assert adapter.count_by_state() == {}
    events = [record.__dict__.get("event") for record in caplog.records]
    assert events.count("database_lost") == events.count("database_back")
    assert "job_rejected" not in events


def test_a_claim_whose_answer_was_lost_is_made_anew_under_another_token(adapter: Adapter) -> None:
    class Noting(Flaky):
        claims: ClassVar[list[int]] = []

        def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
            if claim is not None:
                self.claims.append(claim.token)
            return super().turn(outcomes, claim, meanwhile)

    Note.perform_later("once")
    noting = Noting(adapter)
    noting.failures_after = 1
    JobQueue(noting, poll_interval=0.01).work_off()
    assert calls == ["once"]
    assert len(set(noting.claims)) == len(noting.claims) > 1


def test_an_error_that_waiting_does_not_mend_ends_the_worker(adapter: Adapter) -> None:
    class Broken(Flaky):
        def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
            raise DatabaseError("broken for good")

    with pytest.raises(DatabaseError, match="broken for good"):
        JobQueue(Broken(adapter)).work_off()


STOPPED_AT_ITS_START = """
import gc, signal
from jobqueue import JobQueue, MemoryAdapter
from jobqueue.runner.attached import run_attached

def press_ctrl_c(phase, info):
    gc.callbacks.remove(press_ctrl_c)
    signal.raise_signal(signal.SIGINT)

gc.disable()
gc.callbacks.append(press_ctrl_c)
run_attached(JobQueue(MemoryAdapter()).worker())
print("stopped")
"""


def test_ctrl_c_is_not_lost_where_garbage_is_collected() -> None:
    """Python cannot raise anything there, as it does by default."""
    command = [sys.executable, "-c", STOPPED_AT_ITS_START]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (0, "stopped\n"), run.stderr


# --- many short jobs ------------------------------------------------------------------------------


class Attentive(Flaky):
    """An adapter that counts how often something was done beside a turn."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__(adapter)
        self.asides = 0

    def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
        if meanwhile is not None:
            self.asides += 1
            self.before_aside()
        return super().turn(outcomes, claim, meanwhile)

    def before_aside(self) -> None:
        """Nothing; for tests."""


@pytest.fixture
def in_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few jobs are many, so that however slow the machine is, something is done beside turns."""
    monkeypatch.setattr(pump, "MANY", 1)


@pytest.fixture
def own_log() -> logging.Logger:
    """A logger with our own handler alone, as the command line sets it up."""
    logger = logging.Logger("alone", logging.INFO)  # noqa: LOG001 - so that pytest does not listen
    logger.addHandler(LineHandler(io.StringIO(), TextFormatter()))
    return logger


def told_in(logger: logging.Logger) -> list[int]:
    """The ids of the jobs whose success was logged."""
    (handler,) = logger.handlers
    assert isinstance(handler, LineHandler)
    assert isinstance(handler.stream, io.StringIO)
    return [int(number) for number in re.findall(r"#(\d+) succeeded", handler.stream.getvalue())]


@pytest.mark.usefixtures("in_a_stream")
@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_stream_is_performed_and_told_of_while_the_database_works(
    adapter: Adapter, concurrency: int, own_log: logging.Logger
) -> None:
    attentive = Attentive(adapter)
    jobs = Note.perform_all_later([(f"{n}",) for n in range(3000)])
    tally = JobQueue(attentive, concurrency=concurrency, logger=own_log).work_off()
    assert sorted(calls, key=int) == [f"{n}" for n in range(3000)]
    assert (tally.succeeded, tally.performed) == (3000, 3000)
    assert sorted(told_in(own_log)) == [job.id for job in jobs]
    assert attentive.asides > 0


def test_what_is_not_passed_on_yet_counts_as_held(
    adapter: Adapter, own_log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "AHEAD_SECONDS", 10)  # as many are held on a slow machine

    class Counting(Attentive):
        held = most_held = 0

        def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
            turn = super().turn(outcomes, claim, meanwhile)
            self.held += len(turn.claimed) - len(outcomes)
            self.most_held = max(self.held, self.most_held)
            return turn

    counting = Counting(adapter)
    Note.perform_all_later([(f"{n}",) for n in range(6000)])
    JobQueue(counting, logger=own_log).work_off()
    assert counting.asides > 0
    # A few are performed between counting what there is to settle and what there is room for.
    assert prefetch.MOST_JOBS / 2 < counting.most_held < prefetch.MOST_JOBS * 1.25


@pytest.mark.parametrize("concurrency", [1, 3])
def test_large_jobs_after_small_ones_are_not_held_by_the_thousand(
    adapter: Adapter, concurrency: int, own_log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "MOST_BYTES", 400_000)
    monkeypatch.setattr(prefetch, "AHEAD_SECONDS", 10)

    class Weighing(Attentive):
        held = most_held = 0

        def turn(self, outcomes: Any, claim: Any, meanwhile: Any = None) -> Turn:
            turn = super().turn(outcomes, claim, meanwhile)
            self.held += sum(len(job.args) for job in turn.claimed)
            self.held -= sum(len(outcome.job.args) for outcome in outcomes)
            self.most_held = max(self.held, self.most_held)
            return turn

    weighing, large = Weighing(adapter), "x" * 50_000
    Note.perform_all_later([("small",)] * 1000)
    Note.perform_all_later([(large,)] * 60)
    JobQueue(weighing, concurrency=concurrency, logger=own_log).work_off()
    assert calls.count(large) == 60
    # Those in slots, and those that were performed during the last turn, are held as well.
    assert weighing.most_held < 3 * prefetch.MOST_BYTES


def test_hooks_are_not_called_while_the_database_works(
    adapter: Adapter, own_log: logging.Logger
) -> None:
    """They may wait for the very rows that the turn has locked, and that for its answer."""

    class Heard(jobqueue.Hooks):
        def __init__(self) -> None:
            self.jobs: list[int] = []

        def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
            self.jobs.append(job.id)

    attentive, heard = Attentive(adapter), Heard()
    jobs = Note.perform_all_later([(f"{n}",) for n in range(1000)])
    JobQueue(attentive, hooks=[heard], logger=own_log).work_off()
    assert sorted(heard.jobs) == [job.id for job in jobs]
    assert attentive.asides == 0


@pytest.mark.usefixtures("in_a_stream")
def test_nor_are_log_handlers_of_the_application(
    adapter: Adapter, own_log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    own_log.addHandler(caplog.handler)
    attentive = Attentive(adapter)
    Note.perform_all_later([(f"{n}",) for n in range(1000)])
    assert JobQueue(attentive, logger=own_log).work_off().succeeded == 1000
    assert attentive.asides == 0


@pytest.mark.usefixtures("in_a_stream")
def test_what_is_not_passed_on_yet_goes_back_when_the_worker_stops(
    adapter: Adapter, own_log: logging.Logger
) -> None:
    class Stopping(Attentive):
        worker: Worker

        def before_aside(self) -> None:
            self.worker.stop()

    stopping = Stopping(adapter)
    Note.perform_all_later([(f"{n}",) for n in range(3000)])
    stopping.worker = JobQueue(stopping, logger=own_log).worker(until_idle=True)
    tally = stopping.worker.run()
    assert stopping.asides > 0
    assert len(calls) == tally.succeeded < 3000
    assert adapter.count_by_state() == {JobState.READY: 3000 - tally.succeeded}
    assert {job.attempts for job in adapter.list_jobs(JobFilter(), 5000)} == {0}


@pytest.mark.usefixtures("in_a_stream")
def test_a_database_that_goes_away_beside_a_stream_loses_nothing(
    adapter: Adapter, own_log: logging.Logger
) -> None:
    class Breaking(Attentive):
        def before_aside(self) -> None:
            if self.asides == 2:
                self.failures_after = 2

    breaking = Breaking(adapter)
    Note.perform_all_later([(f"{n}",) for n in range(3000)])
    tally = JobQueue(breaking, poll_interval=0.01, logger=own_log).work_off()
    assert breaking.asides > 1
    assert sorted(calls, key=int) == [f"{n}" for n in range(3000)]
    assert (tally.succeeded, tally.rejected) == (3000, 0)
    assert adapter.count_by_state() == {}
