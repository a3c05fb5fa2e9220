"""The enqueueing of jobs: the stored values, and their order."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.errors import ConfigurationError
from jobqueue.records import JobFilter, JobState, NewJob
from jobqueue.testing.contract.base import (
    TEXTS,
    ContractBase,
    a_claim,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    record,
)

MANY = 10_000
MEBIBYTE = 2**20
QUEUE_NAMES = ("default", "UPPER", "a_b.c:d-e", "0", "-", "q" * 128)
EXACT_ARGS = (
    "{}",
    '{"b": 1, "a": 2, "c": {"z": null, "y": [true, false]}}',
    '{"big": 123456789012345678901234567890, "small": -9007199254740993}',
    '{"float": 0.1, "long": 3.141592653589793238462643383, "exponent": 1e-7, "whole": 1.0}',
    '{"escaped": "\\u00e9\\n\\"\\ud83d\\ude00", "raw": "\u00e9\U0001f600"}',
    '{"compact":1,"tight":[1,2]}',
)


class EnqueueContract(ContractBase):
    """Tests `enqueue`."""

    def test_the_record_says_what_was_given(self, adapter: Adapter, clock: ManualClock) -> None:
        job = NewJob("Greet", '{"name": "Ada"}', "email", 7, 3)
        made = enqueue_one(adapter, job)
        assert (made.handler, made.args, made.queue) == ("Greet", {"name": "Ada"}, "email")
        assert (made.priority, made.max_attempts, made.attempts) == (7, 3, 0)
        assert (made.state, made.crashes) == (JobState.READY, 0)
        assert made.run_at == made.created_at == made.updated_at == clock.now()
        assert (made.locked_at, made.locked_by, made.last_error) == (None, None, None)
        assert (made.failed_at, made.finished_at) == (None, None)
        assert (made.progress, made.result) == (None, None)

    def test_the_record_is_what_is_stored(self, adapter: Adapter) -> None:
        made = enqueue_one(adapter, new_job("Greet", '{"name": "Ada"}', queue="email", priority=7))
        assert adapter.get(made.id) == made

    @pytest.mark.parametrize("number", [1, 3, MANY])
    def test_what_travels_beside_the_arguments(self, adapter: Adapter, number: int) -> None:
        """With some jobs of a batch, of any size, and in any text that JSON can have."""
        texts = ['{"tenant": 42, "of": "Zo\u00eb \\" \U0001f600"}', None]
        jobs = [replace(new_job(), meta=texts[n % 2]) for n in range(number)]
        made = adapter.enqueue(jobs)
        expected = [None if job.meta is None else json.loads(job.meta) for job in jobs]
        assert [job.meta for job in made] == expected
        stored = adapter.list_jobs(JobFilter(), number)[::-1]
        assert [job.meta for job in stored] == expected
        claimed = adapter.claim(a_claim(limit=number))
        assert [None if c.meta is None else json.loads(c.meta) for c in claimed] == expected

    def test_nothing_is_enqueued_from_nothing(self, adapter: Adapter) -> None:
        assert adapter.enqueue([]) == []
        assert adapter.count_jobs(JobFilter()) == 0

    def test_records_come_in_the_order_given(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job(f"Job{n}", priority=-n) for n in range(50)])
        assert [job.handler for job in made] == [f"Job{n}" for n in range(50)]
        assert ids(made) == sorted(ids(made))

    def test_ids_ascend_in_a_big_batch(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job(args=f'{{"n": {n}}}') for n in range(MANY)])
        assert ids(made) == sorted(set(ids(made)))
        assert [job.args["n"] for job in made] == list(range(MANY))
        stored = adapter.list_jobs(JobFilter(), MANY)
        assert [job.args["n"] for job in stored] == list(reversed(range(MANY)))
        assert made == stored[::-1]
        assert stored[::-1] == made
        assert (made[-1], made[1:3], stored[0] in made) == (stored[0], stored[-2:-4:-1], True)
        assert made != stored
        assert made != stored[:0:-1]

    def test_ids_are_never_used_again(self, adapter: Adapter) -> None:
        first = enqueue_one(adapter)
        adapter.delete(JobFilter(ids=(first.id,)))
        assert enqueue_one(adapter).id > first.id

    def test_a_delay_counts_from_now(self, adapter: Adapter, clock: ManualClock) -> None:
        made = enqueue_one(adapter, new_job(delay=timedelta(days=400, milliseconds=250)))
        assert made.run_at == clock.now() + timedelta(days=400, milliseconds=250)
        assert made.created_at == clock.now()

    def test_a_moment_is_kept_to_the_microsecond(self, adapter: Adapter) -> None:
        tokyo = timezone(timedelta(hours=9))
        moment = datetime(2031, 2, 3, 4, 5, 6, 123456, tokyo)
        job = NewJob("Work", "{}", "default", 50, 5, run_at=moment)
        made = enqueue_one(adapter, job)
        assert made.run_at == moment
        assert record(adapter, made.id).run_at == moment
        assert record(adapter, made.id).run_at.tzinfo is UTC

    @pytest.mark.parametrize("year", [1, 999, 9999])
    def test_far_away_moments_are_kept(self, adapter: Adapter, year: int) -> None:
        moment = datetime(year, 6, 1, tzinfo=UTC)
        made = enqueue_one(adapter, NewJob("Work", "{}", "default", 50, 5, run_at=moment))
        assert record(adapter, made.id).run_at == moment
        assert [job.run_at for job in adapter.claim(a_claim())] == ([moment] if year < 9999 else [])

    @pytest.mark.parametrize("args", EXACT_ARGS)
    def test_args_arrive_as_they_were_written(self, adapter: Adapter, args: str) -> None:
        made = enqueue_one(adapter, new_job(args=args))
        assert json.dumps(record(adapter, made.id).args) == json.dumps(json.loads(args))
        assert claim_one(adapter).args == args

    @pytest.mark.parametrize("text", TEXTS)
    def test_any_text_arrives(self, adapter: Adapter, text: str) -> None:
        args = json.dumps({"text": text}, ensure_ascii=False)
        made = enqueue_one(adapter, new_job(handler=f"Handler{text}", args=args))
        stored = record(adapter, made.id)
        assert (stored.handler, stored.args) == (f"Handler{text}", {"text": text})
        claimed = claim_one(adapter)
        assert (claimed.handler, claimed.args) == (f"Handler{text}", args)

    def test_a_mebibyte_arrives(self, adapter: Adapter) -> None:
        args = json.dumps({"text": "\u00e9" * (MEBIBYTE // 2)}, ensure_ascii=False)
        adapter.enqueue([new_job(args=args), new_job(args=args)])
        assert [job.args for job in adapter.claim(a_claim())] == [args, args]

    @pytest.mark.parametrize("queue", QUEUE_NAMES)
    def test_any_queue_name_works(self, adapter: Adapter, queue: str) -> None:
        made = enqueue_one(adapter, new_job(queue=queue))
        assert made.queue == queue
        assert ids(adapter.claim(a_claim(queues=(queue,)))) == [made.id]

    @pytest.mark.parametrize("priority", [-(2**31), -1, 0, 2**31 - 1])
    def test_any_priority_of_32_bits_works(self, adapter: Adapter, priority: int) -> None:
        enqueue_one(adapter, new_job(priority=priority))
        assert claim_one(adapter).priority == priority

    def test_a_session_that_cannot_be_joined_is_refused(self, adapter: Adapter) -> None:
        with pytest.raises(ConfigurationError, match="session"):
            adapter.enqueue([new_job()], session=object())
        assert adapter.count_jobs(JobFilter()) == 0
