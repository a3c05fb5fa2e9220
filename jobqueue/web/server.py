"""The server that `jobqueue web` runs: uvicorn, which ends as our other commands do."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Sequence
from types import FrameType

import uvicorn

from jobqueue.web.connection import connection_class
from jobqueue.web.request_guard import RequestGuard

SHUTDOWN_SECONDS = 3
BACKLOG = 1024
"""How many connections the kernel keeps for us until they are accepted."""
MOST_ACCEPTED_AT_ONCE = 32
MOST_CONNECTIONS = 10_000
KEPT_DESCRIPTORS = 100
"""How many files and sockets are left for the database, the log and the application."""


class Server(uvicorn.Server):
    """A server that returns after a signal; uvicorn's own raises the signal once more."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Finish the open requests; end at once at the second signal."""
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    application: RequestGuard,
    listening: socket.socket,
    proxies: Sequence[str],
    logger: logging.Logger,
) -> None:
    """Serve an application on a socket until a signal ends it.

    Args:
        application: answers the requests.
        listening: takes the connections.
        proxies: the addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are
            believed; nobody else's are.
        logger: where it is logged that there are too many connections.
    """
    config = uvicorn.Config(
        application,
        http=connection_class(most_connections(), logger),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        # As many are accepted at once, before any of them can be closed.
        backlog=MOST_ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    Server(config).run(sockets=[listening])


def most_connections() -> int:
    """Return how many connections are kept at a time, so that descriptors do not run out."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, allowed - KEPT_DESCRIPTORS))
