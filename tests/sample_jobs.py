"""Jobs that tests enqueue and perform. What they were called with is in `calls`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from jobqueue import Constant, Discard, Exponential, Job, Retry, job
from jobqueue.records import ClaimedJob

calls: list[Any] = []


def claimed(handler: str, args: str = "{}", **given: Any) -> ClaimedJob:
    """A job as a worker holds it."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    facts: dict[str, Any] = {
        "id": 1,
        "token": 1,
        "queue": "default",
        "priority": 50,
        "attempts": 1,
        "max_attempts": 24,
        "crashes": 0,
        "run_at": now,
        "created_at": now,
        "locked_at": now,
    }
    return ClaimedJob(handler=handler, args=args, **{**facts, **given})


class Note(Job):
    def perform(self, what: str = "done") -> None:
        calls.append(what)


class NoteAsync(Job):
    async def perform(self, what: str = "done") -> None:
        await asyncio.sleep(0)
        calls.append(what)


@job(queue="functions")
def note(what: str = "done") -> None:
    """Notes what it is given."""
    calls.append(what)


class NoteContext(Job):
    def perform(self) -> None:
        calls.append(self.context)


class Boom(Job):
    max_attempts = 3
    retry = Constant(timedelta(seconds=60))

    def perform(self, message: str = "boom") -> None:
        raise ValueError(message)


class BoomAsync(Job):
    retry = Exponential(base=3, attempts=5)

    async def perform(self) -> None:
        raise ValueError("boom in a coroutine")


class Drop(Job):
    keep_failed = False
    max_attempts = 1

    def perform(self) -> None:
        raise ValueError("not kept")


class Keep(Job):
    keep_succeeded = True

    def perform(self) -> None: ...


class Open(Job):
    api = True

    def perform(self) -> None: ...


class Later(Job):
    def perform(self, seconds: float) -> None:
        raise Retry(in_=seconds)


class Never(Job):
    def perform(self) -> None:
        raise Discard("no such user")


class Secret(Job):
    redact = ("password", "keys")

    def perform(self, user: str, password: str, keys: list[str] | None = None) -> None:
        raise RuntimeError(f"{user} used {password!r} and {keys}")


class OddError(Exception):
    """An error whose own text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(Job):
    def perform(self, kind: str) -> None:
        if kind == "unprintable":
            raise OddError
        if kind == "nul":
            raise ValueError("a\x00b \ud800 c")
        if kind == "huge":
            raise ValueError("start" + "x" * 5_000_000 + "end")
        if kind == "exit":
            raise SystemExit(3)
        if kind == "base":
            raise BaseException("as low as it gets")
        if kind == "group":
            raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


class BadPolicy(Job):
    retry = staticmethod(cast("Any", lambda attempt, error: "soon"))

    def perform(self) -> None:
        raise ValueError("boom")


class StopsTrying(Job):
    retry = staticmethod(lambda attempt, error: None if attempt >= 2 else 0)

    def perform(self) -> None:
        raise ValueError("boom")
