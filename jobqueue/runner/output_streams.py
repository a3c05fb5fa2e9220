"""Standard output and error that can be written to when nobody can read it any more.

A terminal is closed, `| head` has read enough, a disk is full: that is no fault of the job that
prints, nor of whoever logs.
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
    """A file in which what cannot be written is lost, without an error."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno in GONE_FOR_GOOD:
                _lead_nowhere(self.fileno())
            return memoryview(data).nbytes


def _lead_nowhere(fd: int) -> None:
    """For programs that the job runs, which inherit it, and for what writes to it by itself."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, fd)
        os.close(nowhere)


def never_fail_to_write() -> None:
    """Have all that is printed and logged from now on do no harm when it cannot be written."""
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)


@contextmanager
def writing_without_fail() -> Iterator[None]:
    """As `never_fail_to_write`, for the time of a block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _unfailing(sys.stdout), _unfailing(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _unfailing(stream: TextIO) -> TextIO:
    """A stream to the same place; the same stream where that is no file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        fd = stream.fileno()
        stream.flush()
    except OSError:
        return stream
    raw = _UnfailingFile(fd, "wb", closefd=False)
    return io.TextIOWrapper(
        # As Python has it by itself: with PYTHONUNBUFFERED nothing is held back.
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
