"""Which queues have jobs due that nobody takes, for the doctor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobqueue.adapters import Adapter
from jobqueue.cli.output import counted
from jobqueue.maintenance.overview import is_lost
from jobqueue.records import QueueDepth, WorkerRecord
from jobqueue.runner.groups import WorkerGroup


@dataclass(frozen=True, slots=True)
class Unattended:
    """A queue that has jobs due which no living worker takes.

    Args:
        queue: its name.
        due: how many they are.
        groups: the configured groups whose workers would take them.
    """

    queue: str
    due: int
    groups: tuple[str, ...]

    def warning(self, *, has_groups: bool) -> str:
        """What is wrong, and what to do about it."""
        verb = "is" if self.due == 1 else "are"
        said = f"{counted(self.due, 'job')} {verb} due in queue {self.queue}, and no living worker"
        if self.groups:
            return f"{said} takes from it: `jobqueue work` runs {_listed(self.groups)}, which would"
        if has_groups:
            return (
                f"{said} takes from it, nor would one of a configured group: add it to the "
                "`queues` of one"
            )
        return f"{said} takes from it: `jobqueue work -n {self.queue}:1` would"


def living_among(
    adapter: Adapter, workers: Iterable[WorkerRecord], now: datetime
) -> list[WorkerRecord]:
    """The workers that are not lost at that time, which is the database's."""
    return [worker for worker in workers if not is_lost(adapter, worker, now)]


def unattended(
    depths: Iterable[QueueDepth],
    living: Collection[WorkerRecord],
    groups: Sequence[WorkerGroup],
) -> list[Unattended]:
    """The queues with jobs due that no living worker takes; what is paused is meant to wait."""
    return [
        Unattended(
            depth.queue,
            depth.due,
            tuple(group.name for group in groups if _takes(group.queues, depth.queue)),
        )
        for depth in depths
        if depth.due
        and not depth.paused
        and not any(_takes(worker.queues, depth.queue) for worker in living)
    ]


def _takes(queues: tuple[str, ...] | None, queue: str) -> bool:
    return queues is None or queue in queues


def _listed(names: Sequence[str]) -> str:
    return f"group {names[0]}" if len(names) == 1 else f"groups {', '.join(names)}"
