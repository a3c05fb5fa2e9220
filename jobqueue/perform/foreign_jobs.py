"""Jobs of another release or another application, which this worker leaves to others."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.errors import InvalidArguments, JobqueueError
from jobqueue.fingerprints import group_of
from jobqueue.job import Registry
from jobqueue.perform.attempt import since
from jobqueue.perform.plan import Plan
from jobqueue.records import NO_DELAY, ClaimedJob, Failed, Outcome, Released
from jobqueue.redaction import clean_error
from jobqueue.unknown_handlers import UnknownHandlers

SHORTEST_RETURN = timedelta(seconds=5)
LONGEST_RETURN = timedelta(seconds=60)
ROLLOUT = timedelta(hours=1)
"""The time that two releases may work side by side. For so long, a job whose arguments do not fit
one of them is left for the other, counted from when it was first given back for that."""
SHORTEST_WAIT_FOR_RELEASE = timedelta(seconds=1)
UNKNOWN_JOB = "no job named "
"""What the error of a job of an unknown handler begins with."""
GIVEN_BACK_SINCE = "Given back since "
_SINCE = re.compile(rf"\A\S+: the stored arguments .*{GIVEN_BACK_SINCE}(\S+): ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LeftFor:
    """A job that another release enqueued, and why it cannot be performed here."""

    plan: Plan
    claimed: ClaimedJob
    why: str
    started: float


def delay_before_return(claimed: ClaimedJob) -> timedelta:
    """The delay of a job that this worker cannot perform: the older the job, the longer."""
    age = claimed.locked_at - claimed.created_at
    return min(max(age / 2, SHORTEST_RETURN), LONGEST_RETURN)


class ForeignJobs:
    """The outcomes of jobs that cannot be performed here.

    Args:
        registry: the job classes that are known here.
        adapter: where the jobs come from; by default that of each class.
        unknown_handlers: remembers the names that the worker passes over.
    """

    def __init__(
        self,
        registry: Registry,
        adapter: ReadsRole | None,
        unknown_handlers: UnknownHandlers | None,
    ) -> None:
        self._registry = registry
        self._adapter = adapter
        self._unknown_handlers = unknown_handlers

    def unknown(self, claimed: ClaimedJob) -> Released:
        """Leave a job of an unknown handler to a worker that has its code, or soon will."""
        known = ", ".join(self._registry.names()) or "none"
        return Released(
            claimed,
            error=clean_error(
                f"{UNKNOWN_JOB}{claimed.handler!r} is known to this worker (known: {known}). "
                "Left for another worker; is the module that defines it part of `app`, or was "
                "the class renamed without `aliases`?"
            ),
            delay=self._delay_of_unknown(claimed),
        )

    def _delay_of_unknown(self, claimed: ClaimedJob) -> timedelta:
        """No delay where this worker passes over such jobs: others can have it at once."""
        met = self._unknown_handlers
        goes_at_once = met is not None and met.meet(claimed.handler) and not met.puts_off
        return NO_DELAY if goes_at_once else delay_before_return(claimed)

    def misfit(self, left: LeftFor) -> Outcome:
        """Leave a job to a worker of the release that enqueued it, while there may still be one."""
        claimed = left.claimed
        first = self._given_back_since(left) or claimed.locked_at
        waited = claimed.locked_at - first
        if waited >= ROLLOUT:
            error = f"{left.why}. No worker came by within {ROLLOUT} whose release takes them"
            group = group_of(claimed.handler, InvalidArguments.__name__, None, left.why)
            run_time, keep = since(left.started), left.plan.keep_failed
            return Failed(claimed, run_time, error, keep=keep, error_group=group)
        delay = min(max(waited / 2, SHORTEST_WAIT_FOR_RELEASE), LONGEST_RETURN)
        # Workers that come by at the same time each time would always be the same one.
        delay *= random.uniform(1, 1.1)  # noqa: S311 - spreads load, hides nothing
        if self._unknown_handlers is not None:
            self._unknown_handlers.leave_the_first_look(claimed.handler, delay.total_seconds())
        return Released(
            claimed,
            error=(
                f"{left.why}. {GIVEN_BACK_SINCE}{first.isoformat()}: left for a worker of the "
                f"release that enqueued it; it fails when there is none within {ROLLOUT}"
            ),
            delay=delay,
        )

    def _given_back_since(self, left: LeftFor) -> datetime | None:
        """When the job was first given back for this reason, as its `last_error` says.

        A job that is still due since it was enqueued was never given back with a delay. There may
        be thousands of them, and a read for each would hold up all others.
        """
        if left.claimed.run_at <= left.claimed.created_at:
            return None
        adapter = self._adapter or left.plan.job_class.adapter
        try:
            record = adapter.get(left.claimed.id)
        except JobqueueError:
            return None  # then the time begins anew, and its outcome can hardly be stored either
        found = _SINCE.search(record.last_error or "") if record is not None else None
        try:
            return datetime.fromisoformat(found[1]) if found is not None else None
        except ValueError:
            return None
