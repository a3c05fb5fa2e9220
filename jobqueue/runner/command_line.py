"""Keeps passwords out of command lines, which every user of the machine can read by `ps`.

The environment of a process can be read by its own user alone. So the URLs of databases that were
given as options go from process to process as environment variables. A worker of another release
finds them there too: they are settings by these names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import setproctitle

from jobqueue.config import hide_password, url_settings, variable_of


def hide_passwords() -> None:
    """Have `ps` show the command line of this process without the passwords in its URLs."""
    shown = [_shown(argument) for argument in sys.orig_argv]
    if shown != sys.orig_argv:
        setproctitle.setproctitle(" ".join(shown))


def options_on_command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options as they may stand on a command line; None for what is not to be seen."""
    return {name: None if name in url_settings() else options[name] for name in options}


def environment_for(options: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a process with the given options that its command line leaves out."""
    return {**os.environ, **{variable_of(name): options[name] for name in _urls_in(options)}}


def options_from_command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options, those that `environment_for` has put into the environment included."""
    left_out = [name for name in url_settings() if name in options and options[name] is None]
    return {**options, **{name: os.environ.get(variable_of(name)) for name in left_out}}


def _shown(argument: str) -> str:
    option, equals, value = argument.partition("=")
    if argument.startswith("--") and equals:
        return f"{option}={hide_password(value)}"
    return hide_password(argument)


def _urls_in(options: Mapping[str, Any]) -> list[str]:
    return [name for name in url_settings() if options.get(name) is not None]
