"""Forks of a process that uses SQLite files: no connection to one is open meanwhile.

SQLite notes in the memory of the process which locks its connections have. The child has a copy of
these notes, and not the locks. If a connection was writing, no other of the child ever gets the
write lock: "database is locked". If one was merely open, the child's own take no lock that other
processes see. And a child must not close what its parent has opened, so it cannot mend that.

A fork therefore waits for what is under way, and closes what is idle. Meanwhile others wait.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine, event

from jobqueue.adapters.sqlite.writer import BUSY_TIMEOUT_SECONDS
from jobqueue.errors import DatabaseError

LOOK_SECONDS = 0.002


class Resting(Protocol):
    """The owner of a connection outside of a pool, which has to be closed before a fork."""

    path: Path

    def rest(self) -> bool:
        """Close the connection until it is needed next; return whether that was possible."""
        ...


class OpenConnections:
    """The connections of this process to SQLite files: those that are in use, and those idle."""

    def __init__(self) -> None:
        self._in_use: dict[Any, tuple[int, Path]] = {}
        self._engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._others: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begin_without_forks()
        self._spoilt: set[Path] = set()
        self._inherited: list[Any] = []

    def _begin_without_forks(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._forking: int | None = None
        self._over = threading.Event()

    def watch(self, engine: Engine, path: Path) -> None:
        """Keep track of the connections of an engine to the file at `path`."""

        @event.listens_for(engine, "checkout")
        def begin(_: Any, record: Any, __: Any) -> None:
            self._begin(record, path)

        @event.listens_for(engine, "checkin")
        def end(_: Any, record: Any) -> None:
            self._in_use.pop(record, None)

        @event.listens_for(engine, "detach")
        def end_in_pool(_: Any, record: Any) -> None:
            self._in_use.pop(record, None)

        self._engines.add(engine)

    def watch_other(self, other: Resting) -> None:
        """Have the connection of another owner closed while the process forks."""
        self._others.add(other)

    @contextmanager
    def opening(self, record: Any, path: Path) -> Iterator[None]:
        """Open a connection, which is in use from then on.

        Raises:
            DatabaseError: this process was forked while the file was in use.
        """
        if path in self._spoilt:
            raise DatabaseError(
                f"the database {path} cannot be used in this process, which was forked while its "
                "parent had a transaction open there: SQLite takes the parent's locks for its own. "
                "Fork when no transaction is open, or start the process another way "
                '(multiprocessing: "spawn")'
            )
        self._begin(record, path)
        try:
            yield
        except BaseException:
            self._in_use.pop(record, None)
            raise

    def _begin(self, record: Any, path: Path) -> None:
        """Note that a connection is in use. While another thread forks, wait for that."""
        this_thread = threading.get_ident()
        while True:
            self._in_use[record] = (this_thread, path)
            # Only now: whoever forks looks at those in use after it has said that it does.
            if self._forking in (None, this_thread) or self._has_another(record, this_thread):
                return
            del self._in_use[record]
            self._over.wait(BUSY_TIMEOUT_SECONDS)

    def _has_another(self, record: Any, thread_id: int) -> bool:
        """Whether a thread uses a second connection. The fork waits for the first to be free."""
        in_use = list(self._in_use.items())
        return any(owner == thread_id for other, (owner, _) in in_use if other is not record)

    # --- around a fork ---------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Close all connections. Wait for those that other threads use, for a while."""
        self._one_at_a_time.acquire()
        self._over.clear()
        self._forking = threading.get_ident()
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
        while self._is_used_by_others() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        for other in list(self._others):
            if not other.rest():
                self._in_use[other] = (0, other.path)
        for engine in list(self._engines):
            engine.dispose()

    def _is_used_by_others(self) -> bool:
        return any(owner != self._forking for owner, _ in list(self._in_use.values()))

    def after_fork(self) -> None:
        """Let other threads open connections again."""
        for other in list(self._others):
            self._in_use.pop(other, None)
        self._forking = None
        self._over.set()
        self._one_at_a_time.release()

    def begin_in_child(self) -> None:
        """Begin without connections, in a forked child. It never touches those of its parent."""
        self._spoilt |= {path for _, path in self._in_use.values()}
        self._inherited.append((self._in_use, list(self._others)))
        self._in_use, self._others = {}, weakref.WeakSet()
        for engine in list(self._engines):
            engine.dispose(close=False)
        self._begin_without_forks()


OPEN = OpenConnections()

os.register_at_fork(
    before=OPEN.before_fork,
    after_in_parent=OPEN.after_fork,
    after_in_child=OPEN.begin_in_child,
)
