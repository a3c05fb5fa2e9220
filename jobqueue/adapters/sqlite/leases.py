"""Workers and their leases on SQLite."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from jobqueue.adapters.sql.leases import SqlLeases
from jobqueue.adapters.sql.queries import PROCESS
from jobqueue.process_identity import identity_of
from jobqueue.records import NewWorker, WorkerRecord

if TYPE_CHECKING:
    from psutil import Process


class SqliteLeases(SqlLeases):
    """The workers in a SQLite file, and the rescue of the jobs of those whose process is gone."""

    def _details_of(self, worker: NewWorker) -> dict[str, Any]:
        if worker.host != socket.gethostname():
            return {}
        identity = identity_of(worker.pid)
        return {PROCESS: identity} if identity else {}

    def is_living(self, worker: WorkerRecord) -> bool | None:
        """Look whether a worker's process is still there, and no other process has got its id.

        A long transaction of another program can hold back heartbeats on SQLite. For a process
        that is stopped, the heartbeat decides.
        """
        import psutil

        if worker.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(worker.pid)
            is_same = _is_same(process, worker)
            stopped = process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        return None if is_same and stopped else is_same


def _is_same(process: Process, worker: WorkerRecord) -> bool | None:
    """Whether a process is that of a worker; None if that cannot be known.

    Former releases have noted no identity. Then a process that has started later, as it seems, may
    be the worker's own all the same: when the clock is set, all start times move.
    """
    found = identity_of(process.pid)
    if worker.process is not None and found is not None:
        return worker.process == found
    return True if process.create_time() < worker.started_at.timestamp() + 1 else None
