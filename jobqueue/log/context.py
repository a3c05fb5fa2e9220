"""The job that the current thread or task performs, for the lines that it logs."""

from __future__ import annotations

from contextvars import ContextVar

from jobqueue.records import ClaimedJob

performing: ContextVar[ClaimedJob | None] = ContextVar("jobqueue_performing", default=None)
"""The job that is performed here. Tasks that this thread or task starts inherit it."""
