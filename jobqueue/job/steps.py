"""Steps: calls of jobs that become jobs of a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobqueue.records import NewJob

if TYPE_CHECKING:
    from jobqueue.job.job_class import Job


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a job, as `MyJob.step(…)` makes it: to be stored with a flow.

    Args:
        job: the job, with its options.
        new_job: what is stored of it.
    """

    job: Job
    new_job: NewJob
