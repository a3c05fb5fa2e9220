"""The chaos run, small: as much goes wrong as fits into half a minute. See `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.databases import DURABLE, ChaosPostgres
from tests.chaos.run import ChaosRun, Plan
from tests.outages.server import Server


@pytest.mark.apart
@pytest.mark.timeout(300)
def test_on_postgresql_nothing_is_lost_and_every_duplicate_has_a_cause(
    tmp_path: Path, seed: str
) -> None:
    plan = Plan(
        jobs=800,
        longest_ms=40,
        lease_seconds=1.5,
        restarts=2,
        deployments=1,
        least_seconds=26,
        most_seconds=32,
    )
    server = Server(DURABLE)
    try:
        database = ChaosPostgres(server, "chaos")
        database.prepare()
        verdict = ChaosRun(tmp_path, seed, database, plan).result().verdict
    finally:
        server.remove()
    assert verdict.is_clean, verdict.findings()
    assert verdict.acknowledged >= 800
    assert {"kill", "freeze", "cut after commit"} <= verdict.faults.keys()
    assert verdict.duplicates, "a run in which nothing was performed twice shows nothing"
