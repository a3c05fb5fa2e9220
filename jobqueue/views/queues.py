"""Queues that no worker takes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from jobqueue.records import QueueDepth, WorkerRecord
from jobqueue.runner.groups import WorkerGroup


@dataclass(frozen=True, slots=True)
class UnattendedQueue:
    """A queue with due jobs that no living worker takes.

    Args:
        name: its name.
        due: how many jobs are due.
        groups: the configured groups whose workers would take them.
    """

    name: str
    due: int
    groups: tuple[str, ...]


def unattended_queues(
    depths: Iterable[QueueDepth],
    living: Collection[WorkerRecord],
    groups: Sequence[WorkerGroup],
) -> list[UnattendedQueue]:
    """Return the queues with due jobs that no living worker takes; paused ones are left out."""
    return [
        UnattendedQueue(
            depth.queue,
            depth.due,
            tuple(group.name for group in groups if _takes(group.queues, depth.queue)),
        )
        for depth in depths
        if depth.due
        and not depth.paused
        and not any(_takes(worker.queues, depth.queue) for worker in living)
    ]


def _takes(queues: tuple[str, ...] | None, name: str) -> bool:
    return queues is None or name in queues
