"""The stacks of workers: a question, and the answer of the worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

STACKS_LIFETIME = timedelta(minutes=10)
"""How long a question for stacks and its answer are kept."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of a thread, or of a task of an event loop.

    Args:
        name: of the thread or the task.
        frames: where it is, the innermost frame last: `file:line in function`. There are no values
            of variables in it.
        job_id: the job that it performs; None for none.
        job_name: the name of that job.
    """

    name: str
    frames: tuple[str, ...]
    job_id: int | None = None
    job_name: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerStacks:
    """A question for the stacks of a worker, and its answer.

    Args:
        worker_id: the worker.
        asked_at: when somebody asked last.
        asked_by: who that was.
        answered_at: when the worker answered; None before it has.
        stacks: the answer: those that perform jobs come first.
    """

    worker_id: str
    asked_at: datetime
    asked_by: str | None = None
    answered_at: datetime | None = None
    stacks: tuple[Stack, ...] = ()
