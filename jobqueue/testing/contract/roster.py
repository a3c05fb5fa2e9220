"""The roster: how workers are, and how others have ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    LONGEST_REASON,
    CrashedJob,
    NewWorker,
    WorkerEnd,
    WorkerNote,
    WorkerState,
)
from jobqueue.testing.contract.base import ContractBase, claim_new, new_worker

MINUTE = timedelta(minutes=1)
RELEASE = "2026.11.3"


def registered(adapter: Adapter, worker_id: str = "w") -> NewWorker:
    """A worker of a known release, which is registered."""
    worker = replace(new_worker(worker_id), release=RELEASE)
    adapter.register_worker(worker)
    return worker


def reasons(adapter: Adapter) -> dict[str, str]:
    """Why workers have ended, by their ids."""
    return {end.id: end.reason for end in adapter.ended_workers(100)}


class RosterContract(ContractBase):
    """Tests the methods about how workers are, and how they have ended."""

    def test_a_worker_has_its_release(self, adapter: Adapter) -> None:
        registered(adapter)
        adapter.register_worker(new_worker("unknown"))
        assert {w.id: w.release for w in adapter.workers()} == {"w": RELEASE, "unknown": None}

    @pytest.mark.parametrize("state", WorkerState)
    @pytest.mark.parametrize("memory_bytes", [None, 1, 2**40])
    def test_a_note_says_how_a_worker_is(
        self, adapter: Adapter, state: WorkerState, memory_bytes: int | None
    ) -> None:
        registered(adapter)
        registered(adapter, "other")
        note = WorkerNote(state, memory_bytes)
        adapter.note_workers({"w": note, "gone": note})
        assert {w.id: w.note for w in adapter.workers()} == {"w": note, "other": None}
        newer = WorkerNote(WorkerState.RUNNING, 5)
        adapter.note_workers({"w": newer})
        assert {w.id: w.note for w in adapter.workers()} == {"w": newer, "other": None}
        adapter.note_workers({})

    def test_notes_and_the_names_of_jobs_do_not_disturb_each_other(self, adapter: Adapter) -> None:
        registered(adapter)
        note = WorkerNote(WorkerState.RESTING, 7)
        adapter.declare_handlers("w", ["a"])
        adapter.note_workers({"w": note})
        assert adapter.declared_handlers() == {"w": {"a"}}
        adapter.declare_handlers("w", ["b"])
        assert [worker.note for worker in adapter.workers()] == [note]

    def test_an_ended_worker_is_remembered(self, adapter: Adapter, clock: ManualClock) -> None:
        worker, started_at = registered(adapter), clock.now()
        assert adapter.ended_workers(10) == []
        clock.advance(MINUTE)
        adapter.unregister_worker("w", "nothing was due any more")
        assert adapter.ended_workers(10) == [
            WorkerEnd(
                worker.id,
                worker.name,
                worker.host,
                worker.pid,
                RELEASE,
                started_at,
                clock.now(),
                "nothing was due any more",
            )
        ]

    def test_each_way_to_end_has_its_reason(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("asked", "crashed", "killed", "lost", "vanished"):
            registered(adapter, name)
        seen = {worker.id: worker for worker in adapter.workers()}
        clock.advance(MINUTE)
        adapter.unregister_worker("asked")
        adapter.rescue_crashed("crashed", [])
        adapter.rescue_crashed("killed", [], "signal SIGKILL")
        adapter.rescue(seen["lost"], "gone")
        adapter.rescue(seen["vanished"], "gone", "its process is gone")
        assert reasons(adapter) == {
            "asked": "it was asked to",
            "crashed": "its process died",
            "killed": "signal SIGKILL",
            "lost": "its lease ended",
            "vanished": "its process is gone",
        }

    def test_who_has_seen_the_process_end_knows_better(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        registered(adapter)
        adapter.unregister_worker("w")
        ended_at = clock.now()
        clock.advance(MINUTE)
        adapter.rescue_crashed("w", [])
        assert reasons(adapter) == {"w": "it was asked to"}
        adapter.rescue_crashed("w", [], "it has grown past --max-memory")
        [end] = adapter.ended_workers(10)
        assert (end.reason, end.ended_at) == ("it has grown past --max-memory", ended_at)

    def test_nobody_ends_who_was_not_there(self, adapter: Adapter) -> None:
        job = claim_new(adapter)
        adapter.unregister_worker("unknown")
        adapter.rescue_crashed("unknown", [CrashedJob(job.id, job.token, "died")], "a reason")
        adapter.rescue_orphans("worker-1", "gone")
        assert adapter.ended_workers(10) == []

    def test_one_that_beats_again_has_not_ended(self, adapter: Adapter, clock: ManualClock) -> None:
        registered(adapter)
        [seen] = adapter.workers()
        clock.advance(MINUTE)
        adapter.beat(["w"])
        assert adapter.rescue(seen, "gone") is None
        assert adapter.ended_workers(10) == []

    def test_one_that_registers_again_has_its_last_end(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        registered(adapter)
        adapter.rescue(adapter.workers()[0], "gone")
        registered(adapter)
        assert adapter.ended_workers(10) == []
        clock.advance(MINUTE)
        adapter.unregister_worker("w")
        [end] = adapter.ended_workers(10)
        assert (end.reason, end.ended_at) == ("it was asked to", clock.now())

    def test_a_beat_that_came_late_spoils_no_reason(self, adapter: Adapter) -> None:
        registered(adapter)
        adapter.unregister_worker("w", "it had nothing left to do")
        registered(adapter)
        adapter.rescue_crashed("w", [])
        assert reasons(adapter) == {"w": "it had nothing left to do"}
        registered(adapter)
        adapter.rescue_crashed("w", [], "its process died: signal SIGKILL")
        assert reasons(adapter) == {"w": "its process died: signal SIGKILL"}

    def test_a_long_reason_is_cut(self, adapter: Adapter) -> None:
        registered(adapter)
        adapter.unregister_worker("w", "x" * 5000)
        assert reasons(adapter) == {"w": "x" * LONGEST_REASON}

    def test_the_latest_come_first(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("c", "a", "b"):
            registered(adapter, name)
            adapter.unregister_worker(name)
            clock.advance(1)
        assert [end.id for end in adapter.ended_workers(10)] == ["b", "a", "c"]
        assert [end.id for end in adapter.ended_workers(2)] == ["b", "a"]

    def test_old_ends_are_pruned(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("a", "b", "c"):
            registered(adapter, name)
            adapter.unregister_worker(name)
        clock.advance(MINUTE)
        registered(adapter, "new")
        adapter.unregister_worker("new")
        assert adapter.prune_ended_workers(MINUTE * 2, 10) == 0
        assert adapter.prune_ended_workers(MINUTE, 2) == 2
        assert adapter.prune_ended_workers(MINUTE, 2) == 1
        assert adapter.prune_ended_workers(MINUTE, 2) == 0
        assert [end.id for end in adapter.ended_workers(10)] == ["new"]
