"""A private PgBouncer in front of a PostgreSQL server, for tests and for the chaos run.

How to get it is said in `tests/needs.py`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.pq import ExecStatus
from sqlalchemy import URL, make_url

from tests import needs

START_SECONDS = 10.0

CONFIGURATION = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
admin_users = pgbouncer
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 1000
server_login_retry = 0.1
query_wait_timeout = {query_wait_timeout}
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
{more}
"""


class PgBouncer:
    """PgBouncer on loopback, in transaction mode, until `stop` is called.

    It is a context manager too. It lets anybody in, as the role of the server's URL.

    Args:
        server: the URL of a PostgreSQL server: on a socket in a folder, or on a host and port.
        port: where it listens; a free one when None.
        pool_size: how many connections to the server it opens for each database.
        query_wait_timeout: how many seconds a client may wait for one of them.
        more: further lines of its configuration's section `[pgbouncer]`.

    Raises:
        Missing: there is no `pgbouncer` here; the message says how to get it.
    """

    def __init__(
        self,
        server: str,
        *,
        port: int | None = None,
        pool_size: int = 20,
        query_wait_timeout: int = 30,
        more: str = "",
    ) -> None:
        program = needs.find("pgbouncer")
        self._server = make_url(server)
        self.port = port or _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jobqueue-pgbouncer-"))
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(
            CONFIGURATION.format(
                server=_connection_string(self._server),
                port=self.port,
                folder=self.folder,
                pool_size=pool_size,
                query_wait_timeout=query_wait_timeout,
                more=more,
            )
        )
        self._command = [program, "-q", str(ini)]
        self._user = _user_to_run_as(self._server)
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Begin; again after `halt`, on the same port."""
        self._process = subprocess.Popen(
            self._command,
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_until_it_listens(self._process)
        except BaseException:
            self.stop()
            raise

    def halt(self) -> None:
        """End it at once, with whatever goes through it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it for good, and leave nothing behind."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str | None = None) -> str:
        """The URL of a database through it: that of the server's URL unless another is named."""
        return (
            URL.create(
                "postgresql",
                username=self._server.username or "postgres",
                host="127.0.0.1",
                port=self.port,
                database=database or self._server.database,
            )
        ).render_as_string(hide_password=False)

    @property
    def log(self) -> str:
        """What it has logged."""
        path = self.folder / "pgbouncer.log"
        return path.read_text() if path.exists() else ""

    def console(self, command: str) -> list[tuple[object, ...]]:
        """Run a command of its admin console (`PAUSE`, `RESUME`, `SHOW POOLS`); the rows if any."""
        url = make_url(self.url("pgbouncer")).set(username="pgbouncer")
        # It takes the simple protocol only.
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as c:
            result = c.pgconn.exec_(command.encode())
            if result.status == ExecStatus.FATAL_ERROR:
                raise RuntimeError(f"{command}: {result.error_message.decode()}")
            return [
                tuple(result.get_value(row, column) for column in range(result.nfields))
                for row in range(result.ntuples)
            ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise RuntimeError(f"pgbouncer did not start: {self.log}")


def _connection_string(server: URL) -> str:
    """Where the server is, in the words of PgBouncer's configuration."""
    facts = {
        "host": _host_of(server),
        "port": server.query.get("port") or server.port or 5432,
        "user": server.username or "postgres",
        "password": server.password,
    }
    return " ".join(f"{name}={value}" for name, value in facts.items() if value)


def _user_to_run_as(server: URL) -> int | None:
    """It refuses to be root; then it is whoever may enter the folder of the server's socket."""
    if os.geteuid() != 0:
        return None
    folder = Path(_host_of(server))
    owner = folder.stat().st_uid if folder.is_absolute() else 0
    return owner or pwd.getpwnam("nobody").pw_uid


def _host_of(server: URL) -> str:
    return str(server.query.get("host") or server.host or "127.0.0.1")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
