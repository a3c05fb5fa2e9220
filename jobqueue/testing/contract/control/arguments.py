"""The control of jobs: giving them other arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    JobState,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    at_once,
    claim_one,
    enqueue_one,
    new_job,
    one_of_each_state,
    record,
)

MINUTE = timedelta(minutes=1)


class ArgumentsContract(ContractBase):
    """Tests `update_args` and `change_args`."""

    @pytest.mark.parametrize("state", [JobState.READY, JobState.FAILED, JobState.CANCELLED])
    def test_other_arguments(self, adapter: Adapter, clock: ManualClock, state: JobState) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        clock.advance(MINUTE)
        assert adapter.update_args(job.id, '{"b": [1, 2.5], "a": "Zoë 😀"}') is True
        args = {"b": [1, 2.5], "a": "Zoë 😀"}
        assert record(adapter, job.id) == replace(before, args=args, updated_at=clock.now())
        assert list(record(adapter, job.id).args) == ["b", "a"]

    def test_the_next_attempt_gets_them(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter, new_job(args='{"a":1}'))
        adapter.update_args(job.id, '{"a":2}')
        assert claim_one(adapter).args.replace(" ", "") == '{"a":2}'

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SUCCEEDED])
    def test_others_keep_their_arguments(self, adapter: Adapter, state: JobState) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        assert adapter.update_args(job.id, '{"a": 2}') is False
        assert record(adapter, job.id) == before

    def test_arguments_are_changed_of_a_ready_job(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter, new_job(args='{"a": 1}'))

        def with_b(seen: StoredJob) -> str:
            return json.dumps({**seen.args, "b": 2})

        assert adapter.change_args(job.id, with_b)
        assert record(adapter, job.id).args == {"a": 1, "b": 2}
        assert json.loads(claim_one(adapter).args) == {"a": 1, "b": 2}
        assert not adapter.change_args(job.id, with_b)
        assert not adapter.change_args(10**30, with_b)

    def test_nothing_is_changed_when_the_change_is_refused(self, adapter: Adapter) -> None:
        job = enqueue_one(adapter)

        def refuse(seen: StoredJob) -> str:
            raise ValueError(seen.id)

        with pytest.raises(ValueError, match=str(job.id)):
            adapter.change_args(job.id, refuse)
        assert record(adapter, job.id) == job

    @pytest.mark.parametrize("state", [JobState.READY, JobState.FAILED, JobState.CANCELLED])
    def test_a_job_gets_other_arguments_and_is_retried(
        self, adapter: Adapter, clock: ManualClock, state: JobState
    ) -> None:
        job = one_of_each_state(adapter)[state]
        clock.advance(MINUTE)
        seen: list[StoredJob] = []

        def other(found: StoredJob) -> str:
            seen.append(found)
            return '{"a": 2}'

        assert adapter.change_args(job.id, other, retry=True)
        assert [one.id for one in seen] == [job.id]
        retried = record(adapter, job.id)
        assert (retried.state, retried.args) == (JobState.READY, {"a": 2})
        assert (retried.failed_at, retried.finished_at) == (None, None)
        assert retried.max_attempts >= retried.attempts + 1
        claimed = {one.id: one.args for one in adapter.claim(a_claim())}
        assert claimed[job.id].replace(" ", "") == '{"a":2}'

    @pytest.mark.parametrize("state", [JobState.RUNNING, JobState.SUCCEEDED])
    def test_others_are_not_retried_with_other_arguments(
        self, adapter: Adapter, state: JobState
    ) -> None:
        job = one_of_each_state(adapter)[state]
        before = record(adapter, job.id)
        assert not adapter.change_args(job.id, lambda _: '{"a": 2}', retry=True)
        assert record(adapter, job.id) == before

    def test_a_failed_job_is_not_changed_without_a_retry(self, adapter: Adapter) -> None:
        job = one_of_each_state(adapter)[JobState.FAILED]
        assert not adapter.change_args(job.id, lambda _: '{"a": 2}')
        assert record(adapter, job.id).args == {}

    def test_a_retry_is_refused_with_the_arguments(self, adapter: Adapter) -> None:
        job = one_of_each_state(adapter)[JobState.FAILED]
        before = record(adapter, job.id)

        def refuse(_: StoredJob) -> str:
            raise ValueError("they do not fit")

        with pytest.raises(ValueError, match="do not fit"):
            adapter.change_args(job.id, refuse, retry=True)
        assert record(adapter, job.id) == before

    def test_of_two_who_change_a_job_at_once_none_is_lost(self, adapter: Adapter) -> None:
        job = one_of_each_state(adapter)[JobState.FAILED]

        def add(name: str) -> None:
            adapter.change_args(job.id, lambda j: json.dumps({**j.args, name: 1}), retry=True)

        at_once(*(partial(add, name) for name in "abcd"))
        assert record(adapter, job.id).args == dict.fromkeys("abcd", 1)
