"""The moment that a page is about, and the link by which it means the same tomorrow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request

from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

CHANGED_BEFORE = timedelta(minutes=15)
LONGEST_AGO = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment that a page is about.

    Args:
        at: the moment.
        ago: how long ago that is; nothing for now.
    """

    at: datetime
    ago: timedelta

    @property
    def is_past(self) -> bool:
        """Whether somebody asked for a moment that is over."""
        return self.ago > timedelta(0)


def moment_of(call: ApiCall) -> Moment:
    """Return the moment that a page is asked for: `at=2026-12-01T10:00:00Z`, or now.

    Raises:
        Problem: that is no time.
    """
    now, text = call.adapter.now(), asked_of(call, "at")
    if not text:
        return Moment(now, timedelta(0))
    try:
        # A blank is what a + becomes in a URL.
        at = datetime.fromisoformat(text.replace(" ", "+"))
        if at.tzinfo is None:
            raise ValueError
        at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Problem(
            422, f"at={text[:100]!r} is no time with its zone; write it as 2026-12-01T10:00:00Z"
        ) from None
    if now - at > LONGEST_AGO:
        raise Problem(422, f"at={text[:100]!r} is too long ago: nothing is kept of that time")
    return Moment(min(at, now), max(now - at, timedelta(0)))


def written(moment: datetime) -> str:
    """Return a moment as a URL has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class IncidentLink:
    """A link that means the same tomorrow.

    Args:
        path: the path of its page.
        asked: what that page is asked.
        what: what it shows, as the page says it.
    """

    path: str
    asked: dict[str, str]
    what: str


def at_present(path: str, request: Request) -> IncidentLink:
    """Return the link to a page as it is whenever somebody looks."""
    asked = {k: v for k, v in request.query_params.items() if k not in {"at", "said"}}
    return IncidentLink(path, asked, "this page as it is then")


def of_this_page(path: str, call: ApiCall, at: datetime) -> IncidentLink:
    """Return the link to a page as it is at a moment."""
    asked = at_present(path, call.request).asked
    at = moment_of(call).at if asked_of(call, "at") else at
    return IncidentLink(path, {**asked, "at": written(at)}, "this page as it is at this moment")


def of_changed_jobs(at: datetime) -> IncidentLink:
    """Return the link to the jobs that changed before a moment, which is what is kept of it."""
    between = f"{written(at - CHANGED_BEFORE)}..{written(at)}"
    what = "the jobs that changed in the quarter of an hour before"
    return IncidentLink("/jobs", {"q": f"changed:{between}"}, what)
