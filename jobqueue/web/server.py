"""The server that `jobqueue web` runs: uvicorn, which ends as our other commands do."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from jobqueue.web.request_guard import RequestGuard

SHUTDOWN_SECONDS = 3


class Server(uvicorn.Server):
    """A server that returns after a signal; uvicorn's own raises the signal once more."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Finish the open requests; end at once at the second signal."""
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(application: RequestGuard, listening: socket.socket) -> None:
    """Serve an application on a socket until a signal ends it."""
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    Server(config).run(sockets=[listening])
