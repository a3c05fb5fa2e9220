"""The benchmarks run, do the work that they say, and report every row. Never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import PROJECT, plain_environment

TITLES = {
    "enqueue-one": "enqueue one by one",
    "enqueue-bulk": "enqueue in bulk",
    "drain": "drain with one worker",
}
ADAPTERS = ("memory", "sqlite", "postgresql")
JOBS = {"enqueue-one": 20, "enqueue-bulk": 200, "drain": 200}


@dataclass(frozen=True)
class Report:
    """What a run of the benchmarks printed and wrote."""

    table: str
    figures: Mapping[str, Any]


def run_benchmarks(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=PROJECT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def small_run(empty_postgres_url: str, tmp_path: Path) -> Report:
    """A run of everything, small."""
    file = tmp_path / "folder" / "figures.json"
    done = run_benchmarks(
        *("--jobs", "200", "--rounds", "1", "--json", str(file)),
        *("--database-url", empty_postgres_url),
    )
    assert done.returncode == 0, done.stderr
    return Report(done.stdout, json.loads(file.read_text()))


def test_every_row_is_measured_on_every_adapter_and_reported(
    small_run: Report, empty_postgres_url: str
) -> None:
    figures = small_run.figures
    rows = {(row["row"], row["adapter"]): row for row in figures["rows"]}
    assert set(rows) == {(step, adapter) for step in TITLES for adapter in ADAPTERS}
    for (step, adapter), row in rows.items():
        check_side(row["ours"], JOBS[step])
        check_comparison(row, adapter, JOBS[step])
        assert_line_in_table(small_run.table, TITLES[step], adapter)
    assert_conditions_are_told(figures)
    assert_nothing_is_left_in(empty_postgres_url)


def check_side(side: Mapping[str, Any], jobs: int) -> None:
    assert [figure["jobs"] for figure in side["rounds"]] == [jobs]
    figure = side["rounds"][0]
    assert 0 < figure["seconds"] < figure["process_seconds"]
    assert side["jobs_per_second"] == pytest.approx(jobs / figure["seconds"])


def check_comparison(row: Mapping[str, Any], adapter: str, jobs: int) -> None:
    """Memory has nothing to be compared with; the others have their bare script."""
    if adapter == "memory":
        assert row["bare"] is None
        assert row["ratio"] is None
        return
    check_side(row["bare"], jobs)
    ratio = row["ours"]["jobs_per_second"] / row["bare"]["jobs_per_second"]
    assert row["ratio"] == pytest.approx(ratio)


def assert_line_in_table(table: str, title: str, adapter: str) -> None:
    lines = [line for line in table.splitlines() if title in line and f" {adapter} " in line]
    assert len(lines) == 1
    figures = lines[0].partition(adapter)[2].split()
    assert float(figures[0].replace(",", "")) > 0
    assert ("—" in figures) == (adapter == "memory")


def assert_conditions_are_told(figures: Mapping[str, Any]) -> None:
    """A figure says nothing without the machine, the versions and what a commit means."""
    assert figures["machine"]["cores"] >= 1
    assert {"cpu", "memory_mb"} <= set(figures["machine"])
    assert {"python", "jobqueue", "sqlalchemy", "psycopg"} <= set(figures["versions"])
    postgres, sqlite = figures["databases"]["postgresql"], figures["databases"]["sqlite"]
    assert postgres["version"].startswith("PostgreSQL ")
    assert {"fsync", "synchronous_commit"} <= set(postgres["settings"])
    assert sqlite["settings"]["journal_mode"] == "wal"
    assert sqlite["settings"]["synchronous"] == "full"


def assert_nothing_is_left_in(url: str) -> None:
    with psycopg.connect(url) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'jobqueue_benchmark%'"
        ).fetchall()
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert (schemas, tables) == ([], [])


def test_one_row_of_one_adapter_is_measured_alone_with_every_round(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = run_benchmarks(
        *("--jobs", "50", "--rounds", "2", "--json", str(file)),
        *("--only", "drain", "--adapter", "memory"),
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(file.read_text())["rows"]
    assert (row["row"], row["adapter"]) == ("drain", "memory")
    assert len(row["ours"]["rounds"]) == 2
