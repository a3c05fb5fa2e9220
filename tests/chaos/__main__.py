"""The chaos run from the command line: `make chaos`, `make chaos ARGS="--seed 7"`."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import report, sabotage
from tests.chaos.databases import DURABLE, ChaosDatabase, ChaosPostgres, ChaosSqlite
from tests.chaos.report import Leg
from tests.chaos.run import ChaosRun, Plan, Result
from tests.outages.server import Server
from tests.pgbouncer import PgBouncer

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
LEGS = ("postgresql", "pgbouncer", "sqlite")
NAMES = {"postgresql": "PostgreSQL", "pgbouncer": "through PgBouncer", "sqlite": "SQLite"}
SHARES = {"postgresql": 1.0, "pgbouncer": 0.25, "sqlite": 0.25}
CALM_SHARE = 0.2
SEED_BYTES = 4


def main() -> int:
    """Run what the command line asks for; 1 when anything is wrong."""
    asked = _parsed()
    runs: dict[str, list[Leg]] = {}
    for seed in asked.seed.split(","):
        print(f"seed {seed}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="jobqueue-chaos-"))
        runs[seed] = legs = _legs(folder, seed, asked)
        print(report.table(legs), flush=True)
        wrong = "\n".join(filter(None, map(report.findings, legs)))
        if wrong:
            print(f"\n{wrong}\n\nEverything that was written down is in {folder}")
            return 1
        shutil.rmtree(folder, ignore_errors=True)
    if asked.only == ",".join(LEGS) and not asked.sabotage:
        report.write_into(PAGE, report.page(runs, datetime.now(UTC).date()))
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument(
        "--seed", default=secrets.token_hex(SEED_BYTES), help="one or several, with commas between"
    )
    parser.add_argument("--jobs", type=int, default=20_000, help="how many, on PostgreSQL")
    parser.add_argument("--only", default=",".join(LEGS), help="some of " + ", ".join(LEGS))
    parser.add_argument(
        "--break",
        dest="sabotage",
        choices=sabotage.WAYS,
        help="break the product, to see that the run notices",
    )
    return parser.parse_args()


def _legs(folder: Path, seed: str, asked: argparse.Namespace) -> list[Leg]:
    legs = []
    for name in asked.only.split(","):
        began = time.monotonic()
        legs.append(_leg(name, folder, seed, asked))
        print(f"{NAMES[name]}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return legs


def _leg(name: str, folder: Path, seed: str, asked: argparse.Namespace) -> Leg:
    plan = Plan(int(asked.jobs * SHARES[name]))
    calm = replace(plan, jobs=int(asked.jobs * CALM_SHARE * SHARES[name]))
    with ExitStack() as stack:
        server = None
        if name != "sqlite":
            server = Server(DURABLE)
            stack.callback(server.remove)
        bouncer = (
            stack.enter_context(PgBouncer(server.url)) if server and name == "pgbouncer" else None
        )
        results: list[Result] = []
        for kind, its_plan in (("calm", calm), ("chaos", plan)):
            its_folder = folder / name / kind
            run = ChaosRun(
                its_folder,
                seed,
                _database(server, its_folder, kind),
                its_plan,
                bouncer_port=None if bouncer is None else bouncer.port,
                faulty=kind == "chaos",
                sabotage=asked.sabotage,
            )
            results.append(run.result())
    return Leg(NAMES[name], results[1], results[0])


def _database(server: Server | None, folder: Path, name: str) -> ChaosDatabase:
    folder.mkdir(parents=True)
    database: ChaosDatabase
    database = ChaosPostgres(server, name) if server else ChaosSqlite(folder / "jobs.sqlite3")
    database.prepare()
    return database


if __name__ == "__main__":
    sys.exit(main())
