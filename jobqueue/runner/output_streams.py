"""Standard output and error that can be written to even when nobody can read them any more.

A terminal is closed, `| head` has read enough, or a disk is full. No job that prints, and no
logging, must fail for that.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

GONE_FOR_GOOD = (errno.EIO, errno.EPIPE)


class _UnfailingFile(io.FileIO):
    """A file that drops what cannot be written, without an error."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in GONE_FOR_GOOD:
                _lead_nowhere(self.fileno())
            return memoryview(data).nbytes


class _LastingStream(io.TextIOWrapper):
    """A stream that a job cannot close: the next job prints to it as well."""

    def close(self) -> None:
        """Write what has been printed."""
        if not self.buffer.closed:
            self.flush()


def _lead_nowhere(fd: int) -> None:
    """Redirect a file to nowhere, for programs that a job runs, which inherit it."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, fd)
        os.close(nowhere)


def never_fail_to_write() -> None:
    """From now on, drop what is printed or logged and cannot be written."""
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)


@contextmanager
def writing_without_fail() -> Iterator[None]:
    """As `never_fail_to_write`, within a block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _unfailing(stream: TextIO) -> TextIO:
    """A stream to the same file; the same stream if it has none."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        fd = stream.fileno()
        stream.flush()
    except OSError:
        return stream
    raw = _UnfailingFile(fd, "wb", closefd=False)
    return _LastingStream(
        # As Python has it by itself: with PYTHONUNBUFFERED nothing is held back.
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
