"""The steps of a supervisor's loop: each fails alone, is said once, and is tried again later."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from jobqueue import log

LONGEST_STEP_PAUSE_SECONDS = 5.0


def growing_pause_seconds(times_in_a_row: int, longest_seconds: float) -> float:
    """The seconds to wait after so many failures in a row: 1, 2, 4, …"""
    return float(min(2.0 ** min(times_in_a_row - 1, 30), longest_seconds))


@dataclass(slots=True)
class _Trouble:
    """A step that has failed, and has not succeeded since."""

    error: type[Exception]
    times: int
    again_at: float


class Steps:
    """The steps of a loop, each taken whatever has happened in the others.

    Args:
        logger: where it is logged that one has failed.
        now: seconds that only go up; for tests.
    """

    def __init__(self, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._troubles: dict[str, _Trouble] = {}

    def take(self, name: str, step: Callable[[], object]) -> None:
        """Take a step, unless it has failed lately.

        Args:
            name: what it does, for the log: `see which workers have ended`.
            step: is called; it may raise.
        """
        trouble = self._troubles.get(name)
        if trouble is not None and self._now() < trouble.again_at:
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the workers are not to die of any error here
            self._note(name, error)
        else:
            self._troubles.pop(name, None)

    def _note(self, name: str, error: Exception) -> None:
        before = self._troubles.get(name)
        is_known = before is not None and before.error is type(error)
        times = before.times + 1 if before is not None else 1
        pause = growing_pause_seconds(times, LONGEST_STEP_PAUSE_SECONDS)
        self._troubles[name] = _Trouble(type(error), times, self._now() + pause)
        if is_known:
            return
        try:
            log.supervisor_troubled(self._logger, name, error, pause)
        except Exception:  # noqa: BLE001 - a handler of the application's may be what fails
            traceback.print_exc(file=sys.stderr)
