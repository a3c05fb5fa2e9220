"""An idle worker hears of a job at once, whatever its `poll_interval`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.base import Listener
from jobqueue.adapters.postgres.announcer import Stream
from jobqueue.adapters.postgres.low_water import FoundLanes
from jobqueue.adapters.postgres.path import PostgresPath
from jobqueue.adapters.postgres.wakeups import PostgresListener
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.records import LOOK_ANYWHERE, JobFilter, NewJob, Wakeup
from jobqueue.runner.relay import WakePipe, enough_for, read_from_supervisor
from jobqueue.worker.listener import ListenerService
from jobqueue.worker.worker import Worker
from tests.conftest import new_postgres_database
from tests.swallowing import SwallowingProxy, swallowing_proxy

PATIENCE_SECONDS = 10.0
SILENCE_SECONDS = 0.3
A_MINUTE = 60

performed = threading.Semaphore(0)


class Wanted(Job):
    def perform(self) -> None:
        performed.release()


class WantedElsewhere(Job):
    queue = "elsewhere"

    def perform(self) -> None:
        performed.release()


@dataclass
class Idle:
    """A worker that runs on a thread and has found nothing to do."""

    worker: Worker
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.worker.run)
        self.thread.start()
        # It has claimed twice when it has performed one job and waits again.
        Wanted.perform_later()
        assert performed.acquire(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        self.worker.stop()
        self.thread.join()


@pytest.fixture
def idle(adapter: Adapter) -> Iterator[Idle]:
    queue = JobQueue(adapter, poll_interval=A_MINUTE, queues=["default"])
    with closing(Idle(queue.worker())) as started:
        yield started


# --- a worker ------------------------------------------------------------------------------------


def test_a_job_is_performed_when_it_is_enqueued(idle: Idle) -> None:
    for _ in range(5):
        Wanted.perform_later()
        assert performed.acquire(timeout=PATIENCE_SECONDS)


def test_a_burst_is_performed(idle: Idle) -> None:
    """Most of these are enqueued without a notification of their own."""
    for _ in range(100):
        Wanted.perform_later()
    for _ in range(100):
        assert performed.acquire(timeout=PATIENCE_SECONDS)


def test_nothing_is_missed_where_looking_takes_long(
    postgres: Adapter, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is enqueued within a transaction is announced without its place: it is looked for."""
    find = PostgresPath.find_lanes

    def find_slowly(self: PostgresPath, *args: Any) -> FoundLanes:
        time.sleep(0.06)
        return replace(find(self, *args), scan_time=timedelta(seconds=0.06))

    monkeypatch.setattr(PostgresPath, "find_lanes", find_slowly)
    with closing(Idle(JobQueue(postgres, poll_interval=A_MINUTE).worker())):
        for priority in (10, 20, 30):
            with psycopg.connect(postgres_url) as connection:
                Wanted.set(session=connection, priority=priority).perform_later()
            assert performed.acquire(timeout=PATIENCE_SECONDS)


def test_a_resumed_queue_is_worked_on_at_once(idle: Idle, adapter: Adapter) -> None:
    adapter.pause_queues(["default"])
    Wanted.perform_later()
    assert not performed.acquire(timeout=SILENCE_SECONDS)
    adapter.resume_queues(["default"])
    assert performed.acquire(timeout=PATIENCE_SECONDS)


def test_without_listening_it_polls(adapter: Adapter) -> None:
    queue = JobQueue(adapter, poll_interval=0.01, listen=False)
    with closing(Idle(queue.worker())):
        names = {thread.name for thread in threading.enumerate()}
        assert "jobqueue-listener" not in names
        Wanted.perform_later()
        assert performed.acquire(timeout=PATIENCE_SECONDS)


# --- sessions ------------------------------------------------------------------------------------


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Adapter]:
    adapter = connect(postgres_url)
    Job.config(adapter=adapter)
    yield adapter
    adapter.close()


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    made = create_engine(make_url(postgres_url).set(drivername="postgresql+psycopg"))
    yield made
    made.dispose()


@pytest.fixture
def listener(postgres: Adapter) -> Iterator[Listener]:
    made = postgres.listen()
    yield made
    made.close()


def test_a_session_wakes_at_its_commit(engine: Engine, listener: Listener) -> None:
    with Session(engine) as session:
        first = Wanted.set(session=session).perform_later()
        with session.begin_nested():
            WantedElsewhere.set(session=session, priority=60).perform_later()
        assert listener.wait(SILENCE_SECONDS) is None
        session.commit()
    heard = listener.wait(PATIENCE_SECONDS)
    assert heard is not None
    assert heard.queues == frozenset({"default", "elsewhere"})
    assert heard.lowest == (50, first.run_at, first.id)
    assert heard.jobs == 2


def test_a_session_that_rolls_back_wakes_nobody(engine: Engine, listener: Listener) -> None:
    with Session(engine) as session:
        Wanted.set(session=session).perform_later()
        session.rollback()
        assert listener.wait(SILENCE_SECONDS) is None
        session.commit()
        Wanted.set(session=session).perform_later()
        session.commit()
    assert listener.wait(PATIENCE_SECONDS) is not None


@pytest.mark.parametrize("kind", ["psycopg", "connection"])
def test_a_connection_wakes_at_its_commit_once(
    engine: Engine, postgres_url: str, listener: Listener, kind: str
) -> None:
    connection: Any = psycopg.connect(postgres_url) if kind == "psycopg" else engine.connect()
    with connection:
        for _ in range(3):
            Wanted.set(session=connection).perform_later()
        assert listener.wait(SILENCE_SECONDS) is None
        connection.commit()
        assert listener.wait(PATIENCE_SECONDS) == Wakeup(frozenset({"default"}))
        assert listener.wait(SILENCE_SECONDS) is None
        Wanted.set(session=connection).perform_later()
        connection.rollback()
        assert listener.wait(SILENCE_SECONDS) is None


def test_a_job_for_later_wakes_nobody(listener: Listener) -> None:
    Wanted.set(wait=A_MINUTE).perform_later()
    assert listener.wait(SILENCE_SECONDS) is None
    Wanted.set(wait_until=datetime(2020, 1, 1, tzinfo=UTC)).perform_later()
    assert listener.wait(PATIENCE_SECONDS) is not None


def test_a_schema_hears_only_of_its_own_jobs(engine: Engine, postgres_url: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other_shop")
    other = connect(f"{postgres_url}&options=-csearch_path%3Dother_shop")
    other.migrate()
    ours = connect(postgres_url)
    listeners = ours.listen(), other.listen()
    JobQueue(other).enqueue(Wanted)
    assert listeners[1].wait(PATIENCE_SECONDS) is not None
    assert listeners[0].wait(SILENCE_SECONDS) is None
    for made in (*listeners, ours, other):
        made.close()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA other_shop CASCADE")


def test_what_is_not_delivered_is_noticed(postgres: Adapter, postgres_server: str) -> None:
    """Listening elsewhere is like listening through PgBouncer: accepted, and nothing comes."""
    with new_postgres_database(postgres_server) as elsewhere:
        other = connect(elsewhere)
        other.migrate()
        other.close()
        with pytest.raises(DatabaseError, match=r"delivers no notification.*listen_url"):
            postgres.listen(elsewhere)


def test_a_listener_that_cannot_connect_leaves_nothing_open(postgres: Adapter) -> None:
    """A worker tries again every few seconds for as long as the database is away."""
    nobody = "postgresql://localhost:1/nothing"
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(DatabaseError):
            postgres.listen(nobody)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_listener_whose_connection_is_lost_says_so(postgres: Adapter, postgres_url: str) -> None:
    listener = postgres.listen()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'jobqueue listener' AND datname = current_database()"
        )
    with pytest.raises(DatabaseUnavailable):
        listener.wait(PATIENCE_SECONDS)
    listener.close()


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[SwallowingProxy]:
    with swallowing_proxy(postgres_url) as made:
        yield made


@contextmanager
def waiting_for_wakeups(listener: Listener) -> Iterator[list[Wakeup]]:
    """A thread waits for them within the block."""
    heard: list[Wakeup] = []
    ended = threading.Event()

    def wait() -> None:
        while not ended.is_set():
            wakeup = listener.wait(PATIENCE_SECONDS)
            if wakeup is not None:
                heard.append(wakeup)

    thread = threading.Thread(target=wait)
    thread.start()
    yield heard
    ended.set()
    listener.close()
    thread.join()


def test_what_is_no_longer_delivered_is_noticed(
    postgres: Adapter, proxy: SwallowingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.adapters.postgres.wakeups.PATIENCE_SECONDS", 0.2)
    listener = postgres.listen(proxy.url)
    with waiting_for_wakeups(listener):
        proxy.swallows = True
        with pytest.raises(DatabaseError, match="delivers no notification"):
            listener.verify()


def test_a_worker_listens_again_when_notifications_arrive_again(
    postgres: Adapter,
    proxy: SwallowingProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait_for: Callable[[Callable[[], bool], str], None],
) -> None:
    monkeypatch.setattr("jobqueue.worker.listener.VERIFY_SECONDS", 0.1)
    monkeypatch.setattr("jobqueue.adapters.postgres.wakeups.PATIENCE_SECONDS", 2.0)
    caplog.set_level(logging.INFO, logger="jobqueue")
    heard: list[Wakeup] = []
    logger = logging.getLogger("jobqueue")
    thread = ListenerService(postgres, f"{proxy.url}?connect_timeout=2", heard.append, logger)
    thread.start()

    def events() -> list[str]:
        return [record.__dict__["event"] for record in caplog.records]

    wait_for(lambda: heard == [LOOK_ANYWHERE], "it to listen")
    proxy.swallows = True
    wait_for(lambda: events() == ["not_listening"], "it to notice")
    proxy.swallows = False
    wait_for(lambda: events() == ["not_listening", "listening_again"], "it to notice that too")
    Wanted.perform_later()
    wait_for(lambda: any(wakeup.lowest for wakeup in heard), "a job")
    thread.stop()


def test_a_dead_connection_in_the_pool_keeps_no_wakeup_back(
    postgres: Adapter,
    postgres_url: str,
    proxy: SwallowingProxy,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[[Callable[[], bool], str], None],
) -> None:
    """What asks when the next job is due waits for it. Those who rely on that are told."""
    monkeypatch.setattr("jobqueue.worker.listener.LATE_SECONDS", 0.1)
    monkeypatch.setattr("jobqueue.worker.listener.STOP_SECONDS", 0.1)
    beyond, heard = connect(proxy.url), list[Wakeup]()
    beyond.due_in()
    logger = logging.getLogger("jobqueue")
    thread = ListenerService(
        beyond, postgres_url, heard.append, logger, look_every=timedelta(seconds=0.01)
    )
    thread.start()
    wait_for(lambda: thread.is_reliable, "it to listen and ask")
    proxy.swallows = True
    wait_for(lambda: not thread.is_reliable, "the question without an answer")
    heard.clear()
    Wanted.perform_later()
    wait_for(lambda: any(wakeup.lowest for wakeup in heard), "the job")
    assert not thread.is_reliable
    thread.stop()
    beyond.close()


def test_one_verification_does_for_all_who_listen(postgres: Adapter) -> None:
    first, second = postgres.listen(), postgres.listen()
    with waiting_for_wakeups(first) as by_first, waiting_for_wakeups(second) as by_second:
        before = second.silent_seconds()
        first.verify()
        second.verify()
        assert max(first.silent_seconds(), second.silent_seconds()) < before + SILENCE_SECONDS
    assert by_first == by_second == []


def test_a_listener_whose_descriptor_was_closed_says_so_and_touches_no_other_file(
    postgres: Adapter, tmp_path: Path
) -> None:
    """As a job does that closes all there are. The numbers are given to other files."""
    listener = cast("PostgresListener", postgres.listen())
    before = listener._connection.fileno(), listener._interrupt.number
    with (tmp_path / "other").open("w+") as other:
        for number in before:
            os.dup2(other.fileno(), number)
        with pytest.raises(DatabaseUnavailable, match="has closed its file descriptor"):
            listener.wait(PATIENCE_SECONDS)
        listener.close()
        assert (tmp_path / "other").read_text() == ""
        os.close(before[1])


def test_strange_notifications_do_no_harm(listener: Listener, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        rows = connection.execute("SELECT pg_listening_channels()").fetchall()
        assert rows == []
        namespace = connection.execute(
            "SELECT relnamespace FROM pg_class WHERE oid = 'background_jobs'::regclass"
        ).fetchone()
        assert namespace is not None
        for payload in ("", "not JSON", "[1]", '{"queues": 3}', '{"lowest": ["a"]}'):
            connection.execute(
                "SELECT pg_notify(%s, %s)", (f"background_jobs_{namespace[0]}", payload)
            )
            assert listener.wait(PATIENCE_SECONDS) == LOOK_ANYWHERE


# --- the thread that listens ---------------------------------------------------------------------


class Flaky:
    """An adapter that can be listened to only the third time, and then loses the connection."""

    def __init__(self) -> None:
        self.attempts = 0
        self.due: timedelta | None = None
        self.said: list[Wakeup] = []
        self.silence, self.found = 0.0, list[DatabaseError | None]()
        self.begun = threading.Event()
        self.listener: Any = None

    def listen(self, url: str | None = None) -> Any:
        self.attempts += 1
        if self.attempts in {1, 2}:
            raise DatabaseUnavailable("it is away")
        self.listener = Mute(self.attempts == 3, self.said, silence=self.silence, found=self.found)
        self.begun.set()
        return self.listener

    def due_in(self) -> timedelta | None:
        return self.due


@dataclass
class Mute:
    loses: bool
    said: list[Wakeup]
    rung: threading.Event = field(default_factory=threading.Event)
    silence: float = 0.0
    found: list[DatabaseError | None] = field(default_factory=list)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    verified: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self, timeout_seconds: float) -> Wakeup | None:
        if self.loses:
            raise DatabaseUnavailable("it is lost")
        if not self.said:
            self.rung.wait(timeout_seconds)
            self.rung.clear()
        return self.said.pop() if self.said else None

    def silent_seconds(self) -> float:
        self.asked.release()
        return self.silence

    def verify(self) -> None:
        self.verified.release()
        found = self.found.pop(0) if self.found else None
        if found is not None:
            raise found

    def close(self) -> None:
        self.rung.set()


def listening_to(flaky: Flaky, hear: Callable[[Wakeup], None], **options: Any) -> ListenerService:
    logger = logging.getLogger("jobqueue")
    return ListenerService(cast("Adapter", flaky), None, hear, logger, **options)


def test_it_reconnects_and_says_each_thing_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobqueue.worker.listener.FIRST_RECONNECT_SECONDS", 0.01)
    caplog.set_level(logging.INFO, logger="jobqueue")
    heard = threading.Semaphore(0)
    listening: list[bool] = []
    thread = listening_to(Flaky(), lambda _: heard.release(), on_listening=listening.append)
    thread.start()
    for _ in range(2):
        assert heard.acquire(timeout=PATIENCE_SECONDS), "it looks when it begins to listen"
    thread.stop()
    said = [record.__dict__["event"] for record in caplog.records]
    assert said == ["not_listening", "listening_again", "not_listening", "listening_again"]
    assert listening == [False, False, True, False, True, False]


def test_it_looks_for_those_who_rely_on_it() -> None:
    flaky = Flaky()
    flaky.attempts, flaky.due = 3, timedelta(0)
    heard = threading.Semaphore(0)
    thread = listening_to(flaky, lambda _: heard.release(), look_every=timedelta(seconds=0.01))
    thread.start()
    for _ in range(5):
        assert heard.acquire(timeout=PATIENCE_SECONDS)
    thread.stop()


def test_what_is_passed_on_waits_for_no_answer_of_the_database(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[[Callable[[], bool], str], None]
) -> None:
    """A pooled connection that is dead keeps whoever asks something waiting for half a minute."""
    monkeypatch.setattr("jobqueue.worker.listener.LATE_SECONDS", 0.01)
    asked, answered, heard = threading.Event(), threading.Event(), threading.Semaphore(0)

    class Slow(Flaky):
        def due_in(self) -> timedelta | None:
            asked.set()
            answered.wait(PATIENCE_SECONDS)
            return None

    slow = Slow()
    slow.attempts = 3
    thread = listening_to(slow, lambda _: heard.release(), look_every=timedelta(seconds=A_MINUTE))
    thread.start()
    assert asked.wait(PATIENCE_SECONDS)
    assert heard.acquire(timeout=PATIENCE_SECONDS), "it looks when it begins to listen"
    slow.said.append(Wakeup(jobs=1))
    slow.listener.rung.set()
    assert heard.acquire(timeout=PATIENCE_SECONDS)
    wait_for(lambda: not thread.is_reliable, "nobody to rely on what does not ask")
    answered.set()
    wait_for(lambda: thread.is_reliable, "it to have asked")
    thread.stop()


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.worker.listener.VERIFY_SECONDS", 0.01)
    monkeypatch.setattr("jobqueue.worker.listener.FIRST_RECONNECT_SECONDS", 0.01)


@pytest.mark.usefixtures("short_silence")
def test_after_a_silence_it_is_verified_that_wakeups_arrive(
    caplog: pytest.LogCaptureFixture, wait_for: Callable[[Callable[[], bool], str], None]
) -> None:
    caplog.set_level(logging.INFO, logger="jobqueue")
    flaky = Flaky()
    flaky.attempts = 3
    flaky.silence, flaky.found = 1.0, [None, DatabaseUnavailable("?"), DatabaseError("it is deaf")]
    thread = listening_to(flaky, lambda _: None)
    thread.start()

    def events() -> list[str]:
        return [record.__dict__["event"] for record in caplog.records]

    wait_for(lambda: events() == ["not_listening", "listening_again"], "it to listen anew")
    thread.stop()
    assert "it is deaf" in caplog.records[0].getMessage()
    assert flaky.found == []


@pytest.mark.usefixtures("short_silence")
def test_where_something_arrives_nothing_is_verified() -> None:
    flaky = Flaky()
    flaky.attempts = 3
    thread = listening_to(flaky, lambda _: None)
    thread.start()
    assert flaky.begun.wait(PATIENCE_SECONDS)
    for _ in range(3):
        assert flaky.listener.asked.acquire(timeout=PATIENCE_SECONDS)
    thread.stop()
    assert not flaky.listener.verified.acquire(blocking=False)


def test_where_more_may_follow_it_is_said_once_more() -> None:
    """What is stored within a few milliseconds of such a wake-up has none of its own."""
    told: list[Wakeup] = []
    both = threading.Semaphore(0)

    def hear(wakeup: Wakeup) -> None:
        told.append(wakeup)
        both.release()

    flaky = Flaky()
    flaky.attempts, flaky.said = 3, [Wakeup(frozenset("a"), None, 1, more=True)]
    thread = listening_to(flaky, hear)
    thread.start()
    for _ in range(3):
        assert both.acquire(timeout=PATIENCE_SECONDS)
    thread.stop()
    assert told == [LOOK_ANYWHERE, Wakeup(frozenset("a"), None, 1, True), Wakeup(frozenset("a"))]


def test_a_stream_of_jobs_is_announced_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.adapters.postgres.announcer.QUIET_SECONDS", A_MINUTE)
    stream, mail, sms = Stream(), Wakeup(frozenset({"mail"})), Wakeup(frozenset({"sms"}))
    assert stream.what_to_say(mail) == mail
    assert stream.what_to_say(mail) == replace(mail, more=True)
    assert [stream.what_to_say(mail) for _ in range(3)] == [None] * 3
    assert stream.what_to_say(sms) == replace(sms, more=True)
    stream.forget()
    assert stream.what_to_say(sms) == sms


# --- whom a supervisor wakes ---------------------------------------------------------------------


@dataclass
class Stub:
    has_free_slots: bool
    last_used: float
    queues: tuple[str, ...] | None = None
    pipe: Any = None

    def __post_init__(self) -> None:
        self.pipe = self


BUSY, FRESH, OLD = Stub(False, 0.0), Stub(True, 2.0), Stub(True, 1.0)
ALL = [BUSY, FRESH, OLD]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [(None, ALL), (1, [OLD]), (2, ALL), (3, ALL), (1000, ALL)],
)
def test_as_many_are_woken_as_there_are_jobs(jobs: int | None, expected: list[Stub]) -> None:
    assert enough_for(Wakeup(jobs=jobs), ALL) == expected


# --- the pipe to a worker ------------------------------------------------------------------------


@dataclass
class Told:
    """A worker that notes what it is told."""

    id: str = "worker"
    facts: SimpleQueue[object] = field(default_factory=SimpleQueue)

    def rely_on_wakeups(self, relying: bool) -> None:
        self.facts.put(relying)

    def rest(self, resting: bool) -> None:
        self.facts.put(("rest", resting))

    def wake(self, wakeup: Wakeup) -> None:
        self.facts.put(wakeup)

    def next(self) -> object:
        return self.facts.get(timeout=PATIENCE_SECONDS)


@pytest.fixture
def pipe() -> Iterator[WakePipe]:
    made = WakePipe()
    yield made
    made.close()


def reading(pipe: WakePipe) -> Told:
    told = Told()
    read_from_supervisor(
        pipe.child_fd, cast("Worker", told), lambda _: None, logging.getLogger("jobqueue")
    )
    return told


def test_what_a_supervisor_says_reaches_the_worker(pipe: WakePipe) -> None:
    told = reading(pipe)
    pipe.send_listening(False)
    for _ in range(2):
        pipe.send_listening(True)
    pipe.wake(Wakeup(jobs=1))
    pipe.send_resting(True)
    pipe.send_listening(False)
    pipe.send_listening(False)
    pipe.close()
    said = [told.next() for _ in range(6)]
    assert said == [True, True, Wakeup(jobs=1), ("rest", True), False, False]


def test_a_worker_whose_pipe_a_job_has_closed_polls_and_says_so(
    pipe: WakePipe, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The number may be that of another file by now, which is not read."""
    told = reading(pipe)
    pipe.send_listening(True)
    assert told.next() is True
    other = tmp_path / "other"
    other.write_text('{"listening": true}')
    with other.open() as file:
        os.dup2(file.fileno(), pipe.child_fd)
        pipe.send_listening(True)
        assert told.next() is False
        assert file.read() == '{"listening": true}'
    os.close(pipe.child_fd)
    assert [record.__dict__["event"] for record in caplog.records] == ["wakeups_lost"]


def test_a_worker_that_can_make_nothing_of_what_it_is_told_polls_and_says_so(
    pipe: WakePipe,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[[Callable[[], bool], str], None],
) -> None:
    monkeypatch.setattr("jobqueue.runner.relay.BROKEN_SECONDS", 0.0)
    told = reading(pipe)
    pipe._send("no JSON")
    assert told.next() is False
    assert [record.__dict__["event"] for record in caplog.records] == ["wakeups_lost"]

    def is_noticed() -> bool:
        pipe.send_listening(True)
        return pipe.is_broken

    wait_for(is_noticed, "the supervisor to notice")


def test_a_worker_that_reads_nothing_holds_up_nobody() -> None:
    pipe = WakePipe()
    for _ in range(10_000):
        pipe.wake(Wakeup(frozenset({"default"})))
    pipe.close()
    pipe.wake(LOOK_ANYWHERE)


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        (Wakeup(frozenset("a"), None, 1), Wakeup(frozenset("b"), None, 2), {"queues": {"a", "b"}}),
        (Wakeup(frozenset("a")), LOOK_ANYWHERE, {"queues": None, "lowest": None, "jobs": None}),
        (Wakeup(more=True), LOOK_ANYWHERE, {"more": True}),
    ],
)
def test_two_wakeups_in_one(a: Wakeup, b: Wakeup, merged: dict[str, Any]) -> None:
    for both in (a.merged(b), b.merged(a)):
        assert {name: getattr(both, name) for name in merged} == merged


REFUSING_TO_NOTIFY = """
CREATE SCHEMA refusing;
CREATE FUNCTION refusing.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000';
END $$
"""


def test_no_job_is_refused_because_nobody_can_be_told(postgres_url: str) -> None:
    search_path = "options=-csearch_path%3Drefusing,pg_catalog,public"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(REFUSING_TO_NOTIFY.encode())
        try:
            adapter = connect(f"{postgres_url}{'&' if '?' in postgres_url else '?'}{search_path}")
            jobs = [
                adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])[0].id for _ in range(3)
            ]
            assert [job.id for job in adapter.list_jobs(JobFilter(), 5)] == jobs[::-1]
            adapter.close()
        finally:
            connection.execute("DROP SCHEMA refusing CASCADE")
