"""Hooks: around attempts, of a class and for all jobs, and the events of jobs and workers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import jobqueue
from jobqueue import (
    ConfigurationError,
    Constant,
    Discard,
    Hooks,
    InvalidJob,
    Job,
    JobQueue,
    JobRecord,
    JobState,
    JobTimeout,
    Retry,
    begin_immediate,
    job,
)
from jobqueue.adapters import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.hook_calls import attempt_hooks
from jobqueue.records import ClaimedJob, JobFilter, NewWorker
from jobqueue.testing import inbox
from tests.conftest import Project
from tests.process.conftest import WaitFor

seen: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    seen.clear()
    yield
    default_configuration.configure(hooks=[])


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter)


class Watched(Job):
    max_attempts = 2
    retry = Constant(0)

    def before_perform(self, user_id: int) -> None:
        seen.append(("before", user_id, self.context.attempt))

    def around_perform(self, user_id: int) -> Iterator[None]:
        seen.append(("around", user_id))
        yield
        seen.append(("back", user_id))

    def perform(self, user_id: int, ending: str = "well") -> str:
        seen.append(("perform", user_id))
        if ending == "badly":
            raise ValueError(user_id)
        if ending == "later":
            raise Retry(in_=3600)
        if ending == "never":
            raise Discard("why")
        return f"done {user_id}"

    def after_perform(self, ending: str) -> None:
        seen.append(("after", ending))

    def after_success(self, user_id: int, result: str) -> None:
        seen.append(("success", user_id, result))

    def after_failure(self, user_id: int, error: BaseException) -> None:
        seen.append(("failure", user_id, repr(error)))


class WatchedAsync(Job):
    async def before_perform(self, user_id: int) -> None:
        await asyncio.sleep(0)
        seen.append(("before", user_id, self.context.attempt))

    async def around_perform(self, user_id: int) -> AsyncIterator[None]:
        seen.append(("around", user_id))
        await asyncio.sleep(0)
        yield
        seen.append(("back", user_id))

    async def perform(self, user_id: int, ending: str = "well") -> str:
        seen.append(("perform", user_id))
        await asyncio.sleep(0)
        if ending == "badly":
            raise ValueError(user_id)
        return f"done {user_id}"

    def after_perform(self, ending: str) -> None:
        seen.append(("after", ending))

    async def after_success(self, user_id: int, result: str) -> None:
        await asyncio.sleep(0)
        seen.append(("success", user_id, result))

    async def after_failure(self, user_id: int, error: BaseException) -> None:
        await asyncio.sleep(0)
        seen.append(("failure", user_id, repr(error)))


BEGUN = [("before", 7, 1), ("around", 7), ("perform", 7)]
WELL = [*BEGUN, ("back", 7), ("after", "well"), ("success", 7, "done 7")]
BADLY = [*BEGUN, ("after", "badly"), ("failure", 7, "ValueError(7)")]


# --- the methods of a class ----------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("job_class", [Watched, WatchedAsync])
def test_before_after_and_around_a_success(
    adapter: Adapter, job_class: Any, concurrency: int
) -> None:
    job_class.perform_later(7)
    JobQueue(adapter, concurrency=concurrency).work_off()
    assert seen == WELL


@pytest.mark.parametrize("job_class", [Watched, WatchedAsync])
def test_after_failure_gets_the_error(queue: JobQueue, job_class: Any) -> None:
    job_class.set().perform_later(7, "badly")
    job_class.max_attempts = 1
    queue.work_off()
    assert seen[: len(BADLY)] == BADLY


def test_every_attempt_has_its_hooks(queue: JobQueue) -> None:
    Watched.max_attempts = 2
    Watched.perform_later(1, "badly")
    queue.work_off()
    assert [entry[2] for entry in seen if entry[0] == "before"] == [1, 2]
    assert [entry[0] for entry in seen].count("failure") == 2


@pytest.mark.parametrize("ending", ["later", "never"])
def test_retry_and_discard_are_no_failures(queue: JobQueue, ending: str) -> None:
    Watched.perform_later(7, ending)
    queue.work_off()
    assert seen == [*BEGUN, ("after", ending)]


class Refused(Job):
    max_attempts = 2
    retry = Constant(0)

    def before_perform(self, how: str) -> None:
        if how == "discard":
            raise Discard("not now")
        raise PermissionError("closed")

    def perform(self, how: str) -> None:
        seen.append("performed")

    def after_perform(self) -> None:
        seen.append("after")

    def after_failure(self, error: BaseException) -> None:
        seen.append(str(error))


def test_an_error_in_before_perform_fails_the_attempt(queue: JobQueue) -> None:
    enqueued = Refused.perform_later("error")
    tally = queue.work_off()
    assert seen == ["closed", "closed"]
    assert (tally.retried, tally.failed) == (1, 1)
    record = jobqueue.get(enqueued.id)
    assert record.state is JobState.FAILED
    assert "PermissionError: closed" in str(record.last_error)


def test_before_perform_can_discard_the_job(queue: JobQueue) -> None:
    enqueued = Refused.perform_later("discard")
    queue.work_off()
    assert jobqueue.get(enqueued.id).state is JobState.CANCELLED
    assert seen == []


class Clumsy(Job):
    def perform(self) -> None:
        seen.append("performed")

    def after_perform(self) -> None:
        raise RuntimeError("in after_perform")

    def after_success(self) -> None:
        raise RuntimeError("in after_success")


def test_an_error_in_an_observer_is_logged_and_harms_nothing(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    Clumsy.perform_later()
    assert queue.work_off().succeeded == 1
    said = [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "hook_failed"]
    assert said == [
        "the hook Clumsy.after_perform failed: RuntimeError: in after_perform",
        "the hook Clumsy.after_success failed: RuntimeError: in after_success",
    ]


class Arounds(Job):
    max_attempts = 1

    def around_perform(self, how: str) -> Any:
        if how == "context":
            return self.noting()
        if how == "nothing":
            return None
        if how == "swallow":
            return self.swallowing()
        if how == "wrong":
            return "?"
        return nullcontext()

    def noting(self) -> Iterator[None]:
        seen.append("in")
        try:
            yield
        finally:
            seen.append("out")

    def swallowing(self) -> Iterator[None]:
        try:
            yield
        except ValueError:
            seen.append("swallowed")

    def perform(self, how: str) -> None:
        seen.append("performed")
        if how == "swallow":
            raise ValueError(how)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("context", ["in", "performed", "out"]),
        ("nothing", ["performed"]),
        ("null", ["performed"]),
        ("swallow", ["performed", "swallowed"]),
    ],
)
def test_what_around_perform_may_return(queue: JobQueue, how: str, what: list[str]) -> None:
    Arounds.perform_later(how)
    assert queue.work_off().succeeded == 1
    assert seen == what


def test_what_it_may_not_return(queue: JobQueue) -> None:
    enqueued = Arounds.perform_later("wrong")
    queue.work_off()
    assert "expected one `yield` in it" in str(jobqueue.get(enqueued.id).last_error)
    assert seen == []


class Everything(Job):
    def before_perform(self, *args: Any, **kwargs: Any) -> None:
        seen.append((args, kwargs))

    def perform(self, first: int, *rest: int, flag: bool = False, **options: int) -> None:
        pass

    def after_perform(self, first: int, *, flag: bool, **others: Any) -> None:
        seen.append((first, flag, others))

    def after_success(self) -> None:
        seen.append("success")


def test_a_hook_gets_the_arguments_that_it_names(queue: JobQueue) -> None:
    Everything.perform_later(1, 2, 3, flag=True, size=4)
    queue.work_off()
    assert seen == [
        ((1, 2, 3), {"flag": True, "size": 4}),
        (1, True, {"rest": (2, 3), "size": 4}),
        "success",
    ]


class ErrorFirst(Job):
    max_attempts = 1

    def perform(self, number: int) -> None:
        raise ValueError(number)

    def after_failure(self, error: BaseException, *args: Any, **kwargs: Any) -> None:
        seen.append((str(error), args, kwargs))


def test_with_star_args_the_error_comes_first(queue: JobQueue) -> None:
    ErrorFirst.perform_later(7)
    queue.work_off()
    assert seen == [("7", (7,), {})]


def test_a_hook_that_cannot_be_called_is_refused_at_definition() -> None:
    with pytest.raises(InvalidJob, match=r"before_perform has a parameter 'usr'; .* user_id$"):

        class Misspelt(Job):
            def perform(self, user_id: int) -> None: ...
            def before_perform(self, usr: int) -> None: ...

    with pytest.raises(InvalidJob, match="after_success is async, and perform is not"):

        class Mixed(Job):
            def perform(self) -> None: ...
            async def after_success(self) -> None: ...


class TooSlow(Job):
    max_attempts = 1
    max_runtime = 0.05

    async def perform(self) -> None:
        await asyncio.sleep(60)

    async def after_failure(self, error: BaseException) -> None:
        await asyncio.sleep(0)
        seen.append(isinstance(error, JobTimeout))


def test_a_timeout_is_a_failure(queue: JobQueue) -> None:
    TooSlow.perform_later()
    queue.work_off()
    assert seen == [True]


def test_an_error_is_shown_from_the_jobs_own_code_on(queue: JobQueue) -> None:
    Watched.max_attempts = 1
    enqueued = Watched.perform_later(7, "badly")
    queue.work_off()
    lines = str(jobqueue.get(enqueued.id).last_error).splitlines()
    assert f'File "{__file__}"' in lines[1]
    assert lines[1].endswith("in perform")


def test_perform_now_has_them_too() -> None:
    assert Watched.perform_now(7) == "done 7"
    assert WatchedAsync.perform_now(7) == "done 7"
    assert seen == WELL * 2
    with pytest.raises(ValueError, match="7"):
        Watched.perform_now(7, "badly")
    assert seen[-1] == ("failure", 7, "ValueError(7)")


# --- for all jobs --------------------------------------------------------------------------------


class Everybody(Hooks):
    def before_perform(self, job: Job, args: Mapping[str, Any]) -> None:
        seen.append(("before", type(job).__name__, dict(args)))

    def around_perform(self, job: Job, args: Mapping[str, Any]) -> AbstractContextManager[None]:
        return nullcontext()

    def after_perform(self, job: Job, args: Mapping[str, Any]) -> None:
        seen.append(("after", job.context.job_id))

    def after_success(self, job: Job, args: Mapping[str, Any], result: Any) -> None:
        seen.append(("success", result))

    def after_failure(self, job: Job, args: Mapping[str, Any], error: BaseException) -> None:
        seen.append(("failure", str(error)))

    def job_enqueued(self, job: JobRecord) -> None:
        seen.append(("enqueued", job.handler))

    def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
        seen.append(("succeeded", job.id))

    def job_retried(self, job: ClaimedJob, error: str, delay: timedelta) -> None:
        seen.append(("retried", delay.total_seconds()))

    def job_failed(self, job: ClaimedJob | JobRecord, error: str) -> None:
        seen.append(("failed", job.id, error.splitlines()[-1]))

    def job_discarded(self, job: ClaimedJob, reason: str) -> None:
        seen.append(("discarded", reason))

    def worker_ready(self, worker: NewWorker) -> None:
        seen.append(("ready", worker.concurrency))

    def worker_stopping(self, worker: NewWorker) -> None:
        seen.append(("stopping", worker.id.count(":")))

    def worker_stopped(self, worker: NewWorker) -> None:
        seen.append(("stopped", worker.queues))


class Unhooked(Job):
    max_attempts = 2
    retry = Constant(timedelta(0))

    def perform(self, how: str = "well") -> str:
        if how == "discard":
            raise Discard("enough")
        if how != "well":
            raise ValueError(how)
        return how


@job
async def shout(what: str) -> str:
    return what.upper()


EVENTS_OF_A_WORKER = [("ready", 1), ("stopping", 2), ("stopped", None)]


@pytest.mark.parametrize("how", ["configured", "of the queue"])
def test_hooks_for_all_jobs(adapter: Adapter, how: str) -> None:
    if how == "configured":
        jobqueue.configure(hooks=[Everybody()])
    queue = JobQueue(adapter, hooks=None if how == "configured" else [Everybody()])
    queue.enqueue(Unhooked)
    queue.enqueue(shout, "hi")
    queue.work_off()
    around = [entry for entry in seen if entry[0] in {"before", "after", "success"}]
    assert around == [
        ("before", "Unhooked", {"how": "well"}),
        ("after", 1),
        ("success", "well"),
        ("before", "shout", {"what": "hi"}),
        ("after", 2),
        ("success", "HI"),
    ]
    assert [e for e in seen if e[0] == "enqueued"] == [
        ("enqueued", "tests.test_hooks.Unhooked"),
        ("enqueued", "tests.test_hooks.shout"),
    ]
    assert [e for e in seen if e[0] == "succeeded"] == [("succeeded", 1), ("succeeded", 2)]
    assert [e for e in seen if e[0] in {"ready", "stopping", "stopped"}] == EVENTS_OF_A_WORKER


def test_what_becomes_of_jobs(adapter: Adapter) -> None:
    queue = JobQueue(adapter, hooks=[Everybody()])
    queue.enqueue(Unhooked, "no luck")
    queue.enqueue(Unhooked, "discard")
    queue.work_off()
    ends = [e for e in seen if e[0] in {"retried", "failed", "discarded", "failure"}]
    assert sorted(ends, key=str) == [
        ("discarded", "enough"),
        ("failed", 1, "ValueError: no luck"),
        ("failure", "no luck"),
        ("failure", "no luck"),
        ("retried", 0.0),
    ]


def test_an_event_is_told_when_it_is_in_the_database(adapter: Adapter) -> None:
    class Looks(Hooks):
        def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
            seen.append(adapter.get(job.id))
            seen.append(run_time)

    Unhooked.perform_later()
    JobQueue(adapter, hooks=[Looks()]).work_off()
    assert seen[0] is None
    assert seen[1] > timedelta(0)


class Vanishing(Job):
    def perform(self) -> None:
        self.adapter.delete(JobFilter(), include_running=True)


def test_what_did_not_count_is_not_told(adapter: Adapter) -> None:
    Vanishing.perform_later()
    assert JobQueue(adapter, hooks=[Everybody()]).work_off().rejected == 1
    assert "success" in [entry[0] for entry in seen]
    assert "succeeded" not in [entry[0] for entry in seen]


class Wrapping(Hooks):
    def __init__(self, name: str) -> None:
        self.name = name

    def around_perform(self, job: Any, args: Mapping[str, Any]) -> Iterator[None]:
        seen.append(f"{self.name} in")
        yield
        seen.append(f"{self.name} out")

    def after_success(self, job: Any, args: Mapping[str, Any], result: Any) -> None:
        seen.append(f"{self.name} success")


def test_the_order_of_several(adapter: Adapter) -> None:
    Watched.perform_later(7)
    JobQueue(adapter, hooks=[Wrapping("a"), Wrapping("b")]).work_off()
    named = [entry if isinstance(entry, str) else entry[0] for entry in seen]
    assert named == [
        *("before", "a in", "b in", "around", "perform", "back", "b out", "a out"),
        *("after", "success", "b success", "a success"),
    ]


class Broken(Hooks):
    def after_success(self, job: Any, args: Mapping[str, Any], result: Any) -> None:
        raise RuntimeError("after_success")

    def job_enqueued(self, job: JobRecord) -> None:
        raise RuntimeError("job_enqueued")

    def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
        raise RuntimeError("job_succeeded")

    def worker_ready(self, worker: NewWorker) -> None:
        raise RuntimeError("worker_ready")

    def worker_stopping(self, worker: NewWorker) -> None:
        raise RuntimeError("worker_stopping")


def test_broken_observers_harm_nothing(adapter: Adapter, caplog: pytest.LogCaptureFixture) -> None:
    queue = JobQueue(adapter, hooks=[Broken(), Everybody()])
    queue.enqueue(Unhooked)
    assert queue.work_off().succeeded == 1
    assert adapter.count_by_state() == {}
    broken = [r for r in caplog.records if getattr(r, "event", "") == "hook_failed"]
    assert sorted(str(r.exc_info[1]) for r in broken if r.exc_info) == [
        *("after_success", "job_enqueued", "job_succeeded", "worker_ready", "worker_stopping")
    ]
    assert all(r.levelno == logging.ERROR for r in broken)
    assert ("succeeded", 1) in seen


class Strict(Hooks):
    def before_perform(self, job: Any, args: Mapping[str, Any]) -> None:
        raise PermissionError("nobody performs anything")


def test_an_error_in_its_before_perform_fails_the_attempt(adapter: Adapter) -> None:
    Unhooked.max_attempts = 1
    enqueued = Unhooked.perform_later()
    assert JobQueue(adapter, hooks=[Strict()]).work_off().failed == 1
    Unhooked.max_attempts = 2
    assert "nobody performs" in str(jobqueue.get(enqueued.id).last_error)


class Async(Hooks):
    async def before_perform(self, job: Any, args: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        seen.append("awaited")

    async def around_perform(self, job: Any, args: Mapping[str, Any]) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        seen.append("in")
        yield
        seen.append("out")


def test_async_hooks_are_awaited_on_async_jobs(adapter: Adapter) -> None:
    queue = JobQueue(adapter, hooks=[Async()])
    queue.enqueue(shout, "hi")
    assert queue.work_off().succeeded == 1
    assert seen == ["awaited", "in", "out"]


def test_async_hooks_on_a_sync_job_say_what_is_wrong(adapter: Adapter) -> None:
    enqueued = Unhooked.perform_later()
    JobQueue(adapter, hooks=[Async()]).work_off()
    assert "before_perform returned a coroutine" in str(jobqueue.get(enqueued.id).last_error)


def test_on_which_threads_they_are_called(adapter: Adapter) -> None:
    class Threads(Hooks):
        def before_perform(self, job: Any, args: Mapping[str, Any]) -> None:
            seen.append(("before", threading.current_thread() is threading.main_thread()))

        def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
            seen.append(("succeeded", threading.current_thread().name))

        def worker_stopping(self, worker: NewWorker) -> None:
            seen.append(("stopping", threading.current_thread().name))

        def worker_ready(self, worker: NewWorker) -> None:
            seen.append(("ready", threading.current_thread() is threading.main_thread()))

    Unhooked.perform_later()
    JobQueue(adapter, hooks=[Threads()]).work_off()
    assert seen == [
        ("ready", True),
        ("before", True),
        ("succeeded", "jobqueue-pump"),
        ("stopping", "jobqueue-pump"),
    ]


@pytest.mark.parametrize(
    ("hooks", "why"),
    [
        ([Everybody], "has the class Everybody; give an object of it"),
        (["x"], "expected objects of jobqueue.Hooks"),
        (Hooks(), r"hooks=\[…\]"),
    ],
)
def test_what_is_no_hooks_is_refused(hooks: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        jobqueue.configure(hooks=hooks)


def test_an_async_event_is_refused() -> None:
    class Wrong(Hooks):
        async def job_failed(self, job: Any, error: str) -> None: ...  # type: ignore[override]

    with pytest.raises(ConfigurationError, match=r"Wrong\.job_failed is async"):
        jobqueue.configure(hooks=[Wrong()])


def test_a_misspelt_event_is_refused() -> None:
    class Misspelt(Hooks):
        def job_suceeded(self, job: Any, run_time: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="did you mean 'job_succeeded'"):
        jobqueue.configure(hooks=[Misspelt()])


def test_an_event_with_other_parameters_is_refused() -> None:
    class Short(Hooks):
        def job_succeeded(self, job: Any) -> None: ...  # type: ignore[override]

    with pytest.raises(ConfigurationError, match=r"cannot be called with \(self, job"):
        jobqueue.configure(hooks=[Short()])


@pytest.mark.parametrize("error", [SystemExit(2), jobqueue.JobTimeout("late")])
def test_whatever_an_event_raises_ends_no_worker(
    adapter: Adapter, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises(Hooks):
        def job_succeeded(self, job: Any, run_time: Any) -> None:
            raise error

    jobqueue.configure(adapter=adapter, hooks=[Raises()])
    Unhooked.perform_all_later([(), ()])
    assert JobQueue(adapter).work_off().succeeded == 2
    assert caplog.text.count("job_succeeded failed") == 2


@pytest.mark.parametrize("error", [SystemExit(2), jobqueue.JobTimeout("late")])
def test_whatever_a_retry_policy_raises_is_charged_to_its_job(
    adapter: Adapter, error: BaseException
) -> None:
    def policy(attempt: int, its_error: BaseException) -> None:
        raise error

    class Unsure(Job):
        retry = staticmethod(policy)

        def perform(self) -> None:
            raise ValueError("its own error")

    jobqueue.configure(adapter=adapter)
    job = Unsure.perform_later()
    Unhooked.perform_later()
    assert JobQueue(adapter).work_off().succeeded == 1
    assert job.refresh().attempts == 1
    assert "its own error" in str(job.refresh().last_error)


def test_methods_of_ones_own_are_no_events() -> None:
    class Own(Hooks):
        def notify(self) -> None: ...

        def _job_suceeded(self) -> None: ...

        def job_failed(self, *anything: Any, **more: Any) -> None: ...

    jobqueue.configure(hooks=[Own()])


# --- job_enqueued and transactions ---------------------------------------------------------------


def test_job_enqueued_waits_for_the_commit(database_url: str) -> None:
    jobqueue.configure(database_url=database_url, hooks=[Everybody()])
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    if engine.dialect.name == "sqlite":
        begin_immediate(engine)
    try:
        with Session(engine) as session:
            Unhooked.set(session=session).perform_later()
            assert seen == []
            session.commit()
            assert seen == [("enqueued", "tests.test_hooks.Unhooked")]
            Unhooked.set(session=session).perform_later()
            session.rollback()
            with engine.begin() as connection:
                Unhooked.set(session=connection).perform_all_later([(), ()])
                assert len(seen) == 1
        assert len(seen) == 3
    finally:
        engine.dispose()
        default_configuration.adapter.close()
        default_configuration.reset()


def test_in_an_inbox_hooks_are_called_as_in_production() -> None:
    jobqueue.configure(hooks=[Everybody()])
    with inbox() as box:
        Unhooked.perform_later()
        box.perform_all()
    assert [entry[0] for entry in seen] == ["enqueued", "before", "after", "success", "succeeded"]


# --- processes -----------------------------------------------------------------------------------

HOOKED = """
    import os
    from pathlib import Path

    import jobqueue
    from jobqueue import Hooks, Job


    class Notes(Hooks):
        def note(self, what):
            with Path("notes.txt").open("a") as file:
                file.write(f"{what}\\n")

        def worker_ready(self, worker):
            self.note("ready")

        def worker_stopping(self, worker):
            self.note("stopping")

        def job_rescued(self, job, worker_id):
            self.note(f"rescued {job.id} {job.state}")

        def job_failed(self, job, error):
            self.note(f"failed {job.id} {job.handler}")

        def job_succeeded(self, job, run_time):
            self.note(f"succeeded {job.id}")


    jobqueue.configure(hooks=[Notes()])


    class Fine(Job):
        def perform(self) -> None:
            pass


    class Dies(Job):
        max_attempts = 1

        def perform(self) -> None:
            os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("command", ["work", "start"])
def test_the_hooks_of_worker_processes(project: Project, wait_for: WaitFor, command: str) -> None:
    """Those of jobs that a worker died over are called in a process of their own."""
    project.write("jobs.py", HOOKED)
    notes = project.folder / "notes.txt"

    def noted(*lines: str) -> Callable[[], bool]:
        return lambda: notes.exists() and set(lines) <= set(notes.read_text().splitlines())

    def enqueue(job: str) -> None:
        assert project.python("-c", f"import jobs; jobs.{job}.perform_later()").exit_code == 0

    def is_over() -> bool:
        return noted("rescued 2 failed", "failed 2 jobs.Dies")() and readies() == 2

    def readies() -> int:
        return notes.read_text().splitlines().count("ready")

    def go_through() -> None:
        wait_for(noted("succeeded 1"), "the hook of the first job")
        enqueue("Dies")  # not earlier: it would take the process with it before that hook is called
        wait_for(is_over, "the hooks of the second")

    enqueue("Fine")
    if command == "start":
        assert project.jobs("start", "--poll-interval", "0.1").exit_code == 0
        try:
            go_through()
        finally:
            stopped = project.jobs("stop")
        assert stopped.exit_code == 0, stopped.err
    else:
        running = project.start("work", "--poll-interval", "0.1", log=project.folder / "log")
        try:
            go_through()
        finally:
            running.terminate()
            running.wait(timeout=60)
    assert noted("ready", "stopping")()


def test_every_hook_is_a_documented_no_op() -> None:
    for name, method in vars(Hooks).items():
        if callable(method) and not name.startswith("_"):
            assert method.__doc__, name
            number = method.__code__.co_argcount - 1
            assert method(Hooks(), *[None] * number) is None


def test_a_class_without_hooks_has_nothing_around_it() -> None:
    assert attempt_hooks(Unhooked, ()) is None
    assert attempt_hooks(Unhooked, [Hooks()]) is None
    assert attempt_hooks(Watched, ()) is not None
