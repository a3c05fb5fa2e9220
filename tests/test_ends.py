"""Every end of a job: one record in the log and one call of a hook, whoever ended it.

The cells are those of the table in `docs/hooks.md`. Each test lets the job end, waits until nobody
has anything more to tell, and counts: neither none nor two.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import jobqueue
from jobqueue import Constant, Discard, Hooks, Job, JobQueue, JobState
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.bulk import BATCH, bulk_action, delete_some, run_action
from jobqueue.cli.who import user_at_host
from jobqueue.clock import ManualClock
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.maintenance.pruner import Pruner
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.perform.foreign_jobs import ROLLOUT
from jobqueue.records import ActionKind, Claim, JobFilter, NewJob, NewWorker
from jobqueue.testing import inbox
from jobqueue.worker.worker import Worker
from tests.conftest import Project, wait_until
from tests.process.conftest import Running, WaitFor, database_of, enqueue, exists
from tests.web.conftest import client_of

ENDS = ("job_succeeded", "job_failed", "job_cancelled", "job_discarded", "job_deleted")
HERE = "tests.test_ends."


@dataclass(frozen=True)
class Told:
    """What somebody was told of the end of a job."""

    event: str
    job_id: int
    job: str
    reason: str | None = None


class Noting(Hooks):
    """Notes every end."""

    def __init__(self, told: list[Told]) -> None:
        self.told = told

    def job_succeeded(self, job: Any, run_time: timedelta) -> None:
        self.told.append(Told("job_succeeded", job.id, job.handler))

    def job_failed(self, job: Any, error: str) -> None:
        self.told.append(Told("job_failed", job.id, job.handler, _last_line(error)))

    def job_cancelled(self, job: Any, reason: str) -> None:
        self.told.append(Told("job_cancelled", job.id, job.handler, reason))

    def job_discarded(self, job: Any, reason: str) -> None:
        self.told.append(Told("job_discarded", job.id, job.handler, reason))

    def job_deleted(self, job: Any, reason: str) -> None:
        self.told.append(Told("job_deleted", job.id, job.handler, reason))


class NotingHandler(logging.Handler):
    """Notes every record of an end."""

    def __init__(self, told: list[Told]) -> None:
        super().__init__()
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        facts = record.__dict__
        if facts.get("event") in ENDS:
            self.told.append(told_by(facts))


def told_by(facts: dict[str, Any]) -> Told:
    """What a record of the log says."""
    reason = facts.get("reason", facts.get("error"))
    reason = _last_line(reason) if reason else None
    return Told(facts["event"], facts["job_id"], facts["job"], reason)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@dataclass
class Ears:
    """Everything that was told in this process."""

    adapter: Adapter
    hooks: list[Told] = field(default_factory=list)
    log: list[Told] = field(default_factory=list)
    steps: list[Callable[[], Any]] = field(default_factory=list)

    def queue(self, **settings: Any) -> JobQueue:
        return JobQueue(self.adapter, **{"poll_interval": 0.05, **settings})

    def expect(self, *ends: Told) -> None:
        """Neither more nor less was told, to either."""
        assert sorted(self.log, key=str) == sorted(ends, key=str)
        assert sorted(self.hooks, key=str) == sorted(ends, key=str)


@pytest.fixture
def ears(adapter: Adapter) -> Iterator[Ears]:
    with listening_on(adapter) as made:
        yield made


@contextlib.contextmanager
def listening_on(adapter: Adapter) -> Iterator[Ears]:
    """Hears every end that this process tells of."""
    made, logger = Ears(adapter), logging.getLogger("jobqueue")
    handler, level = NotingHandler(made.log), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    default_configuration.configure(hooks=[Noting(made.hooks)])
    try:
        yield made
    finally:
        default_configuration.configure(hooks=[])
        logger.removeHandler(handler)
        logger.setLevel(level)


class Ending(Job):
    """Ends in any way; what is called in the middle of it is the test's."""

    max_attempts = 1
    meanwhile: Callable[[Ending], Any] = staticmethod(lambda _: None)

    def perform(self, how: str = "well") -> None:
        type(self).meanwhile(self)
        if how == "badly":
            raise ValueError("broken")
        if how == "itself":
            raise Discard("enough")


class Forgotten(Ending):
    """Its rows are removed, however it ends."""

    keep_succeeded = False
    keep_failed = False


class Kept(Ending):
    """Its rows stay."""

    keep_succeeded = True


class Again(Ending):
    """Would be tried again."""

    max_attempts = 5
    retry = Constant(0)


class InItsTransaction(Job):
    """Completes in a transaction of its own."""

    def perform(self) -> None:
        with self.transaction():
            pass


@pytest.fixture(autouse=True)
def nothing_meanwhile() -> Iterator[None]:
    yield
    for job_class in (Ending, Forgotten, Kept, Again):
        job_class.meanwhile = staticmethod(lambda _: None)


def cancelled_from_outside(job: Job) -> None:
    """Somebody cancels it, and it sees that."""
    assert jobqueue.get(job.context.job_id or 0).cancel("called off") is JobState.RUNNING
    sees_it(job)


def cancelled_for_no_reason(job: Job) -> None:
    """Likewise, and nobody says why."""
    assert jobqueue.get(job.context.job_id or 0).cancel() is JobState.RUNNING
    sees_it(job)


def sees_it(job: Job) -> None:
    """The job goes on until it sees that it was cancelled."""
    wait_until(lambda: job.context.cancelled, "the job to see that it was cancelled")


def cancelled_unnoticed(job: Job) -> None:
    """Somebody cancels it, and it does not look."""
    jobqueue.get(job.context.job_id or 0).cancel("called off")


# --- who: the worker that performs it ------------------------------------------------------------

PERFORMED: dict[str, tuple[Any, str, Any, str, str | None]] = {
    "succeeded": (Forgotten, "well", None, "job_succeeded", None),
    "succeeded, kept": (Kept, "well", None, "job_succeeded", None),
    "failed": (Forgotten, "badly", None, "job_failed", "ValueError: broken"),
    "failed, kept": (Kept, "badly", None, "job_failed", "ValueError: broken"),
    "discarded": (Forgotten, "itself", None, "job_discarded", "enough"),
    "discarded, kept": (Kept, "itself", None, "job_discarded", "enough"),
    "cancelled": (Forgotten, "well", cancelled_from_outside, "job_cancelled", "called off"),
    "cancelled, kept": (Kept, "well", cancelled_from_outside, "job_cancelled", "called off"),
    "cancelled for no reason": (
        Kept,
        "well",
        cancelled_for_no_reason,
        "job_cancelled",
        "cancelled by the application",
    ),
    "cancelled, not tried again": (
        Again,
        "badly",
        cancelled_unnoticed,
        "job_cancelled",
        "called off",
    ),
    "cancelled, and succeeded": (Kept, "well", cancelled_unnoticed, "job_succeeded", None),
    "cancelled, and failed": (
        Kept,
        "badly",
        cancelled_unnoticed,
        "job_failed",
        "ValueError: broken",
    ),
}


@pytest.mark.parametrize("cell", PERFORMED)
def test_a_worker_tells_of_what_it_performed(ears: Ears, cell: str) -> None:
    job_class, how, meanwhile, event, reason = PERFORMED[cell]
    if meanwhile is not None:
        job_class.meanwhile = staticmethod(meanwhile)
    job = job_class.perform_later(how)
    ears.queue().work_off()
    ears.expect(Told(event, job.id, job_class.name, reason))


def test_a_worker_tells_of_arguments_that_it_cannot_read(ears: Ears) -> None:
    job = Ending.perform_later()
    assert ears.adapter.update_args(job.id, '{"how": 1}')
    ears.queue().work_off()
    why = f"jobqueue.errors.InvalidArguments: {Ending.name}: the stored arguments do not fit "
    why += "perform: how: Input should be a valid string"
    ears.expect(Told("job_failed", job.id, Ending.name, why))


def test_a_worker_tells_of_arguments_that_have_not_fitted_for_an_hour(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    with listening_on(clocked_adapter) as ears:
        job = Again.perform_later()
        assert ears.adapter.update_args(job.id, '{"why": "so"}')
        ears.queue().work_off()
        ears.expect()
        clock.advance(ROLLOUT.total_seconds())
        ears.queue().work_off()
    why = f"{Again.name}: the stored arguments (why) do not fit perform(how: str = 'well'): got "
    why += "an unexpected keyword argument 'why'. No worker came by within 1:00:00 whose release "
    ears.expect(Told("job_failed", job.id, Again.name, f"{why}takes them"))


def test_a_worker_tells_of_what_completed_itself(ears: Ears) -> None:
    if isinstance(ears.adapter, MemoryAdapter):
        pytest.skip("memory has no transactions of its own")
    job = InItsTransaction.perform_later()
    ears.queue().work_off()
    ears.expect(Told("job_succeeded", job.id, InItsTransaction.name))


def test_a_worker_does_not_tell_of_what_it_lost(ears: Ears) -> None:
    """Whoever deleted the job while it ran has told."""

    def delete(job: Job) -> None:
        where = JobFilter(ids=(job.context.job_id or 0,))
        ends = ears.queue().ends
        ends.report_deleted(ears.adapter.delete_each(where, include_running=True), "forced")

    Kept.meanwhile = staticmethod(delete)
    job = Kept.perform_later()
    assert ears.queue().work_off().rejected == 1
    ears.expect(Told("job_deleted", job.id, Kept.name, "forced"))


@pytest.mark.parametrize("how", ["strays", "at its end"])
def test_a_worker_tells_of_what_it_gives_back(ears: Ears, how: str) -> None:
    """Claimed in its name and never performed: cancelled meanwhile, it ends there."""
    job = Kept.perform_later()
    settings = ears.queue(lease=0.01 if how == "strays" else 30).settings
    worker = Worker(
        ears.adapter, registry, settings, logging.getLogger("jobqueue"), until_idle=True
    )
    [claimed] = ears.adapter.claim(Claim(worker.id, 7, 1, 1))
    assert jobqueue.get(claimed.id).cancel("called off") is JobState.RUNNING
    worker.run()
    ears.expect(Told("job_cancelled", job.id, Kept.name, "called off"))


# --- who: the rescuer ----------------------------------------------------------------------------


def test_a_rescuer_tells_of_what_ended_with_its_worker(ears: Ears, wait_for: WaitFor) -> None:
    last, cancelled = Kept.perform_later(), Again.perform_later()
    orphan, cancelled_orphan = Kept.perform_later(), Again.perform_later()
    lease = timedelta(seconds=0.2)
    for name in ("gone", "unknown"):
        ears.adapter.claim(Claim(name, 7, 2, 2))
    ears.adapter.register_worker(NewWorker("gone", "w", "elsewhere", 1, None, 2, lease))
    for job in (cancelled, cancelled_orphan):
        assert job.cancel("called off") is JobState.RUNNING
    jobs = (last, cancelled, orphan, cancelled_orphan)
    with ears.queue(lease=0.2).running():
        wait_for(lambda: len(ears.hooks) >= len(jobs), "the hooks")
    ears.expect(
        Told("job_failed", last.id, Kept.name, is_gone("gone")),
        Told("job_cancelled", cancelled.id, Again.name, "called off"),
        Told("job_failed", orphan.id, Kept.name, is_gone("unknown")),
        Told("job_cancelled", cancelled_orphan.id, Again.name, "called off"),
    )


def is_gone(worker: str) -> str:
    """The reason for the end of a job whose worker is gone."""
    return (
        f"the worker {worker} that performed it is gone: its process was killed, or its machine "
        "was silent for longer than the lease"
    )


def test_a_rescuer_leaves_it_to_the_supervisor_that_knows_why(sqlite_url: str) -> None:
    """On SQLite a process that is gone is known at once, perhaps before its parent has looked."""
    lease = timedelta(seconds=30)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with contextlib.closing(connect(sqlite_url)) as adapter:
        worker = NewWorker("w", "w", socket.gethostname(), gone.pid, None, 1, lease)
        adapter.register_worker(worker)
        assert Rescuer(adapter, lease, is_awaited={"w"}.__contains__).rescue() == []
        assert [rescue.worker_id for rescue in Rescuer(adapter, lease).rescue()] == ["w"]


# --- who: the API --------------------------------------------------------------------------------

BY_API: dict[str, tuple[Callable[[Any, int], Any], str, str]] = {
    "cancel": (
        lambda api, i: api.post(f"/api/job/{i}/cancel", json={"reason": "no"}),
        "job_cancelled",
        "no",
    ),
    "bulk cancel": (
        lambda api, i: api.post("/api/jobs/cancel", json={"filter": {"ids": [i]}, "reason": "no"}),
        "job_cancelled",
        "no",
    ),
    "cancel for no reason": (
        lambda api, i: api.post(f"/api/job/{i}/cancel"),
        "job_cancelled",
        "cancelled by ann",
    ),
    "bulk cancel for no reason": (
        lambda api, i: api.post("/api/jobs/cancel", json={"filter": {"ids": [i]}}),
        "job_cancelled",
        "cancelled by ann",
    ),
    "delete": (lambda api, i: api.delete(f"/api/job/{i}"), "job_deleted", "deleted by ann"),
    "bulk delete": (
        lambda api, i: api.post("/api/jobs/delete", json={"filter": {"ids": [i]}}),
        "job_deleted",
        "deleted by ann",
    ),
}


@pytest.mark.parametrize("cell", BY_API)
@pytest.mark.parametrize("whose", ["configured", "the queue's own"])
def test_the_api_tells(ears: Ears, cell: str, whose: str) -> None:
    ask, event, reason = BY_API[cell]
    hooks: Any = None if whose == "configured" else [Noting(ears.hooks)]
    if hooks is not None:
        default_configuration.configure(hooks=[])
    job = Kept.perform_later()
    with client_of(ears.queue(hooks=hooks)) as api:
        assert ask(api, job.id).status_code == 200
    ears.expect(Told(event, job.id, Kept.name, reason))


@pytest.mark.parametrize("cell", [cell for cell in BY_API if "cancel" in cell])
def test_the_api_leaves_it_to_the_worker_to_tell_of_a_running_job(ears: Ears, cell: str) -> None:
    ask, event, reason = BY_API[cell]
    with client_of(ears.queue()) as api:

        def cancel(job: Job) -> None:
            assert ask(api, job.context.job_id or 0).status_code == 200
            assert ears.log == ears.hooks == []
            sees_it(job)

        Kept.meanwhile = staticmethod(cancel)
        job = Kept.perform_later()
        ears.queue().work_off()
    ears.expect(Told(event, job.id, Kept.name, reason))


# --- who: the application ------------------------------------------------------------------------

BY_APPLICATION: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "cancel": (lambda job: job.cancel("no"), "job_cancelled", "no"),
    "get and cancel": (lambda job: jobqueue.get(job.id).cancel("no"), "job_cancelled", "no"),
    "delete": (lambda job: job.delete("no"), "job_deleted", "no"),
    "get and delete": (lambda job: jobqueue.get(job.id).delete("no"), "job_deleted", "no"),
    "cancel for no reason": (
        lambda job: job.cancel(),
        "job_cancelled",
        "cancelled by the application",
    ),
    "get and cancel for no reason": (
        lambda job: jobqueue.get(job.id).cancel(),
        "job_cancelled",
        "cancelled by the application",
    ),
    "delete for no reason": (
        lambda job: job.delete(),
        "job_deleted",
        "deleted by the application",
    ),
    "get and delete for no reason": (
        lambda job: jobqueue.get(job.id).delete(),
        "job_deleted",
        "deleted by the application",
    ),
}


@pytest.mark.parametrize("cell", BY_APPLICATION)
def test_the_application_tells(ears: Ears, cell: str) -> None:
    end, event, reason = BY_APPLICATION[cell]
    job = Kept.perform_later()
    end(job)
    ears.expect(Told(event, job.id, Kept.name, reason))


def test_a_queue_with_hooks_of_its_own_tells_these(ears: Ears) -> None:
    own: list[Told] = []
    job = ears.queue(hooks=[Noting(own)]).enqueue(Kept)
    job.refresh().cancel("no")
    assert own == ears.log == [Told("job_cancelled", job.id, Kept.name, "no")]
    assert ears.hooks == []


def test_the_end_of_a_cancelled_job_is_told_once_however_often_it_is_cancelled(ears: Ears) -> None:
    job = Kept.perform_later()
    job.cancel("no")
    for end in (job.cancel, jobqueue.get(job.id).cancel):
        with pytest.raises(jobqueue.StateConflict):
            end("once more")
    job.delete()
    ears.expect(Told("job_cancelled", job.id, Kept.name, "no"))


def test_in_an_inbox_as_well(ears: Ears) -> None:
    with inbox() as box:
        Again.meanwhile = staticmethod(cancelled_unnoticed)
        job = Again.perform_later("badly")
        box.perform_all(raise_errors=False)
    assert ears.hooks == [Told("job_cancelled", job.id, Again.name, "called off")]


# --- what is no end ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pruned", "deleted", "bulk", "cleared"])
def test_removing_what_has_ended_is_no_end(ears: Ears, how: str) -> None:
    job = Kept.perform_later()
    ears.queue().work_off()
    told = Told("job_succeeded", job.id, Kept.name)
    ears.expect(told)
    if how == "pruned":
        Kept.keep_succeeded = False
        try:
            assert Pruner(ears.adapter, "w", registry, ears.queue().settings).prune() == 1
        finally:
            Kept.keep_succeeded = True
    elif how == "deleted":
        jobqueue.get(job.id).delete()
    elif how == "bulk":
        with client_of(ears.queue()) as api:
            assert BY_API["bulk delete"][0](api, job.id).json()["count"] == 1
    else:
        assert remove_all(ears, tuple(JobState)) == 1
    assert ears.adapter.get(job.id) is None
    ears.expect(told)


# --- many ----------------------------------------------------------------------------------------


UNHELD = tuple(state for state in JobState if state is not JobState.RUNNING)


def remove_all(ears: Ears, states: tuple[JobState, ...]) -> int:
    """Remove all jobs in these states by a bulk action; return how many."""
    where = JobFilter(states=states)
    action = bulk_action(ActionKind.DELETE, where, "ada", reason="cleared")
    begun = ears.adapter.begin_action(action, "me")
    return run_action(ears.adapter, begun, ears.queue().ends).number


def test_of_many_jobs_each_is_told_of(ears: Ears) -> None:
    number = 3 * BATCH + 1
    jobs = Kept.perform_all_later([() for _ in range(number)])
    held = ears.adapter.claim(Claim("w", 7, 2, 2))
    jobqueue.get(jobs[-1].id).cancel("no")
    ears.log.clear()
    ears.hooks.clear()
    assert remove_all(ears, UNHELD) == number - 2
    taken = {job.id for job in held} | {jobs[-1].id}
    left = [
        Told("job_deleted", job.id, Kept.name, "cleared") for job in jobs if job.id not in taken
    ]
    ears.expect(*left)
    assert remove_all(ears, tuple(JobState)) == 2
    ears.expect(*left, *(Told("job_deleted", job.id, Kept.name, "cleared") for job in held))


def test_where_nobody_listens_no_job_is_read(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kept.perform_all_later([() for _ in range(5)])
    in_memory = isinstance(adapter, MemoryAdapter)  # which has them all at hand
    if not in_memory:
        monkeypatch.setattr(adapter, "delete_each", None)
    ends = JobQueue(adapter).ends
    where = JobFilter(queues=("default",))
    assert not ends.reaches_anybody("job_cancelled")
    assert delete_some(adapter, where, "no", ends) == 5


def test_who_listens() -> None:
    nobody = JobQueue(MemoryAdapter()).ends
    assert not nobody.reaches_anybody("job_deleted")
    assert JobQueue(MemoryAdapter(), hooks=[Noting([])]).ends.reaches_anybody("job_deleted")
    loud = logging.getLogger("jobqueue.loud")
    loud.setLevel(logging.INFO)
    loud.addHandler(NotingHandler([]))
    assert replace(nobody, logger=loud).reaches_anybody("job_deleted")
    loud.setLevel(logging.WARNING)
    assert not replace(nobody, logger=loud).reaches_anybody("job_deleted")


# --- processes: the command line, and the supervisor ---------------------------------------------

NOTING = """
    import json
    import logging
    import os
    import time
    from pathlib import Path

    import jobqueue
    from jobqueue import Hooks, Job


    def note(file, **facts):
        with Path(file).open("a") as out:
            out.write(json.dumps(facts) + "\\n")


    class Noting(Hooks):
        def note(self, event, job, reason=None):
            note("hooks.txt", event=event, job_id=job.id, job=job.handler, reason=reason)

        def job_succeeded(self, job, run_time):
            self.note("job_succeeded", job)

        def job_failed(self, job, error):
            self.note("job_failed", job, error)

        def job_cancelled(self, job, reason):
            self.note("job_cancelled", job, reason)

        def job_deleted(self, job, reason):
            self.note("job_deleted", job, reason)


    jobqueue.configure(hooks=[Noting()])


    class Quiet(Job):
        def perform(self) -> None:
            pass


    class Waits(Job):
        def perform(self) -> None:
            Path("waits.started").touch()
            while not Path("waits.go").exists():
                time.sleep(0.01)


    class Dies(Job):
        def perform(self, last: bool = True) -> None:
            os.kill(os.getpid(), 9)


    class DiesAtLast(Dies):
        max_attempts = 1


    class Overdue(Job):
        max_attempts = 1
        max_runtime = 0.2

        def perform(self) -> None:
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass


    class Hangs(Job):
        def perform(self, name: str) -> None:
            Path(f"{name}.started").touch()
            while not Path(f"{name}.die").exists():
                try:
                    time.sleep(0.01)
                except BaseException:
                    pass
            os.kill(os.getpid(), 9)
"""
LOGGING = """
    class Handler(logging.Handler):
        def emit(self, record):
            facts = record.__dict__
            if "job_id" in facts:
                names = ("event", "job_id", "job", "reason", "error")
                note("log.txt", **{name: facts.get(name) for name in names})


    logging.getLogger("jobqueue").setLevel("INFO")
    logging.getLogger("jobqueue").addHandler(Handler())
"""


def noted_in(project: Project, name: str) -> list[Told]:
    path = project.folder / name
    lines = path.read_text().splitlines() if path.exists() else []
    noted = [json.loads(line) for line in lines]
    for facts in noted:
        facts["reason"] = facts.get("reason") or facts.get("error")
    return sorted((told_by(facts) for facts in noted if facts["event"] in ENDS), key=str)


def logged_in(log: Path) -> list[Told]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return sorted((told_by(facts) for facts in lines if facts.get("event") in ENDS), key=str)


def test_the_command_line_tells(project: Project) -> None:
    project.write("jobs.py", textwrap.dedent(NOTING) + textwrap.dedent(LOGGING))
    for _ in range(5):
        assert project.jobs("enqueue", "Quiet").exit_code == 0
    assert project.jobs("cancel", "1", "2").exit_code == 0
    assert project.jobs("cancel", "1").exit_code == 1
    assert project.jobs("retry", "2").exit_code == 0
    assert project.jobs("clear", "--state", "ready,cancelled", "--yes").exit_code == 0
    me = user_at_host()
    expected = [Told("job_cancelled", i, "jobs.Quiet", f"cancelled by {me}") for i in (1, 2)]
    expected += [Told("job_deleted", i, "jobs.Quiet", f"deleted by {me}") for i in (2, 3, 4, 5)]
    assert noted_in(project, "log.txt") == sorted(expected, key=str)
    assert noted_in(project, "hooks.txt") == sorted(expected, key=str)


def test_the_command_line_tells_of_a_running_job_that_it_clears(
    project: Project, wait_for: WaitFor, tmp_path: Path
) -> None:
    """Its worker, whose outcome is rejected, says nothing more of it."""
    project.write("jobs.py", textwrap.dedent(NOTING) + textwrap.dedent(LOGGING))
    job_id = enqueue(project, "Waits")
    working = Running(project, tmp_path / "workoff.log", "workoff")
    try:
        wait_for(exists(project, "waits.started"), "the job")
        assert "Removed 0 jobs" in project.jobs("clear", "--yes").out
        assert noted_in(project, "log.txt") == noted_in(project, "hooks.txt") == []
        assert "Removed 1 job" in project.jobs("clear", "--force", "--yes").out
        (project.folder / "waits.go").touch()
        assert working.ended()[0] == 0
    finally:
        working.kill()
    assert '"job_rejected"' in (project.folder / "log.txt").read_text()
    told = [Told("job_deleted", job_id, "jobs.Waits", f"deleted by {user_at_host()}")]
    assert noted_in(project, "log.txt") == noted_in(project, "hooks.txt") == told


def test_a_supervisor_tells_of_what_ended_with_a_worker_elsewhere(
    project: Project, wait_for: WaitFor, tmp_path: Path
) -> None:
    """A worker whose lease ends, and one that nobody knows; at the last attempt, and cancelled."""
    project.write("jobs.py", NOTING)
    lease = timedelta(seconds=0.5)
    last, again = (NewJob("jobs.Quiet", "{}", "default", 50, attempts) for attempts in (1, 5))
    with database_of(project) as adapter:
        jobs = adapter.enqueue([last, again, last, again])
        for name in ("gone", "unknown"):
            adapter.claim(Claim(name, 7, 2, 2))
        adapter.register_worker(NewWorker("gone", "w", "elsewhere", 1, None, 2, lease))
        for job in (jobs[1], jobs[3]):
            assert job.cancel("called off") is JobState.RUNNING
    environment = {"JOBS_LOG_FORMAT": "json", "JOBS_LEASE": str(lease.total_seconds())}
    project = replace(project, environment={**project.environment, **environment})
    log = tmp_path / "work.log"
    running = Running(project, log, "work", "-n", "1")
    try:
        wait_for(lambda: len(logged_in(log)) >= len(jobs), "the records")
        running.send(signal.SIGTERM)
        assert running.ended()[0] == 0
        wait_for(lambda: len(noted_in(project, "hooks.txt")) >= len(jobs), "the hooks")
    finally:
        running.kill()
    told = [
        Told("job_failed", jobs[0].id, "jobs.Quiet", is_gone("gone")),
        Told("job_cancelled", jobs[1].id, "jobs.Quiet", "called off"),
        Told("job_failed", jobs[2].id, "jobs.Quiet", is_gone("unknown")),
        Told("job_cancelled", jobs[3].id, "jobs.Quiet", "called off"),
    ]
    assert logged_in(log) == noted_in(project, "hooks.txt") == sorted(told, key=str)


def test_a_supervisor_tells_of_those_that_ended_with_their_process(
    project: Project, wait_for: WaitFor, tmp_path: Path
) -> None:
    """Killed for a timeout, crashed at the last attempt, crashed for the third time, cancelled and
    crashed; and while everything ends: cancelled, and killed at the end of the grace, when no
    worker is left that could tell."""
    project.write("jobs.py", NOTING)
    for name in ("Overdue", "DiesAtLast", "Dies"):
        assert project.jobs("enqueue", name).exit_code == 0
    assert project.jobs("enqueue", "Hangs", '{"name": "first"}').exit_code == 0
    environment = {
        "JOBS_LOG_FORMAT": "json",
        "JOBS_KILL_AFTER": "0.2",
        "JOBS_GRACE": "0.2",
        "JOBS_POLL_INTERVAL": "0.1",
    }
    project = replace(project, environment={**project.environment, **environment})
    log = tmp_path / "work.log"
    running = Running(project, log, "work", "-n", "2")
    hangs, last = 4, 5

    def started(name: str) -> Callable[[], bool]:
        return (project.folder / f"{name}.started").exists

    try:
        with database_of(project) as adapter:
            wait_for(started("first"), "the job that hangs")
            assert adapter.request_cancel(hangs, "called off") is not None
            (project.folder / "first.die").touch()
            wait_for(lambda: len(noted_in(project, "hooks.txt")) >= 4, "four ends")
            assert project.jobs("enqueue", "Hangs", '{"name": "last"}').exit_code == 0
            wait_for(started("last"), "the last one")
            assert adapter.request_cancel(last, "not wanted") is not None
        running.send(signal.SIGTERM)
        assert running.ended()[0] == 0
        wait_for(lambda: len(noted_in(project, "hooks.txt")) >= 5, "five ends")
    finally:
        running.kill()
    told = noted_in(project, "hooks.txt")
    assert logged_in(log) == told
    assert [(t.event, t.job_id, t.job) for t in told] == [
        ("job_cancelled", hangs, "jobs.Hangs"),
        ("job_cancelled", last, "jobs.Hangs"),
        ("job_failed", 1, "jobs.Overdue"),
        ("job_failed", 2, "jobs.DiesAtLast"),
        ("job_failed", 3, "jobs.Dies"),
    ]
    reasons = {(t.event, t.job_id): t.reason or "" for t in told}
    assert reasons["job_cancelled", hangs] == "called off"
    assert reasons["job_cancelled", last] == "not wanted"
    assert "ran longer than its max_runtime" in reasons["job_failed", 1]
    assert "died while it performed this job" in reasons["job_failed", 2]
    assert "died while it performed this job" in reasons["job_failed", 3]
