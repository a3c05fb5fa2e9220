"""`jobqueue stacks`: it shows where a worker is in its code."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.errors import WORK_FAILED, say_error
from jobqueue.cli.options import AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import print_json
from jobqueue.cli.session import opened, refuse_memory
from jobqueue.cli.who import user_at_host
from jobqueue.durations import duration
from jobqueue.records import Stack, WorkerRecord, WorkerStacks
from jobqueue.redaction import printable
from jobqueue.views.workers import stacks_json, worker_named

LOOK_SECONDS = 0.3
PATIENCE_SECONDS = 20.0


def stacks(
    worker: Annotated[
        str,
        typer.Argument(
            metavar="WORKER",
            help="Its id, the beginning of it, or its name if only one is called so.",
        ),
    ],
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for it.")
    ] = PATIENCE_SECONDS,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show where a worker is in its code.

    It shows the stacks of its threads and of its async jobs. The worker may be on any machine, and
    answers through the database within a few seconds, also when its job hangs. What performs a job
    comes first. Only places in the code are shown, and no values. The answer is kept for ten
    minutes. `jobqueue status --json` shows the ids of workers.

    \b
    Examples:
      jobs stacks worker.1
      jobs stacks web-1:worker.1:8f3a61c2
      jobs stacks worker.1 --json
    """
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        refuse_memory(session.adapter)
        found = worker_named(session.adapter, worker)
        session.adapter.ask_for_stacks(found.id, user_at_host())
        answer = _answer(session.adapter, found.id, wait, time.monotonic)
    if answer is None:
        say_error(_in_vain(found, wait))
        raise typer.Exit(WORK_FAILED)
    if json_:
        print_json(stacks_json(answer))
    else:
        typer.echo("\n\n".join(map(_text, answer.stacks)))


def _answer(
    adapter: Adapter, worker_id: str, wait_seconds: float, monotonic: Callable[[], float]
) -> WorkerStacks | None:
    deadline = monotonic() + wait_seconds
    while True:
        found = adapter.stacks_of(worker_id)
        if found is not None and found.answered_at is not None:
            return found
        if monotonic() >= deadline:
            return None
        time.sleep(LOOK_SECONDS)


def _in_vain(worker: WorkerRecord, wait_seconds: float) -> str:
    return (
        f"worker {worker.id} has not answered within {duration(wait_seconds)}: its process (pid "
        f"{worker.pid} on {worker.host}) may be of a former release, be frozen, keep the "
        "interpreter for itself in C code, or be gone; see `jobqueue status`, or send it USR2 on "
        "its machine, which has it write its stacks to its log"
    )


def _text(stack: Stack) -> str:
    what = "" if stack.job_id is None else f", performs {stack.job_name} #{stack.job_id}"
    return "\n".join(printable(line) for line in (f"{stack.name}{what}", *_indented(stack.frames)))


def _indented(frames: tuple[str, ...]) -> list[str]:
    return [f"  {frame}" for frame in frames] or ["  (it has just ended)"]
