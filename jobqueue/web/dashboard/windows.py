"""The windows of time that pages have statistics of."""

from __future__ import annotations

from datetime import timedelta

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
WINDOWS = {"hour": HOUR, "24 hours": DAY, "7 days": WEEK}
"""By the words that a page says after "the last"."""
