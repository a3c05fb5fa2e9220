"""The depths of all queues at one minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class SampledDepth:
    """The depth of a queue when it was sampled.

    Args:
        queue: its name.
        due: ready jobs whose time had come.
        later: ready jobs whose time had not come.
        running: jobs that workers held.
        oldest_age: how long the oldest due job had been due; 0 when none was.
        more: whether the numbers may be too small, since counting stopped there.
    """

    queue: str
    due: int = 0
    later: int = 0
    running: int = 0
    oldest_age: timedelta = timedelta(0)
    more: bool = False

    @property
    def unfinished(self) -> int:
        """How many jobs were in the queue."""
        return self.due + self.later + self.running


@dataclass(frozen=True, slots=True)
class Sample:
    """The depths of the queues that had any unfinished jobs in a minute.

    Args:
        minute: the minute in which they were counted.
        depths: by the names of the queues. A queue that is not there was empty.
    """

    minute: datetime
    depths: tuple[SampledDepth, ...]

    def depth_of(self, queue: str) -> SampledDepth:
        """Return the depth of a queue; an empty one where it had no jobs."""
        return next((one for one in self.depths if one.queue == queue), SampledDepth(queue))
