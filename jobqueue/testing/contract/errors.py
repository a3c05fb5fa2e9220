"""Errors in groups, counted by the hour."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    MOST_ERROR_GROUPS,
    NO_DELAY,
    ErrorFilter,
    ErrorGroup,
    ErrorGroupRecord,
    ErrorHour,
    ErrorState,
    NewErrors,
)
from jobqueue.testing.contract.base import TEXTS, ContractBase, at_once

HOUR = timedelta(hours=1)
KEEP = timedelta(days=30)
ALL = ErrorFilter()
KINDS = (
    ("Send", "ConnectionError", "mail.py:send", "no route to 10.0.0.{n}"),
    ("Send", "TimeoutError", "mail.py:send", "no answer within {n} s"),
    ("Charge", "ValueError", "pay.py:charge", "card 'ab{n}' of user{n}@example.com was declined"),
    ("Charge", "ValueError", "pay.py:refund", "card 'ab{n}' of user{n}@example.com was declined"),
    ("Charge", "ValueError", None, "<Card object at 0x7f{n}> is late since 2026-01-0{digit}"),
)


def new_errors(message: str = "no", number: int = 1, ago: timedelta = NO_DELAY) -> NewErrors:
    """Errors of a group of their own."""
    group = group_of("Work", "ValueError", "jobs.py:f", message)
    return NewErrors(group, number, f"Traceback\nValueError: {message}", 7, ago, ago)


def found(adapter: Adapter, where: ErrorFilter = ALL, limit: int = 100) -> list[str]:
    """The messages of the groups that match."""
    return [record.group.message for record in adapter.error_groups(where, limit).groups]


def the_group(adapter: Adapter, key: str) -> ErrorGroupRecord:
    """A group, which has to be there."""
    record = adapter.error_group(key)
    assert record is not None
    return record


def hour_of(moment: datetime) -> datetime:
    """The beginning of the hour of a moment."""
    return moment.replace(minute=0, second=0, microsecond=0)


class ErrorsContract(ContractBase):
    """Tests `add_errors`, `error_groups`, `error_group`, `set_error_state` and `prune_errors`."""

    def test_a_thousand_errors_of_five_kinds_are_five_groups(self, adapter: Adapter) -> None:
        chance = random.Random(16)  # noqa: S311 - texts that differ
        groups = Counter[ErrorGroup]()
        for number in range(1000):
            handler, kind, place, message = KINDS[number % 5]
            text = message.format(n=chance.randrange(1, 200), digit=number % 9 + 1)
            groups[group_of(handler, kind, place, text)] += 1
        adapter.add_errors([NewErrors(g, n, g.message, 1) for g, n in groups.items()])
        page = adapter.error_groups(ALL, 100)
        assert {record.group for record in page.groups} == set(groups)
        assert sorted(record.key for record in page.groups) == [
            "2bdaa89c3504",
            "3613a4b9f7bf",
            "625dfd6ac47f",
            "7bf05e6729af",
            "cbcddea4ce52",
        ]
        assert [record.since(record.hours[0].hour) for record in page.groups] == [200] * 5
        assert page.next_before is None

    def test_a_new_group_is_open_and_has_all_that_is_known(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        minute = timedelta(minutes=1)
        group = group_of("Work", "ValueError", None, "no")
        adapter.add_errors([NewErrors(group, 3, "a\nb", 42, 2 * minute, minute)], "1.4.0")
        now = clock.now()
        assert the_group(adapter, group.key) == ErrorGroupRecord(
            group=group,
            sample="a\nb",
            first_seen_at=now - 2 * minute,
            last_seen_at=now - minute,
            first_release="1.4.0",
            last_release="1.4.0",
            last_job_id=42,
            hours=(ErrorHour(hour_of(now - minute), 3),),
        )
        listed = replace(the_group(adapter, group.key), sample="")
        assert adapter.error_groups(ALL, 1).groups == (listed,)

    def test_a_list_has_as_many_hours_as_are_asked_for(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        adapter.add_errors([new_errors(number=2)])
        clock.advance(60 * 60 * 30)
        adapter.add_errors([new_errors(number=3)])
        for hours, number in ((24, 3), (48, 5)):
            [listed] = adapter.error_groups(ALL, 10, hours).groups
            assert sum(hour.number for hour in listed.hours) == number

    def test_a_group_that_is_seen_again(self, adapter: Adapter, clock: ManualClock) -> None:
        first = clock.now()
        key = new_errors().group.key
        adapter.add_errors([new_errors(number=2)], "1.4.0")
        clock.advance(10 * HOUR)
        adapter.add_errors([new_errors(number=5)], "1.5.0")
        adapter.add_errors([new_errors(number=5, ago=HOUR)], "1.5.0")
        record = the_group(adapter, key)
        assert (record.first_seen_at, record.last_seen_at) == (first, clock.now())
        assert (record.first_release, record.last_release) == ("1.4.0", "1.5.0")
        numbers = {hour.hour: hour.number for hour in record.hours}
        now = hour_of(clock.now())
        assert numbers == {hour_of(first): 2, now - HOUR: 5, now: 5}
        assert record.since(now - HOUR) == 10

    def test_nothing_is_added(self, adapter: Adapter) -> None:
        assert adapter.add_errors([]) == set()
        assert found(adapter) == []
        assert adapter.error_group("0" * 12) is None

    @pytest.mark.parametrize("text", TEXTS)
    def test_texts_come_back_as_they_are(self, adapter: Adapter, text: str) -> None:
        group = ErrorGroup("key", text, text, text, text)
        adapter.add_errors([NewErrors(group, 1, text, None)], text)
        record = the_group(adapter, "key")
        assert (record.group, record.sample, record.first_release) == (group, text, text)
        assert adapter.set_error_state("key", ErrorState.MUTED, text)
        assert the_group(adapter, "key").changed_by == text

    @pytest.mark.parametrize("key", ["", "no", "\x00", "\ud800", "x" * 10_000, "é", "%s"])
    def test_a_key_of_no_group(self, adapter: Adapter, key: str) -> None:
        adapter.add_errors([new_errors()])
        assert adapter.error_group(key) is None
        assert not adapter.set_error_state(key, ErrorState.MUTED, "ann")

    # --- states -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", [ErrorState.MUTED, ErrorState.OPEN])
    def test_a_group_that_is_not_resolved_stays_as_it_is(
        self, adapter: Adapter, clock: ManualClock, state: ErrorState
    ) -> None:
        key = new_errors().group.key
        adapter.add_errors([new_errors()])
        changed = clock.advance(60)
        assert adapter.set_error_state(key, state, "ann@web-1")
        clock.advance(60)
        adapter.add_errors([new_errors()])
        record = the_group(adapter, key)
        assert (record.state, record.changed_by, record.changed_at, record.reopened_at) == (
            state,
            "ann@web-1",
            changed,
            None,
        )
        assert not record.has_come_back

    def test_a_resolved_group_that_comes_back_is_open_and_says_so(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        key = new_errors().group.key
        adapter.add_errors([new_errors()])
        clock.advance(60)
        adapter.set_error_state(key, ErrorState.RESOLVED, "ann")
        assert the_group(adapter, key).state is ErrorState.RESOLVED
        back = clock.advance(60)
        adapter.add_errors([new_errors()])
        record = the_group(adapter, key)
        assert (record.state, record.reopened_at, record.changed_by) == ("open", back, "ann")
        assert record.has_come_back
        clock.advance(60)
        adapter.add_errors([new_errors()])
        assert the_group(adapter, key).reopened_at == back
        adapter.set_error_state(key, ErrorState.RESOLVED, "ben")
        record = the_group(adapter, key)
        assert (record.state, record.reopened_at) == ("resolved", None)

    def test_what_was_seen_before_it_was_resolved_does_not_bring_it_back(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """A worker stores what it has seen up to a minute later."""
        key = new_errors().group.key
        adapter.add_errors([new_errors()])
        clock.advance(60)
        adapter.set_error_state(key, ErrorState.RESOLVED, "ann")
        clock.advance(30)
        adapter.add_errors([new_errors(ago=timedelta(seconds=40))])
        assert the_group(adapter, key).state is ErrorState.RESOLVED
        adapter.add_errors([new_errors(ago=timedelta(seconds=20))])
        assert the_group(adapter, key).has_come_back

    # --- lists ------------------------------------------------------------------------------------

    def test_lists_are_of_those_that_were_seen_last_first(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        for word in ("a", "b", "c"):
            adapter.add_errors([new_errors(word)])
            clock.advance(60)
        adapter.add_errors([new_errors("b")])
        assert found(adapter) == ["b", "c", "a"]

    def test_lists_are_in_pages(self, adapter: Adapter, clock: ManualClock) -> None:
        for second in range(3):
            adapter.add_errors([new_errors(f"{second} {word}") for word in "abcdef"[:3]])
            adapter.add_errors([new_errors(word * (second + 1)) for word in "xyz"])
            clock.advance(1)
        whole = found(adapter)
        assert len(whole) == 12
        pages, where = list[str](), ALL
        while True:
            page = adapter.error_groups(where, 5)
            pages += [record.group.message for record in page.groups]
            if page.next_before is None:
                break
            where = ErrorFilter(before=page.next_before)
        assert pages == whole

    def test_lists_can_be_of_some(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_errors([new_errors("old")])
        clock.advance(2 * HOUR)
        other = group_of("Other", "ValueError", None, "other")
        muted, resolved = new_errors("muted"), new_errors("resolved")
        adapter.add_errors([NewErrors(other, 1, "", None), muted, resolved, new_errors("open")])
        clock.advance(1)
        adapter.set_error_state(muted.group.key, ErrorState.MUTED, "ann")
        adapter.set_error_state(resolved.group.key, ErrorState.RESOLVED, "ann")
        some = partial(self._some, adapter)
        assert some(ErrorFilter(states=(ErrorState.OPEN,))) == {"old", "other", "open"}
        assert some(ErrorFilter(states=(ErrorState.MUTED,))) == {"muted"}
        assert some(ErrorFilter(states=(ErrorState.RESOLVED, ErrorState.MUTED))) == {
            "muted",
            "resolved",
        }
        assert some(ErrorFilter(states=())) == set()
        assert some(ErrorFilter(handlers=("Other", "None"))) == {"other"}
        assert some(ErrorFilter(period=HOUR)) == {"other", "muted", "resolved", "open"}
        assert some(ErrorFilter(states=(ErrorState.OPEN,), period=HOUR, handlers=("Work",))) == {
            "open"
        }

    def _some(self, adapter: Adapter, where: ErrorFilter) -> set[str]:
        return set(found(adapter, where))

    def test_lists_have_the_hours_of_the_last_day(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        for _ in range(30):
            adapter.add_errors([new_errors(number=2), new_errors("other")])
            clock.advance(HOUR)
        [one, other] = adapter.error_groups(ALL, 2).groups
        assert {len(one.hours), len(other.hours)} == {23}
        assert {one.since(one.hours[0].hour), other.since(other.hours[0].hour)} == {46, 23}
        assert len(the_group(adapter, one.key).hours) == 30

    # --- bounds -----------------------------------------------------------------------------------

    def test_old_hours_and_groups_are_removed(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.add_errors([new_errors("gone"), new_errors("stays")])
        clock.advance(timedelta(days=29))
        adapter.add_errors([new_errors("stays")])
        assert adapter.prune_errors(KEEP, 10) == 0
        clock.advance(timedelta(days=2))
        assert self._prune_all(adapter, 1) >= 2
        assert found(adapter) == ["stays"]
        record = the_group(adapter, new_errors("stays").group.key)
        assert [hour.number for hour in record.hours] == [1]
        assert adapter.prune_errors(KEEP, 10) == 0
        adapter.add_errors([new_errors("gone")])
        assert [h.number for h in the_group(adapter, new_errors("gone").group.key).hours] == [1]

    def test_groups_beyond_a_number_are_removed(self, adapter: Adapter, clock: ManualClock) -> None:
        def groups(numbers: Sequence[int]) -> list[NewErrors]:
            return [
                NewErrors(ErrorGroup(f"{n:05}", "W", "K", None, "m"), 1, "", 1) for n in numbers
            ]

        adapter.add_errors(groups(range(20)))
        clock.advance(60)
        adapter.add_errors(groups(range(100, 100 + MOST_ERROR_GROUPS)))
        clock.advance(60)
        adapter.add_errors(groups([3]))
        assert self._prune_all(adapter, 7) == 20
        for key in ("00000", "00019", "00100"):
            assert adapter.error_group(key) is None
        for key in ("00003", "00101"):
            assert adapter.error_group(key) is not None
        assert adapter.prune_errors(KEEP, 7) == 0

    def test_what_a_clock_that_was_ahead_has_written_silences_nothing(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        key = new_errors().group.key
        ahead = timedelta(days=60)
        clock.advance(ahead)
        adapter.add_errors([new_errors(), new_errors("other")])
        adapter.set_error_state(key, ErrorState.RESOLVED, "ann")
        clock.advance(-ahead)
        adapter.add_errors([new_errors()])
        record = the_group(adapter, key)
        assert record.last_seen_at == clock.now()
        assert record.has_come_back
        self._prune_all(adapter, 10)
        assert found(adapter) == ["no"]
        assert [hour.number for hour in the_group(adapter, key).hours] == [1]

    def _prune_all(self, adapter: Adapter, limit: int) -> int:
        removed = 0
        while number := adapter.prune_errors(KEEP, limit):
            assert number <= limit
            removed += number
        return removed

    def test_several_processes_add_errors_of_the_same_groups(self, adapter: Adapter) -> None:
        words = [f"{a}{b}" for a in "abcdefgh" for b in "stuvwxyz"]

        def add(order: Sequence[str]) -> None:
            for _ in range(5):
                errors = [new_errors(word) for word in order]
                while errors:
                    left = adapter.add_errors(errors)
                    errors = [new for new in errors if new.group.key in left]

        at_once(*(partial(add, order) for order in (words, words[::-1], words[::2] + words[1::2])))
        groups = adapter.error_groups(ALL, 100).groups
        assert [record.since(record.hours[0].hour) for record in groups] == [15] * len(words)
