"""The static files of the pages, which have a hash in their names and may be cached for a year."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from jobqueue.web.problems import Problem

FILES = {
    "app.css": "style.css",
    "app.js": "app.js",
    "htmx.js": "vendor/htmx.min.js",
    "idiomorph.js": "vendor/idiomorph-ext.min.js",
    "icon.svg": "icon.svg",
}
"""The files by the names that they have on pages."""
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
A_YEAR = "public, max-age=31536000, immutable"
HASH_DIGITS = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages refer to."""

    content: bytes
    media_type: str


@functools.cache
def hashed_name(name: str) -> str:
    """Return the name of a file with the hash of its content: `app.5f0c7b1a9e33.css`."""
    digest = hashlib.sha256(_content(name)).hexdigest()[:HASH_DIGITS]
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{digest}.{ending}"


async def answer_static(request: Request) -> Response:
    """Answer a static file. Nobody has to be known for that: the login needs them too.

    Raises:
        Problem: there is no such file, or another release had it.
    """
    found = _by_hashed_name().get(request.path_params["name"])
    if found is None:
        raise Problem(404, "there is no such file in this release; load the page again")
    headers = {"Cache-Control": A_YEAR}
    return Response(found.content, media_type=found.media_type, headers=headers)


@functools.cache
def _by_hashed_name() -> dict[str, StaticFile]:
    return {
        hashed_name(name): StaticFile(_content(name), MEDIA_TYPES[name.rpartition(".")[2]])
        for name in FILES
    }


def _content(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", FILES[name]).read_bytes()
