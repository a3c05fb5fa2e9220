"""The server that `jobqueue web` runs: uvicorn, ending as our other commands do."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from jobqueue.web.request_guard import RequestGuard

SHUTDOWN_SECONDS = 3


class Server(uvicorn.Server):
    """Ends when it is told to, and then returns; uvicorn's own passes the signal on to itself."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Finish what is being answered; told once more, end at once."""
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
