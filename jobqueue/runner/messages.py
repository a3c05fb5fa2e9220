"""The messages of a worker process to its supervisor, each a line of JSON.

After an upgrade, a supervisor of one release starts worker processes of another. So the supervisor
says which protocol it understands, and both ignore what they do not know. A supervisor of before
there was a number (`UNNUMBERED`) understands a single message: the list of recurring jobs, which
says that the worker is ready.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from jobqueue.records import NewSchedule

PROTOCOL = 1
UNNUMBERED = 0
CHUNK_BYTES = 65536


class Stage(StrEnum):
    """The stages of a worker process: it has started, it is ready, it has finished."""

    STARTED = "started"
    """It handles the signals that would end a process; the application is not imported yet."""
    READY = "ready"
    """It is about to claim."""
    FINISHED = "finished"
    """It has settled or given back all that it had claimed, and is about to exit."""


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """A message of a worker process.

    A field that is added later needs a default, for workers that do not send it.

    Args:
        stage: how far it has come.
        schedules: the recurring jobs in its code, when it is ready.
        exit_code: the code that it exits with, when it has finished.
    """

    stage: Stage
    schedules: tuple[NewSchedule, ...] = ()
    exit_code: int = 0

    def to_json(self) -> bytes:
        """The line for the pipe to the supervisor."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> WorkerMessage | None:
        """The message of a line; None if this release does not know such a message.

        Raises:
            ValueError, TypeError: it cannot be understood.
        """
        facts = json.loads(line)
        if isinstance(facts, list):
            return cls(Stage.READY, _schedules(facts))
        if facts.get("stage") not in set(Stage):
            return None
        known = known_fields(cls, facts)
        known |= {
            "stage": Stage(facts["stage"]),
            "schedules": _schedules(facts.get("schedules", ())),
        }
        return cls(**known)


def known_fields(record_class: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are fields of a dataclass, without others that another release may send."""
    names = {field.name for field in fields(record_class)}
    return {name: value for name, value in facts.items() if name in names}


def _schedules(found: Sequence[Mapping[str, Any]]) -> tuple[NewSchedule, ...]:
    return tuple(NewSchedule(**known_fields(NewSchedule, facts)) for facts in found)


class SupervisorLine:
    """The worker's end of the pipe to its supervisor.

    Args:
        fd: the descriptor of that end.
        protocol: what the supervisor understands.
    """

    def __init__(self, fd: int, protocol: int) -> None:
        self._fd, self._protocol = fd, protocol
        os.set_inheritable(fd, False)

    def say(self, message: WorkerMessage) -> None:
        """Send a message, if the supervisor understands it and lives."""
        line = message.to_json()
        if self._protocol == UNNUMBERED:
            if message.stage is not Stage.READY:
                return
            line = json.dumps([asdict(schedule) for schedule in message.schedules]).encode() + b"\n"
        # Without its supervisor this process ends by itself.
        with suppress(BrokenPipeError), open(self._fd, "wb", closefd=False) as pipe:
            pipe.write(line)


class WorkerLine:
    """The supervisor's end of the pipe from a worker. Reading it never waits.

    Args:
        fd: the descriptor of that end, which it closes in the end.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._begun = b""
        os.set_blocking(fd, False)

    def messages(self) -> Iterator[WorkerMessage]:
        """The messages that have come since the last time.

        Raises:
            ValueError, TypeError: one cannot be understood; those after it come the next time.
        """
        self._read()
        while (end := self._begun.find(b"\n")) >= 0:
            line, self._begun = self._begun[:end], self._begun[end + 1 :]
            message = WorkerMessage.from_json(line)
            if message is not None:
                yield message

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self._fd, CHUNK_BYTES):
                self._begun += chunk

    def close(self) -> None:
        """Close this end of the pipe."""
        os.close(self._fd)


def protocol_among(arguments: Sequence[str]) -> int:
    """The protocol that a supervisor has named behind the plan on the command line.

    It is no field of the plan: workers of before there was a number refuse such a field.
    """
    return int(arguments[0]) if arguments else UNNUMBERED
