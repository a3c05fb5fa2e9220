"""Two releases of an application side by side: what one does not know is left for the other."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Job, JobState
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.config import load_settings
from jobqueue.defaults import default_configuration
from jobqueue.job import Registry, registry
from jobqueue.perform.executor import Executor
from jobqueue.perform.foreign_jobs import ROLLOUT
from jobqueue.records import Claim, Failed, NewJob, Released
from jobqueue.unknown_handlers import MOST_NAMES, UnknownHandlers
from jobqueue.worker.worker import Worker
from tests.conftest import DATABASES, wait_until

SOON = 2.0
performed: list[str] = []
has_performed = threading.Condition()


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    performed.clear()
    yield
    default_configuration.reset()


def note(what: str) -> None:
    with has_performed:
        performed.append(what)
        has_performed.notify_all()


def wait_for(number: int, seconds: float = 30) -> bool:
    with has_performed:
        return has_performed.wait_for(lambda: len(performed) >= number, seconds)


class Known(Job):
    """Both releases have it."""

    name = "known"

    def perform(self, what: str) -> None:
        note(what)


class Added(Job):
    """Only the new release has it."""

    name = "added"

    def perform(self, what: str) -> None:
        note(what)


def greet_before(self: Job, who: str) -> None:
    note(f"hello {who}")


def greet_now(self: Job, who: str, language: str = "en") -> None:
    note(f"{language}: hello {who}")


def release_with(*, added: bool, greet: Callable[..., object]) -> Registry:
    """The job classes of a release: that of `greet` has another signature in each."""
    classes = Registry()
    classes.add(Known)
    if added:
        classes.add(Added)
    before = registry._by_name.pop("greet", None)
    namespace = {"__module__": __name__, "name": "greet", "perform": greet, "keep_failed": True}
    classes.add(type("Greet", (Job,), namespace))
    registry._by_name.pop("greet")
    if before is not None:
        registry._by_name["greet"] = before
    return classes


OLD = release_with(added=False, greet=greet_before)
NEW = release_with(added=True, greet=greet_now)


@contextmanager
def working(adapter: Adapter, classes: Registry, **settings: Any) -> Iterator[Worker]:
    loaded = load_settings({"poll_interval": 0.2, **settings})
    worker = Worker(adapter, classes, loaded, default_configuration.logger)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


def enqueue(adapter: Adapter, handler: str, **args: Any) -> int:
    new = NewJob(handler, json.dumps(args), "default", 50, 24)
    return adapter.enqueue([new])[0].id


# --- a class that one release does not have ------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_new_class_is_performed_within_a_second_or_two(
    adapter: Adapter, concurrency: int, caplog: pytest.LogCaptureFixture
) -> None:
    with working(adapter, OLD, concurrency=concurrency):
        job_id = enqueue(adapter, "added", what="the first")
        wait_until(
            lambda: "is known to this worker" in str(_record(adapter, job_id).last_error),
            "the old release to meet the job",
        )
        begun = time.monotonic()
        with working(adapter, NEW, concurrency=concurrency):
            assert wait_for(1)
            assert time.monotonic() - begun < SOON
            for number in range(2, 12):
                begun = time.monotonic()
                enqueue(adapter, "added", what=str(number))
                assert wait_for(number)
                assert time.monotonic() - begun < SOON
    given_back = [r for r in caplog.records if r.__dict__.get("event") == "job_released"]
    assert 1 <= len(given_back) <= 3


def test_a_job_that_was_met_before_keeps_its_attempts_and_place(adapter: Adapter) -> None:
    job_id = enqueue(adapter, "added", what="x")
    before = _record(adapter, job_id)
    with working(adapter, OLD):
        wait_until(
            lambda: _record(adapter, job_id).last_error is not None,
            "the old release to meet the job",
        )
        enqueue(adapter, "known", what="known")
        assert wait_for(1)
    after = _record(adapter, job_id)
    assert (after.state, after.attempts, after.run_at) == (JobState.READY, 0, before.run_at)


@pytest.mark.parametrize("queues", [None, ("default",), ("default", "other")])
def test_many_of_an_unknown_class_hold_up_nothing(
    adapter: Adapter, queues: tuple[str, ...] | None
) -> None:
    unknown = NewJob("added", '{"what": "x"}', "default", 50, 24)
    adapter.enqueue([unknown] * 20_000)
    begun = time.monotonic()
    enqueue(adapter, "known", what="known")
    with working(adapter, OLD, queues=queues):
        assert wait_for(1)
        took = time.monotonic() - begun
        assert took < 5
        for number in range(2, 22):
            enqueue(adapter, "known", what="known")
            assert wait_for(number)
        assert time.monotonic() - begun - took < 10


@pytest.mark.parametrize("attempts", [1, 24])
def test_many_of_an_unknown_class_do_not_hold_up_a_worker_that_stops_when_idle(
    adapter: Adapter, attempts: int
) -> None:
    """A job of a single attempt is claimed for a free slot only, one in a turn."""
    unknown = NewJob("added", '{"what": "x"}', "default", 50, attempts)
    adapter.enqueue([unknown] * 20_000)
    adapter.enqueue([replace(unknown, queue="paused")])
    adapter.pause_queues(["paused"])
    enqueue(adapter, "known", what="known")
    settings = load_settings({"poll_interval": 0.05})
    worker = Worker(adapter, OLD, settings, default_configuration.logger, until_idle=True)
    tally = worker.run()
    assert (tally.succeeded, performed) == (1, ["known"])
    assert tally.released < 10
    assert adapter.count_by_state()[JobState.READY] == 20_001


def test_strangers_are_met_again_after_a_while() -> None:
    now = 0.0
    known: set[str] = set()
    strangers = UnknownHandlers(known.__contains__, lambda: now)
    assert strangers.to_pass_over() == ()
    pauses = []
    for _ in range(8):
        assert strangers.meet("b")
        begun = now
        while "b" in strangers.to_pass_over():
            now += 1
        pauses.append(now - begun)
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert all(strangers.meet(name) for name in "cd")
    known.add("d")
    assert strangers.to_pass_over() == ("c",)


def test_a_bounded_number_of_them_is_remembered() -> None:
    now = 0.0
    strangers = UnknownHandlers(lambda name: False, lambda: now)
    names = [f"n{number}" for number in range(MOST_NAMES + 1)]
    assert [strangers.meet(name) for name in names] == [True] * MOST_NAMES + [False]
    assert len(strangers.to_pass_over()) == MOST_NAMES
    now += 11
    assert strangers.meet(names[-1])


def _record(adapter: Adapter, job_id: int) -> Any:
    found = adapter.get(job_id)
    assert found is not None
    return found


# --- arguments that one release does not take ----------------------------------------------------


@pytest.mark.parametrize("adapter", DATABASES, indirect=True)
def test_many_whose_arguments_do_not_fit_are_not_read_one_by_one(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(50):
        enqueue(adapter, "greet", who="Ann", language="de")
    reads: list[int] = []
    monkeypatch.setattr(adapter, "get", reads.append)
    worker = Worker(adapter, OLD, load_settings({}), default_configuration.logger, until_idle=True)
    assert worker.run().released == 50
    assert reads == []


def test_a_new_parameter_is_left_for_the_release_that_has_it(adapter: Adapter) -> None:
    # The old release looks far more often, and yet leaves it to the other.
    with working(adapter, OLD, poll_interval=0.02):
        job_id = enqueue(adapter, "greet", who="Ann", language="de")
        wait_until(
            lambda: _record(adapter, job_id).last_error is not None,
            "the old release to meet the job",
        )
        left = _record(adapter, job_id)
        assert left.state is not JobState.FAILED
        assert "(who, language)" in left.last_error
        assert "(self, who" not in left.last_error
        assert "(who: str)" in left.last_error
        with working(adapter, NEW, poll_interval=1.0):
            assert wait_for(1)
    assert performed == ["de: hello Ann"]


def test_others_have_the_first_look_at_what_does_not_fit() -> None:
    now = 0.0
    left = UnknownHandlers(lambda name: True, lambda: now)
    left.leave_the_first_look("greet", 1)
    left.leave_the_first_look("greet", 1.5)
    for at, passed_over in ((0.9, ()), (1.0, ("greet",)), (2.9, ("greet",)), (3.0, ())):
        now = at
        assert left.to_pass_over() == passed_over
    left.leave_the_first_look("greet", 1)
    assert left.to_pass_over() == ()
    now = 4.5
    assert left.to_pass_over() == ("greet",)


def test_what_fits_is_performed_beside_what_does_not(adapter: Adapter) -> None:
    """The old release is alone: it leaves some jobs of a class, and performs the others of it."""
    for number in range(3):
        enqueue(adapter, "greet", who=f"Ann {number}", language="de")
    with working(adapter, OLD):
        for number in range(3):
            enqueue(adapter, "greet", who=f"Bob {number}")
            assert wait_for(number + 1)


def test_a_parameter_that_is_gone_is_left_for_the_release_that_needs_it(adapter: Adapter) -> None:
    executor = Executor(OLD, load_settings({}), adapter=adapter)
    enqueue(adapter, "greet")
    (claimed,) = adapter.claim(Claim("w", 1, 1, 1))
    outcome = executor.execute(claimed)
    assert isinstance(outcome, Released)
    assert "missing a required argument: 'who'" in str(outcome.error)
    assert timedelta(seconds=1) <= outcome.delay <= timedelta(seconds=2)


@pytest.mark.parametrize("args", [{"who": "Ann", "language": "de"}, {}])
def test_it_fails_when_a_rollout_is_over(
    clocked_adapter: Adapter, clock: ManualClock, args: dict[str, str]
) -> None:
    adapter = clocked_adapter
    clock.advance(5)
    job_id = enqueue(adapter, "greet", **args)
    clock.advance(2 * ROLLOUT.total_seconds())  # that it is old does not count
    began, delays = clock.now(), []
    outcome: Any = None
    for token in range(1, 500):
        # Any worker may come by, also one that has just been started.
        executor = Executor(OLD, load_settings({}), adapter=adapter)
        (claimed,) = adapter.claim(Claim("w", token, 1, 1))
        outcome = executor.execute(claimed)
        assert adapter.settle([outcome]) == []
        if isinstance(outcome, Failed):
            break
        assert isinstance(outcome, Released)
        assert _record(adapter, job_id).attempts == 0
        delays.append(outcome.delay.total_seconds())
        clock.advance(delays[-1] + 0.001)  # SQLite has milliseconds
    assert isinstance(outcome, Failed)
    assert ROLLOUT <= clock.now() - began <= ROLLOUT + timedelta(seconds=70)
    assert 1 <= delays[0] <= 2
    assert all(delay <= 70 for delay in delays)
    failed = _record(adapter, job_id)
    assert failed.state is JobState.FAILED
    given = "(who, language)" if args else "()"
    assert given in failed.last_error
    assert "(who: str)" in failed.last_error
    # Retried by hand, it has its time again.
    failed.retry()
    (claimed,) = adapter.claim(Claim("w", 999, 1, 1))
    assert isinstance(Executor(OLD, load_settings({}), adapter=adapter).execute(claimed), Released)


def test_another_failure_in_between_begins_the_time_anew(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    adapter = clocked_adapter
    executor = Executor(OLD, load_settings({}), adapter=adapter)
    enqueue(adapter, "greet", who="Ann", language="de")
    (claimed,) = adapter.claim(Claim("w", 1, 1, 1))
    adapter.settle([executor.execute(claimed)])
    clock.advance(ROLLOUT.total_seconds())
    (claimed,) = adapter.claim(Claim("w", 2, 1, 1))
    adapter.settle([Released(claimed, error="ValueError: of the release that can perform it")])
    (claimed,) = adapter.claim(Claim("w", 3, 1, 1))
    assert isinstance(executor.execute(claimed), Released)


def test_an_async_job_is_left_likewise(adapter: Adapter) -> None:
    async def greet_async(self: Job, who: str) -> None: ...

    executor = Executor(
        release_with(added=False, greet=greet_async), load_settings({}), adapter=adapter
    )
    enqueue(adapter, "greet", who="Ann", language="de")
    (claimed,) = adapter.claim(Claim("w", 1, 1, 1))
    assert isinstance(asyncio.run(executor.execute_async(claimed)), Released)


def test_what_could_never_fit_fails_at_once(adapter: Adapter) -> None:
    executor = Executor(OLD, load_settings({}), adapter=adapter)
    for args in ("[]", "{", '{"who": 3}'):
        enqueue(adapter, "greet")
        (claimed,) = adapter.claim(Claim("w", 1, 1, 1))
        assert isinstance(executor.execute(replace(claimed, args=args)), Failed)
        adapter.settle([Failed(claimed)])
