"""The jobs that are measured. They do next to nothing: what is left is the product's own cost."""

from __future__ import annotations

import asyncio
import socket
import time

from jobqueue import Job

SLEEP_SECONDS = 0.01


class NoOp(Job):
    """Has an argument, so that arguments are checked, stored and decoded as for any job."""

    name = "NoOp"

    def perform(self, number: int) -> None:
        """Do nothing."""


class Kept(NoOp):
    """Its rows stay: what the finished rows of a table that has grown are of."""

    name = "Kept"
    keep_succeeded = True


class Sleep(Job):
    """Waits as a job waits for a network, and blocks its thread meanwhile."""

    name = "Sleep"

    def perform(self, number: int) -> None:  # noqa: ARG002 - a job's argument
        """Sleep 10 ms."""
        time.sleep(SLEEP_SECONDS)


class AsyncSleep(Job):
    """Waits as a job waits for a network, and lets others run."""

    name = "AsyncSleep"

    async def perform(self, number: int) -> None:  # noqa: ARG002 - a job's argument
        """Sleep 10 ms."""
        await asyncio.sleep(SLEEP_SECONDS)


class Payload(Job):
    """Carries some bytes."""

    name = "Payload"

    def perform(self, text: str) -> None:
        """Do nothing with them."""


class Stamp(Job):
    """Says when it was begun, to who waits for it."""

    name = "Stamp"

    def perform(self, path: str) -> None:
        """Send the time, on the clock that all processes of a machine share."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(str(began).encode(), path)
