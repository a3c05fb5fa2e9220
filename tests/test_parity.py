"""The features of the five reference systems, by the names that they have here.

Each test shows one row of the comparison, in as little as shows it: SQLite stands for both
databases, and the rows of `jobs work` share a process. The details are tested where the feature is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.orm import Session

import jobqueue
from jobqueue import (
    BackgroundJob,
    Exponential,
    Hooks,
    InvalidArguments,
    Job,
    JobNotFound,
    JobQueue,
    JobRecord,
    JobState,
    Keep,
    MemoryAdapter,
    StateConflict,
    job,
)
from jobqueue.adapters import connect
from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.config import Settings
from jobqueue.defaults import default_configuration
from jobqueue.records import ClaimedJob, NewWorker, Turn
from jobqueue.runner.groups import groups_of
from jobqueue.testing import AdapterContract, Inbox
from tests.conftest import Project, plain_environment, wait_until
from tests.forking import ForkServer

pytest_plugins = ["pytester"]

WaitFor = Callable[[Callable[[], bool], str], None]
LONG_ENOUGH = 20
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

done: list[Any] = []


class ParityNote(Job):
    def perform(self, what: str = "done") -> str:
        done.append(what)
        return what.upper()


class ParityNoteAsync(Job):
    async def perform(self, what: str) -> str:
        await asyncio.sleep(0)
        done.append(what)
        return what.upper()


class ParityFail(Job):
    max_attempts = 2

    def perform(self) -> None:
        raise LookupError("no paper")


@dataclass(frozen=True)
class ParityPayload:
    user_id: int
    at: datetime | None = None


@job(name="parity-unique-job-name", queue="parity")
def parity_function(payload: ParityPayload) -> int:
    done.append(payload)
    return payload.user_id


PROCESS_JOBS = """
    import os
    import time
    from pathlib import Path

    from jobqueue import Every, Job


    class ParityHold(Job):
        def perform(self) -> None:
            Path("holding").touch()
            while not Path("go").exists():
                time.sleep(0.01)
            Path("held").touch()


    class ParityCrash(Job):
        def perform(self) -> None:
            if self.context.attempt == 1:
                os._exit(9)
            Path("recovered").touch()


    class ParityElsewhere(Job):
        queue = "elsewhere"

        def perform(self) -> None:
            Path("elsewhere").touch()


    class ParityTick(Job):
        schedule = Every(seconds=1)

        def perform(self) -> None:
            Path("ticked").touch()
"""

PROCESS_SETTINGS = """
    [tool.jobqueue.workers.parity]
    queues = ["default"]
    count = 2
    max_attempts = 3
    max_runtime = 60
"""


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


@pytest.fixture
def queue(clock: ManualClock) -> Iterator[JobQueue]:
    """A queue in memory, on the test's own clock, and the default one of every job."""
    adapter = MemoryAdapter(clock=clock)
    Job.config(adapter=adapter)
    yield JobQueue(adapter)
    default_configuration.reset()


@dataclass(frozen=True)
class Worked:
    """What was left by a `jobs work` that Ctrl-C ended."""

    folder: Path
    log: str
    exit_code: int

    def has(self, name: str) -> bool:
        """Whether a job has left this file."""
        return (self.folder / name).exists()


@pytest.fixture(scope="module")
def worked(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, fork_server: ForkServer
) -> Worked:
    """One `jobs work` with a worker group, a job that crashes, a tick, and Ctrl-C during a job."""
    folder = tmp_path_factory.mktemp("worked")
    shutil.copy(migrated_sqlite, folder / "jobs.sqlite3")
    project = Project(folder, plain_environment(), fork_server, folder)
    project.write("jobs.py", PROCESS_JOBS)
    project.write("pyproject.toml", PROCESS_SETTINGS)
    log, recovered, ticked = (folder / name for name in ("work.log", "recovered", "ticked"))
    for name in ("ParityCrash", "ParityElsewhere"):
        assert project.jobs("enqueue", name).exit_code == 0
    process = project.start("work", log=log)
    try:
        wait_until(lambda: recovered.exists() and ticked.exists(), "a second attempt and a tick")
        assert project.jobs("enqueue", "ParityHold").exit_code == 0
        wait_until((folder / "holding").exists, "the job to start")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: "is stopping" in log.read_text(), "the workers to stop")
        assert not (folder / "held").exists()
        (folder / "go").touch()
        return Worked(folder, exit_code=process.wait(LONG_ENOUGH), log=log.read_text())
    finally:
        process.kill()
        process.wait()


def stored(project: Project, job_id: int) -> JobRecord | None:
    adapter = connect(project.environment["JOBS_DATABASE_URL"])
    record = adapter.get(job_id)
    adapter.close()
    return record


def states(queue: JobQueue) -> Mapping[str, int]:
    return {str(state): count for state, count in queue.adapter.count_by_state().items() if count}


# --- Redwood Jobs --------------------------------------------------------------------------------


def test_redwood_perform_and_async_perform(queue: JobQueue) -> None:
    ParityNote.perform_later("plain")
    ParityNoteAsync.perform_later("async")
    assert queue.work_off().succeeded == 2
    assert done == ["plain", "async"]


def test_redwood_perform_later_on_instance_and_class(queue: JobQueue) -> None:
    first, second = ParityNote().perform_later("one"), ParityNote.perform_later("two")
    assert [first.args, second.args] == [{"what": "one"}, {"what": "two"}]
    assert states(queue) == {"ready": 2}


def test_redwood_perform_now_returns_and_raises(queue: JobQueue) -> None:
    assert ParityNote.perform_now("now") == ParityNote().perform_now("now") == "NOW"
    assert ParityNoteAsync.perform_now("now") == "NOW"
    with pytest.raises(LookupError, match="no paper"):
        ParityFail.perform_now()
    assert states(queue) == {}


def test_redwood_set_wait_until_queue_priority(queue: JobQueue, clock: ManualClock) -> None:
    until = datetime(2040, 1, 1, tzinfo=UTC)
    seconds = ParityNote.set(wait=300, queue="parity", priority=7).perform_later()
    assert (seconds.queue, seconds.priority) == ("parity", 7)
    assert seconds.run_at == clock.now() + timedelta(seconds=300)
    delta = ParityNote.set(wait=timedelta(minutes=5)).perform_later()
    assert delta.run_at == seconds.run_at
    assert ParityNote().set(wait_until=until).perform_later().run_at == until
    assert queue.work_off().performed == 0


def test_redwood_class_attributes(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    """Static queue, priority (default 50), adapter and logger."""

    class ParityOwn(Job):
        queue, priority = "parity", 3
        adapter = MemoryAdapter()
        logger = logging.getLogger("parity.own")

        def perform(self) -> None:
            self.logger.warning("performed")

    record = ParityOwn.perform_later()
    assert (record.queue, record.priority, ParityNote.priority) == ("parity", 3, 50)
    assert (states(queue), JobQueue(ParityOwn.adapter).work_off().succeeded) == ({}, 1)
    assert ("parity.own", logging.WARNING, "performed") in caplog.record_tuples


def test_redwood_lower_priority_runs_first(queue: JobQueue) -> None:
    for priority in (60, 50, 10):
        ParityNote.set(priority=priority).perform_later(str(priority))
    queue.work_off()
    assert done == ["10", "50", "60"]


@pytest.mark.usefixtures("queue")
def test_redwood_config_for_all_and_per_job() -> None:
    adapter, logger = MemoryAdapter(), logging.getLogger("parity.all")
    Job.config(adapter=adapter, logger=logger)

    class ParityElsewhere(ParityNote):
        adapter = MemoryAdapter()

    ParityNote.perform_later()
    ParityElsewhere.perform_later()
    assert ParityNote.adapter is adapter
    assert ParityNote.logger is ParityElsewhere.logger is logger
    assert len(adapter.count_by_state()) == len(ParityElsewhere.adapter.count_by_state()) == 1


@ON_SQLITE
def test_redwood_background_job_row(database_url: str) -> None:
    adapter = connect(database_url)
    JobQueue(adapter).enqueue(ParityNote, "row")
    adapter.close()
    engine = create_engine(database_url)
    columns = {column["name"] for column in inspect(engine).get_columns("background_jobs")}
    theirs = "id attempts handler queue priority run_at locked_at locked_by last_error failed_at"
    assert columns >= {*theirs.split(), "created_at", "updated_at", "args"}
    with Session(engine) as session:
        row = session.query(BackgroundJob).one()
    assert (row.handler, row.attempts, row.queue) == ("tests.test_parity.ParityNote", 0, "default")
    engine.dispose()


def test_redwood_success_removes_or_keeps_the_row(queue: JobQueue) -> None:
    class ParityKept(ParityNote):
        keep_succeeded = True

    gone, kept = ParityNote.perform_later(), ParityKept.perform_later()
    queue.work_off()
    assert jobqueue.get(kept.id).state is JobState.SUCCEEDED
    with pytest.raises(JobNotFound):
        jobqueue.get(gone.id)


def test_redwood_failure_unlocks_backs_off_and_stores_the_error(
    queue: JobQueue, clock: ManualClock
) -> None:
    class ParityPatient(ParityFail):
        max_attempts = 24

    job_id = ParityPatient.perform_later().id
    for attempt in (1, 2):
        queue.work_off()
        record = jobqueue.get(job_id)
        assert (record.state, record.attempts, record.locked_by) == ("ready", attempt, None)
        wait = (record.run_at - clock.now()).total_seconds()
        assert attempt**4 <= wait <= attempt**4 * 1.1
        assert "Traceback" in (record.last_error or "")
        clock.advance(wait)


def test_redwood_after_max_attempts_kept_or_deleted(queue: JobQueue, clock: ManualClock) -> None:
    class ParityFailAndGo(ParityFail):
        keep_failed = False

    kept, gone = ParityFail.perform_later(), ParityFailAndGo.perform_later()
    assert ParityNote.perform_later().max_attempts == 24
    queue.work_off()
    clock.advance(5)
    assert queue.work_off().failed == 2
    record = jobqueue.get(kept.id)
    assert (record.state, record.attempts, record.failed_at) == ("failed", 2, clock.now())
    assert queue.adapter.get(gone.id) is None


def test_redwood_max_runtime_where_set(queue: JobQueue) -> None:
    class ParityTooLong(Job):
        max_runtime, max_attempts = 0.05, 1

        async def perform(self) -> None:
            await asyncio.sleep(LONG_ENOUGH)

    record = ParityTooLong.perform_later()
    assert queue.work_off().failed == 1
    assert "JobTimeout" in (jobqueue.get(record.id).last_error or "")
    assert ParityNote.max_runtime is None


def test_redwood_poll_interval(wait_for: WaitFor) -> None:
    queue = JobQueue(MemoryAdapter(), poll_interval=0.05)
    with queue.running():
        queue.enqueue(ParityNote.set(wait=0.2), "polled")
        wait_for(lambda: done == ["polled"], "the job that came due")


def test_redwood_setup(empty_project: Project, empty_sqlite_url: str) -> None:
    """Model, migration and configuration file."""
    url = {"JOBS_DATABASE_URL": empty_sqlite_url}
    run = empty_project.jobs("setup", env=url)
    assert (run.exit_code, run.out.splitlines()[0]) == (0, "Created jobqueue.toml.")
    assert (empty_project.folder / "jobqueue.toml").is_file()
    run = empty_project.jobs("list", env=url)
    assert (run.exit_code, run.out) == (0, "No jobs.\n")


def test_redwood_new_job_and_its_test(empty_project: Project) -> None:
    assert empty_project.jobs("new", "ParityNew").exit_code == 0
    assert "class ParityNew(Job)" in (empty_project.folder / "jobs.py").read_text()
    (test,) = (empty_project.folder / "tests").glob("test_*.py")
    run = empty_project.python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(test))
    assert run.exit_code == 0, run.out


@ON_SQLITE
def test_redwood_workoff_and_clear(project: Project) -> None:
    assert project.jobs("enqueue", "Greet", '{"name": "Ada"}').exit_code == 0
    assert project.jobs("enqueue", "Fail").exit_code == 0
    assert project.jobs("workoff").out.startswith("Worked off: 1 succeeded, 1 to be retried.")
    assert project.jobs("clear", "--yes").out == "Removed 1 job.\n"
    assert project.jobs("list").out == "No jobs.\n"


@ON_SQLITE
def test_redwood_start_restart_stop(project: Project, wait_for: WaitFor) -> None:
    def workers() -> list[str]:
        return [w["id"] for w in json.loads(project.jobs("status", "--json").out)["workers"]]

    try:
        run = project.jobs("start", "-n", "default:1,email:1")
        assert run.out.startswith("Started 2 workers"), run.err
        before = workers()
        assert project.jobs("restart").exit_code == 0
        wait_for(lambda: len(workers()) == 2, "the old workers to sign off")
        assert not set(before) & set(workers())
    finally:
        assert project.jobs("stop").exit_code == 0
    assert workers() == []


@pytest.mark.parametrize(("spec", "counts"), [("4", [4]), ("default:2,email:1", [2, 1])])
def test_redwood_start_so_many(spec: str, counts: list[int]) -> None:
    """`-n 4`, and `-n default:2,email:1`."""
    assert [group.count for group in groups_of(spec, Settings(), {})] == counts


def test_redwood_work_until_ctrl_c_which_finishes_what_runs(worked: Worked) -> None:
    assert (worked.has("held"), worked.exit_code) == (True, 0)


@ON_SQLITE
def test_redwood_ctrl_c_twice_exits_now(project: Project, wait_for: WaitFor) -> None:
    project.write("jobs.py", PROCESS_JOBS)
    assert project.jobs("enqueue", "ParityHold").exit_code == 0
    log = project.folder / "work.log"
    process = project.start("work", log=log)
    try:
        wait_for((project.folder / "holding").exists, "the job to start")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: "is stopping" in log.read_text(), "the workers to stop")
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_ENOUGH) == 0
    finally:
        process.kill()
        process.wait()
    record = stored(project, 1)
    assert record is not None
    assert (record.state, record.attempts) == ("ready", 0)


def test_redwood_a_crashed_workers_job_is_picked_up(worked: Worked) -> None:
    """And the worker is kept alive by a monitor, as they wished for."""
    assert worked.has("recovered")
    assert "another is started" in worked.log


def test_redwood_worker_groups(worked: Worked) -> None:
    for worker in (":parity.0:", ":parity.1:"):
        assert re.search(f"{worker}.* works on queues default", worked.log)
    assert not worked.has("elsewhere")


class ParityAdapter(MemoryAdapter):
    turns = 0

    def turn(self, *args: Any) -> Turn:
        self.turns += 1
        return super().turn(*args)


def test_redwood_an_adapter_of_your_own(clock: ManualClock) -> None:
    """It works, and the contract's tests can be run on it."""
    adapter = ParityAdapter(clock=clock)
    AdapterContract().test_a_job_is_claimed_once(adapter)
    JobQueue(adapter).enqueue(ParityNote)
    assert JobQueue(adapter).work_off().succeeded == 1
    assert adapter.turns > 0


def test_redwood_wished_for_recurring_jobs(worked: Worked) -> None:
    assert worked.has("ticked")


def test_redwood_wished_for_hooks(queue: JobQueue) -> None:
    class ParityHooked(Job):
        max_attempts = 1

        def before_perform(self) -> None:
            done.append("before")

        def perform(self, fails: bool) -> None:
            if fails:
                raise LookupError

        def after_perform(self) -> None:
            done.append("after")

        def after_success(self) -> None:
            done.append("success")

        def after_failure(self, error: BaseException) -> None:
            done.append(type(error))

    ParityHooked.perform_all_later([(False,), (True,)])
    queue.work_off()
    assert done == ["before", "after", "success", "before", "after", LookupError]


@ON_SQLITE
def test_redwood_wished_for_a_screen(project: Project) -> None:
    project.jobs("enqueue", "Fail")
    (shown,) = json.loads(project.jobs("status", "--json").out)["queues"]
    assert (shown["queue"], shown["due"]) == ("email", 1)
    assert "email" in project.jobs("status").out


def test_redwood_wished_for_cancel(queue: JobQueue) -> None:
    record = ParityNote.perform_later()
    assert record.cancel("no longer") is JobState.CANCELLED
    assert queue.work_off().performed == 0
    assert jobqueue.get(record.id).last_error == "no longer"


# --- Ving ----------------------------------------------------------------------------------------


def test_ving_add_job_by_name(queue: JobQueue, clock: ManualClock) -> None:
    record = jobqueue.enqueue("ParityNote", {"what": "named"}, wait=60, queue="parity")
    assert (record.queue, record.args) == ("parity", {"what": "named"})
    assert queue.work_off().performed == 0
    clock.advance(60)
    assert queue.work_off().succeeded == 1
    assert done == ["named"]


@ON_SQLITE
def test_ving_add_job_on_the_command_line(project: Project) -> None:
    run = project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--wait", "60")
    assert run.exit_code == 0, run.err
    record = stored(project, 1)
    assert record is not None
    assert (record.handler, record.args) == ("jobs.Greet", {"name": "Ada"})
    assert 59 < (record.run_at - record.created_at).total_seconds() < 61


@ON_SQLITE
def test_ving_work_with_a_time_to_live(project: Project) -> None:
    log = project.folder / "work.log"
    assert project.start("work", "--ttl", "0.5", log=log).wait(LONG_ENOUGH) == 0
    assert "is stopping: its 0.5 s are over (--ttl)" in log.read_text()


def test_ving_new_handler(empty_project: Project) -> None:
    assert empty_project.jobs("new", "MyNewHandler").exit_code == 0
    assert "class MyNewHandler(Job)" in (empty_project.folder / "jobs.py").read_text()


@ON_SQLITE
def test_ving_jobs_are_found_in_a_folder(project: Project) -> None:
    project.write("parity_shop/__init__.py", "")
    text = "from jobqueue import Job\n\nclass ParityFound(Job):\n    def perform(self): ...\n"
    project.write("parity_shop/handlers/deep.py", text)
    project.write("parity_shop/handlers/__init__.py", "")
    assert project.jobs("enqueue", "ParityFound", "--app", "parity_shop").exit_code == 0
    assert project.jobs("workoff", "--app", "parity_shop").out == "Worked off: 1 succeeded.\n"


@pytest.mark.parametrize("value", [None, False, 0, ""])
def test_ving_a_falsy_return_is_no_failure(queue: JobQueue, value: Any) -> None:
    class ParityFalsy(Job):
        def perform(self) -> Any:
            return value

    ParityFalsy.perform_later()
    ParityFail.perform_later()
    tally = queue.work_off()
    assert (tally.succeeded, tally.retried) == (1, 1)


def test_ving_keeps_by_age_and_count(queue: JobQueue, clock: ManualClock) -> None:
    class ParityKeepBoth(ParityNote):
        keep_succeeded = Keep(count=2, age=timedelta(hours=1))

    class ParityKeepAge(ParityFail):
        keep_failed, max_attempts = timedelta(hours=24), 1

    ParityKeepBoth.perform_all_later([("a",), ("b",), ("c",)])
    ParityKeepAge.perform_later()
    for hours, left in ((0, {"succeeded": 2, "failed": 1}), (2, {"failed": 1}), (23, {})):
        clock.advance(timedelta(hours=hours))
        queue.work_off()
        assert states(queue) == left


# --- Conference Hall -----------------------------------------------------------------------------


def test_conference_hall_a_function_with_a_typed_payload(queue: JobQueue) -> None:
    payload = ParityPayload(7, datetime(2030, 1, 1, tzinfo=UTC))
    record = parity_function.perform_later(payload)
    assert (record.handler, record.queue) == ("parity-unique-job-name", "parity")
    queue.work_off()
    assert done == [payload]


def test_conference_hall_trigger_is_checked(queue: JobQueue) -> None:
    """By mypy: it would report an ignore that is not needed. And again at run time."""
    with pytest.raises(InvalidArguments):
        parity_function.perform_later("seven")  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments):
        parity_function.perform_later()  # type: ignore[call-arg]
    assert states(queue) == {}


def test_conference_hall_retry_exponential(queue: JobQueue, clock: ManualClock) -> None:
    class ParityExponential(Job):
        retry = Exponential(base=3, attempts=5)

        def perform(self) -> None:
            raise LookupError

    record = ParityExponential.perform_later()
    for expected in (3, 6, 12, 24):
        queue.work_off()
        wait = (jobqueue.get(record.id).run_at - clock.now()).total_seconds()
        assert expected <= wait <= expected * 1.1
        clock.advance(wait)
    assert queue.work_off().failed == 1


class ParityMeet(Job):
    """Succeeds when as many run at the same time as the barrier is for."""

    barrier: threading.Barrier

    def perform(self) -> None:
        self.barrier.wait(LONG_ENOUGH)
        done.append("met")


def test_conference_hall_concurrency() -> None:
    ParityMeet.barrier = threading.Barrier(2)
    queue = JobQueue(MemoryAdapter(), concurrency=2)
    queue.enqueue(ParityMeet)
    queue.enqueue(ParityMeet)
    assert queue.work_off().succeeded == 2
    assert JobQueue(MemoryAdapter()).settings.concurrency == 1


def test_conference_hall_keeps_a_thousand(queue: JobQueue) -> None:
    class ParityThousand(Job):
        keep_succeeded = keep_failed = 1000
        retry = staticmethod(lambda attempt, error: None)  # no more attempts

        def perform(self, fails: bool) -> None:
            if fails:
                raise LookupError

    ParityThousand.perform_all_later([(number % 2 == 0,) for number in range(2002)])
    silent = logging.getLogger("parity.silent")
    silent.setLevel(logging.CRITICAL)
    JobQueue(queue.adapter, logger=silent).work_off()
    assert states(queue) == {"succeeded": 1000, "failed": 1000}


def test_conference_hall_call_the_function_in_a_unit_test() -> None:
    payload = ParityPayload(7)
    assert parity_function(payload) == parity_function.perform_now(payload) == 7
    assert ParityNote().perform("x") == ParityNote.perform_now("x") == "X"


def test_conference_hall_jobs_are_mocked_in_tests(jobs_inbox: Inbox) -> None:
    ParityNote.set(queue="parity", wait=60).perform_later("mocked")
    jobs_inbox.assert_enqueued(ParityNote, what="mocked", queue="parity", wait=60)
    with pytest.raises(AssertionError, match="what: expected 'other', was 'mocked'"):
        jobs_inbox.assert_enqueued(ParityNote, what="other")
    assert done == []


def test_conference_hall_jobs_are_mocked_automatically(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\njobqueue_inbox = true\n")
    pytester.makepyfile(
        """
        from tests.test_parity import ParityNote, done

        def test_nothing_runs_and_everything_is_recorded():
            assert ParityNote.perform_later("ini").state == "ready"
            assert done == []
        """
    )
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)


def test_conference_hall_structured_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    queue = JobQueue(MemoryAdapter(), logger=logging.getLogger("parity.logs"))
    queue.enqueue(ParityNote)
    queue.enqueue(ParityFail.set(queue="parity"))
    queue.work_off()
    logged = {vars(record).get("event"): vars(record) for record in caplog.records}
    assert {record.name for record in caplog.records} == {"parity.logs"}
    assert logged["job_succeeded"]["job"] == "tests.test_parity.ParityNote"
    assert logged["job_succeeded"]["run_seconds"] >= 0
    assert logged["job_retried"]["queue"] == "parity"
    assert "no paper" in logged["job_retried"]["error"]


class ParityListener(Hooks):
    def worker_ready(self, worker: NewWorker) -> None:
        done.append("ready")

    def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
        done.append(f"{job.id} succeeded")

    def job_failed(self, job: ClaimedJob | JobRecord, error: str) -> None:
        done.append(f"{job.id} failed")


def test_conference_hall_worker_events() -> None:
    class ParityFailOnce(ParityFail):
        max_attempts = 1

    queue = JobQueue(MemoryAdapter(), hooks=[ParityListener()])
    queue.enqueue(ParityNoteAsync, "x")
    queue.enqueue(ParityFailOnce)
    queue.work_off()
    assert done == ["ready", "x", "1 succeeded", "2 failed"]


# --- Hummingbird Jobs ----------------------------------------------------------------------------


def test_hummingbird_memory_queue_in_process(wait_for: WaitFor) -> None:
    adapter, logger = MemoryAdapter(), logging.getLogger("parity.hummingbird")
    queue = JobQueue(adapter, concurrency=4, logger=logger)
    assert (queue.adapter, queue.logger) == (adapter, logger)
    ParityMeet.barrier = threading.Barrier(4)
    with queue.running():
        for _ in range(4):
            queue.enqueue(ParityMeet)
        wait_for(lambda: len(done) == 4, "four jobs that run at once")


def test_hummingbird_name_and_context(queue: JobQueue) -> None:
    """A unique name, typed parameters; subclassing registers, and there is a context."""

    class ParityEmail(Job):
        name = "ParitySendEmail"

        def perform(self, to: str) -> None:
            done.append((self.context.job_id, self.context.attempt, to))

    record = jobqueue.enqueue("ParitySendEmail", {"to": "ada@example.com"})
    assert ParityEmail.perform_later("bo@example.com").handler == record.handler
    queue.work_off()
    assert done == [(1, 1, "ada@example.com"), (2, 1, "bo@example.com")]


def test_hummingbird_push_on_a_particular_queue(queue: JobQueue) -> None:
    other = JobQueue(MemoryAdapter())
    other.enqueue(ParityNote, "there")
    ParityNote.perform_later("here")
    assert (other.work_off().succeeded, done) == (1, ["there"])
    assert (queue.work_off().succeeded, done) == (1, ["there", "here"])


IN_PROCESS = """
import os, signal, threading
from jobqueue import JobQueue, MemoryAdapter

for number in (signal.SIGTERM, signal.SIGINT):
    pid = os.fork()
    if pid == 0:
        with JobQueue(MemoryAdapter()).running():
            os.kill(os.getpid(), number)
            threading.Event().wait(20)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_hummingbird_stops_gracefully(empty_project: Project) -> None:
    """On SIGTERM and SIGINT."""
    run = empty_project.python("-c", IN_PROCESS)
    assert run.out == f"143\n{-signal.SIGINT}\n", run.err


@pytest.mark.parametrize("kind", ["running", "lifespan"])
def test_hummingbird_beside_async_code(wait_for: WaitFor, kind: str) -> None:
    queue = JobQueue(MemoryAdapter())

    async def serve() -> None:
        async with getattr(queue, kind)():
            queue.enqueue(ParityNoteAsync, "served")
            await asyncio.to_thread(wait_for, lambda: done == ["served"], "the job")

    asyncio.run(serve())


def test_hummingbird_drivers(adapter: Adapter) -> None:
    """Memory, SQLite and PostgreSQL."""
    ParityNote.perform_later("driven")
    assert JobQueue(adapter).work_off().succeeded == 1
    assert done == ["driven"]


# --- Gravity -------------------------------------------------------------------------------------


def test_gravity_progress_inside_and_outside(queue: JobQueue) -> None:
    class ParityProgress(Job):
        keep_succeeded = True

        def perform(self, value: Any) -> None:
            self.progress(value)

    for value in ("started", 0.5, {"page": 3}):
        record = ParityProgress.perform_later(value)
        jobqueue.get(record.id).set_progress(["outside", value])
        assert jobqueue.get(record.id).progress == ["outside", value]
        queue.work_off()
        assert jobqueue.get(record.id).progress == value


def test_gravity_get_cancel_delete(queue: JobQueue, clock: ManualClock) -> None:
    """`getJob(id)`, `job.remove()`; refused once it has started."""
    found = jobqueue.get(ParityNote.perform_later().id)
    found.cancel()
    found.delete()
    with pytest.raises(JobNotFound):
        jobqueue.get(found.id)

    class ParitySelfRemoving(Job):
        max_attempts = 1

        def perform(self) -> None:
            with pytest.raises(StateConflict):
                jobqueue.get(self.context.job_id or 0).delete()

    ParitySelfRemoving.perform_later()
    assert queue.work_off().succeeded == 1


@pytest.fixture
def http(queue: JobQueue) -> Iterator[Any]:
    """The REST API."""
    from starlette.testclient import TestClient

    import jobqueue.web

    application = jobqueue.web.app(lambda _: ("gravity", "operate"), queue=queue)
    with TestClient(application) as client:
        yield client


class ParityOpen(Job):
    api = True

    def perform(self, what: str, times: int = 1) -> None:
        done.append(what * times)


def post(http: Any, **options: Any) -> int:
    """`POST /api/job`"""
    body = {"name": "ParityOpen", "args": {"what": "x"}, **options}
    answer = http.post("/api/job", json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def test_gravity_post_and_get(http: Any, queue: JobQueue) -> None:
    """Finished when `finished_at` is set."""
    job_id = post(http)
    assert http.get(f"/api/job/{job_id}").json()["finished_at"] is None
    queue.work_off()
    found = http.get(f"/api/job/{job_id}").json()
    assert (found["state"], bool(found["finished_at"])) == ("succeeded", True)


def test_gravity_patch(http: Any, queue: JobQueue) -> None:
    """Merged into the job's arguments; 409 once it has started."""
    job_id = post(http, wait=0)
    assert http.patch(f"/api/job/{job_id}", json={"times": 3}).json()["args"] == {
        "what": "x",
        "times": 3,
    }
    queue.work_off()
    assert done[-1] == "xxx"
    assert http.patch(f"/api/job/{job_id}", json={"times": 4}).status_code == 409


def test_gravity_delete(http: Any, queue: JobQueue) -> None:
    """Refused once it has started."""
    job_id = post(http)
    assert http.delete(f"/api/job/{job_id}").status_code == 200
    assert http.get(f"/api/job/{job_id}").status_code == 404
    job_id = post(http)
    queue.work_off()
    assert http.delete(f"/api/job/{job_id}").status_code == 409


def test_gravity_progress_by_http(http: Any) -> None:
    job_id = post(http)
    http.put(f"/api/job/{job_id}/progress", json="started")
    assert jobqueue.get(job_id).progress == "started"


def test_gravity_procfile(empty_project: Project) -> None:
    """And systemd units."""
    assert empty_project.jobs("setup", "--procfile", "--systemd").exit_code == 0
    assert (empty_project.folder / "Procfile").read_text() == "worker: jobqueue work\n"
    assert "jobqueue work" in (empty_project.folder / "jobqueue.service").read_text()
