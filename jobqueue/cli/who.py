"""The one who gives a command, as the database remembers them."""

from __future__ import annotations

import getpass
import os
import socket


def user_at_host() -> str:
    """Return who runs this process, and on which machine: `ada@laptop`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id that nobody has, as in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
