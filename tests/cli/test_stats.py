"""`jobs stats`: how long jobs took and waited."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.cli import app
from jobqueue.clock import ManualClock
from jobqueue.defaults import default_configuration
from jobqueue.maintenance.sampler import take_sample
from jobqueue.records import Histogram, NewJob, Stat

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
Run = Callable[..., Any]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def adapter(clock: ManualClock) -> Iterator[MemoryAdapter]:
    made = MemoryAdapter(clock=clock)
    yield made
    made.close()


@pytest.fixture
def jobs(adapter: MemoryAdapter, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(default_configuration, "_connect", lambda _: adapter)
    monkeypatch.setenv("JOBS_APP", "tests.sample_jobs")
    yield lambda *arguments: CliRunner().invoke(app, ["stats", *arguments])
    default_configuration.reset()


def stat(handler: str, queue: str = "email", *, seconds: float = 0.05, number: int = 100) -> Stat:
    length = timedelta(seconds=seconds)
    histogram = Histogram.of([length] * number)
    return Stat(
        *(handler, queue, number - 1, 1, 0, 0),
        longest=length,
        ran=histogram,
        waited=histogram,
    )


def test_a_table_and_bars(adapter: MemoryAdapter, jobs: Run) -> None:
    adapter.add_stats(
        "w", [stat("tests.sample_jobs.Note"), stat("gone.Very" + "Long" * 30, "q" * 128)]
    )
    shown = jobs().stdout.splitlines()
    assert shown[:2] == ["Attempts in the last 60 min:", ""]
    assert shown[2].split() == ["JOB", "ATTEMPTS", "P50", "P95", "P99"]
    [note] = [n for n, line in enumerate(shown) if line.startswith("Note  ")]
    assert shown[note].split() == ["Note", "100", "run", *("50", "ms") * 3]
    assert shown[note + 1].split() == [
        "email",
        "1",
        "failed",
        "wait",
        "66",
        "ms",
        "97",
        "ms",
        "99",
        "ms",
    ]
    bars = shown.index("Note, 100 attempts, queue email")
    assert shown[bars + 1].split() == ["RUN", "WAIT"]
    assert shown[bars + 2].split() == ["up", "to", "10", "ms", "0", "0"]
    assert shown[bars + 4].split() == ["up", "to", "100", "ms", "100", "#" * 18, "100", "#" * 18]
    assert len(shown) == bars + 5
    assert max(map(len, shown)) < 80


def test_of_many_classes_there_are_no_bars(adapter: MemoryAdapter, jobs: Run) -> None:
    adapter.add_stats("w", [stat(f"gone.Job{n}") for n in range(4)])
    run = jobs()
    assert "#" not in run.stdout
    assert "stats --job NAME" in run.stderr
    assert "#" in jobs("--job", "gone.Job1").stdout


def test_beyond_the_last_bound(adapter: MemoryAdapter, jobs: Run) -> None:
    adapter.add_stats("w", [stat("gone.Slow", seconds=5000)])
    shown = jobs().stdout
    assert shown.count(">1,000 s") == 6
    assert "over 1,000 s" in shown


def test_workers_of_the_former_release_tell_no_durations(adapter: MemoryAdapter, jobs: Run) -> None:
    adapter.add_stats("w", [Stat("gone.Old", "email", 7)])
    shown = jobs().stdout
    assert shown.splitlines()[3].split() == ["Old", "7", "run", "-", "-", "-"]
    assert "none by a worker that tells how long it took" in shown


def test_a_window_of_yesterday(adapter: MemoryAdapter, clock: ManualClock, jobs: Run) -> None:
    adapter.add_stats("w", [stat("gone.Yesterday")])
    clock.advance(24 * HOUR)
    adapter.add_stats("w", [stat("gone.Today")])
    assert "Yesterday" not in jobs().stdout
    yesterday = jobs("--since", "25h", "--until", "1d").stdout
    assert "Yesterday" in yesterday
    assert "Today" not in yesterday
    assert jobs("--since", "20h", "--until", "10h").stdout == "No attempts in 20 h to 10 h ago.\n"


def test_json(adapter: MemoryAdapter, jobs: Run) -> None:
    adapter.add_stats("w", [stat("gone.One", number=2), stat("gone.One", "sms"), stat("gone.Two")])
    found: Any = json.loads(jobs("--job", "gone.One", "--queue", "email", "--json").stdout)
    assert list(found) == ["since", "until", "bucket_seconds", "classes"]
    assert (found["since"], found["until"]) == (
        (NOON - HOUR).isoformat(),
        NOON.isoformat(),
    )
    assert len(found["bucket_seconds"]) == 11
    [one] = found["classes"]
    assert one["run"] == {
        "p50": {"seconds": 0.05, "more": False},
        "p95": {"seconds": 0.05, "more": False},
        "p99": {"seconds": 0.05, "more": False},
        "counts": [0, 0, 2, *[0] * 9],
    }
    assert list(one) == [
        *("handler", "queue", "succeeded", "retried", "failed", "cancelled", "run", "wait")
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since is 'yesterday'; expected an age with its unit (90s"),
        (("--since", "0"), "--since is '0'"),
        (("--since", "1h", "--until", "2h"), "--until is 2h, which is no later than --since 1h"),
        (("--since", "9" * 40), "--since is"),
        (("--queue", "not a queue"), "--queue is 'not a queue'"),
        (("--job", "gone.Nobody"), "gone.Nobody"),
    ],
)
def test_mistakes(jobs: Run, arguments: tuple[str, ...], said: str) -> None:
    run = jobs(*arguments)
    assert run.exit_code != 0
    assert said in str(run.exception)


def test_status_shows_when_a_queue_will_be_empty(
    adapter: MemoryAdapter, clock: ManualClock, jobs: Run
) -> None:
    for _ in range(4):
        take_sample(adapter)
        adapter.enqueue([NewJob("Work", "{}", "email", 50, 5)] * 120)
        clock.advance(60)
    shown = CliRunner().invoke(app, ["status"]).stdout
    header, row = shown.splitlines()[-2:]
    assert header.split() == ["QUEUE", "DUE", "LATER", "RUNNING", "AGE", "IN", "OUT", "EMPTY"]
    assert row.endswith("120  0    never, growing by 120 a minute")
