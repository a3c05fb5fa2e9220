"""The chaos run on SQLite, small: there is no server that could go away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.databases import ChaosSqlite
from tests.chaos.run import ChaosRun, Plan


@pytest.mark.apart
@pytest.mark.timeout(300)
def test_on_sqlite_nothing_is_lost_and_every_duplicate_has_a_cause(
    tmp_path: Path, seed: str
) -> None:
    plan = Plan(
        jobs=400,
        longest_ms=40,
        lease_seconds=1.5,
        deployments=1,
        least_seconds=10,
        most_seconds=14,
    )
    database = ChaosSqlite(tmp_path / "jobs.sqlite3")
    database.prepare()
    verdict = ChaosRun(tmp_path / "run", seed, database, plan).result().verdict
    assert verdict.is_clean, verdict.findings()
    assert verdict.acknowledged >= 400
    assert "kill" in verdict.faults
