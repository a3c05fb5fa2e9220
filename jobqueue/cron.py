"""Schedules of recurring jobs: `Cron(...)` and `Every(...)`, behind the interface `Schedule`.

A schedule is a rule without a memory. For any moment it returns the tick that comes after it. So
all machines find the same ticks without talking to one another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, NoReturn

from jobqueue.errors import InvalidJob

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST_INTERVAL = timedelta(seconds=1)
FIRST_LOOK_BACK = timedelta(seconds=2)
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
EXPECTED = (
    "expected five fields (minute, hour, day of the month, month, day of the week), "
    "or six that begin with seconds"
)

CatchUp = bool | Literal["all"]


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """The rule by which a job is enqueued by itself, as `schedule` of its class.

    It is a `Cron` or an `Every`.

    Args:
        args: the arguments of its `perform`, by parameter name.
        catch_up: what becomes of ticks that passed while no worker ran: True, one job for the
            latest of them; False, none; "all", a job for each.
        name: tells the schedules of one class apart, where it has several.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    catch_up: CatchUp = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the values; raises `InvalidJob` for one that cannot be used."""
        if not isinstance(self.args, Mapping):
            self.refuse(f"args is {self.args!r}; expected a dict by parameter name")
        if not isinstance(self.catch_up, bool) and self.catch_up != "all":
            self.refuse(f'catch_up is {self.catch_up!r}; expected True, False or "all"')
        name: object = self.name
        if name is not None and not (isinstance(name, str) and name.isprintable()):
            self.refuse(f"name is {self.name!r}; expected some text")

    @property
    @abstractmethod
    def expression(self) -> str:
        """The rule, for people: `0 2 * * *`, `every 5 min`."""

    @property
    @abstractmethod
    def zone(self) -> str:
        """The name of the time zone that the rule is meant in."""

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first tick after an aware moment, in UTC; None when there is none."""

    @abstractmethod
    def rule(self) -> dict[str, Any]:
        """Return the rule as JSON, for `schedule_from` to read."""

    def latest_between(self, after: datetime, until: datetime) -> datetime | None:
        """Return the latest tick after one moment and not after another; None without one.

        It looks back a little, and then further and further. So it does not go through the hundred
        thousand ticks of a long absence.
        """
        look_back = FIRST_LOOK_BACK
        while until - look_back > after:
            latest = self._last_of(until - look_back, until)
            if latest is not None:
                return latest
            look_back *= 8
        return self._last_of(after, until)

    def _last_of(self, after: datetime, until: datetime) -> datetime | None:
        latest, tick = None, self.next_after(after)
        while tick is not None and tick <= until:
            latest, tick = tick, self.next_after(tick)
        return latest

    def refuse(self, why: str) -> NoReturn:
        """Raise `InvalidJob`."""
        raise InvalidJob(f"{type(self).__name__}: {why}")


@dataclass(frozen=True)
class Cron(Schedule):
    """Ticks as crontab has them: `Cron("0 2 * * *", tz="Europe/Paris")`.

    When clocks are changed, it does as Debian's cron. A time of day that is skipped comes right
    after the gap. A time of day that comes twice ticks once. A rule for every so many minutes, or
    for every hour, goes on by real time.

    Args:
        crontab: minute, hour, day of the month, month, day of the week; or six fields that begin
            with seconds; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        tz: the name of the time zone that the expression is meant in.
        args: the arguments of its `perform`, by parameter name.
        catch_up: what becomes of ticks that passed while no worker ran: True, one job for the
            latest of them; False, none; "all", a job for each.
        name: tells the schedules of one class apart, where it has several.

    Raises:
        InvalidJob: the expression is not valid or can never come true, or there is no such zone.
    """

    crontab: str
    tz: str = field(default="UTC", kw_only=True)
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values; raises `InvalidJob` for one that cannot be used."""
        super().__post_init__()
        if not isinstance(self.crontab, str):
            self.refuse(f"{self.crontab!r} is no expression; {EXPECTED}")
        object.__setattr__(self, "_zone", self._zone_info())
        self._refuse_unless_it_ticks()

    def _zone_info(self) -> tzinfo:
        from zoneinfo import ZoneInfo

        if self.tz == "UTC":
            return UTC
        try:
            return ZoneInfo(self.tz)
        except (KeyError, ValueError, OSError, TypeError, AttributeError):
            self.refuse(
                f"there is no time zone {self.tz!r} here; expected a name such as Europe/Paris "
                "(where the system has no time zones, install the package tzdata)"
            )

    def _refuse_unless_it_ticks(self) -> None:
        from cronsim import CronSimError

        try:
            first = self.next_after(datetime.now(UTC))
        except CronSimError as error:
            wrong = str(error)
            self.refuse(f"{self.crontab!r} is no expression ({wrong.lower()}); {EXPECTED}")
        if first is None:
            self.refuse(f"{self.crontab!r} never comes true: there is no such day")

    @property
    def expression(self) -> str:
        """The expression, as it was given."""
        return self.crontab

    @property
    def zone(self) -> str:
        """The name of its time zone."""
        return self.tz

    def next_after(self, moment: datetime) -> datetime | None:
        from cronsim import CronSim

        fields = NICKNAMES.get(self.crontab.strip().lower(), self.crontab)
        # In the hour that is there twice it begins with times that have passed.
        for tick in CronSim(fields, moment.astimezone(self._zone)):
            if tick.astimezone(UTC) > moment:
                return tick.astimezone(UTC)
        return None

    def rule(self) -> dict[str, Any]:
        return {"cron": self.crontab, "tz": self.tz}


@dataclass(frozen=True)
class Every(Schedule):
    """Ticks at equal distances: `Every(minutes=5)`, `Every(hours=1, minutes=30)`.

    The ticks are counted from 1970-01-01 00:00 UTC. So those of `Every(minutes=5)` fall on full
    five minutes, and a restart does not move them.

    Args:
        weeks, days, hours, minutes, seconds: the distance, 1 second or more in all.
        args: the arguments of its `perform`, by parameter name.
        catch_up: what becomes of ticks that passed while no worker ran: True, one job for the
            latest of them; False, none; "all", a job for each.
        name: tells the schedules of one class apart, where it has several.

    Raises:
        InvalidJob: the distance is not a duration, or is under a second.
    """

    weeks: float = field(default=0, kw_only=True)
    days: float = field(default=0, kw_only=True)
    hours: float = field(default=0, kw_only=True)
    minutes: float = field(default=0, kw_only=True)
    seconds: float = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the values; raises `InvalidJob` for one that cannot be used."""
        super().__post_init__()
        try:
            if self.interval >= SHORTEST_INTERVAL:
                return
        except (TypeError, ValueError, OverflowError):
            self.refuse("that is no duration; expected numbers, as in Every(minutes=5)")
        self.refuse(f"{self.interval.total_seconds():g} s is too short; expected 1 second or more")

    @property
    def interval(self) -> timedelta:
        """The distance from tick to tick."""
        return timedelta(
            weeks=self.weeks,
            days=self.days,
            hours=self.hours,
            minutes=self.minutes,
            seconds=self.seconds,
        )

    @property
    def expression(self) -> str:
        """The rule, for people: `every 5 min`, `every 1 h 30 min`."""
        return "every " + _spelled(self.interval)

    @property
    def zone(self) -> str:
        """UTC, in which its ticks are counted."""
        return "UTC"

    def next_after(self, moment: datetime) -> datetime | None:
        passed = (moment - EPOCH) // self.interval
        try:
            return EPOCH + (passed + 1) * self.interval
        except OverflowError:
            return None

    def rule(self) -> dict[str, Any]:
        return {"every_seconds": self.interval.total_seconds()}


def schedule_from(rule: Mapping[str, Any]) -> Schedule:
    """Make the schedule of a rule that `Schedule.rule` has written.

    Raises:
        InvalidJob: this release does not know such a rule, or this machine not its time zone.
    """
    match dict(rule):
        case {"cron": str(crontab), "tz": str(tz)}:
            return Cron(crontab, tz=tz)
        case {"every_seconds": float() | int() as seconds}:
            return Every(seconds=seconds)
    raise InvalidJob(f"{dict(rule)!r} is no schedule that this release knows")


def schedules_of_job(job_name: str, given: object) -> dict[str, Schedule]:
    """Return the schedules that a class has as its `schedule`, by names unique among all jobs.

    Raises:
        InvalidJob: one of them is no schedule, or two have the same name.
    """
    listed = () if given is None else given if isinstance(given, list | tuple) else (given,)
    named: dict[str, Schedule] = {}
    for schedule in listed:
        if not isinstance(schedule, Schedule):
            raise InvalidJob(
                f"{job_name}: schedule is {schedule!r}; expected Cron(...) or Every(...), or a "
                "list of them"
            )
        name = f"{job_name}:{schedule.name}" if schedule.name else job_name
        if name in named:
            raise InvalidJob(
                f"{job_name}: {named[name].expression!r} and {schedule.expression!r} have the same "
                'name; tell them apart with name="…"'
            )
        named[name] = schedule
    return named


def _spelled(interval: timedelta) -> str:
    left = interval.total_seconds()
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number:.0f} {unit}")
    if left:
        parts.append(f"{left:g} s")
    return " ".join(parts)
