"""A line chart as SVG: values over a number, on a logarithmic x axis if the number spans a lot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 76, 150, 44, 52
COLORS = ("#2563eb", "#9ca3af", "#dc2626", "#059669", "#d97706", "#7c3aed")
LOGARITHMIC_FROM = 20
TICKS = 5
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.title{font-size:15px;font-weight:600;fill:#111}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}.title{fill:#eee}}"
)


@dataclass(frozen=True)
class Chart:
    """A chart.

    Args:
        lines: for each line, its points (x, y) by ascending x.
    """

    title: str
    x_title: str
    y_title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]

    def svg(self) -> str:
        """The chart as a file's text."""
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f"<style>{STYLE}</style>",
            _text(LEFT, 22, self.title, "start", "title"),
            _text(LEFT, 38, self.y_title, "start"),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, self.x_title),
            *self._grid(),
            *self._x_ticks(),
            *(part for index, name in enumerate(self.lines) for part in self._line(index, name)),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _grid(self) -> list[str]:
        parts = []
        for tick in range(TICKS + 1):
            value = self._top * tick / TICKS
            y = self._y(value)
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                'stroke="#8884" stroke-width="1"/>'
            )
            parts.append(_text(LEFT - 8, y + 4, f"{value:,.0f}", "end"))
        return parts

    def _x_ticks(self) -> list[str]:
        return [_text(self._x(x), HEIGHT - BOTTOM + 20, _short(x)) for x in self._xs]

    def _line(self, index: int, name: str) -> list[str]:
        color = COLORS[index % len(COLORS)]
        points = [(self._x(x), self._y(y)) for x, y in self.lines[name]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        y = TOP + 14 + 20 * index
        return [
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>',
            *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points),
            f'<circle cx="{WIDTH - RIGHT + 14}" cy="{y - 4}" r="4" fill="{color}"/>',
            _text(WIDTH - RIGHT + 24, y, name, "start"),
        ]

    @property
    def _xs(self) -> list[float]:
        return sorted({x for points in self.lines.values() for x, _ in points})

    @property
    def _top(self) -> float:
        """The smallest round number above all values."""
        most = max((y for points in self.lines.values() for _, y in points), default=1.0)
        unit = 10.0 ** floor(log10(max(most, 1e-9)))
        return ceil(most / unit * 2) / 2 * unit

    def _x(self, value: float) -> float:
        low, high, place = _scale(self._xs[0]), _scale(self._xs[-1]), _scale(value)
        if self._xs[-1] < LOGARITHMIC_FROM:
            low, high, place = self._xs[0], self._xs[-1], value
        share = 0.5 if high == low else (place - low) / (high - low)
        return LEFT + 16 + share * (WIDTH - LEFT - RIGHT - 32)

    def _y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._top * (HEIGHT - TOP - BOTTOM - 8)


def _scale(value: float) -> float:
    return log10(value + 1)


def _short(value: float) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def _text(x: float, y: float, said: str, anchor: str = "middle", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(said)}</text>'
