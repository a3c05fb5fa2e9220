"""`jobqueue pause` and `jobqueue resume`: they stop queues, and let them go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.options import App, DatabaseUrl, Reason, Schema
from jobqueue.cli.output import counted
from jobqueue.cli.session import OTHER_DATABASE, Session, note_broken_app, opened, refuse_memory
from jobqueue.cli.who import note_action, user_at_host
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import ConfigurationError
from jobqueue.records import WAITING_STATES, ActionKind, JobFilter, JobState, Pause
from jobqueue.views.pauses import new_pause, paused_target

QueueNames = Annotated[
    list[str], typer.Argument(metavar="QUEUE...", help="The names of the queues.")
]


def pause(
    queues: QueueNames,
    reason: Reason = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When to resume them: 2026-12-01T08:00 (this machine's time, unless it has a "
            "zone), or how long from now: 90s, 15m, 2h, 3d.",
        ),
    ] = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Take no jobs from queues until they are resumed.

    It takes effect at once and on all machines, also for a queue that has had no job yet. Jobs
    that a worker has taken already are performed; jobs that are enqueued meanwhile wait.
    `jobqueue status` shows which queues are paused, until when, by whom and why. A queue that is
    paused until a time is resumed by any worker, a few seconds after that. Of several pauses of a
    queue the newest holds.

    \b
    Examples:
      jobs pause email
      jobs pause email sms --until 2h --reason "the mail server is down"
      jobs pause reports --until 2026-12-01T08:00+01:00
    """
    names = _checked(queues)
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        adapter = _adapter_of(session)
        wanted = _pause(adapter, until, reason)
        before = {paused.name: paused.pause for paused in adapter.pauses()}
        changed = adapter.pause_queues(names, wanted)
        for name in names:
            target = paused_target(name, wanted)
            note_action(adapter, ActionKind.PAUSE_QUEUE, target, reason=wanted.reason)
        for name in names:
            how = f"is paused{_end(wanted)}"
            if name not in changed:
                how = _how_paused_before(before.get(name, wanted), wanted)
            typer.echo(f"Queue {name} {how}; {_waiting(session.adapter, name)}.")


def _how_paused_before(before: Pause, wanted: Pause) -> str:
    """The words for a queue that was paused already: its end may be another now."""
    if before.until == wanted.until:
        return f"was paused already{_end(wanted)}"
    now = _end(wanted) or " until it is resumed"
    return f"is paused{now} (before{_end(before) or ' until it is resumed'})"


def _end(pause: Pause) -> str:
    return "" if pause.until is None else f" until {pause.until:%Y-%m-%d %H:%M} UTC"


def _pause(adapter: Adapter, until: str | None, reason: str | None) -> Pause:
    now = adapter.now()
    try:
        zone = datetime.now().astimezone().tzinfo
        return new_pause(until, reason, user_at_host(), now, zone, prefix="--")
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def resume(
    queues: QueueNames,
    reason: Reason = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Take jobs from queues again, at once and on all machines.

    \b
    Examples:
      jobs resume email
      jobs resume email sms --reason "the mail server is back"
    """
    names = _checked(queues)
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        changed = _adapter_of(session).resume_queues(names)
        for name in changed:
            note_action(session.adapter, ActionKind.RESUME_QUEUE, {"queue": name}, reason=reason)
        for name in names:
            how = "is resumed" if name in changed else "was not paused"
            typer.echo(f"Queue {name} {how}; {_waiting(session.adapter, name)}.")


def _checked(names: Sequence[str]) -> list[str]:
    for name in names:
        if not is_queue_name(name):
            raise ConfigurationError(f"{name!r} is no name for a queue; expected {QUEUE_NAME_RULE}")
    return list(dict.fromkeys(names))


def _adapter_of(session: Session) -> Adapter:
    note_broken_app(session, OTHER_DATABASE)
    refuse_memory(session.adapter)
    return session.adapter


def _waiting(adapter: Adapter, queue: str) -> str:
    """Return a text such as `3 jobs wait in it, and 1 is being performed`."""
    ready, running = (
        sum(_count(adapter, queue, state) for state in WAITING_STATES),
        _count(adapter, queue, JobState.RUNNING),
    )
    waiting = f"{counted(ready, 'job')} {'waits' if ready == 1 else 'wait'} in it"
    if not running:
        return waiting
    return f"{waiting}, and {running:,} {'is' if running == 1 else 'are'} being performed"


def _count(adapter: Adapter, queue: str, state: JobState) -> int:
    return adapter.count_jobs(JobFilter(states=(state,), queues=(queue,)))
