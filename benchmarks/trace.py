"""When the workers of a drain settled how many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Trace:
    """A drain, on the clock that all processes of a machine share.

    Args:
        started: when the first process began its first turn.
        marks: moments, and how many jobs all processes had settled by then.
    """

    started: float
    marks: tuple[tuple[float, int], ...]

    @classmethod
    def read(cls, folder: Path) -> Trace:
        """The traces that the watched processes left in a folder, merged."""
        files = [json.loads(file.read_text()) for file in folder.glob("*.json")]
        if not any(file["marks"] for file in files):
            raise SystemExit("no worker settled anything; nothing is measured")
        steps = sorted(step for file in files for step in _steps_of(file["marks"]))
        marks, settled = [], 0
        for moment, number in steps:
            settled += number
            marks.append((moment, settled))
        return cls(min(file["started"] for file in files), tuple(marks))

    @property
    def jobs(self) -> int:
        """The number of jobs that were settled."""
        return self.marks[-1][1]

    @property
    def rate(self) -> float:
        """Jobs a second, from the first turn's beginning to the last settle."""
        return self.jobs / (self.marks[-1][0] - self.started)

    def rate_of_first(self, jobs: int) -> float:
        """The rate of about the first so many."""
        moment, settled = next(mark for mark in self.marks if mark[1] >= min(jobs, self.jobs))
        return settled / (moment - self.started)

    def rate_of_last(self, jobs: int) -> float:
        """The rate of about the last so many."""
        before = [mark for mark in self.marks if mark[1] <= self.jobs - jobs]
        moment, settled = before[-1] if before else (self.started, 0)
        return (self.jobs - settled) / (self.marks[-1][0] - moment)

    def rate_of_fastest(self, jobs: int) -> float:
        """The highest rate of about so many in a row."""
        marks = [(self.started, 0), *self.marks]
        rates = [self.rate_of_first(jobs)]
        first = 0
        for moment, settled in marks:
            while settled - marks[first + 1][1] >= jobs:
                first += 1
            done = settled - marks[first][1]
            if done >= jobs:
                rates.append(done / (moment - marks[first][0]))
        return max(rates)

    def moment_of(self, jobs: int) -> float:
        """When so many had been settled."""
        return next(moment for moment, settled in self.marks if settled >= jobs)


def _steps_of(marks: Sequence[Sequence[float]]) -> list[tuple[float, int]]:
    """Cumulative counts as differences."""
    counted = [(0.0, 0), *((moment, int(settled)) for moment, settled in marks)]
    return [(moment, now - before) for (_, before), (moment, now) in pairwise(counted)]
