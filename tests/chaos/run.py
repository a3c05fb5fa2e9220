"""One run: everything is set up, goes wrong for a while, is mended, and is looked at."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tests.chaos import versions
from tests.chaos.databases import ChaosDatabase, ChaosPostgres, Size
from tests.chaos.facts import Facts
from tests.chaos.faults import Faults
from tests.chaos.journal import read
from tests.chaos.judging import Judge, Verdict
from tests.chaos.operations import Operator
from tests.chaos.producer import PRODUCED
from tests.chaos.proxy import Harm, Proxy, to_port, to_socket
from tests.chaos.workers import GRACE_SECONDS, Supervisor, environment

LOOK_SECONDS = 0.25
DRAIN_SECONDS = 120.0
ALMOST_NONE = 0.02
SIZE_EVERY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it.

    Args:
        jobs: how many are to be acknowledged.
        longest_ms: how long most of them take at most; they take half of it on average.
        lease_seconds: of the workers.
        restarts: how often PostgreSQL is restarted.
        deployments: how often a new version of the application is deployed.
        least_seconds: over how long the jobs are enqueued, at least.
        most_seconds: how long things go wrong at most, if not all is done before.
    """

    jobs: int
    longest_ms: int = 8
    lease_seconds: float = 2.0
    restarts: int = 5
    deployments: int = 3
    least_seconds: float = 0.0
    most_seconds: float = 240.0


@dataclass(slots=True)
class Result:
    """What came of a run."""

    verdict: Verdict
    jobs_per_second: float
    sizes: dict[str, Size] = field(default_factory=dict)


class ChaosRun:
    """A run in a folder of its own.

    Args:
        folder: where all of its files go.
        seed: of all chance.
        database: what is worked on, prepared.
        plan: how much.
        bouncer_port: of a PgBouncer that is to be between, if any.
        faulty: whether anything goes wrong.
        sabotage: what of the product is to be broken, if anything; see `sabotage.py`.
    """

    def __init__(
        self,
        folder: Path,
        seed: str,
        database: ChaosDatabase,
        plan: Plan,
        *,
        bouncer_port: int | None = None,
        faulty: bool = True,
        sabotage: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._seed, self._plan = folder, seed, plan
        self._database = database
        self._bouncer_port = bouncer_port
        self._faulty = faulty
        self._sabotage = sabotage
        self._acknowledged = 0
        self._newest = 0
        self._progress = 0.0
        self._largest, self._measured = Size(0, 0), 0.0
        self._proxy: Proxy | None = None
        self._supervisors: list[Supervisor] = []
        self._faults: Faults | None = None

    def result(self) -> Result:
        """Run it."""
        versions.deploy(self._folder, 0)
        versions.announce(self._folder, 0)
        sizes = {"before": self._database.size()}
        with self._network() as url:
            env = environment(self._folder, url, self._sabotage)
            supervisors = self._supervisors = [
                Supervisor(self._folder, name, self._options(name), env) for name in ("one", "two")
            ]
            began = time.monotonic()
            try:
                self._go_on(supervisors, env, url)
                seconds = time.monotonic() - began
            finally:
                codes = [supervisor.stop() for supervisor in supervisors]
        sizes |= {"during": self._largest, "after": self._database.size()}
        facts = Facts.gather(self._folder, self._database)
        verdict = Judge(facts, self._plan.lease_seconds).verdict()
        if any(codes):
            verdict.wrong["errors nobody meant"].append(f"supervisors ended with {codes}")
        return Result(verdict, len(facts.executions) / seconds, sizes)

    def _options(self, name: str) -> tuple[str, ...]:
        """The first has workers for one job at a time; the second one for several as well."""
        seconds = str(self._plan.lease_seconds)
        concurrency = ("--concurrency", "3") if name == "two" else ()
        common = ("--lease", seconds, "--poll-interval", "0.2", "--grace", str(GRACE_SECONDS))
        return ("-n", "2", *concurrency, *common)

    @contextmanager
    def _network(self) -> Iterator[str]:
        """The way from workers to the database."""
        if not isinstance(self._database, ChaosPostgres):
            yield self._database.url
            return
        port = self._bouncer_port
        connect = to_socket(self._database.socket) if port is None else to_port(port)
        proxy = self._proxy = Proxy(connect, self._note)
        try:
            url = make_url(self._database.url)
            query = {"sslmode": "disable", "gssencmode": "disable"}
            through = url.set(
                drivername="postgresql", host="127.0.0.1", port=proxy.port, query=query
            )
            yield through.render_as_string(hide_password=False)
        finally:
            proxy.close()

    def _note(self, harm: Harm, owner: str, began: float) -> None:
        if self._faults is not None:
            self._faults.note_harm(harm, owner, began)

    def _go_on(self, supervisors: list[Supervisor], env: Mapping[str, str], url: str) -> None:
        """Have the jobs enqueued and performed, until all are."""
        plan = self._plan
        numbers = (plan.jobs, plan.longest_ms, plan.least_seconds)
        arguments = [str(self._folder), self._seed, *map(str, numbers)]
        command = [sys.executable, "-m", "tests.chaos.producer", *arguments]
        producer = subprocess.Popen(command, cwd=self._folder, env=dict(env))
        operator = Operator(self._folder, self._seed, url, lambda: self._newest)
        if self._faulty:
            self._faults = Faults(
                self._folder,
                self._seed,
                supervisors,
                self._database,
                self._proxy,
                lease_seconds=plan.lease_seconds,
                progress=lambda: self._progress,
                restarts=plan.restarts,
                deployments=plan.deployments,
            )
            self._faults.start()
            operator.start()
        try:
            self._wait_for(producer, plan.jobs * ALMOST_NONE, plan.most_seconds)
            if self._faults is not None:
                self._faults.stop()
                operator.stop()
            self._wait_for(producer, 0, DRAIN_SECONDS)
        finally:
            producer.kill()
            producer.wait()

    def _wait_for(self, producer: subprocess.Popen[bytes], left: float, seconds: float) -> None:
        """Until the producer has ended, and no more than so many jobs are left; not for ever."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            self._note_acknowledged()
            for supervisor in self._supervisors:
                supervisor.keep()
            try:
                unfinished = self._database.unfinished()
                self._note_size()
            except DBAPIError:
                continue  # it is being restarted
            self._progress = (self._acknowledged - unfinished) / self._plan.jobs
            if producer.poll():
                raise RuntimeError(f"the producer ended with {producer.returncode}")
            if producer.returncode == 0 and unfinished <= left:
                return

    def _note_size(self) -> None:
        if time.monotonic() - self._measured > SIZE_EVERY_SECONDS:
            self._measured = time.monotonic()
            size, largest = self._database.size(), self._largest
            self._largest = Size(
                max(size.dead_rows, largest.dead_rows), max(size.table_bytes, largest.table_bytes)
            )

    def _note_acknowledged(self) -> None:
        path = self._folder / PRODUCED
        if path.exists():
            lines = [line for line in read(path) if line["event"] == "acknowledged"]
            jobs = [job for line in lines for _, job in line["jobs"]]
            self._acknowledged, self._newest = len(jobs), max(jobs, default=0)
