"""Storing jobs that have flow control: their lines and keys beside what all jobs have.

A key is unique among rows that an index holds. Of two transactions that insert the same one, the
second waits for the first, and inserts only if that rolls back. So whoever gets no row reads the
one that is there. Should that have ended meanwhile, the insertion is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

from jobqueue.adapters.settlement import flow_is_over
from jobqueue.adapters.sql.execute import Execute
from jobqueue.adapters.sql.queries import RECORD_NAMES, job_record
from jobqueue.adapters.sql.tables import to_name, to_text, to_utc
from jobqueue.errors import DatabaseRefused
from jobqueue.records import FlowControl, JobState, NewJob
from jobqueue.stored import StoredJob

MOST_TOGETHER = 500
MOST_TRIES = 20
NO_FLOW_CONTROL = FlowControl()

VALUES = (
    *("handler", "args", "queue", "priority", "max_attempts", "run_at", "delay", "meta"),
    *("state", "line", "terms", "expires_in", "unique_key", "waiting_key"),
    *("flow_id", "flow_place"),
)
"""The values of a job in the JSON that the statements read, in their order."""


@dataclass(frozen=True, slots=True)
class ControlledStatements:
    """The statements of a database.

    Args:
        insert: inserts the jobs of a JSON array, and returns the id, `run_at`, `created_at`, and
            both keys of those whose keys are free.
        find_unique: the jobs that have one of some unique keys.
        find_waiting: the jobs that have one of some waiting keys.
        change_waiting: gives a job that waits other arguments, and another time; returns its id.
        hold_key: takes a key that nobody holds; returns it.
        name_holder: notes the job of a key that was taken; returns the key.
        find_holder: the id of the job of a key.
        find_by_id: the job of an id.
        find_flow: a flow to which jobs can be added.
        lock_lines: has whoever stores a job in one of some lines wait for this transaction; None
            where there is one writer anyway.
    """

    insert: str
    find_unique: str
    find_waiting: str
    change_waiting: str
    hold_key: str
    name_holder: str
    find_holder: str
    find_by_id: str
    find_flow: str
    lock_lines: str | None = None


def has_flow_control(jobs: Sequence[NewJob]) -> bool:
    """Whether some jobs have flow control.

    A sequence that makes its jobs when they are read has jobs of one class: the first tells.
    """
    looked_at = jobs if isinstance(jobs, list | tuple) else islice(jobs, 1)
    return any(job.flow_control is not None for job in looked_at)


def insert_controlled(
    execute: Execute,
    statements: ControlledStatements,
    jobs: Sequence[NewJob],
    times: Mapping[str, Any],
) -> list[StoredJob]:
    """Store jobs of which some have flow control; return the record of each, in their order.

    Args:
        execute: runs statements in the caller's transaction.
        statements: those of the database.
        jobs: the jobs.
        times: the values by which statements know the time.

    Raises:
        DatabaseRefused: others store and end jobs of the same key all the time.
        StateConflict: jobs are added to a flow that has ended.
    """
    jobs = list(jobs)
    _refuse_flows_that_are_over(execute, statements, jobs)
    lines = sorted({line for job in jobs if (line := _ordered_line(job)) is not None})
    if lines and statements.lock_lines is not None:
        execute(statements.lock_lines, {"lines": json.dumps(lines)})
    stored: list[StoredJob] = []
    for some in _together(jobs):
        stored += _insert_some(execute, statements, some, times)
    return stored


def _refuse_flows_that_are_over(
    execute: Execute, statements: ControlledStatements, jobs: Sequence[NewJob]
) -> None:
    controls = [job.flow_control for job in jobs if job.flow_control is not None]
    added = {c.flow_id for c in controls if c.flow_id is not None and (c.flow_place or 0) >= 0}
    for flow_id in sorted(added):
        if not execute(statements.find_flow, {"flow_id": flow_id}):
            raise flow_is_over(flow_id)


def _ordered_line(job: NewJob) -> str | None:
    control = job.flow_control
    return control.line if control is not None and control.terms.ordered is not None else None


def _together(jobs: Sequence[NewJob]) -> Iterator[list[NewJob]]:
    """Jobs in order, as many at a time as one statement takes."""
    for begin in range(0, len(jobs), MOST_TOGETHER):
        yield list(jobs[begin : begin + MOST_TOGETHER])


def _insert_some(
    execute: Execute,
    statements: ControlledStatements,
    jobs: Sequence[NewJob],
    times: Mapping[str, Any],
) -> list[StoredJob]:
    found, same = _held_by_others(execute, statements, jobs, times)
    missing = [place for place in range(len(jobs)) if place not in found and place not in same]
    held = [place for place in missing if _held_key(jobs[place])]
    for _ in range(MOST_TRIES):
        found |= _insert_missing(execute, statements, jobs, missing, times)
        missing = [place for place in missing if place not in found]
        for place in missing:
            duplicate = _duplicate(execute, statements, jobs[place], times)
            if duplicate is not None:
                found[place] = duplicate
        missing = [place for place in missing if place not in found]
        if not missing:
            for place in held:
                values = {"key": _held_key(jobs[place]), "job_id": found[place].id}
                execute(statements.name_holder, values)
            found |= {place: replace(found[of]).as_duplicate() for place, of in same.items()}
            return [found[place] for place in range(len(jobs))]
    raise DatabaseRefused(
        f"a job of {jobs[missing[0]].handler} could not be stored: other jobs with its key came "
        "and went all the time. Nothing was stored; try it again"
    )


def _held_key(job: NewJob) -> str | None:
    return None if job.flow_control is None else job.flow_control.held_key


def _held_by_others(
    execute: Execute,
    statements: ControlledStatements,
    jobs: Sequence[NewJob],
    times: Mapping[str, Any],
) -> tuple[dict[int, StoredJob], dict[int, int]]:
    """Take the keys that are held for a time.

    Returns:
        The jobs of those that were held already, by place; and of calls that are the same as an
        earlier one of these, the place of that.
    """
    found: dict[int, StoredJob] = {}
    same: dict[int, int] = {}
    taken: dict[str, int] = {}
    for place, job in enumerate(jobs):
        key, control = _held_key(job), job.flow_control
        if key is None or control is None or control.held_for is None:
            continue
        values = {"key": key, "lifetime": control.held_for.total_seconds(), **times}
        if key in taken:
            same[place] = taken[key]
        elif execute(statements.hold_key, values):
            taken[key] = place
        else:
            found[place] = _holder(execute, statements, job, key)
    return found, same


def _holder(execute: Execute, statements: ControlledStatements, job: NewJob, key: str) -> StoredJob:
    """The job that holds a key. Of one that is gone its id is known, and that it has ended."""
    ((job_id, taken_at),) = execute(statements.find_holder, {"key": key})
    found = _found(execute, statements.find_by_id, job_id)
    if found is not None:
        return found
    gone = _record(job, job_id, taken_at, taken_at)
    return replace(gone, state=JobState.SUCCEEDED, unique_key=None).as_duplicate()


def _insert_missing(
    execute: Execute,
    statements: ControlledStatements,
    jobs: Sequence[NewJob],
    places: Sequence[int],
    times: Mapping[str, Any],
) -> dict[int, StoredJob]:
    """Insert jobs of which nobody has the keys; return the records, by place.

    Ids ascend as the jobs do, so each row belongs to the next job with its keys.
    """
    batch = json.dumps([_values(jobs[place]) for place in places])
    rows = sorted(execute(statements.insert, {"jobs": batch, **times}))
    stored: dict[int, StoredJob] = {}
    left = iter(places)
    for job_id, run_at, created_at, *keys in rows:
        for place in left:
            job, control = jobs[place], jobs[place].flow_control or NO_FLOW_CONTROL
            if [control.unique_key, control.waiting_key] == [_name(key) for key in keys]:
                stored[place] = _record(job, job_id, run_at, created_at)
                break
    return stored


def _record(job: NewJob, job_id: int, run_at: Any, created_at: Any) -> StoredJob:
    return StoredJob.of_new(job, job_id, to_utc(run_at), to_utc(created_at))


def _values(job: NewJob) -> list[Any]:
    control = job.flow_control or NO_FLOW_CONTROL
    expires_in = control.expires_in
    return [
        job.handler,
        job.args,
        job.queue,
        job.priority,
        job.max_attempts,
        None if job.run_at is None else to_text(job.run_at),
        job.delay.total_seconds(),
        job.meta,
        _first_state(control),
        control.line,
        None if control.line is None else control.terms.to_json(),
        None if expires_in is None else expires_in.total_seconds(),
        control.unique_key,
        control.waiting_key,
        control.flow_id,
        control.flow_place,
    ]


def _first_state(control: FlowControl) -> str:
    if control.line is None:
        return JobState.READY
    return JobState.BLOCKED if control.is_blocked else JobState.GATED


def _duplicate(
    execute: Execute, statements: ControlledStatements, job: NewJob, times: Mapping[str, Any]
) -> StoredJob | None:
    """The job that has a key of another one; None when it has ended meanwhile."""
    control = job.flow_control or NO_FLOW_CONTROL
    if control.unique_key is not None:
        found = _found(execute, statements.find_unique, control.unique_key)
        if found is not None:
            return found
    if control.waiting_key is None:
        return None
    if control.debounced is None:
        return _found(execute, statements.find_waiting, control.waiting_key)
    return _debounced(execute, statements, job, control, times)


def _debounced(
    execute: Execute,
    statements: ControlledStatements,
    job: NewJob,
    control: FlowControl,
    times: Mapping[str, Any],
) -> StoredJob | None:
    assert control.debounced is not None, "it is one that is debounced"  # noqa: S101
    most = control.debounced.max_wait
    values = {
        "key": control.waiting_key,
        "args": job.args,
        "meta": job.meta,
        "delay": control.debounced.wait.total_seconds(),
        "expires_in": None if control.expires_in is None else control.expires_in.total_seconds(),
        "most": None if most is None else most.total_seconds(),
        **times,
    }
    if not execute(statements.change_waiting, values):
        return None
    return _found(execute, statements.find_waiting, str(control.waiting_key))


def _found(execute: Execute, sql: str, key: str | int) -> StoredJob | None:
    rows = execute(sql, {"key": key})
    if not rows:
        return None
    row: Any = SimpleNamespace(**dict(zip(RECORD_NAMES, rows[0], strict=True)))
    return job_record(row).as_duplicate()


def _name(key: Any) -> str | None:
    return None if key is None else to_name(key)
