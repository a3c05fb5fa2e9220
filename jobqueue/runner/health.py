"""The answers to `/healthz` and `/readyz` over HTTP, for health probes of containers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jobqueue.background import Service
from jobqueue.errors import ConfigurationError

ALL_ADDRESSES = ""
PROBE_WAIT_SECONDS = 0.5


class HealthServer:
    """A server of health probes, which answers 200 or 503 on a thread of its own.

    Args:
        address: `8080`, or `127.0.0.1:8080`.
        is_alive: for `/healthz`: whether the supervisor does its work.
        is_ready: for `/readyz`: whether all workers are ready, and not about to stop.
        logger: where it is logged when it fails.

    Raises:
        ConfigurationError: the address cannot be used.
    """

    def __init__(
        self,
        address: str,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], bool],
        logger: logging.Logger,
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
                """Log nothing: a probe comes every few seconds."""

        host, _, port = address.rpartition(":")
        try:
            self._server = ThreadingHTTPServer((host or ALL_ADDRESSES, int(port)), Handler)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"--health {address}: {error}; expected a free port, 8080 or 127.0.0.1:8080"
            ) from None
        self._server.daemon_threads = True
        self._server.timeout = PROBE_WAIT_SECONDS
        self._service = Service("jobqueue-health", self._answer_one, logger)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer probes."""
        self._service.start()

    def stop(self) -> None:
        """Answer no more probes."""
        self._service.stop()
        self._server.server_close()

    def _answer_one(self) -> float:
        """Answer one probe, or return when none has come for a moment."""
        self._server.handle_request()
        return 0.0
