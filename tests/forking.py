"""The client of `forkserver.py`: `jobs` commands that need not start a Python each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ForkServer:
    """A Python that has the imports behind it, of which every command is forked."""

    process: subprocess.Popen[str]

    def start(
        self,
        folder: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        *,
        stdin: Path,
        stdout: Path,
        stderr: Path,
    ) -> Forked:
        """Start `jobs` in a folder, its streams in files."""
        request = {
            "folder": str(folder),
            "environment": dict(environment),
            "arguments": list(arguments),
            "files": [str(path) for path in (stdin, stdout, stderr)],
        }
        return Forked(self, self.ask(request))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """What it answers to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@dataclass
class Forked:
    """A process that was forked, as `subprocess.Popen` has it."""

    server: ForkServer
    pid: int
    returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._exit_code(0)

    def wait(self, timeout: float = 60) -> int:
        """Its exit code, when it has ended.

        Raises:
            TimeoutExpired: it has not.
        """
        exit_code = self._exit_code(timeout)
        if exit_code is None:
            raise subprocess.TimeoutExpired(["jobs"], timeout)
        return exit_code

    def _exit_code(self, timeout: float) -> int | None:
        if self.returncode is None:
            self.returncode = self.server.ask({"wait_for": self.pid, "timeout": timeout})
        return self.returncode


@contextmanager
def running_fork_server(environment: Mapping[str, str]) -> Iterator[ForkServer]:
    """One that ends with the block."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("forkserver.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        # Away from the terminal that the tests are run in, which has signals of its own.
        start_new_session=True,
    ) as process:
        yield ForkServer(process)
        assert process.stdin is not None
        process.stdin.close()
