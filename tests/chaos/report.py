"""What a run has shown, for people: as Markdown, into the documentation too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tests.chaos.judging import Verdict
from tests.chaos.run import Result

BEGIN, END = "<!-- written by `make chaos` -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Leg:
    """A run, and the same undisturbed.

    Args:
        name: what was worked on.
        result: of the run.
        calm: of the other.
    """

    name: str
    result: Result
    calm: Result


def page(runs: Mapping[str, Sequence[Leg]], day: date) -> str:
    """Runs by their seeds, for the documentation: each in short, and the last in full."""
    command = f'`make chaos ARGS="--seed {",".join(runs)}"`'
    text = f"Measured on {day}, with {command}"
    last = table([*runs.values()][-1])
    if len(runs) == 1:
        return f"{text}.\n\n{last}"
    return f"{text}. Each run in short:\n\n{_in_short(runs)}\n\nThe last one in full:\n\n{last}"


def _in_short(runs: Mapping[str, Sequence[Leg]]) -> str:
    heads = ["seed", "", *IN_SHORT, "what must be 0, all together"]
    lines = [heads, ["---", "---"] + ["---:"] * (len(heads) - 2)]
    for seed, legs in runs.items():
        for leg in legs:
            wrong = sum(map(len, leg.result.verdict.wrong.values()))
            figures = [FIGURES[name](leg) for name in IN_SHORT.values()]
            lines.append([seed, leg.name, *figures, f"**{wrong}**"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(legs: Sequence[Leg]) -> str:
    """The figures of several runs, side by side."""
    lines = [["", *(leg.name for leg in legs)], ["---"] + ["---:"] * len(legs)]
    lines += [[name, *(figure(leg) for leg in legs)] for name, figure in FIGURES.items()]
    for finding in legs[0].result.verdict.wrong:
        counts = [len(leg.result.verdict.wrong[finding]) for leg in legs]
        lines.append([f"**{finding}** (must be 0)", *(f"**{count}**" for count in counts)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def findings(leg: Leg) -> str:
    """What was wrong, if anything was, in sentences."""
    found = (result.verdict.findings() for result in (leg.result, leg.calm))
    return "\n".join(f"{leg.name}: {text}" for text in found if text)


def write_into(page: Path, text: str) -> None:
    """Put a text between the markers of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _of(figure: Callable[[Verdict], object]) -> Callable[[Leg], str]:
    return lambda leg: _shown(figure(leg.result.verdict))


def _shown(figure: object) -> str:
    if isinstance(figure, Counter):
        return ", ".join(f"{number} {kind}" for kind, number in figure.most_common()) or "none"
    return f"{figure:,}" if isinstance(figure, int) else str(figure)


def _recovery(share: float) -> Callable[[Verdict], str]:
    def figure(verdict: Verdict) -> str:
        found = sorted(verdict.recoveries)
        return f"{found[int(share * (len(found) - 1))]:.2f} s" if found else "nothing to recover"

    return figure


def _throughput(leg: Leg) -> str:
    rate, calm = leg.result.jobs_per_second, leg.calm.jobs_per_second
    return f"{rate:.0f} of {calm:.0f} jobs/s, {rate / calm:.0%}"


def _size(when: str) -> Callable[[Leg], str]:
    def figure(leg: Leg) -> str:
        size = leg.result.sizes[when]
        return f"{size.dead_rows:,}; {size.table_bytes / 1e6:.1f} MB"

    return figure


FIGURES: Mapping[str, Callable[[Leg], str]] = {
    "acknowledged": _of(lambda v: v.acknowledged),
    "unknown: the answer was lost": _of(lambda v: v.unknown),
    "of these, stored (and then performed)": _of(lambda v: v.unknown_but_stored),
    "faults": _of(lambda v: v.faults),
    "executed": _of(lambda v: v.executed),
    "of these, again after an error of the job itself": _of(lambda v: v.failed_by_themselves),
    "of these, duplicates": _of(lambda v: v.duplicates.total()),
    "what each duplicate is due to": _of(lambda v: v.duplicates),
    "late settles rejected": _of(lambda v: v.late_settles_rejected),
    "recovery, from the fault to the next execution: p50": _of(_recovery(0.5)),
    "p99": _of(_recovery(0.99)),
    "max": _of(_recovery(1.0)),
    "throughput, of that undisturbed": _throughput,
    "dead rows; table and indexes, before": _size("before"),
    "during, at the most": _size("during"),
    "after": _size("after"),
}
IN_SHORT = {
    "acknowledged": "acknowledged",
    "executed": "executed",
    "duplicates": "of these, duplicates",
    "late settles rejected": "late settles rejected",
    "longest recovery": "max",
    "throughput, of that undisturbed": "throughput, of that undisturbed",
}
