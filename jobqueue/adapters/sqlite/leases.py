"""Workers and their leases on SQLite."""

from __future__ import annotations

import socket

from jobqueue.adapters.sql.leases import SqlLeases
from jobqueue.records import WorkerRecord


class SqliteLeases(SqlLeases):
    """Keeps workers in a SQLite file, and frees the jobs of those whose process is gone."""

    def is_living(self, worker: WorkerRecord) -> bool | None:
        """Look for the process by its id and start time.

        A long transaction of another program can hold back heartbeats on SQLite. For a process
        that is stopped, the heartbeat decides.
        """
        import psutil

        if worker.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(worker.pid)
            started_before = process.create_time() < worker.started_at.timestamp() + 1
            stopped = process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        if stopped and started_before:
            return None
        return started_before
