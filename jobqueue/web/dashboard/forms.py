"""The changes that the forms of pages ask for. Most are done by the operations of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from pydantic import ValidationError
from starlette.requests import Request

from jobqueue.web.dashboard.rows import FormAction
from jobqueue.web.problems import Problem

MEDIA_TYPE = "application/x-www-form-urlencoded"
MOST_FIELDS = 50


def sent_by_own_page(request: Request) -> bool:
    """Return whether a browser says that a page of this dashboard has sent a form.

    What comes from other sites is refused before. This refuses what says nothing: since a cookie
    may stand for a login, it has to be known that no other site sent it along.
    """
    site = request.headers.get("sec-fetch-site")
    return site == "same-origin" if site is not None else "origin" in request.headers


def fields_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form by their names; those that were left empty are left out.

    Raises:
        Problem: it is no form.
    """
    return {name: text.strip() for name, text in typed_fields(body).items() if text.strip()}


def typed_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form by their names, as they were typed.

    Raises:
        Problem: it is no form.
    """
    try:
        found = parse_qs(
            body.decode("ascii"),
            max_num_fields=MOST_FIELDS,
            errors="strict",
            keep_blank_values=True,
        )
    except ValueError:
        raise Problem(422, "this is no form that can be read") from None
    return {name: values[-1] for name, values in found.items()}


def parsed_form(action: FormAction, fields: Mapping[str, str]) -> Any:
    """Return the fields of a form as the model of its action.

    Raises:
        Problem: they do not fit.
    """
    if action.body is None:
        return None
    known = {name: value for name, value in fields.items() if name in action.body.model_fields}
    try:
        return action.body.model_validate(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Problem(422, f"{where}: {first['msg']}") from None
