"""Wiring of a supervisor, for `work`, `workoff -n` and `start`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from jobqueue.adapters import Adapter
from jobqueue.config import PLACE, Settings, load_settings, setting_names
from jobqueue.defaults import default_configuration
from jobqueue.ends import usual_ends
from jobqueue.errors import ConfigurationError
from jobqueue.maintenance.error_counts import ErrorCounts
from jobqueue.maintenance.rescue_reports import RescueReports
from jobqueue.maintenance.ticker import Ticker
from jobqueue.release import application_release, release_of_this_process
from jobqueue.runner.groups import Undertaking, WorkerGroup, groups_of
from jobqueue.runner.health import HealthAddress, HealthServer
from jobqueue.runner.open_files import allow_open_files, files_for
from jobqueue.runner.process import WorkerProcess
from jobqueue.runner.relay import Relay
from jobqueue.runner.rescue_hooks import HooksInSubprocess
from jobqueue.runner.service_notifier import ServiceNotifier
from jobqueue.runner.signals import run_supervised, show_title
from jobqueue.runner.supervisor import Supervisor

POLL = "poll_interval"
WORKER_COMMAND = ("-m", "jobqueue.cli.worker_process")
HOOKS_COMMAND = ("-m", "jobqueue.cli.hooks_process")


class SupervisorReports(Protocol):
    """The receiver of reports on all workers of a supervisor: they are ready, or were restarted."""

    def ready(self, supervisor: Supervisor) -> None:
        """All workers are ready for the first time."""

    def restarted(self, supervisor: Supervisor, error: str | None) -> None:
        """A rolling restart has ended; `error` says why it failed, if it did."""

    def keep(self) -> None:
        """Write down what has changed, if anything has. It is called again and again.

        Raises:
            OSError: it cannot be written now.
        """


class Workforce:
    """The workers of a supervisor, as its command line and the configuration describe them.

    Args:
        undertaking: what the command line says.
        settings: the settings in force, those that the application set in code included.
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
        allow_open_files(files_for(self.groups))

    def reloaded(self) -> Sequence[WorkerGroup]:
        """The groups, with the configuration read anew.

        Raises:
            ConfigurationError: it cannot be used, or names another database.
        """
        options = self._undertaking.options
        settings = replace(load_settings(options), **self._set_in_code)
        changed = [n for n in PLACE if getattr(settings, n) != getattr(self._settings, n)]
        if changed:
            raise ConfigurationError(
                f"`{changed[0]}` has changed, which a restart does not take over, since the old "
                "workers have jobs of the other place; stop the workers and start them again"
            )
        groups = groups_of(self._undertaking.spec, settings, options)
        self.groups, self._settings = groups, settings
        allow_open_files(files_for(groups))
        return groups

    @property
    def given(self) -> dict[str, object]:
        """The settings that the command line gives."""
        options = self._undertaking.options
        return {name: value for name, value in options.items() if value is not None}

    def spawn(self, group: WorkerGroup, index: int, *, waits: bool) -> WorkerProcess:
        """Start a worker process of a group.

        Args:
            group: the group it belongs to.
            index: its number in the group.
            waits: whether it waits for a database that does not answer when it starts.
        """
        return WorkerProcess(
            group,
            index,
            WORKER_COMMAND,
            {**group.options, **self.given},
            concurrency=group.concurrency or self._settings.concurrency,
            until_idle=self._undertaking.until_idle,
            max_jobs=self._undertaking.max_jobs,
            waits_for_database=waits,
            release=self._release_now(group),
        )

    def _release_now(self, group: WorkerGroup) -> str | None:
        """The release that a worker has which is started now, as far as that can be known here."""
        version = self._settings.app_version
        with suppress(ConfigurationError):  # the worker says so itself, and ends
            version = load_settings({**group.options, **self.given}).app_version or version
        return application_release(version)

    @property
    def poll_interval(self) -> timedelta:
        """The shortest poll interval of all groups."""
        own = [load_settings(g.options).poll_interval for g in self.groups if POLL in g.options]
        return min([self._settings.poll_interval, *own])


def supervise(
    undertaking: Undertaking,
    settings: Settings,
    adapter: Adapter,
    reach_database: Callable[[], bool],
    reports: SupervisorReports | None = None,
) -> int:
    """Run the workers until they end or are stopped, and return the exit code.

    Args:
        undertaking: what the command line says.
        settings: the settings in force.
        adapter: where the jobs are.
        reach_database: returns when the database can be worked with; False to start nothing.
            Health probes are answered meanwhile.
        reports: told when the workers are ready and when they have been replaced.

    Raises:
        ConfigurationError: they cannot be run as they are asked for.
        DatabaseError: the database does not answer, or has no tables.
    """
    workforce = Workforce(undertaking, settings)
    probed = ProbedSupervisor()
    with _answered_probes(undertaking.health, probed):
        if not reach_database():
            return 0
        lasting = not undertaking.until_idle
        release = release_of_this_process(settings.app_version)
        errors = ErrorCounts(adapter, default_configuration.logger, release)
        errors.start()
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
            boot_timeout=settings.boot_timeout,
            rescues=RescueReports(usual_ends(), hooks, errors),
        )
        supervisor.on_new_code = hooks.forget
        with (
            closing(ServiceNotifier()) as service,
            _stopped_after(undertaking.ttl_seconds, supervisor),
        ):
            _report(supervisor, workforce, service, reports)
            return run_supervised(supervisor)


def _relay(
    workforce: Workforce, settings: Settings, adapter: Adapter
) -> Callable[[Callable[[], Sequence[WorkerProcess]]], Relay] | None:
    """A function that makes the relay which wakes workers; None unless `listen` is set."""
    if not settings.listen:
        return None
    interval, logger = workforce.poll_interval, default_configuration.logger
    return lambda workers: Relay(adapter, settings.listen_url, workers, interval, logger)


def _ticker(settings: Settings, adapter: Adapter) -> Ticker:
    return Ticker(adapter, settings.app, default_configuration.logger)


def _report(
    supervisor: Supervisor,
    workforce: Workforce,
    service: ServiceNotifier,
    reports: SupervisorReports | None,
) -> None:
    """Have the supervisor report to systemd, in its title in `ps`, and to `reports`."""

    def ready() -> None:
        service.ready()
        if reports is not None:
            reports.ready(supervisor)

    def restarted(error: str | None) -> None:
        if reports is not None:
            reports.restarted(supervisor, error)
        show_title(supervisor)
        if supervisor.relay is not None:
            supervisor.relay.look_every(workforce.poll_interval)

    def turn() -> None:
        service.alive()
        if supervisor.is_stopping:
            service.stopping()

    supervisor.on_ready, supervisor.on_turn = ready, turn
    supervisor.restarting.on_end = restarted
    if reports is not None:
        supervisor.keep_state = reports.keep


@dataclass(slots=True)
class ProbedSupervisor:
    """The answers to health probes, also while the supervisor waits for the database.

    Args:
        supervisor: None until the database has been reached.
    """

    supervisor: Supervisor | None = None

    def is_alive(self) -> bool:
        """Whether the supervisor does its work, or waits for the database."""
        return self.supervisor is None or self.supervisor.is_alive

    def is_ready(self) -> bool:
        """Whether all workers are ready."""
        return self.supervisor is not None and self.supervisor.is_ready


@contextmanager
def _answered_probes(health: str | None, probed: ProbedSupervisor) -> Iterator[None]:
    """Answer health probes during a block, if there is an address for them."""
    if health is None:
        yield
        return
    address, logger = HealthAddress.parse(health), default_configuration.logger
    server = HealthServer(address, probed.is_alive, probed.is_ready, logger)
    server.start()
    try:
        yield
    finally:
        server.stop()


@contextmanager
def _stopped_after(ttl_seconds: float | None, supervisor: Supervisor) -> Iterator[None]:
    """Stop a supervisor when its time to live is over, if it has one."""
    if ttl_seconds is None:
        yield
        return
    why = f"its {ttl_seconds:g} s are over (--ttl)"
    alarm = threading.Timer(ttl_seconds, supervisor.stop, [why])
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
