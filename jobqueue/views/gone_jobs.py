"""The view of a job whose row is gone, or never was: the rest that is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from jobqueue.records import (
    LARGEST_ID,
    ActionFilter,
    ActionKind,
    ActionRecord,
    AttemptRecord,
    JobFilter,
    JobRecord,
    ScheduleRecord,
    Stat,
)
from jobqueue.retention import keep_text, retention_of
from jobqueue.stored import StoredJob

NEAR = 200
MOST_ACTIONS = 200
MOST_SHOWN = 5
AFTER = timedelta(minutes=10)
REMOVING = (ActionKind.DELETE,)


@dataclass(frozen=True, slots=True)
class GoneJobView:
    """A job that is not there, as far as something is known of it.

    Args:
        job_id: its id.
        newest: the job that was made last, of those that are there; None if there are none.
        before: the nearest job with a smaller id.
        after: the nearest job with a larger id, of the next 200 ids.
        attempts: its attempts that did not succeed, as far as they are kept.
        removed_by: the action that removed it, if one names it.
        perhaps_removed_by: changes to many jobs that may have removed it: they were made later.
        schedule: the recurring job that it was a tick of, if one remembers it.
        ended: the attempts that ended in the ten minutes after `before` was made, by class.
        keeps: which succeeded jobs stay, by class, of those that are named here and known here.
    """

    job_id: int
    newest: JobRecord | None
    before: JobRecord | None
    after: JobRecord | None
    attempts: Sequence[AttemptRecord]
    removed_by: ActionRecord | None
    perhaps_removed_by: Sequence[ActionRecord]
    schedule: ScheduleRecord | None
    ended: Sequence[Stat]
    keeps: Mapping[str, str]

    @property
    def is_unknown(self) -> bool:
        """Whether no job with a later id is there, nor anything known of it.

        It has succeeded and was not kept, as all since; or no job has had this id yet.
        """
        known = self.attempts or self.removed_by or self.schedule
        return not known and (self.newest is None or self.newest.id < self.job_id)


def gone_job_view(adapter: Adapter, job_id: int) -> GoneJobView:
    """Return what is known of a job that is not there."""
    newest = _first(adapter, JobFilter())
    before = _first(adapter, JobFilter(before_id=min(job_id, LARGEST_ID)))
    removing = adapter.actions(ActionFilter(kinds=REMOVING), MOST_ACTIONS)
    made_at = None if before is None else before.created_at
    schedule, ended = _schedule_of(adapter, job_id), _ended_after(adapter, made_at)
    names = [stat.handler for stat in ended] + ([] if schedule is None else [schedule.handler])
    return GoneJobView(
        job_id,
        newest,
        before,
        _after(adapter, job_id),
        adapter.attempts(job_id),
        next((action for action in removing if _names(action, job_id)), None),
        list(_perhaps(removing, made_at))[:MOST_SHOWN],
        schedule,
        ended,
        {name: rule for name in names if (rule := _rule_of(name)) is not None},
    )


def _rule_of(name: str) -> str | None:
    """Which succeeded jobs of a class stay, in words; None where the class is not known."""
    job_class = registry.find(name)
    if job_class is None:
        return None
    return keep_text(retention_of(job_class, default_configuration.settings).succeeded)


def _first(adapter: Adapter, where: JobFilter) -> StoredJob | None:
    found = adapter.page_jobs(where, 1).jobs
    return found[0] if found else None


def _after(adapter: Adapter, job_id: int) -> StoredJob | None:
    ids = tuple(range(job_id + 1, min(job_id + 1 + NEAR, LARGEST_ID)))
    found = adapter.list_jobs(JobFilter(ids=ids), NEAR) if ids else []
    return min(found, key=lambda job: job.id, default=None)


def _names(action: ActionRecord, job_id: int) -> bool:
    ids = action.target.get("ids")
    return isinstance(ids, list) and job_id in ids


def _perhaps(actions: Sequence[ActionRecord], made_at: datetime | None) -> Iterator[ActionRecord]:
    """Yield the actions on jobs that a filter means, made after the job's neighbour was."""
    for action in actions:
        is_later = made_at is None or action.done_at >= made_at
        if "ids" not in action.target and action.number and is_later:
            yield action


def _schedule_of(adapter: Adapter, job_id: int) -> ScheduleRecord | None:
    for record in adapter.schedules():
        if any(job.job_id == job_id for job in record.last_jobs):
            return record
    return None


def _ended_after(adapter: Adapter, made_at: datetime | None) -> list[Stat]:
    if made_at is None:
        return []
    until = max(adapter.now() - made_at - AFTER, timedelta(0))
    stats = adapter.class_stats(until + AFTER, until)
    return sorted(stats, key=lambda stat: -stat.attempts)[:MOST_SHOWN]
