"""The API: it checks access, reads a request, and answers it by one of the operations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobqueue import log
from jobqueue.app import JobQueue
from jobqueue.web.access import NOBODY, Access, Auth, Scope, access_of
from jobqueue.web.operations import ApiCall, Operation
from jobqueue.web.problems import CRASHED, Problem, as_json, problem_of
from jobqueue.web.request_reader import (
    HANG_UP,
    JSON,
    TOO_SLOW,
    parsed_body,
    parsed_query,
    read_body,
)
from jobqueue.web.streams import Streams

MOST_THREADS = 12
LAST_BODY_SECONDS = 1.0
DENIED = "this API was mounted without auth=, so that everything is denied; see docs/api.md"
ENDING = "this server is about to end; ask again"
NOTHING_SENT = b""


class JobIdConvertor(Convertor[int]):
    """A converter of the part of a path that is a job's id."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        """Return the id in a path."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return an id as a path has it."""
        return str(value)


register_url_convertor("job_id", JobIdConvertor())


class Api:
    """The answers to requests, by operations.

    Args:
        queue: the queue whose jobs are served.
        auth: the hook that returns who sent a request; None denies everything.
    """

    def __init__(self, queue: JobQueue, auth: Auth | None) -> None:
        self.queue = queue
        self._auth = auth
        self._threads = anyio.CapacityLimiter(MOST_THREADS)
        self.streams = Streams()

    def routes(self, operations: Iterable[Operation]) -> list[Route]:
        """Return a route for each path, which answers the operations there."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            for path in (operation.path, *operation.aliases):
                by_path.setdefault(path, {})[operation.method] = operation
        return [
            Route(path, functools.partial(self.answer, there), methods=list(there))
            for path, there in by_path.items()
        ]

    async def answer(self, there: Mapping[str, Operation], request: Request) -> Response:
        """Answer a request by one of the operations of a path, which are given by their methods.

        Errors are caught here, since an application around this one may have handlers of its own
        for them.
        """
        try:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(there[method], request)
        except Exception as error:  # noqa: BLE001 - every error is answered
            return self.answer_error(error, request.method, request.url.path)

    def answer_error(self, error: Exception, method: str, path: str) -> Response:
        """Return the answer to an error, and log it if the fault is here."""
        problem = problem_of(error)
        if problem is None:
            log.request_crashed(self.queue.logger, method, path, error)
            problem = Problem(500, CRASHED)
        elif problem.status == 503:
            log.request_unanswered(self.queue.logger, method, path, error)
        return problem.response()

    async def _answer(self, operation: Operation, request: Request) -> Response:
        access = await self._allowed(operation, request)
        body = await self.body_of(request)
        call = ApiCall(
            request,
            self,
            access,
            request.path_params,
            query=parsed_query(operation, request),
            body=parsed_body(operation, body),
        )
        answer = await self._handle(operation, call)
        if isinstance(answer, Response):
            return answer
        return Response(
            as_json(answer.body) + b"\n",
            status_code=answer.status,
            media_type=operation.media_type,
            headers=dict(answer.headers),
        )

    async def on_thread(
        self, work: Callable[..., Any], *args: Any, can_be_left: bool = False
    ) -> Any:
        """Call a function that waits for the database, on one of a few threads.

        Args:
            work: the function.
            *args: its arguments.
            can_be_left: whether cancelling this does not wait for the function to return.
        """
        return await anyio.to_thread.run_sync(
            functools.partial(work, *args), limiter=self._threads, abandon_on_cancel=can_be_left
        )

    async def may(self, scope: Scope, request: Request) -> bool:
        """Return whether who sent a request may do something; the hook is asked again."""
        return self._auth is not None and scope in (await access_of(self._auth, request)).scopes

    async def _handle(self, operation: Operation, call: ApiCall) -> Any:
        if inspect.iscoroutinefunction(operation.handle):
            return await operation.handle(call)
        return await self.on_thread(operation.handle, call)

    async def _allowed(self, operation: Operation, request: Request) -> Access:
        if self._auth is None:
            raise Problem(403, DENIED)
        if operation.scope is None:
            return NOBODY
        access = await access_of(self._auth, request)
        if operation.scope in access.scopes:
            return access
        if not access.who:
            raise Problem(
                401, "it has to be known who asks for this", {"WWW-Authenticate": "Bearer"}
            )
        raise Problem(403, f"{access.who} may not {operation.scope}")

    async def body_of(self, request: Request, media_type: str = JSON) -> bytes:
        """Return the body, which has a time limit. GET and HEAD have none.

        Raises:
            Problem: it is of another media type, too large or too slow, or the server ends.
        """
        if request.method in {"GET", "HEAD"}:
            return NOTHING_SENT
        with self.streams.until_the_end(LAST_BODY_SECONDS), anyio.CancelScope() as silence:
            return await read_body(request, silence, media_type)
        if self.streams.are_ending:
            raise Problem(503, ENDING, {"Retry-After": "1", **HANG_UP})
        raise Problem(408, TOO_SLOW, HANG_UP)
