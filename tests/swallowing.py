"""A proxy in front of PostgreSQL that takes everything and, when told to, delivers nothing.

TCP is acknowledged on both sides meanwhile, so that neither notices.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import URL, make_url

CHUNK_BYTES = 65536


class SwallowingProxy:
    """Passes bytes on, on threads that end with their connections.

    Args:
        server: the URL of a database.
    """

    def __init__(self, server: str) -> None:
        self._server = make_url(server)
        self.swallows = False
        """Whether what the server sends is lost, on each connection that there is or will be."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the database through it."""
        port = self._listening.getsockname()[1]
        through = URL.create(
            "postgresql",
            username=self._server.username or "postgres",
            password=self._server.password,
            host="127.0.0.1",
            port=port,
            database=self._server.database,
        )
        return through.render_as_string(hide_password=False)

    def close(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = self._connect()
                self._open += [client, server]
                for way in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=way, daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._place()
        if host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{host}/.s.PGSQL.{port}")
            return connection
        return socket.create_connection((host, port))

    def _place(self) -> tuple[str, int]:
        host = self._server.query.get("host") or self._server.host or "127.0.0.1"
        port = self._server.query.get("port") or self._server.port or 5432
        return str(host), int(str(port))

    def _carry(self, source: socket.socket, target: socket.socket, is_from_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if not (is_from_server and self.swallows):
                    target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def swallowing_proxy(server: str) -> Iterator[SwallowingProxy]:
    """One that is closed at the end of the block."""
    proxy = SwallowingProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
