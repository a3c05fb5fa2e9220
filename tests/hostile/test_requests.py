"""Requests as anybody may send them who can connect: half, huge, odd, and again and again.

An administrator's login is in the header, so that nothing is refused before it is read.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from urllib.parse import urlsplit

import httpx2
import pytest

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.web import connection
from jobqueue.web.connection import connection_class
from jobqueue.web.table import OPERATIONS
from tests.web import sample
from tests.web.conftest import HEADER, by_header, served

SEED = 15
REQUESTS = 300
AT_ONCE = 8
MOST_CONNECTIONS = 50
SOON_SECONDS = 1.0
LOG = logging.getLogger("jobqueue")

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW", "get", "")
IDS = (
    "1",
    "0",
    "-1",
    "9223372036854775808",
    "1" * 5000,
    "%00",
    "1/../2",
    "None",
    "%EF%BC%91",
    "1e3",
    "*",
)
VALUES = (
    *("", "*", "%00", "%ff", "%ud800", "%2f..%2f", "'; DROP TABLE background_jobs; --", "null"),
    *("9" * 400, "-1", "1e999", "NaN", "infinity", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59"),
    *("x" * 7000, "a,b,,c", "%F0%9F%92%A3", "\u202e"),
)
PARAMETERS = (
    "state",
    "queue",
    "job",
    "limit",
    "after",
    "before",
    "minutes",
    "search",
    "order",
    "id",
)
HEADERS = (
    *(
        b"content-length: 5",
        b"content-length: -1",
        b"content-length: 99999999999",
        b"expect: 100-continue",
    ),
    *(
        b"transfer-encoding: chunked",
        b"idempotency-key: \xff\xfe",
        b"idempotency-key: " + b"k" * 5000,
    ),
    *(b"content-encoding: gzip", b"range: bytes=0-", b"upgrade: websocket", b"connection: upgrade"),
    *(
        b"x-forwarded-for: 127.0.0.1",
        b"authorization: Bearer " + b"t" * 5000,
        b"last-event-id: \x01",
    ),
    *(b"accept: */*;q=" + b"9" * 300, b"cookie: " + b"c=d; " * 1000, b"origin: null", b"no colon"),
)
BODIES = (
    b"",
    b"{",
    b"null",
    b"[" * 100_000,
    b'{"name": "websample.Hello", "args": {"who": 1e999}}',
    b'{"name": "websample.Hello", "args": {"who": "\\ud800"}}',
    b'{"name": "websample.Hello", "args": {"who": "\\u0000"}}',
    b'{"name": "websample.Hello", "args": {"who": "x", "times": 1' + b"0" * 5000 + b"}}",
    b'{"name": "websample.Hello", "args": {"who": "' + b"x" * 1_200_000 + b'"}}',
    b'{"name": "websample.Hello", "name": 7, "args": [], "run_at": "0001-01-01T00:00:00"}',
    b'{"name": "websample.Hello", "args": {"who": "Ann"}, "priority": 1e30, "queue": "\\n"}',
    b'{"filter": {"ids": [' + b"1," * 5000 + b"1]}}",
    b'{"filter": {"state": ["' + b"s" * 500 + b'"]}, "before": 1e400}',
    b"\xff\xfe\x00",
    b'{"a": ' * 500 + b"1" + b"}" * 500,
)


@pytest.fixture
def url(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", SOON_SECONDS)
    application = jobqueue.web.app(by_header, queue=JobQueue(adapter))
    with served(application, http=connection_class(MOST_CONNECTIONS, LOG)) as url:
        yield url


def test_whatever_is_sent_the_next_request_is_answered(
    url: str, adapter: Adapter, caplog: pytest.LogCaptureFixture
) -> None:
    job = sample.Hello.perform_later("Ann")
    threads = threading.active_count()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(lambda text: send(url, text), requests()))
    assert [status for status in statuses if status >= 500] == []
    # Some were understood, or the fuzzer is none.
    assert {200, 400, 404, 405, 422} <= set(statuses)
    assert is_answered(url, "/healthz")
    assert is_answered(url, "/api/jobs?limit=1")
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert threading.active_count() <= threads + AT_ONCE
    again = sample.Hello.perform_later("Bea")
    assert adapter.get(again.id) is not None
    assert again.id > job.id


@pytest.mark.parametrize("times", [50])
def test_a_change_that_is_repeated_is_made_once(url: str, adapter: Adapter, times: int) -> None:
    """As a client does that hears no answer: it closes the connection, and asks once more."""
    body = json.dumps({"name": "websample.Hello", "args": {"who": "Ann"}}).encode()
    text = a_request("POST", "/api/jobs", [b"idempotency-key: once"], body)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda waits: send(url, text, waits=waits), [False, True] * (times // 2)))
    assert adapter.count_by_state() == {"ready": 1}


def requests() -> Iterator[bytes]:
    """Many requests that nobody should send, the same in every run."""
    chance = random.Random(SEED)
    paths = sorted({path for each in OPERATIONS for path in (each.path, *each.aliases)})
    for _ in range(REQUESTS):
        headers = chance.sample(HEADERS, chance.choice((0, 0, 1, 2, 40 % len(HEADERS))))
        path = odd_path(chance, chance.choice([*paths, "/api/jobs", "/%2e%2e/etc/passwd", "//"]))
        method = chance.choice((*METHODS, *("GET", "POST") * 4))
        text = a_request(method, path, headers, chance.choice((b"", *BODIES)))
        yield text if chance.random() < 0.7 else text[: chance.randrange(1, len(text))]


def odd_path(chance: random.Random, path: str) -> str:
    while "{" in path:
        begin, end = path.index("{"), path.index("}")
        path = path[:begin] + chance.choice(IDS) + path[end + 1 :]
    asked = [
        f"{chance.choice(PARAMETERS)}={chance.choice(VALUES)}"
        for _ in range(chance.choice((0, 1, 1, 2, 5)))
    ]
    asked *= chance.choice((1, 1, 1, 300))
    return f"{path}?{'&'.join(asked)}"[:60_000] if asked else path


def a_request(method: str, path: str, headers: list[bytes], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: 127.0.0.1", f"{HEADER}: admin".encode()]
    if not any(header.startswith((b"content-length", b"transfer-encoding")) for header in headers):
        headers = [*headers, b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, b"content-type: application/json", *headers, b"", body])


def send(url: str, text: bytes, *, waits: bool = True) -> int:
    """Send what may be a request. The status of the answer; 0 without one."""
    there = urlsplit(url)
    assert there.port is not None
    with closing(socket.create_connection((there.hostname, there.port), timeout=30)) as client:
        with suppress(ConnectionError):  # it is refused before it has come as a whole
            client.sendall(text)
            if not waits:
                return 0
        return status_in(client)


def status_in(client: socket.socket) -> int:
    answer = b""
    with suppress(ConnectionError):
        while len(answer) < 12 and (more := client.recv(4096)):
            answer += more
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def is_answered(url: str, path: str) -> bool:
    answer: Callable[..., httpx2.Response] = httpx2.get
    return answer(url + path, headers={HEADER: "admin"}, timeout=20).status_code == 200
