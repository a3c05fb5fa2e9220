"""The page of the database: what doctor finds in it, on every adapter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import Ailment, Health, TableSize
from tests.web.conftest import client_of
from tests.web.test_dashboard import HOSTILE, OWN, plain


def page_of(adapter: Adapter) -> str:
    with client_of(JobQueue(adapter)) as client:
        answer = client.get("/database", headers=OWN)
        assert answer.status_code == 200, answer.text
        return answer.text


def test_a_database_that_is_well(adapter: Adapter) -> None:
    text = plain(page_of(adapter))
    assert "The database is well" in text
    assert adapter.schema_status().server in text
    health = adapter.health()
    for table in health.tables:
        assert table.name in text
    if health.tables:
        assert "background_jobs" in {table.name for table in health.tables}
        assert "Oldest snapshot" in text
        assert "alembic" not in text
    elif health.facts:
        assert "of which 0 B are free" in text


def test_what_hurts_and_what_mends_it(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    facts = {
        "oldest_snapshot": {"held_by": f"session 7 {HOSTILE}", "seconds": 7200.0, "pid": 7},
        "live_rows": 1200,
        "dead_rows": 31_000,
        "bytes": 48_000_000,
        "last_autovacuum": None,
    }
    ailment = Ailment("dead_rows", f"dead {HOSTILE}", "VACUUM background_jobs;", now)
    tables = [TableSize("background_jobs", 1200, 31_000, 48_000_000, now - timedelta(hours=3))]
    monkeypatch.setattr(adapter, "health", lambda: Health(facts, [ailment], tables))
    page = page_of(adapter)
    text = plain(page)
    assert "1 thing hurts the database" in text
    assert "VACUUM background_jobs;" in text
    assert "Oldest snapshot 2 h, session 7" in text
    assert "background_jobs 48 MB 1,200 31,000 3 h ago" in text
    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_the_page_asks_the_database_once_in_a_while(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    health, asked = adapter.health, []

    def counted() -> Health:
        asked.append(1)
        return health()

    monkeypatch.setattr(adapter, "health", counted)
    moment = [0.0]
    monkeypatch.setattr("jobqueue.views.database.time.monotonic", lambda: moment[0])
    for _ in range(3):
        page_of(adapter)
    assert len(asked) == 1
    moment[0] = 11.0
    page_of(adapter)
    assert len(asked) == 2


def test_what_is_known_is_shown_when_the_examination_takes_too_long(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def health() -> Health:
        raise DatabaseUnavailable("canceling statement due to statement timeout")

    monkeypatch.setattr(adapter, "health", health)
    text = plain(page_of(adapter))
    assert "The database could not be examined" in text
    assert "canceling statement due to statement timeout" in text
    assert adapter.schema_status().server in text
