"""Several jobs at a time in one process, and what is published of them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Self

import pytest

import jobqueue
from jobqueue import Job, JobQueue, JobState, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.config import load_settings
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.log import set_up_logging
from jobqueue.records import Claim, CrashedJob, JobFilter, NewWorker
from jobqueue.worker.slots import SlotEntry, Slots
from jobqueue.worker.worker import Worker
from tests.sample_jobs import Note, NoteAsync, calls, claimed

WaitFor = Callable[[Callable[[], bool], str], None]
LONG_ENOUGH = 20


class Meter:
    """Counts how many are in it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0
        self.threads: set[int] = set()

    def __enter__(self) -> Self:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(threading.get_ident())
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


class Meet(Job):
    """Succeeds when as many others as the barrier wants are there at the same time."""

    barrier: ClassVar[threading.Barrier]
    meter: ClassVar[Meter]

    def perform(self) -> None:
        with self.meter:
            self.barrier.wait(LONG_ENOUGH)


class MeetAsync(Job):
    barrier: ClassVar[asyncio.Barrier]
    meter: ClassVar[Meter]

    async def perform(self) -> None:
        with self.meter:
            await asyncio.wait_for(self.barrier.wait(), LONG_ENOUGH)


class Hold(Job):
    """Holds its slot until the test lets go."""

    entered: ClassVar[threading.Semaphore]
    leave: ClassVar[threading.Event]

    def perform(self, what: str = "held") -> None:
        self.entered.release()
        assert self.leave.wait(LONG_ENOUGH)
        calls.append(what)


class HoldAsync(Job):
    entered: ClassVar[threading.Semaphore]

    async def perform(self) -> None:
        self.entered.release()
        await asyncio.sleep(LONG_ENOUGH)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    calls.clear()
    Meet.meter = MeetAsync.meter = Meter()
    Hold.entered = HoldAsync.entered = threading.Semaphore(0)
    Hold.leave = threading.Event()
    yield
    Hold.leave.set()
    default_configuration.reset()


@pytest.fixture
def memory() -> Adapter:
    adapter = MemoryAdapter()
    Job.config(adapter=adapter)
    return adapter


def test_ten_sync_jobs_at_a_time(adapter: Adapter) -> None:
    Meet.barrier = threading.Barrier(10)
    Meet.perform_all_later([()] * 30)
    assert JobQueue(adapter, concurrency=10).work_off().succeeded == 30
    assert Meet.meter.most == 10
    assert len(Meet.meter.threads) == 10


def test_five_hundred_async_jobs_on_one_thread(memory: Adapter) -> None:
    MeetAsync.barrier = asyncio.Barrier(500)
    MeetAsync.perform_all_later([()] * 1000)
    assert JobQueue(memory, concurrency=500).work_off().succeeded == 1000
    assert MeetAsync.meter.most == 500
    assert len(MeetAsync.meter.threads) == 1


def test_async_jobs_need_no_thread_each(memory: Adapter) -> None:
    HoldAsync.perform_all_later([()] * 100)
    before = threading.active_count()
    with Background(JobQueue(memory, concurrency=100, poll_interval=0.01).worker()) as background:
        for _ in range(100):
            assert HoldAsync.entered.acquire(timeout=LONG_ENOUGH)
        assert threading.active_count() - before <= 15
        background.worker.stop_now()


def test_sync_and_async_jobs_share_the_slots(adapter: Adapter) -> None:
    meter = Meter()

    class SyncShare(Job):
        def perform(self) -> None:
            with meter:
                pause.wait(0.005)

    class AsyncShare(Job):
        async def perform(self) -> None:
            with meter:
                await asyncio.sleep(0.005)

    pause = threading.Event()
    for _ in range(20):
        SyncShare.perform_later()
        AsyncShare.perform_later()
    assert JobQueue(adapter, concurrency=4).work_off().succeeded == 40
    assert 1 < meter.most <= 4


def test_at_one_everything_is_in_order_on_the_thread_of_the_worker(memory: Adapter) -> None:
    threads = set()

    class Where(Job):
        def perform(self, what: int) -> None:
            threads.add(threading.get_ident())
            calls.append(what)

    Where.perform_all_later([(n,) for n in range(200)])
    JobQueue(memory, concurrency=1).work_off()
    assert calls == list(range(200))
    assert threads == {threading.get_ident()}


def test_an_error_takes_only_its_own_job(adapter: Adapter) -> None:
    class Ends(Job):
        max_attempts = 1

        async def perform(self, how: str) -> None:
            if how == "exit":
                raise SystemExit(3)
            if how == "exit in a task":
                await asyncio.create_task(end())
            raise asyncio.CancelledError

    async def end() -> None:
        raise SystemExit(4)

    Ends.perform_all_later([("exit",), ("exit in a task",), ("cancelled",)])
    NoteAsync.perform_all_later([("fine",)] * 20)
    tally = JobQueue(adapter, concurrency=4).work_off()
    assert (tally.failed, tally.succeeded) == (3, 20)


def test_a_sync_job_that_returns_a_coroutine(memory: Adapter) -> None:
    async def later() -> None:
        await asyncio.sleep(0)
        calls.append("awaited")

    class Lazy(Job):
        def perform(self) -> Any:
            return later()

    Lazy.perform_later()
    assert JobQueue(memory, concurrency=2).work_off().succeeded == 1
    assert calls == ["awaited"]


def test_the_concurrency_is_announced(memory: Adapter, wait_for: WaitFor) -> None:
    with Background(JobQueue(memory, concurrency=3, poll_interval=0.01).worker()):
        wait_for(lambda: [w.concurrency for w in memory.workers()] == [3], "the worker's row")


# --- what is held ahead --------------------------------------------------------------------------


class Background:
    """A worker on a thread of its own."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.tally: Any = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.tally = self.worker.run()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(LONG_ENOUGH)
        assert not self._thread.is_alive()


def states(adapter: Adapter, ids: list[int]) -> set[JobState]:
    return {record.state for record in adapter.list_jobs(JobFilter(ids=tuple(ids)), 1000)}


def test_slow_jobs_take_a_slot_each_and_nothing_more(adapter: Adapter, wait_for: WaitFor) -> None:
    Hold.perform_all_later([()] * 3)
    rest = [record.id for record in Note.perform_all_later([()] * 5)]
    with Background(JobQueue(adapter, concurrency=3, poll_interval=0.01).worker()) as background:
        for _ in range(3):
            assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        assert states(adapter, rest) == {JobState.READY}
        assert len(background.worker.performing()) == 3
        Hold.leave.set()
        wait_for(lambda: calls.count("done") == 5, "the rest")


def test_a_slow_job_leaves_the_other_slots_to_others(adapter: Adapter, wait_for: WaitFor) -> None:
    Hold.perform_later()
    with Background(JobQueue(adapter, concurrency=2, poll_interval=0.01).worker()):
        assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        Note.perform_all_later([()] * 100)
        wait_for(lambda: calls.count("done") == 100, "the jobs beside the slow one")
        assert "held" not in calls
        Hold.leave.set()


def test_what_waits_behind_slow_jobs_goes_back(adapter: Adapter, wait_for: WaitFor) -> None:
    Note.perform_all_later([("before",)] * 50)
    Hold.perform_all_later([()] * 2)
    behind = [record.id for record in Note.perform_all_later([("behind",)] * 20)]
    with Background(JobQueue(adapter, concurrency=2, poll_interval=0.01).worker()):
        for _ in range(2):
            assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        wait_for(lambda: states(adapter, behind) == {JobState.READY}, "what waits to go back")
        JobQueue(adapter).work_off()
        assert calls.count("behind") == 20
        assert "held" not in calls
        Hold.leave.set()


def test_a_resting_worker_claims_nothing(adapter: Adapter, wait_for: WaitFor) -> None:
    with Background(JobQueue(adapter, concurrency=2, poll_interval=0.01).worker()) as background:
        wait_for(lambda: bool(adapter.workers()), "the worker")
        background.worker.rest(True)
        Hold.perform_later()
        assert not Hold.entered.acquire(timeout=0.5)
        background.worker.rest(False)
        assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        Hold.leave.set()


# --- jobs that crashed ---------------------------------------------------------------------------


def crash(adapter: Adapter, *job_ids: int) -> None:
    """Have these jobs claimed by a worker that dies of them."""
    adapter.register_worker(NewWorker("dead", "w", "h", 1, None, 9, timedelta(seconds=30)))
    got = adapter.claim(Claim("dead", 7, len(job_ids), len(job_ids)))
    assert {job.id for job in got} == set(job_ids)
    adapter.rescue_crashed("dead", [CrashedJob(job.id, 7, "killed") for job in got])


class Alone(Job):
    meter: ClassVar[Meter]

    def perform(self) -> None:
        with self.meter:
            for _ in range(10):
                calls.append(("alone", self.meter.now))
                threading.Event().wait(0.003)


class Beside(Job):
    async def perform(self) -> None:
        with Alone.meter:
            await asyncio.sleep(0.01)


def test_a_job_that_crashed_is_performed_alone(adapter: Adapter) -> None:
    Alone.meter = Meter()
    crash(adapter, *(record.id for record in Alone.perform_all_later([()] * 3)))
    Beside.perform_all_later([()] * 30)
    Beside.set(priority=1).perform_later()
    tally = JobQueue(adapter, concurrency=8).work_off()
    assert tally.succeeded == 34
    assert calls == [("alone", 1)] * 30
    assert Alone.meter.most > 1


def test_a_job_to_be_alone_is_put_off_while_a_long_one_runs(
    memory: Adapter, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue.worker import drains

    monkeypatch.setattr(drains, "FIRST_DRAIN_SECONDS", 0.6)
    Alone.meter = Meter()
    crashed = Alone.perform_later()
    crash(memory, crashed.id)
    Hold.set(priority=1).perform_later()
    with Background(JobQueue(memory, concurrency=2, poll_interval=0.01).worker()):
        assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        Note.perform_all_later([()] * 10)
        wait_for(lambda: calls.count("done") == 10, "the others to go on")
        left = jobqueue.get(crashed.id)
        assert (left.state, left.attempts, left.crashes) == (JobState.READY, 1, 1)
        assert left.run_at > left.updated_at
        Hold.leave.set()


# --- stopping ------------------------------------------------------------------------------------


def test_stop_finishes_what_runs(adapter: Adapter) -> None:
    Hold.perform_all_later([()] * 3)
    with Background(JobQueue(adapter, concurrency=3, poll_interval=0.01).worker()) as background:
        for _ in range(3):
            assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        background.worker.stop()
        Hold.leave.set()
    assert background.tally.succeeded == 3


class Sleepy(Job):
    def perform(self) -> None:
        Hold.entered.release()
        while True:
            Hold.leave.wait(0.01)


def test_stop_now_gives_everything_back(adapter: Adapter) -> None:
    ids = [Sleepy.perform_later().id, HoldAsync.perform_later().id, Hold.perform_later().id]
    started = time.monotonic()
    with Background(JobQueue(adapter, concurrency=3, poll_interval=0.01).worker()) as background:
        for _ in ids:
            assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        background.worker.stop_now()
        background.join()
    assert time.monotonic() - started < 10
    assert background.tally.released == 3
    assert background.tally.performed == 0
    for job_id in ids:
        record = jobqueue.get(job_id)
        assert (record.state, record.attempts) == (JobState.READY, 0)
    assert adapter.workers() == []
    Hold.leave.set()
    assert states(adapter, ids) == {JobState.READY}


def test_a_late_outcome_is_not_settled(adapter: Adapter, wait_for: WaitFor) -> None:
    job_id = Hold.perform_later("late").id
    with Background(JobQueue(adapter, concurrency=2, poll_interval=0.01).worker()) as background:
        assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        background.worker.stop_now()
        background.join()
        Hold.leave.set()
    assert background.tally.rejected == 0
    assert jobqueue.get(job_id).attempts == 0


def test_stop_now_at_one_from_another_thread(adapter: Adapter) -> None:
    job_id = Sleepy.perform_later().id
    with Background(JobQueue(adapter, poll_interval=0.01).worker()) as background:
        assert Hold.entered.acquire(timeout=LONG_ENOUGH)
        background.worker.stop_now()
    assert background.tally.released == 1
    assert jobqueue.get(job_id).attempts == 0


# --- slots ---------------------------------------------------------------------------------------


READ_SLOTS = """
import sys
from jobqueue.worker.slots import Slots
slots = Slots.attach(int(sys.argv[1]), 3)
for line in sys.stdin:
    print([(e.index, e.job_id, e.token, e.deadline, e.retry_delay) for e in slots.performing()])
    sys.stdout.flush()
"""


def test_another_process_sees_what_is_performed() -> None:
    slots = Slots.create(3)
    reader = subprocess.Popen(
        [sys.executable, "-c", READ_SLOTS, str(slots.fd)],
        pass_fds=[slots.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def seen() -> str:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    with reader:
        assert seen() == "[]"
        slots.publish(2, claimed("x", id=2**62, token=2**63 - 1), 12.5, 60.0)
        slots.publish(0, claimed("x", id=7, token=3), 0.0, 0.0)
        assert seen() == f"[(0, 7, 3, 0.0, 0.0), (2, {2**62}, {2**63 - 1}, 12.5, 60.0)]"
        slots.clear(2)
        assert seen() == "[(0, 7, 3, 0.0, 0.0)]"
    slots.close()


def test_a_worker_publishes_what_it_performs(memory: Adapter) -> None:
    class Limited(Job):
        max_runtime = 100
        retry = jobqueue.Constant(7)

        async def perform(self) -> None:
            calls.extend(slots.performing())

    slots = Slots.create(2)
    job_id = Limited.perform_later().id
    work_supervised(memory, slots)
    [entry] = calls
    assert isinstance(entry, SlotEntry)
    assert entry.job_id == job_id
    assert entry.token > 0
    assert 90 < entry.deadline - time.monotonic() <= 103
    assert entry.retry_delay == 7
    slots.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_policy_of_the_application_is_asked_when_the_time_is_over_and_not_before(
    memory: Adapter, kind: str
) -> None:
    asked: list[BaseException] = []
    answered = threading.Event()

    def give_up(attempt: int, error: BaseException) -> None:
        asked.append(error)
        answered.set()

    def begin() -> None:
        [entry] = slots.performing()
        calls.append((entry.retry_delay, list(asked)))

    def wait_for_the_answer() -> None:
        until = time.monotonic() + 20
        with contextlib.suppress(BaseException):  # of the time that is over
            answered.wait(20)
        while slots.performing()[0].retry_delay >= 0 and time.monotonic() < until:
            with contextlib.suppress(BaseException):
                time.sleep(0.001)

    class InTime(Job):
        max_runtime = 100
        retry = staticmethod(give_up)

        def perform(self) -> None:
            begin()

    class Overdue(Job):
        max_runtime = 0.05
        retry = staticmethod(give_up)

        def perform(self) -> None:
            begin()
            wait_for_the_answer()
            calls.append(slots.performing()[0].retry_delay)

    class OverdueAsync(Job):
        max_runtime = 0.05
        retry = staticmethod(give_up)

        async def perform(self) -> None:
            begin()
            wait_for_the_answer()
            calls.append(slots.performing()[0].retry_delay)

    slots = Slots.create(2)
    InTime.perform_later()
    work_supervised(memory, slots)
    (default_delay, asked_before) = calls[0]
    assert 0 < default_delay < 5, "that of the default policy"
    assert asked == asked_before == []
    (Overdue if kind == "sync" else OverdueAsync).perform_later()
    work_supervised(memory, slots)
    assert calls[0][1] == []
    assert isinstance(asked[0], jobqueue.JobTimeout)
    assert calls[1] < 0, "it wants no other attempt"
    slots.close()


def work_supervised(adapter: Adapter, slots: Slots) -> None:
    """Work off, with slots as a supervisor gives them; nothing is performed afterwards."""
    calls.clear()
    settings = load_settings({"concurrency": 2, "kill_after": 3})
    logger = default_configuration.logger
    Worker(adapter, registry, settings, logger, until_idle=True, slots=slots).run()
    assert slots.performing() == []


# --- the log -------------------------------------------------------------------------------------


class Talk(Job):
    def perform(self) -> None:
        logging.getLogger("shop").warning("packing %s", "a box")
        self.logger.info("via its own logger")


class TalkAsync(Job):
    async def perform(self) -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(logging.getLogger("shop").warning, "in a thread")


@contextmanager
def shown(log_format: str, log_level: str = "info") -> Iterator[io.StringIO]:
    """What is shown by a process that has not set up logging itself."""
    ours, root = logging.getLogger("jobqueue"), logging.getLogger()
    before, level = root.handlers, ours.level
    root.handlers = []
    stream = io.StringIO()
    set_up_logging(log_level, log_format, stream)
    try:
        yield stream
    finally:
        root.handlers = before
        ours.setLevel(level)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_a_job_logs_carries_its_id(memory: Adapter, concurrency: int) -> None:
    talk, talk_async = Talk.perform_later().id, TalkAsync.perform_later().id
    with shown("text") as stream:
        JobQueue(memory, concurrency=concurrency).work_off()
    lines = stream.getvalue()
    assert f"[tests.test_concurrency.Talk #{talk}] packing a box\n" in lines
    assert f"[tests.test_concurrency.Talk #{talk}] via its own logger\n" in lines
    assert f"[tests.test_concurrency.TalkAsync #{talk_async}] in a thread\n" in lines
    assert f" tests.test_concurrency.Talk #{talk} succeeded" in lines
    assert "] worker" not in lines


def test_what_a_job_logs_as_json(memory: Adapter) -> None:
    talk = Talk.perform_later().id
    with shown("json") as stream:
        JobQueue(memory, concurrency=2).work_off()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    packing = next(line for line in lines if line["message"] == "packing a box")
    assert (packing["job_id"], packing["job"]) == (talk, "tests.test_concurrency.Talk")


@pytest.mark.parametrize("concurrency", [1, 2])
def test_the_start_of_a_job_is_shown_with_its_arguments(memory: Adapter, concurrency: int) -> None:
    Note.perform_later("hello")
    NoteAsync.perform_later("hello")
    with shown("json", "debug") as stream:
        assert JobQueue(memory, concurrency=concurrency).work_off().succeeded == 2
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    started = [line for line in lines if line.get("event") == "job_started"]
    assert [line["arguments"] for line in started] == ["{'what': 'hello'}"] * 2
    assert "arguments" not in lines[0]


@pytest.mark.parametrize("started", [0, 1, 2])
def test_a_thread_for_a_job_cannot_be_started(
    adapter: Adapter, started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is finished, the others are given back, and the worker ends with the error."""
    start = threading.Thread.start
    refused = threading.Event()

    def start_unless(thread: threading.Thread) -> None:
        if thread.name == f"jobqueue-job-{started}":
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    class UntilRefused(Job):
        def perform(self) -> None:
            assert refused.wait(20)

    monkeypatch.setattr(threading.Thread, "start", start_unless)
    queue = JobQueue(adapter, concurrency=3)
    jobs = [queue.enqueue(UntilRefused).id for _ in range(5)]
    with pytest.raises(RuntimeError, match="can't start new thread"):
        queue.work_off()
    left = adapter.list_jobs(JobFilter(ids=tuple(jobs)), 5)
    assert len(left) == 5 - started
    assert {(record.state, record.attempts) for record in left} == {(JobState.READY, 0)}
