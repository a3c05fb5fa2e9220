"""The message of a worker process that is ready, with the recurring jobs in its code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from jobqueue.records import NewSchedule

END = b"\n"


def ready_message(schedules: Sequence[NewSchedule]) -> bytes:
    """The message for the pipe to the supervisor."""
    return json.dumps([asdict(schedule) for schedule in schedules]).encode() + END


def is_whole(message: bytes) -> bool:
    """Whether all of a message has been read."""
    return message.endswith(END)


def schedules_in_message(message: bytes) -> tuple[NewSchedule, ...]:
    """The recurring jobs that a whole message names."""
    return tuple(NewSchedule(**fields) for fields in json.loads(message))
