"""The login: a form that takes a token, and the cookie that stands for it."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "jobqueue_token"
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_INSIDE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def with_login(request: Request) -> Request:
    """Return a request in which the cookie of the login stands for the header `Authorization`.

    So every hook that accepts tokens accepts the login. A header that was sent holds.
    """
    token = request.cookies.get(COOKIE, "")
    if "authorization" in request.headers or not _is_token(token):
        return request
    return with_token(request, token)


def with_token(request: Request, token: str) -> Request:
    """Return a request that has a token in its header `Authorization`."""
    headers = [(name, value) for name, value in request.headers.raw if name != b"authorization"]
    headers.append((b"authorization", f"Bearer {token}".encode("ascii")))
    return Request({**request.scope, "headers": headers}, request.receive)


def _is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None and not set(text) & set(';,"\\')


def token_in(fields: dict[str, str]) -> str | None:
    """Return the token in the fields of the form, if there is something that may be one."""
    token = fields.get("token", "")
    return token if _is_token(token) else None


def remember(response: Response, request: Request, token: str, root: str) -> None:
    """Have the browser send a token along with each request to this dashboard, until it ends."""
    response.set_cookie(
        COOKIE,
        token,
        path=root or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def forget(response: Response, request: Request, root: str) -> None:
    """Have the browser forget the token."""
    response.delete_cookie(
        COOKIE,
        path=root or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def next_path(text: str) -> str:
    """Return the path to go to after the login: one of this dashboard, whatever somebody wrote."""
    return text if _INSIDE.fullmatch(text) else "/"
