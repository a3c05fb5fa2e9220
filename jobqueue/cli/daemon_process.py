"""A detached supervisor, as `jobqueue start` spawns it."""

from __future__ import annotations

import json
import os
import sys
from functools import partial

from jobqueue.cli.errors import clean_exit
from jobqueue.cli.session import opened
from jobqueue.cli.work import ready_to_work
from jobqueue.processes.daemon import supervise_detached
from jobqueue.runner.command_line import options_from_command_line
from jobqueue.runner.groups import Undertaking


def main() -> None:
    """Supervise as the plan on the command line says, until told to stop."""
    plan = json.loads(sys.argv[1])
    plan["options"] = options_from_command_line(plan["options"])
    ready_fd = plan.pop("ready_fd")
    os.set_inheritable(ready_fd, False)
    undertaking = Undertaking(**plan)
    with clean_exit(), opened(undertaking.options, app="unwanted") as session:
        exit_code = supervise_detached(
            undertaking,
            session.settings,
            session.adapter,
            partial(ready_to_work, session),
            ready_fd,
        )
        raise SystemExit(exit_code)


if __name__ == "__main__":
    main()
