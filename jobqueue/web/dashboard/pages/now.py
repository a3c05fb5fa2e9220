"""The page that says first what is wrong."""

from __future__ import annotations

from jobqueue.views.overview import outlook_texts, overview_of
from jobqueue.web.dashboard.charts import bar_chart, by_minute
from jobqueue.web.dashboard.rows import DashboardPage, Shown
from jobqueue.web.operations import ApiCall

MOST_COUNTED = 10_000
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)


def now_page(call: ApiCall) -> Shown:
    """Return what is wrong, and the rest at one glance."""
    overview = overview_of(call.adapter, MOST_COUNTED)
    ended = {minute: stat.attempts for minute, stat in overview.minutes.items()}
    return {
        "now": overview.now,
        "overview": overview,
        "outlook_texts": outlook_texts(overview.queues, overview.now),
        "ended": bar_chart(by_minute(ended, overview.now, 60), *WIDE),
        "sparks": {e.record.key: bar_chart(e.hours, *SPARK) for e in overview.errors},
    }


PAGES = (DashboardPage("/", "Now", "now.html", now_page),)
