"""The calls of an application's hooks for a supervisor, which does not import the application.

A process that is started for it calls them, for all jobs that were freed meanwhile. It has the code
as it is now, it can harm neither the supervisor nor a worker, and it needs no worker to be running.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.records import NO_TERMS, JobRecord, JobState, Rescue, Terms
from jobqueue.runner.command_line import environment_for, options_on_command_line
from jobqueue.runner.messages import known_fields
from jobqueue.stored import StoredJob, kept_by

NO_HOOKS = 75  # the exit code of a process that has no such hooks
TIMES = tuple(field.name for field in fields(JobRecord) if field.name.endswith("_at"))


class HooksInSubprocess:
    """Hooks of freed jobs that are called in a process started for that.

    Args:
        command: how `python` runs that process, up to the settings.
        options: the settings that were given as options, which it loads again for itself.
        logger: where it is logged that it failed.
    """

    def __init__(
        self, command: tuple[str, ...], options: Mapping[str, Any], logger: logging.Logger
    ) -> None:
        self._command = command
        self._options = options
        self._logger = logger
        self._has_no_hooks = False

    def forget(self) -> None:
        """Forget that there are no hooks: the application may have other ones by now."""
        self._has_no_hooks = False

    def are_wanted(self) -> bool:
        """Whether there may be any hooks. Before the first process has run, nobody knows."""
        return not self._has_no_hooks

    def call(self, rescues: Sequence[Rescue]) -> None:
        if not self.are_wanted():
            return
        try:
            exit_code = self._run(rescues_as_json(rescues))
        except OSError as error:
            log.hooks_troubled(self._logger, error)
            return
        self._has_no_hooks = exit_code == NO_HOOKS
        if exit_code not in {0, NO_HOOKS}:
            why = RuntimeError(f"the process that was to call them ended with {exit_code}")
            log.hooks_troubled(self._logger, why)

    def _run(self, text: str) -> int:
        shown = options_on_command_line(self._options)
        # A file, not a pipe: it is complete even when this process ends before it has been read.
        with tempfile.TemporaryFile() as told:
            told.write(text.encode())
            told.seek(0)
            return subprocess.run(  # noqa: S603 - our own command, no shell
                [sys.executable, *self._command, json.dumps(shown)],
                env=environment_for(self._options),
                stdin=told,
                # A group of its own, so that Ctrl-C reaches the supervisor alone.
                process_group=0,
                check=False,
            ).returncode


def rescues_as_json(rescues: Iterable[Rescue]) -> str:
    """The text of rescues, a line of JSON for each."""
    lines = [
        json.dumps(
            {
                "worker_id": rescue.worker_id,
                "released": rescue.released,
                "ended": [_record_facts(job) for job in rescue.ended],
            }
        )
        for rescue in rescues
    ]
    return "\n".join(lines)


def rescues_from_json(text: str, adapter: Adapter) -> list[Rescue]:
    """The rescues that `rescues_as_json` wrote, of the jobs of an adapter."""
    return [_rescue(json.loads(line), adapter) for line in text.splitlines()]


def _record_facts(job: JobRecord) -> dict[str, Any]:
    facts = {field.name: getattr(job, field.name) for field in fields(JobRecord)}
    for name in TIMES:
        facts[name] = facts[name] and facts[name].isoformat()
    facts["terms"] = job.terms.to_json()
    return facts


def _rescue(facts: Mapping[str, Any], adapter: Adapter) -> Rescue:
    ended = kept_by(adapter, [_record(job) for job in facts["ended"]])
    states = dict.fromkeys(facts["released"], JobState.READY) | {job.id: job.state for job in ended}
    return Rescue.of(facts["worker_id"], states, ended)


def _record(facts: dict[str, Any]) -> StoredJob:
    # The supervisor may be of another release.
    times = {
        name: facts[name] and datetime.fromisoformat(facts[name]) for name in TIMES if name in facts
    }
    read = {"state": JobState(facts["state"]), "terms": _terms(facts.get("terms"))}
    known = known_fields(StoredJob, {**facts, **times, **read})
    return StoredJob(**known)


def _terms(text: Any) -> Terms:
    try:
        return Terms.from_json(text)
    except ValueError:
        return NO_TERMS
