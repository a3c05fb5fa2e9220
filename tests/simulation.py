"""A worker's pump and handoff in a time of their own, and what has to be so at every moment of it.

Time moves on while the pump waits, and while the database is at a turn. What happens meanwhile was
chosen beforehand.
"""

from __future__ import annotations

import heapq
import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from threading import Condition
from typing import Any

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.ends import EndReporter
from jobqueue.hooks import Observers
from jobqueue.records import (
    Claim,
    ClaimedJob,
    CrashedJob,
    JobFilter,
    NewJob,
    NewWorker,
    Outcome,
    Released,
    Rescue,
    Succeeded,
    Turn,
    Wakeup,
)
from jobqueue.worker.handoff import Handoff, Taken
from jobqueue.worker.pump import Pump
from jobqueue.worker.reporter import Reporter

POLL = 280.0
LEASE = 30.0
HALF_A_SECOND = 0.5
FIRST_DRAIN = 5.0
SHARE_OF_DRAINS = 1 / 5
MOST_BYTES = 16 * 1024 * 1024
LARGE = "x" * 1024 * 1024
WITHOUT_FREE_SLOT = 1.0
GATHER = 0.02
SHORTEST = 1e-6  # a wait takes at least that long, as a real one does
MOST_WAITS = 100_000  # as many mean that it does not wait at all
SINGLE_ATTEMPT_PRIORITY, USUAL_PRIORITY = 1, 50
LOUDER_THAN_ANY = 100


class NothingToTakeError(Exception):
    """What performs would have to wait."""


class WatchedHandoff(Handoff):
    """A handoff that notes since when it has held what is not started."""

    def __init__(self, slots: int, world: World) -> None:
        super().__init__(slots, world)
        self._world = world
        self.unstarted: dict[tuple[int, int], tuple[float, ClaimedJob]] = {}
        self.drained_since: float | None = None
        self.drained_in_vain = 0.0

    def put(self, jobs: Sequence[ClaimedJob], args_bytes: int = 0) -> None:
        super().put(jobs, args_bytes)
        self.unstarted |= {(job.id, job.token): (self._now(), job) for job in jobs}
        self._world.start_what_can_be()
        assert sum(len(job.args) for _, job in self.unstarted.values()) <= MOST_BYTES, "bytes"

    def note_settled(self, outcomes: int) -> None:
        super().note_settled(outcomes)
        self._world.start_what_can_be()

    def take_back(self, but: int = 0) -> list[ClaimedJob]:
        self.note_drain()
        jobs = super().take_back(but)
        for job in jobs:
            del self.unstarted[job.id, job.token]
        if not but and self.drained_since is not None:
            self.drained_in_vain += self._now() - self.drained_since
        self.note_drain()
        return jobs

    def note_drain(self) -> None:
        """Note since when a slot has been kept free for a job to be performed alone."""
        if self.kept_free_for is None:
            self.drained_since = None
        elif self.drained_since is None:
            self.drained_since = self._now()
            self._world.check_that_drains_are_paid_for(self.drained_in_vain)


class DatabaseClock:
    """The world's time, as a database tells it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._world.time, UTC)


class WatchedAdapter(MemoryAdapter):
    """Memory whose turns take a while."""

    def __init__(self, world: World) -> None:
        super().__init__(clock=DatabaseClock(world))
        self.world = world
        self.claimed_at: dict[tuple[int, int], float] = {}
        self.without_free_slot: dict[tuple[int, int], float] = {}
        self._slot_was_free_at = world.time
        self.strays_released_at = world.time

    def turn(
        self,
        outcomes: Sequence[Outcome],
        claim: Claim | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        if claim is not None:
            self.world.looks += 1
            self.world.looked_at = self.world.time
            self.world.called = False
            if claim.free_slots:
                self._slot_was_free_at = self.world.time
        self.world.given_back += sum(isinstance(o, Released) for o in outcomes)
        turn, now = super().turn(outcomes, claim, meanwhile), self.world.time
        self.world.unsettled -= {(o.job.id, o.job.token) for o in outcomes}
        assert not turn.rejected
        for job in turn.claimed:
            self.claimed_at[job.id, job.token] = now
            self.without_free_slot[job.id, job.token] = now - self._slot_was_free_at
        self.world.pass_time(self.world.turn_seconds)
        return turn

    def release_strays(self, worker_id: str, held: Collection[tuple[int, int]]) -> Rescue:
        self.strays_released_at = self.world.time
        freed = super().release_strays(worker_id, held)
        assert not freed
        return freed


class World:
    """A worker, its database and what happens to them; also the worker's timer."""

    def __init__(self, slots: int, overhead_seconds: float = 0.0) -> None:
        self.time = 1000.0
        self.turn_seconds = self._longest_turn_seconds = 0.001
        self.overhead_seconds = overhead_seconds
        self.looks = self.given_back = 0
        self.waits = 0
        self.singles: dict[int, float] = {}
        self.crashes = 0
        self.crashed_at: float | None = None
        self.free_since = self.time
        self.looked_at = self.time
        self.called = False
        self.unsettled: set[tuple[int, int]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._is_taking = False
        self._resting = False
        self._was_notified = False
        self.adapter = WatchedAdapter(self)
        self.handoff = WatchedHandoff(slots, self)
        logger = logging.getLogger("jobqueue.tests.waits")
        logger.setLevel(LOUDER_THAN_ANY)
        self.pump = Pump(
            adapter=self.adapter,
            handoff=self.handoff,
            worker_id="worker",
            queues=("default",),
            poll_interval=timedelta(seconds=POLL),
            until_idle=False,
            max_jobs=None,
            lease=timedelta(seconds=LEASE),
            logger=logger,
            reporter=Reporter(logger, lambda _: logger, EndReporter(logger, Observers())),
            timer=self,
        )

    def run(self) -> None:
        """Let it all happen, until the handoff is closed."""
        self.pump.run()
        assert self.handoff.is_empty()
        assert not self.handoff.unstarted

    # --- time ------------------------------------------------------------------------------------

    def now(self) -> float:
        """See `Timer.now`."""
        return self.time

    def wait(self, condition: Condition, seconds: float | None) -> None:
        """See `Timer.wait`: what was chosen happens while the pump waits."""
        if self._is_taking:
            raise NothingToTakeError
        self.waits += 1
        assert self.waits < MOST_WAITS
        with self._noticing(condition):
            until = float("inf") if seconds is None else self.time + max(seconds, SHORTEST)
            while not self._was_notified and self.time < until:
                self._pass_some_time(until)

    def pass_time(self, seconds: float) -> None:
        """Let it pass, with all that happens meanwhile."""
        until = self.time + seconds
        while self.time < until:
            self._pass_some_time(until)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + seconds, next(self._numbers), event))

    def _pass_some_time(self, until: float) -> None:
        if self._events and self._events[0][0] <= until:
            at, _, event = heapq.heappop(self._events)
            self.time = max(self.time, at)
            self.check()
            event()
            self.start_what_can_be()
            self.handoff.note_drain()
        else:
            assert until < float("inf"), "the pump waits for what never comes"
            self.time = until
            self.check()

    @contextmanager
    def _noticing(self, condition: Condition) -> Iterator[None]:
        """Have a `notify` seen, as a thread that waits would."""

        def notify(_: int = 1) -> None:
            self._was_notified = True

        self._was_notified = False
        vars(condition).update(notify=notify, notify_all=notify)
        try:
            yield
        finally:
            del vars(condition)["notify"], vars(condition)["notify_all"]

    # --- performing ------------------------------------------------------------------------------

    def start_what_can_be(self) -> None:
        self._is_taking = True
        try:
            while (taken := self.handoff.take()) is not None:
                self._begin(taken)
        except NothingToTakeError:
            pass
        finally:
            self._is_taking = False

    def _begin(self, taken: Taken) -> None:
        job = taken.job
        del self.handoff.unstarted[job.id, job.token]
        self.singles.pop(job.id, None)
        self._check_that_none_is_kept_out(job)
        assert not (job.crashes and self.unsettled), "a crash would have finished jobs repeated"
        seconds = json.loads(job.args)["seconds"]
        self.after(seconds + self.overhead_seconds, lambda: self._end(taken, seconds))

    def _end(self, taken: Taken, seconds: float) -> None:
        outcome = Succeeded(taken.job, timedelta(seconds=seconds))
        self.unsettled.add((taken.job.id, taken.job.token))
        following = self.handoff.finish_and_take(taken, outcome)
        if following is not None:
            self._begin(following)

    # --- what happens ----------------------------------------------------------------------------

    def do(self, what: str, *facts: Any) -> None:
        """One of what follows, chosen by its name."""
        happenings: dict[str, Callable[..., None]] = {
            "enqueue": self.enqueue,
            "single": partial(self.enqueue, single=True),
            "large": partial(self.enqueue, ballast=LARGE),
            "crash": self.crash,
            "call": self.call,
            "take": self.take_what_is_due,
            "rest": self.rest,
            "turns take": self.have_turns_take,
        }
        happenings[what](*facts)

    def enqueue(
        self,
        number: int,
        seconds: float,
        heard: bool = True,
        *,
        single: bool = False,
        ballast: str = "",
    ) -> None:
        """Have jobs enqueued, and the worker told of them or not."""
        attempts, priority = (1, SINGLE_ATTEMPT_PRIORITY) if single else (24, USUAL_PRIORITY)
        args = json.dumps({"seconds": seconds, "ballast": ballast})
        name = "single" if single else "job"
        jobs = self.adapter.enqueue([NewJob(name, args, "default", priority, attempts)] * number)
        if single:
            self.singles |= {job.id: self.time for job in jobs}
        if heard:
            self.call()

    def call(self) -> None:
        self.called = True
        self.pump.wake(Wakeup())

    def crash(self, seconds: float) -> None:
        """Have a job crash elsewhere: it is to be performed alone from now on."""
        args = json.dumps({"seconds": seconds})
        self.crashes += 1
        self.adapter.enqueue([NewJob("crashed", args, "default", -self.crashes, 24)])
        if self.crashed_at is None:
            self.crashed_at = self.time
        lease = timedelta(seconds=LEASE)
        self.adapter.register_worker(NewWorker("dead", "w", "h", 1, None, 1, lease))
        claimed = self.adapter.claim(Claim("dead", 7, 1, 1))
        self.adapter.rescue_crashed("dead", [CrashedJob(j.id, j.token, "it died") for j in claimed])
        self.call()

    def take_what_is_due(self) -> None:
        """Another worker is there for a moment."""
        jobs = self.adapter.claim(Claim("other", 8, 10_000, 10_000))
        self.adapter.settle([Succeeded(job) for job in jobs])
        for job in jobs:
            self.singles.pop(job.id, None)

    def have_turns_take(self, seconds: float) -> None:
        self.turn_seconds = seconds
        self._longest_turn_seconds = max(seconds, self._longest_turn_seconds)

    def rest(self, resting: bool) -> None:
        self._resting = resting
        self.called = True
        self.pump.rest(resting)

    def claimed_job(self) -> ClaimedJob:
        """One that somebody has claimed."""
        self.enqueue(1, 0.0)
        return self.adapter.claim(Claim("other", 8, 1, 1))[0]

    # --- what has to be so -----------------------------------------------------------------------

    @property
    def _slack(self) -> float:
        """The pump may be in one turn and then another, and gather before each."""
        return 2 * (self._longest_turn_seconds + GATHER) + 2 * SHORTEST

    def check(self) -> None:
        """Whatever the moment."""
        self._check_what_is_held()
        late = self.time - self.adapter.strays_released_at - LEASE
        assert self.handoff.closed or late <= self._slack, "strays"
        self._check_the_look()

    def _check_what_is_held(self) -> None:
        for since, job in self.handoff.unstarted.values():
            limit = HALF_A_SECOND + self._longest_drain(since) if job.crashes else HALF_A_SECOND
            assert self.time - since <= limit + self._slack, f"{job} is held unstarted"
            if not job.crashes:
                return  # what comes after it came after it

    def _longest_drain(self, begun: float) -> float:
        """The longer jobs have been put off, the longer the others wait for them."""
        assert self.crashed_at is not None
        share = SHARE_OF_DRAINS / (1 - SHARE_OF_DRAINS)
        return max(FIRST_DRAIN, (begun - self.crashed_at) * share)

    def check_that_drains_are_paid_for(self, in_vain: float) -> None:
        """Before the next one begins: those for nothing take a share of the time only."""
        assert self.crashed_at is not None
        assert in_vain <= (self.time - self.crashed_at) * SHARE_OF_DRAINS + self._slack, "drains"

    def _check_the_look(self) -> None:
        """Where a slot is free somebody looks, at once when called."""
        pump_is_free = self.handoff.free_slots and not self._resting and not self.handoff.closed
        if pump_is_free and not self.handoff.has_loner:
            limit = 0.0 if self.called else POLL
            waited = self.time - max(self.looked_at, self.free_since)
            assert waited <= limit + self._slack, "the look"
        else:
            self.free_since = self.time

    def check_that_there_is_no(self, name: str) -> None:
        """Jobs of that kind are finished by now."""
        assert not self.adapter.list_jobs(JobFilter(handlers=(name,)), 1)

    def _check_that_none_is_kept_out(self, job: ClaimedJob) -> None:
        """No stream of others keeps out what has a single attempt."""
        claimed_at = self.adapter.claimed_at[job.id, job.token]
        without_free_slot = self.adapter.without_free_slot[job.id, job.token]
        if job.priority > SINGLE_ATTEMPT_PRIORITY:
            for due_at in self.singles.values():
                in_vain_for = min(claimed_at - due_at, without_free_slot)
                assert in_vain_for <= WITHOUT_FREE_SLOT + self._slack, "kept out"
