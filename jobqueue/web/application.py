"""The ASGI application: the routes of the API, behind the request guard."""

from __future__ import annotations

from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from jobqueue.app import JobQueue
from jobqueue.web import access
from jobqueue.web.access import Auth
from jobqueue.web.api import Api
from jobqueue.web.openapi import document
from jobqueue.web.operations import Answer, ApiCall, Operation
from jobqueue.web.request_guard import RequestGuard
from jobqueue.web.table import OPERATIONS


def build(
    auth: Auth | None, queue: JobQueue | None, allowed_hosts: Collection[str] | None
) -> RequestGuard:
    """Return the application; its arguments are those of `jobqueue.web.app`."""
    api = Api(queue or JobQueue(), auth)
    router = Router(api.routes(ALL_OPERATIONS), redirect_slashes=False, default=_nothing_here)
    return RequestGuard(router, allowed_hosts, api.answer_error, api.streams)


async def _nothing_here(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


async def _document(call: ApiCall) -> Answer:
    """Answer the OpenAPI document."""
    return Answer(document(OPERATIONS, call.url("")))


DOCUMENT = Operation(
    "GET",
    "/api/openapi.json",
    "See the document of this API",
    _document,
    access.Scope.READ,
    {},
)
ALL_OPERATIONS = (*OPERATIONS, DOCUMENT)
