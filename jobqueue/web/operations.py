"""What can be asked: one record for each route, from which both it and the document are made."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.app import JobQueue
from jobqueue.exact_json import exact_loads
from jobqueue.web.access import NOBODY, Access, Auth, Scope, access_of
from jobqueue.web.models import NewJobBody
from jobqueue.web.problems import CRASHED, Problem, as_json, problem_of
from jobqueue.web.streams import Streams

LONGEST_BODY = 1024 * 1024 + 64 * 1024
MOST_DRAINED = 16 * 1024 * 1024
MOST_THREADS = 12
BODY_SECONDS = 30.0
SILENCE_SECONDS = 10.0
LAST_BODY_SECONDS = 1.0
MOST_ERRORS = 10
LONGEST_NUMBER = 30
DENIED = "this API was mounted without auth=, so that everything is denied; see docs/api.md"
ENDING = "this server is about to end; ask again"
TOO_SLOW = (
    f"the body did not come: nothing of it for {SILENCE_SECONDS:g} s, or not all of it in "
    f"{BODY_SECONDS:g} s"
)
NOTHING_SENT = b""
HANG_UP = {"Connection": "close"}


class JobIdConvertor(Convertor[int]):
    """A number that can be the id of a row."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        """From a path."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Into a path."""
        return str(value)


register_url_convertor("job_id", JobIdConvertor())


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request that may be answered.

    Args:
        request: as it came.
        service: what answers it.
        access: who asks.
        path: the values in its path, by name.
        query: what `Operation.query` makes of its query string.
        body: what `Operation.body` makes of its body.
    """

    request: Request
    service: Service
    access: Access
    path: Mapping[str, Any]
    query: Any = None
    body: Any = None

    @property
    def queue(self) -> JobQueue:
        """Whose jobs are served."""
        return self.service.queue

    @property
    def adapter(self) -> Adapter:
        """Where the jobs are."""
        return self.queue.adapter

    async def on_thread(
        self, work: Callable[..., Any], *args: Any, can_be_left: bool = False
    ) -> Any:
        """See `Service.on_thread`."""
        return await self.service.on_thread(work, *args, can_be_left=can_be_left)

    def note(self, action: str, what: str, job_id: int | None = None) -> None:
        """Write into the log what somebody changed."""
        log.changed_from_outside(self.queue.logger, self.access.who, action, what, job_id)

    def url(self, path: str) -> str:
        """A path of this API as the caller has to write it."""
        return f"{self.request.scope.get('root_path', '')}{path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered when all is well."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that can be asked.

    Args:
        method: the HTTP method.
        path: as Starlette writes it.
        summary: what it does.
        handle: answers it: on a thread, or on the event loop if it is `async def`.
        scope: what somebody has to be allowed; None for anybody.
        answers: the model of each answer, by status.
        problems: the statuses of the problems that are its own.
        query: the model of its query string.
        body: the model, or the type, of its body.
        needs_body: whether there has to be one.
        description: more about it.
        headers: descriptions of request headers, by name.
        aliases: other paths of the same.
        media_type: of its answers.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[ApiCall], Any]
    scope: Scope | None
    answers: Mapping[int, type[BaseModel] | None]
    problems: Collection[int] = ()
    query: type[BaseModel] | None = None
    body: Any = None
    needs_body: bool = True
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    media_type: str = "application/json"


class Service:
    """Answers operations.

    Args:
        queue: whose jobs are served.
        auth: the hook that says who asks; None denies everything.
    """

    def __init__(self, queue: JobQueue, auth: Auth | None) -> None:
        self.queue = queue
        self._auth = auth
        self._threads = anyio.CapacityLimiter(MOST_THREADS)
        self.streams = Streams()

    def routes(self, operations: Iterable[Operation]) -> list[Route]:
        """A route for each path, which answers what can be asked there."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            for path in (operation.path, *operation.aliases):
                by_path.setdefault(path, {})[operation.method] = operation
        return [
            Route(path, functools.partial(self.answer, there), methods=list(there))
            for path, there in by_path.items()
        ]

    async def answer(self, there: Mapping[str, Operation], request: Request) -> Response:
        """Answer a request for one of the operations of a path, by their methods.

        Errors are caught here already: an application that this is mounted in may have handlers
        of its own for them.
        """
        try:
            method = "GET" if request.method == "HEAD" else request.method
            return await self._answer(there[method], request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            return self.answer_error(error, request.method, request.url.path)

    def answer_error(self, error: Exception, method: str, path: str) -> Response:
        """What is answered when something goes wrong."""
        problem = problem_of(error)
        if problem is None:
            log.request_crashed(self.queue.logger, method, path, error)
            problem = Problem(500, CRASHED)
        elif problem.status == 503:
            log.request_unanswered(self.queue.logger, method, path, error)
        return problem.response()

    async def _answer(self, operation: Operation, request: Request) -> Response:
        access = await self._allowed(operation, request)
        body = await self._body_of(request)
        call = ApiCall(
            request,
            self,
            access,
            request.path_params,
            query=_query_of(operation, request),
            body=_parsed_body(operation, body),
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
        """Do something that waits for the database, on one of a few threads.

        Args:
            work: what is done.
            *args: its arguments.
            can_be_left: whether nobody needs to wait for it any more when this is cancelled.
        """
        return await anyio.to_thread.run_sync(
            functools.partial(work, *args), limiter=self._threads, abandon_on_cancel=can_be_left
        )

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

    async def _body_of(self, request: Request) -> bytes:
        """The body, which has to come within a bearable time. Reads have none."""
        if request.method in {"GET", "HEAD"}:
            return NOTHING_SENT
        with self.streams.until_the_end(LAST_BODY_SECONDS), anyio.CancelScope() as silence:
            return await _read_body(request, silence)
        if self.streams.are_ending:
            raise Problem(503, ENDING, {"Retry-After": "1", **HANG_UP})
        raise Problem(408, TOO_SLOW, HANG_UP)


# --- what was sent -------------------------------------------------------------------------------


async def _read_body(request: Request, silence: anyio.CancelScope) -> bytes:
    """The body, which has to be JSON and of a bearable size.

    Args:
        request: whose body it is.
        silence: is cancelled when no more of it comes for a while, or not all of it in time.
    """
    announced = request.headers.get("content-length", "")
    body, size = bytearray(), 0
    last = anyio.current_time() + BODY_SECONDS
    silence.deadline = min(last, anyio.current_time() + SILENCE_SECONDS)
    async for chunk in _chunks_of(request):
        silence.deadline = min(last, anyio.current_time() + SILENCE_SECONDS)
        size += len(chunk)
        if size <= LONGEST_BODY:
            body += chunk
        elif size > MOST_DRAINED or (announced.isdecimal() and int(announced) > MOST_DRAINED):
            break  # who sends less can hear the answer only when all of it was taken
    if size > LONGEST_BODY:
        raise Problem(413, f"the body has more than {LONGEST_BODY:,} bytes")
    if body and _media_type(request) != "application/json":
        raise Problem(415, "the body has to be JSON, with Content-Type: application/json")
    return bytes(body)


async def _chunks_of(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Problem(408, "the connection ended before the body did", HANG_UP) from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parsed_body(operation: Operation, body: bytes) -> Any:
    if operation.body is None:
        return None
    if not body.strip():
        if operation.needs_body:
            raise Problem(422, "a JSON body is missing")
        body = b"{}"
    try:
        parsed = _adapter_of(operation.body).validate_json(body)
    except ValidationError as error:
        raise _invalid("the body", error) from None
    return _with_every_digit(operation, parsed, body)


def _with_every_digit(operation: Operation, parsed: Any, body: bytes) -> Any:
    """The body with the arguments of a job as they were written."""
    if operation.body is not NewJobBody and operation.body != dict[str, Any]:
        return parsed
    try:
        exact = exact_loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(422, f"the body is no JSON that can be read: {error}") from None
    if isinstance(parsed, NewJobBody):
        return parsed.model_copy(update={"args": exact.get("args", {})})
    return exact


def _query_of(operation: Operation, request: Request) -> Any:
    if operation.query is None:
        return None
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        given.setdefault(name, []).append(value)
    known = operation.query.model_fields
    values = {name: _of_query(known.get(name), texts) for name, texts in given.items()}
    try:
        return operation.query.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise _invalid("the query", error) from None


def _of_query(known: Any, texts: list[str]) -> Any:
    """A value as JSON has it: lists with commas or given repeatedly, and numbers."""
    if known is None:
        return texts
    if "list" in str(known.annotation):
        return [word for text in texts for word in text.split(",")]
    if len(texts) > 1:
        return texts
    [text] = texts
    is_number = text.isascii() and text.isdecimal() and len(text) < LONGEST_NUMBER
    return int(text) if is_number else text


@functools.cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _invalid(what: str, error: ValidationError) -> Problem:
    errors = [
        f"{'.'.join(map(str, one['loc'])) or what}: {one['msg']}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return Problem(422, f"{what} does not fit: {errors[0]}", errors=errors[:MOST_ERRORS])
