"""The id of this process. A job may fork, and what its process holds is not its child's."""

from __future__ import annotations

import os

pid = os.getpid()
"""As `os.getpid` says, without a call of the system."""


def _note_child() -> None:
    global pid  # noqa: PLW0603 - it is a fact of the process
    pid = os.getpid()


os.register_at_fork(after_in_child=_note_child)
