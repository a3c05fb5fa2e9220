"""The guard before every route. It refuses requests that pages of other sites make.

Any page can make a browser call a server on the browser's own machine. So the guard checks the
host name of the request, since the name of the page's site may have been made to lead here, and it
checks the site that the page comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobqueue.web.problems import Problem
from jobqueue.web.streams import Streams

OWN_SITES = ("same-origin", "none")
DEFAULT_PORTS = (":80", ":443")
GOING_NOWHERE = 1003
HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class RequestGuard:
    """A guard that refuses requests of other sites, and turns every error into an answer.

    Args:
        app: the application behind it.
        allowed_hosts: the host names that requests may have; None for any.
        answer_error: returns the answer to an error, given the method and the path.
        streams: the open streams of events, which end with the server.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str] | None,
        answer_error: Callable[[Exception, str, str], Response],
        streams: Streams,
    ) -> None:
        self.inner = app
        self._streams = streams
        self._allowed = None if allowed_hosts is None else {name.lower() for name in allowed_hosts}
        self._answer_error = answer_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or another message of the server."""
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "websocket":
                await _refuse_websocket(scope, receive, send)
            case _:
                await self.inner(scope, self._until_shutdown(receive), send)

    def end_streams(self) -> None:
        """End the open streams: `jobqueue.web.Application.end_streams`."""
        self._streams.end()

    def _until_shutdown(self, receive: Receive) -> Receive:
        """End the streams when the lifespan ends, as a server may do while they are open."""

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.end_streams()
            return message

        return watched

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        sender, method = Sender(send), scope["method"]
        # Starlette's routes raise errors if there is an application, and answer them otherwise.
        scope.setdefault("app", self)
        try:
            _refuse_encoded_slash(scope)
            self._refuse_stranger(Headers(scope=scope), method)
            await self.inner(scope, receive, sender)
        except Exception as error:
            if sender.has_begun:
                raise
            await self._answer_error(error, method, scope["path"])(scope, receive, sender)

    def _refuse_stranger(self, headers: Headers, method: str) -> None:
        if headers.get("upgrade", "").lower() == "websocket":
            raise no_websockets()
        host = headers.get("host", "")
        if self._allowed is not None and name_of(host) not in self._allowed:
            raise Problem(
                421, f"this is not {host or 'a server without a name'}; see --allowed-host"
            )
        site = headers.get("sec-fetch-site")
        if site is None:
            origin = headers.get("origin")
            if origin is not None and not _is_origin_of(origin, host):
                raise Problem(403, f"requests from pages of {origin} are refused")
        elif site not in OWN_SITES and not _is_link(headers, method):
            raise Problem(403, f"requests from pages of other sites ({site}) are refused")


def _refuse_encoded_slash(scope: Scope) -> None:
    """Refuse `/api%2fjobs`, which a rule of a proxy for `/api/` does not cover."""
    if b"%2f" in (scope.get("raw_path") or b"").lower():
        raise Problem(404, "%2f is no / in a path here")


class Sender:
    """A sender of answers, which adds the headers that all of them have."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a websocket, with the reason if the server can pass that on, else with a bare 403."""
    await receive()  # the handshake; it has to be received before it is answered
    if "websocket.http.response" in scope.get("extensions", {}):
        await no_websockets().response()(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": GOING_NOWHERE})


def no_websockets() -> Problem:
    """Return the answer to a handshake, which some servers pass on as a request."""
    return Problem(403, "there are no websockets here; a job is followed by its events")


def name_of(host: str) -> str:
    """Return the name in a `Host` header, without the port."""
    if "@" in host:
        return ""  # no browser sends that
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_origin_of(origin: str, host: str) -> bool:
    there = origin.partition("://")[2]
    return bool(there) and _without_default_port(there) == _without_default_port(host)


def _without_default_port(host: str) -> str:
    for port in DEFAULT_PORTS:
        host = host.removesuffix(port)
    return host.lower()


def _is_link(headers: Headers, method: str) -> bool:
    """Return whether somebody followed a link: no page can read the answer then."""
    return method in {"GET", "HEAD"} and headers.get("sec-fetch-mode") == "navigate"
