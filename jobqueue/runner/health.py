"""`/healthz` and `/readyz` over HTTP, for whoever watches a container."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jobqueue.errors import ConfigurationError

ALL_ADDRESSES = ""


class HealthServer:
    """Answers 200 or 503, on a thread of its own.

    Args:
        address: `8080`, or `127.0.0.1:8080`.
        is_alive: for `/healthz`: whether the supervisor does its work.
        is_ready: for `/readyz`: whether all workers are ready, and not about to stop.

    Raises:
        ConfigurationError: the address cannot be used.
    """

    def __init__(
        self, address: str, is_alive: Callable[[], bool], is_ready: Callable[[], bool]
    ) -> None:
        answers = {"/healthz": is_alive, "/readyz": is_ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                question = answers.get(self.path)
                good = question is not None and question()
                self.send_response(404 if question is None else 200 if good else 503)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(b"ok\n" if good else b"no\n")

            def log_message(self, *_: Any) -> None:
                """A probe every few seconds is not worth a line."""

        host, _, port = address.rpartition(":")
        try:
            self._server = ThreadingHTTPServer((host or ALL_ADDRESSES, int(port)), Handler)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"--health {address}: {error}; expected a free port, 8080 or 127.0.0.1:8080"
            ) from None
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(
            target=self._server.serve_forever, name="jobqueue-health", daemon=True
        ).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
