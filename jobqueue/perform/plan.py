"""The facts about a job class that are needed to perform its jobs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.arguments import Parameters
from jobqueue.config import Settings
from jobqueue.hook_calls import AttemptHooks, attempt_hooks
from jobqueue.hooks import Observers
from jobqueue.job import Job
from jobqueue.perform.results import result_writer
from jobqueue.retention import retention_of
from jobqueue.retry import as_timedelta


class _StepResults:
    """Writes what jobs of a flow return, which others may ask for; made when the first one has."""

    def __init__(self, job_class: type[Job]) -> None:
        self._job_class = job_class
        self._write: Callable[[Any], str] | None = None

    def __call__(self, result: Any) -> str:
        if self._write is None:
            self._write = result_writer(self._job_class.performing_function()[0])
        return self._write(result)


@dataclass(frozen=True, slots=True)
class Plan:
    """The facts about a job class that are needed to perform its jobs, worked out once."""

    job_class: type[Job]
    parameters: Parameters
    is_async: bool
    max_runtime: timedelta | None
    keep_succeeded: bool
    keep_failed: bool
    interrupt_on_cancel: bool
    result_text: Callable[[Any], str] | None
    step_result_text: Callable[[Any], str]
    hooks: AttemptHooks | None
    adapter: Adapter | None

    @property
    def can_be_interrupted(self) -> bool:
        """Whether an attempt's time is limited, or its class wants to be interrupted."""
        return self.max_runtime is not None or self.interrupt_on_cancel


def new_plan(
    job_class: type[Job], settings: Settings, observers: Observers, adapter: Adapter | None
) -> Plan:
    limit = job_class.max_runtime
    retention = retention_of(job_class, settings)
    return Plan(
        job_class=job_class,
        parameters=job_class.parameters(),
        is_async=inspect.iscoroutinefunction(job_class.perform),  # type: ignore[attr-defined]
        max_runtime=settings.max_runtime if limit is None else as_timedelta(limit),
        keep_succeeded=not retention.succeeded.keeps_nothing,
        keep_failed=not retention.failed.keeps_nothing,
        interrupt_on_cancel=job_class.interrupt_on_cancel,
        result_text=(
            result_writer(job_class.performing_function()[0]) if job_class.keep_result else None
        ),
        step_result_text=_StepResults(job_class),
        hooks=attempt_hooks(job_class, observers.hooks),
        adapter=adapter,
    )
