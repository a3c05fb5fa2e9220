"""The one who gives a command, as the database remembers them."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from typing import Any

from jobqueue.adapters import Adapter
from jobqueue.records import ActionKind, NewAction
from jobqueue.redaction import clean_error, printable


def user_at_host() -> str:
    """Return who runs this process, and on which machine: `ada@laptop`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id that nobody has, as in a container
        user = str(os.getuid())
    return clean_error(printable(f"{user}@{socket.gethostname()}"))


def note_action(
    adapter: Adapter,
    kind: ActionKind,
    target: Mapping[str, Any],
    *,
    reason: str | None = None,
    number: int = 1,
) -> None:
    """Remember in the database what a command has done."""
    adapter.note_action(NewAction(kind, user_at_host(), target, checked_reason(reason), number))


def checked_reason(reason: str | None) -> str | None:
    """Return a reason as it can be stored; None for an empty one."""
    return clean_error(reason) if reason else None
