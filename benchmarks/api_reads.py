"""Times every read of the API, and every page, on a database that `history_rows` has filled.

python -m benchmarks.api_reads fill postgresql://localhost/scratch --jobs 10000000
python -m benchmarks.api_reads time postgresql://localhost/scratch
"""

from __future__ import annotations

import argparse
import statistics
import time
from urllib.parse import unquote_plus, urlencode

from starlette.testclient import TestClient

import jobqueue.web
from benchmarks.history_rows import Sizes, fill
from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.web import Role

TIMES = 5
DAYS_KEPT = 90
QUERIES = (
    "",
    "state:failed",
    "state:ready queue:queue3",
    "job:shop.Class7",
    "job:shop.Class7 state:failed queue:queue3",
    "worker:worker3",
    "created:2h",
    "started:2h",
    "finished:2h",
    "attempts:3",
    "error_key:key7",
    "meta.tenant:42",
    "job:shop.Class7 args.user_id:42",
    '"order 4711"',
)
READS = (
    "/api/job/1000",
    "/api/job/1",
    *("/api/errors" + query for query in ("", "?state=open", "?state=resolved")),
    "/api/errors/key7",
    *(f"/api/stats?minutes={minutes}" for minutes in (60, 1_440, 10_080, 129_600)),
    "/api/queues",
    *(f"/api/queues/queue3/history?minutes={minutes}" for minutes in (60, 1_440, 10_080)),
    "/api/workers",
    "/api/schedules",
    "/api/actions",
)


PAGES = (
    "/",
    "/jobs",
    *(f"/jobs?{urlencode({'q': query})}" for query in QUERIES if query),
    "/jobs/1000",
    "/jobs/999999999",
    "/errors?state=all",
    "/errors/key7",
    "/queues",
    "/queues/queue3",
    "/queues/queue3?period=7d",
    "/classes?window=7+days",
    "/class?name=shop.Class7",
    "/workers",
    "/schedules",
    "/database",
    "/activity",
    "/enqueue",
    "/jobs/change?do=retry&of=all&q=state:failed",
)
"""The pages of the dashboard. What is at the ends of lists costs as much as what begins them."""


class OfTheFilledJobs(Job):
    """The class whose arguments are searched."""

    name = "shop.Class7"

    def perform(self, user_id: int) -> None:
        """Do nothing: no such job is performed."""


def main() -> None:
    """Fill a database, or print the median of each read in milliseconds, the slowest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fill", "time"))
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=Sizes().jobs)
    given = parser.parse_args()
    adapter = connect(given.url)
    if not isinstance(adapter, SqlAdapter):
        raise SystemExit("memory has no tables; name a SQLite or PostgreSQL database")
    adapter.migrate()
    if given.what == "fill":
        sizes = Sizes(jobs=given.jobs)
        adapter.database.write(lambda connection: fill(connection, sizes), answer_seconds=None)
        for _ in range(DAYS_KEPT):  # as workers do by and by
            adapter.roll_up_stats(1)
    else:
        _time(adapter)
    adapter.close()


def _time(adapter: SqlAdapter) -> None:
    application = jobqueue.web.app(lambda _: ("ann", Role.ADMIN), queue=JobQueue(adapter))
    found: list[tuple[float, int, str]] = []
    with TestClient(application) as client:
        searches = (f"/api/jobs?{urlencode({'q': query})}" for query in QUERIES)
        found += [_measured(client, read) for read in (*searches, *READS)]
        client.headers["accept"] = "text/html"
        found += [_measured(client, f"{page}") for page in PAGES]
    for milliseconds, status, name in sorted(found, reverse=True):
        print(f"{milliseconds:9.1f} ms  {status}  {name}")


def _measured(client: TestClient, read: str) -> tuple[float, int, str]:
    times, status = [], 0
    for _ in range(TIMES):
        begun = time.perf_counter()
        status = client.get(read).status_code
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times), status, unquote_plus(read)


if __name__ == "__main__":
    main()
