"""Streams of events, and other waits of the API, which end when the server ends.

A server such as uvicorn ends the lifespan of its application only after all answers, and an
application that is mounted in another has no lifespan at all. So the streams listen for signals and
watch the server; they end with the lifespan too, if there is one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager, suppress

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from jobqueue.runner.shutdown_signals import calling_at_shutdown
from jobqueue.web.problems import Problem

LOOK_SECONDS = 1.0
LAST_WORD_SECONDS = 1.0
ENDING_SECONDS = 30.0
"""For how long after its end no stream begins. A server that still runs then goes on."""
MOST_STREAMS_OF_A_CALLER = 200
MOST_STREAMS = 1_000
SLOWEST_READER_SECONDS = 30.0
"""How long a client may leave an event unread until its stream is ended."""
TOO_MANY_STREAMS = (
    f"too many streams are open: {MOST_STREAMS_OF_A_CALLER} for one caller, {MOST_STREAMS:,} for "
    "all; close some, or ask for the job now and then"
)


class Waiting:
    """A block that waits on an event loop, and can be ended from any thread."""

    def __init__(self, scope: anyio.CancelScope, grace_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._grace_seconds = grace_seconds

    def end(self) -> None:
        """Cancel the block. Any thread may call this, and a signal handler too."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._scope.deadline = min(self._scope.deadline, self._loop.time() + self._grace_seconds)


class Streams:
    """All streams and other waits of an API."""

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()
        self._open: Counter[str] = Counter()
        self._ended_at: float | None = None

    @contextmanager
    def one_of(self, caller: str) -> Iterator[None]:
        """Count an open stream of a caller for as long as the block lasts.

        Raises:
            Problem: too many are open.
        """
        if self._open[caller] >= MOST_STREAMS_OF_A_CALLER or self._open.total() >= MOST_STREAMS:
            raise Problem(429, TOO_MANY_STREAMS, {"Retry-After": "10"})
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    @property
    def are_ending(self) -> bool:
        """Whether the server is ending."""
        return self._ended_at is not None and time.monotonic() < self._ended_at + ENDING_SECONDS

    def end(self) -> None:
        """End all streams and waits. Any thread may call this, and a signal handler too."""
        self._ended_at = time.monotonic()
        for waiting in list(self._waiting):
            waiting.end()

    @contextmanager
    def until_the_end(self, grace_seconds: float = 0.0) -> Iterator[anyio.CancelScope]:
        """Cancel a block when the server ends.

        Args:
            grace_seconds: for how long the block may go on then.
        """
        with anyio.CancelScope() as scope:
            waiting = Waiting(scope, grace_seconds)
            self._waiting.add(waiting)
            if self.are_ending:
                waiting.end()
            try:
                with calling_at_shutdown(self.end):
                    yield scope
            finally:
                self._waiting.discard(waiting)


class EventStream(StreamingResponse):
    """An answer of server-sent events, each sent when it comes, until the server ends.

    Args:
        events: the events.
        streams: the streams of the API, which this one belongs to.
        caller: who asks for them.
        headers: the headers that other answers do not have.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        streams: Streams,
        caller: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._events = events
        self._streams = streams
        self._caller = caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        with ExitStack() as counted:
            try:
                counted.enter_context(self._streams.one_of(self._caller))
            except Problem as problem:
                await problem.response()(scope, receive, send)
            else:
                await self._stream(receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with suppress(OSError):  # some servers raise this when the client has gone
            await send(start)
            with self._streams.until_the_end() as until:
                async with anyio.create_task_group() as others:
                    others.start_soon(_end_with_the_client, receive, until)
                    others.start_soon(_end_with_the_server, receive, until)
                    await self._send_events(send)
                    others.cancel_scope.cancel()
            with anyio.move_on_after(LAST_WORD_SECONDS):  # the client may have stopped reading
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                with anyio.move_on_after(SLOWEST_READER_SECONDS) as patience:
                    await send({"type": "http.response.body", "body": event, "more_body": True})
                if patience.cancelled_caught:
                    return


async def _end_with_the_client(receive: Receive, until: anyio.CancelScope) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
    until.cancel()


async def _end_with_the_server(receive: Receive, until: anyio.CancelScope) -> None:
    """End when uvicorn no longer keeps the connection, since it ends itself then.

    That is all an application can see of it. There may be no signal: uvicorn may have answered as
    many requests as it may, or run on a thread.
    """
    server = getattr(receive, "__self__", None)
    if getattr(server, "keep_alive", None) is not True:
        return
    while getattr(server, "keep_alive", None) is True:  # noqa: ASYNC110 - there is no event for it
        await anyio.sleep(LOOK_SECONDS)
    until.cancel()
