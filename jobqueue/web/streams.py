"""Answers that wait for something, and their end when the server is to end.

A server such as uvicorn waits until all answers are over before it ends the lifespan of its
application, and what is mounted in an application has no lifespan at all. So signals are heard,
and the server is looked at; the lifespan is heard too, where there is one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress

import anyio
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from jobqueue.runner.shutdown_signals import hearing_of_the_end

LOOK_SECONDS = 1.0
LAST_WORD_SECONDS = 1.0
ENDING_SECONDS = 30.0
"""For how long nothing begins to wait after an end. Who was told to end and does not is no longer
taken to be ending then."""


class Waiting:
    """Something that waits, on an event loop."""

    def __init__(self, scope: anyio.CancelScope, grace_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._grace_seconds = grace_seconds

    def end(self) -> None:
        """Have it end, from any thread, and from within a signal's handler."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._scope.deadline = min(self._scope.deadline, self._loop.time() + self._grace_seconds)


class Streams:
    """All that waits in the answers of an API, and the end of it."""

    def __init__(self) -> None:
        self._waiting: set[Waiting] = set()
        self._ended_at: float | None = None

    @property
    def are_ending(self) -> bool:
        """Whether the server is to end."""
        return self._ended_at is not None and time.monotonic() < self._ended_at + ENDING_SECONDS

    def end(self) -> None:
        """Have all that waits end, from any thread, and from within a signal's handler."""
        self._ended_at = time.monotonic()
        for waiting in list(self._waiting):
            waiting.end()

    @contextmanager
    def until_the_end(self, grace_seconds: float = 0.0) -> Iterator[anyio.CancelScope]:
        """Cancel a block when the server is to end.

        Args:
            grace_seconds: for how long it may go on then.
        """
        with anyio.CancelScope() as scope:
            waiting = Waiting(scope, grace_seconds)
            self._waiting.add(waiting)
            if self.are_ending:
                waiting.end()
            try:
                with hearing_of_the_end(self.end):
                    yield scope
            finally:
                self._waiting.discard(waiting)


class EventStream(StreamingResponse):
    """An answer of server-sent events, sent as they come, until the server is to end.

    Args:
        events: what is sent.
        streams: says when the server is to end.
        headers: beside those of every answer.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], streams: Streams, headers: Mapping[str, str]
    ) -> None:
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._events = events
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the answer."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with suppress(OSError):  # so some servers say that the client has gone
            await send(start)
            with self._streams.until_the_end() as until:
                async with anyio.create_task_group() as others:
                    others.start_soon(_end_with_the_client, receive, until)
                    others.start_soon(_end_with_the_server, receive, until)
                    await self._send_events(send)
                    others.cancel_scope.cancel()
            with anyio.move_on_after(LAST_WORD_SECONDS):  # the client may not read any more
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})


async def _end_with_the_client(receive: Receive, until: anyio.CancelScope) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
    until.cancel()


async def _end_with_the_server(receive: Receive, until: anyio.CancelScope) -> None:
    """End when uvicorn no longer keeps the connection, which nothing else says to an application.

    It is to end then, perhaps without a signal: it has answered as many requests as it may, or was
    started on a thread.
    """
    server = getattr(receive, "__self__", None)
    if getattr(server, "keep_alive", None) is not True:
        return
    while getattr(server, "keep_alive", None) is True:  # noqa: ASYNC110 - no event says so
        await anyio.sleep(LOOK_SECONDS)
    until.cancel()
