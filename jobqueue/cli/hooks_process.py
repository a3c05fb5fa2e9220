"""A process that calls hooks: `python -m jobqueue.cli.hooks_process OPTIONS < RESCUES`.

It imports the application, which a supervisor does not.
"""

from __future__ import annotations

import json
import sys

from jobqueue.cli.errors import clean_exit
from jobqueue.cli.session import opened
from jobqueue.log import set_up_logging
from jobqueue.processes.hooks import call_hooks
from jobqueue.runner.command_line import hide_passwords, options_from_command_line


def main() -> None:
    """Call the hooks for the rescues on standard input."""
    hide_passwords()
    options = options_from_command_line(json.loads(sys.argv[1]))
    text = sys.stdin.read()
    with clean_exit(), opened(options, app="required") as session:
        set_up_logging(session.settings.log_level, session.settings.log_format)
        raise SystemExit(call_hooks(text, session.adapter))


if __name__ == "__main__":
    main()
