"""Records that outlive whoever writes them: lines of JSON, appended to a file.

A line is written by one call, so that a process that is killed leaves it whole or not at all. What
has to survive a power cut as well is synced. Times are seconds since the epoch, by the one clock
that all processes of the machine and its database share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Appends to a file. Any thread may write.

    Args:
        path: the file; it is made.
        synced: whether each line is on the disk when `write` returns.
    """

    def __init__(self, path: Path, *, synced: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._synced = synced

    def write(self, event: str, **facts: Any) -> None:
        """Write a line, with the time."""
        line = json.dumps({"event": event, "at": time.time(), **facts}) + "\n"
        os.write(self._file, line.encode())
        if self._synced:
            os.fdatasync(self._file)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal, or of all journals of a folder."""
    paths = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    for each in paths:
        with each.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)
