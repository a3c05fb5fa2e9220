"""The claim on PostgreSQL: where it looks for jobs, and how it takes them.

A *lane* is a priority, or a priority within a queue, in which jobs are due. A claim takes from each
lane in turn, from a position on that is remembered: the one up to which everything has been
claimed. What lies before it in the index are dead entries of jobs that are done, which vacuum
cannot remove while somebody holds an old snapshot; a claim that began at the first entry would walk
over all of them every time. The lanes, and where the first job of each is, are found by a *look*,
which does walk over them. It takes place when the known lanes are empty, and now and then for what
was committed late or is ready again; never for more than a twentieth of the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from jobqueue.adapters.postgres.connection import DAWN, DUSK
from jobqueue.records import ClaimedJob, Wakeup

LOOK_AGAIN_SECONDS = 0.5
SHARE_OF_TIME = 1 / 20
# Cheap looks may follow each other closely; what they cost is made up for within this time.
CREDIT_SECONDS = 1.0

LONG_AGO = "-infinity"

NOTHING_IS_PAUSED = "NOT EXISTS (SELECT FROM background_queues WHERE paused_at IS NOT NULL)"
# What `{but}` is where a worker passes over jobs that it does not know, else nothing. They are
# walked over, which a look does for no more than its share of the time.
BUT = " AND handler <> ALL (%(passing_over)s::text[])"

_IS_NOT_PAUSED = """NOT EXISTS (
    SELECT FROM background_queues WHERE name = queue AND paused_at IS NOT NULL)"""

# One probe of an index for each lane, each finding the first job in it. (The claim index begins
# with the priority, so a range of run_at alone would cut nothing off: a million jobs of a low
# priority number waiting for tomorrow would be walked over.)
LOOK_EVERYWHERE = f"""
WITH RECURSIVE priorities (priority, run_at, id) AS (
    (SELECT priority, run_at, id FROM background_jobs
     WHERE state = 'ready' AND {NOTHING_IS_PAUSED}{{but}}
     ORDER BY priority, run_at, id LIMIT 1)
    UNION ALL
    SELECT following.* FROM priorities CROSS JOIN LATERAL (
        SELECT job.priority, job.run_at, job.id FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.priority > priorities.priority{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS following
),
lanes (queue, priority, run_at, id) AS (
    (SELECT queue, priority, run_at, id FROM background_jobs
     WHERE state = 'ready' AND NOT {NOTHING_IS_PAUSED}{{but}}
     ORDER BY queue, priority, run_at, id LIMIT 1)
    UNION ALL
    SELECT following.* FROM lanes CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM background_jobs AS job
        WHERE job.state = 'ready'
          AND (job.queue, job.priority) > (lanes.queue, lanes.priority){{but}}
        ORDER BY job.queue, job.priority, job.run_at, job.id LIMIT 1) AS following
)
SELECT NULL AS queue, priority, run_at, id FROM priorities WHERE run_at <= {{now}}
UNION ALL
SELECT queue, priority, run_at, id FROM lanes WHERE run_at <= {{now}} AND {_IS_NOT_PAUSED}
"""  # noqa: S608 - composed of constants

LOOK_IN_QUEUES = f"""
WITH RECURSIVE wanted (queue) AS (
    SELECT queue FROM unnest(%(queues)s::text[]) AS listed (queue) WHERE {_IS_NOT_PAUSED}
),
lanes (queue, priority, run_at, id) AS (
    SELECT first.* FROM wanted CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = wanted.queue{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS first
    UNION ALL
    SELECT following.* FROM lanes CROSS JOIN LATERAL (
        SELECT job.queue, job.priority, job.run_at, job.id FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = lanes.queue
          AND job.priority > lanes.priority{{but}}
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS following
)
SELECT queue, priority, run_at, id FROM lanes WHERE run_at <= {{now}}
"""  # noqa: S608 - composed of constants

# The lanes are pulled one by one, the most urgent first, until there are enough; nothing is locked
# in vain.
_FROM_LANES = """
due AS MATERIALIZED (
    SELECT first.id, first.max_attempts
    FROM unnest(%(priorities)s::int[], %(run_ats)s::timestamptz[], %(ids)s::bigint[])
         AS lane (priority, run_at, id)
    CROSS JOIN LATERAL (
        SELECT job.id, job.max_attempts FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.priority = lane.priority AND {in_queue}
          AND (job.run_at, job.id) >= (lane.run_at, lane.id) AND job.run_at <= {now}{but}
        ORDER BY job.run_at, job.id
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS first
    WHERE {may_run}
    LIMIT %(limit)s
)"""

# With several queues the oldest of all their lanes come first. Candidates are taken from each
# without a lock, more than needed since other workers look at the same ones, and the best of them
# are locked. (`queue = ANY(…)` in one scan walks all that is due elsewhere.) Lanes of the same
# priority share in what is needed, or ten queues would cost ten times as much as one.
_FROM_LANES_OF_QUEUES = """
candidates AS MATERIALIZED (
    SELECT candidate.id, candidate.priority, candidate.run_at
    FROM unnest(%(queues)s::text[], %(priorities)s::int[], %(run_ats)s::timestamptz[],
                %(ids)s::bigint[], %(shares)s::int[]) AS lane (queue, priority, run_at, id, share)
    CROSS JOIN LATERAL (
        SELECT job.id, job.priority, job.run_at FROM background_jobs AS job
        WHERE job.state = 'ready' AND job.queue = lane.queue AND job.priority = lane.priority
          AND (job.run_at, job.id) >= (lane.run_at, lane.id) AND job.run_at <= {now}{but}
        ORDER BY job.run_at, job.id
        LIMIT lane.share
    ) AS candidate
    WHERE {may_run}
),
due AS MATERIALIZED (
    SELECT job.id, job.max_attempts FROM background_jobs AS job
    WHERE job.state = 'ready' AND job.run_at <= {now} AND job.id = ANY (ARRAY(
        SELECT id FROM candidates ORDER BY priority, run_at, id LIMIT %(limit)s * 2 + 10))
    ORDER BY job.priority, job.run_at, job.id
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)"""

# `= ANY (ARRAY(…))` rather than a join: with LIMIT a parameter, the planner tips over to a hash
# join with the whole table. A job of a single attempt is taken for a free slot only.
_MARK_AS_RUNNING = """
chosen AS (
    SELECT id FROM (SELECT id, max_attempts, row_number() OVER () AS place FROM due) AS numbered
    WHERE max_attempts > 1 OR place <= %(free_slots)s
)
UPDATE background_jobs
SET state = 'running', attempts = attempts + 1, locked_by = %(worker_id)s,
    claim_token = %(token)s, locked_at = {now}, updated_at = {now}
WHERE id = ANY (ARRAY(SELECT id FROM chosen))
RETURNING id, handler, args::text, queue, priority, attempts, max_attempts, crashes,
          {run_at}, {created_at}, locked_at
"""

# What was written by hand may be '-infinity', or in 44 BC: it is claimed, and told as `DAWN`.
_TELLABLE = f"greatest(least({{}}, '{DUSK}'), '{DAWN}')"
_MARK = _MARK_AS_RUNNING.format(
    now="{now}", run_at=_TELLABLE.format("run_at"), created_at=_TELLABLE.format("created_at")
)

_LATER = {"now": "{now}", "but": "{but}"}
_NO_QUEUE = {"in_queue": "true", "may_run": NOTHING_IS_PAUSED, **_LATER}
_ONE_QUEUE = {
    "in_queue": "job.queue = %(queue)s",
    "may_run": _IS_NOT_PAUSED.replace("= queue", "= %(queue)s"),
    **_LATER,
}
_QUEUES = {"may_run": _IS_NOT_PAUSED.replace("= queue", "= lane.queue"), **_LATER}
CLAIM_EVERYWHERE = f"WITH {_FROM_LANES.format(**_NO_QUEUE)}, {_MARK}"
CLAIM_IN_QUEUE = f"WITH {_FROM_LANES.format(**_ONE_QUEUE)}, {_MARK}"
CLAIM_IN_QUEUES = f"WITH {_FROM_LANES_OF_QUEUES.format(**_QUEUES)}, {_MARK}"

Key = tuple[str | None, int]
Position = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """Where to go on claiming jobs of a priority: of any queue, or of one.

    Args:
        queue: None for any.
        priority: theirs.
        run_at: of the first that may be there.
        id: of the first that may be there.
    """

    queue: str | None
    priority: int
    run_at: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Statements:
    """The looks and the claims of an adapter."""

    look_everywhere: str
    look_in_queues: str
    claim_everywhere: str
    claim_in_queue: str
    claim_in_queues: str

    @classmethod
    def of(cls, now: str, but: str = "") -> Statements:
        """Those with a certain idea of what the time is, and of what to pass over."""
        templates = (
            LOOK_EVERYWHERE,
            LOOK_IN_QUEUES,
            CLAIM_EVERYWHERE,
            CLAIM_IN_QUEUE,
            CLAIM_IN_QUEUES,
        )
        return cls(*(template.format(now=now, but=but) for template in templates))


@dataclass(slots=True)
class LowWater:
    """The position in each lane up to which everything has been claimed.

    Args:
        queues: the queues that are claimed from; None for all.
        monotonic: seconds that only go up; for tests.
    """

    queues: tuple[str, ...] | None
    monotonic: Callable[[], float] = time.monotonic
    _positions: dict[Key, Position] = field(default_factory=dict)
    _looked_at: float = float("-inf")
    _may_look_at: float = float("-inf")
    _is_by_queue: bool = False
    _runs_dry: bool = True
    _is_put_off: bool = False

    def has_to_look(self) -> bool:
        """Whether the lanes are to be looked for, which is not done for more than its share."""
        now = self.monotonic()
        wanted = self._runs_dry or now - self._looked_at >= LOOK_AGAIN_SECONDS
        self._is_put_off = wanted and now < self._may_look_at
        return wanted and not self._is_put_off

    def put_off_for(self) -> timedelta | None:
        """How long the look has to wait that there was no time for; None when there was."""
        if not self._is_put_off:
            return None
        return timedelta(seconds=max(self._may_look_at - self.monotonic(), 0.0))

    def look(self, find: Callable[[], Sequence[Lane]]) -> None:
        """Find the lanes anew."""
        begun = self.monotonic()
        lanes = find()
        self._looked_at = self.monotonic()
        paid_until = max(self._may_look_at, self._looked_at - CREDIT_SECONDS)
        self._may_look_at = paid_until + (self._looked_at - begun) / SHARE_OF_TIME
        self._positions = {(lane.queue, lane.priority): (lane.run_at, lane.id) for lane in lanes}
        self._is_by_queue = self.queues is not None or any(lane.queue is not None for lane in lanes)
        self._runs_dry = not lanes

    def hear(self, wakeup: Wakeup) -> None:
        """Go back to where jobs have just been enqueued; without being told, look for them."""
        queues = self._queues_of(wakeup)
        self._runs_dry = wakeup.lowest is None or not queues
        if wakeup.lowest is None:
            return
        priority, run_at, job_id = wakeup.lowest
        for queue in queues:
            place = self._positions.get((queue, priority), (run_at, job_id))
            self._positions[queue, priority] = min(place, (run_at, job_id))

    def given_back(self, jobs: Iterable[ClaimedJob]) -> None:
        """Go back to jobs that are ready again, each at its old place."""
        for job in jobs:
            queue = job.queue if self._is_by_queue else None
            place = self._positions.get((queue, job.priority), (job.run_at, job.id))
            self._positions[queue, job.priority] = min(place, (job.run_at, job.id))

    def lanes(self) -> list[Lane]:
        """Where to claim, the most urgent first."""
        lanes = [Lane(*key, *position) for key, position in self._positions.items()]
        return sorted(lanes, key=lambda lane: (lane.priority, lane.run_at, lane.id))

    def claimed(self, jobs: Sequence[ClaimedJob], limit: int) -> None:
        """Go on from behind these jobs, which are in the order of the claim."""
        for job in jobs:
            queue = job.queue if self._is_by_queue else None
            self._positions[queue, job.priority] = (job.run_at, job.id)
        self._runs_dry = len(jobs) < limit

    def _queues_of(self, wakeup: Wakeup) -> Collection[str | None]:
        if not self._is_by_queue:
            return [None]
        told = wakeup.queues or frozenset()
        return told if self.queues is None else told.intersection(self.queues)


def shares_of(lanes: Sequence[Lane], limit: int) -> list[int]:
    """How many candidates to take from each lane, to have some to spare of each priority."""
    beside = Counter(lane.priority for lane in lanes)
    return [limit * 2 // beside[lane.priority] + 10 for lane in lanes]


def lane_of(queue: str | None, priority: int, run_at: datetime, job_id: int) -> Lane:
    """A row that a look returned."""
    return Lane(queue, priority, run_at.astimezone(UTC), job_id)


def moments_of(lanes: Sequence[Lane]) -> Sequence[datetime | str]:
    """Where each lane goes on, for the database: one that is told as `DAWN` may be before it."""
    if all(lane.run_at > DAWN for lane in lanes):
        return [lane.run_at for lane in lanes]
    return [LONG_AGO if lane.run_at <= DAWN else lane.run_at.isoformat() for lane in lanes]


def low_water_of(worker_id: str, queues: tuple[str, ...] | None) -> LowWater:  # noqa: ARG001 - each has its own
    """That of a worker which has claimed nothing yet."""
    return LowWater(queues)
