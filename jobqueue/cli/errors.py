"""Errors of commands: each becomes one line on standard error and an exit code."""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobqueue.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseRefused,
    InvalidArguments,
    InvalidJob,
    JobqueueError,
    UnknownJob,
)
from jobqueue.redaction import printable

WORK_FAILED = 1
WRONG_USAGE = 2
NO_DATABASE = 3

PACKAGE = Path(__file__).parents[1]
NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@contextmanager
def clean_exit() -> Iterator[None]:
    """Turn the errors of a command into a line and an exit code, without a traceback."""
    _open_closed_streams()
    try:
        try:
            yield
        except JobqueueError as error:
            report(error)
            raise SystemExit(exit_code_of(error)) from None
        except OSError as error:
            if error.filename is None:
                raise
            say_error(f"{error.filename}: {error.strerror}")
            raise SystemExit(WORK_FAILED) from None
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_standard_output()
        raise SystemExit(WORK_FAILED) from None
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        _forget_standard_output()
        say_error(f"the output could not be written in full: {error.strerror}")
        raise SystemExit(WORK_FAILED) from None


def exit_code_of(error: JobqueueError) -> int:
    """The exit code of a command that ends by this error."""
    if isinstance(error, DatabaseRefused):
        return WORK_FAILED
    if isinstance(error, DatabaseError):
        return NO_DATABASE
    if isinstance(error, ConfigurationError | InvalidArguments | InvalidJob | UnknownJob):
        return WRONG_USAGE
    return WORK_FAILED


def report(error: JobqueueError) -> None:
    """Print an error as one line, and its notes below."""
    say_error(str(error))
    for note in getattr(error, "__notes__", ()):
        print(printable(note), file=sys.stderr)


def say_error(message: str) -> None:
    """Print a message as one line on standard error."""
    print(f"Error: {one_line(message)}", file=sys.stderr)


def say_note(message: str) -> None:
    """Print a remark as one line on standard error, apart from the output."""
    print(f"Note: {one_line(message)}", file=sys.stderr)


def say(message: str) -> None:
    """Print a line that names commands, on standard output."""
    print(as_typed(message))


def one_line(text: str) -> str:
    """Make a text one line, its control characters spelled out."""
    return printable(" ".join(as_typed(text).split()))


def as_typed(text: str) -> str:
    """Name commands in a text as this command was typed: `jobqueue migrate` or `jobs migrate`.

    Messages are written with `jobqueue`, since bash, zsh and sh have a builtin `jobs`.
    """
    return text.replace("`jobqueue ", f"`{program_name()} ")


def examples_as_typed(text: str | None) -> str:
    """Name the commands in the examples of a help text as this command was typed."""
    cleaned = inspect.cleandoc(text or "")
    return re.sub(r"^( +)jobs ", rf"\1{program_name()} ", cleaned, flags=re.MULTILINE)


def program_name() -> str:
    """The command of this process: `jobs`, `jobqueue` or `python -m jobqueue`."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return "python -m jobqueue"
    return name if name == "jobqueue" else "jobs"


def users_traceback(error: BaseException) -> str:
    """The traceback of an error, with the frames of the user's own code only."""
    summary = traceback.TracebackException.from_exception(error)
    own = [frame for frame in summary.stack if _is_users(frame.filename)]
    if not own:
        return "".join(summary.format_exception_only()).rstrip()
    summary.stack = traceback.StackSummary.from_list(own)
    return "".join(summary.format(chain=False)).rstrip()


def _is_users(filename: str) -> bool:
    paths = sysconfig.get_paths()
    libraries = [Path(paths[name]).resolve() for name in ("stdlib", "purelib", "platlib")]
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    return not any(path.is_relative_to(library) for library in (PACKAGE, *libraries))


def _open_closed_streams() -> None:
    """Open closed standard streams to nowhere, or the next file to be opened would become one."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _forget_standard_output() -> None:
    """Send standard output to nowhere, or Python would report the error again when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
