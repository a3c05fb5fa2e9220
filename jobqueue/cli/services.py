"""Files that run workers as a service: a unit for systemd, and a Procfile."""

from __future__ import annotations

import getpass
import shlex
import sys
from pathlib import Path

import typer

from jobqueue.errors import ConfigurationError

UNIT = "jobqueue.service"
PROCFILE = "Procfile"
PROCESS = "worker"
MEANT_OTHERWISE = frozenset('\\"*?[')
"""What a unit takes for an escape, a quote, or a pattern of files to read settings from."""

SYSTEMD = """\
# systemctl link {folder}/{unit}, then systemctl enable --now {unit}. A reload is a rolling restart.

[Unit]
Description=Background jobs of {folder}
After=network-online.target postgresql.service

[Service]
Type=notify
NotifyAccess=main
WatchdogSec=60
User={user}
WorkingDirectory={folder}
# The database URL, which holds a password perhaps, stands in a file that only this user can read:
# JOBS_DATABASE_URL=postgresql://...
EnvironmentFile=-{folder}/.env
ExecStart={command} work
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
# Longer than `grace` (25 s) and `kill_after` (5 s).
TimeoutStopSec=45
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def write_unit(folder: Path) -> None:
    """Write a unit for systemd, unless it exists."""
    path = folder / UNIT
    if path.exists():
        typer.echo(f"{UNIT} is there already and is left as it is.")
        return
    unit = SYSTEMD.format(
        folder=_in_a_unit(str(folder)),
        unit=UNIT,
        user=_in_a_unit(getpass.getuser()),
        command=_in_a_unit(_command()).replace("$", "$$"),
    )
    with path.open("x", encoding="utf-8") as file:  # not where a link leads
        file.write(unit)
    typer.echo(f"Created {UNIT}.")


def write_procfile(folder: Path) -> None:
    """Add the worker to the Procfile, unless it has one."""
    path = folder / PROCFILE
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if any(line.startswith(f"{PROCESS}:") for line in before.splitlines()):
        typer.echo(f"{PROCFILE} has a {PROCESS} already and is left as it is.")
        return
    separator = "" if not before or before.endswith("\n") else "\n"
    # Not `jobs`: the shell that runs the line has a builtin of that name.
    path.write_text(f"{before}{separator}{PROCESS}: jobqueue work\n", encoding="utf-8")
    typer.echo(f"{'Added the worker to' if before else 'Created'} {PROCFILE}.")


def _in_a_unit(text: str) -> str:
    """Return a text as a unit has it, in which % stands for something else.

    Raises:
        ConfigurationError: it has characters that would end its line, be changed, or stand for
            others.
    """
    if not text.isprintable() or text != text.strip() or MEANT_OTHERWISE & set(text):
        raise ConfigurationError(
            f"{text!r} cannot be written into a unit of systemd, because of a line break, a quote, "
            "a backslash, a blank at its end or one of * ? [; move the application to a folder "
            "with a plain name"
        )
    return text.replace("%", "%%")


def _command() -> str:
    """Return the command by its full path, since a service has no virtual environment."""
    return f"{shlex.quote(sys.executable)} -m jobqueue"
