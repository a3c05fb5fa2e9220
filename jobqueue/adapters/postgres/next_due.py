"""The search for the next due job in PostgreSQL, which does not walk over finished jobs.

Jobs that were performed leave their entries in the claim index until vacuum removes them, which it
cannot while anybody holds an old snapshot. All of them were due, so they lie before the present. A
look reads from the start of the index. After it, a mark in each priority says where to go on: at
its first ready job, or at the present. What becomes ready behind a mark is announced, which pulls
the mark back, or else is found by the next look. While the table has few dead rows, every reading
is a look.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, pairwise
from operator import attrgetter
from typing import Any

from jobqueue.adapters.postgres.database import PostgresDatabase
from jobqueue.adapters.postgres.low_water import (
    LONG_AGO,
    FoundLanes,
    Lane,
    LowWater,
    moments_of,
)
from jobqueue.adapters.sql.tables import to_utc
from jobqueue.adapters.sql.time import DatabaseTime
from jobqueue.records import DEFAULT_PRIORITY, LOOK_ANYWHERE, Wakeup

LOOK_AGAIN_SECONDS = 10.0
FEW_DEAD_ROWS = 1000
MOST_LANES = 64
MOST_OTHERS = 2000
BELOW_ANY, ABOVE_ANY = -(2**31) - 1, 2**31

# One probe in each priority with a mark, and then the others in the gaps between these. In a gap,
# entries of jobs that were due before the last reading are passed over within the index.
FIRST_READY = """
WITH RECURSIVE known (priority, run_at, id) AS (
    SELECT first.*
    FROM unnest(%(priorities)s::int[], %(run_ats)s::timestamptz[], %(ids)s::bigint[])
         AS lane (priority, run_at, id)
    CROSS JOIN LATERAL (
        SELECT job.priority, job.run_at, job.id FROM {schema}.background_jobs AS job
        WHERE job.state = 'ready' AND job.priority = lane.priority
          AND (job.run_at, job.id) >= (lane.run_at, lane.id)
        ORDER BY job.run_at, job.id LIMIT 1) AS first
),
others (below, priority, run_at, id) AS (
    SELECT gap.below, first.*
    FROM unnest(%(above)s::bigint[], %(below)s::bigint[]) AS gap (above, below)
    CROSS JOIN LATERAL (
        SELECT job.priority, job.run_at, job.id FROM {schema}.background_jobs AS job
        WHERE job.state = 'ready' AND job.priority > gap.above AND job.priority < gap.below
          AND job.run_at >= %(since)s::timestamptz
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS first
    UNION ALL
    SELECT others.below, following.*
    FROM others CROSS JOIN LATERAL (
        SELECT job.priority, job.run_at, job.id FROM {schema}.background_jobs AS job
        WHERE job.state = 'ready' AND job.priority > others.priority
          AND job.priority < others.below AND job.run_at >= %(since)s::timestamptz
        ORDER BY job.priority, job.run_at, job.id LIMIT 1) AS following
)
SELECT NULL AS priority, {now} AS run_at, NULL AS id,
       pg_stat_get_dead_tuples({jobs}::regclass) AS dead
UNION ALL SELECT priority, run_at, id, NULL FROM known
UNION ALL (SELECT priority, run_at, id, NULL FROM others LIMIT {most_lanes})
"""


@dataclass(frozen=True, slots=True)
class FirstReady:
    """The first ready job of each priority, as it was at a moment of the database's time.

    Args:
        lanes: where these jobs are.
        now: the moment.
        dead_rows: how many rows of the table have died and are still there, as far as is known.
    """

    lanes: Sequence[Lane]
    now: datetime
    dead_rows: int

    @property
    def run_at(self) -> datetime | None:
        """The time when the first of the jobs is due; None when no job is ready."""
        return min((lane.run_at for lane in self.lanes), default=None)


class NextDue:
    """A search for the first ready jobs, which goes on where it last ended. For one thread.

    Args:
        database: where the jobs are.
        time: the time in statements.
    """

    def __init__(self, database: PostgresDatabase, time: DatabaseTime) -> None:
        self._database = database
        self._clock = time.clock
        now = "%(now)s::timestamptz" if time.clock else "statement_timestamp()"
        self._first_ready_in = functools.cache(
            lambda schema: schema.written_into(FIRST_READY, now=now, most_lanes=str(MOST_OTHERS))
        )
        self.low_water = LowWater(None, look_again_seconds=LOOK_AGAIN_SECONDS)
        self._last: FirstReady
        self._lock = threading.Lock()
        self._heard: dict[int, Wakeup] = {}
        self._has_heard_too_much = False

    def note(self, wakeup: Wakeup) -> None:
        """Go back to the position in a wake-up, if any, in the next search. From any thread."""
        if wakeup.lowest is not None:
            priority, *_ = wakeup.lowest
            with self._lock:
                before = self._heard.get(priority, wakeup)
                if priority in self._heard or len(self._heard) < MOST_LANES:
                    self._heard[priority] = min(before, wakeup, key=attrgetter("lowest"))
                else:
                    self._has_heard_too_much = True

    def find(self) -> FirstReady:
        """Find the first ready job of each priority.

        Raises:
            DatabaseError: it cannot be done now.
        """
        for wakeup in self._take_heard():
            self.low_water.note(wakeup)
        if self.low_water.has_to_look():
            self.low_water.look(self._marks_from_the_start)
        else:
            self.low_water.go_on(self._marks_from_here())
        is_cheap = self._last.dead_rows < FEW_DEAD_ROWS
        self.low_water.look_again_seconds = 0.0 if is_cheap else LOOK_AGAIN_SECONDS
        return self._last

    def _take_heard(self) -> Iterable[Wakeup]:
        with self._lock:
            heard, self._heard = list(self._heard.values()), {}
            if self._has_heard_too_much:
                heard.append(LOOK_ANYWHERE)
            self._has_heard_too_much = False
            return heard

    def _marks_from_the_start(self) -> FoundLanes:
        begun = self.low_water.monotonic()
        marks = self._marks_after(self._first_ready((), LONG_AGO))
        return FoundLanes(marks, timedelta(seconds=self.low_water.monotonic() - begun))

    def _marks_from_here(self) -> list[Lane]:
        return self._marks_after(self._first_ready(self.low_water.lanes(), self._last.now))

    def _first_ready(self, known: Sequence[Lane], since: datetime | str) -> FirstReady:
        gaps = _gaps_between(lane.priority for lane in known)
        values: dict[str, Any] = {
            "priorities": [lane.priority for lane in known],
            "run_ats": moments_of(known),
            "ids": [lane.id for lane in known],
            "above": [above for above, _ in gaps],
            "below": [below for _, below in gaps],
            "since": since,
        }
        if self._clock:
            values["now"] = self._clock.now()
        sql = self._first_ready_in(self._database.schema())
        rows = self._database.read(lambda c: c.exec_driver_sql(sql, values).all())
        ((_, now, _, dead_rows),) = [row for row in rows if row[0] is None]
        places = [place for *place, _ in rows if place[0] is not None]
        if len(places) >= MOST_OTHERS:
            # One of those beyond may be due.
            places.append([DEFAULT_PRIORITY, now, 0])
        lanes = [
            Lane(None, priority, to_utc(run_at), job_id) for priority, run_at, job_id in places
        ]
        self._last = FirstReady(lanes, to_utc(now), dead_rows)
        return self._last

    def _marks_after(self, first: FirstReady) -> list[Lane]:
        """For each known priority: its first ready job, or the present if that is earlier."""
        present = (first.now, 0)
        found = {lane.priority: (lane.run_at, lane.id) for lane in first.lanes}
        known = [*found, DEFAULT_PRIORITY, *(lane.priority for lane in self.low_water.lanes())]
        return [
            Lane(None, priority, *min(found.get(priority, present), present))
            for priority in islice(dict.fromkeys(known), MOST_LANES)
        ]


def _gaps_between(priorities: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges of priorities without these: above the one and below the other."""
    edges = [BELOW_ANY, *sorted(priorities), ABOVE_ANY]
    return [(above, below) for above, below in pairwise(edges) if below - above > 1]
