"""The answers to `/healthz` and `/readyz` over HTTP, for health probes of containers.

Whoever can connect may keep it busy, so one thread serves all connections without waiting for any.
Each has a second or two for its request. When there are too many, those that have said nothing for
longest make room, so that a probe is answered whoever else holds connections open.
"""

from __future__ import annotations

import logging
import re
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from jobqueue.background import Service
from jobqueue.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
EXPECTED = (
    "expected a port (8080, for probes from this machine), or an address and a port "
    "(0.0.0.0:8080, [::1]:8080)"
)
ADDRESS = re.compile(
    r"(?:(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[\w.-]+)):)?(?P<port>\d{1,5})",
    re.ASCII,
)
LARGEST_PORT = 65535
LOOK_SECONDS = 0.5
REQUEST_SECONDS = 2.0
MOST_CONNECTIONS = 32
LARGEST_REQUEST = 8192
CHUNK_BYTES = 4096
END_OF_REQUEST = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class HealthAddress:
    """The address that probes are answered at.

    Args:
        host: a name or an address of this machine.
        port: the port; 0 for any free one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HealthAddress:
        """The address that a `--health` names.

        Raises:
            ConfigurationError: it names none.
        """
        found = ADDRESS.fullmatch(text.strip())
        if found is None or not 1 <= int(found["port"]) <= LARGEST_PORT:
            raise ConfigurationError(f"--health is {text!r}; {EXPECTED}")
        return cls(found["ipv6"] or found["host"] or LOOPBACK, int(found["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HealthServer:
    """A server of health probes, which answers 200 or 503 on a thread of its own.

    Args:
        address: where to listen.
        is_alive: for `/healthz`: whether the supervisor does its work.
        is_ready: for `/readyz`: whether all workers are ready, and not about to stop.
        logger: where it is logged when it fails.

    Raises:
        ConfigurationError: the address cannot be used.
    """

    def __init__(
        self,
        address: HealthAddress,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], bool],
        logger: logging.Logger,
    ) -> None:
        self._answers = {"/healthz": is_alive, "/readyz": is_ready}
        self._listening = _listening_at(address)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._requests: dict[socket.socket, _Request] = {}
        self._service = Service("jobqueue-health", self._serve_for_a_moment, logger)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._listening.getsockname()[1])

    def start(self) -> None:
        """Begin to answer probes."""
        self._service.start()

    def stop(self) -> None:
        """Answer no more probes."""
        self._service.stop()
        for connection in list(self._requests):
            self._drop(connection)
        self._selector.close()
        self._listening.close()

    def _serve_for_a_moment(self) -> float:
        """Drop those who have said nothing in their time, and serve whoever says something."""
        self._drop_late()
        for key, _ in self._selector.select(LOOK_SECONDS):
            if key.fileobj is self._listening:
                self._accept()
            elif key.fileobj in self._requests:
                self._read(self._requests[key.fileobj])
        return 0.0

    def _drop_late(self) -> None:
        now = time.monotonic()
        late = [request for request in self._requests.values() if now > request.deadline]
        for request in late:
            self._drop(request.connection)

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listening.accept()
            connection.setblocking(False)
            self._requests[connection] = _Request(connection)
            self._selector.register(connection, selectors.EVENT_READ)
        if len(self._requests) > MOST_CONNECTIONS:
            self._drop(next(iter(self._requests)))

    def _read(self, request: _Request) -> None:
        """Read what has come of a request, and answer it when it is complete."""
        try:
            chunk = request.connection.recv(CHUNK_BYTES)
            request.text += chunk
            if request.has_ended:
                request.connection.send(self._answer_to(request))
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk or request.has_ended:
            self._drop(request.connection)

    def _answer_to(self, request: _Request) -> bytes:
        if not END_OF_REQUEST.search(request.text):
            return _answer("431 Request Header Fields Too Large", "no")
        method, _, rest = request.text.partition(b" ")
        question = self._answers.get(rest.split(b" ")[0].partition(b"?")[0].decode("latin-1"))
        if method not in {b"GET", b"HEAD"}:
            return _answer("405 Method Not Allowed", "no")
        if question is None:
            return _answer("404 Not Found", "no")
        answer = _answer("200 OK", "ok") if question() else _answer("503 Service Unavailable", "no")
        return answer if method == b"GET" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _drop(self, connection: socket.socket) -> None:
        del self._requests[connection]
        self._selector.unregister(connection)
        connection.close()


@dataclass(slots=True, eq=False)
class _Request:
    """A request that comes in, and by when it has to be complete."""

    connection: socket.socket
    text: bytes = b""
    deadline: float = field(default_factory=lambda: time.monotonic() + REQUEST_SECONDS)

    @property
    def has_ended(self) -> bool:
        return len(self.text) > LARGEST_REQUEST or bool(END_OF_REQUEST.search(self.text))


def _listening_at(address: HealthAddress) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(MOST_CONNECTIONS)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"--health {address}: {error}; {EXPECTED} that nobody listens on"
        ) from None
    return listening


def _answer(status: str, text: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text) + 1}\r\n"
    return f"{head}Connection: close\r\n\r\n{text}\n".encode()
