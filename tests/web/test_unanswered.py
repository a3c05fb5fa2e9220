"""Pages of which the database answers only parts, and what their feet say of the reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.clock import ManualClock
from jobqueue.records import JobFilter, NewJob
from jobqueue.web.dashboard import dashboard
from jobqueue.web.dashboard.page_reads import SIDE_READS
from jobqueue.web.dashboard.table import PAGES
from tests.web.conftest import client_of
from tests.web.shop import Shop, shop
from tests.web.test_dashboard import OWN, path_of, plain

SIDE_TABLES = {
    "statistics": "background_stats, background_hours, background_days, background_samples",
    "errors": "background_errors, background_error_counts, background_attempts",
    "what people do": "background_actions, background_schedules, background_stacks",
    "workers": "background_workers, background_ended_workers, background_queues",
}
SHORT_SECONDS = 1.0
Lock = Callable[[str], AbstractContextManager[None]]
FOOT = re.compile(r"Looked at ([\d,]+) rows? in [\d,]+ ms")


@pytest.fixture
def shown(postgres_url: str) -> Iterator[Shop]:
    clock = ManualClock(datetime.now(UTC))
    adapter = PostgresAdapter(postgres_url, clock=clock)
    yield shop(clock, adapter=adapter)
    adapter.close()


@pytest.fixture
def client(shown: Shop) -> Iterator[TestClient]:
    with client_of(JobQueue(shown.adapter)) as made:
        made.headers.update(OWN)
        yield made


@pytest.fixture
def lock(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Lock:
    """Keep tables locked, with pages that do not wait for long."""

    @contextmanager
    def locked(tables: str) -> Iterator[None]:
        with psycopg.connect(postgres_url) as connection, monkeypatch.context() as patched:
            patched.setattr(dashboard, "PAGE_SECONDS", SHORT_SECONDS)
            connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE".encode())
            yield
            connection.rollback()

    return locked


@pytest.mark.parametrize("kind", SIDE_TABLES)
def test_a_page_shows_what_was_answered(
    shown: Shop, client: TestClient, lock: Lock, kind: str
) -> None:
    paths = [path_of(page, shown) for page in PAGES]
    whole = {path: client.get(path) for path in paths}
    assert [path for path in paths if 'id="unanswered"' in whole[path].text] == []
    degraded = 0
    with lock(SIDE_TABLES[kind]):
        for path, before in whole.items():
            page = client.get(path)
            if page.status_code == 503:
                assert "the database does not answer now" in plain(page.text), path
                continue
            assert page.status_code == before.status_code, path
            if 'id="unanswered"' in page.text:
                degraded += 1
                assert "All is well" not in page.text, path
    assert degraded


def test_it_says_what_is_missing_and_shows_the_rest(
    shown: Shop, client: TestClient, lock: Lock
) -> None:
    with lock("background_samples"):
        page = plain(client.get("/queues/payments").text)
        fragment = client.get("/queues/payments", headers={"hx-request": "true"}).text
    assert "depths of queues over time" in page[: page.index("Who occupies the slots")]
    assert "Who occupies the slots" in page
    assert 'id="unanswered"' in fragment


def test_what_a_page_is_about_has_to_be_answered(
    shown: Shop, client: TestClient, lock: Lock
) -> None:
    path = "/schedule?app=shop&name=daily"
    with lock("background_schedules"):
        page = client.get(path)
    assert page.status_code == 503
    assert "no schedule" not in page.text
    assert client.get(path).status_code == 200


def test_side_reads_are_methods_of_adapters() -> None:
    assert [name for name in SIDE_READS if not hasattr(Adapter, name)] == []


def test_the_foot_says_how_many_rows_were_looked_at(adapter: Adapter) -> None:
    adapter.enqueue([NewJob("shop.Charge", "{}", "payments", 50, 5) for _ in range(300)])
    with client_of(JobQueue(adapter)) as client:
        pages = ("/", "/queues", "/queues/payments", "/jobs", "/jobs?q=queue:payments", "/workers")
        rows = {path: rows_of(client, path) for path in pages}
    assert rows["/queues"] >= 300
    assert rows["/queues/payments"] >= 300
    assert rows["/"] >= 300
    assert 50 <= rows["/jobs"] < 200
    assert rows["/workers"] < 20
    assert adapter.count_jobs(JobFilter()) == 300


def rows_of(client: TestClient, path: str) -> int:
    found = FOOT.search(plain(client.get(path, headers=OWN).text))
    assert found is not None, path
    return int(found[1].replace(",", ""))
