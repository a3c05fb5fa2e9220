"""JSON text that every database can store: of arguments, of progress and of results."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from jobqueue.errors import InvalidArguments

MAX_JSON_BYTES = 1024 * 1024
DEEPEST = 100
"""How many levels of lists and objects are shown, where a value has to be looked through."""
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

# `json.dumps` would make an encoder for every job.
encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
"""The JSON text of a value, as short as it can be. Numbers that JSON does not have are refused."""


def json_text(value: Any, what: str) -> str:
    """The JSON text of a value.

    Args:
        value: anything that JSON has.
        what: what the value is, for messages: "progress", "shop.Send: the arguments".

    Raises:
        InvalidArguments: the value is not JSON, holds NaN, an infinity, NUL or half a surrogate
            pair, or its text is over 1 MiB.
    """
    try:
        text = encode(value)
    except RecursionError:
        _refuse(what, "a value contains itself, or is nested too deeply")
    except (TypeError, ValueError) as error:
        _refuse(what, str(error))
    return storable(text, what)


def storable(text: str, what: str) -> str:
    """The same text, if every database can store it.

    Raises:
        InvalidArguments: it holds NUL or half a surrogate pair, or is over 1 MiB.
    """
    try:
        size = len(text) if text.isascii() else len(text.encode("utf-8"))
    except UnicodeEncodeError:
        _refuse(what, "a string holds half a surrogate pair, which is no text; clean the string")
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        _refuse(what, "a string holds a NUL character, which PostgreSQL cannot store; strip it")
    if size > MAX_JSON_BYTES:
        _refuse(
            what,
            f"{size:,} bytes are over the limit of {MAX_JSON_BYTES:,}; store the data elsewhere "
            "and pass its key",
        )
    return text


def writable(value: Any, depth: int = 0) -> Any:
    """A value with texts in the place of what JSON does not have, or is nested too deeply."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} (no number of JSON)"
    if depth == DEEPEST and isinstance(value, dict | list | tuple):
        return f"(nested more than {DEEPEST} levels deep)"
    if isinstance(value, dict):
        return {str(key): writable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [writable(item, depth + 1) for item in value]
    return value


def progress_text(value: Any, message: str | None) -> str:
    """The JSON text of a progress: the value, or with a message an object of both.

    Raises:
        InvalidArguments: as in `json_text`.
    """
    whole = value if message is None else {"fraction": value, "message": message}
    return json_text(whole, "progress")


def _refuse(what: str, why: str) -> NoReturn:
    raise InvalidArguments(f"{what} cannot be stored as JSON: {why}") from None
