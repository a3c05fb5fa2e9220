"""Shared by the measured scripts: one step a process, its figures in the last line as JSON.

A step gets the database's URL and its options, and returns figures. Nothing but the standard
library is imported here, since the peers' scripts run in an environment of their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Step = Callable[..., Mapping[str, Any]]
FOR_EVER_SECONDS = 120


def run_step(steps: Mapping[str, Step]) -> None:
    """Run the step that the command line names: `STEP URL OPTIONS`, the options as JSON."""
    name, url, options = sys.argv[1:]
    print(json.dumps(steps[name](url, **json.loads(options))))


def check(done: int, wanted: int, what: str) -> None:
    """Leave no figure of a step that did not do all of its work, and nothing else."""
    if done != wanted:
        raise SystemExit(f"{done:,} jobs were {what} instead of {wanted:,}; nothing is measured")


def meet(folder: str, name: str, others: int) -> None:
    """Wait until as many processes have come here, so that they all start at the same moment."""
    place = Path(folder)
    (place / f"{name}.here").touch()
    give_up = time.monotonic() + FOR_EVER_SECONDS
    while len(list(place.glob("*.here"))) < others:
        if time.monotonic() > give_up:
            raise SystemExit(f"{others} processes should have met; some did not come")
        time.sleep(0.001)


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]
