"""The overview: what is wrong, the queues, the workers and the errors, all in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError
from jobqueue.records import (
    ErrorFilter,
    ErrorState,
    PausedQueue,
    QueueDepth,
    Stat,
)
from jobqueue.views.database import DatabaseView, examined
from jobqueue.views.errors import ErrorGroupView, error_group_view
from jobqueue.views.outlooks import Outlook, all_outlooks, outlook_text
from jobqueue.views.pauses import all_pauses
from jobqueue.views.schedules import all_schedules
from jobqueue.views.stats import attempts_by_minute
from jobqueue.views.troubles import Signs, Trouble, troubles_in
from jobqueue.views.workers import WorkerView, all_workers

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOST_GROUPS = 200
TOP_GROUPS = 5


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A queue in a list.

    Args:
        depth: how much there is to do in it.
        outlook: how it goes on.
        paused: its pause, if it is paused.
    """

    depth: QueueDepth
    outlook: Outlook
    paused: PausedQueue | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one glance.

    Args:
        now: the time by the adapter's clock.
        troubles: what is wrong, the worst first.
        queues: the queues, the one with the oldest due job first.
        workers: all workers.
        errors: the open groups with the most errors in the last 24 hours.
        minutes: the attempts of each minute of the last hour.
    """

    now: datetime
    troubles: tuple[Trouble, ...]
    queues: tuple[QueueLine, ...]
    workers: tuple[WorkerView, ...]
    errors: tuple[ErrorGroupView, ...]
    minutes: Mapping[datetime, Stat]

    @property
    def in_per_minute(self) -> float | None:
        """How many jobs come a minute; None as long as that is not known of every queue."""
        rates = [line.outlook.in_per_minute for line in self.queues]
        return None if None in rates else sum(rate for rate in rates if rate is not None)

    @property
    def out_per_minute(self) -> float:
        """How many jobs ended a minute, in the last quarter of an hour."""
        return sum(line.outlook.out_per_minute for line in self.queues)


def overview_of(adapter: Adapter, most: int) -> Overview:
    """Return the overview.

    Args:
        adapter: where the jobs are.
        most: how many jobs of one priority of a queue to count at most.
    """
    now = adapter.now()
    lines = queue_lines(adapter, most)
    workers = all_workers(adapter)
    found = adapter.error_groups(ErrorFilter(states=(ErrorState.OPEN,), period=DAY), MOST_GROUPS)
    errors = [error_group_view(record, now) for record in found.groups]
    running = tuple({job.handler for worker in workers for job in worker.jobs})
    signs = Signs(
        now,
        [line.depth for line in lines],
        {line.depth.queue: line.paused for line in lines if line.paused is not None},
        {line.depth.queue: line.outlook for line in lines},
        workers,
        errors,
        all_schedules(adapter),
        adapter.class_stats(DAY, handlers=running) if running else (),
        _database(adapter),
    )
    return Overview(
        now,
        tuple(troubles_in(signs)),
        tuple(sorted(lines, key=lambda line: (-line.depth.oldest_age, line.depth.queue))),
        tuple(workers),
        tuple(sorted(errors, key=lambda view: -view.number_of_day)[:TOP_GROUPS]),
        attempts_by_minute(adapter.stats(HOUR)),
    )


def _database(adapter: Adapter) -> DatabaseView | None:
    """What is found in the database; nothing if that takes too long, as the rest is shown then."""
    try:
        return examined(adapter)
    except DatabaseError:
        return None


def queue_lines(adapter: Adapter, most: int) -> list[QueueLine]:
    """Return all queues with what is known of them, by their names."""
    depths = adapter.queue_depths(most)
    outlooks, pauses = all_outlooks(adapter, depths), all_pauses(adapter)
    return [QueueLine(d, outlooks[d.queue], pauses.get(d.queue)) for d in depths]


def outlook_texts(lines: Iterable[QueueLine], now: datetime) -> dict[str, str]:
    """Return for each queue when it will be empty, in words."""
    return {line.depth.queue: outlook_text(line.outlook, now) for line in lines}
