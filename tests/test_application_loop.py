"""A worker within a coroutine performs async jobs on the event loop of the application."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

import jobqueue
from jobqueue import Constant, Job, JobQueue, JobState, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.records import JobFilter

LONG = 60.0
seen: list[Any] = []


class Shared:
    """What an application makes when it starts, and what works on its loop only."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    asked: ClassVar[asyncio.Queue[asyncio.Future[str]]]
    entered: ClassVar[asyncio.Event]
    let_go: ClassVar[asyncio.Event]

    @classmethod
    async def answer(cls) -> None:
        """A client that jobs share: it answers each from a task of the application."""
        while True:
            (await cls.asked.get()).set_result("answered")


class Asks(Job):
    keep_result = True

    async def perform(self) -> str:
        assert asyncio.get_running_loop() is Shared.loop
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await Shared.asked.put(future)
        return await future


class AsksInSync(Job):
    """A `def` that returns a coroutine is awaited there as well."""

    def perform(self) -> Coroutine[Any, Any, None]:
        seen.append(threading.current_thread() is threading.main_thread())
        return self.rest()

    async def rest(self) -> None:
        seen.append(asyncio.get_running_loop() is Shared.loop)


class Sync(Job):
    def perform(self) -> None:
        seen.append(threading.current_thread() is threading.main_thread())


class Holds(Job):
    retry = Constant(60)

    async def perform(self) -> None:
        Shared.entered.set()
        await Shared.let_go.wait()
        seen.append("let go")


class OutOfTime(Job):
    max_runtime = 0.1
    retry = Constant(60)

    async def perform(self) -> None:
        await asyncio.sleep(LONG)


class Writes(Job):
    async def perform(self) -> None:
        async with self.transaction():
            seen.append(asyncio.get_running_loop() is Shared.loop)
            await Sync.perform_later_async()


class Fails(Job):
    max_attempts = 1

    async def perform(self) -> None:
        raise ValueError("on its own account")


class ChildFails(Job):
    max_attempts = 1

    async def perform(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(LONG))
            group.create_task(self.fail())

    async def fail(self) -> None:
        raise ValueError("in a task of its own")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    seen.clear()
    yield
    default_configuration.reset()


@pytest.fixture(params=[1, 3])
def queue(request: pytest.FixtureRequest, adapter: Adapter) -> JobQueue:
    return JobQueue(adapter, poll_interval=0.02, concurrency=request.param)


@asynccontextmanager
async def application() -> AsyncIterator[None]:
    Shared.loop = asyncio.get_running_loop()
    Shared.asked, Shared.entered, Shared.let_go = asyncio.Queue(), asyncio.Event(), asyncio.Event()
    client = asyncio.create_task(Shared.answer())
    yield
    assert not client.done()  # nobody has cancelled what is not a job
    client.cancel()


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def within_application() -> None:
        async with asyncio.timeout(LONG), application():
            await main()

    asyncio.run(within_application())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it waits for happens on other threads
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("how", ["running", "lifespan"])
def test_jobs_share_what_belongs_to_the_loop(queue: JobQueue, how: str) -> None:
    async def main() -> None:
        block = queue.running() if how == "running" else queue.lifespan()
        async with block:
            records = await Asks.perform_all_later_async([()] * 20)
            for record in records:
                assert await asyncio.to_thread(record.wait, LONG) == "answered"

    run(main)
    assert queue.adapter.workers() == []


def test_sync_jobs_stay_off_the_loop(queue: JobQueue) -> None:
    async def main() -> None:
        async with queue.running():
            await Sync.perform_later_async()
            await until(lambda: len(seen) == 1)
            await AsksInSync.perform_later_async()
            await until(lambda: len(seen) == 3)

    run(main)
    assert seen == [False, False, True]


def test_a_transaction_of_a_job(queue: JobQueue) -> None:
    if isinstance(queue.adapter, MemoryAdapter):
        return  # which has no transactions

    async def main() -> None:
        async with queue.running():
            await Writes.perform_later_async()
            await until(lambda: len(seen) == 2)

    run(main)
    assert seen == [True, False]


def test_its_time_is_limited(queue: JobQueue) -> None:
    async def main() -> None:
        record = await OutOfTime.perform_later_async()
        async with queue.running():
            await until(lambda: jobqueue.get(record.id).last_error is not None)
        assert "JobTimeout" in str(jobqueue.get(record.id).last_error)

    run(main)


@pytest.mark.parametrize("job", [Fails, ChildFails])
def test_an_error_of_its_own_is_its_own(queue: JobQueue, job: type[Fails]) -> None:
    async def main() -> None:
        record = await job.perform_later_async()
        async with queue.running():
            await until(lambda: jobqueue.get(record.id).state is JobState.FAILED)

    run(main)


def test_one_is_cancelled(queue: JobQueue) -> None:
    async def main() -> None:
        record = await Holds.perform_later_async()
        async with queue.running():
            await Shared.entered.wait()
            await asyncio.to_thread(record.cancel, "no longer wanted")
            await until(lambda: jobqueue.get(record.id).state is JobState.CANCELLED)

    run(main)


def test_what_runs_at_the_end_is_finished(queue: JobQueue) -> None:
    async def main() -> None:
        await Holds.perform_later_async()
        async with queue.running():
            await Shared.entered.wait()
            asyncio.get_running_loop().call_later(0.2, Shared.let_go.set)

    run(main)
    assert seen == ["let go"]
    assert queue.adapter.count_by_state() == {}


def test_what_does_not_end_within_the_grace_is_given_back(queue: JobQueue) -> None:
    async def main() -> None:
        await Holds.perform_later_async()
        async with queue.running(grace=0.1):
            await Shared.entered.wait()

    run(main)
    assert_given_back(queue)


def test_an_application_that_is_cancelled_while_it_stops(queue: JobQueue) -> None:
    """Whoever stops it has enough: its jobs are given back at once, on a loop that goes on."""

    async def main() -> None:
        async def serve() -> None:
            async with queue.running():
                await asyncio.sleep(LONG)

        await Holds.perform_later_async()
        serving = asyncio.create_task(serve())
        await Shared.entered.wait()
        begun = time.monotonic()
        serving.cancel()
        await asyncio.sleep(0.1)
        serving.cancel()
        await asyncio.sleep(0.01)
        serving.cancel()
        await asyncio.wait([serving])
        assert time.monotonic() - begun < 10
        assert serving.cancelled()

    run(main)
    assert_given_back(queue)
    assert queue.adapter.workers() == []


def test_an_application_that_ends_its_loop_with_all_that_is_on_it(queue: JobQueue) -> None:
    """The job has not failed: it is given back, and begins anew since the worker goes on here."""

    async def main() -> None:
        record = await Holds.perform_later_async()
        async with queue.running():
            await Shared.entered.wait()
            Shared.entered.clear()
            for task in asyncio.all_tasks():
                if "execute_async" in str(task.get_coro()):
                    task.cancel()
            await Shared.entered.wait()
            again = jobqueue.get(record.id)
            assert (again.attempts, again.last_error) == (1, None)
            Shared.let_go.set()

    run(main)


def test_a_loop_that_is_closed_under_a_worker(
    adapter: Adapter, caplog: pytest.LogCaptureFixture
) -> None:
    queue = JobQueue(adapter, poll_interval=0.02, concurrency=2)
    threads = set(threading.enumerate())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(queue.running().__aenter__())
    loop.close()
    with caplog.at_level(logging.ERROR, "jobqueue"):
        record = Holds.perform_later()
        for thread in set(threading.enumerate()) - threads:
            if thread.name.startswith("jobqueue-worker"):
                thread.join(LONG)
                assert not thread.is_alive()
    assert "performs nothing any more" in caplog.text
    given_back = jobqueue.get(record.id)
    assert (given_back.state, given_back.attempts) == (JobState.READY, 0)


def test_without_async_with_they_have_a_loop_of_their_own(queue: JobQueue) -> None:
    class OnWhichLoop(Job):
        async def perform(self) -> None:
            seen.append(asyncio.get_running_loop())

    async def main() -> None:
        with queue.running():
            await OnWhichLoop.perform_later_async()
            await until(lambda: len(seen) == 1)

    run(main)
    assert seen != [Shared.loop]


def assert_given_back(queue: JobQueue) -> None:
    [left] = queue.adapter.list_jobs(JobFilter(), 10)
    assert (left.state, left.attempts, left.locked_by) == (JobState.READY, 0, None)
    assert seen == []
