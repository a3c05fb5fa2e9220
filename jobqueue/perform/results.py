"""The JSON text of what `perform` returns."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobqueue.json_text import storable

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def result_writer(function: Callable[..., Any]) -> Callable[[Any], str]:
    """A function that turns results of `function` into JSON text.

    It goes by the return annotation, if there is one. It raises `InvalidArguments` for text that
    no database can store, and `ValueError` for what pydantic cannot write.
    """
    adapter = _adapter_of(function)

    def write(result: Any) -> str:
        return storable(adapter.dump_json(result, warnings="none").decode(), "the result")

    return write


def _adapter_of(function: Callable[..., Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(typing.get_type_hints(function, include_extras=True).get("return", Any))
    except (PydanticUserError, NameError, TypeError):
        return TypeAdapter(Any)
