"""Progress and results: what a job says while it runs and when it has ended."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest

import jobqueue
from jobqueue import Discard, InvalidArguments, InvalidJob, Job, JobQueue, StoredJob
from jobqueue.adapters import Adapter
from jobqueue.errors import JobFailed, JobNotFound, StateConflict

WaitFor = Callable[[Callable[[], bool], str], None]


class Say(Job):
    keep_succeeded = True

    def perform(self, *values: Any) -> None:
        for value in values:
            self.progress(value)


class Chatter(Job):
    keep_succeeded = True

    def perform(self) -> None:
        for number in range(300):
            self.progress(number)
            time.sleep(0.001)


class Resize(Job):
    keep_succeeded = True

    def perform(self) -> None:
        self.progress(0.4, "resizing")


class SayAndWait(Job):
    keep_succeeded = True
    said: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    def perform(self, value: str) -> None:
        self.progress(value)
        self.said.set()
        assert self.go_on.wait(20)


class SayAndFail(Job):
    max_attempts = 1

    def perform(self) -> None:
        self.progress("halfway")
        raise ValueError("no further")


class SayAsync(Job):
    keep_succeeded = True

    async def perform(self) -> None:
        self.progress("half")
        await asyncio.sleep(0)
        self.progress("done")


@dataclass
class Size:
    width: int
    at: datetime


class Measure(Job):
    keep_result = True

    def perform(self, width: int) -> Size:
        return Size(width, datetime(2026, 1, 2, tzinfo=UTC))


class Anything(Job):
    keep_result = True

    def perform(self, kind: str) -> Any:
        values = {
            "uuid": UUID(int=7),
            "none": None,
            "text": "日本語 😀",
            "socket": threading.Lock(),
            "nul": "a\0b",
            "big": "x" * 2_000_000,
        }
        return values[kind]


class AddAsync(Job):
    keep_result = True

    async def perform(self, a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b


@jobqueue.job(keep_result=True)
def double(number: int) -> int:
    return 2 * number


class Nothing(Job):
    def perform(self) -> str:
        return "nobody keeps it"


class Refuse(Job):
    def perform(self) -> None:
        raise Discard("not wanted")


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter, poll_interval=0.05)


@pytest.fixture
def running(queue: JobQueue) -> Iterator[JobQueue]:
    with queue.running():
        yield queue


# --- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["started", 0.4, 7, None, [1, "two"], {"done": 3, "of": 10}])
def test_the_last_progress_survives_completion(queue: JobQueue, value: Any) -> None:
    job = Say.perform_later("first", value)
    queue.work_off()
    record = jobqueue.get(job.id)
    assert (record.state, record.progress) == ("succeeded", value)


def test_a_fraction_with_a_message(queue: JobQueue) -> None:
    job = Resize.perform_later()
    queue.work_off()
    assert jobqueue.get(job.id).progress == {"fraction": 0.4, "message": "resizing"}


def test_progress_is_seen_while_the_job_runs(running: JobQueue, wait_for: WaitFor) -> None:
    SayAndWait.said, SayAndWait.go_on = threading.Event(), threading.Event()
    job = SayAndWait.perform_later("started")
    try:
        wait_for(lambda: jobqueue.get(job.id).progress == "started", "the progress")
        assert jobqueue.get(job.id).state == "running"
    finally:
        SayAndWait.go_on.set()
    job.wait(20)
    assert jobqueue.get(job.id).progress == "started"


def test_progress_of_a_job_that_fails_is_kept(queue: JobQueue) -> None:
    job = SayAndFail.perform_later()
    queue.work_off()
    record = jobqueue.get(job.id)
    assert (record.state, record.progress) == ("failed", "halfway")


def test_progress_of_an_async_job(queue: JobQueue) -> None:
    job = SayAsync.perform_later()
    queue.work_off()
    assert jobqueue.get(job.id).progress == "done"


def test_writes_are_throttled(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    report = adapter.report_progress

    def noted(reports: Mapping[tuple[int, int], str]) -> None:
        writes.append(reports)
        report(reports)

    monkeypatch.setattr(adapter, "report_progress", noted)
    began = time.monotonic()
    job = Chatter.perform_later()
    JobQueue(adapter).work_off()
    assert jobqueue.get(job.id).progress == 299
    assert 1 <= len(writes) <= 2 + time.monotonic() - began


@pytest.mark.parametrize("value", [float("nan"), object(), "a\0b", "\ud800"])
def test_what_json_cannot_carry_is_an_error_in_the_job(queue: JobQueue, value: Any) -> None:
    with pytest.raises(InvalidArguments, match="progress cannot be stored"):
        Say().progress(value)


def test_progress_in_perform_now_goes_nowhere(adapter: Adapter) -> None:
    Say.perform_now("one", "two")
    assert adapter.count_jobs(jobqueue.records.JobFilter()) == 0


def test_progress_from_outside(adapter: Adapter) -> None:
    job = Say.perform_later()
    jobqueue.get(job.id).set_progress("started")
    assert jobqueue.get(job.id).progress == "started"
    job.set_progress(0.5, "half")
    assert job.refresh().progress == {"fraction": 0.5, "message": "half"}


def test_no_progress_of_what_has_ended(queue: JobQueue) -> None:
    job = Say.perform_later("end")
    queue.work_off()
    with pytest.raises(StateConflict, match=f"job {job.id} is succeeded"):
        job.set_progress("more")
    assert job.refresh().progress == "end"


# --- results -------------------------------------------------------------------------------------


def test_a_result_is_kept_by_its_annotation(queue: JobQueue) -> None:
    job = Measure.perform_later(3)
    queue.work_off()
    assert job.wait() == {"width": 3, "at": "2026-01-02T00:00:00Z"}
    assert jobqueue.get(job.id).result == job.wait()


@pytest.mark.parametrize(
    ("kind", "result"),
    [("uuid", str(UUID(int=7))), ("none", None), ("text", "日本語 😀")],
)
def test_a_result_of_any_type(queue: JobQueue, kind: str, result: Any) -> None:
    job = Anything.perform_later(kind)
    queue.work_off()
    assert jobqueue.get(job.id).state == "succeeded"
    assert job.wait() == result


def test_a_result_of_an_async_job_and_of_a_function(queue: JobQueue) -> None:
    jobs = [AddAsync.perform_later(1, 2), double.perform_later(4)]
    queue.work_off()
    assert [job.wait() for job in jobs] == [3, 8]


def test_results_with_several_at_a_time(adapter: Adapter) -> None:
    jobs = [AddAsync.perform_later(1, 2), double.perform_later(4)]
    JobQueue(adapter, concurrency=3).work_off()
    assert [job.wait() for job in jobs] == [3, 8]


@pytest.mark.parametrize("kind", ["socket", "nul", "big"])
def test_a_result_that_cannot_be_kept_does_not_undo_the_job(
    queue: JobQueue, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = Anything.perform_later(kind)
    queue.work_off()
    record = jobqueue.get(job.id)
    assert (record.state, record.result) == ("succeeded", None)
    assert (record.last_error or "").startswith("the job succeeded, but its result could not be")
    assert [r.event for r in caplog.records if r.levelname == "ERROR"] == ["result_lost"]  # type: ignore[attr-defined]


def test_no_result_without_keep_result(queue: JobQueue) -> None:
    job = Nothing.perform_later()
    queue.work_off()
    assert job.wait() is None
    with pytest.raises(JobNotFound, match=f"no job {job.id}"):
        job.refresh()


def test_keep_result_without_rows_is_refused() -> None:
    with pytest.raises(InvalidJob, match="keep_result needs the rows of succeeded jobs"):

        class Contradiction(Job):
            keep_result = True
            keep_succeeded = False

            def perform(self) -> None: ...


# --- waiting -------------------------------------------------------------------------------------


def test_wait_returns_when_the_job_has_ended(running: JobQueue) -> None:
    assert double.perform_later(21).wait(timeout=60) == 42


def test_wait_async_lets_the_loop_go_on(running: JobQueue) -> None:
    async def both() -> list[Any]:
        jobs: list[StoredJob] = [double.perform_later(1), AddAsync.perform_later(2, 3)]
        return await asyncio.gather(*(job.wait_async(timeout=60) for job in jobs))

    assert asyncio.run(both()) == [2, 5]


def test_wait_raises_what_the_job_did(queue: JobQueue) -> None:
    failed, discarded = SayAndFail.perform_later(), Refuse.perform_later()
    queue.work_off()
    with pytest.raises(JobFailed, match=r"SayAndFail\) failed: .*no further"):
        failed.wait()
    with pytest.raises(JobFailed, match="was cancelled: not wanted"):
        asyncio.run(discarded.wait_async())


@pytest.mark.parametrize("timeout", [0, 0.05, timedelta(milliseconds=50)])
def test_wait_gives_up(adapter: Adapter, timeout: timedelta | float) -> None:
    job = double.perform_later(1)
    with pytest.raises(TimeoutError, match=f"job {job.id} has not ended within"):
        job.wait(timeout)
    with pytest.raises(TimeoutError):
        asyncio.run(job.wait_async(timeout))


def test_a_copy_of_a_record_says_where_to_get_the_job(adapter: Adapter) -> None:
    import copy
    import pickle

    job = double.perform_later(1)
    for twin in (pickle.loads(pickle.dumps(job)), copy.copy(job)):
        assert twin == job
        with pytest.raises(jobqueue.ConfigurationError, match=rf"jobqueue\.get\({job.id}\)"):
            twin.cancel()


def test_a_record_that_an_older_release_pickled_can_be_read(adapter: Adapter) -> None:
    import pickle

    job = double.perform_later(1)
    older = pickle.dumps(job, protocol=0).replace(b"jobqueue.stored", b"jobqueue.adapters.stored")
    assert b"jobqueue.adapters.stored" in older
    assert pickle.loads(older) == job
