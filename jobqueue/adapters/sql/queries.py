"""The queries behind lists and pages, and the records of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from jobqueue.adapters.sql.json_at import has_value
from jobqueue.adapters.sql.readings import (
    decoded,
    decoded_args,
    mapping,
    name_or_none,
    names,
    span,
    whole,
)
from jobqueue.adapters.sql.states import is_in
from jobqueue.adapters.sql.tables import (
    JOBS,
    WORKERS,
    BackgroundQueue,
    UtcDateTime,
    to_name,
    to_utc,
)
from jobqueue.adapters.sql.terms import terms_in
from jobqueue.records import (
    LARGEST_ID,
    NO_TERMS,
    WAITING_STATES,
    Between,
    JobFilter,
    JobState,
    QueueDepth,
    WorkerNote,
    WorkerRecord,
    WorkerState,
)
from jobqueue.stored import StoredJob

MOST_QUEUES = 1000
"""How many queues are shown. Anybody may make as many as there are jobs."""
PROCESS = "process"
"""The key of a worker's `details` that has the identity of its process."""

STATE, MEMORY = "state", "memory_bytes"
"""The keys of a worker's `details` that say how it was when that was last stored."""

DEFAULT_LEASE = timedelta(seconds=30)
NO_PID = 0

# The JSON of a row is read as text and decoded here: one bad row must not spoil a whole list.
JSON_COLUMNS = ("args", "progress", "result", "meta", "terms")
_RECORD_COLUMNS = (
    "id",
    "handler",
    "queue",
    "priority",
    "state",
    "attempts",
    "max_attempts",
    "run_at",
    "created_at",
    "updated_at",
    "locked_at",
    "locked_by",
    "crashes",
    "last_error",
    "failed_at",
    "finished_at",
    "cancel_requested_at",
    "started_at",
    "run_seconds",
    "performed_by",
    "error_key",
    "line",
    "expires_at",
    "unique_key",
    "waiting_key",
    "flow_id",
    "flow_place",
)
_OPTIONAL_NAMES = (
    *("locked_by", "last_error", "performed_by", "error_key"),
    *("line", "unique_key", "waiting_key"),
)
_NAME_COLUMNS = ("handler", "queue")
_NUMBER_COLUMNS = ("priority", "attempts", "max_attempts", "crashes")
_TIME_COLUMNS = tuple(name for name in _RECORD_COLUMNS if name.endswith("_at"))


RECORD_NAMES = (*_RECORD_COLUMNS, *JSON_COLUMNS)
"""The names of the columns that `job_record` needs, in the order of `record_columns`."""


def record_columns() -> list[Any]:
    """The columns that `job_record` needs."""
    columns: list[Any] = [JOBS.c[name] for name in _RECORD_COLUMNS]
    return columns + [cast(JOBS.c[name], Text).label(name) for name in JSON_COLUMNS]


def jobs_query(where: JobFilter, now: ColumnElement[Any], limit: int) -> Select[Any]:
    """The jobs that match, the newest first."""
    query = select(*record_columns()).where(*conditions(where, now))
    return query.order_by(JOBS.c.id.desc()).limit(limit)


def count_query(where: JobFilter, now: ColumnElement[Any]) -> Select[Any]:
    """The number of jobs that match."""
    return select(func.count()).select_from(JOBS).where(*conditions(where, now))


def count_by_state_query() -> Select[Any]:
    """The number of jobs in each state."""
    return select(JOBS.c.state, func.count()).group_by(JOBS.c.state)


def workers_query() -> Select[Any]:
    """The registered workers, the oldest first."""
    return select(WORKERS).order_by(WORKERS.c.started_at, WORKERS.c.id)


def paused_queues(connection: Connection) -> set[str]:
    """The names of paused queues."""
    query = select(BackgroundQueue.name).where(BackgroundQueue.paused_at.is_not(None))
    return set(map(to_name, connection.execute(query).scalars()))


def depths_query(now: ColumnElement[Any]) -> Select[Any]:
    """The depth of each queue with unfinished jobs, the fullest ones, and the current time."""
    ready = is_in(JOBS.c.state, *WAITING_STATES)
    running = is_in(JOBS.c.state, JobState.RUNNING)
    due = ready & (JOBS.c.run_at <= now)
    return (
        select(
            JOBS.c.queue,
            func.count().filter(due).label("due"),
            func.count().filter(ready & (JOBS.c.run_at > now)).label("later"),
            func.count().filter(running).label("running"),
            func.min(JOBS.c.run_at).filter(due).label("oldest"),
            now.label("now"),
        )
        .where(ready | running)
        .group_by(JOBS.c.queue)
        .order_by(func.count().filter(due).desc(), JOBS.c.queue)
        .limit(MOST_QUEUES)
    )


def running_query(now: ColumnElement[Any], limit: int) -> Select[Any]:
    """Running jobs, in the order in which they were claimed."""
    query = jobs_query(JobFilter(states=(JobState.RUNNING,)), now, limit)
    return query.order_by(None).order_by(JOBS.c.locked_at, JOBS.c.id)


def queue_depths(rows: Sequence[Row[Any]], paused: set[str]) -> list[QueueDepth]:
    """The records for the rows of `depths_query` and for paused queues."""
    found = {(name := to_name(row.queue)): _queue_depth(row, name in paused) for row in rows}
    for name in paused - set(found):
        found[name] = QueueDepth(name, 0, 0, 0, timedelta(0), paused=True)
    return [found[name] for name in sorted(found)]


def _queue_depth(row: Row[Any], paused: bool) -> QueueDepth:
    age = to_utc(row.now) - to_utc(row.oldest) if row.oldest is not None else timedelta(0)
    return QueueDepth(
        to_name(row.queue), row.due, row.later, row.running, max(age, timedelta(0)), paused
    )


def orphans_query() -> Select[Any]:
    """The ids in `locked_by` of running jobs that no registered worker has."""
    registered = select(WORKERS.c.id).where(WORKERS.c.id == JOBS.c.locked_by).exists()
    return (
        select(JOBS.c.locked_by)
        .where(is_in(JOBS.c.state, JobState.RUNNING), ~registered)
        .distinct()
        .order_by(JOBS.c.locked_by)
    )


def conditions(
    where: JobFilter, now: ColumnElement[Any], of: Any = JOBS.c
) -> list[ColumnElement[bool]]:
    """The conditions of a filter, on `background_jobs` or on columns of a subquery of it."""
    found: list[ColumnElement[bool]] = []
    ids = where.ids and tuple(job_id for job_id in where.ids if can_be_id(job_id))
    for column, values in (
        (of.id, ids),
        (of.queue, where.queues),
        (of.handler, where.handlers),
        (of.error_key, where.error_keys),
    ):
        if values is not None:
            found.append(column.in_([getattr(value, "value", value) for value in values]))
    if where.flows is not None:
        found.append(of.flow_id.in_([each for each in where.flows if can_be_id(each)]))
    if where.states is not None:
        found.append(is_in(of.state, *where.states))
    if where.before_id is not None:
        found.append(of.id < min(max(where.before_id, 0), LARGEST_ID))
    if where.due is not None:
        found.append(of.run_at <= now if where.due else of.run_at > now)
    return found + _further_conditions(where, of)


def _further_conditions(where: JobFilter, of: Any) -> list[ColumnElement[bool]]:
    """The conditions on columns that no index has."""
    found: list[ColumnElement[bool]] = []
    if where.workers is not None:
        found.append(or_(of.locked_by.in_(where.workers), of.performed_by.in_(where.workers)))
    if where.attempts is not None:
        found.append(of.attempts >= where.attempts)
    if where.started is not None:
        found += _within(func.coalesce(of.locked_at, of.started_at), where.started)
    for name, between in (
        ("created_at", where.created),
        ("finished_at", where.finished),
        ("updated_at", where.changed),
    ):
        if between is not None:
            found += _within(of[name], between)
    found += [has_value(of.args, wanted) for wanted in where.args]
    found += [has_value(of.meta, wanted) for wanted in where.meta]
    if where.error is not None:
        # The database lowers both, since it may know capitals of English alone.
        wanted = func.lower(bindparam(None, _within_text(where.error), type_=Text()))
        found.append(func.lower(of.last_error).like(wanted, escape="/"))
    return found


def _within_text(text: str) -> str:
    """The pattern of LIKE for texts that have another in them."""
    escaped = text.replace("/", "//").replace("%", "/%").replace("_", "/_")
    return f"%{escaped}%"


def _within(column: ColumnElement[Any], between: Between) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if between.first is not None:
        found.append(column >= bindparam(None, between.first, type_=UtcDateTime))
    if between.last is not None:
        found.append(column <= bindparam(None, between.last, type_=UtcDateTime))
    return found


def can_be_id(job_id: int) -> bool:
    """Whether a number fits the column. Neither driver takes one that does not."""
    return 0 < job_id <= LARGEST_ID


def job_record(row: Row[Any]) -> StoredJob:
    """A row with the `record_columns` as a record."""
    values: dict[str, Any] = {name: getattr(row, name) for name in _RECORD_COLUMNS}
    for name in _TIME_COLUMNS:
        values[name] = None if values[name] is None else to_utc(values[name])
    values |= {name: to_name(values[name]) for name in _NAME_COLUMNS}
    values |= {name: name_or_none(values[name]) for name in _OPTIONAL_NAMES}
    run_seconds = values.pop("run_seconds")
    values["run_time"] = None if run_seconds is None else span(run_seconds)
    for name in _NUMBER_COLUMNS:
        if type(values[name]) is not int:
            values[name] = whole(values[name], 0)
    for name in ("flow_id", "flow_place"):
        values[name] = values[name] if type(values[name]) is int else None
    values["state"] = JobState(values["state"])
    values["args"] = decoded_args(row.args)
    values |= {name: decoded(getattr(row, name)) for name in ("progress", "result", "meta")}
    values["terms"] = NO_TERMS if row.terms is None else terms_in(row.terms) or NO_TERMS
    return StoredJob(**values)


def worker_record(row: Row[Any]) -> WorkerRecord:
    """A row of `workers_query` as a record."""
    details = mapping(row.details)
    process = details.get(PROCESS)
    return WorkerRecord(
        id=to_name(row.id),
        name=to_name(row.name),
        host=to_name(row.host),
        pid=whole(row.pid, NO_PID),
        queues=None if row.queues is None else names(row.queues),
        concurrency=whole(row.concurrency, 0),
        lease=span(row.lease_seconds) or DEFAULT_LEASE,
        started_at=to_utc(row.started_at),
        heartbeat_at=to_utc(row.heartbeat_at),
        process=process if isinstance(process, str) else None,
        release=name_or_none(row.release),
        note=_worker_note(details),
    )


def _worker_note(details: Mapping[str, Any]) -> WorkerNote | None:
    state, memory_bytes = details.get(STATE), details.get(MEMORY)
    if state not in list(WorkerState):
        return None
    known = type(memory_bytes) is int and 0 < memory_bytes <= LARGEST_ID
    return WorkerNote(WorkerState(state), memory_bytes if known else None)
