"""Enqueueing from async code, within an async transaction or without one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import jobqueue
from jobqueue import InvalidArguments, Job, JobNotFound, JobQueue, StoredJob
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.errors import ConfigurationError
from jobqueue.records import JobFilter
from tests.conftest import new_postgres_database

DRIVERS = ("sqlite+aiosqlite", "postgresql+psycopg", "postgresql+asyncpg")


class Saying(Job):
    queue = "notes"

    def perform(self, text: str, times: int = 1) -> None: ...


class SayingAsync(Job):
    keep_result = True

    async def perform(self, text: str) -> str:
        return text.upper()


def stored(adapter: Adapter) -> list[str]:
    jobs = adapter.list_jobs(JobFilter(), 5000)
    return [str(job.args["text"]) for job in reversed(jobs)]


# --- without a session ---------------------------------------------------------------------------


def test_a_job_is_enqueued(adapter: Adapter) -> None:
    async def enqueue() -> StoredJob:
        return await Saying.set(queue="other", priority=3).perform_later_async("a", times=2)

    record = asyncio.run(enqueue())
    now = jobqueue.get(record.id)
    assert now == record
    assert (now.queue, now.priority, now.args) == ("other", 3, {"text": "a", "times": 2})


def test_many_jobs_are_enqueued_in_order(adapter: Adapter) -> None:
    async def enqueue() -> Sequence[StoredJob]:
        return await Saying.perform_all_later_async([("a",), {"text": "b"}, ("c", 3)])

    records = asyncio.run(enqueue())
    assert [record.args["text"] for record in records] == ["a", "b", "c"] == stored(adapter)


def test_enqueued_awaited_and_performed_in_one_loop(adapter: Adapter) -> None:
    async def whole() -> object:
        async with JobQueue(adapter, poll_interval=0.05).running():
            record = await SayingAsync.perform_later_async("hello")
            return await record.wait_async(timeout=60)

    assert asyncio.run(whole()) == "HELLO"


def test_the_loop_goes_on_meanwhile(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[bool] = []
    enqueue = adapter.enqueue

    def slow(*args: object, **kwargs: object) -> Sequence[StoredJob]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loops.append(False)
        return enqueue(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(adapter, "enqueue", slow)
    asyncio.run(Saying.perform_later_async("a"))
    assert loops == [False]


def test_wrong_arguments_are_refused(adapter: Adapter) -> None:
    with pytest.raises(InvalidArguments):
        asyncio.run(Saying.perform_later_async(1))  # type: ignore[arg-type]
    assert stored(adapter) == []


def test_getting_a_job(adapter: Adapter) -> None:
    record = Saying.perform_later("a")
    assert asyncio.run(jobqueue.get_async(record.id)) == record
    with pytest.raises(JobNotFound):
        asyncio.run(jobqueue.get_async(record.id + 1))


# --- in an async transaction ---------------------------------------------------------------------


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(driver: str, request: pytest.FixtureRequest) -> str:
    name = "sqlite_url" if driver.startswith("sqlite") else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def kept(url: str) -> Iterator[Adapter]:
    made = connect(url)
    Job.config(adapter=made)
    yield made
    made.close()
    jobqueue.defaults.default_configuration.reset()


@asynccontextmanager
async def engine_for(driver: str, url: str) -> AsyncIterator[AsyncEngine]:
    parsed = make_url(url)
    if driver.endswith("asyncpg") and "host" in parsed.query:
        parsed = parsed.set(query={"host": parsed.query["host"]})
    engine = create_async_engine(parsed.set(drivername=driver))
    try:
        yield engine
    finally:
        await engine.dispose()


Work = Callable[[AsyncSession], Awaitable[None]]


def in_session(driver: str, url: str, work: Work) -> None:
    async def run() -> None:
        async with engine_for(driver, url) as engine, AsyncSession(engine) as session:
            await work(session)

    asyncio.run(run())


def test_a_job_is_part_of_an_async_transaction(driver: str, url: str, kept: Adapter) -> None:
    async def work(session: AsyncSession) -> None:
        record = await Saying.set(session=session).perform_later_async("a", times=3)
        assert await asyncio.to_thread(stored, kept) == []
        await session.commit()
        assert await jobqueue.get_async(record.id) == record

    in_session(driver, url, work)
    assert stored(kept) == ["a"]


@pytest.fixture
def other_url(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the tables, which is not the one where the jobs are kept."""
    with contextlib.ExitStack() as opened:
        other = f"sqlite:///{tmp_path}/other.sqlite3"
        if not driver.startswith("sqlite"):
            server = request.getfixturevalue("postgres_server")
            other = opened.enter_context(new_postgres_database(server))
        adapter = connect(other)
        adapter.migrate()
        adapter.close()
        yield other


def test_an_async_session_of_another_database_is_refused(
    driver: str, other_url: str, kept: Adapter
) -> None:
    async def work(session: AsyncSession) -> None:
        with pytest.raises(ConfigurationError, match="but this job is kept in") as refused:
            await Saying.set(session=session).perform_later_async("a")
        assert str(make_url(other_url).database) in str(refused.value)
        await session.commit()
        count = await session.execute(text("SELECT count(*) FROM background_jobs"))
        assert count.scalar() == 0

    in_session(driver, other_url, work)
    assert stored(kept) == []


def test_a_job_goes_when_the_transaction_does(driver: str, url: str, kept: Adapter) -> None:
    async def work(session: AsyncSession) -> None:
        await Saying.set(session=session).perform_later_async("a")
        await session.rollback()
        await Saying.set(session=session, wait=60).perform_later_async("b")
        await session.commit()

    in_session(driver, url, work)
    assert stored(kept) == ["b"]


@pytest.mark.parametrize("number", [3, 1500])
def test_many_jobs_in_an_async_transaction(
    driver: str, url: str, kept: Adapter, number: int
) -> None:
    texts = [f"{n} 😀" for n in range(number)]

    async def work(session: AsyncSession) -> None:
        calls = [(each,) for each in texts]
        await Saying.set(session=session).perform_all_later_async(calls)
        await session.commit()

    in_session(driver, url, work)
    assert stored(kept) == texts


def test_beside_the_applications_own_rows(driver: str, url: str, kept: Adapter) -> None:
    async def run() -> None:
        async with engine_for(driver, url) as engine, engine.connect() as connection:
            await connection.execute(text("CREATE TEMPORARY TABLE users (name TEXT)"))
            await connection.execute(text("INSERT INTO users VALUES ('ada')"))
            await Saying.set(session=connection).perform_later_async("welcome")
            await connection.rollback()
            await Saying.set(session=connection).perform_later_async("again")
            await connection.commit()

    asyncio.run(run())
    assert stored(kept) == ["again"]


def test_memory_joins_an_async_session(sqlite_url: str) -> None:
    memory = MemoryAdapter()
    Job.config(adapter=memory)

    async def work(session: AsyncSession) -> None:
        await Saying.set(session=session).perform_later_async("a")
        await session.rollback()
        await Saying.set(session=session).perform_later_async("b")
        assert stored(memory) == []
        await session.commit()

    try:
        in_session("sqlite+aiosqlite", sqlite_url, work)
    finally:
        jobqueue.defaults.default_configuration.reset()
    assert stored(memory) == ["b"]


def test_a_sync_perform_later_names_the_async_one(url: str, driver: str, kept: Adapter) -> None:
    async def work(session: AsyncSession) -> None:
        with pytest.raises(ConfigurationError, match="perform_later_async"):
            Saying.set(session=session).perform_later("a")

    in_session(driver, url, work)


def test_workers_hear_of_it_at_the_commit(url: str, driver: str, kept: Adapter) -> None:
    listener = kept.listen()
    try:

        async def work(session: AsyncSession) -> None:
            await Saying.set(session=session).perform_later_async("a")
            await session.commit()

        in_session(driver, url, work)
        wakeup = listener.wait(20)
        assert wakeup is not None
        assert wakeup.concerns(("notes",))
    finally:
        listener.close()
