"""A server that is told to end does so, whatever streams are open, and says nothing of it.

Servers are processes of their own with real sockets. What is mounted in an application has no
lifespan of its own, and uvicorn ends that of the application only when all streams are over.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

import jobqueue.web
from jobqueue import JobQueue, MemoryAdapter
from tests.conftest import PATIENCE_SECONDS, Project
from tests.web import sample
from tests.web.conftest import by_header, server_in

MANY = 60
PROMPTLY_SECONDS = 10.0  # streams end at once; the rest is for a machine with much else to do
JOBS = """
    from jobqueue import Job


    class Wait(Job):
        api = True

        def perform(self) -> None: ...
"""
MAIN = """
    from fastapi import FastAPI, Request
    from starlette.applications import Starlette
    from starlette.routing import Mount

    import jobqueue.web
    import jobs


    async def who_asks(request: Request) -> tuple[str, str]:
        return ("ann", "admin")


    alone = jobqueue.web.app(who_asks)

    fastapi = FastAPI()
    fastapi.mount("/jobs", alone)

    wrapped = FastAPI()
    wrapped.mount("/jobs", alone)


    @wrapped.middleware("http")
    async def pass_on(request, call_next):
        return await call_next(request)


    starlette = Starlette(routes=[Mount("/jobs", alone)])
    twice = Starlette(routes=[Mount("/deep", starlette)])
"""
UVICORN = ["uvicorn", "--port", "0"]
WEB = (["jobqueue", "web", "--port", "0"], "")
SERVED = {
    "fastapi": ([*UVICORN, "main:fastapi"], "/jobs"),
    "fastapi with middleware": ([*UVICORN, "main:wrapped"], "/jobs"),
    "starlette": ([*UVICORN, "main:starlette"], "/jobs"),
    "mounted twice": ([*UVICORN, "main:twice"], "/deep/jobs"),
    "not mounted": ([*UVICORN, "main:alone"], ""),
    "jobs web": WEB,
}
SIGNALS = [signal.SIGTERM, signal.SIGINT]
with_every_server = pytest.mark.parametrize("served", SERVED.values(), ids=SERVED.keys())


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One will do: no database has a part in this."""
    return sqlite_url


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("jobs.py", JOBS)
    project.write("main.py", MAIN)
    return project


@contextmanager
def server_of(shop: Project, arguments: list[str], log: Path) -> Iterator[tuple[str, Ended]]:
    """A server's address, and its process as one that is to end."""
    with server_in(shop, arguments, log) as (url, process):
        yield url, Ended(process, log)


class Ended:
    """A process that is to end, and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def by(self, number: signal.Signals) -> None:
        """Send a signal, by which it ends soon."""
        began = time.monotonic()
        self._process.send_signal(number)
        self.by_itself(-number)  # uvicorn ends by the signal that it got
        assert time.monotonic() - began < PROMPTLY_SECONDS

    def by_itself(self, *codes: int) -> None:
        """Wait until it has ended; nothing of that is an error."""
        code = self._process.wait(PATIENCE_SECONDS)
        log = self._log.read_text()
        assert code in {0, *codes}, log
        assert "Traceback" not in log
        assert "ERROR" not in log


def new_job(url: str) -> str:
    """The address of the events of a job that waits for ever."""
    made = httpx2.post(f"{url}/api/job", json={"name": "Wait", "wait": 86_400}, timeout=60)
    return f"{url}/api/job/{made.json()['id']}/events"


@contextmanager
def following(address: str) -> Iterator[Iterator[str]]:
    """The lines of a stream that is open and has said something."""
    with httpx2.stream("GET", address, timeout=60) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["retry: 1000", "", "event: progress"]
        yield lines


# --- signals -------------------------------------------------------------------------------------


@with_every_server
@pytest.mark.parametrize("number", SIGNALS)
def test_an_open_stream_does_not_keep_a_server(
    shop: Project, tmp_path: Path, served: tuple[list[str], str], number: signal.Signals
) -> None:
    arguments, place = served
    with server_of(shop, arguments, tmp_path / "log") as (url, ended):
        address = new_job(url + place)
        with following(address) as lines:
            ended.by(number)
            assert not any(line.startswith("event") for line in lines)  # a clean end of the stream


@pytest.mark.parametrize("name", ["fastapi with middleware", "jobs web"])
def test_many_open_streams_do_not(shop: Project, tmp_path: Path, name: str) -> None:
    arguments, place = SERVED[name]
    with server_of(shop, arguments, tmp_path / "log") as (url, ended), ExitStack() as streams:
        address = new_job(url + place)
        opened = [streams.enter_context(following(address)) for _ in range(MANY)]
        ended.by(signal.SIGTERM)
        for lines in opened:
            assert not any(line.startswith("event") for line in lines)


def test_a_stream_whose_client_is_gone_does_not(shop: Project, tmp_path: Path) -> None:
    arguments, place = SERVED["fastapi with middleware"]
    with server_of(shop, arguments, tmp_path / "log") as (url, ended):
        with following(new_job(url + place)):
            pass
        ended.by(signal.SIGTERM)


@pytest.mark.parametrize("name", ["fastapi", "jobs web"])
def test_a_body_that_never_comes_does_not(shop: Project, tmp_path: Path, name: str) -> None:
    arguments, place = SERVED[name]
    with server_of(shop, arguments, tmp_path / "log") as (url, ended):
        new_job(url + place)
        with half_a_request(url, f"{place}/api/job") as connection:
            ended.by(signal.SIGTERM)
            assert b" 503 " in read_all(connection).splitlines()[0]


@contextmanager
def half_a_request(url: str, path: str) -> Iterator[socket.socket]:
    host, _, port = url.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            'Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n{"name": '.encode()
        )
        # The server asks for the body only when somebody reads it.
        assert b"100 Continue" in connection.recv(1000)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end hangs up."""
    read = b""
    while chunk := connection.recv(65_536):
        read += chunk
    return read


# --- without a signal ----------------------------------------------------------------------------


def test_a_server_that_has_answered_as_many_requests_as_it_may(
    shop: Project, tmp_path: Path
) -> None:
    arguments, place = SERVED["fastapi"]
    log = tmp_path / "log"
    limited = [*arguments, "--limit-max-requests", "2"]
    with (
        server_of(shop, limited, log) as (url, ended),
        following(new_job(url + place)) as lines,
    ):
        assert httpx2.get(f"{url}{place}/healthz", timeout=60).status_code == 200
        ended.by_itself()
        assert not any(line.startswith("event") for line in lines)


@pytest.fixture
def queue() -> JobQueue:
    return JobQueue(MemoryAdapter())


@pytest.fixture
def events_path(queue: JobQueue) -> str:
    job = queue.enqueue(sample.Hello.set(wait=86_400), "Ann")
    return f"/api/job/{job.id}/events"


@contextmanager
def thread_of(application: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a server on a thread, where no signal is heard, and what ends it."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(PROMPTLY_SECONDS)
        assert not thread.is_alive()

    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", end
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE_SECONDS)
        listening.close()


def mounted(api: ASGIApp, **options: Any) -> ASGIApp:
    return Starlette(routes=[Mount("/jobs", api)], **options)


@contextmanager
def following_as_ann(address: str) -> Iterator[Iterator[str]]:
    with httpx2.stream("GET", address, headers={"x-role": "read"}, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        yield lines


def test_a_server_on_a_thread(queue: JobQueue, events_path: str) -> None:
    api = jobqueue.web.app(by_header, queue=queue)
    with thread_of(mounted(api)) as (url, end), following_as_ann(f"{url}/jobs{events_path}"):
        end()


class PassOn(BaseHTTPMiddleware):
    """Stands between the server and the API, which then sees nothing of the server."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def test_an_application_can_end_the_streams_itself(queue: JobQueue, events_path: str) -> None:
    api = jobqueue.web.app(by_header, queue=queue)
    application = mounted(api, middleware=[Middleware(PassOn)])
    with thread_of(application) as (url, end), following_as_ann(f"{url}/jobs{events_path}") as one:
        api.end_streams()
        assert not any(line.startswith("event: finished") for line in one)
        late = httpx2.get(f"{url}/jobs{events_path}", headers={"x-role": "read"}, timeout=60)
        assert (late.status_code, "event" in late.text) == (200, False)  # it ends at once
        end()


def test_the_end_of_the_lifespan_ends_the_streams(queue: JobQueue, events_path: str) -> None:
    """Where the server sends it while streams are open: the API itself, as an application."""
    api = jobqueue.web.app(by_header, queue=queue)

    async def run() -> list[str]:
        said: asyncio.Queue[Message] = asyncio.Queue()
        asked: asyncio.Queue[Message] = asyncio.Queue()
        lifespan = asyncio.create_task(api({"type": "lifespan"}, asked.get, said.put))
        await asked.put({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"

        sent: asyncio.Queue[Message] = asyncio.Queue()
        never: asyncio.Queue[Message] = asyncio.Queue()
        scope = {
            "type": "http",
            "method": "GET",
            "path": events_path,
            "query_string": b"",
            "headers": [(b"x-role", b"read"), (b"host", b"here")],
        }
        stream = asyncio.create_task(api(scope, never.get, sent.put))
        while b"event: progress" not in (await sent.get()).get("body", b""):
            pass
        await asked.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await asyncio.wait_for(asyncio.gather(stream, lifespan), PROMPTLY_SECONDS)
        return [str((await sent.get()).get("more_body")) for _ in range(sent.qsize())]

    assert asyncio.run(run())[-1] == "False"
