"""`jobqueue pause` and `jobqueue resume`: they stop queues, and let them go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.options import App, DatabaseUrl, Schema
from jobqueue.cli.output import counted
from jobqueue.cli.session import OTHER_DATABASE, Session, note_broken_app, opened, refuse_memory
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import ConfigurationError
from jobqueue.records import JobFilter, JobState

QueueNames = Annotated[
    list[str], typer.Argument(metavar="QUEUE...", help="The names of the queues.")
]


def pause(
    queues: QueueNames, app: App = None, database_url: DatabaseUrl = None, schema: Schema = None
) -> None:
    """Take no jobs from queues until they are resumed.

    It takes effect at once and on all machines, also for a queue that has had no job yet. Jobs
    that a worker has taken already are performed; jobs that are enqueued meanwhile wait.
    `jobqueue status` shows which queues are paused.

    \b
    Examples:
      jobs pause email
      jobs pause email sms
    """
    names = _checked(queues)
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        changed = _adapter_of(session).pause_queues(names)
        for name in names:
            how = "is paused" if name in changed else "was paused already"
            typer.echo(f"Queue {name} {how}; {_waiting(session.adapter, name)}.")


def resume(
    queues: QueueNames, app: App = None, database_url: DatabaseUrl = None, schema: Schema = None
) -> None:
    """Take jobs from queues again, at once and on all machines.

    \b
    Examples:
      jobs resume email
      jobs resume email sms
    """
    names = _checked(queues)
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        changed = _adapter_of(session).resume_queues(names)
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
        _count(adapter, queue, JobState.READY),
        _count(adapter, queue, JobState.RUNNING),
    )
    waiting = f"{counted(ready, 'job')} {'waits' if ready == 1 else 'wait'} in it"
    if not running:
        return waiting
    return f"{waiting}, and {running:,} {'is' if running == 1 else 'are'} being performed"


def _count(adapter: Adapter, queue: str, state: JobState) -> int:
    return adapter.count_jobs(JobFilter(states=(state,), queues=(queue,)))
