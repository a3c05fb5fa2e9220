"""The curves of the rows, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.measure import Result
from benchmarks.rows.row import Curve
from benchmarks.sizes import Sizes
from benchmarks.svg import Chart

Points = list[tuple[float, float]]


def write_plots(results: Sequence[Result], sizes: Sizes, folder: Path) -> list[Path]:
    """Write `CURVE-ADAPTER.svg` for each curve that was measured, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        for curve in result.row.curves(sizes):
            path = folder / f"{curve.name}-{result.adapter}.svg"
            path.write_text(_chart(curve, result).svg(), encoding="utf-8")
            written.append(path)
    return written


def _chart(curve: Curve, result: Result) -> Chart:
    lines = {name: _points(figures, result) for name, figures in curve.lines.items()}
    return Chart(
        title=f"{curve.title} ({result.adapter})",
        x_title=curve.x_title,
        y_title="jobs/s",
        lines={name: points for name, points in lines.items() if points},
    )


def _points(figures: Mapping[float, str], result: Result) -> Points:
    measured = ((x, result.values(name)) for x, name in sorted(figures.items()))
    return [(x, median(values)) for x, values in measured if values]
