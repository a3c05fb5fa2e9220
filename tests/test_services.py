"""Being a service: systemd's notifications, health over HTTP, and the files that set it up."""

from __future__ import annotations

import configparser
import logging
import resource
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jobqueue import ConfigurationError
from jobqueue.cli.services import write_unit
from jobqueue.runner.health import HealthAddress, HealthServer
from jobqueue.runner.service_notifier import ServiceNotifier
from tests.conftest import PATIENCE_SECONDS, Project

LOG = logging.getLogger("jobqueue")


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    """The socket on which systemd would listen; in a short path, as such sockets need."""
    folder = tempfile.TemporaryDirectory()
    with folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(Path(folder.name) / "notify"))
        listening.settimeout(60)
        yield listening


@contextmanager
def no_more_files() -> Iterator[None]:
    """No descriptor is left to this process, which must not make it look dead."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_systemd_is_told(systemd: socket.socket) -> None:
    where = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3000000"}
    with closing(ServiceNotifier(where)) as notifier, no_more_files():
        notifier.alive()
        notifier.alive()
        notifier.ready()
        notifier.stopping()
        notifier.stopping()
    assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1", b"READY=1", b"STOPPING=1"]
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(100)


def test_nobody_is_told_where_there_is_no_systemd() -> None:
    notifier = ServiceNotifier({})
    notifier.alive()
    notifier.ready()
    notifier.stopping()


def test_a_worker_tells_systemd(project: Project, systemd: socket.socket, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "900000"}
    project = replace(project, environment={**project.environment, **environment})
    systemd.settimeout(PATIENCE_SECONDS)
    running = project.start("work", log=tmp_path / "work.log")
    try:
        told = [systemd.recv(100)]
        while told.count(b"WATCHDOG=1") <= 3 or b"READY=1" not in told:
            told.append(systemd.recv(100))
        running.terminate()
        while told[-1] != b"STOPPING=1":
            told.append(systemd.recv(100))
        assert running.wait() == 0
    finally:
        running.kill()
    assert told.count(b"READY=1") == told.count(b"STOPPING=1") == 1


def ask(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_health() -> None:
    state = {"alive": True, "ready": False}
    server = HealthServer(
        HealthAddress("127.0.0.1", 0), lambda: state["alive"], lambda: state["ready"], LOG
    )
    server.start()
    try:
        assert [ask(server.port, path) for path in ("/healthz", "/readyz", "/x")] == [200, 503, 404]
        state.update(alive=False, ready=True)
        assert [ask(server.port, path) for path in ("/healthz", "/readyz")] == [503, 200]
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["", "port", "127.0.0.1", "70000", "1.2.3.4.5:80"])
def test_an_address_that_cannot_be_used(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a port"):
        HealthServer(HealthAddress.parse(address), lambda: True, lambda: True, LOG)


def test_the_files(empty_project: Project) -> None:
    folder = empty_project.folder
    run = empty_project.jobs("setup", "--systemd", "--procfile")
    assert run.out == "Created jobqueue.service.\nCreated Procfile.\n"
    assert (folder / "Procfile").read_text() == "worker: jobqueue work\n"
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(folder / "jobqueue.service")
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["WorkingDirectory"] == str(folder)
    assert unit["Service"]["ExecStart"] == f"{sys.executable} -m jobqueue work"
    assert sorted(path.name for path in folder.iterdir()) == ["Procfile", "jobqueue.service"]

    again = empty_project.jobs("setup", "--systemd", "--procfile")
    assert again.out.count("is left as it is") == 2
    (folder / "Procfile").write_text("web: gunicorn shop")
    assert empty_project.jobs("setup", "--procfile").out == "Added the worker to Procfile.\n"
    assert (folder / "Procfile").read_text() == "web: gunicorn shop\nworker: jobqueue work\n"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("100% ours", "100%% ours"),
        ("a\nExecStartPre=touch x", None),
        ('a"b', None),
        ("a\\x41", None),
    ],
)
def test_the_name_of_a_folder_writes_no_line_of_a_unit(
    tmp_path: Path, name: str, written: str | None
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if written is None:
        with pytest.raises(ConfigurationError, match="plain name"):
            write_unit(folder)
        assert not (folder / "jobqueue.service").exists()
        return
    write_unit(folder)
    assert f"WorkingDirectory={tmp_path}/{written}\n" in (folder / "jobqueue.service").read_text()
