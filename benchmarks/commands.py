"""Running what is measured: each step, and each worker, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.trace import Trace
from benchmarks.watched import FOLDER, PROCESSES

PROJECT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 3600
END_SECONDS = 60
SAMPLE_SECONDS = 0.1
APP = "benchmarks.watched"


@dataclass(frozen=True)
class Commands:
    """Runs processes, their logs in files as a service's log would be.

    Args:
        folder: where the logs go.
    """

    folder: Path

    def step(
        self, module: str, step: str, url: str, *, python: str = sys.executable, **options: Any
    ) -> Mapping[str, Any]:
        """Run one step of a script, and return its figures."""
        with self._logged(module) as log:
            process = _started(_step_command(python, module, step, url, options), log)
            return _answer_of(process, log)

    def steps_together(
        self, processes: int, module: str, step: str, url: str, **options: Any
    ) -> list[Mapping[str, Any]]:
        """Run a step in several processes that begin at the same moment."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, self._logged(module) as log:
            options |= {"processes": processes, "folder": folder}
            command = _step_command(sys.executable, module, step, url, options)
            started = [_started(command, log) for _ in range(processes)]
            return [_answer_of(process, log) for process in started]

    @contextmanager
    def step_beside(self, module: str, step: str, url: str) -> Iterator[None]:
        """A step that runs, from its first line on, until the block ends."""
        with self._logged(module) as log:
            process = _started(_step_command(sys.executable, module, step, url, {}), log)
            with _ended_with_block(process):
                _wait_for_line(process, log)
                yield

    def workoff(
        self,
        url: str,
        *options: str,
        processes: int = 1,
        watch: Callable[[psutil.Process], None] | None = None,
    ) -> Trace:
        """`jobs workoff`, the command itself; each process's first turn at the same moment.

        Args:
            watch: called about ten times a second, with the process.
        """
        workers = () if processes == 1 else ("-n", str(processes))
        with tempfile.TemporaryDirectory(dir=self.folder) as name, self._logged("workoff") as log:
            watched = {FOLDER: name, PROCESSES: str(processes)}
            process = _started(_jobs_command("workoff", url, *workers, *options), log, watched)
            if watch is not None:
                _watch_until_ended(process, watch)
            _ended_well(process, log)
            return Trace.read(Path(name))

    @contextmanager
    def working(
        self, url: str, *options: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[None]:
        """`jobs work`, until the block ends."""
        with self._logged("work") as log:
            process = _started(_jobs_command("work", url, *options), log, environment or {})
            with _ended_with_block(process):
                yield
            if process.returncode != 0:
                raise SystemExit(f"jobs work failed:\n{_end_of(log)}")

    @contextmanager
    def _logged(self, name: str) -> Iterator[Path]:
        handle, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=self.folder)
        os.close(handle)
        try:
            yield Path(path)
        finally:
            Path(path).unlink()


def _step_command(
    python: str, module: str, step: str, url: str, options: Mapping[str, Any]
) -> list[str]:
    return [python, "-m", module, step, url, json.dumps(options)]


def _jobs_command(command: str, url: str, *options: str) -> list[str]:
    jobs = [sys.executable, "-m", "jobqueue", command]
    return [*jobs, "--app", APP, "--database-url", url, *options]


def _started(
    command: Sequence[str], log: Path, more: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    with log.open("a") as errors:
        return subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**plain_environment(), **(more or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def _answer_of(process: subprocess.Popen[str], log: Path) -> Mapping[str, Any]:
    answers = [line for line in _ended_well(process, log).splitlines() if line.startswith("{")]
    if not answers:
        raise SystemExit(f"a step ended without an answer:\n{_end_of(log)}")
    answer: Mapping[str, Any] = json.loads(answers[-1])
    return answer


def _ended_well(process: subprocess.Popen[str], log: Path) -> str:
    """Wait for a process, and return its output; a failure ends the whole run."""
    try:
        printed, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        process.kill()
    if process.returncode != 0:
        command = " ".join(str(part) for part in process.args if "://" not in str(part))  # type: ignore[union-attr]
        raise SystemExit(
            f"{command} failed with exit code {process.returncode}:\n{_end_of(log)}\n{printed}"
        )
    return printed


def _watch_until_ended(
    process: subprocess.Popen[str], watch: Callable[[psutil.Process], None]
) -> None:
    watched = psutil.Process(process.pid)
    never = threading.Event()
    while process.poll() is None:
        try:
            watch(watched)
        except psutil.Error:
            return
        never.wait(SAMPLE_SECONDS)


@contextmanager
def _ended_with_block(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=END_SECONDS)
        finally:
            process.kill()


def _wait_for_line(process: subprocess.Popen[str], log: Path) -> None:
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit(f"a script that should have gone on has ended:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-20:])


def plain_environment() -> dict[str, str]:
    """Without settings of jobqueue: its defaults are what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBS_")}
    kept.pop("DATABASE_URL", None)
    return kept
