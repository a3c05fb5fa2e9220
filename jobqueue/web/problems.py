"""Problems: errors as RFC 9457 has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from jobqueue.errors import (
    ActionNotFound,
    DatabaseRefused,
    DatabaseUnavailable,
    ErrorGroupNotFound,
    InvalidArguments,
    InvalidQuery,
    JobNotFound,
    JobqueueError,
    ScheduleNotFound,
    SchemaError,
    StateConflict,
    UnknownJob,
)
from jobqueue.json_text import writable

AWAY = "the database does not answer now, or took too long; try again in a moment"
UNPREPARED = "the tables of jobqueue are missing or out of date; run `jobqueue migrate`"
REFUSED = "the database refused to store this"
CRASHED = "something went wrong here, and was logged"

ROUTING = {404: "there is nothing at this path", 405: "this path does not take that method"}

# Errors without a text have their own, which tells nothing of this machine or its database.
KNOWN: tuple[tuple[type[JobqueueError], int, str | None], ...] = (
    (InvalidArguments, 422, None),
    (InvalidQuery, 422, None),
    (UnknownJob, 422, None),
    (JobNotFound, 404, None),
    (ErrorGroupNotFound, 404, None),
    (ActionNotFound, 404, None),
    (ScheduleNotFound, 404, None),
    (StateConflict, 409, None),
    (DatabaseRefused, 422, REFUSED),
    (DatabaseUnavailable, 503, AWAY),
    (SchemaError, 503, UNPREPARED),
)


class Problem(Exception):
    """An error that is answered as a problem.

    Args:
        status: its HTTP status.
        detail: what happened, and what to do about it.
        headers: the headers of the answer.
        **members: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members

    def response(self) -> Response:
        """Return the answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
        return Response(
            as_json(body) + b"\n",
            status_code=self.status,
            media_type="application/problem+json",
            headers=self.headers,
        )


def as_json(value: Any) -> bytes:
    """Return JSON in UTF-8; in ASCII if a text is broken Unicode, which UTF-8 cannot express.

    A row may hold what JSON cannot write, such as `1e999` or too many lists within lists. Such a
    value is replaced by a text that says so, since the rest is to be answered all the same.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return json.dumps(writable(value), allow_nan=False).encode()


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that an error is answered as; None if it is unexpected."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        detail = ROUTING.get(error.status_code, error.detail)
        return Problem(error.status_code, detail, error.headers)
    for kind, status, text in KNOWN:
        if isinstance(error, kind):
            headers = {"Retry-After": "1"} if status == 503 else None
            return Problem(status, text or str(error), headers)
    return None
