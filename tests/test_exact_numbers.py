"""What JSON says is what the parameter gets, digit by digit, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

import jobqueue
from jobqueue import InvalidArguments, Job
from jobqueue.adapters import Adapter
from jobqueue.arguments import Parameters, encode_unchecked
from jobqueue.defaults import default_configuration
from jobqueue.exact_json import exact_loads

LONG = "1234567890123456.78"
seen: list[Any] = []


@dataclass
class Line:
    article: str
    price: Decimal
    weight: float = 0.0


class Order(BaseModel):
    lines: list[Line] = field(default_factory=list)
    total: Decimal | None = None


def decimal(x: Decimal) -> None: ...
def floating(x: float) -> None: ...
def whole(x: int) -> None: ...
def text(x: str) -> None: ...
def anything(x) -> None: ...  # type: ignore[no-untyped-def]
def either(x: Decimal | str) -> None: ...
def decimal_or_float(x: Decimal | float) -> None: ...
def decimals(x: list[Decimal]) -> None: ...
def floats(x: list[float]) -> None: ...
def by_name(x: dict[str, Decimal]) -> None: ...
def line(x: Line) -> None: ...
def order(x: Order) -> None: ...
def some(*x: Decimal) -> None: ...
def named(**x: Decimal) -> None: ...


def through(function: Any, written: str) -> Any:
    """What the parameter gets of a JSON text."""
    parameters = Parameters(function, "job", is_method=False)
    stored = parameters.dump_mapping(exact_loads(written))
    args, kwargs = parameters.load(stored)
    return parameters.signature.bind(*args, **kwargs).arguments["x"]


@pytest.mark.parametrize(
    ("function", "written", "expected"),
    [
        (decimal, LONG, Decimal(LONG)),
        (decimal, "-" + LONG, Decimal("-" + LONG)),
        (decimal, "0.1", Decimal("0.1")),
        (decimal, "0.10", Decimal("0.10")),
        (decimal, "0.10000000000000001", Decimal("0.10000000000000001")),
        (decimal, "1.50e3", Decimal("1.50e3")),
        (decimal, "9" * 40, Decimal("9" * 40)),
        (decimal, f'"{LONG}"', Decimal(LONG)),
        (floating, "0.1", 0.1),
        (floating, "0.10", 0.1),
        (floating, "1.50e3", 1500.0),
        (floating, "0.10000000000000001", 0.1),  # as C and others write it
        (floating, "1234567890123456.8", 1234567890123456.8),
        (floating, "3", 3.0),
        (floating, "9007199254740992", 9007199254740992.0),
        (whole, "9" * 40, int("9" * 40)),
        (anything, "0.10", 0.1),
        (anything, "[1, 0.5]", [1, 0.5]),
        (anything, "9" * 40, int("9" * 40)),
        (either, f'"{LONG}"', LONG),
        (decimal_or_float, "0.25", 0.25),
        (decimals, f"[{LONG}, 0.10, 3, 0.5]", [Decimal(LONG), Decimal("0.10"), 3, Decimal("0.5")]),
        (floats, "[0.10, 0.10000000000000001, 2]", [0.1, 0.1, 2.0]),
        (by_name, f'{{"a": {LONG}}}', {"a": Decimal(LONG)}),
        (
            line,
            f'{{"article": "a", "price": {LONG}, "weight": 0.50}}',
            Line("a", Decimal(LONG), 0.5),
        ),
        (
            order,
            f'{{"lines": [{{"article": "1.50", "price": {LONG}, "weight": 1.50}}], "total": 1.50}}',
            Order(lines=[Line("1.50", Decimal(LONG), 1.5)], total=Decimal("1.50")),
        ),
    ],
)
def test_it_gets_every_digit(function: Any, written: str, expected: Any) -> None:
    got = through(function, f'{{"x": {written}}}')
    assert got == expected
    assert type(got) is type(expected)
    assert repr(got) == repr(expected) or "[" in written or "{" in written


def test_it_gets_every_digit_in_stars() -> None:
    assert through(some, f'{{"x": [{LONG}, 0.10]}}') == (Decimal(LONG), Decimal("0.10"))
    assert through(named, f'{{"a": {LONG}}}') == {"a": Decimal(LONG)}


@pytest.mark.parametrize(
    ("function", "written"),
    [
        (floating, LONG),
        (floating, "9007199254740993"),
        (floating, "1e400"),
        (floating, "1e-400"),
        (floating, "9" * 400),
        (anything, LONG),
        (anything, f'{{"deep": [{LONG}]}}'),
        (whole, LONG),
        (whole, "1.0"),
        (text, LONG),
        (either, LONG),
        (decimal_or_float, LONG),
        (floats, f"[0.5, {LONG}]"),
        (floats, "[9007199254740993]"),
        (line, f'{{"article": "a", "price": 1, "weight": {LONG}}}'),
        (line, f'{{"article": {LONG}, "price": 1}}'),
        (line, '{"article": "a", "price": 1, "weight": 9007199254740993}'),
    ],
)
def test_or_it_is_refused(function: Any, written: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        through(function, f'{{"x": {written}}}')
    assert len(str(raised.value)) < 400


def test_floats_of_python_are_not_taken_for_decimals_that_they_may_not_be() -> None:
    parameters = Parameters(decimal, "job", is_method=False)
    assert parameters.dump_mapping({"x": 0.1}) == '{"x":"0.1"}'
    assert parameters.dump_mapping({"x": Decimal(LONG)}) == f'{{"x":"{LONG}"}}'
    with pytest.raises(InvalidArguments, match="15 digits are sure; pass a Decimal, or a string"):
        parameters.dump_mapping({"x": 1234567890123456.78})
    with pytest.raises(InvalidArguments, match="15 digits"):
        parameters.dump_mapping({"x": 0.1 + 0.2})
    assert Parameters(floating, "job", is_method=False).dump_mapping({"x": 0.1 + 0.2})


def test_an_int_that_no_float_can_be() -> None:
    parameters = Parameters(floating, "job", is_method=False)
    assert parameters.dump((2**53,), {}) == '{"x":9007199254740992.0}'
    with pytest.raises(InvalidArguments, match="would be changed"):
        parameters.dump((2**53 + 1,), {})


def test_unchecked() -> None:
    assert encode_unchecked(exact_loads('{"x": 0.10}'), "job") == '{"x":0.1}'
    with pytest.raises(InvalidArguments, match="pass a string"):
        encode_unchecked(exact_loads(f'{{"x": [{LONG}]}}'), "job")


def test_many_numbers_take_no_time() -> None:
    many = ", ".join(["0.10"] * 20_000)
    assert len(through(decimals, f'{{"x": [{many}]}}')) == 20_000
    assert len(through(floats, f'{{"x": [{many}]}}')) == 20_000
    lines = ", ".join(['{"article": "a", "price": 0.10, "weight": 0.10}'] * 1000)
    with pytest.raises(InvalidArguments, match="give the decimals as strings"):
        through(order, f'{{"x": {{"lines": [{lines}]}}}}')


class Charge(Job):
    api = True

    def perform(self, amount: Decimal, factor: float = 1.0) -> None:
        seen.append(amount)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    seen.clear()
    yield
    default_configuration.reset()


def test_from_the_outside_to_perform(adapter: Adapter) -> None:
    Job.config(adapter=adapter)
    given = json.loads('{"amount": "1234567890123456.78"}')
    jobqueue.enqueue(Charge.name, given)
    jobqueue.enqueue(Charge.name, exact_loads(f'{{"amount": {LONG}, "factor": 0.10}}'))
    assert jobqueue.JobQueue(adapter).work_off().succeeded == 2
    assert seen == [Decimal(LONG)] * 2
