"""A supervisor outlives what goes wrong around it: its machine, its starter, its workers."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, enqueue, exists, show
from tests.process.outage import freeze
from tests.process.terminal import JOBS, in_terminal

QUICK = ("--poll-interval", "0.05")
PR_SET_CHILD_SUBREAPER = 36
sqlite_alone = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ODD = """
    import os
    import subprocess
    import sys
    import threading
    import time
    from pathlib import Path

    from jobqueue import Job

    while Path("hang").exists():
        time.sleep(0.01)
    if "worker_process" in sys.argv[0] and Path("worker-hangs").exists():
        Path("importing").touch()
        while Path("worker-hangs").exists():
            time.sleep(0.01)


    class LeavesThread(Job):
        def perform(self) -> None:
            threading.Thread(target=time.sleep, args=(600,), daemon=False).start()


    class LeavesOrphans(Job):
        def perform(self, count: int) -> None:
            for _ in range(count):
                subprocess.run(["sh", "-c", "sleep 0.2 &"], check=True)


    class Quick(Job):
        def perform(self) -> None:
            Path("done.txt").touch()


    class Slow(Job):
        def perform(self) -> None:
            Path("slow.started").touch()
            while not Path("slow.go").exists():
                time.sleep(0.01)
"""


@pytest.fixture
def odd_project(project: Project) -> Project:
    project.write("jobs.py", ODD)
    return project


@pytest.fixture
def detached(odd_project: Project) -> Iterator[Project]:
    yield odd_project
    for name in ("hang", "worker-hangs"):
        (odd_project.folder / name).unlink(missing_ok=True)
    (odd_project.folder / "slow.go").touch()
    odd_project.jobs("stop")


@pytest.fixture
def odd(odd_project: Project, start: Start) -> Project:
    """After `start`, whose project has other jobs."""
    odd_project.write("jobs.py", ODD)
    return odd_project


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a supervisor, the oldest first."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children()
        return [c for c in children if c.status() != psutil.STATUS_ZOMBIE]
    return []


def is_busy(worker: psutil.Process) -> bool:
    return "Slow" in " ".join(worker.cmdline())


def pid_in(folder: Path) -> int:
    (path,) = (folder / ".jobs").glob("*.json")
    return int(json.loads(path.read_text())["pid"])


def is_done(project: Project, job_id: int) -> bool:
    return show(project, job_id) is None


# --- the machine ---------------------------------------------------------------------------------


def test_without_a_descriptor_left_it_goes_on(
    odd: Project, start: Start, wait_for: WaitFor
) -> None:
    """Its healthy workers keep their jobs, and the other place is filled as soon as it can be."""
    slow = enqueue(odd, "Slow")
    running = start("work", "-n", "2", "--lease", "2", *QUICK)
    wait_for(lambda: running.log.count("works on") == 2, "the workers")
    wait_for(exists(odd, "slow.started"), "the job to start")
    supervisor = psutil.Process(running.pid)
    workers = workers_of(running.pid)
    wait_for(lambda: any(map(is_busy, workers)), "the titles of the workers")
    (idle,) = [worker for worker in workers if not is_busy(worker)]
    before = supervisor.rlimit(psutil.RLIMIT_NOFILE)
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (supervisor.num_fds() - 2, before[1]))
    idle.kill()
    wait_for(lambda: "could not be started: [Errno 24]" in running.log, "it to say so")
    time.sleep(3)  # a lease and more, in which the other worker must not seem to be lost
    assert running.log.count("could not be started") <= 3, "with growing pauses"
    supervisor.rlimit(psutil.RLIMIT_NOFILE, before)
    wait_for(lambda: running.log.count("works on") == 3, "another in its place")
    (odd.folder / "slow.go").touch()
    wait_for(lambda: is_done(odd, slow), "the job")
    running.send(signal.SIGTERM)
    exit_code, log = running.ended()
    assert exit_code == 0
    assert "rejected" not in log
    assert log.count("died") == 1, log


@sqlite_alone
def test_a_state_file_that_cannot_be_written_costs_nothing(
    detached: Project, wait_for: WaitFor
) -> None:
    """As on a full disk; it is written when that is possible again."""
    assert detached.jobs("start", *QUICK).exit_code == 0
    supervisor = pid_in(detached.folder)
    fresh = detached.folder / ".jobs" / "workers.new"
    fresh.mkdir()
    os.kill(supervisor, signal.SIGHUP)
    log = detached.folder / ".jobs" / "workers.log"
    wait_for(lambda: "could not write its state file" in log.read_text(), "it to say so")
    job_id = enqueue(detached, "Quick")
    wait_for(lambda: is_done(detached, job_id), "the job")
    fresh.rmdir()
    state = detached.folder / ".jobs" / "workers.json"
    wait_for(lambda: json.loads(state.read_text())["generation"] == 1, "the file to be written")
    assert detached.jobs("restart").exit_code == 0
    assert detached.jobs("stop").exit_code == 0


@sqlite_alone
def test_who_started_it_may_be_interrupted(detached: Project, wait_for: WaitFor) -> None:
    (detached.folder / "slow.go").touch()
    (detached.folder / "worker-hangs").touch()
    starter = subprocess.Popen(
        [*JOBS.split(), "start", *QUICK],
        cwd=detached.folder,
        env=detached.environment,
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_for(exists(detached, "importing"), "the worker to import the jobs")
    finally:
        starter.kill()
        starter.wait()
    (detached.folder / "worker-hangs").unlink()
    job_id = enqueue(detached, "Quick")
    wait_for(lambda: is_done(detached, job_id), "the job")
    assert detached.jobs("restart").exit_code == 0
    assert detached.jobs("stop").out.startswith("Stopped")


@sqlite_alone
def test_a_supervisor_that_is_suspended_can_be_stopped_and_says_why_it_cannot_be_renewed(
    detached: Project,
) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    supervisor = psutil.Process(pid_in(detached.folder))
    supervisor.suspend()
    run = detached.jobs("restart")
    assert run.exit_code == 1
    assert f"`kill -CONT {supervisor.pid}`" in run.err
    assert detached.jobs("stop").out.startswith("Stopped the workers")
    assert detached.jobs("stop").out.startswith("No workers")


@contextmanager
def supervisor_with(
    project: Project, *arguments: str, **how: Any
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*JOBS.split(), "work", *QUICK, *arguments],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        **how,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@sqlite_alone
def test_a_log_that_nobody_reads_does_not_keep_it_from_ending(
    odd_project: Project, wait_for: WaitFor
) -> None:
    reader, writer = os.pipe()
    with supervisor_with(odd_project, "-n", "2", stdout=writer, stderr=writer) as process:
        wait_for(lambda: len(workers_of(process.pid)) == 2, "the workers")
        job_id = enqueue(odd_project, "Quick")
        wait_for(lambda: is_done(odd_project, job_id), "a job")
        fill(writer)
        after = enqueue(odd_project, "Quick")
        wait_for(lambda: is_done(odd_project, after), "a job whose log line is lost")
        process.send_signal(signal.SIGUSR2)
        process.terminate()
        assert process.wait(20) == 0, "before the grace of 25 s is over"
    os.close(reader)
    os.close(writer)


def fill(pipe: int) -> None:
    """Leave no room in a pipe, for anybody."""
    own = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(own, b"x" * 4096)
    os.close(own)


@sqlite_alone
def test_it_reaps_what_others_leave_to_it(odd_project: Project, wait_for: WaitFor) -> None:
    """As the first process of a container does; here it is told to, which needs no rights."""

    def inherit_orphans() -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)

    with supervisor_with(odd_project, preexec_fn=inherit_orphans) as process:
        job_id = enqueue(odd_project, "LeavesOrphans", count=5)
        wait_for(lambda: is_done(odd_project, job_id), "the job")
        worker = workers_of(process.pid)[0]
        wait_for(
            lambda: psutil.Process(process.pid).children() == [worker], "all others to be reaped"
        )
        worker.kill()
        wait_for(lambda: workers_of(process.pid) not in ([], [worker]), "another worker")
        process.terminate()
        assert process.wait(60) == 0


@sqlite_alone
def test_a_supervisor_of_many_workers_may_open_more_files(odd_project: Project) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))

    code = (
        "import resource\n"
        "from jobqueue.runner.groups import parse_groups\n"
        "from jobqueue.runner.open_files import allow_open_files, files_for\n"
        "allow_open_files(files_for(parse_groups('100')))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=few,
        capture_output=True,
        check=True,
    )
    assert int(run.stdout) == min(256 + 1200, limit[1])


# --- workers that do not get ready, do not end, or stand still -----------------------------------


@pytest.mark.parametrize("end", ["--max-jobs", "a restart"])
@sqlite_alone
def test_a_worker_that_a_thread_keeps_alive_is_replaced_and_ended(
    odd: Project, start: Start, wait_for: WaitFor, end: str
) -> None:
    limit = ("--max-jobs", "1") if end == "--max-jobs" else ()
    running = start("work", "--grace", "1", *limit, *QUICK)
    wait_for(lambda: "works on" in running.log, "the worker")
    (kept,) = workers_of(running.pid)
    job_id = enqueue(odd, "LeavesThread")
    wait_for(lambda: is_done(odd, job_id), "the job")
    if not limit:
        running.send(signal.SIGHUP)
    wait_for(lambda: running.log.count("works on") == 2, "another worker")
    after = enqueue(odd, "Quick")
    wait_for(lambda: is_done(odd, after), "a job of the other")
    wait_for(lambda: not kept.is_running(), "the end of the first")
    assert f"(pid {kept.pid}) was killed: it had nothing to do any more" in running.log
    assert "died" not in running.log
    running.send(signal.SIGTERM)
    assert running.ended()[0] == 0


@sqlite_alone
def test_working_off_ends_though_a_thread_keeps_a_worker_alive(odd_project: Project) -> None:
    enqueue(odd_project, "LeavesThread")
    run = odd_project.jobs("workoff", "-n", "1", env={"JOBS_GRACE": "0.5"})
    assert run.exit_code == 0, run.err
    assert "did not end" in run.err


def test_a_worker_that_is_suspended_is_replaced_after_its_lease(
    odd: Project, start: Start, wait_for: WaitFor
) -> None:
    """By its own supervisor, with no other to free its jobs; and it ends when it goes on."""
    port = free_port()
    job_id = enqueue(odd, "Slow")
    running = start("work", "--lease", "1", "--health", str(port), *QUICK)
    wait_for(exists(odd, "slow.started"), "the job to start")
    wait_for(lambda: status_of(port, "/readyz") == 200, "it to be ready")
    (frozen,) = workers_of(running.pid)
    wake = freeze(frozen.pid, odd.environment["JOBS_DATABASE_URL"])
    wait_for(lambda: status_of(port, "/readyz") == 503, "it to say that one is suspended")
    (odd.folder / "slow.started").unlink()
    wait_for(exists(odd, "slow.started"), "the job to start in another")
    record = show(odd, job_id)
    assert record is not None
    assert (record.attempts, record.crashes) == (2, 0)
    wait_for(lambda: status_of(port, "/readyz") == 200, "it to be ready again")
    (odd.folder / "slow.go").touch()
    wait_for(lambda: is_done(odd, job_id), "the job")
    wake()
    wait_for(lambda: not frozen.is_running(), "the first one to end")
    assert "was rejected" in running.log
    assert running.log.count("jobs.Slow") >= 1


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def status_of(port: int, path: str) -> int:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@sqlite_alone
def test_a_release_that_hangs_is_not_taken(detached: Project, wait_for: WaitFor) -> None:
    """The old workers go on, and its stacks are in the log. A restart mends it at once."""
    environment = {"JOBS_BOOT_TIMEOUT": "8"}
    assert detached.jobs("start", *QUICK, env=environment).exit_code == 0
    (old,) = workers_of(pid_in(detached.folder))
    (detached.folder / "hang").touch()
    run = detached.jobs("restart", env=environment)
    assert run.exit_code == 1
    assert "was not ready in 8 s (`boot_timeout`)" in run.err
    log = (detached.folder / ".jobs" / "workers.log").read_text()
    assert 'jobs.py", line' in log
    job_id = enqueue(detached, "Quick")
    wait_for(lambda: is_done(detached, job_id), "a job of the old worker")
    assert workers_of(pid_in(detached.folder)) == [old]
    (detached.folder / "hang").unlink()
    assert detached.jobs("restart", env=environment).exit_code == 0
    wait_for(lambda: not old.is_running(), "the old one to end")


@sqlite_alone
def test_workers_that_crash_while_they_start_and_are_mended_are_renewed_at_once(
    detached: Project, wait_for: WaitFor
) -> None:
    assert detached.jobs("start", *QUICK).exit_code == 0
    log = detached.folder / ".jobs" / "workers.log"
    good = (detached.folder / "jobs.py").read_text()
    (detached.folder / "jobs.py").write_text("import os; os._exit(7)")
    (worker,) = workers_of(pid_in(detached.folder))
    worker.kill()
    wait_for(lambda: "another is started in 4.0 s" in log.read_text(), "a pause")
    (detached.folder / "jobs.py").write_text(good)
    job_id = enqueue(detached, "Quick")
    begun = time.monotonic()
    run = detached.jobs("restart")
    assert (run.exit_code, run.out) == (0, "Renewed 1 worker.\n")
    wait_for(lambda: is_done(detached, job_id), "a job")
    assert time.monotonic() - begun < 20, "not after ever longer pauses"


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP, signal.SIGTSTP])
@sqlite_alone
def test_a_worker_that_still_starts_is_not_ended_by_signals(
    odd: Project, start: Start, wait_for: WaitFor, number: signal.Signals
) -> None:
    (odd.folder / "worker-hangs").touch()
    running = start("work", *QUICK)
    wait_for(exists(odd, "importing"), "the worker to import the jobs")
    (worker,) = workers_of(running.pid)
    if number == signal.SIGUSR2:
        running.send(number)
        wait_for(lambda: 'jobs.py", line' in running.log, "the stacks of the worker")
    else:
        worker.send_signal(number)
    (odd.folder / "worker-hangs").unlink()
    wait_for(lambda: "works on" in running.log, "the worker")
    assert worker.is_running()
    assert "died" not in running.log


@sqlite_alone
def test_who_starts_in_a_supervisor_at_rest_takes_no_job(
    odd: Project, start: Start, wait_for: WaitFor
) -> None:
    """Not even one that is due when it gets ready."""
    running = start("work", "-n", "2", *QUICK)
    wait_for(lambda: running.log.count("works on") == 2, "the workers")
    running.send(signal.SIGTSTP)
    wait_for(lambda: odd.jobs("status").out.count("resting") == 2, "both to rest")
    jobs = [enqueue(odd, "Quick") for _ in range(20)]
    for worker in workers_of(running.pid):
        worker.kill()
    running.send(signal.SIGHUP)
    wait_for(lambda: running.log.count("works on") >= 4, "others")
    time.sleep(0.5)
    assert not (odd.folder / "done.txt").exists()
    running.send(signal.SIGCONT)
    wait_for(lambda: all(is_done(odd, job_id) for job_id in jobs), "the jobs")


@sqlite_alone
def test_ctrl_z_where_the_shell_has_no_job_control(odd_project: Project, wait_for: WaitFor) -> None:
    """The system suspends nobody there, so that the workers would rest for ever."""
    work = f"{JOBS} work --poll-interval 0.1; true"
    with in_terminal(odd_project, "sh", "-c", work) as terminal:
        wait_for(lambda: "works on" in terminal.text, "the worker")
        terminal.type("\x1a")
        wait_for(lambda: "until Ctrl-Z is pressed once more" in terminal.text, "it to say so")
        job_id = enqueue(odd_project, "Quick")
        terminal.type("\x1a")
        wait_for(lambda: is_done(odd_project, job_id), "the job")
        terminal.type("\x03")
        assert terminal.process.wait(60) is not None
