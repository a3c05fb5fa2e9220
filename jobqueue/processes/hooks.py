"""Wiring of the process that calls hooks for a supervisor."""

from __future__ import annotations

from jobqueue.adapters import Adapter
from jobqueue.ends import usual_ends
from jobqueue.maintenance.rescue_reports import HooksInProcess
from jobqueue.runner.rescue_hooks import NO_HOOKS, rescues_from_json


def call_hooks(text: str, adapter: Adapter) -> int:
    """Call the hooks for the rescues in a text of `rescues_as_json`, and return the exit code."""
    hooks = HooksInProcess(adapter, usual_ends())
    if not hooks.are_wanted():
        return NO_HOOKS
    hooks.call(rescues_from_json(text, adapter))
    return 0
