"""The pruner, which removes the rows of finished jobs that need not be kept any longer.

Every worker does so about twice a minute, in small batches that no claim waits for. A class is
pruned by the workers that have it in their code. A class that is in no living worker's code is
pruned as the settings say, and only after it has been missing for a while: classes are missing
during a deploy too, and while another application on the same database is down.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

from jobqueue import log
from jobqueue.adapters.roles.actions import ActionsRole
from jobqueue.adapters.roles.attempts import AttemptsRole
from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.adapters.roles.flows import FlowsRole
from jobqueue.adapters.roles.keys import KeysRole
from jobqueue.adapters.roles.leases import LeasesRole
from jobqueue.adapters.roles.retention import RetentionRole
from jobqueue.adapters.roles.roster import RosterRole
from jobqueue.adapters.roles.samples import SamplesRole
from jobqueue.adapters.roles.schema import SchemaRole
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.adapters.roles.stats import StatsRole
from jobqueue.background import Service
from jobqueue.config import Settings
from jobqueue.errors import DatabaseError
from jobqueue.job import Registry, names_of
from jobqueue.records import FINISHED_STATES, STACKS_LIFETIME, JobState
from jobqueue.retention import Retention, keep_of, retention_of

BATCH = 500
HOURS_AT_ONCE = 24
PRUNE_SECONDS = 40.0
MISSING_SECONDS = 600.0
STOP_SECONDS = 5.0


class PrunerRoles(
    RetentionRole,
    KeysRole,
    StatsRole,
    SamplesRole,
    AttemptsRole,
    FlowsRole,
    ErrorsRole,
    LeasesRole,
    RosterRole,
    StacksRole,
    ActionsRole,
    SchemaRole,
    Protocol,
):
    """The roles of an adapter that a pruner needs."""


class Pruner:
    """A pruner of finished jobs, and of old attempts, errors, statistics and keys, for one worker.

    Statistics by the minute are rolled up by the hour before they are removed.

    Args:
        adapter: where the jobs are.
        worker_id: the worker that declares the classes of this code.
        registry: these classes.
        settings: the retention of classes that set none, or are in no worker's code.
        is_stopped: whether to leave the rest for another time.
        monotonic: seconds that only go up; for tests.
    """

    def __init__(
        self,
        adapter: PrunerRoles,
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
        """Declare the classes of this code, and return those that other workers have declared.

        Raises:
            DatabaseError: try again later.
        """
        own = {name for job_class in self._registry.classes() for name in names_of(job_class)}
        declared = self._adapter.declared_handlers()
        if declared.pop(self._worker_id, None) != own:
            self._adapter.declare_handlers(self._worker_id, own)
        return set().union(*declared.values())

    def prune(self) -> int:
        """Remove all that need not be kept now, and return how many jobs were removed.

        Raises:
            DatabaseError: try again later.
        """
        elsewhere = self.declare()
        removed = sum(self._prune_state(state, elsewhere) for state in FINISHED_STATES)
        self._in_batches(self._adapter.prune_keys)
        self._prune_stats()
        self._in_batches(partial(self._adapter.prune_flows, self._settings.keep_flows))
        self._in_batches(partial(self._adapter.prune_attempts, self._settings.keep_attempts))
        self._in_batches(partial(self._adapter.prune_errors, self._settings.keep_errors))
        self._in_batches(partial(self._adapter.prune_stacks, STACKS_LIFETIME))
        self._in_batches(partial(self._adapter.prune_actions, self._settings.keep_actions))
        keep_workers = self._settings.keep_workers
        self._in_batches(partial(self._adapter.prune_ended_workers, keep_workers))
        return removed

    def _prune_stats(self) -> None:
        keep_stats, keep_samples = self._settings.keep_stats, self._settings.keep_samples
        self._adapter.roll_up_stats(HOURS_AT_ONCE)
        self._in_batches(self._adapter.prune_stats)
        self._in_batches(partial(self._adapter.prune_hours, keep_stats))
        self._in_batches(partial(self._adapter.prune_samples, keep_samples))

    def _prune_state(self, state: JobState, elsewhere: Collection[str]) -> int:
        there = set(self._adapter.finished_handlers(state))
        removed = 0
        for names, retention in self._known(there):
            removed += self._prune_class(state, names, retention)
            there -= set(names)
        for name in self._missing(there, elsewhere):
            removed += self._prune_class(state, (name,), self._default_retention())
        return removed

    def _known(self, there: Iterable[str]) -> list[tuple[tuple[str, ...], Retention]]:
        """The classes with these names: all names of each, and its retention."""
        classes = {job_class for n in there if (job_class := self._registry.find(n)) is not None}
        return [(names_of(c), retention_of(c, self._settings)) for c in classes]

    def _missing(self, names: Iterable[str], elsewhere: Collection[str]) -> list[str]:
        """The names that no living worker has had in its code for `MISSING_SECONDS`.

        That time counts from when this pruner first missed them.
        """
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

    def _default_retention(self) -> Retention:
        succeeded, failed = self._settings.keep_succeeded, self._settings.keep_failed
        return Retention(keep_of(succeeded), keep_of(failed))


class PrunerService:
    """A service that prunes about twice a minute.

    Args:
        adapter: where the jobs are.
        worker_id: the worker that prunes.
        registry: the classes in its code.
        settings: the retention of classes that set none.
        logger: where it is logged that the database refuses it.
        frugal: whether to close spare connections after each round.
    """

    def __init__(
        self,
        adapter: PrunerRoles,
        worker_id: str,
        registry: Registry,
        settings: Settings,
        logger: logging.Logger,
        *,
        frugal: bool = False,
    ) -> None:
        self._adapter = adapter
        self._logger = logger
        self._frugal = frugal
        self._service = Service(
            "jobqueue-pruner",
            self._step,
            logger,
            on_trouble=partial(log.pruning_troubled, logger),
            retry_seconds=PRUNE_SECONDS,
        )
        self._pruner = Pruner(
            adapter, worker_id, registry, settings, lambda: self._service.is_stopping
        )

    def start(self) -> None:
        """Begin, with a first round now."""
        self._service.start()

    def stop(self) -> None:
        """End after the batch under way. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def prune_once(self) -> None:
        """Prune on this thread. When the database does not let it, it is left for another time."""
        self._service.run_step()

    def _step(self) -> float:
        try:
            removed = self._pruner.prune()
            if removed:
                log.jobs_pruned(self._logger, removed)
        finally:
            self._close_spare_connections()
        return PRUNE_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load

    def _close_spare_connections(self) -> None:
        if self._frugal:
            with suppress(DatabaseError):  # one that is broken may say so when it is closed
                self._adapter.close_spare_connections()
