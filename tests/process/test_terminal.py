"""`jobs work` in a terminal: one that is closed, Ctrl-Z and `fg`, and output nobody reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, database_of, enqueue, exists, show
from tests.process.terminal import JOBS, SHELL, ended, in_terminal

WORK = (*JOBS.split(), "work", "--poll-interval", "0.1")
TALKATIVE = """
    import subprocess
    import time
    from pathlib import Path

    from jobqueue import Job


    class Talk(Job):
        max_attempts = 1

        def perform(self) -> None:
            Path("talk.started").touch()
            while not Path("talk.go").exists():
                time.sleep(0.01)
            for line in range(100):
                print("printed by the job", line, flush=True)
            print("and not flushed")
            self.logger.info("logged by the job")
            subprocess.run(["sh", "-c", "echo by a program; echo again"], check=True)
            Path("talked").touch()
"""


@pytest.fixture
def talkative(project: Project) -> Project:
    project.write("jobs.py", TALKATIVE)
    return project


@pytest.fixture
def at_the_end() -> Iterator[list[int]]:
    """Processes to end, if they have not ended."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def supervisor_in(folder: Path) -> int | None:
    """The supervisor of a folder, whoever its parent is."""
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        title = (process.info["cmdline"] or [""])[0]
        if title.startswith("jobs supervisor") and process.info["cwd"] == str(folder):
            return int(process.info["pid"])
    return None


def is_done(project: Project, job_id: int) -> Callable[[], bool]:
    return lambda: show(project, job_id) is None


def workers_said(project: Project) -> str:
    return project.jobs("status").out


# --- a terminal that is closed -------------------------------------------------------------------


@pytest.mark.parametrize("shell", [False, True], ids=["a terminal of its own", "from a shell"])
def test_a_closed_terminal_ends_the_work_and_costs_no_job(
    talkative: Project, wait_for: WaitFor, at_the_end: list[int], shell: bool
) -> None:
    job_id = enqueue(talkative, "Talk")
    with in_terminal(talkative, *(SHELL if shell else WORK)) as terminal:
        if shell:
            terminal.type(" ".join(WORK) + "\n")
        wait_for(exists(talkative, "talk.started"), "the job to start")
        supervisor = supervisor_in(talkative.folder)
        assert supervisor is not None
        at_the_end.append(supervisor)
        terminal.close()
        # What comes now is for later: only what runs is finished.
        later = enqueue(talkative, "Talk")
        wait_for(lambda: stopping(supervisor), "the supervisor to hear of it")
        (talkative.folder / "talk.go").touch()
        if shell:
            assert ended(supervisor)
        else:
            assert terminal.process.wait(60) == 0
    assert (talkative.folder / "talked").exists()
    assert show(talkative, job_id) is None, "the job succeeded"
    record = show(talkative, later)
    assert record is not None
    assert (record.state, record.attempts) == ("ready", 0)
    with database_of(talkative) as adapter:
        assert adapter.workers() == []


def stopping(supervisor: int) -> bool:
    """Whether no worker of a supervisor is a new one: it was not taken for a restart."""
    time.sleep(0.5)
    return len(psutil.Process(supervisor).children()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_killed_shell_is_a_closed_terminal(
    slow_project: Project, wait_for: WaitFor, at_the_end: list[int]
) -> None:
    """Its end takes the terminal away just after the signal, though nobody closed the window."""
    with in_terminal(slow_project, *SHELL) as terminal:
        terminal.type(" ".join(WORK) + "\n")
        wait_for(lambda: "works on" in terminal.text, "the worker")
        supervisor = supervisor_in(slow_project.folder)
        assert supervisor is not None
        at_the_end.append(supervisor)
        terminal.process.kill()
        assert ended(supervisor)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_with_nohup_it_goes_on_without_its_terminal(
    talkative: Project, wait_for: WaitFor, at_the_end: list[int]
) -> None:
    """And `jobs stop`, which leaves it alone, says which process it is."""
    with in_terminal(talkative, *SHELL) as terminal:
        terminal.type(f"nohup {' '.join(WORK)}\n")
        wait_for(lambda: supervisor_in(talkative.folder) is not None, "the supervisor")
        supervisor = supervisor_in(talkative.folder)
        assert supervisor is not None
        at_the_end.append(supervisor)
        wait_for(lambda: "idle" in workers_said(talkative), "the worker")
        terminal.close()
        terminal.process.wait(60)
        job_id = enqueue(talkative, "Talk")
        (talkative.folder / "talk.go").touch()
        wait_for(is_done(talkative, job_id), "the job")
        run = talkative.jobs("stop")
        assert run.exit_code == 0
        assert f"pid {supervisor}" in run.err
        assert f"kill {supervisor}" in run.err
        assert psutil.pid_exists(supervisor)
        os.kill(supervisor, signal.SIGTERM)
        assert ended(supervisor)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hup_in_a_terminal_that_is_there_is_a_restart(
    slow_project: Project, wait_for: WaitFor
) -> None:
    with in_terminal(slow_project, *WORK) as terminal:
        wait_for(lambda: "works on" in terminal.text, "the worker")
        terminal.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "a restart was asked for" in terminal.text, "the restart")
        terminal.type("\x03")
        assert terminal.process.wait(60) == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_closed_terminal_lets_workoff_finish_its_job(
    talkative: Project, wait_for: WaitFor
) -> None:
    job_id, later = enqueue(talkative, "Talk"), enqueue(talkative, "Talk")
    with in_terminal(talkative, *JOBS.split(), "workoff") as terminal:
        wait_for(exists(talkative, "talk.started"), "the job to start")
        terminal.close()
        time.sleep(0.2)
        (talkative.folder / "talk.go").touch()
        terminal.process.wait(60)
    assert show(talkative, job_id) is None
    record = show(talkative, later)
    assert record is not None
    assert (record.state, record.attempts) == ("ready", 0)


# --- output that nobody reads --------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", [("work",), ("workoff",), ("workoff", "-n", "1")])
@pytest.mark.parametrize("where", ["a pipe without a reader", "a full disk"])
def test_output_that_cannot_be_written_is_no_fault_of_the_job(
    talkative: Project, wait_for: WaitFor, command: tuple[str, ...], where: str
) -> None:
    if where == "a full disk":
        talkative.write("jobs.py", TALKATIVE.replace("subprocess.run", "(lambda *a, **k: None)"))
    (talkative.folder / "talk.go").touch()
    job_id = enqueue(talkative, "Talk")
    output = dead_end(where)
    process = subprocess.Popen(
        [*JOBS.split(), *command],
        cwd=talkative.folder,
        env=talkative.environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
    )
    os.close(output)
    try:
        wait_for(is_done(talkative, job_id), "the job to succeed")
        assert (talkative.folder / "talked").exists()
        if command == ("work",):
            process.terminate()
        assert process.wait(60) in ((0,) if command == ("work",) else (0, 1))
    finally:
        process.kill()
        process.wait()


def dead_end(where: str) -> int:
    if where == "a full disk":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


# --- Ctrl-Z --------------------------------------------------------------------------------------


def test_ctrl_z_and_fg(slow_project: Project, wait_for: WaitFor) -> None:
    """What runs is finished and keeps its lease, and nothing else is taken until `fg`."""
    slow = enqueue(slow_project, "Slow")
    with in_terminal(slow_project, *SHELL) as terminal:
        terminal.type(" ".join(WORK) + " --lease 2\n")
        wait_for(exists(slow_project, "slow.started"), "the job to start")
        terminal.type("\x1a")
        wait_for(lambda: "Stopped" in terminal.text, "the shell to have its prompt again")
        assert "suspended by Ctrl-Z" in terminal.text
        assert "`fg`" in terminal.text
        terminal.type("echo status=$?\n")
        wait_for(lambda: f"status={128 + signal.SIGTSTP}" in terminal.text, "the status")
        wait_for(lambda: "resting, finishes Slow #" in workers_said(slow_project), "the state")
        (worker,) = json.loads(slow_project.jobs("status", "--json").out)["workers"]
        assert (worker["resting"], worker["lost"]) == (True, False)
        quick = enqueue(slow_project, "Quick")
        time.sleep(5)  # two leases and more, in which nobody is to be taken for dead
        record = show(slow_project, slow)
        assert record is not None
        assert (record.state, record.attempts) == ("running", 1)
        (slow_project.folder / "slow.go").touch()
        wait_for(is_done(slow_project, slow), "what runs to be finished")
        record = show(slow_project, quick)
        assert record is not None
        assert record.state == "ready"
        terminal.type("fg\n")
        wait_for(lambda: "the supervisor goes on" in terminal.text, "it to say that it goes on")
        wait_for(is_done(slow_project, quick), "the other job")
        wait_for(lambda: "resting" not in workers_said(slow_project), "the state")
        assert "rejected" not in terminal.text
        assert "silent for longer" not in terminal.text
        terminal.type("\x03")
        wait_for(lambda: "stopped after" in terminal.text, "Ctrl-C to end it")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_ctrl_z_where_there_is_no_shell(slow_project: Project, wait_for: WaitFor) -> None:
    """As in `docker run -it`: nobody could have it go on, so it is not suspended."""
    with in_terminal(slow_project, *WORK) as terminal:
        wait_for(lambda: "works on" in terminal.text, "the worker")
        terminal.type("\x1a")
        wait_for(lambda: "until Ctrl-Z is pressed once more" in terminal.text, "it to say so")
        wait_for(lambda: "resting" in workers_said(slow_project), "it to rest")
        job_id = enqueue(slow_project, "Quick")
        terminal.type("\x1a")
        wait_for(is_done(slow_project, job_id), "the job")
        assert "the supervisor goes on" in terminal.text
        terminal.type("\x03")
        assert terminal.process.wait(60) == 0


def test_who_comes_after_a_worker_at_rest_rests_too(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    running = start("work", "--poll-interval", "0.05")
    wait_for(lambda: "works on" in running.log, "the worker")
    running.send(signal.SIGTSTP)
    wait_for(lambda: "until CONT" in running.log, "it to say so")
    (worker,) = psutil.Process(running.pid).children()
    worker.kill()
    wait_for(lambda: running.log.count("works on") == 2, "its successor")
    job_id = enqueue(slow_project, "Quick")
    wait_for(lambda: "resting" in workers_said(slow_project), "it to rest")
    time.sleep(0.5)
    record = show(slow_project, job_id)
    assert record is not None
    assert record.state == "ready"
    running.send(signal.SIGCONT)
    wait_for(is_done(slow_project, job_id), "the job")
