"""The ASGI application: the routes of the API and of the dashboard, behind the request guard."""

from __future__ import annotations

import functools
from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from jobqueue.app import JobQueue
from jobqueue.web import access
from jobqueue.web.access import Auth
from jobqueue.web.api import Api
from jobqueue.web.dashboard.dashboard import Dashboard, wants_page
from jobqueue.web.openapi import document
from jobqueue.web.operations import Answer, ApiCall, Operation
from jobqueue.web.request_guard import RequestGuard
from jobqueue.web.table import OPERATIONS


def build(
    auth: Auth | None,
    queue: JobQueue | None,
    allowed_hosts: Collection[str] | None,
    login_url: str | None,
) -> RequestGuard:
    """Return the application; its arguments are those of `jobqueue.web.app`."""
    api = Api(queue or JobQueue(), auth)
    dashboard = Dashboard(api, auth, login_url)

    async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method != "GET" or not wants_page(request):
            raise HTTPException(404)
        answer = await dashboard.answer_nothing_here(request)
        await answer(scope, receive, send)

    routes = [
        *dashboard.routes(functools.partial(api.answer, {HOME.method: HOME})),
        *api.routes(ALL_OPERATIONS),
    ]
    router = Router(routes, redirect_slashes=False, default=nothing_here)
    return RequestGuard(router, allowed_hosts, api.answer_error, api.streams)


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
[HOME] = (operation for operation in OPERATIONS if operation.path == "/")
