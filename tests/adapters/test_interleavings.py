"""Two workers on PostgreSQL, their statements in every order.

Whatever the order, what comes out (what each was told, and what the table has then) has to be what
comes out when one call follows the other, in some order. That is found out by doing it. A claim has
one freedom more: it passes over a job that somebody is just touching. So does a rescue that has
given way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from jobqueue.adapters.postgres import database as postgres_database
from jobqueue.adapters.postgres import path as postgres_path
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    Claim,
    ClaimedJob,
    CrashedJob,
    Failed,
    JobFilter,
    NewJob,
    NewWorker,
    Outcome,
    Released,
    Rescue,
    Retried,
    Succeeded,
    WorkerRecord,
)
from tests.adapters.stepping import (
    Caller,
    Choice,
    Stage,
    between_two_calls,
    every_order,
    stepped_adapter,
    stepped_statements,
)

OLD, NEW = "old", "new"
EVERYTHING = JobFilter()
ROWS = """
SELECT id, state, attempts, crashes, max_attempts, locked_by, claim_token, last_error,
       extract(epoch FROM run_at)::int, cancel_requested_at IS NOT NULL, progress::text,
       failed_at IS NOT NULL, finished_at IS NOT NULL
FROM background_jobs ORDER BY id;
"""
OTHER_ROWS = """
SELECT id FROM background_workers
UNION SELECT name FROM background_queues WHERE paused_at IS NOT NULL ORDER BY 1
"""
BROKEN = """
SELECT id FROM background_jobs
WHERE (state = 'running') <> (claim_token IS NOT NULL) OR attempts < 0
   OR (locked_by IS NULL) <> (claim_token IS NULL)
   OR (state = 'ready' AND cancel_requested_at IS NOT NULL)
"""
KEEP = """
CREATE TEMP TABLE kept_jobs AS TABLE background_jobs;
CREATE TEMP TABLE kept_workers AS TABLE background_workers
"""
BEGIN_ANEW = """
DELETE FROM background_jobs; DELETE FROM background_workers; DELETE FROM background_queues;
INSERT INTO background_jobs OVERRIDING SYSTEM VALUE SELECT * FROM kept_jobs ORDER BY id;
INSERT INTO background_workers SELECT * FROM kept_workers
"""
LOCK = "SELECT FROM background_jobs WHERE id = ANY (%s) FOR UPDATE"


@dataclass
class World:
    """What there is before each run: the first two jobs are held by the worker OLD, each under a
    token of its own; the third and fourth wait."""

    old: PostgresAdapter
    new: PostgresAdapter
    held: list[ClaimedJob] = field(default_factory=list)
    seen: WorkerRecord | None = None
    passed_over: dict[str, tuple[int, ...]] = field(default_factory=dict)
    lock: Callable[[tuple[int, ...]], Any] = lambda _: None
    unlock: Callable[[], Any] = lambda: None


Action = Callable[[PostgresAdapter, World], Any]


# What a worker does. The result of each is what it was told, in a form that can be compared.


def claim(
    adapter: PostgresAdapter, world: World, *, token: int = 30, limit: int = 1, by: str = NEW
) -> Any:
    passed_over = world.passed_over.get(by)
    if passed_over:
        world.lock(passed_over)
    claimed = adapter.claim(Claim(by, token, limit, limit))
    if passed_over:
        world.unlock()
    return [(job.id, job.attempts) for job in claimed]


def settle(*outcomes: Callable[[ClaimedJob], Outcome], backwards: bool = False) -> Action:
    """The jobs held, the first of them first or last; whose outcomes were rejected."""

    def settle_them(adapter: PostgresAdapter, world: World) -> Any:
        made = [outcome(job) for outcome, job in zip(outcomes, world.held, strict=False)]
        rejected = adapter.settle(made[::-1] if backwards else made)
        return sorted(outcome.job.id for outcome in rejected)

    return settle_them


def rescue(adapter: PostgresAdapter, world: World) -> Any:
    assert world.seen is not None
    return without_what_was_passed_over(adapter.rescue(world.seen, "gone"))


def rescue_crashed(adapter: PostgresAdapter, world: World) -> Any:
    first = world.held[0]
    crashed = [CrashedJob(first.id, first.token, "died")]
    return without_what_was_passed_over(adapter.rescue_crashed(OLD, crashed))


def without_what_was_passed_over(rescue: Rescue | None) -> Rescue | None:
    """The rows tell what became of it."""
    return None if rescue is None else replace(rescue, locked=(), worker_is_locked=False)


def rescue_orphans(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.rescue_orphans("orphan", "gone")


def register(adapter: PostgresAdapter, world: World) -> Any:
    adapter.register_worker(worker("orphan"))


def beat(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.beat([OLD])


def unregister(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.unregister_worker(OLD)


def release_strays(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.release_strays(OLD, [])


def request_cancel(adapter: PostgresAdapter, world: World, *, job: int = 1) -> Any:
    found = adapter.request_cancel(job, "no more")
    return found and found.state


def cancel(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.cancel(EVERYTHING, "no more")


def retry(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.retry(EVERYTHING)


def delete(adapter: PostgresAdapter, world: World, *, running: bool = False) -> Any:
    return adapter.delete(EVERYTHING, include_running=running)


def pause(adapter: PostgresAdapter, world: World) -> Any:
    return adapter.pause_queues(["q"])


def report(adapter: PostgresAdapter, world: World) -> Any:
    first = world.held[0]
    adapter.report_progress({(first.id, first.token): "50"})


def settle_claimed(adapter: PostgresAdapter, world: World, *, token: int = 30) -> Any:
    """What this worker has claimed, whichever jobs they are."""
    held = [replace(world.held[0], id=number, token=token) for number in (1, 2, 3, 4)]
    return [outcome.job.id for outcome in adapter.settle([Succeeded(job) for job in held])]


def turn(adapter: PostgresAdapter, world: World) -> Any:
    """It is settling and then claiming: somebody's call may come between the two."""
    outcomes = [Retried(world.held[0], error="again")]
    if between_two_calls():
        rejected = adapter.settle(outcomes)
        between_two_calls()
        return [o.job.id for o in rejected], claim(adapter, world, token=40, by=OLD)
    made = adapter.turn(outcomes, Claim(OLD, 40, 1, 1))
    return [o.job.id for o in made.rejected], [(job.id, job.attempts) for job in made.claimed]


done, again, failed, back = (
    Succeeded,
    partial(Retried, error="again"),
    partial(Failed, error="broken"),
    Released,
)

# Of each pair, what the one does and what the other does.
PAIRS: dict[str, tuple[Sequence[Action], Sequence[Action]]] = {
    "two claim one each": ([claim], [partial(claim, token=31)]),
    "two claim all": ([partial(claim, limit=4)], [partial(claim, token=31, limit=4)]),
    "claim, cancel": ([partial(claim, limit=4)], [cancel]),
    "claim, cancel one": ([partial(claim, limit=4)], [partial(request_cancel, job=3)]),
    "claim, retry": ([partial(claim, limit=4)], [retry]),
    "claim, delete": ([partial(claim, limit=4)], [partial(delete, running=True)]),
    "claim, pause": ([partial(claim, limit=4)], [pause]),
    "claim, settle": ([partial(claim, limit=4)], [settle(again, again)]),
    "claim, expire": ([partial(claim, limit=4)], [rescue]),
    "settle, settle otherwise": ([settle(done)], [settle(failed)]),
    "settle and fail, settle both": (
        [settle(failed, done)],
        [settle(again, back, backwards=True)],
    ),
    "succeed, expire": ([settle(done)], [rescue]),
    "retry later, expire": ([settle(again)], [rescue]),
    "give both back, expire": ([settle(back, back)], [rescue]),
    "settle differently, expire": ([settle(again, done)], [rescue]),
    "succeed, cancel": ([settle(done)], [request_cancel]),
    "retry later, cancel": ([settle(again)], [request_cancel]),
    "expire, cancel": ([rescue], [request_cancel]),
    "expire, cancel the one out of attempts": ([rescue], [partial(request_cancel, job=2)]),
    "expire twice": ([rescue], [rescue]),
    "expire, beat": ([rescue], [beat]),
    "expire, delete": ([rescue], [partial(delete, running=True)]),
    "expire, sign off": ([rescue], [unregister]),
    "orphaned, registers": ([rescue_orphans], [register]),
    "crash, cancel": ([rescue_crashed], [request_cancel]),
    "crash, settle": ([rescue_crashed], [settle(done)]),
    "crash, expire": ([rescue_crashed], [rescue]),
    "sign off, cancel": ([unregister], [request_cancel]),
    "strays, settle": ([release_strays], [settle(done)]),
    "strays, cancel": ([release_strays], [request_cancel]),
    "progress, expire": ([report], [rescue]),
    "a frozen worker thaws": (
        [settle(done)],
        [rescue, claim, settle_claimed],
    ),
    "a turn, expire and claim": ([turn], [rescue, claim]),
}


@pytest.fixture
def monitor(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def world(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # No limit in time, neither ours nor the server's: the stage sees when somebody has to give way.
    for module in (postgres_database, postgres_path):
        monkeypatch.setattr(module, "LONGEST_WAIT_MS", 0)
    clock = ManualClock()
    patient = make_url(postgres_url).update_query_dict({"options": "-cdeadlock_timeout=20s"})
    url = patient.render_as_string(hide_password=False)
    old, new = (PostgresAdapter(url, clock=clock) for _ in range(2))
    with stepped_statements():
        yield World(old, new)
    old.close()
    new.close()


@pytest.mark.timeout(600)  # some are hundreds of runs, which a crowded machine takes its time for
@pytest.mark.parametrize("pair", PAIRS)
def test_in_every_order(world: World, monitor: psycopg.Connection[Any], pair: str) -> None:
    theatre = Theatre(world, monitor, PAIRS[pair])
    theatre.set_up()
    with stepped_adapter(world.old) as pids_old, stepped_adapter(world.new) as pids_new:
        theatre.pids = pids_old, pids_new
        stories = []
        for order in every_order(theatre.run):
            stories.append((theatre.seen, theatre.story(order)))
            assert theatre.errors() == [], theatre.story(order)
            assert theatre.broken() == [], theatre.story(order)
        assert len(stories) >= 3
        assert_come_out_of_calls_in_a_row(theatre, stories)


def assert_come_out_of_calls_in_a_row(theatre: Theatre, stories: list[tuple[Any, str]]) -> None:
    """What can is found out only until all has been explained."""
    given = []
    for seen in theatre.what_calls_in_a_row_give():
        given.append(seen)
        stories = [(ending, story) for ending, story in stories if ending != seen]
        if not stories:
            return
    told = "\n".join(story for _, story in stories)
    pytest.fail(f"{told}\nWhat one after the other gives:\n{given}")


@dataclass
class Theatre:
    """Plays a pair of scripts, by choices, from the same beginning each time."""

    world: World
    monitor: psycopg.Connection[Any]
    scripts: tuple[Sequence[Action], Sequence[Action]]
    pids: tuple[list[int], ...] = ()
    callers: list[Caller] = field(default_factory=list)
    seen: Any = None

    def set_up(self) -> None:
        """What there is at the beginning of each run."""
        world, adapter = self.world, self.world.old
        adapter.register_worker(worker(OLD))
        adapter.enqueue([NewJob("Work", "{}", "q", 50, attempts) for attempts in (2, 1)])
        world.held = [*adapter.claim(Claim(OLD, 12, 1, 1)), *adapter.claim(Claim(OLD, 11, 1, 1))]
        adapter.enqueue([NewJob("Work", "{}", "q", 50, 2) for _ in range(2)])
        world.seen = adapter.workers()[0]
        if self._does(rescue_orphans):
            self.monitor.execute("UPDATE background_jobs SET locked_by = 'orphan' WHERE id < 3")
        self.monitor.execute(KEEP)
        world.lock, world.unlock = self._lock, self._unlock

    def run(self, choices: Sequence[int], *, by_statement: bool = True) -> list[Choice]:
        self.monitor.execute(BEGIN_ANEW)
        adapters = (self.world.old, self.world.new)
        adapters[0].path.low_water_marks.clear()
        self.callers = [
            Caller(
                name=("A", "B")[number],
                calls=[partial(action, adapters[number], self.world) for action in script],
                pids=self.pids[number],
                by_statement=by_statement,
            )
            for number, script in enumerate(self.scripts)
        ]
        made = Stage(self.monitor).run(self.callers, choices)
        self.seen = [caller.results for caller in self.callers], self._all(ROWS + OTHER_ROWS)
        return made

    def what_calls_in_a_row_give(self) -> Iterator[Any]:
        """All that comes out of one call after another, whichever jobs a claim passes over."""
        for passed_over in self._what_may_be_passed_over():
            self.world.passed_over = passed_over
            for _ in every_order(partial(self.run, by_statement=False)):
                yield self.seen

    def _what_may_be_passed_over(self) -> Iterator[dict[str, tuple[int, ...]]]:
        """Any of the jobs by one who claims alone; one of them by each of two."""
        most = 1 if self._does(turn) else 4
        some = [ids for n in range(most + 1) for ids in itertools.combinations((1, 2, 3, 4), n)]
        for mine in some if self._does(claim) else [()]:
            for theirs in some if self._does(turn) else [()]:
                yield {NEW: mine, OLD: theirs}

    def errors(self) -> list[Any]:
        results = [result for caller in self.callers for result in caller.results]
        return [result for result in results if isinstance(result, Exception)]

    def broken(self) -> list[Any]:
        """Each is held by exactly one or by nobody, and nothing waits that is to be cancelled."""
        return self._all(BROKEN)

    def story(self, order: Sequence[int]) -> str:
        steps = [iter(caller.steps) for caller in self.callers]
        lines = [f"{self.callers[n].name}: {next(steps[n])}" for n in order]
        return "\n".join([*lines, str(self.seen)])

    def _does(self, what: Action) -> bool:
        actions = [action for script in self.scripts for action in script]
        return any(getattr(action, "func", action) is what for action in actions)

    def _all(self, queries: str) -> list[Any]:
        cursor = self.monitor.execute(queries.encode())
        rows = cursor.fetchall()
        while cursor.nextset():
            rows += cursor.fetchall()
        return rows

    def _lock(self, ids: tuple[int, ...]) -> None:
        self.monitor.execute("BEGIN")
        self.monitor.execute(LOCK, (list(ids),))

    def _unlock(self) -> None:
        self.monitor.execute("ROLLBACK")


def worker(name: str) -> NewWorker:
    return NewWorker(name, "web", "host", 1, None, 1, timedelta(seconds=30))
