"""Errors in groups, counted by the hour, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.errors import ErrorsRole
from jobqueue.records import (
    MOST_ERROR_GROUPS,
    SHOWN_HOURS,
    ErrorFilter,
    ErrorGroupRecord,
    ErrorHour,
    ErrorPage,
    ErrorState,
    NewErrors,
)


class MemoryErrors(MemoryRole, ErrorsRole):
    """The errors in groups, counted by the hour, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._groups: dict[str, ErrorGroupRecord] = {}
        self._counts: dict[tuple[str, datetime], int] = {}

    def add_errors(self, errors: Sequence[NewErrors], release: str | None = None) -> set[str]:
        now = self._store.now()
        with self._store.lock:
            for new in errors:
                key, last = new.group.key, now - new.last_ago
                before = self._groups.get(key)
                self._groups[key] = (
                    _first_seen(new, now, release)
                    if before is None
                    else _seen_again(before, new, now, release)
                )
                hour = (key, last.replace(minute=0, second=0, microsecond=0))
                self._counts[hour] = self._counts.get(hour, 0) + new.number
        return set()

    def error_groups(self, where: ErrorFilter, limit: int, hours: int = SHOWN_HOURS) -> ErrorPage:
        now = self._store.now()
        with self._store.lock:
            matching = [group for group in self._groups.values() if _matches(group, where, now)]
            matching.sort(key=lambda group: (group.last_seen_at, group.key), reverse=True)
            since = now - timedelta(hours=hours)
            shown = [replace(group, sample="") for group in matching[:limit]]
            found = tuple(self._with_hours(group, since) for group in shown)
        return ErrorPage(found, found[-1].position if len(matching) > limit else None)

    def error_group(self, key: str) -> ErrorGroupRecord | None:
        with self._store.lock:
            group = self._groups.get(key)
            return None if group is None else self._with_hours(group)

    def _with_hours(
        self, group: ErrorGroupRecord, since: datetime | None = None
    ) -> ErrorGroupRecord:
        hours = sorted(
            (hour, number)
            for (key, hour), number in self._counts.items()
            if key == group.key and (since is None or hour > since)
        )
        return replace(group, hours=tuple(ErrorHour(*each) for each in hours))

    def set_error_state(self, key: str, state: ErrorState, by: str) -> bool:
        with self._store.lock:
            group = self._groups.get(key)
            if group is None:
                return False
            self._groups[key] = replace(
                group, state=state, changed_at=self._store.now(), changed_by=by, reopened_at=None
            )
            return True

    def prune_errors(self, keep: timedelta, limit: int) -> int:
        now = self._store.now()
        since, until = now - keep, now + keep
        with self._store.lock:
            hours = [each for each in sorted(self._counts) if not since < each[1] <= until][:limit]
            for each in hours:
                del self._counts[each]
            newest = sorted(self._groups.values(), key=lambda g: (g.last_seen_at, g.key))
            too_many = newest[: max(len(newest) - MOST_ERROR_GROUPS, 0)]
            too_old = [group for group in newest if not since < group.last_seen_at <= until]
            keys = list(dict.fromkeys(group.key for group in (*too_old, *too_many)))[:limit]
            for key in keys:
                del self._groups[key]
            of_groups = [each for each in self._counts if each[0] in keys]
            for each in of_groups:
                del self._counts[each]
            return max(len(hours), len(keys))


def _first_seen(new: NewErrors, now: datetime, release: str | None) -> ErrorGroupRecord:
    return ErrorGroupRecord(
        group=new.group,
        sample=new.sample,
        first_seen_at=now - new.first_ago,
        last_seen_at=now - new.last_ago,
        first_release=release,
        last_release=release,
        last_job_id=new.job_id,
    )


def _seen_again(
    before: ErrorGroupRecord, new: NewErrors, now: datetime, release: str | None
) -> ErrorGroupRecord:
    last = now - new.last_ago
    is_later = last >= before.last_seen_at or before.last_seen_at > now
    changed = before.changed_at
    was_resolved_before = changed is None or changed < last or changed > now
    comes_back = before.state is ErrorState.RESOLVED and was_resolved_before
    seen = replace(
        before,
        sample=new.sample,
        last_seen_at=last if is_later else before.last_seen_at,
        last_release=release,
        last_job_id=new.job_id,
    )
    return replace(seen, state=ErrorState.OPEN, reopened_at=last) if comes_back else seen


def _matches(group: ErrorGroupRecord, where: ErrorFilter, now: datetime) -> bool:
    before = where.before
    return (
        (where.states is None or group.state in where.states)
        and (where.handlers is None or group.group.handler in where.handlers)
        and (where.period is None or group.last_seen_at > now - where.period)
        and (before is None or (group.last_seen_at, group.key) < (before.last_seen_at, before.key))
    )
