"""A reader of JSON that loses no digit of a number.

JSON's numbers have as many digits as somebody writes; Python reads them as floats of 64 bits, which
have 15 to 17. Here a number keeps the text that was written, if a float would print another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Self

SURE_DIGITS = 15
"""A decimal number with so many digits goes through a float and comes back as it was."""


class Written(float):
    """A number that was written with other digits than its float prints.

    Args:
        text: as it was written.
    """

    __slots__ = ("is_sure", "text")

    text: str
    is_sure: bool
    """Whether the text is the one that was written. Of a float only 15 digits are known."""

    def __new__(cls, text: str, *, is_sure: bool = True) -> Self:
        """A number by its text."""
        number = super().__new__(cls, text)
        number.text, number.is_sure = text, is_sure
        return number

    @property
    def is_faithful(self) -> bool:
        """Whether the float has all the digits that were written.

        `0.10000000000000001` is the float 0.1; no float is `1234567890123456.78`.
        """
        if not math.isfinite(self):
            return False
        try:
            said = Decimal(self.text)
            digits = max(len(said.as_tuple().digits), 1)
            return Context(prec=digits).plus(Decimal(float(self))) == said
        except InvalidOperation:
            return False


def exact_loads(text: str | bytes) -> Any:
    """Read JSON like `json.loads`, with a `Written` wherever a float would print other digits.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_float=_read)


def _read(text: str) -> float:
    number = float(text)
    return number if repr(number) == text else Written(text)


def with_unsure_marked(value: Any) -> Any:
    """The value with floats of more than 15 digits as `Written`, marked as not sure."""

    def marked(number: float) -> float:
        if type(number) is not float or len(_digits_of(number)) <= SURE_DIGITS:
            return number
        return Written(repr(number), is_sure=False)

    return _mapped(value, marked)


def _digits_of(number: float) -> str:
    return repr(number).partition("e")[0].replace(".", "").replace("-", "").strip("0")


def as_plain(value: Any) -> Any:
    """The value with floats in the place of `Written`."""
    return _mapped(value, lambda number: float(number) if type(number) is Written else number)


def as_texts(value: Any, which: Callable[[Written], bool] | None = None) -> Any:
    """The value with some of its `Written`, or all, as strings."""

    def changed(number: float) -> Any:
        if isinstance(number, Written) and (which is None or which(number)):
            return number.text
        return number

    return _mapped(value, changed)


def written_in(value: Any) -> list[Written]:
    """All numbers that were written with other digits than their float has."""
    return [number for number in numbers_in(value) if isinstance(number, Written)]


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers in a JSON value."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from numbers_in(item)


def _mapped(value: Any, change: Callable[[float], Any]) -> Any:
    if isinstance(value, float):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if type(value) is tuple:
        return tuple(_mapped(item, change) for item in value)
    return value
