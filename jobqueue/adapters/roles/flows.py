"""The flows: jobs that are stored together, and of which some wait for others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from jobqueue.records import FlowRecord, NewFlow, NewStep, StepRecord
from jobqueue.stored import StoredJob


class FlowsRole(Protocol):
    """The role that starts flows, and has their jobs go on when those before them have ended."""

    def start_flow(
        self, flow: NewFlow, steps: Sequence[NewStep], *, session: Any = None
    ) -> tuple[int, Sequence[StoredJob]]:
        """Store a flow and its jobs, all or nothing; return its id, and their records.

        A step that waits for others is blocked. It starts when they have succeeded. As soon as one
        of them has failed, is cancelled, or is removed, it is cancelled, too, unless it
        `runs_anyway`: then it starts when all of them have ended.

        Raises:
            InvalidArguments: a job is unique, and there is one like it.
        """
        ...

    def close_flow(self, flow_id: int, *, session: Any = None) -> None:
        """Let an open flow end as soon as all of its jobs have."""
        ...

    def advance_flows(self, most: int = 100) -> int:
        """Look at flows for what has to go on, the next ones each time; return how many did.

        A worker that settles a job sees to that itself. This is for jobs that have ended otherwise,
        and for workers that were killed in between.
        """
        ...

    def flow(self, flow_id: int) -> FlowRecord | None:
        """Return one flow; None when it is not there."""
        ...

    def flows(
        self, limit: int, *, before_id: int | None = None, going_on: bool = False
    ) -> list[FlowRecord]:
        """Return the newest flows, those before an id, or those that have not all succeeded."""
        ...

    def steps_before(self, job_id: int) -> list[StepRecord]:
        """Return the jobs that one waits for, or has waited for, in their order in the flow.

        For the job that follows a whole flow, these are all of the flow's jobs.
        """
        ...

    def cancel_flow(self, flow_id: int, reason: str) -> int:
        """Cancel the jobs of a flow that have not started, and ask running ones to end.

        Returns how many. Nothing can be added to the flow any more. What was to follow its end
        starts; what was to follow its success does not.
        """
        ...

    def retry_flow(self, flow_id: int) -> int:
        """Retry the jobs of a flow that have failed or were cancelled; return how many.

        Those that wait for others among them wait again.
        """
        ...

    def prune_flows(self, age: timedelta, limit: int) -> int:
        """Forget flows that ended that long ago; return how many.

        Until then the rows of their jobs stay. After that they stay as the rules for their classes
        say.
        """
        ...
