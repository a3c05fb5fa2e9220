"""Retention: which rows of finished jobs stay, as classes and settings say, and for how long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from jobqueue import (
    ConfigurationError,
    Discard,
    InvalidJob,
    Job,
    JobQueue,
    JobState,
    Keep,
    maintenance,
)
from jobqueue.adapters import Adapter, connect
from jobqueue.clock import ManualClock
from jobqueue.config import Settings, load_settings
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.job import registry
from jobqueue.maintenance import pruner
from jobqueue.maintenance.pruner import MISSING_SECONDS, Pruner, PrunerService
from jobqueue.records import Claim, Failed, JobFilter, NewJob, NewWorker, Succeeded
from jobqueue.retention import KeepRule, parse_keep
from tests.conftest import Project
from tests.process.conftest import WaitFor

DAY = timedelta(days=1)


class Kept(Job):
    keep_succeeded = 2
    keep_failed = timedelta(days=7)
    max_attempts = 1

    def perform(self, how: str = "well") -> None:
        if how == "discard":
            raise Discard("no")
        if how != "well":
            raise ValueError(how)


class KeptBriefly(Job):
    keep_succeeded = Keep(count=100, age=timedelta(hours=1))

    def perform(self) -> None: ...


class AsTheSettings(Job):
    max_attempts = 1

    def perform(self, how: str = "well") -> None:
        if how != "well":
            raise ValueError(how)


class Open(Job):
    api = True

    def perform(self) -> None: ...


class OpenAndForgotten(Job):
    api = True
    keep_succeeded = False

    def perform(self) -> None: ...


class Asked(Job):
    keep_result = True

    def perform(self) -> int:
        return 42


class Renamed(Job):
    aliases = ("tests.former.Name",)
    keep_succeeded = 3

    def perform(self) -> None: ...


@pytest.fixture
def adapter(clocked_adapter: Adapter) -> Adapter:
    return clocked_adapter


def work_off(adapter: Adapter, **settings: Any) -> None:
    JobQueue(adapter, **settings).work_off()


def rows(adapter: Adapter, *states: JobState) -> list[int]:
    found = adapter.list_jobs(JobFilter(states=states or None), 1000)
    return sorted(record.id for record in found)


def finish(adapter: Adapter, handler: str, number: int = 1, *, failed: bool = False) -> None:
    """Have jobs of a name in the table that have ended, whether or not a class is known."""
    adapter.enqueue([NewJob(handler, "{}", "elsewhere", 50, 5) for _ in range(number)])
    claimed = adapter.claim(Claim("somebody", 1, number, number, ("elsewhere",)))
    if failed:
        adapter.settle([Failed(job, error="no") for job in claimed])
    else:
        adapter.settle([Succeeded(job, keep=True) for job in claimed])


# --- classes -------------------------------------------------------------------------------------


def test_a_count_is_of_each_class(adapter: Adapter, clock: ManualClock) -> None:
    for _ in range(5):
        clock.advance(timedelta(seconds=1))
        Kept.perform_later()
        KeptBriefly.perform_later()
    work_off(adapter)
    assert len(rows(adapter)) == 2 + 5


def test_an_age(adapter: Adapter, clock: ManualClock) -> None:
    Kept.perform_later("badly")
    Kept.perform_later("discard")
    work_off(adapter)
    clock.advance(6 * DAY)
    work_off(adapter)
    assert adapter.count_by_state() == {JobState.FAILED: 1, JobState.CANCELLED: 1}
    clock.advance(DAY)
    work_off(adapter)
    assert rows(adapter) == []


def test_both(adapter: Adapter, clock: ManualClock) -> None:
    KeptBriefly.perform_all_later([()] * 120)
    work_off(adapter)
    assert len(rows(adapter)) == 100
    clock.advance(timedelta(hours=1))
    work_off(adapter)
    assert rows(adapter) == []


def test_what_is_open_to_the_api_stays_for_an_hour(adapter: Adapter, clock: ManualClock) -> None:
    kept = [Open.perform_later().id, Asked.perform_later().id]
    OpenAndForgotten.perform_later()
    work_off(adapter)
    clock.advance(timedelta(minutes=59))
    work_off(adapter)
    assert rows(adapter) == kept
    clock.advance(timedelta(minutes=1))
    work_off(adapter)
    assert rows(adapter) == []


def test_former_names_count_with_the_class(adapter: Adapter) -> None:
    finish(adapter, "tests.former.Name", 2)
    finish(adapter, "tests.test_retention.Renamed", 2)
    work_off(adapter)
    assert rows(adapter) == [2, 3, 4]


def test_what_waits_and_runs_is_left_alone(adapter: Adapter) -> None:
    later = Kept.set(wait=3600).perform_later().id
    running = Kept.set(queue="elsewhere").perform_later().id
    adapter.claim(Claim("somebody", 1, 1, 1, ("elsewhere",)))
    work_off(adapter, keep_succeeded=False, keep_failed=False)
    assert rows(adapter) == [later, running]


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "left"), [(False, 0), (0, 0), (True, 5), (3, 3), (DAY, 5), ("4 1d", 4), ("30s", 5)]
)
def test_the_settings(adapter: Adapter, rule: Any, left: int) -> None:
    for _ in range(5):
        AsTheSettings.perform_later()
        AsTheSettings.perform_later("badly")
    work_off(adapter, keep_succeeded=rule, keep_failed=rule)
    assert len(rows(adapter, JobState.SUCCEEDED)) == left
    assert len(rows(adapter, JobState.FAILED)) == left


def test_the_defaults_keep_what_failed(adapter: Adapter, clock: ManualClock) -> None:
    AsTheSettings.perform_later()
    AsTheSettings.perform_later("badly")
    work_off(adapter)
    clock.advance(1000 * DAY)
    work_off(adapter)
    assert adapter.count_by_state() == {JobState.FAILED: 1}


SPELLINGS: list[tuple[Any, KeepRule]] = [
    ("true", True),
    ("1", True),
    ("no", False),
    ("0", False),
    ("1000", 1000),
    ("90s", timedelta(seconds=90)),
    ("30m", timedelta(minutes=30)),
    ("1.5h", timedelta(minutes=90)),
    ("7d", timedelta(days=7)),
    ("2W", timedelta(weeks=2)),
    ("1000 7d", Keep(count=1000, age=timedelta(days=7))),
    ("7d, 1000", Keep(count=1000, age=timedelta(days=7))),
    (1000, 1000),
    (True, True),
    (DAY, DAY),
    (Keep(age=DAY), Keep(age=DAY)),
]


@pytest.mark.parametrize(("value", "rule"), SPELLINGS, ids=str)
def test_how_a_rule_is_spelt(value: Any, rule: KeepRule) -> None:
    assert parse_keep(value) == rule
    assert type(parse_keep(value)) is type(rule)


@pytest.mark.parametrize(
    "value", ["", "-1", "7 7", "7d 7d", "1 2d 3", "7y", "d", "99999w", "soon", 1.5, -1, None, []]
)
def test_a_wrong_rule_names_key_value_and_what_was_expected(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whose text is not shown
        parse_keep(value)
    if not isinstance(value, str):
        return
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(environ={"JOBS_KEEP_FAILED": value}, directory=tmp_path)
    said = str(refusal.value)
    assert said.startswith(f"JOBS_KEEP_FAILED is {value!r}; expected true or false, a count (1000)")


def test_a_wrong_rule_on_a_class_is_refused() -> None:
    with pytest.raises(InvalidJob, match="keep_failed = '7d'; expected True, False, a count"):

        class Wrong(Job):
            keep_failed = "7d"  # type: ignore[assignment]

            def perform(self) -> None: ...


@pytest.mark.parametrize("given", [{"count": -1}, {"count": True}, {"age": 60}, {"age": -DAY}])
def test_what_keep_refuses(given: Any) -> None:
    with pytest.raises(ValueError, match="expected a"):
        Keep(**given)


# --- classes that this code does not have --------------------------------------------------------


class Seconds:
    """Seconds that only go up when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_nobody_knows_goes_by_the_settings_after_a_while(adapter: Adapter) -> None:
    finish(adapter, "gone.Job", 3)
    seconds = Seconds()
    settings = Settings(keep_succeeded=1)
    pruner = Pruner(adapter, "me", registry, settings, monotonic=seconds)
    assert pruner.prune() == 0
    seconds.now = MISSING_SECONDS - 1
    assert pruner.prune() == 0
    seconds.now = MISSING_SECONDS
    assert pruner.prune() == 2
    assert rows(adapter) == [3]


def test_what_another_application_knows_is_left_to_it(adapter: Adapter) -> None:
    finish(adapter, "other.Job", 3)
    adapter.register_worker(NewWorker("other", "w", "h", 1, None, 1, DAY))
    adapter.declare_handlers("other", ["other.Job"])
    seconds = Seconds()
    pruner = Pruner(adapter, "me", registry, Settings(keep_succeeded=False), monotonic=seconds)
    assert pruner.prune() == 0
    seconds.now = 10 * MISSING_SECONDS
    assert pruner.prune() == 0
    # It goes away for a moment, as in a deploy, and comes back.
    adapter.unregister_worker("other")
    assert pruner.prune() == 0
    adapter.register_worker(NewWorker("other", "w", "h", 1, None, 1, DAY))
    adapter.declare_handlers("other", ["other.Job"])
    assert pruner.prune() == 0
    seconds.now += MISSING_SECONDS
    adapter.unregister_worker("other")
    assert pruner.prune() == 0
    seconds.now += MISSING_SECONDS - 1
    assert pruner.prune() == 0
    seconds.now += 1
    assert pruner.prune() == 3


def test_a_worker_declares_what_its_code_has(adapter: Adapter) -> None:
    adapter.register_worker(NewWorker("me", "w", "h", 1, None, 1, DAY))
    Pruner(adapter, "me", registry, Settings()).declare()
    declared = adapter.declared_handlers()["me"]
    assert {"tests.test_retention.Renamed", "tests.former.Name"} <= declared


# --- the pruner ----------------------------------------------------------------------------------


def test_many_rows_go_in_batches(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "BATCH", 10)
    finish(adapter, "tests.test_retention.AsTheSettings", 35)
    assert Pruner(adapter, "me", registry, Settings(keep_succeeded=2)).prune() == 33


def test_it_stops_between_batches(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance.pruner, "BATCH", 10)
    finish(adapter, "tests.test_retention.AsTheSettings", 35)
    stopped: list[bool] = []
    count = adapter.prune

    def prune_and_stop(*args: Any) -> int:
        stopped.append(True)
        return count(*args)

    monkeypatch.setattr(adapter, "prune", prune_and_stop)
    pruner = Pruner(adapter, "me", registry, Settings(), lambda: bool(stopped))
    assert pruner.prune() == 10


@pytest.mark.parametrize(
    ("error", "said"),
    [(DatabaseUnavailable("away"), []), (DatabaseError("odd"), ["finished jobs could not be"])],
)
def test_trouble_is_left_for_another_time(
    error: DatabaseError,
    said: list[str],
    adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(adapter, "finished_handlers", refuse)
    logger = logging.getLogger("jobqueue")
    PrunerService(adapter, "me", registry, Settings(), logger).prune_once()
    assert [r.getMessage()[:26] for r in caplog.records] == said


def test_it_goes_on_by_itself(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(pruner, "PRUNE_SECONDS", 0.01)
    logger = logging.getLogger("jobqueue")
    thread = PrunerService(adapter, "me", registry, Settings(keep_succeeded=1), logger)
    thread.start()
    try:
        for _ in range(2):
            finish(adapter, "tests.test_retention.AsTheSettings", 3)
            wait_for(lambda: len(rows(adapter)) == 1, "the rows to go")
    finally:
        thread.stop()


def test_a_worker_prunes_at_least_once_a_minute() -> None:
    assert pruner.PRUNE_SECONDS < 60


def test_a_running_worker_prunes(adapter: Adapter, wait_for: WaitFor) -> None:
    finish(adapter, "tests.test_retention.AsTheSettings", 3)
    with JobQueue(adapter, keep_succeeded=1, listen=False).running():
        wait_for(lambda: rows(adapter) == [3], "the rows to go")
    assert not [t for t in threading.enumerate() if t.name == "jobqueue-pruner"]


# --- databases -----------------------------------------------------------------------------------


@pytest.fixture
def database(database_url: str) -> Iterator[Adapter]:
    adapter = connect(database_url)
    yield adapter
    adapter.close()


def test_expired_keys_go(database: Adapter, database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    insert = text("INSERT INTO background_keys VALUES (:key, 1, 'x', :at, :at)")
    with engine.begin() as connection:
        for key, at in [
            ("old", "2001-01-01 00:00:00.000000"),
            ("new", "2999-01-01 00:00:00.000000"),
        ]:
            connection.execute(insert, {"key": key, "at": at})
    Pruner(database, "me", registry, Settings()).prune()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT key FROM background_keys")).scalars().all() == [
            "new"
        ]
    engine.dispose()


def test_rows_that_somebody_locks_are_passed_over(postgres_url: str) -> None:
    adapter = connect(postgres_url)
    finish(adapter, "Work", 3)
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM background_jobs WHERE id = 1 FOR UPDATE"))
        assert adapter.prune(JobState.SUCCEEDED, ["Work"], Keep(count=0), 10) == 2
        assert rows(adapter) == [1]
    assert adapter.prune(JobState.SUCCEEDED, ["Work"], Keep(count=0), 10) == 1
    engine.dispose()
    adapter.close()


PRUNED = """
    from datetime import timedelta

    from jobqueue import Job


    class Fine(Job):
        keep_succeeded = 2

        def perform(self) -> None:
            pass


    class Bad(Job):
        max_attempts = 1

        def perform(self) -> None:
            raise ValueError("bad")
"""


def test_rows_vanish_where_worker_processes_run(project: Project, wait_for: WaitFor) -> None:
    project.write("jobs.py", PRUNED)
    database = connect(project.environment["JOBS_DATABASE_URL"])
    finish(database, "jobs.Fine", 5)
    finish(database, "jobs.Bad", 5, failed=True)
    running = project.start("work", "--keep-failed", "3 7d", log=project.folder / "log")
    try:
        wait_for(
            lambda: database.count_by_state() == {JobState.SUCCEEDED: 2, JobState.FAILED: 3},
            "the rows to go",
        )
    finally:
        running.terminate()
        running.wait(timeout=60)
        database.close()
    said = project.jobs("work", "--keep-failed", "7y")
    assert said.exit_code == 2
    assert "--keep-failed is '7y'; expected true or false, a count (1000)" in said.err
