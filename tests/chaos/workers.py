"""Supervisors with their workers, as an operator would run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

WORKER = "jobqueue.cli.worker_process"
STOP_SECONDS = 60.0
GRACE_SECONDS = 20.0

EACH_PROCESS = """\
import os
os.environ["PGAPPNAME"] = str(os.getpid())
"""


def environment(folder: Path, url: str, sabotage: str | None = None) -> dict[str, str]:
    """What the processes of a run find in their environment.

    Each of them introduces itself to PostgreSQL by its process id.
    """
    site = folder / "site"
    site.mkdir(exist_ok=True)
    broken = f"\nfrom tests.chaos import sabotage\nsabotage.commit({sabotage!r})\n"
    (site / "sitecustomize.py").write_text(EACH_PROCESS + (broken if sabotage else ""))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JOBS_", "PG"))}
    root = Path(__file__).parents[2]
    return {
        **kept,
        "PYTHONPATH": f"{site}{os.pathsep}{root}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CHAOS_FOLDER": str(folder),
        "JOBS_DATABASE_URL": url,
    }


class Supervisor:
    """One `jobqueue work`, started again when it has been killed.

    Args:
        folder: of the run, with the application in it.
        name: for its log.
        arguments: of `jobqueue work`.
        env: see `environment`.
    """

    def __init__(
        self, folder: Path, name: str, arguments: tuple[str, ...], env: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._log = folder / "logs" / f"{name}.log"
        self._log.parent.mkdir(exist_ok=True)
        self._arguments = arguments
        self._env = dict(env)
        self._lock = threading.Lock()
        self.start()

    def start(self) -> None:
        """Start it, its log going on where it was."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jobqueue",
                    "work",
                    *self._arguments,
                    "--log-format",
                    "json",
                ],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def worker_pids(self) -> list[int]:
        """The process ids of its workers."""
        try:
            children = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            return []
        return sorted(child.pid for child in children)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def keep(self) -> None:
        """Start it again if it has ended, as systemd would: it does not wait for a database."""
        with self._lock:
            if not self.is_running:
                self.start()

    def kill(self) -> None:
        """Kill it, and its workers with it."""
        with self._lock:
            self._process.kill()
            self._process.wait()
            self.start()

    def stop(self) -> int:
        """Have it end by itself; its exit code."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)
