"""Recurring jobs: when they tick, and that each tick becomes one job."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import Cron, Every, InvalidArguments, InvalidJob, Job, JobQueue, job
from jobqueue.adapters import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.cron import Schedule, schedule_from
from jobqueue.job import registry
from jobqueue.maintenance.ticker import Ticker, Ticks, app_key, schedules_in
from jobqueue.records import JobFilter, JobRecord, NewSchedule
from jobqueue.testing.contract.base import new_worker
from jobqueue.views.schedules import all_schedules

pytestmark = pytest.mark.usefixtures("forget_jobs")

PARIS = ZoneInfo("Europe/Paris")
LOG = logging.getLogger("jobqueue")
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

Wait = Callable[[Callable[[], bool], str], None]


def paris(text: str, fold: int = 0) -> datetime:
    """A moment by the clocks of Paris, in UTC: Python calls no ambiguous one equal to another."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold).astimezone(UTC)


def ticks(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    found, tick = [], schedule.next_after(after)
    while tick is not None and tick <= until:
        found.append(tick)
        tick = schedule.next_after(tick)
    return found


# --- when it ticks -------------------------------------------------------------------------------


def test_every_falls_on_full_intervals() -> None:
    moment = datetime(2030, 1, 1, 10, 3, 20, tzinfo=UTC)
    assert Every(minutes=5).next_after(moment) == datetime(2030, 1, 1, 10, 5, tzinfo=UTC)
    on_the_tick = datetime(2030, 1, 1, 10, 5, tzinfo=UTC)
    assert Every(minutes=5).next_after(on_the_tick) == on_the_tick + 5 * MINUTE
    assert Every(hours=1, minutes=30).expression == "every 1 h 30 min"
    assert Every(seconds=1.5).interval == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("crontab", "expected"),
    [
        ("@daily", "2030-01-02 00:00:00"),
        ("*/15 * * * *", "2030-01-01 00:15:00"),
        ("0 0 29 FEB *", "2032-02-29 00:00:00"),
        ("0 9 L * *", "2030-01-31 09:00:00"),
        ("0 9 * * MON#2", "2030-01-14 09:00:00"),
        ("*/10 * * * * *", "2030-01-01 00:00:10"),
    ],
)
def test_cron_expressions(crontab: str, expected: str) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    expected_tick = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert Cron(crontab).next_after(start) == expected_tick


def test_a_time_that_is_skipped_in_spring_comes_after_the_gap() -> None:
    nightly = Cron("30 2 * * *", tz="Europe/Paris")
    assert ticks(nightly, paris("2026-03-28 12:00"), paris("2026-03-30 12:00")) == [
        paris("2026-03-29 03:00"),
        paris("2026-03-30 02:30"),
    ]


def test_a_time_that_is_there_twice_in_autumn_comes_once() -> None:
    nightly = Cron("30 2 * * *", tz="Europe/Paris")
    expected = [paris("2026-10-25 02:30"), paris("2026-10-26 02:30")]
    assert ticks(nightly, paris("2026-10-24 12:00"), paris("2026-10-26 12:00")) == expected
    between = paris("2026-10-25 02:15", fold=1)
    assert ticks(nightly, between, paris("2026-10-26 12:00")) == expected[1:]


def test_what_recurs_by_the_hour_goes_on_by_real_time() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        start = paris(f"{day} 00:00")
        found = ticks(Cron("0 * * * *", tz="Europe/Paris"), start, start + 6 * HOUR)
        assert found == [start + n * HOUR for n in range(1, 7)]


CHANGES = [date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28), date(2027, 10, 31)]


@given(
    hour=st.integers(0, 23) | st.integers(1, 3),
    minute=st.integers(0, 59),
    day=st.dates(date(2020, 1, 2), date(2035, 12, 30)) | st.sampled_from(CHANGES),
)
def test_a_time_of_day_comes_once_a_day(hour: int, minute: int, day: date) -> None:
    schedule = Cron(f"{minute} {hour} * * *", tz="Europe/Paris")
    start = datetime.combine(day, time(), tzinfo=PARIS)
    following = datetime.combine(day + timedelta(days=1), time(), tzinfo=PARIS)
    wanted = datetime.combine(day, time(hour, minute), tzinfo=PARIS)
    if wanted.astimezone(UTC).astimezone(PARIS).replace(fold=0) != wanted:  # in the gap
        wanted = datetime.combine(day, time(3), tzinfo=PARIS)
    last_before_midnight = following.astimezone(UTC) - timedelta(microseconds=1)
    found = ticks(schedule, start.astimezone(UTC) - timedelta(seconds=1), last_before_midnight)
    assert found == [wanted.astimezone(UTC)]


EXPRESSIONS = st.sampled_from(
    [
        "*/5 * * * *",
        "30 2 * * *",
        "15,45 2 * * *",
        "0 */2 * * *",
        "*/20 2 * * *",
        "0 1-3 * * *",
        "59 1,2,3 * * *",
        "0 0 * * SUN",
        "*/30 30 2 * * *",
    ]
)
AROUND_A_CHANGE = st.sampled_from(
    [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]
)


@given(EXPRESSIONS, AROUND_A_CHANGE, st.integers(0, 6 * 3600), st.integers(0, 6 * 3600))
def test_ticks_do_not_depend_on_where_one_begins(
    crontab: str, change: datetime, first: int, second: int
) -> None:
    schedule = Cron(crontab, tz="Europe/Paris")
    early, late = (change + timedelta(seconds=s) for s in sorted((first, second)))
    end = change + 12 * HOUR
    from_early = ticks(schedule, early, end)
    assert ticks(schedule, late, end) == [tick for tick in from_early if tick > late]
    assert schedule.latest_between(early, late) == max(
        (tick for tick in from_early if tick <= late), default=None
    )


@given(EXPRESSIONS, AROUND_A_CHANGE)
def test_ticks_are_those_of_debians_cron(crontab: str, change: datetime) -> None:
    start, end = change - 12 * HOUR, change + 12 * HOUR
    theirs: list[datetime] = []
    for tick in CronSim(crontab, start.astimezone(PARIS)):
        if tick > end:
            break
        if tick.astimezone(UTC) not in theirs:
            theirs.append(tick.astimezone(UTC))
    assert ticks(Cron(crontab, tz="Europe/Paris"), start, end) == theirs


def test_the_latest_of_a_long_time_is_found_quickly() -> None:
    asked: list[datetime] = []

    class Counting(Every):
        def next_after(self, moment: datetime) -> datetime | None:
            asked.append(moment)
            return super().next_after(moment)

    now = datetime(2030, 1, 1, 0, 0, 0, 500, tzinfo=UTC)
    latest = Counting(seconds=1).latest_between(datetime(2000, 1, 1, tzinfo=UTC), now)
    assert latest == datetime(2030, 1, 1, tzinfo=UTC)
    assert len(asked) < 10
    assert Cron("@yearly").latest_between(now - 300 * 24 * HOUR, now - HOUR) is None


@pytest.mark.parametrize("schedule", [Cron("0 2 * * *", tz="Europe/Paris"), Every(minutes=5)])
def test_a_rule_survives_the_database(schedule: Schedule) -> None:
    assert schedule_from(schedule.rule()).rule() == schedule.rule()


# --- what is refused at import -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (lambda: Cron("61 * * * *"), "bad minute"),
        (lambda: Cron("* * *"), "wrong number of fields"),
        (lambda: Cron("0 0 30 FEB *"), "bad day-of-month"),
        (lambda: Cron("0 2 * * *", tz="Europe/Pariss"), "no time zone 'Europe/Pariss'"),
        (lambda: Cron("0 2 * * *", catch_up="some"), "catch_up is 'some'"),  # type: ignore[arg-type]
        (lambda: Cron(5), "5 is no expression"),  # type: ignore[arg-type]
        (Every, "too short"),
        (lambda: Every(seconds=0.5), "too short"),
        (lambda: Every(minutes="5"), "no duration"),  # type: ignore[arg-type]
        (lambda: Every(minutes=5, args=["a"]), "expected a dict"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_schedule_is_refused(schedule: Callable[[], Schedule], why: str) -> None:
    with pytest.raises(InvalidJob, match=why):
        schedule()


@pytest.mark.parametrize(
    ("given_schedule", "why"),
    [
        ("0 2 * * *", "expected Cron"),
        (Every(minutes=5), "missing a required argument: 'user_id'"),
        (Every(minutes=5, args={"user": 1}), "user_id"),
        ([Cron("@daily", args={"user_id": 1}), Every(days=1, args={"user_id": 2})], "same name"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused_at_definition(
    given_schedule: Any, why: str
) -> None:
    with pytest.raises(InvalidJob, match=why):

        class Report(Job):
            schedule = given_schedule

            def perform(self, user_id: int) -> None: ...

    assert not [name for name in registry.names() if "refused_at_definition" in name]


# --- the ticks of a process ----------------------------------------------------------------------


def schedule_of(rule: Schedule, name: str = "Report", **changes: Any) -> NewSchedule:
    values = {"args": "{}", "queue": "default", "priority": 50, "max_attempts": 5, **changes}
    return NewSchedule(
        name=name, handler="Report", rule=rule.rule(), catch_up=rule.catch_up, **values
    )


def ticking(adapter: Adapter, *schedules: NewSchedule, app: str | None = None) -> Ticks:
    """What enqueues these, having declared them."""
    found = Ticks(adapter, app, LOG)
    found.take(schedules)
    found.look()
    return found


def all_jobs(adapter: Adapter) -> Sequence[JobRecord]:
    return adapter.list_jobs(JobFilter(), 5000)[::-1]


def due_times(adapter: Adapter) -> list[datetime]:
    return [record.run_at for record in all_jobs(adapter)]


def test_a_tick_becomes_a_job(clocked_adapter: Adapter, clock: ManualClock) -> None:
    start = clock.now()
    rule = Every(minutes=5)
    options: dict[str, Any] = {"args": '{"of": "sales"}', "queue": "slow", "priority": 7}
    ticks = ticking(clocked_adapter, schedule_of(rule, **options))
    assert all_jobs(clocked_adapter) == []
    clock.advance(5 * MINUTE - timedelta(seconds=2))
    assert ticks.look() == 2
    assert all_jobs(clocked_adapter) == []
    clock.advance(2)
    ticks.look()
    (record,) = all_jobs(clocked_adapter)
    assert record.run_at == start + 5 * MINUTE
    assert (record.handler, record.args) == ("Report", {"of": "sales"})
    assert (record.queue, record.priority, record.max_attempts) == ("slow", 7, 5)
    ticks.look()
    assert len(all_jobs(clocked_adapter)) == 1


def test_however_many_look_each_tick_is_enqueued_once(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    start = clock.now()
    hosts = [ticking(clocked_adapter, schedule_of(Every(seconds=2))) for _ in range(3)]
    for _ in range(5):
        clock.advance(2)
        for host in hosts:
            host.look()
    assert due_times(clocked_adapter) == [start + timedelta(seconds=2 * n) for n in range(1, 6)]


def test_a_ticker_that_is_a_little_late_leaves_none_out(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    ticks = ticking(clocked_adapter, schedule_of(Every(seconds=1)))
    clock.advance(4)
    ticks.look()
    assert len(all_jobs(clocked_adapter)) == 4


@pytest.mark.parametrize(
    ("catch_up", "expected"), [(True, [3]), (False, []), ("all", [1, 2, 3])], ids=str
)
def test_what_was_missed(
    clocked_adapter: Adapter, clock: ManualClock, catch_up: Any, expected: list[int]
) -> None:
    start = clock.now()
    hourly = schedule_of(Cron("0 * * * *", catch_up=catch_up))
    ticking(clocked_adapter, hourly)
    clock.advance(3 * HOUR + 10 * MINUTE)
    on_return = ticking(clocked_adapter, hourly)
    assert due_times(clocked_adapter) == [start + n * HOUR for n in expected]
    on_return.look()
    clock.advance(50 * MINUTE)
    on_return.look()
    assert due_times(clocked_adapter) == [start + n * HOUR for n in [*expected, 4]]


def test_all_of_very_many_are_caught_up_with(clocked_adapter: Adapter, clock: ManualClock) -> None:
    every = schedule_of(Every(seconds=1, catch_up="all"))
    ticks = ticking(clocked_adapter, every)
    clock.advance(2500)
    pauses = [ticks.look() for _ in range(3)]
    assert len(set(due_times(clocked_adapter))) == len(all_jobs(clocked_adapter)) == 2500
    assert pauses[0] is not None
    assert pauses[0] < 0.01


# --- a clock that was wrong ----------------------------------------------------------------------


def looked(ticks: Ticks, clock: ManualClock, step: timedelta, times: int) -> None:
    """What became of some time, in which a ticker has looked again and again."""
    for _ in range(times):
        clock.advance(step)
        ticks.look()


def test_a_clock_that_was_ahead_silences_nothing(
    clocked_adapter: Adapter, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """For half a minute it was an hour ahead. Each moment has one job all the same."""
    start = clock.now()
    caplog.set_level(logging.INFO, LOG.name)
    ticks = ticking(clocked_adapter, schedule_of(Every(minutes=1)))
    looked(ticks, clock, 10 * SECOND, 9)
    clock.advance(HOUR)
    looked(ticks, clock, 10 * SECOND, 3)
    clock.advance(-HOUR)
    assert ticks.look() is not None
    (said,) = [r for r in caplog.records if vars(r).get("event") == "schedule_put_back"]
    assert vars(said)["schedule"] == "Report"
    assert (start + 3 * MINUTE).isoformat() in said.getMessage()
    (record,) = clocked_adapter.schedules()
    assert record.last_tick is not None
    assert record.last_tick <= clock.now()

    looked(ticks, clock, 10 * SECOND, 6 * 70)
    due = due_times(clocked_adapter)
    in_order = [start + n * MINUTE for n in range(1, 73)]
    assert sorted(due) == in_order
    assert [r for r in caplog.records if vars(r).get("event") == "schedule_put_back"] == [said]


def test_a_clock_that_was_behind_repeats_nothing(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    start = clock.now()
    every = schedule_of(Every(minutes=1, catch_up="all"))
    hosts = [ticking(clocked_adapter, every) for _ in range(2)]
    for step in (timedelta(0), -2 * MINUTE, 2 * MINUTE, timedelta(0)):
        clock.advance(step)
        for _ in range(9):
            clock.advance(20)
            for host in hosts:
                host.look()
    assert due_times(clocked_adapter) == [start + n * MINUTE for n in range(1, 13)]


@given(
    catch_up=st.sampled_from([True, False, "all"]),
    jumps=st.lists(st.integers(-7200, 7200), max_size=6),
)
def test_whatever_the_clock_does_no_moment_has_two_jobs(catch_up: Any, jumps: list[int]) -> None:
    clock = ManualClock()
    adapter = MemoryAdapter(clock=clock)
    ticks = ticking(adapter, schedule_of(Every(minutes=10, catch_up=catch_up)))
    for jump in jumps:
        clock.advance(jump)
        looked(ticks, clock, 5 * MINUTE, 4)
    due = due_times(adapter)
    assert len(set(due)) == len(due)
    record = adapter.schedules()[0]
    assert max(record.since, record.last_tick or record.since) <= clock.now() + 5 * SECOND


@pytest.mark.parametrize("since_moment", ["declared", "last tick"])
def test_a_row_that_a_former_release_has_put_ahead_goes_on(
    clocked_adapter: Adapter, clock: ManualClock, since_moment: str
) -> None:
    clock.advance(HOUR)
    ticks = ticking(clocked_adapter, schedule_of(Every(minutes=1)))
    ahead = clock.now() + MINUTE
    if since_moment == "last tick":
        (record,) = clocked_adapter.schedules()
        assert clocked_adapter.enqueue_ticks(record, [], ahead) is not None
    back = clock.advance(-HOUR)
    looked(ticks, clock, MINUTE, 62)
    expected = [back + n * MINUTE for n in range(1, 63)]
    if since_moment == "last tick":
        expected.remove(ahead)
    assert due_times(clocked_adapter) == expected


def test_what_no_worker_has_is_not_active_for_a_clock_that_was_ahead(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    clocked_adapter.register_worker(new_worker())
    ticks = ticking(clocked_adapter, schedule_of(Every(minutes=1)))
    clock.advance(-HOUR)
    assert [view.state for view in all_schedules(clocked_adapter)] == ["inactive"]
    clocked_adapter.beat(["worker-1"])
    ticking(clocked_adapter, schedule_of(Every(minutes=1)))
    (view,) = all_schedules(clocked_adapter)
    assert (view.state, view.next_tick) == ("active", clock.now() + MINUTE)
    del ticks


def test_missed_ones_are_not_for_those_that_are_new(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    ticking(clocked_adapter, schedule_of(Cron("@hourly")))
    clock.advance(90 * MINUTE)
    changed = ticking(clocked_adapter, schedule_of(Cron("30 * * * *", catch_up="all")))
    assert all_jobs(clocked_adapter) == []
    expected = clock.advance(HOUR)
    changed.look()
    assert due_times(clocked_adapter) == [expected]


def test_a_new_release_counts_everywhere(clocked_adapter: Adapter, clock: ManualClock) -> None:
    old = schedule_of(Every(minutes=1), args='{"of": "old"}')
    old_host = ticking(clocked_adapter, old)
    ticking(clocked_adapter, schedule_of(Every(minutes=2), args='{"of": "new"}'))
    for _ in range(4):
        clock.advance(MINUTE)
        old_host.take([old])
        old_host.look()
    assert [record.args for record in all_jobs(clocked_adapter)] == [{"of": "new"}] * 2


def test_what_no_living_worker_has_is_left_alone(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    ticks = ticking(
        clocked_adapter, schedule_of(Every(minutes=1)), schedule_of(Every(minutes=1), "Old")
    )
    ticks.take([schedule_of(Every(minutes=1))])
    clock.advance(MINUTE)
    ticks.look()
    rows = {record.name: record for record in clocked_adapter.schedules()}
    assert rows["Old"].last_tick is None
    assert rows["Report"].last_tick == clock.now()
    ticks.take([])
    assert ticks.look() is None


def test_two_applications_keep_apart(clocked_adapter: Adapter, clock: ManualClock) -> None:
    shop = ticking(
        clocked_adapter, schedule_of(Every(minutes=1), args='{"of": "shop"}'), app="shop"
    )
    blog = ticking(
        clocked_adapter, schedule_of(Every(minutes=2), args='{"of": "blog"}'), app="blog"
    )
    for _ in range(2):
        clock.advance(MINUTE)
        shop.look()
        blog.look()
    made = [record.args["of"] for record in all_jobs(clocked_adapter)]
    assert made == ["shop", "shop", "blog"]
    assert app_key(" b , a") == app_key("a,b")
    assert app_key(None) == "jobs"


def test_a_paused_schedule_rests_and_goes_on(clocked_adapter: Adapter, clock: ManualClock) -> None:
    ticks = ticking(clocked_adapter, schedule_of(Every(minutes=1, catch_up="all")))
    clocked_adapter.pause_schedule("jobs", "Report")
    clock.advance(10 * MINUTE)
    ticks.look()
    clocked_adapter.resume_schedule("jobs", "Report")
    ticks.look()
    assert all_jobs(clocked_adapter) == []
    expected = clock.advance(MINUTE)
    ticks.look()
    assert due_times(clocked_adapter) == [expected]


def test_rows_that_were_removed_come_back(clocked_adapter: Adapter, clock: ManualClock) -> None:
    seconds = 0.0
    ticks = Ticks(clocked_adapter, "shop", LOG, lambda: seconds)
    other = Ticks(clocked_adapter, "blog", LOG, lambda: seconds)
    ticks.take([schedule_of(Every(minutes=1))])
    ticks.look()
    ticks._app = "blog"  # where nothing of it is there, as if somebody had removed it
    seconds = 60
    ticks.look()
    other.look()
    assert [record.app for record in clocked_adapter.schedules()] == ["blog", "shop"]


def test_a_rule_of_a_newer_release_is_left_to_it(
    clocked_adapter: Adapter, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = ticking(
        clocked_adapter, schedule_of(Every(minutes=1)), schedule_of(Every(minutes=1), "B")
    )
    newer = NewSchedule("B", "Report", "{}", {"sunrise": "Paris"}, True, "default", 50, 5)
    clocked_adapter.declare_schedules("jobs", [newer])
    clock.advance(MINUTE)
    ticks.look()
    ticks.look()
    assert len(all_jobs(clocked_adapter)) == 1
    assert [r.message for r in caplog.records if "left to others" in r.message] == [
        "schedule B is left to others: {'sunrise': 'Paris'} is no schedule that this release knows"
    ]


# --- what the code declares ----------------------------------------------------------------------


def schedules_of_test(adapter: Adapter) -> list[NewSchedule]:
    return [s for s in schedules_in(registry, adapter) if s.handler.startswith("tests.test_rec")]


def test_classes_and_functions_declare_their_schedules(adapter: Adapter) -> None:
    class Report(Job):
        name = "tests.test_recurring.Report"
        queue, priority, max_attempts = "slow", 7, 3
        schedule = [  # noqa: RUF012 - as a reader of the manual writes it
            Cron("0 2 * * *", tz="Europe/Paris", args={"day": datetime(2030, 1, 1, tzinfo=UTC)}),
            Every(minutes=5, name="often", args={"day": "2030-01-01T00:00:00Z"}, catch_up=False),
        ]

        def perform(self, day: datetime) -> None: ...

    @job(name="tests.test_recurring.tidy", schedule=Every(hours=1))
    def tidy() -> None: ...

    nightly, often, hourly = schedules_of_test(adapter)
    assert (nightly.name, often.name) == (Report.name, f"{Report.name}:often")
    assert nightly.args == often.args == '{"day":"2030-01-01T00:00:00Z"}'
    assert (nightly.queue, nightly.priority, nightly.max_attempts) == ("slow", 7, 3)
    assert (nightly.catch_up, often.catch_up) == (True, False)
    assert nightly.rule == {"cron": "0 2 * * *", "tz": "Europe/Paris"}
    assert (hourly.name, hourly.rule) == (type(tidy).name, {"every_seconds": 3600.0})


def test_arguments_of_a_wrong_type_stop_the_worker_at_its_start(adapter: Adapter) -> None:
    class Report(Job):
        schedule = Every(hours=1, args={"day": "tomorrow"})

        def perform(self, day: datetime) -> None: ...

    with pytest.raises(InvalidArguments, match="day: Input should be a valid datetime"):
        JobQueue(adapter).worker().run()
    assert adapter.workers() == []


def test_a_class_that_is_kept_elsewhere_is_not_declared_here(
    adapter: Adapter, clock: ManualClock
) -> None:
    from jobqueue import MemoryAdapter

    elsewhere = MemoryAdapter(clock=clock)

    class Report(Job):
        name = "tests.test_recurring.Report"
        adapter = elsewhere
        schedule = Every(hours=1)

        def perform(self) -> None: ...

    assert schedules_of_test(adapter) == []
    assert [schedule.name for schedule in schedules_of_test(elsewhere)] == [Report.name]


# --- in a worker ---------------------------------------------------------------------------------


def test_a_worker_enqueues_and_performs_within_a_second(adapter: Adapter, wait_for: Wait) -> None:
    late: list[float] = []

    class Tick(Job):
        schedule = Every(seconds=1)

        def perform(self) -> None:
            late.append(datetime.now(UTC).timestamp() % 1)

    worker = JobQueue(adapter, poll_interval=0.05).worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_for(lambda: len(late) >= 3, "three ticks")
    worker.stop()
    thread.join()
    assert max(late) < 0.9
    (row,) = adapter.schedules()
    assert row.name == Tick.name
    assert row.last_tick is not None


def test_working_off_enqueues_nothing(adapter: Adapter) -> None:
    class Tick(Job):
        schedule = Every(seconds=1)

        def perform(self) -> None: ...

    JobQueue(adapter).work_off()
    assert adapter.schedules() == []


def test_a_ticker_without_schedules_has_no_thread_and_asks_nothing(adapter: Adapter) -> None:
    ticker = Ticker(adapter, None, LOG)
    ticker.mind([])
    assert not [t for t in threading.enumerate() if t.name == "jobqueue-ticker"]
    ticker.stop()
