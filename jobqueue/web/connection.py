"""A connection of `jobqueue web`: its requests have to come in time, and only so many are kept."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from jobqueue import log

REQUEST_SECONDS = 10.0
"""For how long the first line and the headers of a request may take."""
REFUSALS_LOGGED_EVERY_SECONDS = 60.0


def connection_class(most: int, logger: logging.Logger) -> type[asyncio.Protocol]:
    """Return the class of connections of one server.

    Args:
        most: how many connections are kept at a time; further ones are closed at once.
        logger: where it is logged, once a minute at most, that connections are closed.
    """
    refusals = _Refusals(most, logger)

    class Connection(_Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if len(self.connections) >= most:
                self.transport = cast("asyncio.Transport", transport)
                self.transport.abort()
                refusals.log_one()
            else:
                super().connection_made(transport)

    return Connection


class _Refusals:
    """Connections that were closed since there were too many."""

    def __init__(self, most: int, logger: logging.Logger) -> None:
        self._most = most
        self._logger = logger
        self._logged_at: float | None = None

    def log_one(self) -> None:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at > REFUSALS_LOGGED_EVERY_SECONDS:
            self._logged_at = now
            log.connections_refused(self._logger, self._most)


class _Connection(H11Protocol):
    """A connection that is closed if no request comes in time.

    uvicorn itself waits for ever for the rest of the headers.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait_for_a_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._has_a_request():
            self._stop_waiting()
        elif self._waiting is None:
            self._wait_for_a_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, and end what is being answered on this connection.

        An answer to its beginning could not be sent any more, and would be an error in the log.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # another answer has begun, or it must not have a body
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: uvicorn would advise to install a library, but there are no websockets."""

    def _has_a_request(self) -> bool:
        if self.transport.get_protocol() is not self:
            return True  # a handshake has handed it over
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait_for_a_request(self) -> None:
        self._waiting = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
