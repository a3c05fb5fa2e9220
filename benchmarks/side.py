"""What the measured scripts share: one step a process, its figures in the last line as JSON.

A step gets the database's URL and a number of jobs, and returns the seconds that count.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

Step = Callable[[str, int], float]


def run_step(steps: Mapping[str, Step]) -> None:
    """Run the step that the command line names: `STEP URL JOBS`."""
    name, url, jobs = sys.argv[1:]
    seconds = steps[name](url, int(jobs))
    print(json.dumps({"jobs": int(jobs), "seconds": seconds}))


def check(done: int, wanted: int, what: str) -> None:
    """Leave no figure of a step that did not do all of its work, and nothing else."""
    if done != wanted:
        raise SystemExit(f"{done:,} jobs were {what} instead of {wanted:,}; nothing is measured")
