"""The control of jobs: giving them other arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    JobState,
)
from jobqueue.stored import StoredJob
from jobqueue.testing.contract.base import (
    ContractBase,
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
