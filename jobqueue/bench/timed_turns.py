"""An adapter that times its turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from jobqueue.adapters import Adapter
from jobqueue.records import Claim, Outcome, Turn


class TimedTurns:
    """An adapter that times its turns, and counts the jobs that they settle.

    Args:
        adapter: what does the work.
        show: called after a turn with the number of jobs settled so far.
    """

    def __init__(self, adapter: Adapter, show: Callable[[int], None]) -> None:
        self._adapter, self._show = adapter, show
        self._settled = 0
        self._first = self._last = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        """Settle and claim, as the adapter's own `turn` does."""
        self._first = self._first or time.perf_counter()
        turn = self._adapter.turn(outcomes, claim, meanwhile)
        if outcomes:
            self._last = time.perf_counter()
            self._settled += len(outcomes)
            self._show(self._settled)
        return turn

    @property
    def seconds(self) -> float:
        """The time from the first turn's beginning to the end of the last that settled a job."""
        return self._last - self._first
