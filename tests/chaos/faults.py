"""What goes wrong in a chaos run, each kind on a thread of its own, by chance and by the clock.

Each fault is written down: what it was, from when to when, and whom it hit (process ids).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.exc import DBAPIError

from tests.chaos import versions
from tests.chaos.app import LEDGER
from tests.chaos.databases import ChaosDatabase, ChaosPostgres
from tests.chaos.journal import Journal, read
from tests.chaos.proxy import Harm, Passage, Proxy
from tests.chaos.workers import Supervisor
from tests.process.outage import freeze

FAULTS = "faults.jsonl"
EVERYBODY = "everybody"
MOST_CRASHES_TO_ADD_TO = 1
BETWEEN_SUPERVISORS_SECONDS = 1.0
FROZEN_LEASES = 2.5
HARM_EVERY_SECONDS = {
    Harm.CUT_BEFORE_SEND: 2.0,
    Harm.CUT_AFTER_COMMIT: 1.2,
    Harm.SLOW: 4.0,
    Harm.HALF_OPEN: 6.0,
}


class Faults:
    """Breaks things until it is stopped.

    Args:
        folder: of the run; the journal goes there.
        seed: of all chance.
        supervisors: whose workers are killed and frozen.
        database: what is worked on.
        proxy: what is between, if anything is.
        lease_seconds: of the workers.
        progress: the share of the jobs that is done.
        restarts: how often PostgreSQL is restarted.
        deployments: how often a new version of the application is deployed.
    """

    def __init__(
        self,
        folder: Path,
        seed: str,
        supervisors: Sequence[Supervisor],
        database: ChaosDatabase,
        proxy: Proxy | None,
        *,
        lease_seconds: float,
        progress: Callable[[], float],
        restarts: int,
        deployments: int,
    ) -> None:
        self._folder, self._seed = folder, seed
        self._journal = Journal(folder / FAULTS, synced=True)
        self._supervisors = supervisors
        self._database = database
        self.proxy = proxy
        self._lease_seconds = lease_seconds
        self._progress = progress
        self._restarts, self._deployments = restarts, deployments
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        # What is frozen is not killed: what it says when it is thawed is to be rejected.
        self._frozen: set[int] = set()
        self._lock = threading.Lock()
        self._version = 0

    def start(self) -> None:
        """Begin."""
        self._every(1.0, self._kill_worker)
        self._every(self._lease_seconds * 3, self._freeze_worker)
        self._every(self._lease_seconds * 7, self._freeze_family)
        self._every(self._lease_seconds * 8, self._kill_supervisor)
        self._as_it_goes_on(self._deployments, self._deploy)
        if self.proxy is not None:
            for harm, pause in HARM_EVERY_SECONDS.items():
                self._every(pause, self._harm_connection, harm)
        if isinstance(self._database, ChaosPostgres):
            self._every(3.0, self._terminate_backend, self._database)
            self._as_it_goes_on(self._restarts, self._restart, self._database)

    def stop(self) -> None:
        """End, with everything mended.

        Raises:
            BaseException: what a thread of this failed with.
        """
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for error in self._errors:
            raise error

    def note_harm(self, harm: Harm, owner: str, began: float) -> None:
        """What the proxy has done."""
        self._note(str(harm), [int(owner)] if owner.isdigit() else [], began)

    # --- when ------------------------------------------------------------------------------------

    def _every(self, seconds: float, do: Callable[..., None], *arguments: Any) -> None:
        def run(chance: random.Random) -> None:
            while not self._stopped.wait(seconds * chance.uniform(0.7, 1.3)):
                do(chance, *arguments)

        self._on_thread(run, " ".join([do.__name__, *filter(_is_text, arguments)]))

    def _as_it_goes_on(self, times: int, do: Callable[..., None], *arguments: Any) -> None:
        """So many times, evenly over the jobs that are done."""

        def run(chance: random.Random) -> None:
            for time_ in range(1, times + 1):
                while self._progress() < time_ / (times + 1):
                    if self._stopped.wait(0.2):
                        return
                do(chance, *arguments)

        self._on_thread(run, do.__name__)

    def _on_thread(self, run: Callable[[random.Random], None], name: str) -> None:
        def guarded() -> None:
            try:
                run(random.Random(f"{self._seed} {name}"))
            except BaseException as error:
                self._errors.append(error)
                raise

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _note(self, fault: str, pids: Sequence[int] | str, began: float, **facts: Any) -> None:
        self._journal.write("fault", fault=fault, pids=pids, began=began, **facts)

    # --- processes -------------------------------------------------------------------------------

    def _at_work(self) -> list[int]:
        """The workers that have begun with jobs, and are not frozen."""
        pids = [pid for s in self._supervisors if s.is_running for pid in s.worker_pids()]
        ledgers = {int(p.name.split("-")[0]) for p in (self._folder / LEDGER).glob("*")}
        return sorted((set(pids) & ledgers) - self._frozen)

    def _kill_worker(self, chance: random.Random) -> None:
        """One of those at work, unless it is the last.

        A job that is killed a third time would be taken for poison, and rightly.
        """
        with self._lock:
            pids = self._at_work()
            if len(pids) < 2:
                return
            chance.shuffle(pids)
            for pid in pids:
                if self._most_crashes(pid) <= MOST_CRASHES_TO_ADD_TO:
                    began = time.time()
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self._note("kill", [pid], began)
                    return

    def _most_crashes(self, pid: int) -> int:
        """Of the jobs that a process performs just now."""
        performing: dict[tuple[int, int], int] = {}
        for path in (self._folder / LEDGER).glob(f"{pid}-*"):
            for line in read(path):
                claim = (line["job"], line["token"])
                if line["event"] == "started":
                    performing[claim] = line["crashes"]
                elif line["event"] == "ended":
                    performing.pop(claim, None)
        return max(performing.values(), default=0)

    def _freeze_worker(self, chance: random.Random) -> None:
        with self._lock:
            pids = self._at_work()
            chosen = [chance.choice(pids)] if len(pids) > 1 else []
            self._frozen.update(chosen)
        self._freeze(chosen)

    def _freeze_family(self, chance: random.Random) -> None:
        """A supervisor, and all of its workers."""
        with self._lock:
            family = self._family_of(chance.choice(self._supervisors))
            chosen = [] if self._frozen & set(family) else family
            self._frozen.update(chosen)
        self._freeze(chosen)

    def _family_of(self, supervisor: Supervisor) -> list[int]:
        return [supervisor.pid, *supervisor.worker_pids()] if supervisor.is_running else []

    def _freeze(self, pids: Sequence[int]) -> None:
        """Past their lease, and a little more."""
        if not pids:
            return
        began = time.time()
        with suppress(psutil.NoSuchProcess):
            wake = freeze(pids[0], self._database.url)
            self._stopped.wait(self._lease_seconds * FROZEN_LEASES)
            wake()
            self._note("freeze", pids, began, ended=time.time())
        with self._lock:
            self._frozen.difference_update(pids)

    def _kill_supervisor(self, chance: random.Random) -> None:
        with self._lock:
            supervisor = chance.choice(self._supervisors)
            family, began = self._family_of(supervisor), time.time()
            if family and not self._frozen & set(family):
                supervisor.kill()
                self._note("kill supervisor", family, began)

    def _deploy(self, chance: random.Random) -> None:
        """A new version, by a rolling restart of one supervisor after the other."""
        self._version += 1
        versions.deploy(self._folder, self._version)
        producer_leads = chance.random() < 0.5
        if producer_leads:
            versions.announce(self._folder, self._version)
        for supervisor in self._supervisors:
            with self._lock:
                self._note("rolling restart", [supervisor.pid], time.time(), version=self._version)
                supervisor.send(signal.SIGHUP)
            self._stopped.wait(BETWEEN_SUPERVISORS_SECONDS)
        versions.announce(self._folder, self._version)

    # --- the database, and the way to it ---------------------------------------------------------

    def _harm_connection(self, chance: random.Random, harm: Harm) -> None:
        assert self.proxy is not None
        seconds = {
            Harm.SLOW: chance.uniform(0.5, 3),
            Harm.HALF_OPEN: chance.uniform(0.5, 1.5) * self._lease_seconds,
        }
        number = chance.random()

        def choose(passages: list[Passage]) -> Passage:
            return passages[int(number * len(passages))]

        self.proxy.harm(harm, seconds.get(harm, 0.0), choose)

    def _terminate_backend(self, chance: random.Random, database: ChaosPostgres) -> None:
        began = time.time()
        try:
            rows = database.run(
                "SELECT pid, application_name FROM pg_stat_activity "
                "WHERE application_name ~ '^[0-9]+$' ORDER BY application_name"
            )
            if rows:
                backend, owner = chance.choice(rows)
                database.run("SELECT pg_terminate_backend(:pid)", pid=backend)
                self._note("terminate backend", [int(owner)], began)
        except DBAPIError:
            return  # it is being restarted

    def _restart(self, chance: random.Random, database: ChaosPostgres) -> None:
        began = time.time()
        database.restart_hard()
        self._note("restart", EVERYBODY, began, ended=time.time())


def _is_text(argument: Any) -> bool:
    return isinstance(argument, str)
