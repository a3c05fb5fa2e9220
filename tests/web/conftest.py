"""Clients of the API: in this process for most tests, over a socket where that is the point."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.web import Access, Auth, Role, Scope
from tests.conftest import PATIENCE_SECONDS, Project
from tests.web import sample

Client = Callable[..., TestClient]
HEADER = "x-role"
ADDRESS = re.compile(r"http://[\d.]+:\d+")


def by_header(request: Any) -> Access | tuple[str, str] | None:
    """A login for tests: the header says the role, or a single scope."""
    role = request.headers.get(HEADER)
    if role is None:
        return None
    if role.startswith("only "):
        return Access("ann", frozenset({Scope(role.removeprefix("only "))}))
    return ("ann", role)


@pytest.fixture
def queue(adapter: Adapter) -> JobQueue:
    return JobQueue(adapter)


@pytest.fixture
def client(queue: JobQueue) -> Iterator[TestClient]:
    """An administrator, on each adapter in turn."""
    with client_of(queue) as made:
        yield made


@contextlib.contextmanager
def client_of(
    queue: JobQueue, auth: Auth | None = by_header, role: str = Role.ADMIN, **options: Any
) -> Iterator[TestClient]:
    application = jobqueue.web.app(auth, queue=queue, **options)
    with TestClient(application, headers={HEADER: role}) as made:
        yield made


@contextlib.contextmanager
def served(application: Any, **options: Any) -> Iterator[str]:
    """The URL of a real server of an application, in a thread of this process."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        application, log_config=None, access_log=False, timeout_graceful_shutdown=1, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


@contextlib.contextmanager
def server_in(
    project: Project, arguments: list[str], log: Path
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of a server that runs in a project's folder, and its process; it ends when told."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=project.folder,
            env={**project.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := ADDRESS.search(log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield found[0], process
        process.terminate()
        process.wait(10)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def open_jobs() -> None:
    """The classes of `tests.web.sample` are registered."""
    assert sample.Hello.api
