"""Other users of the host, whoever can connect to it, and readers of its terminal and its log."""

from __future__ import annotations

import configparser
import fcntl
import json
import logging
import os
import pty
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from jobqueue.adapters import connect
from jobqueue.errors import ConfigurationError
from jobqueue.log import JsonFormatter
from jobqueue.process_identity import identity_of
from jobqueue.records import NewJob
from jobqueue.runner import health
from jobqueue.runner.command_line import (
    environment_for,
    options_from_command_line,
    options_on_command_line,
)
from jobqueue.runner.daemon import DaemonFiles, own_state, running_daemons
from jobqueue.runner.health import HealthAddress, HealthServer
from tests.conftest import PATIENCE_SECONDS, Project, Run
from tests.process.conftest import WaitFor

NOBODY = 65534
SECRET = "hunter2"
LOG = logging.getLogger("tests")
EVIL = "jobs.Nobody\n12:34:56 jobs.Pay #1 succeeded\r\x1b[2J\x1b]0;owned\x07\x9b31m\u2028\u202e\x7f"
SCHEDULE = {
    "rule": {EVIL: EVIL},
    "catch_up": EVIL,
    "queue": EVIL,
    "priority": 50,
    "max_attempts": 1,
    "since": "2026-01-01T00:00:00+00:00",
}
RECORDS_ARGUMENTS = """
    import json, os, sys

    with open(os.environ["ARGUMENTS_LOG"], "a") as log:
        log.write(json.dumps(sys.orig_argv) + "\\n")
"""


# --- passwords on command lines ------------------------------------------------------------------


@pytest.fixture
def secret_url(postgres_url: str) -> str:
    """The URL of a database with a password in it, which the server does not ask for."""
    return make_url(postgres_url).set(password=SECRET).render_as_string(hide_password=False)


@pytest.fixture
def recorded(empty_project: Project) -> Iterator[Project]:
    """A project in which every Python records its command line, with a job in it."""
    empty_project.write(
        "jobs.py", "from jobqueue import Job\n\nclass A(Job):\n    perform = print\n"
    )
    empty_project.write(
        "jobs.py",
        """
        from pathlib import Path
        from jobqueue import Job

        class Touch(Job):
            def perform(self) -> None:
                Path("touched").touch()
        """,
    )
    empty_project.write("recording/sitecustomize.py", RECORDS_ARGUMENTS)
    yield empty_project
    command(empty_project, "stop")


def command(project: Project, *arguments: str) -> Run:
    """Run a Python of its own, which records its command line."""
    folder, before = project.folder, project.environment.get("PYTHONPATH", "")
    recording = {
        "PYTHONPATH": f"{folder / 'recording'}{os.pathsep}{before}".rstrip(os.pathsep),
        "ARGUMENTS_LOG": str(folder / "arguments.log"),
    }
    return project.python("-m", "jobqueue", *arguments, env=recording)


def test_no_process_that_we_start_has_a_password_on_its_command_line(
    recorded: Project, secret_url: str, wait_for: WaitFor
) -> None:
    started = command(recorded, "start", "--database-url", secret_url, "--listen-url", secret_url)
    assert started.exit_code == 0, started.err
    assert command(recorded, "restart").exit_code == 0
    with closing(connect(secret_url)) as adapter:
        adapter.enqueue([NewJob("jobs.Touch", "{}", "default", 50, 5)])
    wait_for((recorded.folder / "touched").exists, "the job, in the database of the option")
    lines = (recorded.folder / "arguments.log").read_text().splitlines()
    ours = [line for line in lines if "_process" in line]
    assert sum("daemon_process" in line for line in ours) == 1
    assert sum("worker_process" in line for line in ours) == 2, "also after the restart"
    assert not [line for line in ours if SECRET in line]
    (state,) = (recorded.folder / ".jobs").glob("*.json")
    supervisor = psutil.Process(json.loads(state.read_text())["pid"])
    for process in (supervisor, *supervisor.children()):
        assert SECRET not in " ".join(process.cmdline())


@pytest.mark.parametrize(
    "arguments", [("web", "--port", "0"), ("work", "--wait-for-database")], ids=["web", "work"]
)
def test_the_command_that_was_typed_is_shown_without_its_password(
    empty_project: Project, secret_url: str, wait_for: WaitFor, arguments: tuple[str, ...]
) -> None:
    empty_project.write("jobs.py", "from jobqueue import job\n\n@job\ndef ping() -> None: ...\n")
    away = make_url(secret_url).set(host="127.0.0.1", port=1, query={})
    url = secret_url if "web" in arguments else away.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "jobqueue", *arguments, "--database-url", url]
    running = subprocess.Popen(
        command,
        cwd=empty_project.folder,
        env=dict(empty_project.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        shown = psutil.Process(running.pid)
        wait_for(lambda: ":***@" in " ".join(shown.cmdline()), "the password to be hidden")
        assert running.poll() is None
        assert f"jobqueue {arguments[0]}" in " ".join(shown.cmdline())
        assert SECRET not in " ".join(shown.cmdline())
    finally:
        running.kill()
        running.wait()


def test_what_a_command_line_leaves_out_is_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"database_url": f"postgresql://me:{SECRET}@db/shop", "lease": 5}
    shown = options_on_command_line(given)
    assert SECRET not in json.dumps(shown)
    assert shown["lease"] == 5
    monkeypatch.setattr(os, "environ", environment_for(given))
    assert options_from_command_line(shown) == given
    assert options_from_command_line({"lease": 5}) == {"lease": 5}, "no option, no override"


# --- files that we make --------------------------------------------------------------------------


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("generous_umask")
@pytest.mark.parametrize("is_linked", [False, True])
def test_a_sqlite_file_is_for_its_owner(tmp_path: Path, is_linked: bool) -> None:
    path = tmp_path / "jobs.sqlite3"
    if is_linked:
        path.symlink_to(tmp_path / "elsewhere.sqlite3")
    with closing(connect(f"sqlite:///{path}")) as adapter:
        adapter.migrate()
        adapter.enqueue([NewJob("jobs.Greet", "{}", "default", 50, 5)])
        files = sorted(file for file in tmp_path.iterdir() if not file.is_symlink())
        assert len(files) == 3, "with -wal and -shm"
        assert [mode_of(file) for file in files] == [0o600] * 3


@pytest.mark.usefixtures("generous_umask")
def test_a_sqlite_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    path.touch(mode=0o640)
    with closing(connect(f"sqlite:///{path}")) as adapter:
        adapter.migrate()
        assert mode_of(path) == 0o640


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_jobs_setup_makes_files_for_their_owner(empty_project: Project, umask: int) -> None:
    code = f"import os, sys; os.umask({umask}); sys.argv = ['jobs', 'setup']"
    run = empty_project.python("-c", f"{code}; from jobqueue.cli import main; main()")
    assert run.exit_code == 0, run.err
    assert mode_of(empty_project.folder / "jobs.sqlite3") == 0o600
    assert mode_of(empty_project.folder / "jobqueue.toml") & 0o077 == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_files_of_detached_workers_are_for_their_owner(project: Project) -> None:
    code = "import os, sys; os.umask(0); sys.argv = ['jobs', 'start']"
    run = project.python("-c", f"{code}; from jobqueue.cli import main; main()")
    try:
        assert run.exit_code == 0, run.err
        folder = project.folder / ".jobs"
        modes = {path.name: mode_of(path) for path in folder.iterdir()}
        assert modes == dict.fromkeys(("workers.json", "workers.lock", "workers.log"), 0o600)
        assert mode_of(folder) == 0o700
    finally:
        project.jobs("stop")


# --- a folder that another user can write --------------------------------------------------------


@contextmanager
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that somebody else wants to have ended."""
    process = subprocess.Popen(["sleep", "600"])
    try:
        yield process
        assert process.poll() is None, "it was ended"
    finally:
        process.kill()
        process.wait()


def forge(folder: Path, pid: int) -> int:
    """Make the files of a supervisor that names a process, and return the lock."""
    (folder / ".jobs").mkdir(mode=0o777, parents=True)
    (folder / ".jobs").chmod(0o777)
    files = DaemonFiles(folder, "")
    files.lock.write_text(f"{pid} {identity_of(pid)}")
    lock = os.open(files.lock, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    started_at = psutil.Process(pid).create_time()
    state = {"spec": "", "pid": pid, "process_started_at": started_at, "grace_seconds": 1}
    files.state.write_text(json.dumps({**state, "workers": []}))
    return lock


COMMANDS = pytest.mark.parametrize("command", ["stop", "restart", "start"])
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def refused(project: Project, command: str, path: Path) -> str:
    """What a command says that refuses what is in the place of its files."""
    run = project.jobs(command)
    assert run.exit_code == 2, run
    assert run.err.startswith(f"Error: {path} "), run.err
    assert run.err.count("\n") == 1
    return run.err


@SQLITE
@COMMANDS
def test_a_folder_that_others_can_write_is_not_believed(project: Project, command: str) -> None:
    with victim() as process:
        lock = forge(project.folder, process.pid)
        said = refused(project, command, project.folder / ".jobs")
        assert "can be written by other users (its mode is 777)" in said
        assert "chmod go-w" in said
        os.close(lock)


@SQLITE
@COMMANDS
@pytest.mark.needs("another user")
def test_a_folder_of_another_user_is_not_believed(project: Project, command: str) -> None:
    with victim() as process:
        lock = forge(project.folder, process.pid)
        (project.folder / ".jobs").chmod(0o755)
        os.chown(project.folder / ".jobs", NOBODY, NOBODY)
        assert "belongs to user" in refused(project, command, project.folder / ".jobs")
        os.close(lock)


@SQLITE
@COMMANDS
@pytest.mark.needs("another user")
def test_a_file_of_another_user_is_not_believed(project: Project, command: str) -> None:
    """It was put there while the folder could be written."""
    with victim() as process:
        lock = forge(project.folder, process.pid)
        (project.folder / ".jobs").chmod(0o700)
        files = DaemonFiles(project.folder, "")
        for path in (files.lock, files.state):
            os.chown(path, NOBODY, NOBODY)
        assert "belongs to user" in refused(project, command, files.lock)
        os.close(lock)


@SQLITE
@COMMANDS
def test_a_link_in_the_place_of_the_folder_is_not_followed(
    project: Project, tmp_path: Path, command: str
) -> None:
    with victim() as process:
        lock = forge(tmp_path / "elsewhere", process.pid)
        (project.folder / ".jobs").symlink_to(tmp_path / "elsewhere" / ".jobs")
        assert "a symbolic link" in refused(project, command, project.folder / ".jobs")
        os.close(lock)


@SQLITE
@COMMANDS
@pytest.mark.parametrize("kind", ["a file", "a FIFO", "a symbolic link"])
def test_what_is_in_the_place_of_the_folder_is_named(
    project: Project, command: str, kind: str
) -> None:
    """It is somebody else's, or a mistake: it stays as it is, and nothing waits for it."""
    path = project.folder / ".jobs"
    if kind == "a file":
        path.write_text("dear diary")
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    before = path.lstat()
    said = refused(project, command, path)
    assert f"is {kind}, and not a folder; see who has put it there, and remove it" in said
    assert path.lstat() == before


@SQLITE
@pytest.mark.parametrize("ending", ["log", "lock"])
def test_start_follows_no_link(project: Project, tmp_path: Path, ending: str) -> None:
    diary = tmp_path / "diary"
    diary.write_text("dear diary")
    (project.folder / ".jobs").mkdir(mode=0o700)
    link = project.folder / ".jobs" / f"workers.{ending}"
    link.symlink_to(diary)
    assert "a symbolic link" in refused(project, "start", link)
    assert diary.read_text() == "dear diary"


@SQLITE
@pytest.mark.parametrize("ending", ["lock", "json"])
def test_stop_does_not_hang_on_a_fifo(project: Project, ending: str) -> None:
    with victim() as process:
        lock = forge(project.folder, process.pid)
        (project.folder / ".jobs").chmod(0o700)
        path = project.folder / ".jobs" / f"workers.{ending}"
        path.unlink()
        os.mkfifo(path)
        assert "a FIFO" in refused(project, "stop", path)
        os.close(lock)


@pytest.mark.needs("another user")
def test_a_process_of_another_user_is_no_supervisor_of_ours(tmp_path: Path) -> None:
    """Also where the file is our own: its process has ended, and another has its id."""
    process = subprocess.Popen(["sleep", "600"], user=NOBODY)
    try:
        lock = forge(tmp_path, process.pid)
        (tmp_path / ".jobs").chmod(0o700)
        assert DaemonFiles(tmp_path, "").read() is None
        os.close(lock)
    finally:
        process.kill()
        process.wait()


def test_a_folder_that_is_swapped_while_the_workers_run_is_not_written(tmp_path: Path) -> None:
    files = DaemonFiles(tmp_path, "")
    files.prepare()
    files.write(own_state("", timedelta(seconds=1)))
    (tmp_path / ".jobs").rename(tmp_path / "away")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".jobs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="a symbolic link"):
        files.write(own_state("", timedelta(seconds=2)))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_ordinary_folder_is_as_it_was(tmp_path: Path) -> None:
    assert running_daemons(tmp_path, None) == []
    files = DaemonFiles(tmp_path, "")
    files.folder.mkdir(mode=0o755)
    files.prepare()
    assert mode_of(files.folder) == 0o700
    os.close(files.open_log())
    files.log.chmod(0o664)  # as a former release made it where the umask was 002
    os.close(files.open_log())


# --- health probes -------------------------------------------------------------------------------


@contextmanager
def answering(address: HealthAddress | None = None) -> Iterator[HealthServer]:
    address = address or HealthAddress(health.LOOPBACK, 0)
    server = HealthServer(address, lambda: True, lambda: True, LOG)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def status_of(port: int, host: str = health.LOOPBACK) -> int:
    with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10) as answer:
        return int(answer.status)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("localhost:1", "localhost", 1),
        ("[::1]:8080", "::1", 8080),
        ("[::]:65535", "::", 65535),
    ],
)
def test_a_health_address(text: str, host: str, port: int) -> None:
    assert HealthAddress.parse(text) == HealthAddress(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "65536",
        ":8080",
        "::1:8080",
        "[::1]",
        "[::1]8080",
        "a b:80",
        "80 80",
        "-1",
        "\u0661",
        "8_0",
    ],
)
@pytest.mark.parametrize("command", ["work", "start"])
def test_a_health_address_that_is_none_is_refused_at_once(
    empty_project: Project, command: str, text: str
) -> None:
    """Before the application is imported and the database is looked for: there is neither."""
    run = empty_project.jobs(command, f"--health={text}")
    assert run.exit_code == 2
    assert run.err.startswith(f"Error: --health is {text!r}; expected a port"), run.err


def test_a_bare_port_is_for_this_machine() -> None:
    with answering() as server:
        assert status_of(server.port) == 200
        assert server._listening.getsockname()[0] == "127.0.0.1"


def test_health_over_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with answering(HealthAddress("::1", 0)) as server:
        assert status_of(server.port, "[::1]") == 200


def test_silent_connections_keep_no_probe_waiting() -> None:
    with answering() as server:
        threads = threading.active_count()
        silent = [socket.create_connection((health.LOOPBACK, server.port)) for _ in range(200)]
        began = time.monotonic()
        assert status_of(server.port) == 200
        assert time.monotonic() - began < health.REQUEST_SECONDS
        assert threading.active_count() == threads
        assert len(server._requests) <= health.MOST_CONNECTIONS
        for connection in silent:
            connection.close()


def test_a_request_that_drips_in_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.3)
    with answering() as server:
        began = time.monotonic()
        slow = socket.create_connection((health.LOOPBACK, server.port))
        with slow, suppress(ConnectionError):
            while time.monotonic() - began < PATIENCE_SECONDS:
                slow.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - began < PATIENCE_SECONDS, "it was ended"
        assert status_of(server.port) == 200


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /readyz?x HTTP/1.0\n\n", b"200"),
        (b"HEAD /healthz HTTP/1.1\r\n\r\n", b"200"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /nope HTTP/1.1\r\n\r\n", b"404"),
        (b"\r\n\r\n", b"405"),
        (b"\xff\x00\xff\r\n\r\n", b"405"),
        (b"x" * (health.LARGEST_REQUEST + 1), b"431"),
    ],
)
def test_whatever_a_probe_sends_is_answered(request_text: bytes, status: bytes) -> None:
    with answering() as server:
        with socket.create_connection((health.LOOPBACK, server.port), timeout=10) as probe:
            probe.sendall(request_text)
            answer = probe.recv(1000)
        assert answer.split(b" ")[1] == status
        assert status_of(server.port) == 200


# --- what is shown in terminals and logs ---------------------------------------------------------


@pytest.fixture
def hostile_rows(project: Project, database_url: str) -> int:
    """Rows whose every text begins lines of its own and moves the cursor; the id of the job."""
    path = make_url(database_url).database
    moment = "2026-01-01 00:00:00.000000"
    args = json.dumps({EVIL: EVIL})
    with closing(sqlite3.connect(str(path))) as database, database:
        insert = "INSERT INTO background_jobs (handler, args, queue, state, run_at, created_at"
        cursor = database.execute(
            f"{insert}, updated_at, finished_at, last_error, progress, result, locked_by) "
            "VALUES (?, ?, ?, 'failed', ?, ?, ?, ?, ?, ?, ?, ?)",
            (EVIL, args, EVIL, *[moment] * 4, f"\x1b[2J\x9b\u202e{EVIL}", args, args, EVIL),
        )
        database.execute(
            f"{insert}, updated_at) VALUES (?, ?, ?, 'ready', ?, ?, ?)",
            (EVIL, args, EVIL, *[moment] * 3),
        )
        database.execute(
            "INSERT INTO background_workers (id, name, host, pid, queues, lease_seconds, "
            "started_at, heartbeat_at) VALUES (?, ?, ?, 1, ?, 30, ?, ?)",
            (EVIL, EVIL, EVIL, json.dumps([EVIL]), moment, moment),
        )
        database.execute(
            "INSERT INTO background_schedules (app, name, handler, args, schedule, declared_at, "
            "created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (EVIL, EVIL, EVIL, args, json.dumps(SCHEDULE), *[moment] * 3),
        )
        database.execute(
            "INSERT INTO background_tokens VALUES (?, ?, ?, ?, ?, ?, ?)",
            (EVIL, EVIL, json.dumps([EVIL]), "x", moment, None, None),
        )
    return int(cursor.lastrowid or 0)


LISTS = [
    ("list",),
    ("show", "{id}"),
    ("show", "{id}", "--watch"),
    ("status",),
    ("doctor",),
    ("schedules",),
    ("schedules", "run", EVIL),
    ("token", "list"),
    ("list", "--json"),
    ("show", "{id}", "--json", "--reveal"),
    ("status", "--json"),
    ("doctor", "--json"),
    ("token", "list", "--json"),
]


@SQLITE
@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_no_row_writes_lines_or_moves_the_cursor(
    project: Project, hostile_rows: int, command: tuple[str, ...]
) -> None:
    run = project.jobs(*(part.format(id=hostile_rows) for part in command))
    for line in (run.out + run.err).split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith("12:34:56"), line
    if "--json" in command:
        assert EVIL in texts_in(json.loads(run.out)), "nothing is lost"


def texts_in(value: object) -> set[str]:
    """All texts in a JSON value, keys included."""
    if isinstance(value, dict):
        return set(value).union(*map(texts_in, value.values()))
    if isinstance(value, list):
        return set[str]().union(*map(texts_in, value))
    return {value} if isinstance(value, str) else set()


@SQLITE
@pytest.mark.parametrize("command", [("list",), ("status",), ("show", "{id}"), ("schedules",)])
def test_no_row_moves_the_cursor_of_a_terminal(
    project: Project, hostile_rows: int, command: tuple[str, ...]
) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "jobqueue", *(part.format(id=hostile_rows) for part in command)],
        cwd=project.folder,
        env={**project.environment, "TERM": "dumb", "COLUMNS": "400"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # at the end
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    assert done.returncode == 0
    assert "jobs.Nobody" in shown.decode()
    for line in shown.decode().replace("\r\n", "\n").split("\n"):
        assert line.isprintable(), repr(line)


@SQLITE
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.usefixtures("hostile_rows")
def test_a_worker_that_meets_such_rows_logs_printable_lines(
    project: Project, log_format: str
) -> None:
    project.jobs("enqueue", "Fail", json.dumps({"why": EVIL}))
    run = project.jobs("workoff", "--log-format", log_format, "--log-level", "debug")
    assert "jobs.Fail" in run.err
    for line in run.err.split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith("12:34:56 jobs.Pay"), line
    if log_format == "json":
        messages = [json.loads(line).get("error", "") for line in run.err.splitlines() if line]
        assert any(EVIL in text for text in messages)


def test_json_of_the_log_has_no_control_characters_at_all() -> None:
    every = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x202E, 0xE0001)))
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", (every,), None)
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert json.loads(line)["message"] == every


@SQLITE
def test_a_row_imports_nothing(project: Project, database_url: str) -> None:
    project.write("evil.py", "from pathlib import Path\nPath('imported').touch()\n")
    with closing(connect(database_url)) as adapter:
        for handler in ("evil.Job", "evil:Job", "evil", "os.system", "../evil"):
            adapter.enqueue([NewJob(handler, '{"command": "touch imported"}', "default", 50, 5)])
    assert project.jobs("workoff").exit_code == 0
    assert project.jobs("list").exit_code == 0
    assert not (project.folder / "imported").exists()


# --- units of systemd ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["100%n", "%h $HOME", "a; b", "two words", "ünï"])
def test_a_folder_is_written_into_a_unit_as_it_is(empty_project: Project, name: str) -> None:
    folder = empty_project.folder / name
    folder.mkdir()
    run = in_folder(empty_project, folder)("setup", "--systemd")
    assert run.exit_code == 0, run.err
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(folder / "jobqueue.service")
    escaped = str(folder).replace("%", "%%")
    assert unit["Service"]["WorkingDirectory"] == escaped
    assert unit["Service"]["EnvironmentFile"] == f"-{escaped}/.env"
    assert list(unit["Service"]).count("ExecStart") == 1


@pytest.mark.parametrize(
    "name", ["a\nExecStart=rm", "a\\", 'a"b', "a\x1b", "a*", "a?", "[a]", "a "], ids=repr
)
def test_a_folder_that_a_unit_would_read_otherwise_is_refused(
    empty_project: Project, name: str
) -> None:
    folder = empty_project.folder / name
    folder.mkdir()
    run = in_folder(empty_project, folder)("setup", "--systemd")
    assert run.exit_code == 2
    assert "cannot be written into a unit of systemd" in run.err
    assert run.err.removesuffix("\n").isprintable()
    assert list(folder.iterdir()) == []


def test_a_unit_is_not_written_where_a_link_leads(empty_project: Project, tmp_path: Path) -> None:
    (empty_project.folder / "jobqueue.service").symlink_to(tmp_path / "elsewhere")
    run = empty_project.jobs("setup", "--systemd")
    assert run.exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def in_folder(project: Project, folder: Path) -> Callable[..., Run]:
    return Project(folder, project.environment, project.server, project.streams).jobs
