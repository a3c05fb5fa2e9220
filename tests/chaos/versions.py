"""The application of a chaos run, of which a new version is deployed now and then.

Each renames a class, and keeps the names that it had before as `aliases`: rows that carry them are
in the table, and processes of the old version enqueue more.
"""

from __future__ import annotations

from pathlib import Path

NAMES = ("Charge", "Bill", "Invoice", "Collect", "Debit", "Settle")

SOURCE = '''\
"""Version {version} of the application."""

import os

import jobqueue
from tests.chaos import app
from tests.chaos.app import Awaited, Flaky, Hopeless, Poison, Transacted

jobqueue.configure(hooks=[app.Witness()])


class {name}(app.Effect):
    aliases = {aliases}

    def perform(self, number: int, ms: int) -> None:
        super().perform(number, ms)
'''


def deploy(folder: Path, version: int) -> None:
    """Put a version of the application into the folder that workers run in."""
    aliases = tuple(f"jobs.{_class_name(earlier)}" for earlier in range(version))
    source = SOURCE.format(version=version, name=_class_name(version), aliases=aliases)
    _replace(folder / "jobs.py", source)


def announce(folder: Path, version: int) -> None:
    """Have the producer enqueue by that version's name."""
    _replace(folder / "name.txt", f"jobs.{_class_name(version)}")


def current_name(folder: Path) -> str:
    """The name that the producer enqueues by."""
    return (folder / "name.txt").read_text()


def _class_name(version: int) -> str:
    turn, place = divmod(version, len(NAMES))
    return f"{NAMES[place]}{turn or ''}"


def _replace(path: Path, text: str) -> None:
    """At once, for whoever reads it meanwhile."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
