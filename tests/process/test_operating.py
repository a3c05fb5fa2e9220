"""What an operator sees and does: `ps`, the log, `status`, and commands when something is amiss."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobqueue import JobState
from jobqueue.records import Claim, NewJob
from tests.conftest import PATIENCE_SECONDS, Project
from tests.process.conftest import (
    Running,
    Start,
    WaitFor,
    database_of,
    enqueue,
    exists,
    is_untouched,
    show,
)
from tests.process.outage import outage

QUICK = ("--poll-interval", "0.05")
MEGABYTE = 1024 * 1024


@pytest.fixture
def detached(slow_project: Project) -> Iterator[Project]:
    yield slow_project
    (slow_project.folder / "slow.go").touch()
    slow_project.jobs("stop")


def titles(pid: int) -> list[str]:
    """What `ps` shows of the children of a process."""
    with suppress(psutil.NoSuchProcess):
        return [" ".join(child.cmdline()).strip() for child in psutil.Process(pid).children()]
    return []


def events(running: Running, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in running.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == event]


def detached_state(project: Project) -> dict[str, Any]:
    (path,) = (project.folder / ".jobs").glob("*.json")
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def kill_and_wait(pid: int) -> None:
    process = psutil.Process(pid)
    family = [process, *process.children()]
    process.kill()
    psutil.wait_procs(family, timeout=60)


# --- what is shown -------------------------------------------------------------------------------


def test_processes_show_what_they_do(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "-n", "default:1", *QUICK)
    wait_for(lambda: titles(running.pid) == ["jobs worker default.0: idle"], "an idle worker")
    job_id = enqueue(slow_project, "Slow")
    busy = f"jobs worker default.0: Slow #{job_id}"
    wait_for(lambda: titles(running.pid) == [busy], "the job's name")
    assert psutil.Process(running.pid).cmdline()[0].strip() == "jobs supervisor default:1"
    (slow_project.folder / "slow.go").touch()
    wait_for(lambda: titles(running.pid) == ["jobs worker default.0: idle"], "an idle worker")


def test_a_record_for_each_event_with_its_facts(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "--log-format", "json", "--log-level", "debug", *QUICK)
    wait_for(lambda: bool(events(running, "worker_ready")), "the worker")
    (begun,) = events(running, "worker_started")
    assert (begun["level"], begun["worker"]) == ("info", "worker.0")
    (ready,) = events(running, "worker_ready")
    assert ready["level"] == "info"
    assert ":worker.0:" in ready["worker"]
    job_id = enqueue(slow_project, "Quick")
    wait_for(lambda: bool(events(running, "job_succeeded")), "the job")
    (claimed,) = events(running, "job_claimed")
    assert claimed["level"] == "debug"
    facts = (claimed["job_id"], claimed["job"], claimed["queue"], claimed["attempt"])
    assert facts == (job_id, "jobs.Quick", "default", 1)
    assert 0 <= claimed["wait_seconds"] < 20


@pytest.mark.parametrize("command", ["work", "workoff"])
def test_the_start_of_a_worker_says_which_release_it_is(
    slow_project: Project, start: Start, wait_for: WaitFor, command: str
) -> None:
    slow_project.write("jobqueue.toml", 'app_version = "2026.12-rc1"')
    if command == "workoff":
        run = slow_project.jobs("workoff", "--log-format", "json")
        told = [json.loads(line) for line in run.err.splitlines()]
    else:
        running = start("work", "--log-format", "json", *QUICK)
        wait_for(lambda: bool(events(running, "worker_started")), "the worker")
        told = events(running, "worker_started")
    begun = told[0]
    assert (begun["event"], begun["release"]) == ("worker_started", "2026.12-rc1")
    assert begun["message"].endswith(", release 2026.12-rc1")


def test_claims_are_not_told_at_level_info(slow_project: Project) -> None:
    enqueue(slow_project, "Quick")
    run = slow_project.jobs("workoff", "--log-format", "json")
    said = [json.loads(line)["event"] for line in run.err.splitlines()]
    assert said == ["worker_started", "worker_ready", "job_succeeded", "worker_stopped"]


@contextmanager
def on_a_terminal(
    project: Project, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobqueue", *arguments],
        cwd=project.folder,
        env={**project.environment, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, wanted: str) -> str:
    """What a terminal shows, up to where it shows something; also to the end of its program."""
    seen = b""
    while wanted.encode() not in seen:
        if not select.select([terminal], [], [], PATIENCE_SECONDS)[0]:
            pytest.fail(f"waited {PATIENCE_SECONDS} s for {wanted!r} after {seen!r}")
        try:
            read = os.read(terminal, 65536)
        except OSError:
            read = b""
        if not read:
            break
        seen += read
    return seen.decode()


def test_status_is_watched_until_ctrl_c(slow_project: Project) -> None:
    with on_a_terminal(slow_project, "status", "--watch") as (process, terminal):
        assert "No workers." in read_until(terminal, "Nothing to do in any queue.")
        enqueue(slow_project, "Quick")
        assert "\x1b[H" in read_until(terminal, "default  1")
        process.send_signal(signal.SIGINT)
        rest = read_until(terminal, "what it does not say before it ends")
        assert process.wait(timeout=60) in (0, 130)
        assert "Traceback" not in rest


# --- what is replaced ----------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_has_grown_is_replaced(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    idle = start("work", *QUICK)
    wait_for(lambda: "works on" in idle.log, "a worker to measure")
    (worker,) = psutil.Process(idle.pid).children()
    limit = worker.memory_info().rss // MEGABYTE + 50
    idle.kill()

    running = start("work", "--max-memory", f"{limit}M", *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")
    (before,) = psutil.Process(running.pid).children()
    enqueue(slow_project, "Grows")
    wait_for(lambda: not before.is_running(), "the worker to end")
    wait_for(lambda: running.log.count("works on") == 2, "its successor")
    assert "is replaced: it has grown past --max-memory" in running.log
    assert "died" not in running.log


def test_a_worker_killed_for_its_job_is_replaced_at_once(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    enqueue(slow_project, "Blocked")
    running = start("work", "--kill-after", "0.1", *QUICK)
    wait_for(lambda: running.log.count("ignored its max_runtime") >= 2, "two timeouts")
    wait_for(lambda: running.log.count(" started, pid ") >= 3, "the third worker")
    assert "died" not in running.log
    assert "another is started in" not in running.log


# --- what nobody holds ---------------------------------------------------------------------------


def test_claims_that_never_reached_their_worker_are_given_back_within_a_lease(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "-n", "default:1", "--lease", "1", *QUICK)
    held = enqueue(slow_project, "Slow")
    wait_for(exists(slow_project, "slow.started"), "a job that the worker does hold")
    with database_of(slow_project) as adapter:
        (worker,) = adapter.workers()
        lost = adapter.enqueue([NewJob("jobs.Quick", "{}", "elsewhere", 50, 24)] * 3)
        claimed = adapter.claim(Claim(worker.id, 4711, 3, 3, ("elsewhere",)))
        assert [job.id for job in claimed] == [record.id for record in lost]
    wait_for(
        lambda: all(is_untouched(show(slow_project, job.id)) for job in claimed), "their release"
    )
    assert "gave back 3 jobs that were claimed in its name and never reached it" in running.log
    (slow_project.folder / "slow.go").touch()
    wait_for(lambda: show(slow_project, held) is None, "the job that it held")
    assert "rejected" not in running.log


# --- groups --------------------------------------------------------------------------------------


def test_a_group_fails_jobs_after_its_own_number_of_attempts(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    slow_project.write("jobqueue.toml", "[workers.strict]\nmax_attempts = 1\n")
    plain, own = enqueue(slow_project, "Fails"), enqueue(slow_project, "FailsTwice")
    start("work", *QUICK)

    def is_after_an_attempt(job_id: int, state: JobState) -> bool:
        record = show(slow_project, job_id)
        return record is not None and record.state is state and record.attempts > 0

    wait_for(lambda: is_after_an_attempt(plain, JobState.FAILED), "the job to fail for good")
    wait_for(lambda: is_after_an_attempt(own, JobState.READY), "the one that says how often itself")


def test_max_attempts_as_an_option_counts_for_what_was_enqueued_before(
    slow_project: Project,
) -> None:
    job_id = enqueue(slow_project, "Fails")
    assert slow_project.jobs("workoff", "--max-attempts", "1").exit_code == 1
    record = show(slow_project, job_id)
    assert record is not None
    assert record.state is JobState.FAILED


# --- detached, when something is amiss -----------------------------------------------------------


def test_start_says_that_the_tables_are_missing(
    empty_project: Project, empty_database_url: str
) -> None:
    empty_project.write("jobs.py", "from jobqueue import job\n@job\ndef nothing() -> None: ...\n")
    run = empty_project.python(
        "-m", "jobqueue", "start", env={"JOBS_DATABASE_URL": empty_database_url}
    )
    assert run.exit_code == 3
    assert len(run.err.splitlines()) == 1
    assert "run `python -m jobqueue " in run.err
    assert run.out == ""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_start_says_that_the_database_is_away(detached: Project) -> None:
    with outage(detached.environment["JOBS_DATABASE_URL"]):
        run = detached.jobs("start", *QUICK)
    assert run.exit_code == 3
    assert len(run.err.splitlines()) == 1
    assert "does not answer" in run.err
    assert detached.jobs("stop").out.startswith("No workers")
    assert detached.jobs("start", *QUICK).exit_code == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_restart_without_the_database_leaves_the_old_workers(
    detached: Project, wait_for: WaitFor
) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    before = detached_state(detached)["workers"]
    with outage(detached.environment["JOBS_DATABASE_URL"]):
        run = detached.jobs("restart")
    assert run.exit_code == 1
    assert "were not renewed" in run.err
    assert "cannot work and ends" in run.err
    assert detached_state(detached)["workers"] == before
    enqueue(detached, "Quick")
    wait_for(exists(detached, "done.txt"), "the old worker to work")


def test_a_failed_restart_shows_what_was_said_since(detached: Project) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    detached.write("jobs.py", "import nowhere_to_be_found\n")
    run = detached.jobs("restart")
    assert run.exit_code == 1
    assert "nowhere_to_be_found" in run.err
    assert "works on" not in run.err


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_status_tells_lost_workers_from_idle_ones(detached: Project) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    assert "idle" in detached.jobs("status").out
    kill_and_wait(detached_state(detached)["pid"])
    assert "lost" in detached.jobs("status").out
    (worker,) = json.loads(detached.jobs("status", "--json").out)["workers"]
    assert worker["lost"] is True


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_stop_waits_as_long_as_the_workers_were_started_with(
    detached: Project, wait_for: WaitFor
) -> None:
    assert detached.jobs("start", "--grace", "1.5", *QUICK).exit_code == 0
    job_id = enqueue(detached, "Slow")
    wait_for(exists(detached, "slow.started"), "the job to start")
    run = detached.jobs("stop")
    assert run.exit_code == 0
    assert "for at most 1.5 s" in run.err
    assert is_untouched(show(detached, job_id))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_supervisor_without_its_file_is_not_passed_over(detached: Project) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    state = detached_state(detached)
    (path,) = (detached.folder / ".jobs").glob("*.json")
    path.write_text("half of i")
    try:
        for command in ("stop", "restart"):
            run = detached.jobs(command)
            assert run.exit_code == 1
            assert "cannot be read" in run.err
    finally:
        path.write_text(json.dumps(state))


def test_a_log_file_says_the_day(detached: Project) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    (log,) = (detached.folder / ".jobs").glob("*.log")
    assert all(line[:2] == "20" for line in log.read_text().splitlines())
    assert Path(detached.folder / ".jobs").stat().st_mode & 0o777 == 0o700
