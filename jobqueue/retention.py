"""Retention: the rules of `keep_succeeded` and `keep_failed`, by which finished rows stay."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue.durations import duration

LONGEST_AGE = timedelta(days=365 * 1000)
ASKED_FOR_AGE = timedelta(hours=1)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
WORDS = {"true": True, "yes": True, "on": True, "1": True}
WORDS |= {"false": False, "no": False, "off": False, "0": False}
KEEP_EXPECTED = (
    "true or false, a count (1000), an age with its unit (90s, 30m, 12h, 7d, 2w), or both (1000 7d)"
)
AGE_EXPECTED = "an age with its unit (90s, 30m, 12h, 7d, 2w), or a number of seconds above 0"
KEEP_EXPECTED_IN_CODE = "True, False, a count, a timedelta, or Keep(count=…, age=…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """A rule for finished jobs of a class: how many stay in the database, for how long, or both.

    A row stays as long as both allow it.

    Args:
        count: how many jobs of each class stay, the latest ones; None for any number.
        age: how long a job stays after its end; None for ever.

    Raises:
        ValueError: one of them cannot be used.
    """

    count: int | None = None
    age: timedelta | None = None

    def __post_init__(self) -> None:
        count: object = self.count
        if count is not None and (type(count) is not int or count < 0):
            raise ValueError(f"count={count!r}; expected a whole number from 0")
        age: object = self.age
        if age is not None and not (
            isinstance(age, timedelta) and timedelta(0) <= age <= LONGEST_AGE
        ):
            raise ValueError(f"age={age!r}; expected a timedelta of 0 or more")

    @property
    def keeps_nothing(self) -> bool:
        """Whether a row is removed as soon as its job is done."""
        return self.count == 0 or self.age == timedelta(0)

    @property
    def keeps_everything(self) -> bool:
        """Whether every row stays."""
        return self.count is None and self.age is None


KeepRule = bool | int | timedelta | Keep
EVERYTHING = Keep()
NOTHING = Keep(count=0)


def keep_of(rule: KeepRule) -> Keep:
    """Make a `Keep` of a rule.

    Raises:
        ValueError: it is no rule.
    """
    if isinstance(rule, Keep):
        return rule
    if isinstance(rule, bool):
        return EVERYTHING if rule else NOTHING
    if isinstance(rule, int):
        return Keep(count=rule)
    if not isinstance(rule, timedelta):
        raise ValueError(f"{rule!r}; expected {KEEP_EXPECTED_IN_CODE}")
    return Keep(age=rule)


def keep_text(keep: Keep) -> str:
    """Which rows stay, in words."""
    if keep.keeps_nothing:
        return "none"
    if keep.count is None and keep.age is None:
        return "all"
    number = "all" if keep.count is None else f"the last {keep.count:,}"
    if keep.age is None:
        return number
    return f"{number}, for {duration(keep.age.total_seconds())}"


def is_keep_rule(value: Any) -> bool:
    """Whether a value is a rule."""
    try:
        keep_of(value)
    except ValueError:
        return False
    return True


def parse_keep(value: Any) -> KeepRule:
    """Read a rule as settings write it: in files, in the environment and on the command line.

    Raises:
        ValueError: it is no rule.
    """
    if isinstance(value, str):
        text = value.strip().lower()
        return WORDS[text] if text in WORDS else _parse_limits(text)
    keep_of(value)
    return value  # type: ignore[no-any-return]


def parse_age(value: Any) -> timedelta:
    """Read an age as settings and options write it: seconds, or a number with its unit.

    Raises:
        ValueError: it is none, or it is not above 0.
    """
    age = value if isinstance(value, timedelta) else _age_of(str(value).strip().lower())
    if isinstance(value, bool) or not timedelta(0) < age <= LONGEST_AGE:
        raise ValueError(value)
    return age


def _age_of(text: str) -> timedelta:
    found = AGE.fullmatch(text)
    if found is None:
        return timedelta(seconds=float(text))
    return timedelta(**{UNITS[found[2]]: float(found[1])})


def _parse_limits(text: str) -> KeepRule:
    limits = [_parse_limit(part) for part in text.replace(",", " ").split()]
    if len(limits) == 1:
        return limits[0]
    count, age = sorted(limits, key=lambda limit: isinstance(limit, timedelta))
    if not isinstance(count, int) or not isinstance(age, timedelta):
        raise ValueError(text)
    return Keep(count=count, age=age)


def _parse_limit(text: str) -> int | timedelta:
    if text.isdecimal():
        return int(text)
    if AGE.fullmatch(text) is None:
        raise ValueError(text)
    age = _age_of(text)
    keep_of(age)
    return age


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules of a class: for succeeded jobs, and for jobs that ended otherwise."""

    succeeded: Keep
    failed: Keep


def retention_of(job_class: Any, settings: Any) -> Retention:
    """Return the rules of a class, or of the settings where the class has none.

    Jobs that somebody will ask for, over the API or for their result, stay for an hour by default.
    """
    succeeded, failed = job_class.keep_succeeded, job_class.keep_failed
    usual = keep_of(settings.keep_succeeded)
    if (job_class.api or job_class.keep_result) and usual.keeps_nothing:
        usual = Keep(age=ASKED_FOR_AGE)
    return Retention(
        succeeded=usual if succeeded is None else keep_of(succeeded),
        failed=keep_of(settings.keep_failed if failed is None else failed),
    )
