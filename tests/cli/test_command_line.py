"""What holds for every command: help, speed, closed pipes, terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from dataclasses import fields

import pytest

from jobqueue import __version__
from jobqueue.config import Settings
from tests.conftest import Project

COMMANDS = (
    "setup",
    "new",
    "work",
    "workoff",
    "start",
    "stop",
    "restart",
    "status",
    "stats",
    "stacks",
    "enqueue",
    "list",
    "show",
    "why",
    "retry",
    "cancel",
    "clear",
    "pause",
    "resume",
    "migrate",
    "doctor",
    "bench",
    "web",
    "schedules",
    "errors",
    "limits",
    "flows",
    "actions",
    "token",
)
DATABASES = ("sqlalchemy", "alembic", "psycopg", "sqlite3")
HEAVY = (*DATABASES, "pydantic", "pydantic_core")
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LOADED_BY = """
import json, sys
from jobqueue.cli import main

sys.argv = ["jobs", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
tops = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({"count": len(sys.modules), "tops": sorted(tops)}), file=sys.stderr)
"""


def modules_loaded_by(project: Project, *arguments: str) -> tuple[int, set[str]]:
    run = project.python("-c", LOADED_BY, json.dumps(arguments))
    assert run.exit_code == 0, run.err
    loaded = json.loads(run.err.splitlines()[-1])
    return loaded["count"], set(loaded["tops"])


def test_help_loads_nothing_heavy(empty_project: Project) -> None:
    count, tops = modules_loaded_by(empty_project, "--help")
    print(f"jobs --help loads {count} modules")
    assert not tops & set(HEAVY)
    assert count < 370
    # To read a command's own options, Typer itself needs pydantic.
    _, tops = modules_loaded_by(empty_project, "work", "--help")
    assert not tops & set(DATABASES)


@SQLITE_ONLY
def test_a_worker_does_not_load_alembic(project: Project) -> None:
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    _, tops = modules_loaded_by(project, "workoff")
    assert "sqlalchemy" in tops
    assert "alembic" not in tops


def test_every_command_explains_itself_with_an_example(empty_project: Project) -> None:
    overview = empty_project.jobs("--help").out
    listed = overview.partition("Commands:\n")[2].splitlines()
    assert tuple(line.split()[0] for line in listed) == COMMANDS
    assert "..." not in "".join(listed), "a summary is cut"
    helps = {name: empty_project.jobs(name, "--help").out for name in COMMANDS}
    for name, text in helps.items():
        assert "Examples:\n" in text
        assert f"\n    jobs {name}" in text
    for setting in fields(Settings):
        assert "--" + setting.name.replace("_", "-") in helps["work"]
    assert empty_project.jobs("--version").out == f"jobqueue {__version__}\n"
    assert empty_project.jobs().out + empty_project.jobs().err == overview


@SQLITE_ONLY
def test_a_closed_pipe_is_no_error_to_speak_of(project: Project) -> None:
    for name, commands in {
        "Bob": [["list"]],
        "Ada" * 30_000: [["list"], ["list", "--json"]],
    }.items():
        project.jobs("enqueue", "Greet", json.dumps({"name": name}))
        for arguments in commands:
            reading, writing = os.pipe()
            os.close(reading)
            done = subprocess.run(
                [sys.executable, "-m", "jobqueue", *arguments],
                cwd=project.folder,
                env={**project.environment, "PYTHONUNBUFFERED": ""},
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
            os.close(writing)
            assert (done.returncode, done.stderr) == (1, ""), arguments


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("streams", "exit_code", "said"),
    [
        (">/dev/full", 1, "Error: the output could not be written in full: No space left"),
        ("<&- >&-", 0, ""),
        ("2>&-", 0, ""),
    ],
)
def test_streams_that_take_nothing(
    project: Project, streams: str, exit_code: int, said: str
) -> None:
    for command in ("enqueue GiveUp", "list", "workoff"):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m jobqueue {command} {streams}"],
            cwd=project.folder,
            env=project.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == exit_code, (command, done.stderr)
        errors = [line for line in done.stderr.splitlines() if "worker" not in line]
        assert "".join(errors[-1:]).startswith(said), (command, done.stderr)
        assert "Traceback" not in done.stderr, command
    assert project.jobs("list").exit_code == 0, "nothing was written into the database itself"


def on_a_terminal(
    project: Project, *arguments: str, keys: bytes = b"", interrupt: bool = False
) -> tuple[int, str]:
    """Run `jobs` on a terminal of 100 columns, answer or interrupt it once it asks, and read it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.folder)
        environment = {**project.environment, "COLUMNS": "100", "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, "-m", "jobqueue", *arguments], environment)
    screen, has_asked, over = b"", False, threading.Event()
    while chunk := read_some(terminal):
        screen += chunk
        # Not at the end of the screen, perhaps: readline may say something more after it.
        if b"]: " in screen and not has_asked:
            has_asked = True
            if keys:
                os.write(terminal, keys)
            elif interrupt:
                threading.Thread(target=keep_interrupting, args=(pid, over)).start()
    over.set()
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode()


def keep_interrupting(pid: int, over: threading.Event) -> None:
    """Press Ctrl-C until it is noticed: one that falls just before the read begins is not."""
    while not over.wait(0.2):
        os.kill(pid, signal.SIGINT)


def read_some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side has closed it
        return b""


@SQLITE_ONLY
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_clear_asks_on_a_terminal(project: Project) -> None:
    project.jobs("enqueue", "Greet", json.dumps({"name": "Ada " * 50}))
    code, screen = on_a_terminal(project, "clear", keys=b"n\n")
    assert code == 1
    assert "Remove 1 job (1 ready) for good? [y/N]: " in screen
    assert "Nothing was removed." in screen
    code, screen = on_a_terminal(project, "clear", interrupt=True)
    assert code in {1, 130, -signal.SIGINT}
    assert "Traceback" not in screen

    code, screen = on_a_terminal(project, "list")
    assert code == 0
    head, row = re.sub(r"\x1b\[[\d;]*m", "", screen).splitlines()
    assert head.split() == ["ID", "STATE", "JOB", "QUEUE", "ATTEMPTS", "WHEN", "ARGS", "ERROR"]
    assert len(row.rstrip()) <= 100
    assert '{"name": "Ada Ada' in row
    assert "…" in row

    code, screen = on_a_terminal(project, "clear", "--yes")
    assert (code, screen.strip()) == (0, "Removed 1 job.")
    code, screen = on_a_terminal(project, "clear")
    assert (code, screen.strip()) == (0, "Removed 0 jobs."), "there is nothing to ask about"
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    assert on_a_terminal(project, "clear", keys=b"y\n")[0] == 0
    assert project.jobs("list").out == "No jobs.\n"
