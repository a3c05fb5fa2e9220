"""Wake-ups: messages to idle workers that jobs are due."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A message to idle workers that jobs have become due.

    It promises nothing. The jobs may have been claimed by now, and jobs can become due without a
    wake-up.

    Args:
        queues: the queues of the jobs; None when they are not known.
        lowest: the position of the first of them, (priority, `run_at`, id); None when it is not
            known.
        jobs: how many there are; None when it is not known.
        more: whether more jobs may follow there in the next few milliseconds without a wake-up.
    """

    queues: frozenset[str] | None = None
    lowest: tuple[int, datetime, int] | None = None
    jobs: int | None = None
    more: bool = False

    def merged(self, other: Wakeup) -> Wakeup:
        """Combine two wake-ups into one."""
        queues = lowest = jobs = None
        if self.queues is not None and other.queues is not None:
            queues = self.queues | other.queues
        if self.lowest is not None and other.lowest is not None:
            lowest = min(self.lowest, other.lowest)
        if self.jobs is not None and other.jobs is not None:
            jobs = self.jobs + other.jobs
        return Wakeup(queues, lowest, jobs, self.more or other.more)

    def concerns(self, queues: tuple[str, ...] | None) -> bool:
        """Whether a worker on these queues (None for all) has to look."""
        return self.queues is None or queues is None or not self.queues.isdisjoint(queues)

    def to_json(self) -> str:
        """The wake-up as JSON of less than 4 kB. Facts that are not known are left out."""
        facts: dict[str, Any] = {}
        if self.queues is not None and len(self.queues) <= MOST_QUEUES_SENT:
            facts["queues"] = sorted(self.queues)
        if self.lowest is not None:
            priority, run_at, job_id = self.lowest
            facts["lowest"] = [priority, run_at.isoformat(), job_id]
        if self.jobs is not None:
            facts["jobs"] = self.jobs
        if self.more:
            facts["more"] = True
        return json.dumps(facts)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Wakeup:
        """The wake-up in an object of `to_json`; one without facts if that is not understood."""
        try:
            queues, lowest, jobs = (facts.get(name) for name in ("queues", "lowest", "jobs"))
            place = lowest and (int(lowest[0]), datetime.fromisoformat(lowest[1]), int(lowest[2]))
            return cls(
                queues=None if queues is None else frozenset(queues),
                lowest=place or None,
                jobs=None if jobs is None else int(jobs),
                more=facts.get("more") is True,
            )
        except (TypeError, ValueError, LookupError):
            return cls()


LOOK_ANYWHERE = Wakeup()


MOST_QUEUES_SENT = 20


ECHO_SECONDS = 0.005
"""How long after a wake-up with `more` a worker has to look once more."""
