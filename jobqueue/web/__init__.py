"""The REST API: read, enqueue and steer jobs over HTTP. It needs the extra `web`.

    pip install jobqueue[web]

`jobqueue web` serves it by itself; `app` is an ASGI application to mount in one's own:

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
    """What `app` makes: an ASGI application, to be served or mounted anywhere."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """What a server calls, or the application that it is mounted in."""

    def end_streams(self) -> None:
        """End the streams of events that are open, and those that begin within half a minute.

        Streams end by themselves when the process gets SIGTERM or SIGINT, when uvicorn ends for
        another reason, and at the end of the lifespan where the server sends one to this
        application. For any other way of ending there is this; it may be called on any thread.
        """


def app(
    auth: Auth | None = None,
    *,
    queue: JobQueue | None = None,
    allowed_hosts: Collection[str] | None = None,
) -> Application:
    """The API as an ASGI application, to be served or mounted anywhere.

    Args:
        auth: is called with each request (a Starlette `Request`), and says who it is from and what
            they may do: `("ann", "operate")`, the role being one of none, read, operate and admin,
            or an `Access`. None stands for somebody unknown. It may be `async def`. Without a hook
            everything is denied. `bearer_tokens()` makes one for the tokens of `jobqueue token`.
        queue: whose jobs are served; those of the default configuration when none is given.
        allowed_hosts: the names by which it may be called, in the `Host` header, without a port;
            None for any.

    Raises:
        ConfigurationError: the extra `web` is not installed.
    """
    try:
        import starlette  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "the API needs the extra `web`, which is not installed: pip install 'jobqueue[web]'"
        ) from None
    from jobqueue.web.application import build

    return build(auth, queue, allowed_hosts)


def bearer_tokens(queue: JobQueue | None = None) -> TokenHook:
    """A hook for `app` that lets in those with a token that `jobqueue token create` made.

    It is sent as `Authorization: Bearer …`. The hook can be awaited within a hook of one's own:
    `await tokens(request)` is None for somebody without a token.

    Args:
        queue: in whose database the tokens are; the default one when none is given.
    """
    from jobqueue.web.tokens import TokenAuth

    return TokenAuth(queue)
