"""The renderer of pages: the templates, and how numbers, times and users' texts are written."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from jobqueue.durations import duration, from_now
from jobqueue.json_text import writable
from jobqueue.records import Quantile
from jobqueue.redaction import printable
from jobqueue.web.dashboard.static_files import hashed_name

LONGEST_TEXT = 20_000
NOTHING = "\N{EN DASH}"
SAFE_IN_PATHS = "/:@!$&'()*+,;=~-._"
AT = Markup('<time class="at" datetime="{}" title="{}">{}</time>')
AGO = Markup('<time class="ago" datetime="{}" title="{}">{}</time>')
NO_TIME = Markup("\N{EN DASH}")
USER = Markup("<bdi>{}</bdi>")
UNITS = ("B", "kB", "MB", "GB", "TB")


class Urls:
    """The URLs of a dashboard that is mounted somewhere.

    Args:
        root: the path that it is mounted at; empty for the root of its server.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def __call__(self, path: str, **query: Any) -> str:
        """Return the URL of a page, or of a form's target."""
        asked = {name: value for name, value in query.items() if value not in (None, "")}
        url = quote(self.root + path, safe=SAFE_IN_PATHS)
        return f"{url}?{urlencode(asked)}" if asked else url

    def of(self, *parts: object, **query: Any) -> str:
        """Return the URL of parts of a path, of which each may have any characters in it."""
        return self(self._joined(parts), **query)

    def static(self, name: str) -> str:
        """Return the URL of a static file."""
        return self(f"/static/{hashed_name(name)}")

    @staticmethod
    def _joined(parts: tuple[object, ...]) -> str:
        return "".join(f"/{part}" for part in parts)


@functools.cache
def environment() -> Environment:
    """Return the environment of the templates, which escapes everything."""
    made = Environment(
        loader=PackageLoader("jobqueue.web.dashboard"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        in_zone=in_zone,
        user=user_text,
        whole=whole,
        took=took,
        at=at,
        ago=ago,
        rate=rate,
        size=size,
        json=json_text,
    )
    return made


def render(template: str, context: Mapping[str, Any], *, block: str | None = None) -> bytes:
    """Return a page, or one block of it, in UTF-8; what UTF-8 cannot express is spelled out."""
    found = environment().get_template(template)
    if block is None:
        text = found.render(context)
    else:
        text = "".join(found.blocks[block](found.new_context(dict(context))))
    return text.encode("utf-8", "backslashreplace")


def user_text(value: object) -> Markup:
    """Return a text of a user's data: control characters are spelled out, its direction is its own.

    A text that is very long is cut.
    """
    text = printable(str(value))
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
    return USER.format(text)


def json_text(value: Any) -> str:
    """Return a JSON value for people to read."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        text = json.dumps(writable(value), indent=2, ensure_ascii=False)
    text = printable(text)
    if len(text) > LONGEST_TEXT:
        return f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
    return text


def whole(number: int, *, more: bool = False) -> str:
    """Return a number with its thousands apart: `12,345`, or `10,000+` if there are more."""
    return f"{number:,}{'+' if more else ''}"


def in_zone(moment: datetime, zone: str) -> str:
    """Return a time by the clocks of a zone; by UTC where there is no such zone here."""
    try:
        shown = moment.astimezone(ZoneInfo(zone))
    except (ValueError, OSError, KeyError):
        shown = moment.astimezone(UTC)
    return f"{shown:%a %d %b %Y %H:%M:%S}"


def rate(number: float | None) -> str:
    """Return how many a minute."""
    if number is None:
        return NOTHING
    return f"{number:,.1f}" if number < 9.95 else f"{number:,.0f}"


def took(given: timedelta | Quantile | None) -> str:
    """Return a duration: `12 ms`, `3.4 s`, `5 min`; `> 1000 s` where it is only known to exceed."""
    if given is None:
        return NOTHING
    if isinstance(given, Quantile):
        return ("> " if given.more else "") + took(given.duration)
    seconds = given.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def at(moment: datetime | None) -> Markup:
    """Return a time; with JavaScript it becomes local."""
    if moment is None:
        return NO_TIME
    shown = moment.astimezone(UTC)
    return AT.format(_iso(shown), _utc(shown), _utc(shown))


def ago(moment: datetime | None, now: datetime) -> Markup:
    """Return how long ago a time was, or how far ahead it is; the time itself on hover."""
    if moment is None:
        return NO_TIME
    shown = moment.astimezone(UTC)
    return AGO.format(_iso(shown), _utc(shown), from_now(moment, now))


def size(number: int | None) -> str:
    """Return a number of bytes: `48 MB`."""
    if number is None:
        return NOTHING
    amount, unit = float(number), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {UNITS[unit]}"


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
