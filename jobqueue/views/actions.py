"""The actions of people as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.bulk import jobs_left
from jobqueue.canary import Canary, Phase, canary_of
from jobqueue.errors import InvalidAction
from jobqueue.records import (
    BULK_KINDS,
    ActionKind,
    ActionRecord,
    ActionState,
    Count,
    JobFilter,
    JsonValue,
    filter_from_json,
)
from jobqueue.redaction import MASK
from jobqueue.registry import registry
from jobqueue.views.jobs import is_public
from jobqueue.views.query_text import query_text

FILTER = "filter"
MOST_LEFT = 10_000
TAKEN_WITHIN = timedelta(seconds=30)
"""How soon a worker takes the next step of a canary."""
COURSES = {
    Phase.FIRST: "running",
    Phase.WAIT: "waits for its first jobs",
    Phase.REST: "spreads the rest",
}
"""What a canary does, by its phase."""


@dataclass(frozen=True, slots=True)
class ActionView:
    """An action as it is shown.

    Args:
        record: its row.
        query: which jobs a bulk action is for, as a query; None for other actions. Values of
            arguments that are secret, or may be, are masked.
        now: the time by the database's clock.
    """

    record: ActionRecord
    query: str | None
    now: datetime

    @property
    def course(self) -> str:
        """The state in words: whether somebody runs a bulk action is part of it."""
        record = self.record
        if record.state is not ActionState.RUNNING:
            return record.state.value
        if record.run_until is None:
            return "waits for a worker"
        if record.run_until + TAKEN_WITHIN > self.now and self.canary is not None:
            return COURSES[Phase(self.canary.phase)]
        return "running" if record.run_until > self.now else "nobody runs it"

    @property
    def canary(self) -> Canary | None:
        """How a canary is; None of other actions."""
        return canary_of(self.record.target) if self.record.kind == ActionKind.CANARY else None

    @property
    def target(self) -> str:
        """To what it was done, in a few words."""
        if self.query is not None:
            return self.query or "all jobs"
        said = self.record.target
        return ", ".join(f"{name} {_shown(value)}" for name, value in said.items())

    def facts(self) -> dict[str, Any]:
        """Return all that is known of the action, by name."""
        record = self.record
        target = {name: value for name, value in record.target.items() if name != FILTER}
        return {
            "id": record.id,
            "done_at": record.done_at,
            "done_by": record.done_by,
            "kind": record.kind,
            "target": target if self.query is None else {**target, "query": self.query},
            "reason": record.reason,
            "number": record.number,
            "state": record.state,
            "course": self.course,
            "before": record.before_id,
            "run_by": record.run_by,
            "run_until": record.run_until if record.ended_at is None else None,
            "ended_at": record.ended_at,
        }


@dataclass(frozen=True, slots=True)
class ActionProgress:
    """How far a bulk action is.

    Args:
        done: how many jobs it has changed.
        left: how many it has yet to look at, counted up to a bound.
    """

    done: int
    left: Count

    @property
    def fraction(self) -> float | None:
        """The part that is done; None if there are more jobs left than were counted."""
        if self.left.more:
            return None
        return self.done / max(self.done + self.left.number, 1)


def progress_of(adapter: ReadsRole, record: ActionRecord) -> ActionProgress | None:
    """Return how far a bulk action is that has not done all yet; None of others.

    The jobs that are left are counted now, so that this is what it will do if it goes on.
    """
    is_whole = record.state is ActionState.DONE or record.kind not in set(BULK_KINDS)
    if is_whole or FILTER not in record.target:
        return None
    with suppress(InvalidAction):
        left = adapter.count_up_to(jobs_left(record), MOST_LEFT)
        return ActionProgress(record.number, left)
    return None


def action_view(record: ActionRecord, now: datetime) -> ActionView:
    """Return an action as it is shown."""
    return ActionView(record, _query_of(record.target), now)


def _query_of(target: Mapping[str, Any]) -> str | None:
    if FILTER not in target:
        return None
    with suppress(ValueError):
        return query_text(_without_secrets(filter_from_json(target[FILTER])))
    return "(jobs that this release cannot name)"


def _without_secrets(where: JobFilter) -> JobFilter:
    """The filter, with the values masked of arguments that some of its classes may keep secret."""
    classes = [registry.find(name) for name in where.handlers or ()]

    def masked(wanted: JsonValue) -> JsonValue:
        is_shown = bool(classes) and all(c and is_public(c, wanted.path[0]) for c in classes)
        return wanted if is_shown or wanted.value is None else replace(wanted, value=MASK)

    return replace(where, args=tuple(map(masked, where.args)))


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
