"""Wiring of a detached supervisor: its lock, its state file, and the message that it is ready."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jobqueue.adapters import Adapter
from jobqueue.config import Settings
from jobqueue.errors import ConfigurationError
from jobqueue.processes.supervisor import supervise
from jobqueue.runner.daemon import DaemonFiles, StateKeeper
from jobqueue.runner.groups import Undertaking
from jobqueue.runner.supervisor import Supervisor


class DaemonReports:
    """The reports of a detached supervisor: to its state file, and to `jobqueue start` when ready.

    Args:
        keeper: writes the state file.
        ready_fd: a pipe that `jobqueue start` reads from.
    """

    def __init__(self, keeper: StateKeeper, ready_fd: int) -> None:
        self._keeper = keeper
        self._ready_fd = ready_fd

    def ready(self, supervisor: Supervisor) -> None:
        """All workers are ready for the first time."""
        self._keeper.note(workers=supervisor.worker_pids())
        # Before `jobqueue start` says so, `jobqueue stop` has to find them, if the disk lets it.
        with suppress(OSError, ConfigurationError):
            self._keeper.keep()
        with suppress(BrokenPipeError):  # nobody waits for it any more
            os.write(self._ready_fd, b"r")
        os.close(self._ready_fd)

    def restarted(self, supervisor: Supervisor, error: str | None) -> None:
        """A rolling restart has ended."""
        self._keeper.note(workers=supervisor.worker_pids())
        self._keeper.note_restarted(error)

    def keep(self) -> None:
        """Write the state file, if there is anything new.

        Raises:
            OSError: it cannot be written now.
            ConfigurationError: somebody has put something else in the place of the folder.
        """
        self._keeper.keep()


def supervise_detached(
    undertaking: Undertaking,
    settings: Settings,
    adapter: Adapter,
    reach_database: Callable[[], bool],
    ready_fd: int,
) -> int:
    """Run the workers as `supervise` does, with a lock and a state file in this folder.

    Args:
        undertaking: what the command line says.
        settings: the settings in force.
        adapter: where the jobs are.
        reach_database: see `supervise`.
        ready_fd: a pipe that `jobqueue start` reads from.

    Raises:
        StateConflict: a supervisor of the same workers runs in this folder.
    """
    files = DaemonFiles(Path.cwd(), undertaking.spec)
    files.hold_lock()
    keeper = StateKeeper(files, undertaking.spec, settings.grace)
    try:
        reports = DaemonReports(keeper, ready_fd)
        return supervise(undertaking, settings, adapter, reach_database, reports)
    finally:
        keeper.remove()
