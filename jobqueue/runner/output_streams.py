"""Standard output and error that can be written to even when nobody reads them any more.

A terminal is closed, `| head` has read enough, a disk is full, or the reader of a pipe is stuck. No
job that prints, and no logging, must fail for that, or wait for long.
"""

from __future__ import annotations

import errno
import faulthandler
import io
import os
import select
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TextIO

STDERR = 2
GONE_FOR_GOOD = (errno.EIO, errno.EPIPE)
READER_PATIENCE_SECONDS = 2.0
"""How long to wait for the reader of a full pipe, before output is dropped until it reads again."""


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


class _UnfailingPipe(_UnfailingFile):
    """A pipe that also drops what its reader does not make room for in a while."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "wb", closefd=False)
        self._patience_seconds = READER_PATIENCE_SECONDS
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)
        self._own_fd = _opened_again(fd)

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        while left and self._has_room():
            left = left[self._write_some(left) :]
        return memoryview(data).nbytes

    def _has_room(self) -> bool:
        has_room = bool(self._room.poll(self._patience_seconds * 1000))
        self._patience_seconds = READER_PATIENCE_SECONDS if has_room else 0.0
        return has_room

    def _write_some(self, left: memoryview) -> int:
        """Write what there is room for: at once, so that lines of several processes do not mix."""
        if self._own_fd is None:
            return super().write(left[: select.PIPE_BUF])
        try:
            return os.write(self._own_fd, left)
        except BlockingIOError:
            return 0  # another process has filled it since
        except OSError:
            return super().write(left[: select.PIPE_BUF])

    def close(self) -> None:
        own, self._own_fd = self._own_fd, None
        if own is not None:
            os.close(own)
        super().close()


def _opened_again(fd: int) -> int | None:
    """The same pipe for this process alone, so that writing to it need not wait; None if not so.

    Whether writing waits belongs to what processes inherit of each other.
    """
    with suppress(OSError):
        how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{fd}", how)
    return None


def _lead_nowhere(fd: int) -> None:
    """Redirect a file to nowhere, for programs that a job runs, which inherit it."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, fd)
        os.close(nowhere)


def never_fail_to_write() -> None:
    """Drop what is printed or logged and cannot be written, from now on."""
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)


@contextmanager
def writing_without_fail() -> Iterator[None]:
    """Within the block, drop what is printed and cannot be written, like `never_fail_to_write`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before


def unfailing(stream: TextIO) -> TextIO:
    """A stream to the same file that drops what cannot be written; itself, if it has no file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        fd = stream.fileno()
        stream.flush()
    except OSError:
        return stream
    kind = os.fstat(fd).st_mode
    may_be_stuck = stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)
    raw = _UnfailingPipe(fd) if may_be_stuck else _UnfailingFile(fd, "wb", closefd=False)
    return _LastingStream(
        # As Python has it by itself: with PYTHONUNBUFFERED nothing is held back.
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


@cache
def error_fd_without_waits() -> int:
    """A descriptor of standard error which, where it is a pipe, no write waits at.

    It lasts as long as this process. Text that the pipe has no room for is dropped.
    """
    is_pipe = stat.S_ISFIFO(os.fstat(STDERR).st_mode)
    own = _opened_again(STDERR) if is_pipe else None
    return STDERR if own is None else own


def show_own_stacks() -> None:
    """Write the stacks of all threads to standard error. For signal handlers too.

    It passes by what holds text back, since a handler may come in the middle of a write.
    """
    buffer = sys.stderr.buffer
    raw = getattr(buffer, "raw", buffer)
    try:
        with tempfile.TemporaryFile() as stacks:
            faulthandler.dump_traceback(stacks, all_threads=True)
            stacks.seek(0)
            raw.write(stacks.read())
    except OSError:  # no descriptor is left, or the disk is full
        faulthandler.dump_traceback(all_threads=True)
