"""The definition of jobs, and how they are enqueued: `Job`, `@job`, and the registry.

class SendWelcomeEmail(Job):
    queue = "email"

    def perform(self, user_id: int) -> None: ...

SendWelcomeEmail.perform_later(42)
"""

from __future__ import annotations

from jobqueue.job.context import JobContext, OngoingAttempt
from jobqueue.job.definition import check_definition, refuse_main
from jobqueue.job.flows import Batch, Chain, Flow, FlowStep, StartedFlow
from jobqueue.job.functions import FunctionJob, job
from jobqueue.job.job_class import JOB_OPTIONS, Job
from jobqueue.job.steps import Step
from jobqueue.registry import Registry, names_of, place_of, registry

__all__ = [
    "JOB_OPTIONS",
    "Batch",
    "Chain",
    "Flow",
    "FlowStep",
    "FunctionJob",
    "Job",
    "JobContext",
    "OngoingAttempt",
    "Registry",
    "StartedFlow",
    "Step",
    "check_definition",
    "job",
    "names_of",
    "place_of",
    "refuse_main",
    "registry",
]
