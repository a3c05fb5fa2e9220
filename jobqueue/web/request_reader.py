"""The reader of requests: it reads and checks their bodies and queries."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
from pydantic import TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, Request

from jobqueue.exact_json import exact_loads
from jobqueue.web.models import NewJobBody
from jobqueue.web.operations import Operation
from jobqueue.web.problems import Problem

LONGEST_BODY = 1024 * 1024 + 64 * 1024
MOST_DRAINED = 16 * 1024 * 1024
BODY_SECONDS = 30.0
SILENCE_SECONDS = 10.0
MOST_ERRORS = 10
LONGEST_NUMBER = 30
TOO_SLOW = (
    f"the body did not come: nothing of it for {SILENCE_SECONDS:g} s, or not all of it in "
    f"{BODY_SECONDS:g} s"
)
HANG_UP = {"Connection": "close"}
JSON = "application/json"


async def read_body(request: Request, silence: anyio.CancelScope, media_type: str = JSON) -> bytes:
    """Return the body of a request, which must not be too large.

    Args:
        request: the request.
        silence: the scope that is cancelled when nothing more comes, or not all of it in time.
        media_type: the media type that it has to be of.
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
            break  # a shorter body is read to its end: only then can its sender read the answer
    if size > LONGEST_BODY:
        raise Problem(413, f"the body has more than {LONGEST_BODY:,} bytes")
    if body and _media_type(request) != media_type:
        what = "JSON" if media_type == JSON else "a form"
        raise Problem(415, f"the body has to be {what}, with Content-Type: {media_type}")
    return bytes(body)


async def _chunks_of(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Problem(408, "the connection ended before the body did", HANG_UP) from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parsed_body(operation: Operation, body: bytes) -> Any:
    """Return a body as the model or type of an operation."""
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
    """Return a body with the numbers in a job's arguments as they were written."""
    if operation.body is not NewJobBody and operation.body != dict[str, Any]:
        return parsed
    try:
        exact = exact_loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(422, f"the body is no JSON that can be read: {error}") from None
    if isinstance(parsed, NewJobBody):
        return parsed.model_copy(update={"args": exact.get("args", {})})
    return exact


def parsed_query(operation: Operation, request: Request) -> Any:
    """Return the query of a request as the model of an operation."""
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
    """Return a value as JSON has it: a number, or a list by commas or by repeating."""
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
