"""A row for each peer: its figures, and ours for the same work in the same round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.loads import later as tomorrow
from benchmarks.peers.environment import Environment, redis_version, running_redis
from benchmarks.rows.row import Figures, Line, Row, rate
from benchmarks.sizes import Sizes


@dataclass(frozen=True)
class Peer:
    """Another job queue.

    Args:
        name: for `--only`, after `peer-`; its script is the module `NAME_peer`.
        title: as it calls itself.
        packages: what pip installs.
        adapter: which of ours it is set beside.
        needs_redis: whether its jobs are in Redis.
        share: of the jobs of a drain of ours, the part that it is given, so that it ends some day.
        keeps_later: whether a drain with very many jobs for tomorrow is measured.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    adapter: str = "postgresql"
    needs_redis: bool = False
    share: int = 10
    keeps_later: bool = True


PEERS = (
    Peer("procrastinate", "Procrastinate", ("procrastinate", "psycopg[binary,pool]")),
    Peer("pgqueuer", "PgQueuer", ("pgqueuer", "asyncpg", "uvloop"), share=1),
    Peer("huey", "Huey on SQLite", ("huey",), adapter="sqlite"),
    # Celery holds every job for tomorrow in the worker's memory; RQ has them in another place,
    # put there one by one.
    Peer(
        "celery",
        "Celery on Redis",
        ("celery[redis]", "hiredis"),
        needs_redis=True,
        keeps_later=False,
    ),
    Peer("rq", "RQ on Redis", ("rq", "hiredis"), needs_redis=True, keeps_later=False),
)


@dataclass(frozen=True)
class Installed:
    """The rows of the peers that could be had.

    Args:
        notes: their versions, and a line for each that had to be left out.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def install_peers(folder: Path) -> Installed:
    """Install the peers into an environment of their own in a folder."""
    environment = Environment(folder / "peers")
    redis = environment.redis_server()
    rows: list[Row] = []
    notes: list[str] = []
    for peer in PEERS:
        if peer.needs_redis and redis is None:
            notes.append(
                f"{peer.title} is left out: there is no redis-server, from pip or the system"
            )
        elif not environment.install(peer.packages):
            notes.append(
                f"{peer.title} is left out: pip could not install {', '.join(peer.packages)}"
            )
        else:
            rows += _rows(PeerBench(peer, environment.python, redis or "", folder))
    installed = environment.versions()
    names = [package.partition("[")[0] for peer in PEERS for package in peer.packages]
    said = [f"{name} {installed[name]}" for name in dict.fromkeys(names) if name in installed]
    if redis is not None:
        said.append(redis_version(redis))
    return Installed(tuple(rows), (", ".join(said), *notes))


@dataclass(frozen=True)
class PeerBench:
    """Runs a peer's script."""

    peer: Peer
    python: str
    redis: str
    folder: Path

    def throughput(self, bench: Bench) -> Figures:
        """One by one in, and drained out."""
        singles = bench.sizes.singles
        no_later = {"later": 0} if self.peer.keeps_later else {}
        return bench.in_turns(
            {
                "ours-in": lambda: rate(bench.step("enqueue-one", jobs=singles)),
                "peer-in": partial(self._rate, bench, "enqueue-one", jobs=singles),
                "ours-out": lambda: bench.drain().rate,
                "peer-out": partial(self._rate, bench, "drain", jobs=self._jobs(bench), **no_later),
            }
        )

    def beside_later(self, bench: Bench) -> Figures:
        """Drained while very many wait for tomorrow. A slow one gets fewer jobs to drain."""
        load = bench.sizes.load
        scratch = bench.loaded(f"later-{load}", tomorrow(load))
        jobs = max(10, self._jobs(bench) // 10)
        return bench.in_turns(
            {
                "ours": lambda: bench.drain(scratch=scratch).rate,
                "peer": partial(self._rate, bench, "drain", jobs=jobs, later=load),
            }
        )

    def _jobs(self, bench: Bench) -> int:
        return max(10, bench.sizes.jobs // self.peer.share)

    def _rate(self, bench: Bench, step: str, **options: Any) -> float:
        module = f"benchmarks.peers.{self.peer.name}_peer"
        with self._place(bench) as url:
            return rate(bench.commands.step(module, step, url, python=self.python, **options))

    @contextmanager
    def _place(self, bench: Bench) -> Iterator[str]:
        """An empty place for it to keep its jobs."""
        if self.peer.needs_redis:
            with running_redis(self.redis, self.folder) as path:
                yield path
        else:
            yield bench.databases.new_scratch().bare_url


def _rows(bench: PeerBench) -> list[Row]:
    peer = bench.peer
    throughput = Row(
        f"peer-{peer.name}",
        peer.title,
        bench.throughput,
        partial(_throughput_lines, peer),
        adapters=(peer.adapter,),
    )
    beside_later = Row(
        f"peer-{peer.name}-later",
        f"{peer.title}, jobs for tomorrow",
        bench.beside_later,
        partial(_later_lines, peer),
        adapters=(peer.adapter,),
        rounds=1,
    )
    return [throughput, beside_later] if peer.keeps_later else [throughput]


def _throughput_lines(peer: Peer, sizes: Sizes) -> tuple[Line, ...]:  # noqa: ARG001 - a row's signature
    return (
        Line("enqueue one by one", "ours-in", "peer-in", peer.title),
        Line("drain no-ops, one worker process", "ours-out", "peer-out", peer.title),
    )


def _later_lines(peer: Peer, sizes: Sizes) -> tuple[Line, ...]:
    return (Line(f"drain beside {sizes.load:,} for tomorrow", "ours", "peer", peer.title),)
