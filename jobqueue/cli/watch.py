"""`jobqueue show ID --watch`: it shows the progress of a job until the job has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import typer

from jobqueue.cli.errors import one_line
from jobqueue.cli.output import compact_json
from jobqueue.errors import JobNotFound
from jobqueue.records import FINISHED_STATES, JobState
from jobqueue.redaction import summary_of
from jobqueue.stored import StoredJob
from jobqueue.views.jobs import job_view

LOOK_SECONDS = 0.25


def watch(job: StoredJob) -> None:
    """Show a job's state and progress until it has ended: as a bar on a terminal, else as lines."""
    display, show = _bar() if sys.stdout.isatty() else _lines()
    last: StoredJob | None = job
    with display:
        while last is not None and last.state not in FINISHED_STATES:
            show(last)
            time.sleep(LOOK_SECONDS)
            last = _now(job)
        if last is not None:
            show(last)
    typer.echo(_ending(job, last))


def fraction_of(progress: Any) -> float | None:
    """Return the share of a job that is done, from 0 to 1, if its progress says so."""
    value = progress.get("fraction") if isinstance(progress, dict) else progress
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)


def text_of(progress: Any) -> str:
    """Return the text of a progress, without its fraction."""
    if isinstance(progress, dict) and set(progress) == {"fraction", "message"}:
        return one_line(str(progress["message"]))
    if progress is None or fraction_of(progress) is not None:
        return ""
    return one_line(progress if isinstance(progress, str) else compact_json(progress))


def shown_progress(job: StoredJob) -> Any:
    """Return a job's progress, without secrets."""
    return job_view(job).progress


def _now(job: StoredJob) -> StoredJob | None:
    try:
        return job.refresh()
    except JobNotFound:
        return None


def _lines() -> tuple[AbstractContextManager[Any], Callable[[StoredJob], None]]:
    """Return a display that prints a line for each change."""
    shown = [""]

    def show(job: StoredJob) -> None:
        fraction = fraction_of(job.progress)
        share = "" if fraction is None else f"{fraction:.0%}"
        line = " ".join(part for part in (job.state, share, text_of(shown_progress(job))) if part)
        if line != shown[-1]:
            shown.append(line)
            typer.echo(line)

    return nullcontext(), show


def _bar() -> tuple[AbstractContextManager[Any], Callable[[StoredJob], None]]:
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}"),
    )
    task = progress.add_task("", total=None, text="")

    def show(job: StoredJob) -> None:
        fraction = fraction_of(job.progress)
        progress.update(
            task,
            description=job.state.value,
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            text=escape(text_of(shown_progress(job))),
        )

    return progress, show


def _ending(job: StoredJob, last: StoredJob | None) -> str:
    if last is None:
        return f"Job {job.id} is done, and its row was not kept."
    if last.state is JobState.SUCCEEDED:
        return f"Job {job.id} succeeded."
    how = "failed" if last.state is JobState.FAILED else "was cancelled"
    return f"Job {job.id} {how}: {one_line(summary_of(last.last_error)) or 'no reason was given'}"
