"""Bulk actions on the command line: run here, with their progress on a terminal."""

from __future__ import annotations

import sys
import time

import typer

from jobqueue.adapters import Adapter
from jobqueue.bulk import found_action, new_runner_id, run_action
from jobqueue.cli.errors import say_note
from jobqueue.cli.output import counted
from jobqueue.ends import usual_ends
from jobqueue.errors import DatabaseError
from jobqueue.records import ActionRecord, NewAction

INTERRUPTED = 130
SHOW_SECONDS = 0.5


def run_here(adapter: Adapter, action: NewAction) -> ActionRecord:
    """Begin a bulk action and run it; return it as it is at its end.

    Ctrl-C stops it. If this process is killed, a worker goes on with it.

    Raises:
        typer.Exit: it was stopped, here or by somebody else.
        DatabaseError: the database failed in between.
    """
    return go_on_here(adapter, adapter.begin_action(action, new_runner_id()))


def go_on_here(adapter: Adapter, action: ActionRecord) -> ActionRecord:
    """Run a bulk action that belongs to this process, as `run_here` does."""
    progress = Progress(action)
    try:
        ended = run_action(adapter, action, usual_ends(), progress.goes_on)
    except KeyboardInterrupt:
        raise _stopped(adapter, progress) from None
    except DatabaseError as error:
        if _was_interrupted(error):
            raise _stopped(adapter, progress) from None
        progress.clear()
        say_note(
            f"{_so_far(progress.latest)} so far; a worker goes on with action {action.id}, or "
            f"`jobqueue actions resume {action.id}`"
        )
        raise
    progress.clear()
    if ended.ended_at is None:
        say_note(f"{ended.run_by} has taken over action {action.id}, and goes on with it")
    elif ended.before_id is not None:
        say_note(f"somebody stopped it after {_so_far(ended)}; {_how_to_resume(action)}")
    else:
        return ended
    raise typer.Exit(1)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C came in the middle of a transaction, whose end has failed for that."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _stopped(adapter: Adapter, progress: Progress) -> typer.Exit:
    """Stop the action, say so, and return what ends the command."""
    action_id = progress.latest.id
    adapter.stop_action(action_id)
    progress.clear()
    stopped = found_action(adapter, action_id)
    say_note(f"stopped after {_so_far(stopped)}; {_how_to_resume(stopped)}")
    return typer.Exit(INTERRUPTED)


class Progress:
    """The progress of a bulk action: a line on a terminal that is written over and over.

    Args:
        action: the action before its first batch.
    """

    def __init__(self, action: ActionRecord) -> None:
        self.latest = action
        self._is_terminal = sys.stderr.isatty()
        self._show_at = time.monotonic() + SHOW_SECONDS
        self._is_shown = False

    def goes_on(self, now: ActionRecord) -> bool:
        """Show how far it is, twice a second; go on in any case."""
        self.latest = now
        if self._is_terminal and now.before_id is not None and time.monotonic() > self._show_at:
            line = f"{_so_far(now)} so far, down to id {now.before_id:,}; Ctrl-C stops it"
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._show_at = time.monotonic() + SHOW_SECONDS
            self._is_shown = True
        return True

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _so_far(action: ActionRecord) -> str:
    return counted(action.number, "job")


def _how_to_resume(action: ActionRecord) -> str:
    return f"`jobqueue actions resume {action.id}` goes on"
