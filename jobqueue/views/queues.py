"""Queues: how much there is to do in each, and those that no worker takes from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.records import WorkerRecord
from jobqueue.runner.groups import WorkerGroup


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue as it is shown.

    Args:
        name: its name.
        due: how many ready jobs are due.
        later: how many ready jobs are due later.
        running: how many jobs workers hold.
        oldest_age: how long the oldest due job has been due; zero if none is due.
        paused: whether no jobs are taken from it.
        more: whether there may be more jobs, since counting stopped.
    """

    name: str
    due: int
    later: int
    running: int
    oldest_age: timedelta
    paused: bool
    more: bool


def all_queues(adapter: Adapter, most: int | None = None) -> list[QueueView]:
    """Return the queues that have unfinished jobs or are paused, by name.

    Args:
        adapter: where they are.
        most: how many jobs to count, at most, of each priority of a queue; None for all of them.
    """
    return [
        QueueView(
            depth.queue,
            depth.due,
            depth.later,
            depth.running,
            depth.oldest_age,
            depth.paused,
            depth.more,
        )
        for depth in adapter.queue_depths(most)
    ]


# --- queues without workers ----------------------------------------------------------------------


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
    queues: Iterable[QueueView],
    living: Collection[WorkerRecord],
    groups: Sequence[WorkerGroup],
) -> list[UnattendedQueue]:
    """Return the queues with due jobs that no living worker takes; paused ones are left out."""
    return [
        UnattendedQueue(
            queue.name,
            queue.due,
            tuple(group.name for group in groups if _takes(group.queues, queue.name)),
        )
        for queue in queues
        if queue.due
        and not queue.paused
        and not any(_takes(worker.queues, queue.name) for worker in living)
    ]


def _takes(queues: tuple[str, ...] | None, name: str) -> bool:
    return queues is None or name in queues
