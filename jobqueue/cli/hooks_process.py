"""Calls hooks for a supervisor: `python -m jobqueue.cli.hooks_process OPTIONS < RESCUES`.

It has the application, which a supervisor does not have.
"""

from __future__ import annotations

import json
import sys

from jobqueue.cli.errors import clean_exit
from jobqueue.cli.session import opened
from jobqueue.ends import usual_ends
from jobqueue.log import set_up_logging
from jobqueue.maintenance.rescue_reports import HooksInProcess
from jobqueue.runner.rescue_hooks import NO_HOOKS, rescues_from_json


def main() -> None:
    """Call the hooks for the rescues that standard input tells of."""
    options = json.loads(sys.argv[1])
    text = sys.stdin.read()
    with clean_exit(), opened(options, app="required") as session:
        set_up_logging(session.settings.log_level, session.settings.log_format)
        hooks = HooksInProcess(session.adapter, usual_ends())
        if not hooks.are_wanted():
            raise SystemExit(NO_HOOKS)
        hooks.call(rescues_from_json(text, session.adapter))


if __name__ == "__main__":
    main()
