"""The fields in the URL of a page, and how they are read."""

from __future__ import annotations

from jobqueue.records import LARGEST_ID
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem


def asked_of(call: ApiCall, name: str) -> str:
    return str(call.request.query_params.get(name, "")).strip()


def before_of(call: ApiCall) -> int | None:
    text = asked_of(call, "before")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= LARGEST_ID):
        raise Problem(422, "before is no id of a job; begin at the start of the list")
    return int(text)
