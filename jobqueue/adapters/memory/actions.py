"""The actions of people, and bulk changes of jobs, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from jobqueue.adapters.memory.control import MemoryControl
from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.actions import ActionsRole, ChangedBatch
from jobqueue.records import (
    BULK_KINDS,
    RUN_LEASE,
    UNFINISHED_STATES,
    ActionBatch,
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
    JobState,
    NewAction,
)
from jobqueue.stored import StoredJob


class MemoryActions(MemoryRole, ActionsRole):
    """The actions of people, and bulk changes of jobs, in memory."""

    def __init__(self, store: MemoryStore, control: MemoryControl) -> None:
        super().__init__(store)
        self._control = control
        self._actions: dict[int, ActionRecord] = {}
        self._last_id = 0

    def note_action(self, action: NewAction) -> ActionRecord:
        with self._store.lock:
            begun = self._begun(action)
            ended_at = begun.done_at
            return self._put(
                replace(begun, number=action.number, state=ActionState.DONE, ended_at=ended_at)
            )

    def begin_action(
        self, action: NewAction, run_by: str | None = None, lease: timedelta = RUN_LEASE
    ) -> ActionRecord:
        with self._store.lock:
            begun = replace(self._begun(action), before_id=action.before_id)
            run_until = None if run_by is None else begun.done_at + lease
            return self._put(replace(begun, run_by=run_by, run_until=run_until))

    def _begun(self, action: NewAction) -> ActionRecord:
        self._last_id += 1
        return ActionRecord(
            id=self._last_id,
            done_at=self._store.now(),
            done_by=action.by,
            kind=action.kind.value,
            target=dict(action.target),
            reason=action.reason,
            number=0,
            state=ActionState.RUNNING,
        )

    def _put(self, action: ActionRecord) -> ActionRecord:
        self._actions[action.id] = action
        return action

    def take_over_action(
        self, run_by: str, lease: timedelta = RUN_LEASE, action_id: int | None = None
    ) -> ActionRecord | None:
        with self._store.lock:
            now = self._store.now()
            for action in self._actions.values():
                if action_id in {None, action.id} and _is_free(action, now):
                    return self._put(replace(action, run_by=run_by, run_until=now + lease))
        return None

    def change_batch(
        self,
        action: ActionRecord,
        batch: ActionBatch,
        lease: timedelta = RUN_LEASE,
        *,
        returning: bool = False,
    ) -> ChangedBatch | None:
        with self._store.lock:
            held = self._held(action)
            if held is None:
                return None
            jobs, now = self._change(held, batch), self._store.now()
            noted = replace(
                held,
                before_id=batch.before_id,
                number=held.number + len(jobs),
                run_until=now + lease,
                target=held.target if batch.target is None else dict(batch.target),
            )
            if batch.stops:
                noted = replace(noted, state=ActionState.STOPPED, ended_at=now)
            elif batch.before_id is None:
                noted = replace(noted, state=ActionState.DONE, ended_at=now)
            return ChangedBatch(self._put(noted), len(jobs), tuple(jobs) if returning else ())

    def _change(self, action: ActionRecord, batch: ActionBatch) -> list[StoredJob]:
        """Change the jobs of a batch, and return them."""
        where = batch.where
        if action.kind in {ActionKind.RETRY.value, ActionKind.CANARY.value}:
            return self._control.retry_each(where, batch.delay)
        if action.kind == ActionKind.DELETE:
            include_running = JobState.RUNNING in (where.states or ())
            return self._control.delete_each(where, include_running=include_running)
        reason = action.reason or f"cancelled by {action.done_by}"
        asked = [
            self._control.request_cancel(row.record.id, reason)
            for row in list(self._store.matching(where))
            if row.record.state in UNFINISHED_STATES
        ]
        return [job for job in asked if job is not None]

    def _held(self, action: ActionRecord) -> ActionRecord | None:
        """The action as it is now, if it runs and still belongs to who ran it when it was read."""
        now = self._actions.get(action.id)
        is_held = now is not None and now.ended_at is None and now.run_by == action.run_by
        return now if is_held else None

    def end_action(self, action: ActionRecord) -> bool:
        with self._store.lock:
            held = self._held(action)
            if held is not None:
                self._put(replace(held, state=ActionState.DONE, ended_at=self._store.now()))
            return held is not None

    def stop_action(self, action_id: int) -> bool:
        with self._store.lock:
            action = self._actions.get(action_id)
            if action is None or action.ended_at is not None:
                return False
            self._put(replace(action, state=ActionState.STOPPED, ended_at=self._store.now()))
            return True

    def resume_action(self, action_id: int) -> bool:
        with self._store.lock:
            action = self._actions.get(action_id)
            if action is None or action.state is not ActionState.STOPPED:
                return False
            running = replace(action, state=ActionState.RUNNING, ended_at=None)
            self._put(replace(running, run_by=None, run_until=None))
            return True

    def action(self, action_id: int) -> ActionRecord | None:
        return self._actions.get(action_id)

    def actions(self, where: ActionFilter, limit: int) -> list[ActionRecord]:
        with self._store.lock:
            newest = sorted(self._actions.values(), key=lambda action: -action.id)
            return [action for action in newest if _matches(action, where)][:limit]

    def prune_actions(self, keep: timedelta, limit: int) -> int:
        with self._store.lock:
            latest = self._store.now() - keep
            old = [a.id for a in self._actions.values() if a.ended_at and a.ended_at <= latest]
            for action_id in old[:limit]:
                del self._actions[action_id]
            return len(old[:limit])


def _is_free(action: ActionRecord, now: datetime) -> bool:
    is_over = action.run_until is None or action.run_until <= now
    return action.ended_at is None and is_over and action.kind in set(BULK_KINDS)


def _matches(action: ActionRecord, where: ActionFilter) -> bool:
    return (
        (where.kinds is None or action.kind in set(where.kinds))
        and (where.states is None or action.state in where.states)
        and (where.by is None or action.done_by == where.by)
        and (where.before_id is None or action.id < where.before_id)
    )
