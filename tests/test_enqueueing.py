"""Enqueueing through the public API, on every adapter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import jobqueue
from jobqueue import InvalidArguments, JobNotFound, JobQueue, JobState, UnknownJob
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from tests.conftest import Project
from tests.sample_jobs import Boom, Keep, Note, note

MINUTE = timedelta(minutes=1)


def test_the_record_of_a_job(clocked_adapter: Adapter, clock: ManualClock) -> None:
    record = Note.perform_later("hello")
    assert record == jobqueue.get(record.id)
    assert record.handler == "tests.sample_jobs.Note"
    assert record.args == {"what": "hello"}
    assert (record.queue, record.priority, record.state) == ("default", 50, JobState.READY)
    assert (record.attempts, record.max_attempts) == (0, 24)
    assert record.run_at == record.created_at == record.updated_at == clock.now()
    assert record.run_at.utcoffset() == timedelta(0)


def test_on_the_class_on_an_instance_and_as_a_function(adapter: Adapter) -> None:
    ids = [
        Note.perform_later().id,
        Note().perform_later("a").id,
        Note.set(queue="slow").perform_later(what="b").id,
        Note().set(priority=1).perform_later().id,
        note.perform_later("c").id,
    ]
    assert ids == sorted(set(ids))
    assert jobqueue.get(ids[2]).queue == "slow"
    assert jobqueue.get(ids[3]).priority == 1
    assert jobqueue.get(ids[4]).queue == "functions"


@pytest.mark.parametrize("wait", [90, 90.0, timedelta(seconds=90)])
def test_wait(clocked_adapter: Adapter, clock: ManualClock, wait: Any) -> None:
    assert Note.set(wait=wait).perform_later().run_at == clock.now() + timedelta(seconds=90)


def test_wait_until(clocked_adapter: Adapter) -> None:
    moment = datetime(2031, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
    elsewhere = moment.astimezone(ZoneInfo("Asia/Tokyo"))
    assert Note.set(wait_until=elsewhere).perform_later().run_at == moment


def test_options_add_up_and_the_last_one_counts(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    base = Note.set(queue="slow", wait=5)
    changed = base.set(priority=2).set(wait_until=clock.now() + MINUTE)
    first, second = base.perform_later(), changed.perform_later()
    assert (first.queue, first.priority) == ("slow", 50)
    assert first.run_at == clock.now() + timedelta(seconds=5)
    assert (second.queue, second.priority) == ("slow", 2)
    assert second.run_at == clock.now() + MINUTE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wait": -1}, "0 seconds or more"),
        ({"wait": "soon"}, "neither seconds nor a timedelta"),
        ({"wait": float("nan")}, "neither seconds nor a timedelta"),
        ({"wait": timedelta(days=400_000)}, "out of range"),
        ({"wait": 1, "wait_until": datetime(2030, 1, 1, tzinfo=UTC)}, "exclude each other"),
        ({"wait_until": datetime(2030, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"wait_until": "tomorrow"}, "is not a datetime"),
        ({"wait_until": datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))}, "years 1 to 9999"),
        ({"queue": "no spaces"}, "no name for a queue"),
        ({"queue": "x" * 129}, "no name for a queue"),
        ({"priority": 1.5}, "not a whole number"),
        ({"priority": 2**31}, "beyond 32 bits"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArguments, match=said):
        Note.set(**options)


def test_nothing_is_stored_when_arguments_are_refused(adapter: Adapter) -> None:
    for wrong in (1, float("nan"), "a\x00b", "\ud800", object(), "x" * 2_000_000):
        with pytest.raises(InvalidArguments):
            Note.perform_later(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments):
        Note.perform_all_later([("fine",), (1,)])
    with pytest.raises(InvalidArguments):
        jobqueue.enqueue(Note.name, {"what": 1})
    with pytest.raises(InvalidArguments):
        jobqueue.enqueue("unknown", {"n": float("inf")}, unchecked=True)
    assert adapter.count_by_state() == {}


def test_many_in_one_call_keep_their_order(adapter: Adapter) -> None:
    calls = [(f"{n}",) if n % 2 else {"what": f"{n}"} for n in range(500)]
    records = Note.set(queue="bulk").perform_all_later(calls)
    assert [record.args["what"] for record in records] == [f"{n}" for n in range(500)]
    assert [record.id for record in records] == sorted(record.id for record in records)
    assert {record.queue for record in records} == {"bulk"}
    assert jobqueue.get(records[123].id) == records[123]
    assert Note.perform_all_later([]) == []


def test_many_take_tuples_or_dicts_only(adapter: Adapter) -> None:
    with pytest.raises(InvalidArguments, match=r"write \('x',\) for a single argument"):
        Note.perform_all_later(["x"])  # type: ignore[list-item]
    assert adapter.count_by_state() == {}


def test_attempts_come_from_the_class_its_policy_or_the_settings(adapter: Adapter) -> None:
    from tests.sample_jobs import BoomAsync

    assert Boom.perform_later().max_attempts == 3
    assert BoomAsync.perform_later().max_attempts == 5
    assert Keep.perform_later().max_attempts == 24


def test_by_name(clocked_adapter: Adapter, clock: ManualClock) -> None:
    full = jobqueue.enqueue("tests.sample_jobs.Note", {"what": "x"}, wait=60, priority=3)
    assert full.handler == "tests.sample_jobs.Note"
    assert (full.priority, full.run_at) == (3, clock.now() + MINUTE)
    short = jobqueue.enqueue("sample_jobs.note", {}, queue="other")
    assert (short.handler, short.queue) == ("tests.sample_jobs.note", "other")
    assert jobqueue.enqueue("sample_jobs.note").queue == "functions"


def test_by_a_name_that_nobody_has(adapter: Adapter) -> None:
    with pytest.raises(UnknownJob, match="no job is named 'SendFax'"):
        jobqueue.enqueue("SendFax", {"to": "1"})
    record = jobqueue.enqueue("SendFax", {"to": "1"}, unchecked=True, queue="fax", wait=5)
    assert (record.handler, record.args, record.queue) == ("SendFax", {"to": "1"}, "fax")
    with pytest.raises(InvalidArguments):
        jobqueue.enqueue("SendFax", {"to": {1, 2}}, unchecked=True)


def test_by_name_imports_the_app(project: Project) -> None:
    project.write(
        "enqueue.py",
        """
        import sys
        import jobqueue

        assert "jobs" not in sys.modules
        print(jobqueue.enqueue("Greet", {"name": "Ann"}).handler)
        try:
            jobqueue.enqueue("Greet", {"nome": "Ann"})
        except jobqueue.InvalidArguments as error:
            print(error)
        """,
    )
    run = project.python("enqueue.py")
    assert run.out.splitlines() == [
        "jobs.Greet",
        (
            "jobs.Greet: missing a required argument: 'name'; perform takes "
            "(name: str, times: int = 1) -> None"
        ),
    ], run.err


def test_get_of_a_job_that_is_not_there(adapter: Adapter) -> None:
    for job_id in (1, 0, -5, 2**70):
        with pytest.raises(JobNotFound, match=f"no job {job_id}"):
            jobqueue.get(job_id)


def test_a_queue_object_of_its_own() -> None:
    queue = JobQueue(MemoryAdapter())
    record = queue.enqueue(Note, "x")
    again = queue.enqueue(Note.set(wait=60), what="y")
    assert queue.enqueue(note).queue == "functions"
    assert queue.adapter.get(record.id) == record
    assert again.run_at > record.run_at
    with pytest.raises(InvalidArguments):
        queue.enqueue(Note, 1)


def test_settings_in_code(tmp_path: Any) -> None:
    try:
        jobqueue.configure(database_url=f"sqlite:///{tmp_path}/own.sqlite3", max_attempts=3)
        Note.adapter.migrate()
        assert Note.perform_later().max_attempts == 3
        with pytest.raises(jobqueue.ConfigurationError, match="'colour' is no setting"):
            jobqueue.configure(colour="red")
    finally:
        Note.adapter.close()
        from jobqueue.defaults import default_configuration

        default_configuration.reset()
