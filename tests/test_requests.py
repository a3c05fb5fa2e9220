"""The requests of operators, and the notes of how workers are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.config import Settings
from jobqueue.errors import DatabaseRefused
from jobqueue.job import Registry
from jobqueue.maintenance import requests
from jobqueue.maintenance.pruner import Pruner
from jobqueue.maintenance.requests import NOTE_SECONDS, PresentWorker, Requests
from jobqueue.records import ActionFilter, NewWorker, Pause, WorkerNote, WorkerState
from jobqueue.views.workers import all_workers
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]
LEASE = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


class Office:
    """Requests at a place where somebody can look at all of them."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.now = 0.0
        self.memory_bytes: int | None = 1000
        self.workers: list[PresentWorker] = []
        self.shown: list[str] = []
        self.resumed: list[set[str]] = []
        self.requests = Requests(
            adapter,
            lambda: self.workers,
            self.shown.append,
            self.resumed.append,
            lambda _: self.memory_bytes,
            lambda: self.now,
        )

    def employ(self, worker_id: str, state: WorkerState = WorkerState.RUNNING) -> None:
        known = {worker.id for worker in self.workers}
        if worker_id not in known:
            self.adapter.register_worker(NewWorker(worker_id, "w", "far", 1, None, 1, LEASE))
        self.workers = [worker for worker in self.workers if worker.id != worker_id]
        self.workers.append(PresentWorker(worker_id, 1, state))

    def notes(self) -> dict[str, WorkerNote | None]:
        self.requests.look()
        return {worker.id: worker.note for worker in self.adapter.workers()}


@pytest.fixture
def office(clocked_adapter: Adapter) -> Office:
    return Office(clocked_adapter)


def test_those_that_are_asked_show_their_stacks_until_they_have_answered(office: Office) -> None:
    for name in ("a", "b"):
        office.employ(name)
    office.adapter.ask_for_stacks("b")
    office.adapter.ask_for_stacks("of another machine")
    office.requests.look()
    office.requests.look()
    assert office.shown == ["b", "b"]
    office.adapter.answer_with_stacks("b", ())
    office.requests.look()
    assert office.shown == ["b", "b"]


def test_a_pause_that_is_over_ends(office: Office, clock: ManualClock) -> None:
    office.adapter.pause_queues(["a"], Pause(clock.now() + MINUTE))
    office.requests.look()
    assert office.adapter.paused_queues() == {"a"}
    clock.advance(MINUTE)
    office.requests.look()
    office.requests.look()
    assert office.adapter.paused_queues() == set()
    assert office.resumed == [{"a"}]
    [action] = office.adapter.actions(ActionFilter(), 9)
    assert (action.kind, action.done_by, action.target) == (
        "resume queue",
        "jobqueue",
        {"queue": "a"},
    )
    assert action.reason == "the time until which it was paused has come"


def test_a_note_is_stored_each_minute(office: Office) -> None:
    office.employ("a")
    assert office.notes() == {"a": WorkerNote(WorkerState.RUNNING, 1000)}
    office.memory_bytes = None
    assert office.notes() == {"a": WorkerNote(WorkerState.RUNNING, 1000)}
    office.now = NOTE_SECONDS
    assert office.notes() == {"a": WorkerNote(WorkerState.RUNNING, None)}


def test_a_note_is_stored_when_a_worker_comes_or_begins_to_rest(office: Office) -> None:
    office.employ("a")
    office.notes()
    office.employ("b")
    assert office.notes()["b"] == WorkerNote(WorkerState.RUNNING, 1000)
    office.employ("a", WorkerState.RESTING)
    assert office.notes()["a"] == WorkerNote(WorkerState.RESTING, 1000)


def test_what_fails_stops_nothing_else(
    office: Office, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> set[str]:
        raise DatabaseRefused("no")

    monkeypatch.setattr(office.adapter, "workers_asked_for_stacks", refuse)
    office.employ("a")
    office.adapter.pause_queues(["a"], Pause(clock.now()))
    with pytest.raises(DatabaseRefused):
        office.requests.look()
    assert office.resumed == [{"a"}]
    assert office.adapter.workers()[0].note is not None


def test_what_is_old_is_pruned(clocked_adapter: Adapter, clock: ManualClock) -> None:
    adapter = clocked_adapter
    pruner = Pruner(adapter, "me", Registry(), Settings(keep_workers=timedelta(hours=1)))
    adapter.register_worker(NewWorker("w", "w", "far", 1, None, 1, LEASE))
    adapter.unregister_worker("w")
    adapter.ask_for_stacks("w")
    clock.advance(9 * MINUTE)
    pruner.prune()
    assert adapter.stacks_of("w") is not None
    clock.advance(MINUTE)
    pruner.prune()
    assert adapter.stacks_of("w") is None
    assert [end.id for end in adapter.ended_workers(9)] == ["w"]
    clock.advance(50 * MINUTE)
    pruner.prune()
    assert adapter.ended_workers(9) == []


def test_a_worker_sees_to_it_itself(
    adapter: Adapter, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is paused for a moment is worked on again, and the worker says how it is."""
    monkeypatch.setattr(requests, "LOOK_SECONDS", 0.05)
    calls.clear()
    queue = JobQueue(adapter)
    adapter.pause_queues(["default"], Pause(adapter.now() + timedelta(seconds=0.3)))
    queue.enqueue(Note)
    with queue.running():
        wait_for(lambda: calls == ["done"], "the job of the queue that was paused")
        wait_for(lambda: adapter.workers()[0].note is not None, "its note")
        [view] = all_workers(adapter)
        assert view.state is WorkerState.RUNNING
        assert view.record.note is not None
        assert (view.record.note.memory_bytes or 0) > 1_000_000
    assert adapter.paused_queues() == set()
