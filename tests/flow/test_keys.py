"""The keys of flow control: which values are the same, and what cannot be a key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from jobqueue import Debounce, Fair, InvalidArguments, InvalidJob, Job, Limit, Ordered, Rate, Unique
from jobqueue.adapters import Adapter

pytestmark = pytest.mark.usefixtures("forget_jobs")


class Color(Enum):
    RED = "red"


class Painted(Job):
    unique = Unique()

    def perform(
        self,
        number: int = 1,
        color: Color = Color.RED,
        wait: timedelta = timedelta(hours=1),
        at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        **others: str,
    ) -> None: ...


class Keyed(Job):
    def perform(self, account: Any, number: int = 0) -> None: ...


def defined(**options: Any) -> type[Job]:
    """A new class with these options."""

    def perform(self: Any, account: str, number: int = 0) -> None: ...

    return type("Defined", (Job,), {"perform": perform, "__module__": __name__, **options})


def keyed(key: Any, account: Any = "a") -> str | None:
    """The line of a job with a limit of a key."""
    return Keyed.set(limits=(Limit(1, key=key),)).perform_later(account).line


# --- which calls are the same --------------------------------------------------------------------


def test_arguments_are_the_same_by_position_by_keyword_and_by_default(adapter: Adapter) -> None:
    first = Painted.perform_later()
    for again in (
        Painted.perform_later(1),
        Painted.perform_later(number=1),
        Painted.perform_later(1, Color.RED, timedelta(hours=1)),
        Painted.perform_later(at=datetime(2026, 1, 1, tzinfo=UTC)),
        *Painted.perform_all_later([(), (1,), {"color": Color.RED}]),
    ):
        assert (again.id, again.is_duplicate) == (first.id, True)
    assert adapter.queue_depths(10)[0].due == 1


def test_other_arguments_are_other_jobs(adapter: Adapter) -> None:
    calls: list[dict[str, Any]] = [{}, {"number": 2}, {"wait": timedelta(0)}]
    calls += [{"size": "s"}, {"size": "m"}, {"form": "s"}]
    assert not any(record.is_duplicate for record in Painted.perform_all_later(calls))
    assert all(record.is_duplicate for record in Painted.perform_all_later(calls))


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "a", "", "ä\n", ["a", 1], {"b": 1, "a": [2]}, "a" * 500_000],
    ids="{!r:.20}".format,
)
def test_a_key_is_any_value_of_json(adapter: Adapter, value: Any) -> None:
    line = keyed("account", value)
    assert line == keyed(lambda account: account, value)
    assert line is not None
    assert len(line) < 400
    assert len(adapter.gated_lines(10)) == 1


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.5"),
        UUID(int=7),
        date(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=UTC),
        timedelta(1),
        Color.RED,
    ],
    ids=repr,
)
def test_a_function_may_give_plain_values(adapter: Adapter, value: Any) -> None:
    assert keyed(lambda account: value) == keyed(lambda account: value)


@pytest.mark.parametrize(
    "value",
    [object(), {"a", "b"}, {1: 2, "a": 3}, b"a", "\ud800", [object()], range(3)],
    ids=["object", "set", "mixed keys", "bytes", "surrogate", "list of objects", "range"],
)
def test_a_function_may_give_nothing_else(adapter: Adapter, value: Any) -> None:
    """Its text would be another in another process, or after a restart."""
    with pytest.raises(InvalidArguments, match=r"the key 'account' of its flow control is .*; exp"):
        keyed(lambda account: value)
    assert adapter.count_by_state() == {}


def test_a_function_that_gives_itself_in_a_list(adapter: Adapter) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidArguments, match="of its flow control is"):
        keyed(lambda account: value)


def test_a_function_that_raises_stores_nothing(adapter: Adapter) -> None:
    with pytest.raises(InvalidArguments, match="raised TypeError"):
        keyed(lambda account: account["x"])
    assert adapter.count_by_state() == {}


# --- what cannot be a key ------------------------------------------------------------------------


def no_names() -> Iterable[str]:
    yield "account"


@pytest.mark.parametrize(
    "key",
    [
        {"account"},
        no_names(),
        b"account",
        {"account": 1},
        7,
        (),
        (1,),
        str,
        lambda: 1,
        lambda account, /: account,
        lambda *account: account,
        lambda **account: account,
    ],
)
def test_something_else_is_no_key(key: Any) -> None:
    """A set has another order in another process; a generator has none the second time."""
    with pytest.raises(InvalidJob, match="is no key; expected the name of a parameter"):
        defined(limits=(Limit(1, key=key),))
    with pytest.raises(InvalidArguments, match="is no key; expected the name of a parameter"):
        Keyed.set(unique=Unique(by=key)).perform_later(1)


def test_an_async_function_is_no_key() -> None:
    async def key(account: str) -> str:
        return account

    with pytest.raises(InvalidJob, match="is no key"):
        defined(fair=Fair(key))


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(InvalidJob, match="ordered: perform has no parameter 'acount'; it has"):
        defined(ordered=Ordered("acount"))


def test_turns_need_a_key() -> None:
    nobody: Any = None
    with pytest.raises(InvalidJob, match="fair needs a key"):
        defined(fair=Fair(nobody))


# --- numbers, and what does not go together ------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"limits": (Limit(-1),)}, "has to be a whole one, 0 or more"),
        ({"limits": (Limit(1.5),)}, "has to be a whole one, 0 or more"),  # type: ignore[arg-type]
        ({"limits": Limit(1)}, "expected a tuple"),
        ({"limits": 0}, "expected a tuple"),
        ({"limits": (5,)}, "expected Limit"),
        ({"limits": (Rate(1, per=0),)}, "per is 0; expected .* 1 ms or more"),
        ({"limits": (Rate(1, per=1e-6),)}, "per is 1e-06; expected .* 1 ms or more"),
        ({"expires_in": 0}, "expires_in is 0; expected .* more than 0"),
        ({"expires_in": timedelta(0)}, "expected .* more than 0"),
        ({"unique": False}, "unique is False; expected Unique"),
        ({"fair": False}, "fair is False; expected Fair"),
        ({"debounce": Debounce(0)}, "wait is 0; expected"),
        ({"debounce": Debounce(60, max_wait=10)}, "max_wait is 10.*shorter than wait"),
        ({"ordered": Ordered("account"), "fair": Fair("account")}, "ordered .* fair"),
        ({"ordered": Ordered("account"), "keep_failed": False}, "keep_failed"),
    ],
    ids=repr,
)
def test_options_that_cannot_be_meant(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidJob, match=why):
        defined(**options)


def test_an_order_that_goes_on_needs_no_rows_of_failed_jobs() -> None:
    defined(ordered=Ordered("account", on_failed="go_on"), keep_failed=False)


def test_none_means_none() -> None:
    defined(limits=None, unique=None, expires_in=None, ordered=None, fair=None, debounce=None)


def test_a_limit_and_a_rate_have_different_names() -> None:
    defined(name="one", limits=(Limit(1, name="the bank"),))
    defined(name="other", limits=(Limit(2, name="the bank"),))
    with pytest.raises(InvalidJob, match="'the bank' is a Rate of 1 s here, and a Limit of other"):
        defined(name="third", limits=(Rate(2, per=1, name="the bank"),))
    with pytest.raises(InvalidArguments, match=r"another name"):
        Keyed.set(limits=(Rate(2, per=1, name="the bank"),)).perform_later(1)
