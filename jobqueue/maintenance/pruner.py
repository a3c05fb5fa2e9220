"""Removing the rows of finished jobs that need not be kept any longer.

Every worker does it, about twice a minute, in small batches that no claim waits for. Each class is
pruned by those that have it in their code. What no living worker's code has is pruned by the
settings, and only when that has been so for a while: during a deploy, and while another
application on the same database is down, its classes are missing too.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings
from jobqueue.errors import DatabaseError, DatabaseUnavailable
from jobqueue.job import Registry
from jobqueue.records import FINISHED_STATES, JobState
from jobqueue.retention import Retention, keep_of, retention_of

BATCH = 500
PRUNE_SECONDS = 40.0
MISSING_SECONDS = 600.0
STOP_SECONDS = 5.0


class Pruner:
    """Removes what need not be kept, when it is told to.

    Args:
        adapter: where the jobs are.
        worker_id: in whose name the classes of this code are declared.
        registry: these classes.
        settings: for those that do not say themselves, or are nobody's.
        is_stopped: whether to leave the rest for another time.
        monotonic: seconds that only go up; for tests.
    """

    def __init__(
        self,
        adapter: Adapter,
        worker_id: str,
        registry: Registry,
        settings: Settings,
        is_stopped: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._registry = registry
        self._settings = settings
        self._is_stopped = is_stopped
        self._monotonic = monotonic
        self._missing_since: dict[str, float] = {}

    def declare(self) -> set[str]:
        """Let others know which classes this code has; return what the code of others has.

        Raises:
            DatabaseError: try again later.
        """
        own = {alias for name in self._registry.names() for alias in self._names_of(name)}
        declared = self._adapter.declared_handlers()
        if declared.pop(self._worker_id, None) != own:
            self._adapter.declare_handlers(self._worker_id, own)
        return set().union(*declared.values())

    def prune(self) -> int:
        """Remove all that need not be kept now, and return how many jobs that were.

        Raises:
            DatabaseError: try again later.
        """
        elsewhere = self.declare()
        removed = sum(self._prune_state(state, elsewhere) for state in FINISHED_STATES)
        self._in_batches(self._adapter.prune_keys)
        self._in_batches(self._adapter.prune_stats)
        return removed

    def _prune_state(self, state: JobState, elsewhere: Collection[str]) -> int:
        there = set(self._adapter.finished_handlers(state))
        removed = 0
        for names, retention in self._known(there):
            removed += self._prune_class(state, names, retention)
            there -= set(names)
        for name in self._nobodys(there, elsewhere):
            removed += self._prune_class(state, (name,), self._usual())
        return removed

    def _known(self, there: Iterable[str]) -> list[tuple[tuple[str, ...], Retention]]:
        """The classes that some names belong to, each with all its names, and what stays of it."""
        classes = {job_class for n in there if (job_class := self._registry.find(n)) is not None}
        return [((c.name, *c.aliases), retention_of(c, self._settings)) for c in classes]

    def _nobodys(self, names: Iterable[str], elsewhere: Collection[str]) -> list[str]:
        """Those that no living worker has had in its code for a while."""
        now = self._monotonic()
        missing = [name for name in names if name not in elsewhere]
        for name in elsewhere:
            self._missing_since.pop(name, None)
        since = {name: self._missing_since.setdefault(name, now) for name in missing}
        return [name for name in missing if now - since[name] >= MISSING_SECONDS]

    def _prune_class(self, state: JobState, names: tuple[str, ...], retention: Retention) -> int:
        keep = retention.succeeded if state is JobState.SUCCEEDED else retention.failed
        if keep.keeps_everything:
            return 0
        return self._in_batches(lambda limit: self._adapter.prune(state, names, keep, limit))

    def _in_batches(self, prune: Callable[[int], int]) -> int:
        removed = 0
        while not self._is_stopped():
            number = prune(BATCH)
            removed += number
            if number < BATCH:
                break
        return removed

    def _usual(self) -> Retention:
        succeeded, failed = self._settings.keep_succeeded, self._settings.keep_failed
        return Retention(keep_of(succeeded), keep_of(failed))

    def _names_of(self, name: str) -> tuple[str, ...]:
        job_class = self._registry.find(name)
        return (name, *job_class.aliases) if job_class is not None else (name,)


class PruningThread:
    """Prunes now and then, on a thread, until it is stopped.

    Args:
        adapter: where the jobs are.
        worker_id: the worker that does it.
        registry: the classes in its code.
        settings: for those that do not say themselves what is kept.
        logger: where it says what went wrong.
        frugal: whether the connection that it took need not be kept for anybody else.
    """

    def __init__(
        self,
        adapter: Adapter,
        worker_id: str,
        registry: Registry,
        settings: Settings,
        logger: logging.Logger,
        *,
        frugal: bool = False,
    ) -> None:
        self._adapter = adapter if frugal else None
        self._stopped = threading.Event()
        self._pruner = Pruner(adapter, worker_id, registry, settings, self._stopped.is_set)
        self._logger = logger
        self._thread = threading.Thread(target=self._run, name="jobqueue-pruner", daemon=True)

    def start(self) -> None:
        """Begin, with a first round now."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch under way, but do not wait for a database that does not answer."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            prune_quietly(self._pruner, self._logger)
            if self._adapter is not None:
                with suppress(DatabaseError):  # closing one may find that it is broken
                    self._adapter.close_spare_connections()
            self._stopped.wait(PRUNE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load


def prune_quietly(pruner: Pruner, logger: logging.Logger) -> None:
    """Prune, and leave it for another time when the database does not let it."""
    try:
        removed = pruner.prune()
    except DatabaseUnavailable:
        return  # the worker waits for it as well, and says so
    except DatabaseError as error:
        log.pruning_troubled(logger, error)
    else:
        if removed:
            log.jobs_pruned(logger, removed)
