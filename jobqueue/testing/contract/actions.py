"""The actions of people, and bulk changes of jobs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    RETRIABLE_STATES,
    RUN_LEASE,
    UNFINISHED_STATES,
    ActionBatch,
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
    Failed,
    JobFilter,
    JobState,
    NewAction,
    filter_to_json,
)
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    claim_new,
    enqueue_one,
    one_of_each_state,
    record,
    settle_all,
)

MINUTE = timedelta(minutes=1)
FAILED = JobFilter(states=(JobState.FAILED,))
ANYBODY = ActionFilter()


def bulk(kind: ActionKind, where: JobFilter = FAILED, reason: str | None = None) -> NewAction:
    """An action on the jobs of a filter."""
    return NewAction(kind, "ada", {"filter": filter_to_json(where)}, reason)


def batch_of(where: JobFilter, *ids: int, before_id: int | None = None) -> ActionBatch:
    """Some of the jobs of a filter."""
    return ActionBatch(replace(where, ids=ids), before_id)


def failed_jobs(adapter: Adapter, number: int) -> list[int]:
    """The ids of so many jobs that have failed."""
    claimed = [claim_new(adapter) for _ in range(number)]
    settle_all(adapter, *(Failed(job, error="broken") for job in claimed))
    return [job.id for job in claimed]


class ActionsContract(ContractBase):
    """Tests the methods about actions."""

    # --- what was done ---------------------------------------------------------------------------

    def test_an_action_is_remembered(self, adapter: Adapter, clock: ManualClock) -> None:
        target = {"queue": "email", "until": None, "list": [1, "two"]}
        action = NewAction(ActionKind.PAUSE_QUEUE, "ada@laptop", target, "too many", 3)
        noted = adapter.note_action(action)
        assert noted == ActionRecord(
            id=noted.id,
            done_at=clock.now(),
            done_by="ada@laptop",
            kind="pause queue",
            target=target,
            reason="too many",
            number=3,
            state=ActionState.DONE,
            ended_at=clock.now(),
        )
        assert adapter.action(noted.id) == noted
        assert adapter.action(noted.id + 1) is None
        assert adapter.actions(ANYBODY, 10) == [noted]

    def test_any_text_may_be_in_it(self, adapter: Adapter) -> None:
        for text in TEXTS:
            action = NewAction(ActionKind.RETRY, text, {"texts": [text]}, text)
            noted = adapter.action(adapter.note_action(action).id)
            assert noted is not None
            assert (noted.done_by, noted.target, noted.reason) == (text, {"texts": [text]}, text)

    def test_lists_are_short_and_begin_with_the_newest(self, adapter: Adapter) -> None:
        ids = [adapter.note_action(NewAction(ActionKind.RETRY, "ada")).id for _ in range(5)]
        ids.sort(reverse=True)
        assert [action.id for action in adapter.actions(ANYBODY, 2)] == ids[:2]
        rest = ActionFilter(before_id=ids[1])
        assert [action.id for action in adapter.actions(rest, 10)] == ids[2:]

    def test_a_filter_of_actions(self, adapter: Adapter) -> None:
        mute = adapter.note_action(NewAction(ActionKind.MUTE_ERRORS, "ada"))
        adapter.note_action(NewAction(ActionKind.CREATE_TOKEN, "ada"))
        running = adapter.begin_action(bulk(ActionKind.RETRY))
        by_ben = adapter.note_action(NewAction(ActionKind.MUTE_ERRORS, "ben"))
        for where, found in (
            (ActionFilter(kinds=(ActionKind.MUTE_ERRORS,)), [by_ben, mute]),
            (ActionFilter(kinds=(ActionKind.MUTE_ERRORS,), by="ada"), [mute]),
            (ActionFilter(states=(ActionState.RUNNING,)), [running]),
            (ActionFilter(states=(ActionState.STOPPED,)), []),
            (ActionFilter(by="cy"), []),
            (ActionFilter(kinds=()), []),
        ):
            assert adapter.actions(where, 10) == found, where

    @pytest.mark.parametrize("odd", [0, -1, 2**63, 2**70])
    def test_an_id_that_cannot_be(self, adapter: Adapter, odd: int) -> None:
        assert adapter.action(odd) is None
        assert not adapter.stop_action(odd)
        assert not adapter.resume_action(odd)

    def test_old_ones_are_removed(self, adapter: Adapter, clock: ManualClock) -> None:
        for _ in range(3):
            adapter.note_action(NewAction(ActionKind.RETRY, "ada"))
        running = adapter.begin_action(bulk(ActionKind.RETRY))
        clock.advance(MINUTE)
        late = adapter.note_action(NewAction(ActionKind.RETRY, "ada"))
        clock.advance(MINUTE)
        assert adapter.prune_actions(3 * MINUTE, 10) == 0
        assert adapter.prune_actions(2 * MINUTE, 2) == 2
        assert adapter.prune_actions(2 * MINUTE, 10) == 1
        assert [action.id for action in adapter.actions(ANYBODY, 10)] == [late.id, running.id]

    # --- bulk changes ----------------------------------------------------------------------------

    def test_a_bulk_action_belongs_to_its_runner_for_a_while(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        begun = adapter.begin_action(bulk(ActionKind.RETRY), "one")
        assert (begun.state, begun.number, begun.ended_at) == (ActionState.RUNNING, 0, None)
        assert (begun.run_by, begun.run_until) == ("one", clock.now() + RUN_LEASE)
        assert adapter.take_over_action("two") is None
        clock.advance(RUN_LEASE)
        taken = adapter.take_over_action("two", MINUTE)
        assert taken == replace(begun, run_by="two", run_until=clock.now() + MINUTE)
        assert adapter.action(begun.id) == taken
        assert adapter.change_batch(begun, batch_of(FAILED)) is None, "it is no longer theirs"
        assert not adapter.end_action(begun)

    def test_one_that_is_left_to_others_is_taken_over_at_once(self, adapter: Adapter) -> None:
        first = adapter.begin_action(bulk(ActionKind.RETRY))
        second = adapter.begin_action(bulk(ActionKind.CANCEL))
        assert (first.run_by, first.run_until) == (None, None)
        adapter.note_action(NewAction(ActionKind.DELETE, "ada"))
        taken = [adapter.take_over_action(name) for name in ("a", "b", "c")]
        assert [action and action.id for action in taken] == [first.id, second.id, None]

    def test_one_of_several_takes_it_over(self, adapter: Adapter) -> None:
        adapter.begin_action(bulk(ActionKind.RETRY))
        names = [f"runner {number}" for number in range(4)]
        with ThreadPoolExecutor(len(names)) as pool:
            taken = [a for a in pool.map(adapter.take_over_action, names) if a is not None]
        assert len(taken) == 1

    def test_a_given_one_is_taken_over(self, adapter: Adapter) -> None:
        adapter.begin_action(bulk(ActionKind.RETRY))
        wanted = adapter.begin_action(bulk(ActionKind.RETRY))
        taken = adapter.take_over_action("me", action_id=wanted.id)
        assert taken is not None
        assert taken.id == wanted.id
        assert adapter.take_over_action("me", action_id=wanted.id) is None

    def test_each_batch_changes_jobs_and_moves_the_cursor(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        ids = failed_jobs(adapter, 3)
        action = adapter.begin_action(bulk(ActionKind.RETRY), "me")
        clock.advance(5)
        first = adapter.change_batch(action, batch_of(FAILED, *ids[1:], before_id=ids[1]))
        assert first is not None
        assert (first.number, first.jobs) == (2, ())
        assert first.action == replace(
            action, number=2, before_id=ids[1], run_until=clock.now() + RUN_LEASE
        )
        assert {record(adapter, i).state for i in ids[1:]} == {JobState.READY}
        assert record(adapter, ids[0]).state is JobState.FAILED
        last = adapter.change_batch(first.action, batch_of(FAILED, ids[0]))
        assert last is not None
        assert (last.action.state, last.action.number) == (ActionState.DONE, 3)
        assert (last.action.before_id, last.action.ended_at) == (None, clock.now())
        assert adapter.change_batch(last.action, batch_of(FAILED, *ids)) is None
        assert adapter.take_over_action("me") is None

    def test_a_batch_without_jobs_moves_the_cursor(self, adapter: Adapter) -> None:
        action = adapter.begin_action(bulk(ActionKind.DELETE), "me")
        moved = adapter.change_batch(action, batch_of(FAILED, before_id=40))
        assert moved is not None
        assert (moved.number, moved.action.before_id) == (0, 40)

    def test_a_batch_of_a_canary_has_a_delay_and_notes_its_course(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        now_due, later_due = failed_jobs(adapter, 2)
        before = record(adapter, now_due).run_at
        action = adapter.begin_action(bulk(ActionKind.CANARY), "me")
        clock.advance(5)
        noted = {**action.target, "canary": {"phase": "rest", "ids": [later_due]}}
        batch = batch_of(FAILED, later_due, before_id=later_due)
        first = adapter.change_batch(action, replace(batch, target=noted, delay=MINUTE))
        assert first is not None
        assert (first.number, first.action.target) == (1, noted)
        assert adapter.action(action.id) == first.action
        assert record(adapter, later_due).state is JobState.READY
        assert record(adapter, later_due).run_at == clock.now() + MINUTE
        second = adapter.change_batch(first.action, batch_of(FAILED, now_due, before_id=now_due))
        assert second is not None
        assert (second.number, second.action.target) == (1, noted)
        assert record(adapter, now_due).run_at == before

    def test_a_batch_may_stop_its_action(self, adapter: Adapter, clock: ManualClock) -> None:
        action = adapter.begin_action(bulk(ActionKind.CANARY), "me")
        batch = replace(batch_of(FAILED, before_id=40), stops=True, target={"why": "it is back"})
        stopped = adapter.change_batch(action, batch)
        assert stopped is not None
        assert (stopped.action.state, stopped.action.ended_at) == (
            ActionState.STOPPED,
            clock.now(),
        )
        assert (stopped.action.before_id, stopped.action.target) == (40, {"why": "it is back"})
        assert adapter.take_over_action("you") is None
        assert adapter.resume_action(action.id)
        assert adapter.take_over_action("you") is not None

    def test_a_job_that_no_longer_matches_is_left(self, adapter: Adapter) -> None:
        """Somebody else has retried it since the batch was read, and it has failed again since."""
        ids = failed_jobs(adapter, 2)
        action = adapter.begin_action(bulk(ActionKind.RETRY), "me")
        adapter.retry(JobFilter(ids=(ids[0],)))
        changed = adapter.change_batch(action, batch_of(FAILED, *ids))
        assert changed is not None
        assert changed.number == 1

    def test_a_retry(self, adapter: Adapter) -> None:
        jobs = one_of_each_state(adapter)
        ids = [job.id for job in jobs.values()]
        action = adapter.begin_action(bulk(ActionKind.RETRY, JobFilter()), "me")
        changed = adapter.change_batch(action, batch_of(JobFilter(), *ids), returning=True)
        assert changed is not None
        due = [jobs[state].id for state in RETRIABLE_STATES]
        assert sorted(job.id for job in changed.jobs) == sorted(due)
        assert changed.number == len(due)
        assert {record(adapter, i).state for i in due} == {JobState.READY, JobState.GATED}

    def test_a_cancellation(self, adapter: Adapter, clock: ManualClock) -> None:
        jobs = one_of_each_state(adapter)
        ids = [job.id for job in jobs.values()]
        action = adapter.begin_action(
            bulk(ActionKind.CANCEL, JobFilter(), "the customer has left"), "me"
        )
        changed = adapter.change_batch(action, batch_of(JobFilter(), *ids), returning=True)
        assert changed is not None
        assert changed.number == len(UNFINISHED_STATES)
        assert list(changed.jobs) == [record(adapter, job.id) for job in changed.jobs]
        ready, running = jobs[JobState.READY].id, jobs[JobState.RUNNING].id
        by_id = {job.id: job for job in changed.jobs}
        assert by_id[ready].state is JobState.CANCELLED
        assert by_id[ready].finished_at == clock.now()
        assert by_id[running].state is JobState.RUNNING
        assert by_id[running].cancel_requested_at == clock.now()
        assert {job.last_error for job in changed.jobs} == {"the customer has left"}

    def test_a_cancellation_without_a_reason_says_who_asked_for_it(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter)
        action = adapter.begin_action(bulk(ActionKind.CANCEL, JobFilter()), "me")
        adapter.change_batch(action, batch_of(JobFilter(), job.id))
        assert record(adapter, job.id).last_error == "cancelled by ada"

    @pytest.mark.parametrize("names_running", [False, True])
    def test_a_deletion(self, adapter: Adapter, names_running: bool) -> None:
        """Running jobs are removed only if that state is named."""
        jobs = one_of_each_state(adapter)
        ids = [job.id for job in jobs.values()]
        where = JobFilter(states=tuple(JobState) if names_running else None)
        action = adapter.begin_action(bulk(ActionKind.DELETE, where), "me")
        changed = adapter.change_batch(action, batch_of(where, *ids), returning=True)
        assert changed is not None
        left = [] if names_running else [jobs[JobState.RUNNING].id]
        assert [job.id for job in adapter.list_jobs(JobFilter(), 10)] == left
        assert sorted(job.id for job in changed.jobs) == sorted(set(ids) - set(left))
        assert changed.number == len(ids) - len(left)

    def test_the_attempts_of_deleted_jobs_are_removed(self, adapter: Adapter) -> None:
        [job_id] = failed_jobs(adapter, 1)
        assert adapter.attempts(job_id)
        action = adapter.begin_action(bulk(ActionKind.DELETE), "me")
        adapter.change_batch(action, batch_of(FAILED, job_id))
        assert not adapter.attempts(job_id)

    def test_one_that_was_stopped_changes_nothing_more(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        ids = failed_jobs(adapter, 2)
        action = adapter.begin_action(bulk(ActionKind.RETRY), "me")
        moved = adapter.change_batch(action, batch_of(FAILED, ids[1], before_id=ids[1]))
        assert moved is not None
        assert adapter.stop_action(action.id)
        assert not adapter.stop_action(action.id)
        stopped = adapter.action(action.id)
        assert stopped == replace(moved.action, state=ActionState.STOPPED, ended_at=clock.now())
        assert adapter.change_batch(moved.action, batch_of(FAILED, *ids)) is None
        assert record(adapter, ids[0]).state is JobState.FAILED
        clock.advance(MINUTE)
        assert adapter.take_over_action("other") is None

    def test_one_that_is_resumed_goes_on_where_it_was(self, adapter: Adapter) -> None:
        action = adapter.begin_action(bulk(ActionKind.RETRY), "me")
        adapter.change_batch(action, batch_of(FAILED, before_id=17))
        assert not adapter.resume_action(action.id), "it runs"
        adapter.stop_action(action.id)
        assert adapter.resume_action(action.id)
        taken = adapter.take_over_action("other")
        assert taken is not None
        assert (taken.id, taken.before_id, taken.ended_at) == (action.id, 17, None)

    def test_one_can_be_ended_before_its_end(self, adapter: Adapter, clock: ManualClock) -> None:
        action = adapter.begin_action(bulk(ActionKind.RETRY), "me")
        moved = adapter.change_batch(action, batch_of(FAILED, before_id=17))
        assert moved is not None
        assert adapter.end_action(moved.action)
        assert not adapter.end_action(moved.action)
        ended = adapter.action(action.id)
        assert ended == replace(moved.action, state=ActionState.DONE, ended_at=clock.now())
        assert not adapter.resume_action(action.id)

    def test_one_that_begins_further_down(self, adapter: Adapter) -> None:
        action = replace(bulk(ActionKind.RETRY), before_id=42)
        assert adapter.begin_action(action).before_id == 42

    def test_a_job_is_changed_once_by_two_who_think_that_they_run_it(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        """One that was frozen between two batches goes on after another has taken it over."""
        ids = failed_jobs(adapter, 2)
        action = adapter.begin_action(bulk(ActionKind.RETRY), "frozen")
        clock.advance(RUN_LEASE)
        taken = adapter.take_over_action("other")
        assert taken is not None
        adapter.change_batch(taken, batch_of(FAILED, *ids, before_id=ids[0]))
        settle_all(adapter, *(Failed(job, error="again") for job in adapter.claim(a_claim())))
        assert adapter.change_batch(action, batch_of(FAILED, *ids)) is None
        assert {record(adapter, i).state for i in ids} == {JobState.FAILED}
