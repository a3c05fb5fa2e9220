"""`jobqueue stats`: it shows how long jobs took and waited, by class and queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue.cli.errors import one_line, say_note
from jobqueue.cli.lists import job_filter
from jobqueue.cli.options import App, AsJson, DatabaseUrl, OnlyHandlers, OnlyQueues, Schema
from jobqueue.cli.output import counted, print_json
from jobqueue.cli.session import Session, note_broken_app, opened
from jobqueue.durations import duration
from jobqueue.errors import ConfigurationError, UnknownJob
from jobqueue.records import BUCKET_BOUNDS, Histogram, JobFilter, Quantile, Stat
from jobqueue.retention import AGE_EXPECTED, parse_age
from jobqueue.views.stats import QUANTILES, bucket_seconds, run_times_json, wait_times_json

MOST_WITH_BARS = 3
JOB_WIDTH, NUMBER_WIDTH, TIME_WIDTH, BAR_WIDTH = 29, 10, 10, 18
FEW_SECONDS = 10.0

Since = Annotated[
    str, typer.Option(metavar="AGE", help="How far to look back: 90s, 30m, 12h, 7d, 2w.")
]
Until = Annotated[
    str | None,
    typer.Option(metavar="AGE", help="How long ago to stop looking; now, if it is not given."),
]


def stats(
    since: Since = "1h",
    until: Until = None,
    handler: OnlyHandlers = None,
    queue: OnlyQueues = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show how long jobs took and waited, by class and queue.

    Half of the attempts took no longer than P50, 95 % no longer than P95, 99 % no longer than P99;
    WAIT is how long their jobs had been due before. Of up to three classes it shows how many took
    how long. Workers report once a minute. What is older than a week is known by the hour.

    \b
    Examples:
      jobs stats
      jobs stats --since 1d --queue email
      jobs stats --since 25h --until 24h
      jobs stats --job SendWelcomeEmail --json
    """
    begins, ends = _age("--since", since), timedelta(0) if until is None else _age("--until", until)
    if ends >= begins:
        raise ConfigurationError(
            f"--until is {until}, which is no later than --since {since}; expected a shorter age"
        )
    with opened({"app": app, "database_url": database_url, "schema": schema}) as session:
        if handler:
            note_broken_app(session, "its jobs are not known then")
        where = _filter(session, queue, handler)
        found = session.adapter.class_stats(begins, ends, where.handlers, where.queues)
        now = session.adapter.now()
    if json_:
        print_json(_as_json(found, now - begins, now - ends))
        return
    _print_stats(found, begins, ends)


def _age(option: str, given: str) -> timedelta:
    try:
        return parse_age(given)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{option} is {given!r}; expected {AGE_EXPECTED}") from None


def _filter(
    session: Session, queues: Sequence[str] | None, handlers: Sequence[str] | None
) -> JobFilter:
    """The filter for classes and queues; a class that is gone is known by its full name."""
    try:
        return job_filter(session, None, queues, handlers)
    except UnknownJob:
        names = tuple(name.strip() for text in handlers or () for name in text.split(","))
        if not session.adapter.class_stats(timedelta(days=365), handlers=names):
            raise
        return JobFilter(handlers=names, queues=job_filter(session, None, queues, None).queues)


def _as_json(found: Sequence[Stat], since: datetime, until: datetime) -> dict[str, Any]:
    return {
        "since": since,
        "until": until,
        "bucket_seconds": bucket_seconds(),
        "classes": [_class_json(stat) for stat in found],
    }


def _class_json(stat: Stat) -> dict[str, Any]:
    return {
        "handler": stat.handler,
        "queue": stat.queue,
        "succeeded": stat.succeeded,
        "retried": stat.retried,
        "failed": stat.failed,
        "cancelled": stat.cancelled,
        "run": run_times_json(stat),
        "wait": wait_times_json(stat),
    }


# --- text ----------------------------------------------------------------------------------------


def _print_stats(found: Sequence[Stat], since: timedelta, until: timedelta) -> None:
    when = f"the last {_span(since)}" if not until else f"{_span(since)} to {_span(until)} ago"
    if not found:
        typer.echo(f"No attempts in {when}.")
        return
    typer.echo(f"Attempts in {when}:\n")
    _print_row("JOB", "ATTEMPTS", "", *(name.upper() for name in QUANTILES))
    for stat in found:
        _print_class(stat)
    if len(found) > MOST_WITH_BARS:
        say_note("`jobqueue stats --job NAME` shows how many took how long")
        return
    for stat in found:
        _print_bars(stat)


def _print_class(stat: Stat) -> None:
    name = stat.handler.rpartition(".")[2]
    run = [_quantile_text(stat.run_quantile(share)) for share in QUANTILES.values()]
    wait = [_quantile_text(stat.wait_quantile(share)) for share in QUANTILES.values()]
    failed = stat.retried + stat.failed
    _print_row(name, f"{stat.attempts:,}", "run", *run)
    _print_row(f"  {stat.queue}", f"{failed:,} failed" if failed else "", "wait", *wait)


def _print_row(job: str, number: str, kind: str, *times: str) -> None:
    cells = [_cut(job, JOB_WIDTH), number.rjust(NUMBER_WIDTH), kind.ljust(4)]
    print("  ".join([*cells, "".join(time.rjust(TIME_WIDTH) for time in times)]).rstrip())


def _print_bars(stat: Stat) -> None:
    """Print how many took how long, and waited for how long: a row a bucket, from the first."""
    print()
    name = one_line(stat.handler.rpartition(".")[2])
    print(
        _cut(
            f"{name}, {counted(stat.attempts, 'attempt')}, queue {one_line(stat.queue)}", 79
        ).rstrip()
    )
    if not stat.ran.total and not stat.waited.total:
        print("  none by a worker that tells how long it took")
        return
    width = TIME_WIDTH + 2 + BAR_WIDTH
    print(f"{'':14}  {'RUN'.ljust(width)}  WAIT")
    last = max(n for n, pair in enumerate(_pairs(stat)) if any(pair))
    for place, (ran, waited) in enumerate(_pairs(stat)[: last + 1]):
        cells = (_bar(ran, stat.ran).ljust(width), _bar(waited, stat.waited))
        print("  ".join([_bucket_text(place).ljust(14), *cells]).rstrip())


def _pairs(stat: Stat) -> list[tuple[int, int]]:
    return list(zip(stat.ran.counts, stat.waited.counts, strict=True))


def _bar(number: int, histogram: Histogram) -> str:
    """Return a number and its bar; what is there has a mark at least."""
    marks = -(-number * BAR_WIDTH // max(histogram.counts)) if number else 0
    return f"{number:>{TIME_WIDTH},}  {'#' * marks}"


def _bucket_text(place: int) -> str:
    if place < len(BUCKET_BOUNDS):
        return f"up to {_length(BUCKET_BOUNDS[place])}"
    return f"over {_length(BUCKET_BOUNDS[-1])}"


def _quantile_text(found: Quantile | None) -> str:
    if found is None:
        return "-"
    return f">{_length(found.duration)}" if found.more else _length(found.duration)


def _length(length: timedelta) -> str:
    """Return a duration with about two digits: `12 ms`, `1.2 s`, `32 s`, `1,000 s`."""
    seconds = length.total_seconds()
    if seconds < 1:
        digits = 0 if seconds >= FEW_SECONDS / 1000 else 1
        return f"{seconds * 1000:.{digits}f} ms"
    return f"{seconds:.1f} s" if seconds < FEW_SECONDS and seconds % 1 else f"{seconds:,.0f} s"


def _span(length: timedelta) -> str:
    return duration(length.total_seconds())


def _cut(text: str, width: int) -> str:
    text = text[: len(text) - len(text.lstrip())] + one_line(text)
    return text.ljust(width) if len(text) <= width else f"{text[: width - 3]}..."
