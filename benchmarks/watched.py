"""The jobs again, for a worker that is watched: when it settled how many.

A worker imports this as its application. Each turn with the database is noted from outside, two
clock readings a turn, and written to a file when the process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import AsyncSleep, Kept, NoOp, Payload, Sleep, Stamp
from benchmarks.side import meet
from jobqueue.adapters import Adapter
from jobqueue.records import Succeeded

__all__ = ["AsyncSleep", "Kept", "NoOp", "Payload", "Recorder", "Sleep", "Stamp"]

FOLDER = "BENCHMARK_FOLDER"
PROCESSES = "BENCHMARK_PROCESSES"


class Recorder:
    """Notes the beginning of the first turn, and after each that settled something, how many."""

    def __init__(self, folder: Path | None = None, processes: int = 1) -> None:
        self.folder, self.processes = folder, processes
        self.started = 0.0
        self.succeeded = 0
        self.marks: list[tuple[float, int]] = []

    def watch(self, adapter_class: type[Adapter]) -> None:
        """Have every `turn` of a class noted."""
        turn = adapter_class.turn

        def watched(adapter: Adapter, outcomes: Any, *rest: Any, **named: Any) -> Any:
            if not self.started:
                self._start()
            done = turn(adapter, outcomes, *rest, **named)
            if outcomes:
                self.succeeded += sum(isinstance(outcome, Succeeded) for outcome in outcomes)
                self.marks.append((time.monotonic(), self.succeeded))
            return done

        adapter_class.turn = watched  # type: ignore[assignment, method-assign]

    def figures(self) -> dict[str, Any]:
        """The trace so far."""
        return {"started": self.started, "marks": self.marks}

    def write(self) -> None:
        """Write it to the folder, if there was a turn at all."""
        if self.folder is not None and self.started:
            (self.folder / f"{os.getpid()}.json").write_text(json.dumps(self.figures()))

    def _start(self) -> None:
        if self.folder is not None and self.processes > 1:
            meet(str(self.folder), str(os.getpid()), self.processes)
        self.started = time.monotonic()


def _watch_this_process() -> None:
    from jobqueue.adapters.postgres.adapter import PostgresAdapter
    from jobqueue.adapters.sqlite.adapter import SqliteAdapter

    recorder = Recorder(Path(os.environ[FOLDER]), int(os.environ[PROCESSES]))
    recorder.watch(PostgresAdapter)
    recorder.watch(SqliteAdapter)
    atexit.register(recorder.write)


if FOLDER in os.environ:
    _watch_this_process()
