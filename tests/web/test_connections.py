"""Connections that say nothing, are too many, or are not read from, hold nobody else up."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.requests import Request

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.web import Access, Scope, connection, events, streams
from jobqueue.web.connection import connection_class
from jobqueue.web.server import KEPT_DESCRIPTORS
from tests.conftest import Project
from tests.web import sample
from tests.web.conftest import by_header, served, server_in

MOST = 20
SOON_SECONDS = 0.3
LOG = logging.getLogger("jobqueue")
READ = {"x-role": "read"}
LIMITED = """
import resource, runpy, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
runpy.run_module("jobqueue", run_name="__main__")
"""
WaitFor = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def url(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", SOON_SECONDS)
    application = jobqueue.web.app(by_header, queue=queue)
    with served(application, http=connection_class(MOST, LOG)) as url:
        yield url


def connected(url: str) -> socket.socket:
    there = urlsplit(url)
    assert there.port is not None
    return socket.create_connection((there.hostname, there.port), timeout=20)


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed it; waits for either."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "begun", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n"]
)
def test_a_request_that_does_not_come_is_not_waited_for(url: str, begun: bytes) -> None:
    with closing(connected(url)) as client:
        client.sendall(begun)
        assert is_closed(client)
    assert httpx2.get(f"{url}/healthz").status_code == 200


def test_the_second_request_of_a_connection_has_to_come_as_well(url: str) -> None:
    with closing(connected(url)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /healthz HT")
        while answer:
            answer = client.recv(65536)


def test_a_request_may_take_longer_than_it_takes_to_come(url: str, queue: JobQueue) -> None:
    job = sample.Hello.perform_later("Ann")
    address = f"{url}/api/jobs/{job.id}/events"
    with httpx2.stream("GET", address, headers=READ, timeout=20) as answer:
        time.sleep(2 * SOON_SECONDS)
        queue.work_off()
        assert "event: finished" in answer.read().decode()


def test_too_many_connections_are_closed_and_said_once(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as opened:
        kept = [opened.enter_context(closing(connected(url))) for _ in range(MOST)]
        more = [opened.enter_context(closing(connected(url))) for _ in range(10)]
        assert all(is_closed(client) for client in more)
        kept[0].sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert kept[0].recv(12) == b"HTTP/1.1 200"
    said = [
        record for record in caplog.records if getattr(record, "event", "") == "connections_refused"
    ]
    assert len(said) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_descriptors_do_not_run_out(project: Project, tmp_path: Path) -> None:
    """Half a request on each of many connections: whoever asks properly is answered."""
    most = KEPT_DESCRIPTORS + 30
    program = ["-c", LIMITED, str(most), "web", "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as file, ExitStack() as opened:
        process = subprocess.Popen(
            [sys.executable, *program],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        opened.callback(process.wait)
        opened.callback(process.kill)
        url = _address_in(log, process)
        for _ in range(200):
            client = opened.enter_context(closing(connected(url)))
            client.sendall(b"GET /")
        deadline = time.monotonic() + 60
        while not _answers(url):
            assert time.monotonic() < deadline, log.read_text()
    assert log.stat().st_size < 10_000


def _address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    while "Serving " not in log.read_text() or "Ctrl-C" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    return log.read_text().partition("Serving ")[2].split()[0]


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx2.TransportError:
        return False


# --- streams -------------------------------------------------------------------------------------


def test_a_caller_has_only_so_many_streams(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS_OF_A_CALLER", 2)
    job = sample.Hello.perform_later("Ann")
    with (
        served(jobqueue.web.app(by_header, queue=queue)) as url,
        httpx2.Client(timeout=20) as client,
    ):
        address = f"{url}/api/jobs/{job.id}/events"
        with ExitStack() as opened:
            for _ in range(2):
                stream = client.stream("GET", address, headers=READ)
                assert opened.enter_context(stream).status_code == 200
            refused = client.get(address, headers=READ)
            assert refused.status_code == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert "too many streams" in refused.json()["detail"]
        queue.work_off()
        assert client.get(address, headers=READ).status_code == 200


def test_a_stream_ends_when_access_is_withdrawn(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ACCESS_SECONDS", 0.1)
    allowed = [Access("ann", frozenset({Scope.READ}))]

    def auth(_: Request) -> Access | None:
        return allowed[0] if allowed else None

    job = sample.Hello.perform_later("Ann")
    with served(jobqueue.web.app(auth, queue=queue)) as url:
        address = f"{url}/api/jobs/{job.id}/events"
        with httpx2.stream("GET", address, timeout=20) as answer:
            lines = answer.iter_lines()
            assert any(line == "event: progress" for line in lines)
            allowed.clear()
            assert not [line for line in lines if line.startswith("event:")]
        assert httpx2.get(address).status_code == 401


def test_a_stream_that_nobody_reads_ends(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setattr(streams, "SLOWEST_READER_SECONDS", 0.2)
    monkeypatch.setattr(streams, "MOST_STREAMS_OF_A_CALLER", 1)
    job = sample.Hello.perform_later("x" * 900_000)
    with served(jobqueue.web.app(by_header, queue=queue)) as url, ExitStack() as opened:
        path = f"/api/jobs/{job.id}/events"

        def is_free() -> bool:
            with httpx2.stream("GET", url + path, headers=READ, timeout=20) as answer:
                return answer.status_code == 200

        client = opened.enter_context(closing(connected(url)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-role: read\r\n\r\n".encode())
        wait_for(lambda: not is_free(), "the stream")
        numbers = itertools.count()

        def has_ended() -> bool:
            job.set_progress(next(numbers))
            return is_free()

        wait_for(has_ended, "the stream to end")


# --- what comes through a proxy ------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("options", "seen"), [([], "127.0.0.1"), (["--proxy", "127.0.0.1"], "9.9.9.9")]
)
def test_only_a_named_proxy_says_where_a_request_comes_from(
    project: Project, tmp_path: Path, options: list[str], seen: str
) -> None:
    project.write("hook.py", "def who(request):\n    return (request.client.host, 'none')\n")
    command = ["jobqueue", "web", "--port", "0", "--auth", "hook:who", *options]
    with server_in(project, command, tmp_path / "log") as (url, _):
        answer = httpx2.get(f"{url}/api/jobs", headers={"x-forwarded-for": "9.9.9.9"})
    assert answer.status_code == 403
    assert json.loads(answer.text)["detail"].startswith(seen)


def test_an_encoded_slash_is_no_slash(url: str) -> None:
    assert httpx2.get(f"{url}/api/jobs", headers=READ).status_code == 200
    assert httpx2.get(f"{url}/api%2Fjobs", headers=READ).status_code == 404
    assert httpx2.get(f"{url}/api%2fjobs", headers=READ).status_code == 404
