"""What is refused before anything is looked at, and how everything that goes wrong is told."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient, WebSocketDenialResponse

import jobqueue.web
from jobqueue import JobQueue, MemoryAdapter
from jobqueue.cli.web import LOOPBACK_NAMES
from jobqueue.errors import DatabaseError, DatabaseRefused, DatabaseUnavailable, SchemaError
from jobqueue.records import JobFilter
from jobqueue.web import request_reader
from jobqueue.web.request_reader import LONGEST_BODY
from tests.web.conftest import by_header, client_of, served

HELLO = {"name": "Hello", "args": {"who": "Ann"}}
PROBLEM = {"type", "title", "status", "detail"}


@pytest.fixture
def memory() -> MemoryAdapter:
    return MemoryAdapter()


@pytest.fixture
def client(memory: MemoryAdapter) -> Iterator[TestClient]:
    with client_of(JobQueue(memory)) as made:
        yield made


def assert_problem(answer: Any, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) >= PROBLEM
    assert answer.json()["status"] == status


# --- the name that it is called by ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("localhost:8787", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8787", True),
        ("[::1]:8787", True),
        ("jobs.example.com", True),
        ("evil.example.com", False),
        ("localhost.evil.example.com", False),
        ("evil.example.com:8787", False),
        ("localhost@evil.example.com", False),
        ("evil.example.com@localhost", False),
        ("evil.example.com#localhost", False),
        ("127.0.0.1.nip.io", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_other_names_are_misdirected(memory: MemoryAdapter, host: str, allowed: bool) -> None:
    names = (*LOOPBACK_NAMES, "jobs.example.com")
    with client_of(JobQueue(memory), allowed_hosts=names) as client:
        for method, path in (("GET", "/api/queues"), ("GET", "/healthz"), ("POST", "/nope")):
            answer = client.request(method, path, headers={"host": host})
            if allowed:
                assert answer.status_code in {200, 404}
            else:
                assert_problem(answer, 421)


# --- websockets ----------------------------------------------------------------------------------

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WEBSOCKET_PATHS = ["/api/jobs", "/api/job/1/events", "/nope", "/"]


@pytest.mark.parametrize("mount", ["", "/jobs", "/deep/jobs"])
@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
def test_a_websocket_is_refused(memory: MemoryAdapter, mount: str, path: str) -> None:
    """With the reason, where the server can pass it on."""
    client = TestClient(mounted_at(mount, memory))
    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect(mount + path).__enter__()
    assert_problem(refused.value, 403)
    assert "websocket" in refused.value.json()["detail"]


@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
def test_a_websocket_is_refused_by_a_server_that_passes_on_no_reason(
    memory: MemoryAdapter, path: str
) -> None:
    """It gets the handshake first, and closes what it has not accepted."""
    received: list[str] = []
    sent: list[Any] = []

    async def receive() -> Any:
        received.append("websocket.connect")
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        assert received == ["websocket.connect"]
        sent.append(message)

    scope = {"type": "websocket", "path": path, "headers": [], "query_string": b""}
    asyncio.run(jobqueue.web.app(by_header, queue=JobQueue(memory))(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1003}]


@pytest.mark.parametrize("mount", ["", "/jobs"])
@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
def test_a_handshake_gets_an_answer(
    memory: MemoryAdapter, caplog: pytest.LogCaptureFixture, mount: str, path: str
) -> None:
    """Over a socket, also from a server that knows nothing of websockets."""
    with served(mounted_at(mount, memory)) as url:
        place = url.removeprefix("http://").split(":")
        with socket.create_connection((place[0], int(place[1])), timeout=30) as connection:
            connection.sendall(HANDSHAKE.format(path=mount + path).encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert "Traceback" not in caplog.text


def mounted_at(mount: str, adapter: MemoryAdapter) -> Any:
    application: Any = jobqueue.web.app(by_header, queue=JobQueue(adapter))
    for step in reversed(mount.split("/")[1:]):
        application = Starlette(routes=[Mount(f"/{step}", application)])
    return application


# --- where it comes from -------------------------------------------------------------------------

HOST = "testserver"
CROSS: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "nonsense"},
    {"sec-fetch-site": "cross-site", "origin": f"http://{HOST}"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    {"origin": "https://evil.example.com"},
    {"origin": f"https://{HOST}.evil.example.com"},
    {"origin": f"http://{HOST}:8080"},
    {"origin": "null"},
    {"origin": ""},
]
OWN: list[dict[str, str]] = [
    {},
    {"sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin", "origin": "https://another.name.of.it"},
    {"origin": f"http://{HOST}"},
    {"origin": f"https://{HOST}:443"},
]


@pytest.mark.parametrize("headers", CROSS, ids=str)
def test_requests_from_other_sites_are_refused(
    client: TestClient, memory: MemoryAdapter, headers: dict[str, str]
) -> None:
    assert_problem(client.post("/api/job", json=HELLO, headers=headers), 403)
    assert memory.count_jobs(JobFilter()) == 0
    if headers.get("sec-fetch-mode") != "navigate":
        assert_problem(client.get("/api/jobs", headers=headers), 403)


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_other_requests_are_not(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/job", json=HELLO, headers=headers).status_code == 201


def test_a_link_from_elsewhere_is_followed(client: TestClient) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/api/jobs", headers=headers).status_code == 200


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/merge-patch+json", 415),
        ("", 415),
    ],
)
def test_bodies_are_json(client: TestClient, kind: str, status: int) -> None:
    answer = client.post("/api/job", content=json.dumps(HELLO), headers={"content-type": kind})
    assert answer.status_code == status
    if status != 201:
        assert_problem(answer, status)


def test_a_body_where_none_is_needed_is_json_too(client: TestClient) -> None:
    made = client.post("/api/job", json=HELLO).json()["id"]
    answer = client.post(f"/api/job/{made}/retry", data={"a": "form"})
    assert_problem(answer, 415)
    assert client.post(f"/api/job/{made}/retry", json={}).status_code == 200
    assert client.post(f"/api/job/{made}/cancel", json={}).status_code == 200


def test_bodies_are_not_too_large(client: TestClient, memory: MemoryAdapter) -> None:
    text = json.dumps({"name": "Merged", "args": {"n": "x" * LONGEST_BODY}})
    kind = {"content-type": "application/json"}
    assert_problem(client.post("/api/job", content=text, headers=kind), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 50_000

    assert_problem(client.post("/api/job", content=chunks(), headers=kind), 413)
    assert_problem(client.post("/api/job/1/retry", content=chunks(), headers=kind), 413)
    assert memory.count_jobs(JobFilter()) == 0


@contextmanager
def half_a_post(url: str, path: str = "/api/job") -> Iterator[socket.socket]:
    """A connection on which a request has announced a body of which a part is there."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Role: admin\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(SLOW)}\r\n"
            f"Expect: 100-continue\r\n\r\n".encode()
        )
        assert b"100 Continue" in connection.recv(1000)  # somebody reads the body
        connection.sendall(SLOW[:5])
        yield connection


SLOW = json.dumps(HELLO).encode()


def assert_too_slow(connection: socket.socket) -> None:
    """The answer is a problem, after which the server hangs up."""
    answer = b""
    while part := connection.recv(10_000):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    assert json.loads(body)["status"] == 408


@pytest.mark.parametrize("path", ["/api/job", "/api/job/1/retry", "/api/jobs/delete"])
def test_a_body_that_never_comes(
    memory: MemoryAdapter, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(request_reader, "SILENCE_SECONDS", 0.3)
    with (
        served(jobqueue.web.app(by_header, queue=JobQueue(memory))) as url,
        half_a_post(url, path) as connection,
    ):
        assert_too_slow(connection)
        # Whoever else asks is not kept waiting.
        assert httpx2.get(f"{url}/healthz").status_code == 200


def test_a_body_that_comes_drop_by_drop(
    memory: MemoryAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_reader, "BODY_SECONDS", 1.0)
    with (
        served(jobqueue.web.app(by_header, queue=JobQueue(memory))) as url,
        half_a_post(url) as connection,
    ):
        connection.setblocking(False)
        for drop in SLOW[5:-1]:
            connection.sendall(bytes([drop]))
            time.sleep(0.1)
            if _has_answer(connection):
                break
        connection.settimeout(30)
        assert_too_slow(connection)
    assert memory.count_jobs(JobFilter()) == 0


def _has_answer(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_body_that_is_slow_within_bounds(
    memory: MemoryAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        served(jobqueue.web.app(by_header, queue=JobQueue(memory))) as url,
        half_a_post(url) as connection,
    ):
        for drop in SLOW[5:]:
            time.sleep(0.01)
            connection.sendall(bytes([drop]))
        assert connection.recv(100).startswith(b"HTTP/1.1 201 ")


def test_who_hangs_up_in_the_middle_of_a_body_is_no_crash(
    memory: MemoryAdapter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with served(jobqueue.web.app(by_header, queue=JobQueue(memory))) as url:
        with half_a_post(url):
            pass
        assert httpx2.get(f"{url}/healthz").status_code == 200
    assert "failed" not in caplog.text
    assert "Traceback" not in caplog.text


# --- problems ------------------------------------------------------------------------------------


def test_what_is_not_there(client: TestClient) -> None:
    for path in ("/nope", "/api", "/api/", "/api/jobs/", "/api/job/1/nope", "/api/job/x"):
        for method in ("GET", "POST", "DELETE"):
            assert_problem(client.request(method, path), 404)


def test_methods_that_a_path_does_not_take(client: TestClient) -> None:
    for method, path, allowed in [
        ("PUT", "/api/job", "POST"),
        ("GET", "/api/job", "POST"),
        ("POST", "/api/job/1", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/api/jobs/retry", "POST"),
        ("OPTIONS", "/api/jobs", "GET, HEAD, POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
    ]:
        answer = client.request(method, path)
        assert_problem(answer, 405)
        assert ", ".join(sorted(answer.headers["allow"].split(", "))) == allowed


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DatabaseUnavailable("postgresql://db.internal does not answer"), 503),
        (SchemaError("no tables in postgresql://db.internal"), 503),
        (DatabaseRefused("postgresql://db.internal refused"), 422),
        (DatabaseError("postgresql://db.internal is odd"), 500),
        (ZeroDivisionError("db.internal"), 500),
    ],
)
def test_errors_are_problems_and_tell_nothing_of_this_machine(
    client: TestClient,
    memory: MemoryAdapter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(memory, "page_jobs", fail)
    monkeypatch.setattr(memory, "ping", fail)
    for path in ("/api/jobs", "/readyz"):
        answer = client.get(path)
        assert_problem(answer, status)
        assert "db.internal" not in answer.text
        assert ("db.internal" in caplog.text) == (status >= 500)
        assert ("retry-after" in answer.headers) == (status == 503)
    assert client.get("/healthz").status_code == 200


def test_an_application_around_it_does_not_meddle(memory: MemoryAdapter) -> None:
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse

    outer = FastAPI()
    outer.mount("/jobs", jobqueue.web.app(by_header, queue=JobQueue(memory)))

    @outer.exception_handler(Exception)
    @outer.exception_handler(404)
    @outer.exception_handler(405)
    def meddle(_: Request, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("mine")

    client = TestClient(outer, headers={"x-role": "admin"})
    assert_problem(client.get("/jobs/api/job/999"), 404)
    assert_problem(client.get("/jobs/nope"), 404)
    assert_problem(client.put("/jobs/api/job"), 405)
    made = client.post("/jobs/api/job", json=HELLO)
    assert made.headers["location"] == "/jobs/api/job/1"
    assert client.get(made.headers["location"]).status_code == 200
    assert client.get("/jobs/").json()["jobs"] == "/jobs/api/jobs"
    assert client.get("/jobs/api/openapi.json").json()["servers"] == [{"url": "/jobs"}]


def test_in_wsgi(memory: MemoryAdapter) -> None:
    import httpx2 as httpx
    from a2wsgi import ASGIMiddleware

    application: Any = jobqueue.web.app(by_header, queue=JobQueue(memory))
    wsgi: Any = ASGIMiddleware(application)
    transport = httpx.WSGITransport(app=wsgi)
    headers = {"x-role": "admin"}
    with httpx.Client(transport=transport, base_url="http://here", headers=headers) as client:
        made = client.post("/api/job", json=HELLO)
        assert made.status_code == 201
        assert client.get(f"/api/job/{made.json()['id']}").json()["args"] == {"who": "Ann"}
        assert_problem(client.get("/api/job/999"), 404)
        assert client.get("/api/queues", headers={"x-role": "none"}).status_code == 403


def test_every_answer_has_the_headers_that_keep_it_to_itself(client: TestClient) -> None:
    for path in ("/", "/api/jobs", "/nope", "/api/job/999", "/healthz"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_get_changes_nothing(client: TestClient, memory: MemoryAdapter) -> None:
    client.post("/api/job", json=HELLO)
    before = memory.list_jobs(JobFilter(), 10)
    for path in ("/api/jobs?state=ready", "/api/job/1", "/api/stats", "/api/queues", "/readyz"):
        for method in ("GET", "HEAD"):
            override = {"x-http-method-override": "DELETE"}
            assert client.request(method, path, headers=override).status_code == 200
    assert memory.list_jobs(JobFilter(), 10) == before
    assert memory.paused_queues() == set()
