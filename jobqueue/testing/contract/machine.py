"""Any calls, in any order: Hypothesis drives an adapter and the model side by side.

It needs the package `hypothesis`, which nothing else in `jobqueue` does.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    LOOK_ANYWHERE,
    Cancelled,
    Claim,
    ClaimedJob,
    CrashedJob,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    Outcome,
    Released,
    Retried,
    Succeeded,
    Wakeup,
    WorkerRecord,
)
from jobqueue.testing.contract.base import a_claim, new_job, new_worker
from jobqueue.testing.contract.model import Model, Pair, what_is_seen

QUEUES = ("a", "b", "c")
ALL_OF_THEM = 1000
LONG = timedelta(days=1)

seconds = st.sampled_from((0, 0, 1, 5, 40)).map(lambda number: timedelta(seconds=number))
texts = st.sampled_from(("no", "because", "\U0001f600 \u2028"))
queue_sets = st.sampled_from((None, None, ("a",), ("b", "a"), ("c", "b"), QUEUES))
states = st.sampled_from(
    (None, (JobState.READY,), (JobState.FAILED, JobState.CANCELLED), (JobState.RUNNING,))
)
new_jobs = st.builds(
    new_job,
    queue=st.sampled_from(QUEUES),
    priority=st.sampled_from((1, 50, 50, 99)),
    max_attempts=st.sampled_from((1, 2, 2, 5)),
    delay=seconds,
)
kinds_of_outcome: st.SearchStrategy[Callable[[ClaimedJob], Outcome]] = st.one_of(
    st.builds(lambda keep: lambda job: Succeeded(job, keep=keep), st.booleans()),
    st.builds(
        lambda error, delay, refund: (
            lambda job: Retried(job, error=error, delay=delay, refund=refund)
        ),
        *(texts, seconds, st.booleans()),
    ),
    st.builds(lambda e, keep: lambda job: Failed(job, error=e, keep=keep), texts, st.booleans()),
    st.builds(lambda why: lambda job: Discarded(job, reason=why), texts),
    st.builds(lambda keep: lambda job: Cancelled(job, keep=keep), st.booleans()),
    st.builds(
        lambda error, delay: lambda job: Released(job, error=error, delay=delay),
        *(st.none() | texts, seconds),
    ),
)

_machines = itertools.count(1)


class AnyOrder(RuleBasedStateMachine):
    """Calls of an adapter, each compared with the model's answer, and the rows after each.

    Args:
        adapter: what is tried; it is emptied first.
        clock: its time.
        lateness: for how long a turn may overlook what has become due, by the clock.
    """

    def __init__(self, adapter: Adapter, clock: ManualClock, lateness: timedelta) -> None:
        super().__init__()
        self.adapter, self.clock, self.lateness = adapter, clock, lateness
        self.model = Model(clock)
        self.claims: list[ClaimedJob] = []
        self.sightings: list[WorkerRecord] = []
        number = next(_machines)
        self.workers = tuple(f"worker-{number}-{letter}" for letter in "xyz")

    @initialize()
    def begin_empty(self) -> None:
        self.adapter.delete(JobFilter(), include_running=True)
        self.adapter.resume_queues(self.adapter.paused_queues())
        for worker in self.adapter.workers():
            self.adapter.unregister_worker(worker.id)

    # --- the path --------------------------------------------------------------------------------

    @rule(jobs=st.lists(new_jobs, min_size=1, max_size=5))
    def enqueue(self, jobs: list[Any]) -> None:
        stored = self.adapter.enqueue(jobs)
        ids = [record.id for record in stored]
        assert ids == sorted(ids), f"ids {ids} do not ascend"
        self.model.enqueue(stored)

    @rule(by=st.sampled_from((0.5, 1, 5, 31)))
    def let_time_pass(self, by: float) -> None:
        self.clock.advance(by)

    @rule(data=st.data(), queues=queue_sets, limit=st.integers(1, 5))
    def claim(self, data: st.DataObject, queues: Any, limit: int) -> None:
        claim = self._a_claim(data, queues, limit)
        claimed = self.adapter.claim(claim)
        self.model.claim(claim, claimed)
        self.claims += claimed

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        outcomes = self._outcomes(data, fewest=1)
        _agree(self.adapter.settle(outcomes), self.model.settle(outcomes))

    @rule(data=st.data(), queues=queue_sets, limit=st.integers(1, 5))
    def take_a_turn(self, data: st.DataObject, queues: Any, limit: int) -> None:
        """Settle and claim. A job that becomes ready may be claimed at once or in the next turn."""
        outcomes = self._outcomes(data, fewest=0) if self.claims else []
        claim = self._a_claim(data, queues, limit, heard=self._heard(data))
        may_miss = self.model.young(self.lateness) | {outcome.job.id for outcome in outcomes}
        turn = self.adapter.turn(outcomes, claim)
        _agree(list(turn.rejected), self.model.settle(outcomes))
        self.model.claim(claim, turn.claimed, may_miss)
        self.claims += turn.claimed

    def _a_claim(
        self, data: st.DataObject, queues: Any, limit: int, heard: Wakeup | None = None
    ) -> Claim:
        made = a_claim(
            data.draw(st.sampled_from(self.workers)),
            limit=limit,
            free_slots=data.draw(st.integers(0, limit)),
            queues=queues,
        )
        return Claim(
            made.worker_id, made.token, made.limit, made.free_slots, made.queues, heard=heard
        )

    def _heard(self, data: st.DataObject) -> Wakeup | None:
        """A wake-up of any kind, true or not, or none: a wake-up promises nothing."""
        places = [Wakeup(frozenset((j.queue,)), j.place, 1) for j in self.model.jobs.values()]
        return data.draw(st.sampled_from((None, None, LOOK_ANYWHERE, *places)))

    def _outcomes(self, data: st.DataObject, fewest: int) -> list[Outcome]:
        """The outcomes of claims old and new. Some were settled before, or come twice here."""
        jobs = data.draw(st.lists(st.sampled_from(self.claims), min_size=fewest, max_size=5))
        return [data.draw(kinds_of_outcome)(job) for job in jobs]

    # --- workers ---------------------------------------------------------------------------------

    @rule(number=st.integers(0, 2))
    def register_or_beat(self, number: int) -> None:
        worker_id = self.workers[number]
        known = {worker_id} & set(self.model.beats)
        _agree(self.adapter.beat([worker_id]), known)
        if not known:
            self.adapter.register_worker(new_worker(worker_id))
        self.model.beats[worker_id] = self.clock.now()

    @rule()
    def see_who_is_there(self) -> None:
        seen = self.adapter.workers()
        _agree({worker.id: worker.heartbeat_at for worker in seen}, self.model.beats)
        _agree(self.adapter.orphaned_workers(), self.model.orphaned_workers())
        self.sightings += seen

    @precondition(lambda self: self.sightings)
    @rule(data=st.data(), error=texts)
    def rescue(self, data: st.DataObject, error: str) -> None:
        """Rescue the jobs of a worker whose heartbeat was seen just now or long ago."""
        seen = data.draw(st.sampled_from(self.sightings))
        rescue = self.adapter.rescue(seen, error)
        if self.model.beats.get(seen.id) == seen.heartbeat_at:
            _agree(rescue, self.model.rescue(seen.id, error))
        else:
            assert rescue is None

    @rule(number=st.integers(0, 2), error=texts)
    def rescue_orphans(self, number: int, error: str) -> None:
        worker_id = self.workers[number]
        rescue = self.adapter.rescue_orphans(worker_id, error)
        if worker_id in self.model.beats:
            assert rescue is None
        else:
            _agree(rescue, self.model.rescue(worker_id, error))

    @rule(data=st.data(), number=st.integers(0, 2))
    def rescue_crashed(self, data: st.DataObject, number: int) -> None:
        worker_id = self.workers[number]
        performing = [
            CrashedJob(
                *pair,
                error=data.draw(texts),
                delay=data.draw(seconds),
                guilty=data.draw(st.booleans()),
                final=data.draw(st.booleans()),
            )
            for pair in self._some_pairs(data)
        ]
        rescue = self.adapter.rescue_crashed(worker_id, performing)
        _agree(rescue, self.model.rescue_crashed(worker_id, performing))

    @rule(data=st.data(), number=st.integers(0, 2))
    def release_strays(self, data: st.DataObject, number: int) -> None:
        worker_id, held = self.workers[number], self._some_pairs(data)
        released = self.adapter.release_strays(worker_id, set(held))
        _agree(released, self.model.release_strays(worker_id, held))

    def _some_pairs(self, data: st.DataObject) -> list[Pair]:
        pairs = [(job.id, job.token) for job in self.claims]
        return data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []

    @rule(number=st.integers(0, 2))
    def unregister(self, number: int) -> None:
        worker_id = self.workers[number]
        _agree(self.adapter.unregister_worker(worker_id), self.model.unregister(worker_id))

    # --- steering --------------------------------------------------------------------------------

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        where = self._a_filter(data)
        _agree(self.adapter.retry(where), self.model.retry(where))

    @rule(data=st.data(), reason=texts)
    def cancel(self, data: st.DataObject, reason: str) -> None:
        where = self._a_filter(data)
        _agree(self.adapter.cancel(where, reason), self.model.cancel(where, reason))

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data(), reason=texts)
    def request_cancel(self, data: st.DataObject, reason: str) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.model.jobs)))
        job = self.adapter.request_cancel(job_id, reason)
        _agree(job and job.state, self.model.request_cancel(job_id, reason))
        for worker_id in self.workers:
            asked = self.adapter.cancel_requests(worker_id)
            _agree(asked, self.model.cancel_requests(worker_id))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), percent=st.integers(0, 100))
    def report_progress(self, data: st.DataObject, percent: int) -> None:
        job = data.draw(st.sampled_from(self.claims))
        self.adapter.report_progress({(job.id, job.token): json.dumps(percent)})
        self.model.report_progress(job.id, job.token, percent)

    @rule(data=st.data(), include_running=st.booleans())
    def delete(self, data: st.DataObject, include_running: bool) -> None:
        where = self._a_filter(data)
        deleted = self.adapter.delete(where, include_running=include_running)
        _agree(deleted, self.model.delete(where, include_running=include_running))

    @rule(queues=st.lists(st.sampled_from(QUEUES), min_size=1))
    def pause(self, queues: list[str]) -> None:
        _agree(self.adapter.pause_queues(queues), self.model.pause(queues))

    @rule(queues=st.lists(st.sampled_from(QUEUES), min_size=1))
    def resume(self, queues: list[str]) -> None:
        _agree(self.adapter.resume_queues(queues), self.model.resume(queues))

    def _a_filter(self, data: st.DataObject) -> JobFilter:
        ids = sorted(self.model.jobs)
        few = data.draw(st.lists(st.sampled_from(ids), max_size=3)) if ids else []
        return JobFilter(
            ids=tuple(few),
            states=data.draw(states),
            queues=data.draw(st.sampled_from((None, ("a", "b")))),
            due=data.draw(st.sampled_from((None, True, False))),
        )

    # --- after each of them ----------------------------------------------------------------------

    @invariant()
    def every_row_is_as_the_model_has_it(self) -> None:
        rows = self.adapter.list_jobs(JobFilter(), ALL_OF_THEM)
        found = {row.id: what_is_seen(row) for row in rows}
        expected = {job.id: what_is_seen(job) for job in self.model.jobs.values()}
        assert found == expected, "\n".join(_differences(found, expected))

    @rule()
    def count(self) -> None:
        jobs = self.model.jobs.values()
        counts = {state: sum(job.state is state for job in jobs) for state in JobState}
        found = self.adapter.count_by_state()
        _agree({state: found.get(state, 0) for state in JobState}, counts)
        depths = {d.queue: (d.due + d.later, d.running) for d in self.adapter.queue_depths()}
        for queue, depth in depths.items():
            of_it = [job.state for job in jobs if job.queue == queue]
            assert depth == (of_it.count(JobState.READY), of_it.count(JobState.RUNNING))

    def teardown(self) -> None:
        """Check at the end that all ready jobs can be claimed in one turn."""
        self.adapter.resume_queues(QUEUES)
        self.model.resume(QUEUES)
        self.clock.advance(LONG)
        claim = a_claim(self.workers[0], limit=ALL_OF_THEM)
        self.model.claim(claim, self.adapter.turn([], claim).claimed)
        self.every_row_is_as_the_model_has_it()


def _agree(found: Any, expected: Any) -> None:
    assert found == expected, f"the adapter says {found!r}, the model {expected!r}"


def _differences(found: dict[int, Any], expected: dict[int, Any]) -> Iterator[str]:
    for job_id in sorted(found.keys() | expected.keys()):
        row, job = found.get(job_id), expected.get(job_id)
        if row is None or job is None:
            yield f"job {job_id}: {row} where the model has {job}"
        else:
            wrong = {name: (row[name], job[name]) for name in row if row[name] != job[name]}
            yield from (f"job {job_id}: {n} is {a!r}, not {b!r}" for n, (a, b) in wrong.items())
