"""`jobqueue web`: it serves the dashboard and the REST API."""

from __future__ import annotations

import importlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Annotated, Any, cast

import typer

from jobqueue import log
from jobqueue.app import JobQueue
from jobqueue.cli.errors import say
from jobqueue.cli.options import App, DatabaseUrl, LogFormat, LogLevel, Schema
from jobqueue.cli.session import note_broken_app, opened, refuse_memory
from jobqueue.errors import ConfigurationError
from jobqueue.web.access import Access, Auth, Role

DEFAULT_PORT = 8787
TOKENS = "tokens"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def web(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="NUMBER", help="The port; 0 for any free one.")
    ] = DEFAULT_PORT,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="HOOK",
            help="What decides who may do what: `tokens`, or your own hook as module:function.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A host name that requests may be for, beside localhost."
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A proxy whose X-Forwarded-For is believed; nobody else's is.",
        ),
    ] = None,
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the dashboard and the REST API.

    The dashboard is at /: open the address that is printed in a browser. Without --auth only this
    machine can reach it, and everybody on this machine may do everything. Any other address needs
    --auth. With --auth tokens the dashboard asks for a token of `jobs token create`, and shows and
    does what its role may. The API is described at /api/openapi.json.

    \b
    Examples:
      jobs web
      jobs web --port 9000
      jobs web --host 0.0.0.0 --auth tokens
      jobs web --host 0.0.0.0 --auth shop.login:who_asks --allowed-host jobs.example.com
      jobs web --auth tokens --proxy 127.0.0.1
    """
    serve = _server()
    options = {
        "app": app,
        "database_url": database_url,
        "schema": schema,
        "log_level": log_level,
        "log_format": log_format,
    }
    with opened(options) as session:
        note_broken_app(session, "no job can be enqueued then")
        refuse_memory(session.adapter)
        log.set_up_logging(session.settings.log_level, session.settings.log_format)
        queue = JobQueue(session.adapter)
        application = _application(queue, host, auth, allowed_host or ())
        session.adapter.ping()
        listening = _listen(host, port)
        _announce(listening, auth)
        serve(application, listening, proxy or (), queue.logger)


def _server() -> Callable[[Any, socket.socket, Sequence[str], logging.Logger], None]:
    try:
        from jobqueue.web.server import serve
    except ImportError:
        raise ConfigurationError(
            "`jobqueue web` needs the extra `web`, which is not installed: "
            "pip install 'jobqueue[web]'"
        ) from None
    return serve


def _application(queue: JobQueue, host: str, auth: str | None, allowed: Sequence[str]) -> Any:
    from jobqueue.web import app as application

    if auth is not None:
        names = (*allowed, *LOOPBACK_NAMES) if allowed else None
        return application(_hook(auth, queue), queue=queue, allowed_hosts=names)
    if not _is_loopback(host):
        raise ConfigurationError(
            f"--host {host} can be reached from other machines, and nothing says who may do what; "
            "give --auth tokens, or --auth module:function, or listen on 127.0.0.1"
        )
    return application(
        _whoever_is_here, queue=queue, allowed_hosts=(*LOOPBACK_NAMES, host, *allowed)
    )


def _whoever_is_here(_: object) -> Access:
    return Access.of_role("local", Role.ADMIN)


def _hook(named: str, queue: JobQueue) -> Auth:
    from jobqueue.web import bearer_tokens

    if named == TOKENS:
        return bearer_tokens(queue)
    module, _, name = named.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"--auth {named!r} cannot be found ({error}); expected `tokens` or module:function"
        ) from error
    if not callable(hook):
        raise ConfigurationError(f"--auth {named!r} cannot be called; expected a function")
    return cast("Auth", hook)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections from now on."""
    from jobqueue.web.server import BACKLOG

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        # With the protocol named, asyncio sees that it is TCP, and sends small answers at once.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --host or --port"
        ) from None
    listening.listen(BACKLOG)
    return listening


def _announce(listening: socket.socket, auth: str | None) -> None:
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    who = "whoever is on this machine may do everything" if auth is None else f"--auth {auth}"
    say(f"Serving http://{shown}:{port} ({who}). Ctrl-C stops it.")
