"""Arguments: checked before anything is stored, and the same again when `perform` gets them."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PlainSerializer, SecretStr

from jobqueue import InvalidArguments, InvalidJob
from jobqueue.arguments import MAX_ARGS_BYTES, Parameters


class Color(enum.Enum):
    RED = "red"


@dataclass
class Address:
    street: str
    zip_code: int


class Order(BaseModel):
    number: int
    total: Decimal
    lines: list[str] = []


class NoJson:
    pass


def parameters_of(function: Any) -> Parameters:
    return Parameters(function, "Example", is_method=False)


def round_trip(function: Any, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    parameters = parameters_of(function)
    return parameters.load(parameters.dump(args, kwargs))


def everything(
    when: datetime,
    day: date,
    key: UUID,
    price: Decimal,
    color: Color,
    address: Address,
    order: Order,
    pair: tuple[int, str],
    tags: set[str],
    pause: timedelta,
    data: bytes,
    maybe: int | None = None,
) -> None: ...


def test_types_beyond_json_come_back_as_they_went() -> None:
    values = {
        "when": datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
        "day": date(2026, 5, 1),
        "key": UUID(int=7),
        "price": Decimal("19.90"),
        "color": Color.RED,
        "address": Address("Main St", 12345),
        "order": Order(number=1, total=Decimal("0.10"), lines=["a"]),
        "pair": (1, "one"),
        "tags": {"a", "b"},
        "pause": timedelta(minutes=5),
        "data": b"bytes",
        "maybe": None,
    }
    args, kwargs = round_trip(everything, **values)
    assert args == ()
    assert kwargs == values
    assert {name: type(value) for name, value in kwargs.items()} == {
        name: type(value) for name, value in values.items()
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), inner
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_comes_back_as_it_went(value: Any) -> None:
    def function(value): ...  # type: ignore[no-untyped-def]

    assert round_trip(function, value) == ((), {"value": value})


@given(st.integers(), st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_plain_annotations_take_the_shortcut_and_still_hold(n: int, s: str, b: bool) -> None:
    def function(n: int, s: str, b: bool) -> None: ...

    if "\x00" in s:
        with pytest.raises(InvalidArguments, match="NUL"):
            round_trip(function, n, s, b)
    else:
        assert round_trip(function, n, s, b) == ((), {"n": n, "s": s, "b": b})


def test_defaults_are_not_stored() -> None:
    def function(a: int, b: int = 2) -> None: ...

    assert json.loads(parameters_of(function).dump((1,), {})) == {"a": 1}


def test_star_args_are_a_list_under_their_name_and_star_kwargs_are_merged() -> None:
    def function(first: int, second: int = 5, *rest: int, key: str, **more: float) -> None: ...

    parameters = parameters_of(function)
    text = parameters.dump((1, 2, 3, 4), {"key": "k", "x": 1.5})
    assert json.loads(text) == {"first": 1, "second": 2, "rest": [3, 4], "key": "k", "x": 1.5}
    assert parameters.load(text) == ((1, 2, 3, 4), {"key": "k", "x": 1.5})


def test_a_keyword_with_the_name_of_star_args_is_refused() -> None:
    def function(*rest: int, **more: int) -> None: ...

    with pytest.raises(InvalidArguments, match=r"\*rest"):
        parameters_of(function).dump((), {"rest": 1})


def test_items_before_star_args_take_their_defaults_when_they_are_not_stored() -> None:
    def function(first: int = 1, *rest: int) -> None: ...

    assert parameters_of(function).load('{"rest": [7]}') == ((1, 7), {})


def test_positional_only_parameters_are_refused_at_definition() -> None:
    def function(a: int, /) -> None: ...

    with pytest.raises(InvalidJob, match="positional-only"):
        parameters_of(function)


def numbers(n: int, ratio: float = 0.0) -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "missing a required argument: 'n'"),
        ((1, 2.0, 3), {}, "too many positional arguments"),
        ((1,), {"other": 1}, "unexpected keyword argument 'other'"),
        (("1",), {}, "n: Input should be a valid integer"),
        ((True,), {}, "n: Input should be a valid integer"),
        ((1.5,), {}, "n: "),
        ((None,), {}, "n: Input should be a valid integer"),
        ((1, math.nan), {}, "JSON"),
        ((1, math.inf), {}, "JSON"),
    ],
)
def test_wrong_arguments_are_refused(args: Any, kwargs: Any, said: str) -> None:
    with pytest.raises(InvalidArguments, match=said) as caught:
        parameters_of(numbers).dump(args, kwargs)
    assert isinstance(caught.value, TypeError)
    assert str(caught.value).startswith("Example: ")


def itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "number"),
        (-math.inf, "number"),
        ([1, [math.nan]], "number"),
        ("a\x00b", "NUL"),
        ({"a\x00": 1}, "NUL"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({1: "one"}, "not a string"),
        (NoJson(), "NoJson is not JSON"),
        (datetime(2026, 1, 1, tzinfo=UTC), "annotate"),
        ({1, 2}, "set is not JSON"),
        (b"bytes", "bytes is not JSON"),
        (itself(), "nested too deeply"),
        ("x" * (MAX_ARGS_BYTES + 1), "over the limit of 1,048,576"),
        ("€" * (MAX_ARGS_BYTES // 3 + 1), "over the limit"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused(value: Any, said: str) -> None:
    def function(value): ...  # type: ignore[no-untyped-def]

    with pytest.raises(InvalidArguments, match=said):
        parameters_of(function).dump((value,), {})
    with pytest.raises(InvalidArguments, match=said):
        parameters_of(function).dump_mapping({"value": value})


def test_a_backslash_before_u0000_is_no_nul() -> None:
    def function(value: str) -> None: ...

    assert round_trip(function, "\\u0000") == ((), {"value": "\\u0000"})
    with pytest.raises(InvalidArguments, match="NUL"):
        round_trip(function, "\\\x00")


def test_nan_inside_a_model_is_refused() -> None:
    def function(point: dict[str, float]) -> None: ...

    with pytest.raises(InvalidArguments, match="JSON"):
        parameters_of(function).dump(({"x": math.nan},), {})


def test_a_type_that_loses_its_value_in_json_is_refused() -> None:
    def function(password: SecretStr) -> None: ...

    with pytest.raises(InvalidArguments, match="comes back from JSON"):
        parameters_of(function).dump((SecretStr("hunter2"),), {})


Scrambled = Annotated[str, PlainSerializer(lambda text: text[::-1])]


def test_a_value_that_is_redacted_is_in_no_refusal() -> None:
    def function(password: Scrambled) -> None: ...

    parameters = Parameters(function, "Log", is_method=False, redact=("password",))
    with pytest.raises(InvalidArguments, match=r"Log: password: .* it is redacted") as refused:
        parameters.dump(("hunter2",), {})
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize("value", [{"hunter2": "hunter2"}, "hunter2", ["hunter2"], 7171.5])
def test_the_keys_of_a_redacted_object_are_in_no_refusal(value: Any) -> None:
    def function(password: dict[str, int]) -> None: ...

    parameters = Parameters(function, "Log", is_method=False, redact=("password",))
    for refuse in (
        lambda: parameters.dump((value,), {}),
        lambda: parameters.dump_mapping({"password": value}),
        lambda: parameters.load(json.dumps({"password": value})),
    ):
        with pytest.raises(InvalidArguments, match=r"Log: password: .* it is redacted") as refused:
            refuse()
        assert "hunter2" not in str(refused.value)
        assert "7171" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    def function(data: bytes) -> None: ...

    with pytest.raises(InvalidArguments, match="cannot be stored as JSON"):
        parameters_of(function).dump((b"\xff",), {})


def test_an_annotation_that_pydantic_does_not_know_is_refused() -> None:
    def function(value: NoJson) -> None: ...

    with pytest.raises(InvalidArguments, match="use a plain type, a dataclass or a pydantic model"):
        parameters_of(function).dump((NoJson(),), {})


def test_constraints_of_annotations_hold() -> None:
    def function(n: Annotated[int, Field(gt=0)], mode: Literal["a", "b"]) -> None: ...

    assert round_trip(function, 1, "a") == ((), {"n": 1, "mode": "a"})
    with pytest.raises(InvalidArguments, match="n: Input should be greater than 0"):
        parameters_of(function).dump((0, "a"), {})
    with pytest.raises(InvalidArguments, match="mode: "):
        parameters_of(function).dump((1, "c"), {})


def typed(when: datetime, order: Order | None = None, *rest: UUID, n: int = 0) -> None: ...


@pytest.mark.parametrize(
    "given_args",
    [
        {"when": datetime(2026, 1, 1, tzinfo=UTC), "order": Order(number=1, total=Decimal(2))},
        {"when": "2026-01-01T00:00:00Z", "order": {"number": 1, "total": "2", "lines": []}},
    ],
    ids=["python values", "json values"],
)
def test_arguments_by_name_come_as_python_or_as_json(given_args: Mapping[str, Any]) -> None:
    parameters = parameters_of(typed)
    _, kwargs = parameters.load(parameters.dump_mapping(given_args))
    assert kwargs["when"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert kwargs["order"] == Order(number=1, total=Decimal(2))


@pytest.mark.parametrize(
    ("given_args", "said"),
    [
        ({}, "missing a required argument: 'when'"),
        ({"when": "yesterday"}, "when: Input should be a valid datetime"),
        ({"when": "2026-01-01T00:00:00Z", "n": "1"}, "n: Input should be a valid integer"),
        ({"when": "2026-01-01T00:00:00Z", "what": 1}, "unexpected keyword argument 'what'"),
        ({"when": "2026-01-01T00:00:00Z", "rest": 1}, "has to be a list"),
        ({"when": NoJson()}, "when"),
    ],
)
def test_wrong_arguments_by_name_are_refused(given_args: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InvalidArguments, match=said):
        parameters_of(typed).dump_mapping(given_args)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object but list"),
        ("{}", "missing a required argument: 'n'"),
        ('{"n": 1, "gone": 2}', "unexpected keyword argument 'gone'"),
        ('{"n": "many"}', "n: Input should be a valid integer"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=["no json", "no object", "missing", "unknown", "wrong type", "too deep"],
)
def test_a_row_that_does_not_fit_any_more_says_so(text: str, said: str) -> None:
    with pytest.raises(InvalidArguments, match=said):
        parameters_of(numbers).load(text)
