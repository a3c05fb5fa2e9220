"""The stacks of a worker, which it stores when somebody asks."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.maintenance import requests
from jobqueue.records import ClaimedJob, Stack, WorkerStacks
from jobqueue.worker.stacks import (
    LONGEST_FRAME,
    MOST_CHARACTERS,
    MOST_INNER_FRAMES,
    MOST_OUTER_FRAMES,
    MOST_STACKS,
    Whereabouts,
    stacks_of_this_process,
)

Work = Callable[[Callable[[], object]], None]
WaitFor = Callable[[Callable[[], bool], str], None]
SECRET = "hunter2-is-my-password"


class Holds(Job):
    """A job that waits in its thread."""

    entered: ClassVar[threading.Semaphore]
    leave: ClassVar[threading.Event]

    def perform(self, password: str) -> None:
        self.entered.release()
        assert password
        assert self.leave.wait(60)


class Spins(Job):
    """A job that never lets go of its thread."""

    def perform(self) -> None:
        Holds.entered.release()
        while not Holds.leave.is_set():
            pass


class Awaits(Job):
    """A job that waits in a coroutine within its own."""

    async def perform(self) -> None:
        Holds.entered.release()
        await self.deeper()

    async def deeper(self) -> None:
        await asyncio.to_thread(Holds.leave.wait, 60)


@pytest.fixture(autouse=True)
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(requests, "LOOK_SECONDS", 0.05)
    Holds.entered, Holds.leave = threading.Semaphore(0), threading.Event()
    yield
    Holds.leave.set()


def answer_of(adapter: Adapter, wait_for: WaitFor) -> WorkerStacks:
    """The answer of the only worker, which is asked now."""
    wait_for(lambda: len(adapter.workers()) == 1, "the worker to be registered")
    [worker] = adapter.workers()
    adapter.ask_for_stacks(worker.id)

    def answer() -> WorkerStacks:
        found = adapter.stacks_of(worker.id)
        assert found is not None
        return found

    wait_for(lambda: answer().answered_at is not None, "the answer")
    return answer()


def innermost(answer: WorkerStacks, job_id: int) -> list[str]:
    """The functions of the application in the stack of a job, the innermost last."""
    frames = [frame for stack in answer.stacks if stack.job_id == job_id for frame in stack.frames]
    return [frame.rpartition(" in ")[2] for frame in frames if __file__ in frame]


def test_a_job_that_waits(adapter: Adapter, wait_for: WaitFor) -> None:
    queue = JobQueue(adapter)
    job = queue.enqueue(Holds, SECRET)
    with queue.running():
        assert Holds.entered.acquire(timeout=60)
        answer = answer_of(adapter, wait_for)
        assert SECRET not in repr(answer)
        assert innermost(answer, job.id) == ["Holds.perform"]
        assert (answer.stacks[0].job_id, answer.stacks[0].job_name) == (job.id, Holds.name)
        assert "jobqueue-pump" in {stack.name for stack in answer.stacks}
        Holds.leave.set()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_job_that_never_lets_go(adapter: Adapter, wait_for: WaitFor, concurrency: int) -> None:
    queue = JobQueue(adapter, concurrency=concurrency)
    job = queue.enqueue(Spins)
    with queue.running(concurrency=concurrency):
        assert Holds.entered.acquire(timeout=60)
        assert innermost(answer_of(adapter, wait_for), job.id) == ["Spins.perform"]
        Holds.leave.set()


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_async_job(adapter: Adapter, wait_for: WaitFor, concurrency: int) -> None:
    queue = JobQueue(adapter)
    job = queue.enqueue(Awaits)
    with queue.running(concurrency=concurrency):
        assert Holds.entered.acquire(timeout=60)
        answer = answer_of(adapter, wait_for)
        assert innermost(answer, job.id)[:2] == ["Awaits.perform", "Awaits.deeper"]
        Holds.leave.set()


def test_several_jobs_of_both_kinds(adapter: Adapter, wait_for: WaitFor) -> None:
    queue = JobQueue(adapter)
    kinds = {"Holds.perform": [queue.enqueue(Holds, SECRET).id for _ in range(2)]}
    kinds["Awaits.deeper"] = [queue.enqueue(Awaits).id for _ in range(2)]
    with queue.running(concurrency=4):
        for _ in range(4):
            assert Holds.entered.acquire(timeout=60)
        answer = answer_of(adapter, wait_for)

        def are_there() -> bool:
            """Whether each is where it waits. Those that await say that they are, just before."""
            nonlocal answer
            answer = answer_of(adapter, wait_for)
            return all(
                function in innermost(answer, job_id)
                for function, job_ids in kinds.items()
                for job_id in job_ids
            )

        wait_for(are_there, "each to be where it waits")
        named = [stack.job_id for stack in answer.stacks]
        assert sorted(filter(None, named)) == sorted(itertools.chain(*kinds.values()))
        assert None not in named[:4]
        Holds.leave.set()


def test_an_idle_worker_performs_nothing(adapter: Adapter, wait_for: WaitFor) -> None:
    with JobQueue(adapter).running():
        answer = answer_of(adapter, wait_for)
    assert {stack.job_id for stack in answer.stacks} == {None}


def test_a_worker_that_nobody_asks_has_no_thread_for_it(adapter: Adapter) -> None:
    with JobQueue(adapter).running():
        assert "jobqueue-stacks" not in {thread.name for thread in threading.enumerate()}


def in_threads(number: int, work: Work, name: str = "t") -> list[Stack]:
    """The stacks while so many threads are in the middle of some work."""
    entered, leave = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        entered.release()
        leave.wait(60)

    threads = [threading.Thread(target=work, args=(wait,), name=name) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert entered.acquire(timeout=60)
        return [stack for stack in stacks_of_this_process(()) if stack.name == name]
    finally:
        leave.set()
        for thread in threads:
            thread.join()


def recurse(wait: Callable[[], object], depth: int = 300) -> None:
    if depth:
        recurse(wait, depth - 1)
    else:
        wait()


def test_the_middle_of_a_deep_stack_is_left_out() -> None:
    [stack] = in_threads(1, recurse)
    assert len(stack.frames) == MOST_OUTER_FRAMES + MOST_INNER_FRAMES + 1
    assert "frames are left out" in stack.frames[MOST_OUTER_FRAMES]
    assert stack.frames[-3].endswith("wait")


def test_there_is_a_limit_to_an_answer() -> None:
    stacks = in_threads(MOST_STACKS + 20, recurse)
    assert 0 < len(stacks) <= MOST_STACKS
    assert sum(len(f) for stack in stacks for f in stack.frames) <= MOST_CHARACTERS


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 1000])
def test_any_name_of_a_file_and_a_function_can_be_stored(name: str) -> None:
    scope: dict[str, Callable[..., None]] = {}
    path = name.replace("\0", "\x01").encode(errors="replace").decode()
    exec(compile("def odd(wait): wait()", path, "exec"), scope)
    [stack] = in_threads(1, scope["odd"], "odd")
    assert all(len(frame) <= 2 * LONGEST_FRAME and frame.isprintable() for frame in stack.frames)
    assert any(frame.endswith("in odd") for frame in stack.frames)


class Odd:
    """An awaitable that answers every question about it in its own way."""

    def __init__(self, answer: Callable[[str], object]) -> None:
        self._answer = answer

    def __await__(self) -> Iterator[object]:
        yield from asyncio.sleep(60).__await__()

    def __getattr__(self, name: str) -> object:
        return self._answer(name)


def raising(error: BaseException) -> Callable[[str], object]:
    def answer(name: str) -> object:
        if name in {"cr_frame", "gi_frame", "ag_frame"}:
            raise error
        raise AttributeError(name)

    return answer


class Awaiter:
    """A coroutine of a class of its own, as compiled ones have; it awaits something odd."""

    def __init__(self, odd: Odd) -> None:
        self._odd, self._waiting = odd, asyncio.sleep(60).__await__()

    def send(self, value: None) -> object:
        return self._waiting.send(value)

    def throw(self, *error: Any) -> object:
        return self._waiting.throw(*error)

    def close(self) -> None:
        self._waiting.close()

    def __await__(self) -> Awaiter:
        return self

    def __iter__(self) -> Awaiter:
        return self

    def __next__(self) -> object:
        return self.send(None)

    @property
    def cr_frame(self) -> object:
        return self._odd.cr_frame


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (raising(RuntimeError(SECRET)), "raises RuntimeError"),
        (raising(SystemExit()), "raises SystemExit"),
        (lambda _: "nonsense", "raises TypeError"),
        (lambda _: Odd(lambda _: 1), "raises TypeError"),
    ],
)
def test_one_odd_awaitable_spoils_no_other_stack(
    answer: Callable[[str], object], says: str
) -> None:
    async def waits(what: Any) -> None:
        await what

    async def look() -> list[Stack]:
        odd = asyncio.create_task(waits(Awaiter(Odd(answer))))
        good = asyncio.create_task(waits(asyncio.sleep(60)))
        await asyncio.sleep(0)
        performing = [Whereabouts(a_job(n), task=task) for n, task in enumerate((odd, good), 1)]
        found = await asyncio.to_thread(stacks_of_this_process, performing)
        odd.cancel()
        good.cancel()
        return found

    first, second, *others = asyncio.run(look())
    assert (first.job_id, second.job_id) == (1, 2)
    assert "look.<locals>.waits" not in first.frames[-1]
    assert first.frames[0].endswith("waits")
    assert says in first.frames[-1]
    assert SECRET not in repr(first)
    assert [frame.rpartition(" in ")[2].rpartition(".")[2] for frame in second.frames] == [
        "waits",
        "sleep",
    ]
    assert "MainThread" in {stack.name for stack in others}


def a_job(number: int) -> ClaimedJob:
    now = datetime.now(UTC)
    return ClaimedJob(number, 1, "odd", "{}", "default", 50, 1, 5, 0, now, now, now)
