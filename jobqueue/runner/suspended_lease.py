"""Keeping a worker's lease while its supervisor, which does so otherwise, stands still."""

from __future__ import annotations

import threading
from contextlib import suppress

from jobqueue.adapters.base import Adapter
from jobqueue.errors import DatabaseError

BEATS_PER_LEASE = 4


class LoneLease:
    """Beats for one worker that is registered, from a thread of its own, while it is told to.

    Args:
        adapter: where the worker is.
        worker_id: which.
        lease_seconds: how long it may go without a beat.
    """

    def __init__(self, adapter: Adapter, worker_id: str, lease_seconds: float) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._pause_seconds = lease_seconds / BEATS_PER_LEASE
        self._ended = threading.Event()
        self._ended.set()

    def keep(self, alone: bool) -> None:
        """Begin to beat, or stop. Always called from the same thread."""
        if not alone:
            self._ended.set()
        elif self._ended.is_set():
            self._ended = threading.Event()
            threading.Thread(
                target=self._run, args=(self._ended,), name="jobqueue-lone-lease", daemon=True
            ).start()

    def _run(self, ended: threading.Event) -> None:
        while True:
            # Who goes on with the database away finds out by itself what became of its lease.
            with suppress(DatabaseError):
                self._adapter.beat([self._worker_id])
            if ended.wait(self._pause_seconds):
                return
