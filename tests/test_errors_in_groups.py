"""Errors in groups: workers add up what their jobs raise, and those who rescue what was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from jobqueue import Constant, Discard, Job, JobQueue, MemoryAdapter, Retry
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.errors import DatabaseError, DatabaseRefused, DatabaseUnavailable
from jobqueue.fingerprints import OTHER, WORKER_GONE, group_of
from jobqueue.maintenance.error_counts import MOST_GROUPS, ErrorCounts
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.records import (
    ChargedJob,
    Claim,
    CrashedJob,
    ErrorFilter,
    ErrorGroupRecord,
    NewErrors,
    NewJob,
    NewWorker,
)
from jobqueue.redaction import MASK
from jobqueue.views.jobs import attempt_values, job_view

WaitFor = Callable[[Callable[[], bool], str], None]
HERE = "tests/test_errors_in_groups.py"
LEASE = timedelta(seconds=30)


class Faulty(Job):
    name = "groups.Faulty"
    retry = Constant(3600)
    max_attempts = 2
    redact = ("card",)

    def perform(self, how: str, card: str = "none") -> None:
        if how == "retry":
            raise Retry(in_=3600)
        if how == "discard":
            raise Discard("unwanted")
        if how == "lookup":
            raise KeyError(how)
        if how != "succeed":
            refuse(f"user 42 with card {card}: {how!r}")


class FaultyOnce(Faulty):
    name = "groups.FaultyOnce"
    max_attempts = 1


def refuse(message: str) -> None:
    raise ValueError(message)


def groups_of(adapter: Adapter) -> list[ErrorGroupRecord]:
    """All groups, with all that is known of them."""
    page = adapter.error_groups(ErrorFilter(), 1_000)
    found = [adapter.error_group(record.key) for record in page.groups]
    return [record for record in found if record is not None]


def groups(adapter: Adapter) -> dict[str, ErrorGroupRecord]:
    """The groups by their messages."""
    return {record.group.message: record for record in groups_of(adapter)}


def numbers(adapter: Adapter) -> dict[str, int]:
    return {
        message: sum(hour.number for hour in record.hours)
        for message, record in groups(adapter).items()
    }


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter)


# --- what workers see ----------------------------------------------------------------------------


def test_a_worker_stores_the_errors_of_its_jobs_in_groups(
    adapter: Adapter, queue: JobQueue
) -> None:
    Faulty.perform_all_later([("a", "4711-12"), ("b", "hunter2"), ("lookup",), ("succeed",)])
    *_, last = FaultyOnce.perform_all_later([(how, "secret") for how in "abc"])
    queue.work_off()
    refused = f"user <number> with card {MASK}: <text>"
    found = {(r.group.handler, r.group.message): r for r in groups_of(adapter)}
    assert {key: r.hours[0].number for key, r in found.items()} == {
        ("groups.Faulty", refused): 2,
        ("groups.Faulty", "<text>"): 1,
        ("groups.FaultyOnce", refused): 3,
    }
    record = found["groups.FaultyOnce", refused]
    assert (record.group.kind, record.group.place) == ("ValueError", f"{HERE}:refuse")
    assert record.last_job_id == last.id
    assert record.sample.endswith(f"ValueError: user 42 with card {MASK}: 'c'")
    assert "hunter2" not in repr(found)


def test_what_a_job_asks_for_is_no_error(adapter: Adapter, queue: JobQueue) -> None:
    Faulty.perform_all_later([("retry",), ("discard",), ("succeed",)])
    queue.work_off()
    assert groups_of(adapter) == []


def test_arguments_that_do_not_fit_are_an_error(adapter: Adapter, queue: JobQueue) -> None:
    adapter.enqueue([NewJob("groups.Faulty", '{"how": 7, "card": "hunter2"}', "default", 50, 5)])
    adapter.enqueue([NewJob("groups.Faulty", '{"how": 8, "card": "secret"}', "default", 50, 5)])
    queue.work_off()
    assert "hunter2" not in repr(groups_of(adapter))


def test_a_running_worker_stores_the_first_error_at_once(
    adapter: Adapter, queue: JobQueue, wait_for: WaitFor
) -> None:
    with queue.running():
        Faulty.perform_later("a")
        wait_for(lambda: len(groups_of(adapter)) == 1, "the first error")
        job = FaultyOnce.perform_later("b")
        wait_for(lambda: job.refresh().state == "failed", "the second error")
        assert len(groups_of(adapter)) == 1
    assert len(groups_of(adapter)) == 2


def test_a_thousand_errors_of_five_kinds_are_five_groups(adapter: Adapter, queue: JobQueue) -> None:
    class Kinds(Job):
        name = "groups.Kinds"
        max_attempts = 1

        def perform(self, number: int) -> None:
            kinds: list[type[Exception]] = [ValueError, OSError, TypeError, RuntimeError]
            if number % 5 == 4:
                refuse(f"number {number} is no good")
            raise kinds[number % 5](f"order {number} of user{number}@example.com failed")

    Kinds.perform_all_later([(number,) for number in range(1_000)])
    queue.work_off()
    assert sorted(sum(h.number for h in record.hours) for record in groups_of(adapter)) == [200] * 5
    assert {(record.group.kind, record.group.message) for record in groups_of(adapter)} == {
        ("ValueError", "order <number> of <email> failed"),
        ("OSError", "order <number> of <email> failed"),
        ("TypeError", "order <number> of <email> failed"),
        ("RuntimeError", "order <number> of <email> failed"),
        ("ValueError", "number <number> is no good"),
    }


# --- what was lost with a worker -----------------------------------------------------------------


def held_by(adapter: Adapter, worker_id: str, number: int) -> list[CrashedJob]:
    adapter.register_worker(NewWorker(worker_id, "w", "h", 1, None, number, LEASE))
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 1 + n % 2) for n in range(number)])
    claimed = adapter.claim(Claim(worker_id, 7, number, number))
    return [CrashedJob(job.id, job.token, "the worker process a.1 died") for job in claimed]


def test_a_job_is_charged_once_when_its_process_has_died(adapter: Adapter) -> None:
    first, second, given_back = held_by(adapter, "worker", 3)
    rescue = adapter.rescue_crashed("worker", [first, second])
    assert sorted(rescue.charged, key=lambda job: job.id) == [
        ChargedJob(job.id, "Work", "the worker process a.1 died") for job in (first, second)
    ]
    assert given_back.id in rescue.released
    assert adapter.rescue_crashed("worker", [first, second]).charged == ()


def test_jobs_are_charged_once_when_their_worker_is_lost(adapter: Adapter) -> None:
    held = held_by(adapter, "worker", 3)
    [seen] = adapter.workers()
    rescues = [adapter.rescue(seen, "it is lost") for _ in range(2)]
    charged = [job for rescue in rescues if rescue for job in rescue.charged]
    assert sorted(job.id for job in charged) == [job.id for job in held]
    assert {job.error for job in charged} == {"it is lost"}


def test_jobs_of_a_worker_that_nobody_knows_are_charged_once(adapter: Adapter) -> None:
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    adapter.claim(Claim("nobody", 7, 1, 1))
    now = [0.0]
    rescuer = Rescuer(adapter, LEASE, lambda: now[0])
    rescuer.rescue()
    now[0] = 100.0
    [rescue] = rescuer.rescue()
    assert [job.handler for job in rescue.charged] == ["Work"]
    assert rescuer.rescue() == []


def test_jobs_that_are_given_back_are_not_charged(adapter: Adapter) -> None:
    held_by(adapter, "worker", 2)
    assert adapter.release_strays("worker", ()).charged == ()
    held_by(adapter, "worker 2", 2)
    assert adapter.unregister_worker("worker 2").charged == ()


def test_who_rescues_counts_what_was_lost(adapter: Adapter, wait_for: WaitFor) -> None:
    """A worker without a supervisor rescues the jobs of others."""
    held_by(adapter, "worker", 2)
    [seen] = adapter.workers()
    adapter.rescue(seen, "lost once, and counted by nobody")
    claimed = adapter.claim(Claim("nobody", 8, 2, 2))
    queue = JobQueue(adapter, lease=timedelta(seconds=0.2))
    with queue.running():
        wait_for(lambda: bool(groups_of(adapter)), "the errors of the lost jobs")
    [record] = groups_of(adapter)
    assert (record.group.handler, record.group.kind) == ("Work", WORKER_GONE)
    assert record.hours[0].number == len(claimed)


# --- adding up -----------------------------------------------------------------------------------


class Picky(MemoryAdapter):
    """An adapter that cannot be written to now, or takes only ASCII."""

    error: DatabaseError | None = None
    only_ascii = False
    locked: tuple[str, ...] = ()

    def add_errors(self, errors: Sequence[NewErrors], release: str | None = None) -> set[str]:
        if self.error is not None:
            raise self.error
        if self.only_ascii and not repr([repr(one) for one in errors]).isascii():
            raise DatabaseRefused("what is that")
        locked = {new.group.key for new in errors if new.group.message in self.locked}
        free = [new for new in errors if new.group.key not in locked]
        return locked | super().add_errors(free, release)


@pytest.fixture
def picky(clock: ManualClock) -> Picky:
    return Picky(clock=clock)


def note(counts: ErrorCounts, message: str, job_id: int = 1) -> None:
    counts.note(group_of("Work", "ValueError", None, message), f"ValueError: {message}", job_id)


def test_times_are_those_of_the_errors(picky: Picky, clock: ManualClock) -> None:
    now = [100.0]
    counts = ErrorCounts(picky, logging.getLogger(), "1.2", lambda: now[0])
    for seconds in (0, 10, 20):
        now[0] = 100.0 + seconds
        note(counts, f"no {seconds}", seconds)
    now[0] = 150.0
    counts.flush()
    [record] = groups(picky).values()
    assert record.last_seen_at == clock.now() - timedelta(seconds=30)
    assert record.first_seen_at == clock.now() - timedelta(seconds=50)
    assert (record.sample, record.last_job_id, record.first_release) == (
        "ValueError: no 20",
        20,
        "1.2",
    )


def test_what_the_database_did_not_take_is_stored_later(picky: Picky, clock: ManualClock) -> None:
    now = [100.0]
    counts = ErrorCounts(picky, logging.getLogger(), None, lambda: now[0])
    note(counts, "one")
    picky.error = DatabaseUnavailable("away")
    counts.flush()
    now[0] = 160.0
    note(counts, "one")
    note(counts, "two")
    picky.error = None
    counts.flush()
    counts.flush()
    assert numbers(picky) == {"one": 2, "two": 1}
    assert groups(picky)["one"].first_seen_at == clock.now() - timedelta(seconds=60)


def test_a_group_that_somebody_keeps_locked_is_stored_later(picky: Picky) -> None:
    counts = ErrorCounts(picky, logging.getLogger())
    picky.locked = ("one",)
    for message in ("one", "two", "one"):
        note(counts, message)
    counts.flush()
    assert numbers(picky) == {"two": 1}
    picky.locked = ()
    note(counts, "one")
    counts.flush()
    assert numbers(picky) == {"one": 3, "two": 1}


def test_what_the_database_refuses_is_said(picky: Picky, caplog: pytest.LogCaptureFixture) -> None:
    counts = ErrorCounts(picky, logging.getLogger("jobqueue"))
    note(counts, "one")
    picky.error = DatabaseError("no")
    counts.flush()
    assert "the errors of jobs could not be counted: no" in caplog.text


def test_a_database_of_another_encoding_takes_them_in_ascii(picky: Picky) -> None:
    counts = ErrorCounts(picky, logging.getLogger())
    picky.only_ascii = True
    note(counts, "\U0001f4a5")
    note(counts, "plain")
    counts.flush()
    assert numbers(picky) == {"\\U0001f4a5": 1, "plain": 1}
    assert (
        groups(picky)["\\U0001f4a5"].key == group_of("Work", "ValueError", None, "\U0001f4a5").key
    )


def test_more_groups_than_there_is_room_for_are_in_one_named_other(picky: Picky) -> None:
    counts = ErrorCounts(picky, logging.getLogger())
    words = [f"{a}{b}" for a in "abcdefghijklmnopq" for b in "abcdefghijklmnopq"]
    for word in words:
        note(counts, word)
    note(counts, words[0])
    counts.flush()
    found = numbers(picky)
    assert len(found) == MOST_GROUPS + 1
    assert found["other"] == len(words) - MOST_GROUPS
    assert found[words[0]] == 2
    assert groups(picky)["other"].group == OTHER
    note(counts, words[-1])
    counts.flush()
    assert numbers(picky)[words[-1]] == 1


def test_what_was_put_back_leaves_no_more_room(picky: Picky) -> None:
    counts = ErrorCounts(picky, logging.getLogger())
    picky.error = DatabaseUnavailable("away")
    words = [f"{a}{b}" for a in "abcdefghijklmnopq" for b in "abcdefghijklmnopq"]
    for word in words:
        note(counts, word)
        if word.endswith("q"):
            counts.flush()
    picky.error = None
    counts.flush()
    assert len(numbers(picky)) <= MOST_GROUPS + 1
    assert sum(numbers(picky).values()) == len(words)


# --- how long they are kept ----------------------------------------------------------------------


def test_groups_stay_as_long_as_the_setting_says(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    counts = ErrorCounts(clocked_adapter, logging.getLogger())
    note(counts, "old")
    counts.flush()
    clock.advance(timedelta(hours=30))
    note(counts, "new")
    counts.flush()
    JobQueue(clocked_adapter).work_off()
    assert set(groups(clocked_adapter)) == {"old", "new"}
    JobQueue(clocked_adapter, keep_errors=timedelta(days=1)).work_off()
    assert set(groups(clocked_adapter)) == {"new"}


class Declines(Job):
    name = "groups.Declines"
    redact = ("card",)
    max_attempts = 1

    def perform(self, order: int, card: str = "4711-hush") -> None:
        self.progress(0.5, f"charging {card}")
        raise ValueError(f"card {card} is declined")


def test_the_default_of_a_redacted_argument_is_as_secret_as_a_value(adapter: Adapter) -> None:
    Job.config(adapter=adapter)
    job_id = Declines.perform_later(1).id
    JobQueue(adapter).work_off()
    job = adapter.get(job_id)
    assert job is not None
    assert "card *** is declined" in (job.last_error or "")
    assert "hush" not in str(job_view(job).values())
    assert "hush" not in str(list(map(attempt_values, adapter.attempts(job_id))))
