"""The JSON text of what `perform` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobqueue.job.results import result_adapter
from jobqueue.json_text import storable


def result_writer(function: Callable[..., Any]) -> Callable[[Any], str]:
    """A function that turns results of `function` into JSON text.

    It goes by the return annotation, if there is one. It raises `InvalidArguments` for text that
    no database can store, and `ValueError` for what pydantic cannot write.
    """
    adapter = result_adapter(function)

    def write(result: Any) -> str:
        return storable(adapter.dump_json(result, warnings="none").decode(), "the result")

    return write
