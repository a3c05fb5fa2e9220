"""Running worker processes under a supervisor, for `work`, `workoff -n` and `start`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from jobqueue.adapters import Adapter
from jobqueue.config import Settings, load_settings
from jobqueue.defaults import default_configuration
from jobqueue.ending import usual_ends
from jobqueue.maintenance.rescued import RescueTeller
from jobqueue.maintenance.schedules import Ticker
from jobqueue.runner.groups import Undertaking, WorkerGroup, groups_of
from jobqueue.runner.health import HealthServer
from jobqueue.runner.hooks_elsewhere import HooksElsewhere
from jobqueue.runner.notify import ServiceNotifier
from jobqueue.runner.process import WorkerProcess
from jobqueue.runner.relay import Relay
from jobqueue.runner.steering import run_supervised
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


def supervise(
    undertaking: Undertaking,
    settings: Settings,
    adapter: Adapter,
    watcher: Watcher | None = None,
) -> int:
    """Run the workers until they end or are stopped, and return the exit code."""
    groups = groups_of(undertaking.spec, settings, undertaking.options)
    given = {name: value for name, value in undertaking.options.items() if value is not None}

    def spawn(group: WorkerGroup, index: int) -> WorkerProcess:
        return WorkerProcess(
            group,
            index,
            WORKER_COMMAND,
            {**group.options, **given},
            concurrency=group.concurrency or settings.concurrency,
            until_idle=undertaking.until_idle,
            max_jobs=undertaking.max_jobs,
        )

    hooks = HooksElsewhere(HOOKS_COMMAND, given, default_configuration.logger)
    supervisor = Supervisor(
        groups,
        spawn,
        adapter,
        lease=settings.lease,
        grace=settings.grace,
        logger=default_configuration.logger,
        until_idle=undertaking.until_idle,
        relay=_relay(groups, settings, adapter) if not undertaking.until_idle else None,
        ticker=_ticker(settings, adapter) if not undertaking.until_idle else None,
        max_memory_bytes=undertaking.max_memory_bytes,
        rescues=RescueTeller(usual_ends(), hooks),
    )
    supervisor.on_new_code = hooks.forget
    _tell(supervisor, watcher)
    alarm = _stop_after(undertaking.ttl_seconds, supervisor)
    health = _answer_for(supervisor, undertaking.health)
    try:
        return run_supervised(supervisor, f"jobs supervisor {_shown(groups)}")
    finally:
        if alarm is not None:
            alarm.cancel()
        if health is not None:
            health.stop()


def _shown(groups: Sequence[WorkerGroup]) -> str:
    return ",".join(f"{group.name}:{group.count}" for group in groups)


def _relay(
    groups: Sequence[WorkerGroup], settings: Settings, adapter: Adapter
) -> Callable[[Callable[[], Sequence[WorkerProcess]]], Relay] | None:
    """How the workers hear of jobs, looked for as often as the most impatient of them would."""
    if not settings.listen:
        return None
    intervals = [load_settings(g.options).poll_interval for g in groups if POLL in g.options]
    poll_interval = min([settings.poll_interval, *intervals])
    logger = default_configuration.logger
    return lambda workers: Relay(adapter, settings.listen_url, workers, poll_interval, logger)


def _ticker(settings: Settings, adapter: Adapter) -> Ticker:
    return Ticker(adapter, settings.app, default_configuration.logger)


def _tell(supervisor: Supervisor, watcher: Watcher | None) -> None:
    """Tell systemd, and the watcher, how the supervisor gets on."""
    service = ServiceNotifier()

    def ready() -> None:
        service.ready()
        if watcher is not None:
            watcher.ready(supervisor)

    def turn() -> None:
        service.alive()
        if supervisor.is_stopping:
            service.stopping()

    supervisor.on_ready, supervisor.on_turn = ready, turn
    if watcher is not None:
        supervisor.on_restarted = partial(watcher.restarted, supervisor)


def _answer_for(supervisor: Supervisor, address: str | None) -> HealthServer | None:
    if address is None:
        return None
    health = HealthServer(address, lambda: supervisor.is_alive, lambda: supervisor.is_ready)
    health.start()
    return health


def _stop_after(ttl_seconds: float | None, supervisor: Supervisor) -> threading.Timer | None:
    if ttl_seconds is None:
        return None
    why = f"its {ttl_seconds:g} s are over (--ttl)"
    alarm = threading.Timer(ttl_seconds, supervisor.stop, [why])
    alarm.daemon = True
    alarm.start()
    return alarm
