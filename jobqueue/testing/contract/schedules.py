"""The schedules of recurring jobs, and their ticks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    MOST_LAST_JOBS,
    JobFilter,
    NewJob,
    NewSchedule,
    ScheduleRecord,
    TickJob,
    TickSpan,
)
from jobqueue.testing.contract.base import TEXTS, ContractBase, a_claim, at_once, ids, new_job

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EVERY_MINUTE = {"every_seconds": 60.0}
EVERY_HOUR = {"cron": "0 * * * *", "tz": "Europe/Paris"}


def new_schedule(
    name: str = "Report",
    *,
    args: str = '{"of": "sales", "days": [1, 2.5, null]}',
    rule: dict[str, Any] = EVERY_MINUTE,
) -> NewSchedule:
    """A schedule to declare."""
    return NewSchedule(name, "shop.Report", args, rule, "all", "slow", 7, 3)


def declared(adapter: Adapter, schedule: NewSchedule | None = None) -> ScheduleRecord:
    """A schedule of `shop` that has just been declared."""
    schedule = schedule or new_schedule()
    adapter.declare_schedules("shop", [schedule])
    return the_schedule(adapter, schedule.name)


def the_schedule(adapter: Adapter, name: str = "Report") -> ScheduleRecord:
    """A schedule of `shop` that has to be there."""
    (found,) = [record for record in adapter.schedules("shop") if record.name == name]
    return found


class SchedulesContract(ContractBase):
    """Tests the methods that declare, read and pause schedules, and `enqueue_ticks`."""

    # --- declaring -------------------------------------------------------------------------------

    def test_a_declared_schedule_is_there(self, adapter: Adapter, clock: ManualClock) -> None:
        assert declared(adapter) == ScheduleRecord(
            app="shop",
            name="Report",
            handler="shop.Report",
            args={"of": "sales", "days": [1, 2.5, None]},
            rule=EVERY_MINUTE,
            catch_up="all",
            queue="slow",
            priority=7,
            max_attempts=3,
            since=clock.now(),
            last_tick=None,
            paused_at=None,
            declared_at=clock.now(),
            created_at=clock.now(),
            updated_at=clock.now(),
        )

    def test_declared_again_it_only_is_so_anew(self, adapter: Adapter, clock: ManualClock) -> None:
        before = declared(adapter)
        clock.advance(MINUTE)
        assert declared(adapter) == replace(before, declared_at=clock.now())

    def test_another_rule_ticks_from_now_on(self, adapter: Adapter, clock: ManualClock) -> None:
        before = declared(adapter)
        adapter.enqueue_ticks(before, [], clock.now())
        started = clock.now()
        clock.advance(MINUTE)
        after = declared(adapter, new_schedule(rule=EVERY_HOUR))
        assert after == replace(
            before,
            rule=EVERY_HOUR,
            since=clock.now(),
            last_tick=started,
            declared_at=clock.now(),
            updated_at=clock.now(),
        )

    def test_other_arguments_leave_the_ticks_alone(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        before = declared(adapter)
        clock.advance(MINUTE)
        after = declared(adapter, new_schedule(args="{}"))
        now = clock.now()
        assert after == replace(before, args={}, declared_at=now, updated_at=now)

    def test_a_paused_one_stays_paused(self, adapter: Adapter) -> None:
        declared(adapter)
        adapter.pause_schedule("shop", "Report")
        assert declared(adapter, new_schedule(rule=EVERY_HOUR)).paused_at is not None

    def test_two_applications_have_their_own(self, adapter: Adapter, clock: ManualClock) -> None:
        ours = declared(adapter)
        clock.advance(MINUTE)
        adapter.declare_schedules("blog", [new_schedule(rule=EVERY_HOUR), new_schedule("Another")])
        assert adapter.schedules("shop") == [ours]
        named = [(record.app, record.name) for record in adapter.schedules()]
        assert named == [("blog", "Another"), ("blog", "Report"), ("shop", "Report")]
        assert adapter.pause_schedule("blog", "Report")
        assert adapter.renew_schedules("blog", ["Report"]) == {"Report"}
        assert adapter.schedules("shop") == [ours]

    def test_what_is_not_declared_any_more_stays(self, adapter: Adapter) -> None:
        declared(adapter, new_schedule("Old"))
        declared(adapter, new_schedule("New"))
        assert [record.name for record in adapter.schedules("shop")] == ["New", "Old"]

    def test_renewing_tells_what_is_there(self, adapter: Adapter, clock: ManualClock) -> None:
        before = declared(adapter)
        clock.advance(MINUTE)
        assert adapter.renew_schedules("shop", ["Report", "Gone"]) == {"Report"}
        assert the_schedule(adapter) == replace(before, declared_at=clock.now())
        assert adapter.renew_schedules("shop", []) == set()

    @pytest.mark.parametrize("text", TEXTS[1:])
    def test_any_text_of_a_schedule_is_kept(self, adapter: Adapter, text: str) -> None:
        record = declared(adapter, new_schedule(text, args=json.dumps({"text": text})))
        assert (record.name, record.args) == (text, {"text": text})
        assert adapter.renew_schedules("shop", [text]) == {text}

    def test_many_declare_at_once(self, adapter: Adapter) -> None:
        several = [new_schedule(name) for name in ("A", "B", "C")]
        at_once(
            *(lambda: adapter.declare_schedules("shop", several),) * 2,
            *(lambda: adapter.declare_schedules("shop", several[::-1]),) * 2,
        )
        assert [record.name for record in adapter.schedules("shop")] == ["A", "B", "C"]

    # --- ticks -----------------------------------------------------------------------------------

    def test_a_tick_is_enqueued_and_noted(self, adapter: Adapter, clock: ManualClock) -> None:
        seen = declared(adapter)
        tick = clock.advance(MINUTE)
        job = NewJob("shop.Report", '{"of": "sales"}', "slow", 7, 3, run_at=tick)
        enqueued = adapter.enqueue_ticks(seen, [job], tick)
        assert enqueued is not None
        assert enqueued == adapter.list_jobs(JobFilter(), 10)
        assert (enqueued[0].handler, enqueued[0].run_at) == ("shop.Report", tick)
        remembered = (TickJob(tick, enqueued[0].id),)
        assert the_schedule(adapter) == replace(seen, last_tick=tick, last_jobs=remembered)
        assert ids(adapter.claim(a_claim())) == ids(enqueued)

    def test_the_jobs_of_the_last_ticks_are_remembered(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """Also when the schedule is declared again, with another rule, paused and resumed."""
        declared(adapter)
        expected: list[TickJob] = []
        for number in (1, 1, MOST_LAST_JOBS + 2, 2):
            jobs = [replace(new_job(), run_at=clock.advance(MINUTE)) for _ in range(number)]
            enqueued = adapter.enqueue_ticks(the_schedule(adapter), jobs, clock.now())
            assert enqueued is not None
            expected += [TickJob(job.run_at, job.id) for job in enqueued]
            assert list(the_schedule(adapter).last_jobs) == expected[-MOST_LAST_JOBS:]
        declared(adapter)
        declared(adapter, new_schedule(rule=EVERY_HOUR))
        adapter.pause_schedule("shop", "Report")
        adapter.resume_schedule("shop", "Report")
        before = the_schedule(adapter)
        put = adapter.put_schedule_back(before, replace(before, last_tick=None))
        assert put is not None
        assert list(put.last_jobs) == expected[-MOST_LAST_JOBS:]
        assert put == the_schedule(adapter)

    def test_the_same_tick_is_not_enqueued_again(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        first = declared(adapter)
        tick = clock.advance(MINUTE)
        assert adapter.enqueue_ticks(first, [new_job()], tick)
        assert adapter.enqueue_ticks(first, [new_job()], tick) is None
        second = the_schedule(adapter)
        assert adapter.enqueue_ticks(second, [new_job()], clock.advance(MINUTE))
        assert adapter.enqueue_ticks(second, [new_job()], clock.now()) is None
        assert adapter.count_jobs(JobFilter()) == 2

    def test_of_many_at_once_one_enqueues(self, adapter: Adapter, clock: ManualClock) -> None:
        for _ in range(5):
            seen, tick = declared(adapter), clock.advance(MINUTE)
            before = adapter.count_jobs(JobFilter())
            won: list[object] = []

            def enqueue(seen: Any = seen, tick: Any = tick, won: Any = won) -> None:
                won.append(adapter.enqueue_ticks(seen, [new_job()], tick))

            at_once(*(enqueue,) * 4)
            assert [answer is None for answer in won].count(False) == 1
            assert adapter.count_jobs(JobFilter()) == before + 1

    def test_what_was_changed_since_is_not_enqueued(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        seen = declared(adapter)
        tick = clock.advance(MINUTE)
        declared(adapter, new_schedule(args="{}"))
        assert adapter.enqueue_ticks(seen, [new_job()], tick) is None
        adapter.pause_schedule("shop", "Report")
        assert adapter.enqueue_ticks(the_schedule(adapter), [new_job()], tick) is None
        assert adapter.count_jobs(JobFilter()) == 0
        assert the_schedule(adapter).last_tick is None

    # --- a clock that was wrong ------------------------------------------------------------------

    def test_what_has_been_enqueued_is_remembered(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        seen = declared(adapter)
        tick = clock.advance(MINUTE)
        spans = (TickSpan(tick, tick), TickSpan(tick + HOUR, tick + HOUR + MINUTE))
        assert adapter.enqueue_ticks(seen, [new_job()], tick, spans)
        now = the_schedule(adapter)
        assert replace(now, last_jobs=()) == replace(seen, last_tick=tick, enqueued=spans)
        assert adapter.enqueue_ticks(the_schedule(adapter), [], tick + MINUTE) is not None
        assert the_schedule(adapter).enqueued == spans
        args = '{"of": "others"}'
        assert declared(adapter, new_schedule(args=args)).enqueued == spans
        assert declared(adapter, new_schedule(args=args, rule=EVERY_HOUR)).enqueued == ()

    def test_a_schedule_is_put_back(self, adapter: Adapter, clock: ManualClock) -> None:
        seen = declared(adapter)
        tick = clock.now() + HOUR
        assert adapter.enqueue_ticks(seen, [], tick) is not None
        ahead, now = the_schedule(adapter), clock.advance(MINUTE)
        spans = (TickSpan(tick, tick),)
        for last_tick in (now, None):
            back = replace(ahead, since=now, last_tick=last_tick, enqueued=spans)
            expected = replace(back, updated_at=now)
            assert adapter.put_schedule_back(ahead, back) == expected
            assert the_schedule(adapter) == expected
            assert adapter.put_schedule_back(ahead, back) is None, "it is no longer as seen"
            assert adapter.enqueue_ticks(ahead, [new_job()], tick) is None
            ahead, now = the_schedule(adapter), clock.advance(MINUTE)

    # --- pausing ---------------------------------------------------------------------------------

    def test_pausing_and_resuming(self, adapter: Adapter, clock: ManualClock) -> None:
        before = declared(adapter)
        paused_at = clock.advance(MINUTE)
        assert adapter.pause_schedule("shop", "Report")
        assert not adapter.pause_schedule("shop", "Report")
        assert the_schedule(adapter) == replace(before, paused_at=paused_at, updated_at=paused_at)
        resumed_at = clock.advance(MINUTE)
        assert adapter.resume_schedule("shop", "Report")
        assert not adapter.resume_schedule("shop", "Report")
        assert the_schedule(adapter) == replace(before, since=resumed_at, updated_at=resumed_at)

    def test_what_is_not_there_is_not_paused(self, adapter: Adapter) -> None:
        declared(adapter)
        assert not adapter.pause_schedule("shop", "Other")
        assert not adapter.pause_schedule("blog", "Report")
        assert not adapter.resume_schedule("blog", "Report")
