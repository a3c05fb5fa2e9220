"""The links at the foot of pages, which mean the same tomorrow."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import Histogram, NewErrors, NewJob, Stat
from jobqueue.web.dashboard.rows import LinkFor
from jobqueue.web.dashboard.table import PAGES
from tests.web.conftest import client_of
from tests.web.shop import CHARGE, Shop, shop
from tests.web.test_dashboard import OWN, path_of, plain

SECOND = timedelta(seconds=1)
LINK = re.compile(r'<a href="([^"]*)">A link that means the same tomorrow</a>')
FORMER = [
    ("/queues/payments?period=3h", "jobs, 7 at most"),
    (f"/class?name={CHARGE}", "hour 40 0"),
    ("/classes?window=24+hours", f"{CHARGE} 40"),
    ("/errors?state=all", "bank.Declined"),
    ("/errors/{key}", "6 in all"),
]
"""Pages, and something that is said there of the time before."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.now(UTC).replace(hour=12, minute=30, second=0, microsecond=0))


@pytest.fixture
def client(clocked_adapter: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(clocked_adapter)) as made:
        made.headers.update(OWN)
        yield made


def link_in(page: str) -> str:
    found = LINK.search(page)
    assert found is not None
    return html.unescape(found[1])


def happen(adapter: Adapter, clock: ManualClock, number: int, kind: str) -> str:
    """Have something happen: jobs wait, attempts end, errors are counted."""
    adapter.enqueue([NewJob(CHARGE, "{}", "payments", 50, 5) for _ in range(number)])
    for _ in range(2):
        minute = adapter.begin_sample()
        assert minute is not None
        adapter.store_sample(minute, adapter.queue_depths())
        clock.advance(60)
    ran = Histogram.of([SECOND] * 40)
    adapter.add_stats(
        "w", [Stat(CHARGE, "payments", 40, 0, 0, 0, 40 * SECOND, SECOND, SECOND, ran, ran)]
    )
    group = group_of(CHARGE, kind, "jobs.py:perform", kind)
    adapter.add_errors([NewErrors(group, number - 1, "the error", 1)], "1.0")
    return group.key


@pytest.mark.parametrize(("path", "said"), FORMER)
def test_a_page_as_it_was(
    client: TestClient, clocked_adapter: Adapter, clock: ManualClock, path: str, said: str
) -> None:
    key = happen(clocked_adapter, clock, 7, "bank.Declined")
    path = path.format(key=key)
    before = client.get(path)
    assert said in plain(before.text)
    assert "Charts, errors and statistics are those of" not in plain(before.text)
    # The page goes by the machine's clock there, and this test has a clock of its own.
    at = clock.now().strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
    link = re.sub(r"at=[^&]*", f"at={at}", link_in(before.text))
    clock.advance(timedelta(hours=2).total_seconds())
    happen(clocked_adapter, clock, 90, "bank.Closed")
    happen(clocked_adapter, clock, 90, "bank.Declined")
    now, then = client.get(path), client.get(link)
    assert then.status_code == 200
    assert "Charts, errors and statistics are those of" in plain(then.text)
    assert said in plain(then.text)
    assert "bank.Closed" not in then.text
    assert said not in plain(now.text) or path.startswith("/errors?")
    assert link_in(then.text) == link
    assert client.get(html.unescape(re.search(r'href="([^"]*)">Those of now', then.text)[1])).text  # type: ignore[index]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_every_page_has_one(page: object) -> None:
    shown: Shop = shop(ManualClock(datetime.now(UTC)))
    with client_of(JobQueue(shown.adapter)) as client:
        path = path_of(page, shown)  # type: ignore[arg-type]
        answer = client.get(path, headers=OWN)
        if page.tomorrow is LinkFor.ITSELF:  # type: ignore[attr-defined]
            assert "The address of this page means the same tomorrow" in answer.text
            return
        if "The same elsewhere" not in answer.text:
            return
        link = link_in(answer.text)
        again = client.get(link, headers=OWN)
    assert again.status_code == 200, link
    assert re.search(r"\d{4}-\d\d-\d\dT", html.unescape(link).replace("%3A", ":"))


@pytest.mark.parametrize("at", ["yesterday", "2026-12-01T10:00:00", "9" * 300, "\u0664"])
def test_a_time_that_is_none(client: TestClient, at: str) -> None:
    answer = client.get("/classes", params={"at": at})
    assert answer.status_code == 422
    assert "2026-12-01T10:00:00Z" in answer.text


@pytest.mark.parametrize(
    "at",
    [
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2025-12-01T00Z"),
        *("2026-12-01T10:00:00+99:99", "2026-12-01T10:00:00+05:30", "1e999", "\0", "x" * 5000),
    ],
)
def test_no_page_stumbles_over_any_time(at: str) -> None:
    shown: Shop = shop(ManualClock(datetime.now(UTC)))
    with client_of(JobQueue(shown.adapter)) as client:
        for page in PAGES:
            answer = client.get(path_of(page, shown), params={"at": at}, headers=OWN)
            assert answer.status_code in {200, 404, 422}, page.path


def test_a_time_to_come_is_now(client: TestClient) -> None:
    answer = client.get("/classes", params={"at": "2999-01-01T00:00:00+02:00"})
    assert answer.status_code == 200
    assert "Charts, errors and statistics are those of" not in plain(answer.text)
