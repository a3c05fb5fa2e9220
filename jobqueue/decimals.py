"""A reader of JSON values in which numbers that become a `Decimal` keep all their digits.

pydantic reads every number as a float first. A `Decimal` takes a string as well, and keeps its
digits. So those numbers are given as strings, and the result has to be the same as with numbers,
except for the digits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jobqueue.exact_json import SURE_DIGITS, Written, as_plain, as_texts, written_in

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_ONE_BY_ONE = 100


class DecimalReader:
    """A reader of values of one type, which may have decimals in them.

    Args:
        adapter: pydantic's adapter of that type.
        validate: makes a value of its JSON form; raises `ValueError` where it is of another type.
    """

    def __init__(self, adapter: TypeAdapter[Any], validate: Callable[[Any], Any]) -> None:
        self._adapter = adapter
        self._validate = validate

    def read(self, value: Any, made: Any) -> tuple[Collection[int], Any]:
        """The `Written` in a value that are decimals, by their `id`, and the value read exactly.

        Args:
            value: in its JSON form.
            made: the value as it was read with floats.

        Raises:
            ValueError: a float of too many digits is to be a decimal, or there are too many
                numbers to find out.
        """
        numbers = written_in(value)
        if not numbers or not _has_decimal(self._adapter.core_schema, set()):
            return (), made
        everything = {id(number) for number in numbers}
        exact = self._read_as(value, everything, made)
        if exact is not None:
            self._refuse_unsure(numbers)
            return everything, exact
        return self._read_one_by_one(value, numbers, made)

    def _read_one_by_one(
        self, value: Any, numbers: list[Written], made: Any
    ) -> tuple[Collection[int], Any]:
        if len(numbers) > MOST_ONE_BY_ONE:
            raise ValueError(
                f"it has {len(numbers)} numbers of many digits, for floats and decimals; give the "
                "decimals as strings"
            )
        decimals = [n for n in numbers if self._read_as(value, {id(n)}, made) is not None]
        self._refuse_unsure(decimals)
        chosen = {id(number) for number in decimals}
        exact = self._read_as(value, chosen, made)
        if exact is None:
            raise ValueError("its numbers cannot be told apart; give the decimals as strings")
        return chosen, exact

    def _read_as(self, value: Any, decimals: Collection[int], made: Any) -> Any:
        """Read a value with some numbers as strings; None where the result is not the same."""
        given = as_plain(as_texts(value, lambda number: id(number) in decimals))
        try:
            exact = self._validate(given)
        except ValueError:
            return None
        dump = self._adapter.dump_python
        return exact if _is_alike(dump(made), dump(exact)) else None

    def _refuse_unsure(self, decimals: list[Written]) -> None:
        for number in decimals:
            if not number.is_sure:
                raise ValueError(
                    f"{number.text} is a float, of which {SURE_DIGITS} digits are sure; pass a "
                    "Decimal, or a string"
                )


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two values are the same but for the digits of their decimals."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Decimal):
        return float(one) == float(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_alike(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_is_alike(a, b) for a, b in pairs)
    if isinstance(one, set | frozenset):
        return {type(item) for item in one} == {type(item) for item in other}
    return bool(one == other)


def _has_decimal(schema: Any, seen: set[int]) -> bool:
    """Whether a core schema of pydantic has a decimal anywhere."""
    if id(schema) in seen or not isinstance(schema, dict | list | tuple):
        return False
    seen.add(id(schema))
    if isinstance(schema, dict):
        if schema.get("type") == "decimal":
            return True
        return any(_has_decimal(part, seen) for part in schema.values())
    return any(_has_decimal(part, seen) for part in schema)
