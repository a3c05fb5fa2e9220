"""Running worker processes under a supervisor, for `work`, `workoff -n` and `start`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from jobqueue.adapters import Adapter
from jobqueue.cli.session import Session
from jobqueue.cli.work import ready_to_work
from jobqueue.config import Settings, load_settings, setting_names
from jobqueue.defaults import default_configuration
from jobqueue.ends import usual_ends
from jobqueue.errors import ConfigurationError
from jobqueue.maintenance.rescue_reports import RescueReports
from jobqueue.maintenance.ticker import Ticker
from jobqueue.runner.groups import Undertaking, WorkerGroup, groups_of
from jobqueue.runner.health import HealthServer
from jobqueue.runner.process import WorkerProcess
from jobqueue.runner.relay import Relay
from jobqueue.runner.rescue_hooks import HooksInSubprocess
from jobqueue.runner.service_notifier import ServiceNotifier
from jobqueue.runner.signals import run_supervised, show_title
from jobqueue.runner.supervisor import Supervisor

POLL = "poll_interval"
WORKER_COMMAND = ("-m", "jobqueue.cli.worker_process")
HOOKS_COMMAND = ("-m", "jobqueue.cli.hooks_process")


class Watcher(Protocol):
    """Who wants to know how a supervisor gets on."""

    def ready(self, supervisor: Supervisor) -> None:
        """All workers are ready for the first time."""

    def restarted(self, supervisor: Supervisor, error: str | None) -> None:
        """A rolling restart has ended, and why it failed if it did."""


class Workforce:
    """Which workers a supervisor has, as its command line and the configuration say.

    Args:
        undertaking: what the command line says.
        settings: as they are in force, what the application set in code included.
    """

    def __init__(self, undertaking: Undertaking, settings: Settings) -> None:
        self._undertaking = undertaking
        self._settings = settings
        loaded = load_settings(undertaking.options)
        self._set_in_code = {
            name: getattr(settings, name)
            for name in setting_names()
            if getattr(settings, name) != getattr(loaded, name)
        }
        self.groups = groups_of(undertaking.spec, settings, undertaking.options)

    def reloaded(self) -> Sequence[WorkerGroup]:
        """The groups, with the configuration read anew.

        Raises:
            ConfigurationError: it cannot be used, or names another database.
        """
        options = self._undertaking.options
        settings = replace(load_settings(options), **self._set_in_code)
        if settings.database_url != self._settings.database_url:
            raise ConfigurationError(
                "`database_url` has changed, which a restart does not take over, since the old "
                "workers have jobs of the other database; stop the workers and start them again"
            )
        groups = groups_of(self._undertaking.spec, settings, options)
        self.groups, self._settings = groups, settings
        return groups

    @property
    def given(self) -> dict[str, object]:
        """The settings that the command line gives."""
        options = self._undertaking.options
        return {name: value for name, value in options.items() if value is not None}

    def spawn(self, group: WorkerGroup, index: int, *, waits: bool) -> WorkerProcess:
        """A worker process of a group; see `Start`."""
        return WorkerProcess(
            group,
            index,
            WORKER_COMMAND,
            {**group.options, **self.given},
            concurrency=group.concurrency or self._settings.concurrency,
            until_idle=self._undertaking.until_idle,
            max_jobs=self._undertaking.max_jobs,
            waits_for_database=waits,
        )

    @property
    def poll_interval(self) -> timedelta:
        """How often the most impatient of them looks for jobs."""
        own = [load_settings(g.options).poll_interval for g in self.groups if POLL in g.options]
        return min([self._settings.poll_interval, *own])


def supervise(undertaking: Undertaking, session: Session, watcher: Watcher | None = None) -> int:
    """Run the workers until they end or are stopped, and return the exit code.

    Raises:
        ConfigurationError: they cannot be run as they are asked for.
        DatabaseError: the database does not answer, or has no tables.
    """
    settings, adapter = session.settings, session.adapter
    workforce = Workforce(undertaking, settings)
    probed = Probed()
    with answering(undertaking.health, probed):
        if not ready_to_work(session):
            return 0
        lasting = not undertaking.until_idle
        hooks = HooksInSubprocess(HOOKS_COMMAND, workforce.given, default_configuration.logger)
        supervisor = probed.supervisor = Supervisor(
            workforce.groups,
            workforce.spawn,
            adapter,
            lease=settings.lease,
            grace=settings.grace,
            logger=default_configuration.logger,
            until_idle=undertaking.until_idle,
            relay=_relay(workforce, settings, adapter) if lasting else None,
            ticker=_ticker(settings, adapter) if lasting else None,
            max_memory_bytes=undertaking.max_memory_bytes,
            regroup=workforce.reloaded if lasting else None,
            rescues=RescueReports(usual_ends(), hooks),
        )
        supervisor.on_new_code = hooks.forget
        _tell(supervisor, workforce, watcher)
        alarm = _stop_after(undertaking.ttl_seconds, supervisor)
        try:
            return run_supervised(supervisor)
        finally:
            if alarm is not None:
                alarm.cancel()


def _relay(
    workforce: Workforce, settings: Settings, adapter: Adapter
) -> Callable[[Callable[[], Sequence[WorkerProcess]]], Relay] | None:
    """How the workers hear of jobs, looked for as often as the most impatient of them would."""
    if not settings.listen:
        return None
    interval, logger = workforce.poll_interval, default_configuration.logger
    return lambda workers: Relay(adapter, settings.listen_url, workers, interval, logger)


def _ticker(settings: Settings, adapter: Adapter) -> Ticker:
    return Ticker(adapter, settings.app, default_configuration.logger)


def _tell(supervisor: Supervisor, workforce: Workforce, watcher: Watcher | None) -> None:
    """Tell systemd, `ps` and the watcher how the supervisor gets on."""
    service = ServiceNotifier()

    def ready() -> None:
        service.ready()
        if watcher is not None:
            watcher.ready(supervisor)

    def restarted(error: str | None) -> None:
        show_title(supervisor)
        if supervisor.relay is not None:
            supervisor.relay.look_every(workforce.poll_interval)
        if watcher is not None:
            watcher.restarted(supervisor, error)

    def turn() -> None:
        service.alive()
        if supervisor.is_stopping:
            service.stopping()

    supervisor.on_ready, supervisor.on_turn = ready, turn
    supervisor.restarting.on_end = restarted


@dataclass(slots=True)
class Probed:
    """What health probes ask about: a supervisor, once the database has been reached."""

    supervisor: Supervisor | None = None

    def is_alive(self) -> bool:
        """Whether work is done, or the database waited for."""
        return self.supervisor is None or self.supervisor.is_alive

    def is_ready(self) -> bool:
        """Whether all workers are ready."""
        return self.supervisor is not None and self.supervisor.is_ready


@contextmanager
def answering(address: str | None, probed: Probed) -> Iterator[None]:
    """Answer health probes for the time of a block, if there is an address to do so."""
    if address is None:
        yield
        return
    health = HealthServer(address, probed.is_alive, probed.is_ready, default_configuration.logger)
    health.start()
    try:
        yield
    finally:
        health.stop()


def _stop_after(ttl_seconds: float | None, supervisor: Supervisor) -> threading.Timer | None:
    if ttl_seconds is None:
        return None
    why = f"its {ttl_seconds:g} s are over (--ttl)"
    alarm = threading.Timer(ttl_seconds, supervisor.stop, [why])
    alarm.daemon = True
    alarm.start()
    return alarm
