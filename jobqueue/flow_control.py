"""Flow control of a job class: how many run at once, in which order, and which calls are the same.

A `key` tells jobs of a class apart. It is the name of a parameter of `perform`, several names, or a
function of some of them, whose own parameters name those that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal

Key = str | Sequence[str] | Callable[..., Any]
"""What tells jobs apart: the name of a parameter, several, or a function of them."""
Duration = timedelta | float
"""A `timedelta`, or a number of seconds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs may run at once, on all workers together.

    Args:
        number: how many.
        key: counts the jobs of each value of it by themselves; None counts all together.
        name: the limit's name, by which it is shown and changed. Classes with a limit of the same
            name count together. By default it is made of the class and the key.
    """

    number: int
    key: Key | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs may start within any period of that length, on all workers together.

    Args:
        number: how many.
        per: the length of the period, as a `timedelta` or seconds.
        key: counts the jobs of each value of it by themselves; None counts all together.
        name: as of a `Limit`.
    """

    number: int
    per: Duration
    key: Key | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Unique:
    """Which calls mean a job that is there already: they store nothing, and return its record.

    Args:
        by: the parameters that have to be equal, or a function of them; None for all of them.
        until: "finish" while such a job has not ended; "start" while it has not started.
        within: instead of both, how long after the first call others mean the same, whatever has
            become of its job; as a `timedelta` or seconds.
    """

    by: Key | None = None
    until: Literal["finish", "start"] = "finish"
    within: Duration | None = None


@dataclass(frozen=True, slots=True)
class Ordered:
    """The jobs of each value of a key are performed one at a time, in the order of their commits.

    Priorities do not count among them. A job that is tried again keeps its place.

    Args:
        key: tells the orders apart; None for a single one.
        on_failed: "stop" has the jobs behind one that has failed wait until somebody retries or
            deletes it; with "go_on" they go on without it.
    """

    key: Key | None = None
    on_failed: Literal["stop", "go_on"] = "stop"


@dataclass(frozen=True, slots=True)
class Fair:
    """The jobs of different values of a key take turns, however many there are of each.

    Args:
        key: tells them apart, a tenant for example.
    """

    key: Key


@dataclass(frozen=True, slots=True)
class Debounce:
    """Calls that follow each other quickly become one job, with the arguments of the last call.

    A call while the job runs makes a new one.

    Args:
        wait: how long after the last call it is due, as a `timedelta` or seconds.
        max_wait: how long after the first call it is due at the latest; None for no such limit.
        key: tells calls apart that become different jobs; None for one job of the class.
    """

    wait: Duration
    max_wait: Duration | None = None
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Controls:
    """The options of a class, or of a call, that are flow control. None where there is none."""

    limits: Sequence[Limit | Rate] | None = None
    unique: Unique | None = None
    expires_in: timedelta | float | None = None
    ordered: Ordered | None = None
    fair: Fair | None = None
    debounce: Debounce | None = None

    def over(self, others: Controls) -> Controls:
        """These, and others where there is none here."""
        return Controls(*(_first(getattr(self, n), getattr(others, n)) for n in CONTROL_NAMES))

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in CONTROL_NAMES)


CONTROL_NAMES = tuple(each.name for each in fields(Controls))


def _first(own: Any, other: Any) -> Any:
    return other if own is None else own
