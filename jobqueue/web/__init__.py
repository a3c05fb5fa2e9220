"""The dashboard and the REST API: see, enqueue and change jobs over HTTP.

They need the extra `web`:

    pip install jobqueue[web]

`jobqueue web` serves it; `app` is an ASGI application to mount in your own:

    main.mount("/jobs", jobqueue.web.app(auth=who_asks))
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

from jobqueue.errors import ConfigurationError
from jobqueue.web.access import Access, Auth, Role, Scope, TokenHook

if TYPE_CHECKING:
    from jobqueue.app import JobQueue

__all__ = ["Access", "Application", "Auth", "Role", "Scope", "app", "bearer_tokens"]


class Application(Protocol):
    """The ASGI application that `app` makes, to be served or mounted anywhere."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; a server calls this, or the application that it is mounted in."""

    def end_streams(self) -> None:
        """End the streams of events that are open, and those that begin within half a minute.

        Streams end by themselves when the process gets SIGTERM or SIGINT, when uvicorn ends for
        another reason, and at the end of the lifespan if the server sends one to this
        application. Call this when the server ends in any other way; any thread may call it.
        """


def app(
    auth: Auth | None = None,
    *,
    queue: JobQueue | None = None,
    allowed_hosts: Collection[str] | None = None,
    login_url: str | None = None,
) -> Application:
    """Return the dashboard and the API as an ASGI application, to be served or mounted anywhere.

    Args:
        auth: a hook that is called with each request (a Starlette `Request`). It returns who sent
            it and what they may do: `("ann", "operate")`, where the role is none, read, operate or
            admin; or an `Access`; or None for somebody unknown. It may be `async def`. Without a
            hook everything is denied. `bearer_tokens()` makes one for the tokens of
            `jobqueue token`; who gives such a token to the dashboard is logged in by a cookie.
        queue: the queue whose jobs are served; by default that of the default configuration.
        allowed_hosts: the names that the `Host` header may have, without a port; None for any.
        login_url: where the dashboard sends somebody unknown, with the address to come back to as
            `next`; without it, it shows a form that takes a token.

    Raises:
        ConfigurationError: the extra `web` is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the dashboard and the API need the extra `web`, which is not installed: "
            "pip install 'jobqueue[web]'"
        ) from None
    from jobqueue.web.application import build

    return build(auth, queue, allowed_hosts, login_url)


def bearer_tokens(queue: JobQueue | None = None) -> TokenHook:
    """Return a hook for `app` that accepts the tokens of `jobqueue token create`.

    A token is sent as `Authorization: Bearer …`. You can await the hook in your own:
    `await tokens(request)` is None for somebody without a token.

    Args:
        queue: the queue in whose database the tokens are; the default one if none is given.
    """
    from jobqueue.web.tokens import TokenAuth

    return TokenAuth(queue)
