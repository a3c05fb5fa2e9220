"""The command and the call of the API that show the same as a page, to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from jobqueue.redaction import printable
from jobqueue.web.dashboard.renderer import Urls

TOKEN = "Authorization: Bearer $JOBQUEUE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True)
class Twin:
    """A command and a path in the API that show the same as a page.

    A word in braces is a value of the page's URL.

    Args:
        command: the words of the command, without its first.
        api: the path in the API; None if it has none.
        asked: the names of what the path is asked.
        retry: the words of the command that retries what the page shows, and the path that a
            program sends a POST to for that; None where nothing is retried.
    """

    command: tuple[str, ...]
    api: str | None = None
    asked: tuple[str, ...] = ()
    retry: tuple[tuple[str, ...], str] | None = None


TWINS = {
    "/": Twin(("status",), "/api/queues"),
    "/jobs": Twin(("list", "{q}"), "/api/jobs", ("q",)),
    "/jobs/{id:job_id}": Twin(
        ("show", "{id}"), "/api/job/{id}", retry=(("retry", "{id}"), "/api/job/{id}/retry")
    ),
    "/errors": Twin(("errors",), "/api/errors", ("state",)),
    "/errors/{key}": Twin(("errors", "show", "{key}"), "/api/errors/{key}"),
    "/queues": Twin(("status",), "/api/queues"),
    "/queues/{name}": Twin(("why", "{name}"), "/api/queues/{name}/why"),
    "/classes": Twin(("stats",), "/api/stats"),
    "/class": Twin(("stats", "--job", "{name}"), "/api/stats"),
    "/workers": Twin(("status",), "/api/workers"),
    "/workers/{id}": Twin(("stacks", "{id}"), "/api/workers/{id}/stacks"),
    "/schedules": Twin(("schedules",), "/api/schedules"),
    "/schedule": Twin(
        ("schedules", "show", "{name}", "--app", "{app}"), "/api/schedules/{name}", ("app",)
    ),
    "/flows": Twin(("flows",), "/api/flows"),
    "/flows/{id:job_id}": Twin(
        ("flows", "show", "{id}"),
        "/api/flows/{id}",
        retry=(("flows", "retry", "{id}"), "/api/flows/{id}/retry"),
    ),
    "/limits": Twin(("limits",), "/api/limits"),
    "/limit": Twin(("limits", "show", "{name}"), "/api/limits/{name}"),
    "/activity": Twin(("actions",), "/api/actions"),
    "/activity/{id:job_id}": Twin(("actions", "show", "{id}"), "/api/actions/{id}"),
    "/database": Twin(("doctor",)),
}
"""The twins of pages, by their paths."""


@dataclass(frozen=True, slots=True)
class Copies:
    """A command, and a call of the API, as somebody copies them.

    The call has no token, but the name of a variable for one; None if there is no call. `retry` has
    those that retry what the page shows.
    """

    command: str
    curl: str | None
    retry: Copies | None = None


def copies_of(path: str, request: Request, urls: Urls) -> Copies | None:
    """Return what shows the same as a page, or None if nothing does.

    Whatever somebody has named is quoted for a shell.
    """
    twin = TWINS.get(path)
    if twin is None:
        return None
    named = {name: str(value) for name, value in request.path_params.items()}
    values = {**request.query_params, **named}
    shown = None if twin.api is None else _curl(twin.api, twin.asked, values, request, urls)
    retry = None
    if twin.retry is not None:
        words, api = twin.retry
        call = _curl(api, (), values, request, urls).replace("curl ", "curl -X POST ", 1)
        retry = Copies(_command(words, values), call)
    return Copies(_command(twin.command, values), shown, retry)


def _command(words: tuple[str, ...], values: Mapping[str, str]) -> str:
    return " ".join(map(_quoted, ("jobqueue", *_filled(words, values))))


def _filled(words: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    """Return the words of a command, without those that have no value, and their options."""
    found: list[str] = []
    for word in words:
        text = _value(word, values)
        if text:
            found.append(text)
        elif found and found[-1].startswith("--"):
            found.pop()
    return found


def _value(word: str, values: Mapping[str, str]) -> str:
    return values.get(word[1:-1], "") if word.startswith("{") else word


def _quoted(word: str) -> str:
    return shlex.quote(printable(word))


def _curl(
    api: str, asked: tuple[str, ...], values: Mapping[str, str], request: Request, urls: Urls
) -> str:
    path = "/".join(_value(part, values) for part in api.split("/"))
    url = urls(path, **{name: values.get(name, "") for name in asked})
    where = f"{request.url.scheme}://{request.url.netloc}{url}"
    return f'curl -H "{TOKEN}" {_quoted(where)}'
