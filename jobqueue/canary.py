"""Canary retries: some jobs of a group of errors first, and the rest if that error stays away.

A canary is a bulk action whose course is in its row. Any worker does its next step, so that it goes
on wherever it is, whoever is killed. Between steps nobody has to keep it: its lease says when the
next one is due.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobqueue.bulk import BATCH, BulkRoles, bulk_action, jobs_left, jobs_of
from jobqueue.errors import InvalidAction
from jobqueue.records import (
    UNFINISHED_STATES,
    ActionBatch,
    ActionKind,
    ActionRecord,
    Between,
    JobFilter,
    NewAction,
)

USUAL_NUMBER = 10
MOST_FIRST = 500
LONGEST_SPREAD = timedelta(days=7)
LOOK = timedelta(seconds=5)
AHEAD = 2 * LOOK
"""How long before they are due jobs of the rest are retried."""
PARTS = 10
MOST_WATCHED = 1_000
KEY = "canary"
BELOW_ALL = 1
"""An id below which there are no jobs."""


class Phase(StrEnum):
    """A phase of a canary."""

    FIRST = "first"
    """Its first jobs are made due."""
    WAIT = "wait"
    """They have not ended yet."""
    REST = "rest"
    """The rest is made due, spread over time."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The course of a canary, as the row of its action has it.

    Args:
        number: how many jobs are retried first.
        spread_seconds: over how many seconds the rest is spread.
        phase: what it does now.
        began_at: when it began, or went on after the error had come back, as ISO 8601 has it.
        ids: the jobs in which it looks whether the error has come back, the last ones at the end.
        rest_at: when the rest was begun.
        rest: how many jobs that is.
        before_rest: how many jobs were retried before it.
        came_back: the job in which the error came back; it stops there.
    """

    number: int
    spread_seconds: float
    phase: str = Phase.FIRST.value
    began_at: str | None = None
    ids: tuple[int, ...] = ()
    rest_at: str | None = None
    rest: int = 0
    before_rest: int = 0
    came_back: int | None = None

    @property
    def spread(self) -> timedelta:
        """Over how long the rest is spread."""
        return timedelta(seconds=self.spread_seconds)


def canary_action(
    where: JobFilter, number: int, spread: timedelta, by: str, *, reason: str | None = None
) -> NewAction:
    """Return the action that retries some jobs of a group of errors first, and then the rest.

    Args:
        where: the jobs, with the key of their group.
        number: how many are retried first.
        spread: over how long the rest is spread.
        by: who asks for it.
        reason: why.
    """
    action = bulk_action(ActionKind.CANARY, where, by, reason=reason)
    canary = Canary(number, spread.total_seconds())
    return replace(action, target={**action.target, KEY: _plain(canary)})


def canary_of(target: Mapping[str, Any]) -> Canary | None:
    """Return the canary that the target of an action has; None if this release knows none there."""
    found: Any = target.get(KEY)
    try:
        canary = Canary(**found)
        phase = Phase(canary.phase)
        moments = [datetime.fromisoformat(m) for m in (canary.began_at, canary.rest_at) if m]
        is_sound = all(m.tzinfo for m in moments) and (phase is not Phase.REST or canary.rest_at)
        counts = (canary.number, canary.rest, canary.before_rest)
        is_sound = is_sound and all(isinstance(count, int) for count in counts)
        ids = tuple(int(id_) for id_ in canary.ids)
        return replace(canary, ids=ids) if is_sound and canary.spread >= timedelta(0) else None
    except (TypeError, ValueError, OverflowError):
        return None


def take_step(adapter: BulkRoles, action: ActionRecord) -> ActionRecord:
    """Do what is due of a canary; return its action as it is then.

    Args:
        adapter: where the jobs and the action are.
        action: the action, which belongs to who calls this.

    Raises:
        InvalidAction: it does not say in a way that this release knows what is to be done.
        RowLocked: somebody keeps a job locked that is to be retried.
        DatabaseError: the batch under way is not done; those before it are.
    """
    canary = canary_of(action.target)
    keys = jobs_of(action).error_keys
    if canary is None or not keys:
        raise InvalidAction(
            f"action {action.id} (canary) does not say how it goes on; stop it, and begin another"
        )
    back = _came_back(adapter, canary, keys)
    if back is not None:
        again = Canary(canary.number, canary.spread_seconds, came_back=back)
        return _noted(adapter, action, again, stops=True)
    steps = {Phase.FIRST: _retry_first, Phase.WAIT: _wait, Phase.REST: _retry_rest}
    return steps[Phase(canary.phase)](adapter, action, canary)


def _came_back(adapter: BulkRoles, canary: Canary, keys: tuple[str, ...]) -> int | None:
    """The id of a retried job whose attempt since then has ended with the same error."""
    if not canary.ids or canary.began_at is None:
        return None
    since = Between(datetime.fromisoformat(canary.began_at))
    failed = JobFilter(ids=canary.ids, error_keys=keys, started=since)
    return next((job.id for job in adapter.page_jobs(failed, 1).jobs), None)


def _retry_first(adapter: BulkRoles, action: ActionRecord, canary: Canary) -> ActionRecord:
    if canary.began_at is None:
        canary = replace(canary, began_at=adapter.now().isoformat(), came_back=None)
    page = adapter.page_jobs(jobs_left(action), canary.number - len(canary.ids))
    ids = tuple(job.id for job in page.jobs)
    canary = replace(canary, ids=(*canary.ids, *ids))
    goes_on_before = page.next_before_id
    if canary.ids and goes_on_before is None:
        # An action that has nothing left ends, and these jobs have not been watched yet.
        goes_on_before = BELOW_ALL
    if len(canary.ids) >= canary.number or goes_on_before == BELOW_ALL:
        canary = replace(canary, phase=Phase.WAIT.value)
    batch = _batch(action, canary, ids, goes_on_before)
    return _changed(adapter, action, batch, LOOK)


def _wait(adapter: BulkRoles, action: ActionRecord, canary: Canary) -> ActionRecord:
    unfinished = JobFilter(ids=canary.ids, states=UNFINISHED_STATES)
    if adapter.page_jobs(unfinished, 1).jobs:
        return _noted(adapter, action, canary)
    left = adapter.count_jobs(jobs_left(action))
    if not left:
        return _changed(adapter, action, _batch(action, canary, (), None), LOOK)
    canary = replace(
        canary,
        phase=Phase.REST.value,
        rest_at=adapter.now().isoformat(),
        rest=left,
        before_rest=action.number,
    )
    return _retry_rest(adapter, _noted(adapter, action, canary), canary)


def _retry_rest(adapter: BulkRoles, action: ActionRecord, canary: Canary) -> ActionRecord:
    """Retry those of the rest that become due until after the next step, a few at a time.

    The others are left as they are, so that little is under way when the error comes back.
    """
    gone = adapter.now() - datetime.fromisoformat(canary.rest_at or "")
    is_last = gone + AHEAD >= canary.spread
    share = 1.0 if is_last else (gone + AHEAD) / canary.spread
    wanted = canary.before_rest + math.ceil(canary.rest * share)
    size = max(1, min(BATCH, math.ceil((wanted - action.number) / PARTS)))
    while action.ended_at is None and (is_last or action.number < wanted):
        page = adapter.page_jobs(jobs_left(action), size)
        ids = tuple(job.id for job in page.jobs)
        canary = replace(canary, ids=(*canary.ids, *ids)[-MOST_WATCHED:])
        place = (action.number - canary.before_rest) / max(canary.rest, 1)
        delay = max(canary.spread * min(place, 1.0) - gone, timedelta(0))
        batch = replace(_batch(action, canary, ids, page.next_before_id), delay=delay)
        before, action = action, _changed(adapter, action, batch, LOOK)
        if action == before:
            return action  # somebody has stopped it, or has taken it over
    return action


def _noted(
    adapter: BulkRoles, action: ActionRecord, canary: Canary, *, stops: bool = False
) -> ActionRecord:
    """Note how a canary is, and let it rest until the next look."""
    batch = _batch(action, canary, (), action.before_id)
    return _changed(adapter, action, replace(batch, stops=stops), LOOK)


def _batch(
    action: ActionRecord, canary: Canary, ids: tuple[int, ...], before_id: int | None
) -> ActionBatch:
    where = replace(jobs_left(action), before_id=None, ids=ids)
    return ActionBatch(where, before_id, target={**action.target, KEY: _plain(canary)})


def _changed(
    adapter: BulkRoles, action: ActionRecord, batch: ActionBatch, lease: timedelta
) -> ActionRecord:
    changed = adapter.change_batch(action, batch, lease)
    return action if changed is None else changed.action


def _plain(canary: Canary) -> dict[str, Any]:
    return {**asdict(canary), "ids": list(canary.ids)}
