"""Queues that the release before has paused and resumed, which knows of no end and no author."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.control import SqlControl
from jobqueue.adapters.sql.tables import BackgroundQueue
from jobqueue.clock import ManualClock
from jobqueue.records import UNTIL_RESUMED, Pause, PausedQueue
from tests.conftest import DATABASES

MINUTE = timedelta(minutes=1)
IS_PAUSED = BackgroundQueue.paused_at.is_not(None)

by_a_clock = pytest.mark.parametrize("clocked_adapter", DATABASES, indirect=True)
by_its_own_time = pytest.mark.parametrize("adapter", DATABASES, indirect=True)


class FormerRelease:
    """What the release before does to `background_queues`: it writes two columns, at one moment."""

    def __init__(self, adapter: Adapter) -> None:
        assert isinstance(adapter, SqlAdapter)
        assert isinstance(adapter.roles.control, SqlControl)
        self._database, self._time = adapter.database, adapter.roles.control.time

    def pause_new(self, name: str) -> None:
        """Pause a queue that nobody has ever paused."""
        self._run(insert(BackgroundQueue).values(name=name, updated_at=self._time.now()))
        self.pause(name)

    def pause(self, name: str) -> None:
        """Pause a queue, unless it is paused."""
        self._change(name, ~IS_PAUSED, self._time.now())

    def resume(self, name: str) -> None:
        """Resume a queue that is paused."""
        self._change(name, IS_PAUSED, None)

    def _change(self, name: str, which: Any, paused_at: Any) -> None:
        change: Any = update(BackgroundQueue).where(which, BackgroundQueue.name == name)
        self._run(change.values(paused_at=paused_at, updated_at=self._time.now()))

    def _run(self, statement: Any) -> None:
        self._database.write(lambda connection: connection.execute(statement))


@by_a_clock
@pytest.mark.parametrize("resumed_at", [0, 10, 59, 90])
def test_the_end_of_an_earlier_pause_does_not_end_a_later_one(
    clocked_adapter: Adapter, clock: ManualClock, resumed_at: int
) -> None:
    adapter = clocked_adapter
    former, until = FormerRelease(adapter), clock.now() + MINUTE
    adapter.pause_queues(["email"], Pause(until, "ada", "why"))
    clock.advance(resumed_at)
    former.resume("email")
    former.pause("email")
    assert adapter.pauses() == [PausedQueue("email", clock.now(), UNTIL_RESUMED)]
    clock.advance(2 * MINUTE)
    assert adapter.resume_due_queues() == set()
    assert adapter.paused_queues() == {"email"}


@by_a_clock
def test_a_pause_by_this_release_ends_when_it_should(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    adapter, former = clocked_adapter, FormerRelease(clocked_adapter)
    former.pause_new("email")
    former.resume("email")
    adapter.pause_queues(["email"], Pause(clock.now() + MINUTE, "ben"))
    former.pause("email")  # it is paused already
    assert adapter.pauses()[0].pause == Pause(clock.now() + MINUTE, "ben")
    clock.advance(MINUTE)
    assert adapter.resume_due_queues() == {"email"}


@by_a_clock
def test_an_end_for_what_the_release_before_has_paused(
    clocked_adapter: Adapter, clock: ManualClock
) -> None:
    adapter, paused_at = clocked_adapter, clock.now()
    FormerRelease(adapter).pause_new("email")
    assert adapter.pauses() == [PausedQueue("email", paused_at, UNTIL_RESUMED)]
    pause = Pause(clock.now() + MINUTE, "ben", "why")
    assert adapter.pause_queues(["email"], pause) == set()
    assert adapter.pauses() == [PausedQueue("email", paused_at, pause)]
    clock.advance(MINUTE)
    assert adapter.resume_due_queues() == {"email"}


@by_its_own_time
def test_the_two_are_told_apart_by_the_time_of_a_database(adapter: Adapter) -> None:
    former = FormerRelease(adapter)
    over = adapter.now() - MINUTE
    for n in range(20):
        adapter.pause_queues([f"new-{n}", f"old-{n}"], Pause(over, "ada", "why"))
        former.resume(f"old-{n}")
        former.pause(f"old-{n}")
    pauses = {paused.name: paused.pause for paused in adapter.pauses()}
    assert {name for name, pause in pauses.items() if pause == UNTIL_RESUMED} == {
        f"old-{n}" for n in range(20)
    }
    assert adapter.resume_due_queues() == {f"new-{n}" for n in range(20)}
