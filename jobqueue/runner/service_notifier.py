"""A notifier of systemd, for services of `Type=notify` (see sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

MICROSECONDS = 1_000_000
PATIENCE_SECONDS = 0.5


class ServiceNotifier:
    """A notifier that tells systemd that the service is ready, that it is alive, and that it stops.

    It does nothing when systemd did not ask for it.

    Args:
        environ: where systemd leaves its address and the watchdog's time.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        # Opened once, since without a sign of life systemd ends the service: there may be no
        # descriptor left later.
        self._line: socket.socket | None = None
        if self._address:
            self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._line.settimeout(PATIENCE_SECONDS)
        watchdog = environ.get("WATCHDOG_USEC", "")
        self._every_seconds = int(watchdog) / MICROSECONDS / 3 if watchdog.isdigit() else None
        self._last_sign_of_life = 0.0
        self._is_stopping = False

    def ready(self) -> None:
        """Tell that the workers are ready."""
        self._say("READY=1")

    def stopping(self) -> None:
        """Tell that the workers are being stopped, once however often it is called."""
        if not self._is_stopping:
            self._is_stopping = True
            self._say("STOPPING=1")

    def alive(self) -> None:
        """Tell that the supervisor's loop runs, three times in the watchdog's time."""
        now = time.monotonic()
        if self._every_seconds is not None and now - self._last_sign_of_life > self._every_seconds:
            self._last_sign_of_life = now
            self._say("WATCHDOG=1")

    def _say(self, what: str) -> None:
        if self._line is not None:
            # Supervising goes on whether systemd listens or not.
            with contextlib.suppress(OSError):
                self._line.sendto(what.encode(), self._address)

    def close(self) -> None:
        """Close the connection to systemd."""
        if self._line is not None:
            self._line.close()
            self._line = None
