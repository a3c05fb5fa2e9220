"""Wake-ups: messages to idle workers that jobs are due."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobqueue.config import is_queue_name
from jobqueue.records.jobs import LARGEST_ID

MOST_CHARACTERS = 8_000
"""No notification of PostgreSQL is longer."""
MOST_QUEUES_SENT = 20
PRIORITIES = range(-(2**31), 2**31)
IDS = range(-LARGEST_ID - 1, LARGEST_ID + 1)


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
        gated: whether some of them wait at gates, or a gate has become free.
    """

    queues: frozenset[str] | None = None
    lowest: tuple[int, datetime, int] | None = None
    jobs: int | None = None
    more: bool = False
    gated: bool = False

    def merged(self, other: Wakeup) -> Wakeup:
        """Combine two wake-ups into one."""
        queues = lowest = jobs = None
        if self.queues is not None and other.queues is not None:
            queues = self.queues | other.queues
        if self.lowest is not None and other.lowest is not None:
            lowest = min(self.lowest, other.lowest)
        if self.jobs is not None and other.jobs is not None:
            jobs = self.jobs + other.jobs
        return Wakeup(queues, lowest, jobs, self.more or other.more, self.gated or other.gated)

    @property
    def may_be_gated(self) -> bool:
        """Whether jobs that wait at gates may be among those that it is about."""
        return self.gated or self.lowest is None

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
        if self.gated:
            facts["gated"] = True
        return json.dumps(facts)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Wakeup:
        """The wake-up in a JSON object of `to_json`.

        Anybody who may connect to the database may have sent it. If anything in it is not as we
        write it, all of it is left aside, and it says only that there is something to look for.
        What a later release may have added to it does no harm.
        """
        try:
            return cls(
                queues=_queues_in(facts.get("queues")),
                lowest=_place_in(facts.get("lowest")),
                jobs=_number_in(facts.get("jobs")),
                more=_truth_in(facts.get("more", False)),
                gated=_truth_in(facts.get("gated", False)),
            )
        except (TypeError, ValueError, OverflowError):
            return LOOK_ANYWHERE


def facts_of(payload: str) -> Mapping[str, Any]:
    """The content of a notification; empty when it is not ours."""
    if len(payload) > MOST_CHARACTERS:
        return {}
    try:
        facts = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _queues_in(found: object) -> frozenset[str] | None:
    if found is None:
        return None
    if not isinstance(found, list) or not 0 < len(found) <= MOST_QUEUES_SENT:
        raise ValueError
    if not all(isinstance(name, str) and is_queue_name(name) for name in found):
        raise ValueError
    return frozenset(found)


def _place_in(found: object) -> tuple[int, datetime, int] | None:
    if found is None:
        return None
    if not isinstance(found, list):
        raise TypeError
    priority, moment, job_id = found
    run_at = datetime.fromisoformat(moment)
    if run_at.tzinfo is None:
        raise ValueError
    return _whole_in(priority, PRIORITIES), run_at.astimezone(UTC), _whole_in(job_id, IDS)


def _number_in(found: object) -> int | None:
    return None if found is None else _whole_in(found, range(1, LARGEST_ID + 1))


def _whole_in(found: object, numbers: range) -> int:
    # True and False are numbers to Python.
    if type(found) is not int or found not in numbers:
        raise ValueError
    return found


def _truth_in(found: object) -> bool:
    if not isinstance(found, bool):
        raise TypeError
    return found


LOOK_ANYWHERE = Wakeup()


ECHO_SECONDS = 0.005
"""How long after a wake-up with `more` a worker has to look once more."""
