"""What happens to a database every day: each of these has to go on, whatever rows are in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.config import Settings
from jobqueue.cron import Every
from jobqueue.job import registry
from jobqueue.maintenance.pruner import Pruner
from jobqueue.maintenance.rescuer import Rescuer
from jobqueue.maintenance.sampler import take_sample
from jobqueue.maintenance.ticker import Ticks
from jobqueue.records import (
    ErrorFilter,
    ErrorGroup,
    ErrorState,
    JobFilter,
    JobState,
    NewErrors,
    NewJob,
    NewSchedule,
    NewWorker,
    Stat,
    UsedKey,
    WorkerNote,
    WorkerState,
)
from jobqueue.views.jobs import job_view
from jobqueue.views.pauses import all_pauses, pause_text
from jobqueue.views.queues import unattended_queues
from jobqueue.views.schedules import all_schedules
from jobqueue.views.stats import all_stats
from jobqueue.views.workers import all_workers, ended_workers, living_among, stacks_json
from tests.conftest import wait_until
from tests.sample_jobs import Note, calls

LEASE = timedelta(seconds=30)
LOGGER = logging.getLogger("tests.hostile")
HONEST = NewJob(Note.name, '{"what": "tick"}', "honest", 50, 5)
Step = tuple[str, Callable[[], object]]


def steps(adapter: Adapter) -> Iterator[Step]:
    """All that the workers do, and all that people look at, each by a name."""
    yield from _of_workers(adapter)
    yield from _of_lookers(adapter)


def _of_workers(adapter: Adapter) -> Iterator[Step]:
    registered = NewWorker("honest", "honest", "here", 1, None, 1, LEASE)
    adapter.register_worker(registered)
    yield "beat", lambda: adapter.beat(["honest"])
    yield "honest job", lambda: _perform_honest(adapter)
    yield "tick", lambda: _tick(adapter)
    yield "prune", lambda: _prune(adapter)
    yield "stats", lambda: adapter.add_stats("honest", [Stat("honest", "honest", succeeded=1)])
    yield "errors", lambda: _add_errors(adapter)
    yield "sample", lambda: take_sample(adapter)
    yield "roll up", lambda: adapter.roll_up_stats(1000)
    yield "rescue", lambda: _rescue(adapter)
    yield "strays", lambda: adapter.release_strays("honest", ())
    yield "due in", adapter.due_in
    yield "key", lambda: _use_key(adapter)
    yield "pause", lambda: adapter.pause_queues(["honest"])
    yield "resume what is over", adapter.resume_due_queues
    note = WorkerNote(WorkerState.RUNNING, 1)
    yield "note", lambda: adapter.note_workers({"honest": note, "odd": note})
    yield "asked for stacks", lambda: adapter.workers_asked_for_stacks(["honest", "odd"])
    yield "resume", lambda: adapter.resume_queues(["honest"])
    yield "retry", lambda: adapter.retry(JobFilter(states=(JobState.FAILED,)))
    yield "honest job again", lambda: _perform_honest(adapter)
    yield "unregister", lambda: adapter.unregister_worker("honest")


def _of_lookers(adapter: Adapter) -> Iterator[Step]:
    for state in (None, *JobState):
        where = JobFilter() if state is None else JobFilter(states=(state,))
        yield f"list {state}", partial(_view, adapter, where)
        yield f"page {state}", partial(adapter.page_jobs, where, 50)
        yield f"count {state}", partial(adapter.count_up_to, where, 1000)
    yield "page of a class", lambda: adapter.page_jobs(JobFilter(handlers=("x",)), 50)
    yield "counts", adapter.count_by_state
    yield "depths", adapter.queue_depths
    yield "capped depths", lambda: adapter.queue_depths(1000)
    yield "running", lambda: adapter.running_jobs(50)
    yield "workers", lambda: all_workers(adapter)
    yield "ended workers", lambda: ended_workers(adapter)
    yield "stacks", lambda: _stacks(adapter)
    yield "pauses", lambda: [pause_text(one.pause) for one in all_pauses(adapter).values()]
    yield "unattended", lambda: _unattended(adapter)
    yield "schedules", lambda: all_schedules(adapter)
    yield "all stats", lambda: all_stats(adapter, timedelta(hours=1), 1000)
    for states in (None, *((state,) for state in ErrorState)):
        yield f"errors {states}", partial(_read_errors, adapter, ErrorFilter(states=states))
    yield "lately", lambda: _read_errors(adapter, ErrorFilter(period=timedelta(hours=1)))
    yield "stats of a day", lambda: adapter.class_stats(timedelta(days=1))
    yield "stats of all time", lambda: adapter.class_stats(timedelta(days=10_000))
    yield "samples", lambda: adapter.samples(timedelta(days=10_000))
    yield "samples of a queue", lambda: adapter.samples(timedelta(days=10_000), "odd")
    yield "some samples", lambda: adapter.samples(timedelta(days=10_000), "odd", 7)
    yield "tokens", adapter.tokens
    yield "health", adapter.health


def _stacks(adapter: Adapter) -> None:
    found = adapter.stacks_of("odd")
    if found is not None:
        stacks_json(found)


def _perform_honest(adapter: Adapter) -> None:
    before = calls.count("honest")
    adapter.enqueue([NewJob(Note.name, '{"what": "honest"}', "honest", 50, 5)])
    with JobQueue(adapter).running():
        wait_until(lambda: calls.count("honest") > before, "an honest job")


def _tick(adapter: Adapter) -> None:
    rule = Every(hours=1).rule()
    names = [record.name for record in adapter.schedules("jobs")]
    ticks = Ticks(adapter, "jobs", LOGGER)
    ticks.take(
        NewSchedule(name, Note.name, "{}", rule, True, "honest", 50, 3)
        for name in dict.fromkeys([*names, "honest"])
    )
    ticks.look()


def _prune(adapter: Adapter) -> None:
    now = [0.0]
    pruner = Pruner(adapter, "honest", registry, Settings(), monotonic=lambda: now[0])
    pruner.prune()
    now[0] = 10_000.0
    pruner.prune()


def _rescue(adapter: Adapter) -> None:
    now = [0.0]
    rescuer = Rescuer(adapter, LEASE, lambda: now[0])
    rescuer.rescue()
    now[0] = 10_000.0
    rescuer.rescue()


def _add_errors(adapter: Adapter) -> None:
    """Add errors of groups that are there, and of an honest one."""
    keys = [record.key for record in adapter.error_groups(ErrorFilter(), 1_000).groups]
    groups = [ErrorGroup(key, "honest", "ValueError", None, "no") for key in (*keys, "honest")]
    adapter.add_errors([NewErrors(group, 1, "no", 1) for group in groups if group.key])
    honest = adapter.error_group("honest")
    assert honest is not None
    assert honest.hours[-1].number >= 1
    assert adapter.set_error_state("honest", ErrorState.RESOLVED, "honest")


def _read_errors(adapter: Adapter, where: ErrorFilter) -> None:
    seen = set[str]()
    while True:
        page = adapter.error_groups(where, 7)
        for record in page.groups:
            adapter.error_group(record.key)
            record.since(record.last_seen_at)
            seen.add(record.key)
        if page.next_before is None:
            return
        assert len(seen) < 10_000
        where = replace(where, before=page.next_before)


def _use_key(adapter: Adapter) -> None:
    adapter.enqueue_once(UsedKey("odd", "honest", timedelta(hours=1)), HONEST)


def _view(adapter: Adapter, where: JobFilter) -> None:
    for record in adapter.list_jobs(where, 10_000):
        job_view(record)


def _unattended(adapter: Adapter) -> None:
    workers = adapter.workers()
    unattended_queues(adapter.queue_depths(), living_among(adapter, workers, adapter.now()), [])
