"""The benchmarks run, do the work that they say, and report every row. Never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest

from benchmarks.measure import Verdict
from benchmarks.rows import ROWS
from benchmarks.rows.row import Line
from benchmarks.sizes import Sizes
from benchmarks.svg import Chart
from benchmarks.trace import Trace
from tests.conftest import PROJECT, plain_environment

# Each row on one of its databases, to be done in a minute; all of them are measured by hand.
GROUPS = {
    "postgresql": ("drain", "latency", "snapshot", "enqueue-bulk"),
    "sqlite": ("workers", "enqueue-one", "polling"),
}
LINES = {row.name: row.lines(Sizes.quick()) for row in ROWS}
WITHOUT_SERVER = {"cpu"}  # of a server that is not the benchmark's own


@dataclass(frozen=True)
class Report:
    """What a run of the benchmarks printed and wrote."""

    printed: str
    markdown: str
    figures: Mapping[str, Any]
    plots: Mapping[str, str]


def run_benchmarks(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=PROJECT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def quick_report(folder: Path, adapter: str, database_url: str) -> Report:
    rows = GROUPS[adapter]
    only = [option for row in rows for option in ("--only", row)]
    json_file, markdown, plots = folder / "new" / "f.json", folder / "table.md", folder / "plots"
    done = run_benchmarks(
        *("--quick", "--database-url", database_url, "--json", str(json_file)),
        *("--markdown", str(markdown), "--plots", str(plots), "--adapter", adapter, *only),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    files = {file.name: file.read_text() for file in plots.glob("*.svg")}
    return Report(done.stdout, markdown.read_text(), json.loads(json_file.read_text()), files)


@pytest.mark.apart
@pytest.mark.timeout(500)
@pytest.mark.parametrize("adapter", GROUPS)
def test_rows_are_measured_and_reported(
    adapter: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    report = quick_report(tmp_path, adapter, empty_postgres_url)
    for row in GROUPS[adapter]:
        assert_measured(report, row, adapter)
        assert_every_line_is_told(report, row, adapter)
    assert_conditions_are_told(report.figures, adapter)
    assert_plots_have_points(report.plots)
    assert_nothing_is_left_in(empty_postgres_url)


def assert_measured(report: Report, row: str, adapter: str) -> None:
    (found,) = [
        each for each in report.figures["rows"] if (each["row"], each["adapter"]) == (row, adapter)
    ]
    assert found["figures"]
    for values in found["figures"].values():
        assert len(values) == 1
        assert values[0] > 0


def assert_every_line_is_told(report: Report, row: str, adapter: str) -> None:
    for line in LINES[row]:
        if line.figure in WITHOUT_SERVER:
            continue
        assert f"| {line.title} | {adapter} | " in report.markdown
        (found,) = [
            each
            for each in report.figures["lines"]
            if (each["title"], each["adapter"], each["beside_title"])
            == (line.title, adapter, line.beside_title if each["beside"] else None)
        ]
        if found["beside"]:
            assert found["ratio"] == pytest.approx(found["ours"] / found["beside"])


def assert_conditions_are_told(figures: Mapping[str, Any], adapter: str) -> None:
    """A figure says nothing without the machine, the versions and what a commit means."""
    assert figures["machine"]["cores"] >= 1
    assert {"cpu", "memory_mb"} <= set(figures["machine"])
    assert {"python", "jobqueue", "sqlalchemy", "psycopg"} <= set(figures["versions"])
    assert figures["databases"][adapter]["version"].startswith(("PostgreSQL ", "SQLite "))
    wanted = {"postgresql": {"fsync", "synchronous_commit"}, "sqlite": {"journal_mode"}}
    assert wanted[adapter] <= set(figures["databases"][adapter]["settings"])


def assert_plots_have_points(plots: Mapping[str, str]) -> None:
    for text in plots.values():
        circles = list(ET.fromstring(text).iter("{http://www.w3.org/2000/svg}circle"))
        assert len(circles) > 2


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
    assert len(row["figures"]["ours"]) == 2


def test_what_cannot_be_measured_ends_the_run_with_an_error(tmp_path: Path) -> None:
    unknown = run_benchmarks("--quick", "--only", "nothing", "--adapter", "memory")
    assert unknown.returncode == 2
    assert "there are drain, workers" in " ".join(unknown.stderr.replace("│", " ").split())
    nowhere = run_benchmarks(
        *("--quick", "--only", "drain", "--adapter", "postgresql"),
        *("--database-url", f"postgresql://nobody@/nothing?host={tmp_path}"),
    )
    assert nowhere.returncode == 1


def test_a_trace_has_the_rate_of_all_of_the_first_and_of_the_last() -> None:
    trace = Trace(10.0, ((11.0, 100), (12.0, 300), (14.0, 400)))
    assert trace.rate == 100
    assert trace.rate_of_first(100) == 100
    assert trace.rate_of_first(300) == 150
    assert trace.rate_of_last(100) == 50
    assert trace.rate_of_fastest(100) == 200
    assert trace.rate_of_fastest(300) == 150
    assert trace.moment_of(150) == 12.0


def test_the_traces_of_several_processes_are_put_together(tmp_path: Path) -> None:
    for name, started, marks in (("a", 5.0, [[6.0, 10], [8.0, 30]]), ("b", 5.5, [[7.0, 10]])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"started": started, "marks": marks}))
    trace = Trace.read(tmp_path)
    assert trace.started == 5.0
    assert trace.marks[-1] == (8.0, 40)
    assert (7.0, 20) in trace.marks


@pytest.mark.parametrize(
    ("line", "values", "beside", "kept", "promise"),
    [
        (Line("a", "a", "b", at_least={"sqlite": 0.5}), (60.0,), (100.0,), True, "≥ 0.5"),
        (Line("a", "a", "b", at_least={"sqlite": 0.5}), (40.0,), (100.0,), False, "≥ 0.5"),
        (Line("a", "a", unit="ms", at_most={"sqlite": 20}), (19.0,), (), True, "≤ 20 ms"),
        (Line("a", "a", unit="ms", at_most={"sqlite": 20}), (21.0,), (), False, "≤ 20 ms"),
        (Line("a", "a", at_least={"postgresql": 0.5}), (1.0,), (100.0,), None, ""),
    ],
)
def test_a_line_says_whether_its_promise_is_kept(
    line: Line,
    values: tuple[float, ...],
    beside: tuple[float, ...],
    kept: bool | None,
    promise: str,
) -> None:
    verdict = Verdict(line, "sqlite", values, beside)
    assert (verdict.is_kept, verdict.promise) == (kept, promise)


def test_the_ratio_is_that_of_the_medians_and_its_range_that_of_the_rounds() -> None:
    verdict = Verdict(Line("a", "a", "b"), "sqlite", (10.0, 20.0, 90.0), (40.0, 50.0, 60.0))
    assert verdict.ratio == pytest.approx(20 / 50)
    assert verdict.ratios == pytest.approx([0.25, 0.4, 1.5])


def test_a_chart_is_well_formed_and_its_points_are_inside() -> None:
    points = [(0.0, 900.0), (1_000_000.0, 45_000.0)]
    chart = Chart("Rate & more", "rows", "jobs/s", {"ours <b>": points, "bare": [(0.0, 100.0)]})
    root = ET.fromstring(chart.svg())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Rate & more", "ours <b>", "1M", "45,000"} <= set(texts)
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(circle.attrib["cx"]) < 640
        assert 0 < float(circle.attrib["cy"]) < 360
