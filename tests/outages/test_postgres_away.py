"""PostgreSQL goes away, in every way that it does; a worker on threads of this process stays."""

from __future__ import annotations

import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import psutil
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from jobqueue import Every, Job, JobQueue, clock
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.postgres import leases as postgres_leases
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.connection import PatientConnection
from jobqueue.adapters.sql import database, leases
from jobqueue.errors import DatabaseUnavailable
from jobqueue.maintenance import pruner
from jobqueue.records import JobState, NewJob
from tests.conftest import TABLES
from tests.outages.conftest import Said
from tests.outages.server import FAST, IMMEDIATE, Server, migrated_server
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
DEFAULT_LEASE_SECONDS = 30
Away = Callable[[Server, str], AbstractContextManager[None]]


class Hold(Job):
    """Runs until the test lets go."""

    entered: ClassVar[threading.Event]
    report: ClassVar[threading.Event]
    let_go: ClassVar[threading.Event]

    def perform(self) -> None:
        self.entered.set()
        while not self.let_go.wait(0.05):
            if self.report.is_set():
                self.progress(50)
        calls.append("held")


class FailsAtLength(Job):
    """What it fails with takes more room than an update of a row does."""

    max_attempts = 1

    def perform(self) -> None:
        Hold.entered.set()
        Hold.let_go.wait(60)
        raise ValueError(secrets.token_hex(9000))


class KeptShortly(Job):
    keep_succeeded = timedelta(seconds=0.2)

    def perform(self) -> None:
        calls.append("kept")


@pytest.fixture(autouse=True)
def fresh(forget_jobs: None) -> None:
    calls.clear()
    Hold.entered, Hold.report, Hold.let_go = (threading.Event() for _ in range(3))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with migrated_server() as made:
        yield made


@pytest.fixture
def url(server: Server) -> str:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLES} RESTART IDENTITY".encode())
    return server.url


# --- the ways it goes away -----------------------------------------------------------------------


@contextmanager
def restarted_fast(server: Server, url: str) -> Iterator[None]:
    with _stopped(server, FAST):
        yield


@contextmanager
def crashed(server: Server, url: str) -> Iterator[None]:
    with _stopped(server, IMMEDIATE):
        yield


@contextmanager
def _stopped(server: Server, how: signal.Signals) -> Iterator[None]:
    server.stop(how)
    try:
        yield
    finally:
        server.start()


@contextmanager
def read_only(server: Server, url: str) -> Iterator[None]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    try:
        # A new connection is read-only once the server has told the old ones to be so, too.
        while not _is_read_only(url):
            pass
        yield
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute("SELECT pg_reload_conf()")
        while _is_read_only(url):
            pass


def _is_read_only(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        ((answer,),) = connection.execute("SHOW default_transaction_read_only")
        return bool(answer == "on")


@contextmanager
def without_slots(server: Server, url: str) -> Iterator[None]:
    """Others have taken all connections, those that are kept for superusers too."""
    with ExitStack() as others:
        control = others.enter_context(psycopg.connect(server.url, autocommit=True))
        terminate_all(control)
        while _one_more(server.url, others) or control.execute(TERMINATE_OURS).rowcount:
            pass
        yield


def _one_more(url: str, connections: ExitStack) -> bool:
    """Take another connection, if there is one."""
    try:
        connections.enter_context(psycopg.connect(url))
    except psycopg.OperationalError:
        return False
    return True


TERMINATE_OURS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND query LIKE '%background_%'
"""


def terminate_all(connection: psycopg.Connection) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


WAYS = [restarted_fast, crashed, read_only, without_slots]


@pytest.mark.parametrize("away", WAYS, ids=lambda way: way.__name__)
def test_a_worker_stays_and_settles_what_it_had_finished(
    server: Server, url: str, away: Away, wait_for: WaitFor, said: Said
) -> None:
    with working(url) as queue:
        queue.enqueue(Hold)
        assert Hold.entered.wait(20)
        with away(server, url):
            Hold.let_go.set()
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
            wait_for(lambda: calls == ["held"], "the job to end meanwhile")
            with pytest.raises(DatabaseUnavailable):
                queue.enqueue(Note, "in vain")
        wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
        queue.enqueue(Note, "after")
        wait_for(lambda: calls == ["held", "after"], "another job")
        wait_for(lambda: queue.adapter.count_by_state() == {}, "both to be settled")
    said_once = {"database_lost": 1, "database_back": 1, "job_rejected": 0, "jobs_rescued": 0}
    assert {event: said.count(event) for event in said_once} == said_once
    assert said.count("not_listening") <= 1 + said.count("listening_again")


@contextmanager
def working(url: str, **settings: Any) -> Iterator[JobQueue]:
    adapter = connect(url)
    with JobQueue(adapter, **{"poll_interval": 0.02, **settings}).running() as queue:
        yield queue
    adapter.close()


def test_connections_that_are_killed_again_and_again_cost_nothing(
    url: str, wait_for: WaitFor, said: Said
) -> None:
    with working(url) as queue, psycopg.connect(url, autocommit=True) as connection:
        # One that does not reach its database to begin with ends, and says so.
        wait_for(lambda: said.count("worker_ready") > 0, "the worker to begin")
        for n in range(100):
            queue.enqueue(Note, f"{n}")
            if n % 10 == 0:
                terminate_all(connection)
        wait_for(lambda: len(set(calls)) == 100, "all jobs")
        wait_for(lambda: queue.adapter.count_by_state() == {}, "the last to be settled")
    assert said.count("database_lost") == said.count("database_back")


def test_every_thread_of_a_worker_goes_on_after_it(
    server: Server, url: str, wait_for: WaitFor, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pump, lease, monitor (progress, and cancels), ticker, pruner and listener."""
    monkeypatch.setattr(pruner, "PRUNE_SECONDS", 0.1)

    class Tick(Job):
        name = "Tick"
        schedule = Every(seconds=1)

        def perform(self) -> None:
            calls.append("Tick")

    adapter = connect(url)
    with JobQueue(adapter, poll_interval=0.02, lease=1, concurrency=2).running() as queue:
        hold = queue.enqueue(Hold)
        assert Hold.entered.wait(20)
        wait_for(lambda: "Tick" in calls, "a tick")
        with crashed(server, url):
            Hold.report.set()
            wait_for(lambda: said.count("database_lost") > 0, "the pump to notice")
            wait_for(lambda: said.count("not_listening") > 0, "the listener to notice")
        wait_for(lambda: said.count("database_back") > 0, "the pump")
        wait_for(lambda: said.count("listening_again") > 0, "the listener")
        wait_for(lambda: _progress(adapter, hold.id) == 50, "the monitor to store progress")
        calls.clear()
        wait_for(lambda: "Tick" in calls, "the ticker")
        (worker,) = adapter.workers()
        wait_for(lambda: adapter.workers()[0].heartbeat_at > worker.heartbeat_at, "a beat")
        kept = queue.enqueue(KeptShortly)
        wait_for(lambda: "kept" in calls, "a job whose row is kept for a moment")
        wait_for(lambda: adapter.get(kept.id) is None, "the pruner")
        adapter.request_cancel(hold.id, "no longer wanted")
        wait_for(lambda: said.count("cancel_heard") > 0, "the monitor to hear of the cancel")
        Hold.let_go.set()
    adapter.close()
    for event in ("database_lost", "not_listening"):
        assert said.count(event) == 1
    assert not [event for event in said.events() if "troubled" in event]


def _progress(adapter: Adapter, job_id: int) -> float | None:
    job = adapter.get(job_id)
    return job.progress if job is not None else None


def test_nobody_is_freed_since_everybodys_heartbeat_stopped(
    server: Server, url: str, wait_for: WaitFor, said: Said
) -> None:
    with ExitStack() as workers:
        queues = [workers.enter_context(working(url, lease=0.6)) for _ in range(4)]
        adapter = queues[0].adapter
        for queue in queues:
            queue.enqueue(Hold)
        wait_for(lambda: _held(adapter) == 4, "all workers to be busy")
        with crashed(server, url):
            time.sleep(2)  # more than three leases
        time.sleep(1.5)  # and more than two in which somebody might be freed
        assert _held(adapter) == 4
        Hold.let_go.set()
        wait_for(lambda: adapter.count_by_state() == {}, "all jobs to be settled")
    assert calls == ["held"] * 4
    assert not {"jobs_rescued", "job_rejected", "lease_lost"}.intersection(said.events())


def _held(adapter: Adapter) -> int:
    return adapter.count_by_state().get(JobState.RUNNING, 0)


def test_a_server_that_answers_nothing(server: Server, url: str, said: Said) -> None:
    """It is frozen: the kernel still takes all that is sent to it."""
    in_time = "options=-cstatement_timeout%3D300&connect_timeout=2"
    known, unknown = connect(f"{url}&{in_time}"), connect(f"{url}&{in_time}")
    known.ping()
    with server.frozen():
        for adapter in (known, unknown):
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match=r"no answer within|timeout expired"):
                JobQueue(adapter).enqueue(Note)
            assert time.monotonic() - began < 4
    for adapter in (known, unknown):
        adapter.ping()
        adapter.close()


@contextmanager
def announcements_held_up(adapter: PostgresAdapter, how: str) -> Iterator[None]:
    """All else works: a caller's own connection is not the adapter's."""
    if how == "no answer":
        ((pid,),) = adapter.path.database.write_alone("SELECT pg_backend_pid()", {})
        backend = psutil.Process(pid)
        backend.suspend()
        try:
            yield
        finally:
            backend.resume()
    else:
        with ExitStack() as taken:
            for _ in range(15):  # as many as SQLAlchemy's pool gives out
                taken.enter_context(adapter.database.engine.connect())
            yield


@pytest.mark.parametrize("how", ["no answer", "no connection"])
def test_a_commit_does_not_wait_for_the_notification_after_it(
    server: Server, url: str, wait_for: WaitFor, said: Said, how: str
) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with closing(PostgresAdapter(url)) as adapter, closing(adapter.listen()) as listener:

        def commit_a_job() -> float:
            with Session(engine) as session:
                adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)], session=session)
                began = time.monotonic()
                session.commit()
                return time.monotonic() - began

        commit_a_job()
        assert listener.wait(20)
        with announcements_held_up(adapter, how):
            took = [commit_a_job() for _ in range(3)]
            assert sum(took) < 10
            assert said.events() == ["not_announcing"]
        wait_for(lambda: bool(commit_a_job() and said.count("announcing_again")), "the next one")
        assert listener.wait(20)
        assert adapter.count_by_state()[JobState.READY] > 4
        assert said.events() == ["not_announcing", "announcing_again"]
    engine.dispose()


def test_a_worker_outlives_a_server_that_answers_nothing(
    server: Server, url: str, wait_for: WaitFor, said: Said
) -> None:
    in_time = "options=-cstatement_timeout%3D200&connect_timeout=2"
    with working(f"{url}&{in_time}", lease=2) as queue:
        queue.enqueue(Hold)
        assert Hold.entered.wait(20)
        with server.frozen():
            Hold.let_go.set()
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
        wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
        wait_for(lambda: queue.adapter.count_by_state() == {}, "the job to be settled")
    assert calls == ["held"]


def test_a_lock_that_is_held_for_long_is_not_waited_for_for_ever(
    url: str, wait_for: WaitFor, said: Said
) -> None:
    """A migration of the application, say. The statements given up do not pile up in the server."""
    adapter = connect(f"{url}&options=-cstatement_timeout%3D200")
    with psycopg.connect(url) as migration:
        migration.execute("LOCK TABLE background_jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            JobQueue(adapter).enqueue(Note)
        assert isinstance(adapter, PostgresAdapter)
        with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.1 s"):
            adapter.database.read(
                lambda c: c.exec_driver_sql("SELECT FROM background_jobs"), answer_seconds=0.1
            )
        with psycopg.connect(url, autocommit=True) as watching:
            wait_for(lambda: _waiting_for_locks(watching) == 0, "the server to have given up too")
    adapter.close()


def _waiting_for_locks(connection: psycopg.Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def test_a_failover_to_a_standby(wait_for: WaitFor, said: Said) -> None:
    """Workers know of both servers. Until it is promoted, the second one is in recovery."""
    with ExitStack() as cleaning_up:
        primary = Server()
        cleaning_up.callback(primary.remove)
        adapter = connect(primary.url)
        adapter.migrate()
        adapter.close()
        standby = primary.standby()
        cleaning_up.callback(standby.remove)
        both = f"{primary.url}&host={make_url(standby.url).query['host']}"
        with working(both, lease=2) as queue:
            queue.enqueue(Hold)
            assert Hold.entered.wait(20)
            primary.stop(FAST)
            Hold.let_go.set()
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
            with pytest.raises(DatabaseUnavailable, match=r"read-only transaction|recovery"):
                queue.enqueue(Note, "in vain")
            with psycopg.connect(standby.url, autocommit=True) as connection:
                connection.execute("SELECT pg_promote()")
            wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
            queue.enqueue(Note, "after")
            wait_for(lambda: calls == ["held", "after"], "another job")
            wait_for(lambda: queue.adapter.count_by_state() == {}, "both to be settled")
    assert (said.count("database_lost"), said.count("database_back")) == (1, 1)


@pytest.mark.needs("mounting")
def test_a_full_disk(server: Server, wait_for: WaitFor, said: Said, tmp_path: Path) -> None:
    with ExitStack() as cleaning_up:
        disk = cleaning_up.enter_context(small_disk(server.folder))
        small = cleaning_up.enter_context(database_on(server.url, disk))
        with working(small, lease=2) as queue, psycopg.connect(small, autocommit=True) as filling:
            fails = queue.enqueue(FailsAtLength)
            assert Hold.entered.wait(20)
            fill(filling)
            Hold.let_go.set()
            wait_for(lambda: said.count("database_lost") > 0, "the worker to notice")
            assert "No space left on device" in said.text_of("database_lost")
            with pytest.raises(DatabaseUnavailable, match="No space left on device"):
                _enqueue_many(queue)
            filling.execute("DROP TABLE filler")
            wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
            wait_for(lambda: _state(queue.adapter, fails.id) is JobState.FAILED, "its failure")
            queue.enqueue(Note, "after")
            wait_for(lambda: "after" in calls, "another job")
    assert (said.count("database_lost"), said.count("database_back")) == (1, 1)


def _enqueue_many(queue: JobQueue) -> None:
    for _ in range(5000):
        queue.enqueue(Note, "in vain")


def _state(adapter: Adapter, job_id: int) -> JobState | None:
    job = adapter.get(job_id)
    return job.state if job is not None else None


@contextmanager
def small_disk(beside: Path) -> Iterator[Path]:
    owner = beside.stat()
    folder = Path(tempfile.mkdtemp(prefix="jobqueue-disk-"))
    options = f"size=16m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def database_on(url: str, disk: Path) -> Iterator[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        location = sql.Literal(str(disk))
        connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(location))
        connection.execute("CREATE DATABASE small TABLESPACE small")
        small = make_url(url).set(database="small").render_as_string(hide_password=False)
        try:
            adapter = connect(small)
            adapter.migrate()
            adapter.close()
            yield small
        finally:
            connection.execute("DROP DATABASE small WITH (FORCE)")
            connection.execute("DROP TABLESPACE small")


def fill(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE filler (text text)")
    connection.execute("ALTER TABLE filler ALTER COLUMN text SET STORAGE PLAIN")
    with suppress(psycopg.errors.DiskFull):
        while True:
            connection.execute("INSERT INTO filler SELECT repeat('x', 5000)")


# --- answers that are lost on their way ----------------------------------------------------------


@contextmanager
def commits_without_an_answer(
    url: str, adapter: Adapter, wait_for: WaitFor
) -> Iterator[Callable[[], None]]:
    """Commits are stored, and wait for a standby that never comes; cut off then, none is told of.

    What is given cuts off the first that waits.
    """
    # That is not to be a service of the worker, each of which commits once when it begins.
    wait_for(lambda: bool(adapter.declared_handlers()), "the first round of the pruner")
    wait_for(lambda: bool(adapter.samples(timedelta(hours=1))), "the first sample")
    wait_for(lambda: all(worker.note for worker in adapter.workers()), "the first note")
    with psycopg.connect(url, autocommit=True) as control:

        def set_standby(name: str) -> None:
            statement = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
            control.execute(statement.format(name))
            control.execute("SELECT pg_reload_conf()")

        def cut_off() -> None:
            cut = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event = 'SyncRep'"
            )
            wait_for(lambda: control.execute(cut).rowcount > 0, "a commit to wait for the standby")
            set_standby("")

        control.execute("SET synchronous_commit = local")
        set_standby("nobody")
        _wait_until_commits_wait(control, url)
        try:
            yield cut_off
        finally:
            set_standby("")


def _wait_until_commits_wait(control: psycopg.Connection, url: str) -> None:
    """The server takes a moment to learn of the standby."""
    commit = "SELECT pg_logical_emit_message(true, 'probe', '')"
    waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = %s AND wait_event = %s"
    has_waited = False
    with psycopg.connect(url, autocommit=True) as probe:
        while not has_waited:
            committing = threading.Thread(target=probe.execute, args=(commit,))
            committing.start()
            while committing.is_alive() and not has_waited:
                has_waited = bool(
                    control.execute(waits, (probe.info.backend_pid, "SyncRep")).rowcount
                )
            committing.join()


def test_a_settle_that_was_stored_and_never_answered(
    url: str, wait_for: WaitFor, said: Said
) -> None:
    with working(url) as queue:
        held = queue.enqueue(Hold)
        assert Hold.entered.wait(20)
        with commits_without_an_answer(url, queue.adapter, wait_for) as cut_off:
            Hold.let_go.set()
            cut_off()
        wait_for(lambda: said.count("database_back") > 0, "the worker to be back")
        wait_for(lambda: queue.adapter.get(held.id) is None, "the job to be settled")
    assert calls == ["held"]
    assert said.count("job_rejected") == 0


def test_a_claim_that_was_stored_and_never_answered(
    url: str, wait_for: WaitFor, said: Said
) -> None:
    """The worker that it was made for gives the job back, its attempt refunded, and claims anew."""
    with working(url, listen=False) as queue:
        with commits_without_an_answer(url, queue.adapter, wait_for) as cut_off:
            with psycopg.connect(url) as local:
                local.execute("SET synchronous_commit = local")
                note = NewJob(Note.name, '{"what": "claimed twice"}', "default", 50, 5)
                (job,) = queue.adapter.enqueue([note], session=local)
            cut_off()
        wait_for(lambda: calls == ["claimed twice"], "the job")
        wait_for(lambda: queue.adapter.get(job.id) is None, "it to be settled")
    assert (said.count("strays_released"), said.count("job_rejected")) == (1, 0)
    assert "attempt 1 of" in said.text_of("job_succeeded")


# --- the limits ----------------------------------------------------------------------------------


def test_a_beat_gives_up_long_before_the_lease_ends(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.ANSWER_SECONDS == PatientConnection.patience_seconds == 30
    assert database.BEAT_SECONDS < DEFAULT_LEASE_SECONDS / 4
    for module in (leases, postgres_leases):
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.2)
    adapter = connect(url)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE background_workers IN ACCESS EXCLUSIVE MODE")
        for look in (lambda: adapter.beat(["w"]), adapter.workers):
            with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.2 s"):
                look()
    adapter.close()


def test_pauses_grow_and_differ() -> None:
    """Workers that lost the same database do not all come back at the same moment."""
    several = [list(islice(clock.reconnect_pauses(), 12)) for _ in range(5)]
    for pauses in several:
        assert pauses[0] <= clock.FIRST_RECONNECT_SECONDS
        assert all(pause <= clock.LONGEST_RECONNECT_SECONDS for pause in pauses)
        assert pauses[-1] >= clock.LONGEST_RECONNECT_SECONDS / 2
    assert len({pauses[-1] for pauses in several}) == 5
