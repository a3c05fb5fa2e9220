"""A small proxy between PostgreSQL's clients and the server, that can be told to misbehave.

It knows whose a connection is by the `application_name` that the client introduces itself with,
which in a chaos run is the id of its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

CHUNK_BYTES = 65536
PATIENCE_SECONDS = 3.0
COMMITTED = re.compile(
    rb"C\0\0\0\x0bCOMMIT\0|C\0\0\0.(?:INSERT 0|DELETE|UPDATE) [1-9]\d*\0.*Z\0\0\0\x05I"
)
NAME = re.compile(rb"application_name\0([^\0]*)\0")


class Harm(StrEnum):
    """What can be done to a connection."""

    CUT_BEFORE_SEND = "cut before send"
    """What the client says next never arrives, and the connection is gone."""
    CUT_AFTER_COMMIT = "cut after commit"
    """The server commits what comes next, and its answer never arrives."""
    HALF_OPEN = "half open"
    """Nothing arrives any more, in either direction, and nobody is told; later it is cut."""
    SLOW = "slow"
    """Everything takes long for some time."""


@dataclass(slots=True, eq=False)
class Passage:
    """One client's connection and the one to the server that goes with it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    owner: str = ""
    harm: Harm | None = None
    until: float = 0.0
    delay: float = 0.0
    began: float = 0.0
    answer: bytes = b""
    is_open: bool = True
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> None:
        """Reset both."""
        self.is_open = False
        self.thawed.set()
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own and passes everything on to a server, on a thread of its own.

    Args:
        connect: opens a connection to the server.
        on_harm: is told of each harm when it is done: what, whose connection, and from when on.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        on_harm: Callable[[Harm, str, float], None],
    ) -> None:
        self._connect = connect
        self._on_harm = on_harm
        self._passages: set[Passage] = set()
        self._loop = asyncio.new_event_loop()
        self.port = 0
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def harm(self, harm: Harm, seconds: float, choose: Callable[[list[Passage]], Passage]) -> None:
        """Do something to one of the connections; it begins when that one is next used.

        Args:
            harm: what.
            seconds: how long it lasts, where that has a length.
            choose: picks one.
        """
        self._loop.call_soon_threadsafe(self._begin, harm, seconds, choose)

    def close(self) -> None:
        """Cut everything, and end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        for passage in self._passages:
            passage.cut()
        self._loop.run_until_complete(_end_tasks())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        passage = Passage(writer, to_server)
        self._passages.add(passage)
        try:
            await asyncio.gather(
                self._carry(passage, reader, to_server, self._from_client),
                self._carry(passage, from_server, writer, self._from_server),
            )
        finally:
            passage.cut()
            self._passages.discard(passage)

    async def _carry(
        self,
        passage: Passage,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mind: Callable[[Passage, bytes], bool],
    ) -> None:
        with contextlib.suppress(OSError):
            while passage.is_open and (data := await reader.read(CHUNK_BYTES)):
                if not mind(passage, data):
                    await passage.thawed.wait()
                    break
                if passage.harm is Harm.SLOW:
                    await asyncio.sleep(passage.delay)
                writer.write(data)
                await writer.drain()
        # Whatever side ended, the other cannot go on: it is told, as a closed socket tells it.
        if passage.is_open:
            writer.close()

    # --- what is done ----------------------------------------------------------------------------

    def _begin(
        self, harm: Harm, seconds: float, choose: Callable[[list[Passage]], Passage]
    ) -> None:
        free = [p for p in self._passages if p.owner and p.harm is None and p.is_open]
        if not free:
            return
        passage = choose(sorted(free, key=lambda p: p.owner))
        passage.harm, passage.began, passage.answer = harm, time.time(), b""
        if harm is Harm.SLOW:
            passage.delay = 0.1
        if harm is Harm.HALF_OPEN or harm is Harm.SLOW:
            self._on_harm(harm, passage.owner, passage.began)
        self._loop.call_later(seconds or PATIENCE_SECONDS, self._end, passage, harm)

    def _end(self, passage: Passage, harm: Harm) -> None:
        if passage.harm is harm:
            passage.harm = None
            if harm is Harm.HALF_OPEN:
                passage.cut()

    def _from_client(self, passage: Passage, data: bytes) -> bool:
        """Whether to pass it on."""
        if not passage.owner:
            found = NAME.search(data)
            passage.owner = found[1].decode() if found else "?"
        if passage.harm is Harm.CUT_BEFORE_SEND:
            self._cut(passage, Harm.CUT_BEFORE_SEND)
        return passage.is_open and passage.harm is not Harm.HALF_OPEN

    def _from_server(self, passage: Passage, data: bytes) -> bool:
        """Whether to pass it on. An answer that is waited for is held back until it is whole."""
        if passage.harm is Harm.CUT_AFTER_COMMIT:
            passage.answer = (passage.answer + data)[-CHUNK_BYTES:]
            if COMMITTED.search(passage.answer):
                self._cut(passage, Harm.CUT_AFTER_COMMIT)
        return passage.is_open and passage.harm is not Harm.HALF_OPEN

    def _cut(self, passage: Passage, harm: Harm) -> None:
        self._on_harm(harm, passage.owner, time.time())
        passage.cut()


async def _end_tasks() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def to_socket(path: str) -> Callable[[], Any]:
    """A way to the server's socket in the file system."""
    return lambda: asyncio.open_unix_connection(path)


def to_port(port: int) -> Callable[[], Any]:
    """A way to a port of this machine."""
    return lambda: asyncio.open_connection("127.0.0.1", port)
