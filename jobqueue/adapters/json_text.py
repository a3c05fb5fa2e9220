"""Values as JSON that every database can store: progress and results."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from jobqueue.errors import InvalidArguments

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_BYTES = 1024 * 1024
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def json_text(value: Any, what: str) -> str:
    """The JSON text of a value.

    Args:
        value: anything that JSON has.
        what: how messages call it.

    Raises:
        InvalidArguments: it is not JSON, holds NaN, an infinity, NUL or half a surrogate pair, or
            is over 1 MiB.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        _refuse(what, "it contains itself, or is nested too deeply")
    except (TypeError, ValueError) as error:
        _refuse(what, str(error))
    return checked_json_text(text, what)


def checked_json_text(text: str, what: str) -> str:
    """The text, if every database can store it.

    Raises:
        InvalidArguments: as in `json_text`.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        _refuse(what, "it contains half a surrogate pair, which is no text")
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        _refuse(what, "it contains a NUL character, which PostgreSQL cannot store")
    if size > MAX_BYTES:
        _refuse(what, f"it takes {size:,} bytes, over the limit of {MAX_BYTES:,}")
    return text


def progress_text(value: Any, message: str | None) -> str:
    """The JSON text of a progress: the value, or with a message an object of both.

    Raises:
        InvalidArguments: as in `json_text`.
    """
    whole = value if message is None else {"fraction": value, "message": message}
    return json_text(whole, "progress")


def result_writer(function: Callable[..., Any]) -> Callable[[Any], str]:
    """What turns the results of a function into JSON, by its return annotation if it has one.

    What that returns raises `InvalidArguments` as `json_text` does, and `ValueError` for what
    pydantic cannot write.
    """
    adapter = _adapter_of(function)

    def write(result: Any) -> str:
        text = adapter.dump_json(result, warnings="none").decode()
        return checked_json_text(text, "the result")

    return write


def _adapter_of(function: Callable[..., Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(typing.get_type_hints(function, include_extras=True).get("return", Any))
    except (PydanticUserError, NameError, TypeError):
        return TypeAdapter(Any)


def _refuse(what: str, why: str) -> NoReturn:
    raise InvalidArguments(f"{what} cannot be stored as JSON: {why}") from None
