"""The supervisor: jobs and workers when processes die, hang, or are told to stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobqueue import JobState
from jobqueue.process_identity import identity_of
from jobqueue.records import JobFilter
from jobqueue.runner.daemon import DaemonFiles, own_state
from tests.conftest import Project
from tests.process.conftest import (
    Running,
    Start,
    WaitFor,
    database_of,
    enqueue,
    exists,
    is_running,
    is_untouched,
    show,
)
from tests.process.outage import freeze, outage

QUICK = ("--poll-interval", "0.05")


def children_of(running: Running) -> list[psutil.Process]:
    try:
        return psutil.Process(running.pid).children()
    except psutil.NoSuchProcess:
        return []


def pid_of_worker_with(project: Project, job_id: int) -> int:
    with database_of(project) as adapter:
        record = adapter.get(job_id)
        assert record is not None
        return next(worker.pid for worker in adapter.workers() if worker.id == record.locked_by)


def states(project: Project) -> dict[JobState, int]:
    with database_of(project) as adapter:
        return dict(adapter.count_by_state())


def done_lines(project: Project) -> list[str]:
    path = project.folder / "done.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_workers_job_is_free_within_a_second(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    running = start("work", "-n", "2", *QUICK)
    started = slow_project.folder / "slow.started"
    wait_for(started.exists, "the job to start")
    pid = pid_of_worker_with(slow_project, job_id)
    started.unlink()
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    wait_for(started.exists, "the job to start again")
    assert time.monotonic() - killed_at < 3, "a lease would have been 30 s"
    record = show(slow_project, job_id)
    assert is_running(record, 2)
    assert record is not None
    assert record.crashes == 1
    assert "died while it performed this job (signal SIGKILL)" in (record.last_error or "")
    (slow_project.folder / "slow.go").touch()
    wait_for(lambda: done_lines(slow_project) == ["slow"], "the job to be done")
    wait_for(lambda: len(children_of(running)) == 2, "the dead worker's successor")


def test_only_the_poisonous_job_fails(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    poison = enqueue(slow_project, "KillsItself")
    for _ in range(30):
        enqueue(slow_project, "Quick")
    running = start("work", "-n", "2", *QUICK)
    wait_for(lambda: states(slow_project) == {JobState.FAILED: 1}, "all jobs to end")
    record = show(slow_project, poison)
    assert record is not None
    assert (record.attempts, record.crashes) == (3, 3)
    # Not one of them is performed twice: the first was performed after the poison, and the poison
    # is performed alone from its second attempt on, when all others are settled.
    assert done_lines(slow_project) == ["quick"] * 30
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0


def test_a_killed_supervisor_takes_its_workers_with_it(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    enqueue(slow_project, "Slow")
    running = start("work", "-n", "2", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    workers = children_of(running)
    assert len(workers) == 2
    running.send(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_what_runs_past_the_grace_is_given_back(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    running = start("work", "--grace", "0.5", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    running.send(signal.SIGTERM)
    exit_code, log = running.ended()
    assert exit_code == 0, log
    assert is_untouched(show(slow_project, job_id))


@pytest.mark.parametrize("first", [signal.SIGQUIT, signal.SIGTERM])
def test_now_means_now(
    slow_project: Project, start: Start, wait_for: WaitFor, first: signal.Signals
) -> None:
    job_id = enqueue(slow_project, "Slow")
    running = start("work", "--concurrency", "3", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    running.send(first)
    if first == signal.SIGTERM:
        wait_for(lambda: "is stopping" in running.log, "the supervisor to say that it stops")
        running.send(signal.SIGTERM)
    exit_code, log = running.ended()
    assert exit_code == 0, log
    assert is_untouched(show(slow_project, job_id))
    assert "Traceback" not in log


def test_a_rolling_restart_brings_new_code(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    enqueue(slow_project, "Slow")
    running = start("work", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    (old,) = children_of(running)
    code = (slow_project.folder / "jobs.py").read_text()
    slow_project.write("jobs.py", code.replace('"quick\\n"', '"new quick\\n"'))
    running.send(signal.SIGHUP)
    enqueue(slow_project, "Quick")
    wait_for(lambda: done_lines(slow_project) == ["new quick"], "a new worker")
    assert old.is_running()
    (slow_project.folder / "slow.go").touch()
    wait_for(lambda: not old.is_running(), "the old worker to end")
    assert done_lines(slow_project) == ["new quick", "slow"]


def test_old_workers_go_on_when_new_ones_cannot_start(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")
    (old,) = children_of(running)
    (slow_project.folder / "jobs.py").write_text("def broken(")
    running.send(signal.SIGHUP)
    wait_for(lambda: "the old one goes on" in running.log, "the restart to fail")
    assert [child.pid for child in children_of(running)] == [old.pid]
    enqueue(slow_project, "Quick")
    wait_for(lambda: done_lines(slow_project) == ["quick"], "the old worker to work")


def test_quiet_and_awake_again(slow_project: Project, start: Start, wait_for: WaitFor) -> None:
    running = start("work", *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")
    running.send(signal.SIGTSTP)
    wait_for(lambda: "resting" in slow_project.jobs("status").out, "it to rest")
    enqueue(slow_project, "Slow")
    (slow_project.folder / "slow.go").touch()
    running.send(signal.SIGUSR2)
    wait_for(lambda: "Current thread" in running.log or "Thread 0x" in running.log, "the stacks")
    wait_for(lambda: states(slow_project) == {JobState.READY: 1}, "the job to be given back")
    running.send(signal.SIGCONT)
    wait_for(lambda: done_lines(slow_project) == ["slow"], "the job")


def test_a_job_that_ignores_its_time_is_killed_with_its_process_alone(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    stubborn, slow = enqueue(slow_project, "Stubborn"), enqueue(slow_project, "Slow")
    running = start("work", "-n", "2", "--kill-after", "0.5", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the other job to start")
    bystander = pid_of_worker_with(slow_project, slow)
    wait_for(lambda: "ignored its max_runtime" in running.log, "the worker to be killed")

    def is_charged() -> bool:
        record = show(slow_project, stubborn)
        return record is not None and "JobTimeout" in (record.last_error or "")

    wait_for(is_charged, "the timed-out job to be free again")
    record = show(slow_project, stubborn)
    assert record is not None
    assert record.crashes == 0
    assert is_running(show(slow_project, slow), 1)
    assert psutil.pid_exists(bystander)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_is_replaced_after_so_many_jobs(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "--max-jobs", "2", *QUICK)
    for number in range(1, 4):
        enqueue(slow_project, "Quick")
        enqueue(slow_project, "Quick")
        done = 2 * number
        wait_for(lambda: len(done_lines(slow_project)) >= done, "two jobs")  # noqa: B023 - waited for here
    wait_for(lambda: running.log.count("works on") >= 3, "successors")
    assert "died" not in running.log


def test_a_frozen_worker_is_not_beaten_for(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    frozen = start("work", "--lease", "1", *QUICK)
    started = slow_project.folder / "slow.started"
    wait_for(started.exists, "the job to start")
    pid = pid_of_worker_with(slow_project, job_id)
    started.unlink()
    wake = freeze(pid, slow_project.environment["JOBS_DATABASE_URL"])
    start("work", "--lease", "1", *QUICK)
    wait_for(started.exists, "another worker to take the job")
    (slow_project.folder / "slow.go").touch()
    wake()
    wait_for(lambda: "was rejected" in frozen.log, "the late outcome to be rejected")
    wait_for(lambda: show(slow_project, job_id) is None, "the job to be done by the other")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_long_transaction_of_the_application_costs_no_worker_its_jobs(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    holder = start("work", "--lease", "0.5", *QUICK)
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    other = start("work", "--lease", "0.5", *QUICK)
    wait_for(lambda: "works on" in other.log, "the other worker")
    held_since = time.monotonic()
    with outage(slow_project.environment["JOBS_DATABASE_URL"]):
        wait_for(lambda: time.monotonic() - held_since > 2, "several leases to go by")
    (slow_project.folder / "slow.go").touch()
    wait_for(lambda: show(slow_project, job_id) is None, "the job to be done")
    assert done_lines(slow_project) == ["slow"]
    assert "rejected" not in holder.log
    assert "is gone" not in other.log


def test_work_off_with_several_workers(slow_project: Project) -> None:
    code = "import jobs; jobs.Quick.perform_all_later([()] * 500)"
    assert slow_project.python("-c", code).exit_code == 0
    run = slow_project.jobs("workoff", "-n", "2")
    assert run.exit_code == 0, run.err
    assert len(done_lines(slow_project)) == 500
    assert states(slow_project) == {}


# --- detached ------------------------------------------------------------------------------------


def status(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.jobs("status", "--json").out)
    return found


@pytest.fixture
def detached(slow_project: Project) -> Any:
    yield slow_project
    slow_project.jobs("stop")


def test_start_status_restart_stop(detached: Project, wait_for: WaitFor) -> None:
    started = detached.jobs("start", "-n", "default:2,email:1", *QUICK)
    assert started.exit_code == 0, started.err
    assert "Started 3 workers" in started.out
    folder = detached.folder / ".jobs"
    assert folder.stat().st_mode & 0o777 == 0o700
    wait_for(lambda: len(status(detached)["workers"]) == 3, "three workers")
    before = {worker["name"]: worker["pid"] for worker in status(detached)["workers"]}
    assert set(before) == {"default.0", "default.1", "email.0"}

    again = detached.jobs("start", "-n", "default:2,email:1")
    assert again.exit_code == 1
    assert "run already" in again.err

    enqueue(detached, "Slow")
    wait_for(exists(detached, "slow.started"), "the job to start")
    (queue,) = status(detached)["queues"]
    assert (queue["queue"], queue["running"], queue["due"]) == ("default", 1, 0)

    assert detached.jobs("restart").exit_code == 0
    names = {worker["name"] for worker in status(detached)["workers"]}
    assert names == set(before)
    (detached.folder / "slow.go").touch()
    wait_for(lambda: done_lines(detached) == ["slow"], "the old worker to finish its job")

    assert detached.jobs("stop", "-n", "email:1").out.startswith("No workers")
    assert detached.jobs("stop").exit_code == 0
    assert status(detached)["workers"] == []
    assert detached.jobs("stop").out.startswith("No workers")


def test_every_spec_has_files_of_its_own(tmp_path: Path) -> None:
    long = ",".join(f"{'q' * 120}{number}:1" for number in range(9))
    specs = ("", "4", "a:1,b:2", "a-1-b:2", "a+b:2", "a,b:2", "*:1", "all:1", long, f"{long}1")
    files = {spec: DaemonFiles(tmp_path, spec) for spec in specs}
    assert len({found.lock for found in files.values()}) == len(specs)
    for spec, found in files.items():
        found.prepare()
        os.close(found.hold_lock())
        assert found.lock.parent == tmp_path / ".jobs", spec
        assert DaemonFiles(tmp_path, found.lock.stem).state == found.state, "found by its lock"
    assert DaemonFiles(tmp_path, "../x").lock.parent == tmp_path / ".jobs"


def test_start_says_why_it_cannot(detached: Project) -> None:
    detached.write("jobs.py", "import nowhere_to_be_found\n")
    run = detached.jobs("start")
    assert run.exit_code == 2
    assert "nowhere_to_be_found" in run.err
    assert detached.jobs("start", "-n", "email").exit_code == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_stale_file_never_stops_another_program(detached: Project) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    (path,) = (detached.folder / ".jobs").glob("*.json")
    state = json.loads(path.read_text())
    os.kill(state["pid"], signal.SIGKILL)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(state["pid"]).wait(10)
    path.write_text(json.dumps({**state, "pid": os.getpid()}))
    run = detached.jobs("stop")
    assert run.exit_code == 0
    assert run.out.startswith("No workers")
    assert detached.jobs("start", *QUICK).exit_code == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_workers_are_found_when_the_clock_was_set(detached: Project) -> None:
    """All start times move with the machine's clock, but those that were written down."""
    assert detached.jobs("start", *QUICK).exit_code == 0
    (path,) = (detached.folder / ".jobs").glob("*.json")
    move_start(path, timedelta(hours=-1))
    restarted = detached.jobs("restart")
    assert (restarted.exit_code, restarted.out) == (0, "Renewed 1 worker.\n")
    assert "these workers run already" in detached.jobs("start", *QUICK).err
    move_start(path, timedelta(hours=2))
    stopped = detached.jobs("stop")
    assert (stopped.exit_code, stopped.out[:19]) == (0, "Stopped the workers")


def move_start(path: Path, by: timedelta) -> None:
    """Have a state file say that its supervisor started then, as if the clock had been set back."""
    state = json.loads(path.read_text())
    state["process_started_at"] += by.total_seconds()
    path.write_text(json.dumps(state))


@pytest.fixture
def own_files(tmp_path: Path) -> Iterator[DaemonFiles]:
    """Files of which this very process holds the lock."""
    files = DaemonFiles(tmp_path, "")
    files.prepare()
    lock = files.hold_lock()
    files.write(own_state("", timedelta(seconds=1)))
    yield files
    os.close(lock)


@pytest.mark.parametrize(("late_by_seconds", "is_found"), [(0, True), (3600, False)])
def test_what_a_former_release_has_written_is_understood(
    own_files: DaemonFiles, late_by_seconds: float, is_found: bool
) -> None:
    """It has noted no identity in the lock, and is told by its start time."""
    for note in ("", f"{os.getpid() + 1} another boot:1"):
        own_files.lock.write_text(note)
        own_files.write(own_state("", timedelta(seconds=1)))
        move_start(own_files.state, timedelta(seconds=late_by_seconds))
        assert (own_files.read() is not None) is is_found


def test_another_process_with_the_id_of_a_supervisor_is_no_supervisor(
    own_files: DaemonFiles,
) -> None:
    own_files.lock.write_text(f"{os.getpid()} {identity_of(os.getppid())}")
    assert own_files.read() is None


def test_a_state_of_a_later_release_is_understood(own_files: DaemonFiles) -> None:
    state = json.loads(own_files.state.read_text())
    own_files.state.write_text(json.dumps({**state, "unknown": 1}))
    assert own_files.read() == own_state("", timedelta(seconds=1))


def test_two_starts_at_once_do_not_both_run(detached: Project, start: Start) -> None:
    both = [start("start", *QUICK) for _ in range(2)]
    codes = sorted(running.ended()[0] for running in both)
    assert codes == [0, 1]
    with database_of(detached) as adapter:
        assert adapter.count_jobs(JobFilter()) == 0
        assert len(adapter.workers()) == 1


# --- other groups --------------------------------------------------------------------------------

GROUPS = """
    [workers.mail]
    queues = ["email"]
    count = {mail}

    [workers.rest]
    queues = [{rest}]
    count = 1
"""


def names_and_queues(project: Project) -> list[tuple[str, list[str]]]:
    return sorted((w["name"], w["queues"]) for w in status(project)["workers"])


def test_a_restart_takes_over_what_the_groups_have_become(
    detached: Project, wait_for: WaitFor
) -> None:
    detached.write("jobqueue.toml", GROUPS.format(mail=2, rest='"slow"'))
    assert detached.jobs("start", *QUICK).exit_code == 0
    before = [("mail.0", ["email"]), ("mail.1", ["email"]), ("rest.0", ["slow"])]
    wait_for(lambda: names_and_queues(detached) == before, "the workers")
    enqueue(detached, "Quick")

    detached.write("jobqueue.toml", GROUPS.format(mail=1, rest='"slow", "default"'))
    run = detached.jobs("restart")
    assert run.exit_code == 0, run.err
    assert run.out == "Renewed 2 workers.\n"
    after = [("mail.0", ["email"]), ("rest.0", ["slow", "default"])]
    wait_for(lambda: names_and_queues(detached) == after, "the others")
    wait_for(lambda: done_lines(detached) == ["quick"], "a job of the queue that is new")
    supervisor = psutil.Process(_pid_of_daemon(detached))
    assert supervisor.cmdline()[0].strip() == "jobs supervisor mail:1,rest:1"

    detached.write("jobqueue.toml", "[workers.more]\ncount = 3\nconcurrency = 2\n")
    assert detached.jobs("restart").out == "Renewed 3 workers.\n"
    wait_for(lambda: [n for n, _ in names_and_queues(detached)] == MORE, "other groups")
    assert [worker["concurrency"] for worker in status(detached)["workers"]] == [2, 2, 2]
    assert detached.jobs("stop").exit_code == 0


MORE = ["more.0", "more.1", "more.2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[workers.mail]\ncount = 0\n", "count of workers.mail in jobqueue.toml is 0"),
        ("[workers.mail", "is not valid TOML"),
        ('database_url = "sqlite:///other.sqlite3"\n', "`database_url` has changed"),
    ],
)
def test_a_restart_says_what_is_wrong_with_the_configuration(
    detached: Project, text: str, said: str
) -> None:
    url = detached.environment["JOBS_DATABASE_URL"]
    project = replace(detached, environment=without_url(detached))
    project.write("jobqueue.toml", f'database_url = "{url}"\n')
    assert project.jobs("start", *QUICK).exit_code == 0
    before = status(project)["workers"]
    same = "" if "database_url" in text else f'database_url = "{url}"\n'
    project.write("jobqueue.toml", same + text)
    try:
        run = project.jobs("restart")
        assert run.exit_code == 1
        assert said in run.err
        assert "were not renewed" in run.err
    finally:
        project.write("jobqueue.toml", f'database_url = "{url}"\n')
    assert [w["pid"] for w in status(project)["workers"]] == [w["pid"] for w in before]
    assert project.jobs("restart").exit_code == 0


def without_url(project: Project) -> dict[str, str]:
    return {k: v for k, v in project.environment.items() if k != "JOBS_DATABASE_URL"}


def _pid_of_daemon(project: Project) -> int:
    (path,) = (project.folder / ".jobs").glob("*.json")
    return int(json.loads(path.read_text())["pid"])
