"""The actions of people, and bulk changes of jobs, which are actions with a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from jobqueue.records import RUN_LEASE, ActionBatch, ActionFilter, ActionRecord, NewAction
from jobqueue.stored import StoredJob


@dataclass(frozen=True, slots=True)
class ChangedBatch:
    """The result of one batch of a bulk action.

    Args:
        action: the action as it is afterwards.
        number: how many jobs the batch has changed.
        jobs: these jobs, as they are now, or as they were if they were deleted; none where the
            caller did not ask for them.
    """

    action: ActionRecord
    number: int
    jobs: tuple[StoredJob, ...] = ()


class ActionsRole(Protocol):
    """The role that remembers what people did, and changes jobs for them in batches.

    A bulk action belongs to whoever runs it for a while, from each batch on. Where they do not go
    on, somebody else takes it over. Each batch changes its jobs, and the place where the action
    goes on, in one transaction: so every job is changed once, whoever is killed when.
    """

    def note_action(self, action: NewAction) -> ActionRecord:
        """Remember an action that was done."""
        ...

    def begin_action(
        self, action: NewAction, run_by: str | None = None, lease: timedelta = RUN_LEASE
    ) -> ActionRecord:
        """Begin a bulk action: to retry, cancel or delete the jobs of the `filter` in its target.

        Args:
            action: the action; its `number` counts from 0, whatever it says.
            run_by: who runs it; None to leave that to the next who takes one over.
            lease: for how long it belongs to them.
        """
        ...

    def take_over_action(
        self, run_by: str, lease: timedelta = RUN_LEASE, action_id: int | None = None
    ) -> ActionRecord | None:
        """Take over a running bulk action that nobody runs; None if there is none. Cheap.

        Args:
            run_by: who runs it from now on.
            lease: for how long it belongs to them.
            action_id: only this one.
        """
        ...

    def change_batch(
        self,
        action: ActionRecord,
        batch: ActionBatch,
        lease: timedelta = RUN_LEASE,
        *,
        returning: bool = False,
    ) -> ChangedBatch | None:
        """Change the jobs of a batch as an action says, and note where it goes on.

        Retries make waiting, failed and cancelled jobs due now. Cancels end waiting jobs, and ask
        running ones to end, with the action's reason. Deletes remove jobs, running ones too if the
        filter names that state. The last batch ends the action.

        Returns:
            None, and changes nothing, if the action was stopped, is done, or was taken over.

        Raises:
            RowLocked: somebody keeps one of these jobs locked; nothing is changed.

        Args:
            action: the action.
            batch: some of its jobs.
            lease: for how long the action belongs to who runs it, from now on.
            returning: whether to return the jobs.
        """
        ...

    def end_action(self, action: ActionRecord) -> bool:
        """End a bulk action where it is; return whether it was still run by the same."""
        ...

    def stop_action(self, action_id: int) -> bool:
        """Stop a running bulk action, when the batch under way is done; return whether it ran."""
        ...

    def resume_action(self, action_id: int) -> bool:
        """Let a stopped bulk action go on where it was; return whether it was stopped.

        Whoever takes it over next runs it.
        """
        ...

    def action(self, action_id: int) -> ActionRecord | None:
        """One action, or None when there is none of that id."""
        ...

    def actions(self, where: ActionFilter, limit: int) -> Sequence[ActionRecord]:
        """At most `limit` actions, the newest first."""
        ...

    def prune_actions(self, keep: timedelta, limit: int) -> int:
        """Remove actions that ended longer ago than `keep`; return how many, at most `limit`."""
        ...
