"""The actions of people as they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobqueue.records import ActionRecord, ActionState, JobFilter, JsonValue, filter_from_json
from jobqueue.redaction import MASK
from jobqueue.registry import registry
from jobqueue.views.jobs import is_public
from jobqueue.views.query_text import query_text

FILTER = "filter"


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
        return "running" if record.run_until > self.now else "nobody runs it"

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
