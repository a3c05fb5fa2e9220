"""Results: the values that `perform` returns, read from the JSON that is stored of them."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from jobqueue.errors import InvalidArguments


def result_reader(function: Callable[..., Any], job_name: str) -> Callable[[Any], Any]:
    """A function that turns stored results of `function` into what its annotation says.

    It raises `InvalidArguments` for one that does not fit.
    """
    from pydantic import ValidationError

    adapter = result_adapter(function)

    def read(result: Any) -> Any:
        try:
            return adapter.validate_python(result)
        except ValidationError as error:
            raise InvalidArguments(
                f"a stored result of {job_name} does not fit the annotation of what its perform "
                f"returns: {error.errors()[0]['msg']}; self.results has it as it is stored"
            ) from error

    return read


def result_adapter(function: Callable[..., Any]) -> Any:
    """Pydantic's adapter for what a function returns; one for anything without an annotation."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(typing.get_type_hints(function, include_extras=True).get("return", Any))
    except (PydanticUserError, NameError, TypeError):
        return TypeAdapter(Any)
