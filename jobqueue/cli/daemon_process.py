"""A detached supervisor, as `jobqueue start` spawns it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jobqueue.cli.errors import clean_exit
from jobqueue.cli.session import opened
from jobqueue.cli.supervision import supervise
from jobqueue.runner.daemon import DaemonFiles, StateKeeper
from jobqueue.runner.groups import Undertaking
from jobqueue.runner.supervisor import Supervisor


class StateWatcher:
    """Keeps the state file, and tells `jobqueue start` when the workers are ready."""

    def __init__(self, keeper: StateKeeper, ready_fd: int) -> None:
        self._keeper = keeper
        self._ready_fd = ready_fd

    def ready(self, supervisor: Supervisor) -> None:
        """All workers are ready for the first time."""
        self._keeper.note(workers=supervisor.worker_pids())
        os.write(self._ready_fd, b"r")
        os.close(self._ready_fd)

    def restarted(self, supervisor: Supervisor, error: str | None) -> None:
        """A rolling restart has ended."""
        self._keeper.note(workers=supervisor.worker_pids())
        self._keeper.note_restarted(error)


def main() -> None:
    """Supervise as the plan on the command line says, until told to stop."""
    plan = json.loads(sys.argv[1])
    ready_fd = plan.pop("ready_fd")
    os.set_inheritable(ready_fd, False)
    undertaking = Undertaking(**plan)
    files = DaemonFiles(Path.cwd(), undertaking.spec)
    with clean_exit(), opened(undertaking.options, app="unwanted") as session:
        files.hold_lock()
        keeper = StateKeeper(files, undertaking.spec, session.settings.grace)
        try:
            exit_code = supervise(undertaking, session, StateWatcher(keeper, ready_fd))
        finally:
            keeper.remove()
        raise SystemExit(exit_code)


if __name__ == "__main__":
    main()
