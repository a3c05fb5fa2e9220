"""The errors of commands: each becomes one line on standard error and an exit code."""

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
    """Return the exit code of a command that ends with an error."""
    if isinstance(error, DatabaseRefused):
        return WORK_FAILED
    if isinstance(error, DatabaseError):
        return NO_DATABASE
    if isinstance(error, ConfigurationError | InvalidArguments | InvalidJob | UnknownJob):
        return WRONG_USAGE
    return WORK_FAILED


def report(error: JobqueueError) -> None:
    """Print an error as one line, and its notes below it."""
    say_error(str(error))
    for note in getattr(error, "__notes__", ()):
        print(printable(note), file=sys.stderr)


def say_error(message: str) -> None:
    """Print a message as one line on standard error."""
    print(f"Error: {one_line(message)}", file=sys.stderr)


def say_note(message: str) -> None:
    """Print a note as one line on standard error, apart from the output."""
    print(f"Note: {one_line(message)}", file=sys.stderr)


def say(message: str) -> None:
    """Print a line on standard output, with commands as they are typed here."""
    print(as_typed(message))


def one_line(text: str) -> str:
    """Return a text without line breaks and without terminal control characters."""
    return printable(" ".join(as_typed(text).split()))


def as_typed(text: str) -> str:
    """Return a text with its commands named as this one was typed.

    In bash, zsh and sh a builtin `jobs` comes before ours, so messages say `jobqueue migrate`.
    Somebody who could run `jobs` is told `jobs migrate`.
    """
    return text.replace("`jobqueue ", f"`{program_name()} ")


def examples_as_typed(text: str | None) -> str:
    """Return a help text with the commands of its examples named as this one was typed."""
    cleaned = inspect.cleandoc(text or "")
    return re.sub(r"^( +)jobs ", rf"\1{program_name()} ", cleaned, flags=re.MULTILINE)


def program_name() -> str:
    """Return how this process was started: `jobs`, `jobqueue` or `python -m jobqueue`."""
    name = Path(sys.argv[0]).name
    if name == "__main__.py":
        return "python -m jobqueue"
    return name if name == "jobqueue" else "jobs"


def users_traceback(error: BaseException) -> str:
    """Return the traceback of an error, with only the lines of the user's own code."""
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
    """Open closed streams to nowhere: else the next file to be opened would become one."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _forget_standard_output() -> None:
    """Lead it to nowhere, since its reader is gone: Python would complain again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
