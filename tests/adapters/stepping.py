"""Two callers of a database, led through their statements one by one, in every order there is.

Each runs on a thread of its own, with a connection of its own, and stops before every statement and
every COMMIT. Who goes on is chosen from outside; all the choices are tried, one run for each. One
that waits for a lock is left waiting while the other goes on. Where both wait, the one whose wait
has a limit gives way, when that is seen and not when a time is up: how fast the machine is decides
nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from sqlalchemy import event

from jobqueue.adapters.postgres.adapter import PostgresAdapter

AT_STEP, GOING, DONE = "at a step", "going", "done"
SOON_SECONDS = 0.002
# Whoever lets go of a lock grants it to the next; that one's own word comes only when it has run.
WAITING_FOR_A_LOCK = "SELECT DISTINCT pid FROM pg_locks WHERE pid = ANY (%s) AND NOT granted"
LIMITS_ITS_WAIT = "lock_timeout"

NO_STEP = re.compile(r"\s*(BEGIN|SELECT set_config)|.*pg_notify", re.DOTALL)
"""What changes nothing that anybody could see in the tables."""

Call = Callable[[], Any]
_mine = threading.local()


@dataclass
class Caller:
    """Makes calls, one after the other, and stops before each step of them.

    Args:
        name: for messages.
        calls: what it does.
        pids: of its connections to the server.
        by_statement: whether each statement is a step, or only each call.
    """

    name: str
    calls: Sequence[Call]
    pids: list[int]
    by_statement: bool
    results: list[Any] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    state: str = GOING
    freely: bool = False
    gives_way: bool = False
    gave_way: bool = False
    last_step: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _mine.caller = self
        for call in self.calls:
            if not self.by_statement:
                self.step("call")
            try:
                self.results.append(call())
            except Exception as error:  # noqa: BLE001 - it is compared with what should have come
                self.results.append(error)
        self._become(DONE)

    def step(self, what: str) -> None:
        """Stop until let go. Called on its own thread, before a step."""
        if self.freely:
            return
        self.steps.append(what)
        with self._changed:
            self.state = AT_STEP
            self._changed.notify_all()
            while self.state is AT_STEP:
                self._changed.wait(20)

    def make_give_way(self, monitor: psycopg.Connection[Any], pid: int) -> None:
        """End its wait for a lock, as the server does when the limit of the wait is reached."""
        self.gives_way, self.gave_way = False, True
        monitor.execute("SELECT pg_cancel_backend(%s)", (pid,))

    def go_on(self) -> None:
        """Take the step."""
        if self.state is AT_STEP:
            self._become(GOING)

    def go_on_freely(self) -> None:
        """Stop no more."""
        self.by_statement, self.freely = False, True
        self.go_on()

    def end(self) -> None:
        """Wait until it has made all its calls, or for long enough."""
        assert self._thread is not None
        self._thread.join(30)

    def is_going(self, seconds: float) -> bool:
        """Whether it is still at its step after so long."""
        with self._changed:
            if self.state is GOING:
                self._changed.wait(seconds)
            return self.state is GOING

    def _become(self, state: str) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()


@dataclass(frozen=True)
class Choice:
    """Who could go on at some point, and who did."""

    possible: tuple[int, ...]
    made: int


class Stage:
    """Where callers are led: knows from the server who waits for a lock.

    Args:
        monitor: a connection of its own, which commits by itself.
    """

    def __init__(self, monitor: psycopg.Connection[Any]) -> None:
        self._monitor = monitor

    def run(self, callers: Sequence[Caller], choices: Sequence[int]) -> list[Choice]:
        """Lead callers to their ends, first by these choices, then always the first who can go."""
        for caller in callers:
            caller.start()
        try:
            return self._lead(callers, choices)
        finally:
            for caller in callers:
                caller.go_on_freely()
            for caller in callers:
                caller.end()

    def _lead(self, callers: Sequence[Caller], choices: Sequence[int]) -> list[Choice]:
        made: list[Choice] = []
        while any(caller.state is not DONE for caller in callers):
            waiting = self._settle_down(callers)
            possible = tuple(n for n, c in enumerate(callers) if c.state is AT_STEP)
            if not possible:
                self._resolve(callers, waiting)
                continue
            number = choices[len(made)] if len(made) < len(choices) else possible[0]
            assert number in possible, "the same choices led elsewhere"
            made.append(Choice(possible, number))
            callers[number].last_step = len(made)
            callers[number].go_on()
        return made

    def _settle_down(self, callers: Sequence[Caller]) -> set[int]:
        """Return when everybody is at a step, done, or waits for a lock that stays.

        The pids of the connections that wait; they are looked for when all the others have stopped.
        """
        while True:
            going = [caller for caller in callers if caller.is_going(SOON_SECONDS)]
            waiting = self._waiting(callers)
            if all(waiting.intersection(caller.pids) for caller in going):
                return waiting

    def _waiting(self, callers: Sequence[Caller]) -> set[int]:
        pids = [pid for caller in callers for pid in caller.pids]
        return {pid for (pid,) in self._monitor.execute(WAITING_FOR_A_LOCK, (pids,))}

    def _resolve(self, callers: Sequence[Caller], waiting: set[int]) -> None:
        """Where they wait for each other, who has waited longest of those that may gives way."""
        if any(caller.gave_way for caller in callers):
            return  # the server has not come to it yet
        can = [caller for caller in callers if caller.gives_way and waiting & {*caller.pids}]
        if waiting and all(c.state is DONE or waiting & {*c.pids} for c in callers):
            assert can, "they wait for each other, and none of them gives way"
            giving_way = min(can, key=lambda caller: caller.last_step)
            giving_way.make_give_way(self._monitor, *waiting & {*giving_way.pids})


def every_order(run: Callable[[Sequence[int]], Sequence[Choice]]) -> Iterator[tuple[int, ...]]:
    """Run again and again, each time with other choices, until all have been made."""
    to_try: list[tuple[int, ...]] = [()]
    while to_try:
        begun = to_try.pop()
        choices = run(begun)
        taken = tuple(choice.made for choice in choices)
        yield taken
        for place in range(len(begun), len(choices)):
            others = set(choices[place].possible) - {taken[place]}
            to_try += [(*taken[:place], other) for other in sorted(others)]


@contextmanager
def stepped_adapter(adapter: PostgresAdapter) -> Iterator[list[int]]:
    """Let an adapter stop before its statements; yields the pids of its connections."""
    pids: list[int] = []

    @event.listens_for(adapter.database.engine, "connect")
    def stop_before_commit(connection: Any, _: Any) -> None:
        pids.append(connection.info.backend_pid)
        commit = connection.commit
        # Several statements in one round trip are several all the same, for the server too.
        connection.pipeline = nullcontext
        connection.end_step = lambda _: None

        def stepped_commit() -> None:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                before("COMMIT")
            commit()
            _note_limit_of_wait(False)

        connection.commit = stepped_commit

    adapter.database.engine.dispose()
    adapter.count_by_state()
    yield pids


def before(statement: str) -> None:
    """The next step of whoever calls."""
    caller: Caller | None = getattr(_mine, "caller", None)
    if caller is not None and caller.by_statement and not NO_STEP.match(statement):
        caller.step(" ".join(statement.split())[:60])


def _note_limit_of_wait(is_limited: bool) -> None:
    caller: Caller | None = getattr(_mine, "caller", None)
    if caller is not None:
        caller.gives_way = is_limited


def between_two_calls() -> bool:
    """A step, where only calls are such; whether that is so."""
    caller: Caller | None = getattr(_mine, "caller", None)
    if caller is None or caller.by_statement:
        return False
    caller.step("call")
    return True


@contextmanager
def stepped_statements() -> Iterator[None]:
    """Every statement of a caller is a step."""
    execute: Any = psycopg.Cursor.execute

    def stepped(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        before(text)
        if LIMITS_ITS_WAIT in text or text == "COMMIT":
            _note_limit_of_wait(text != "COMMIT")
        try:
            return execute(cursor, query, *args, **kwargs)
        except psycopg.errors.QueryCanceled as error:
            caller: Caller | None = getattr(_mine, "caller", None)
            if caller is None or not caller.gave_way:
                raise
            caller.gave_way = False
            raise psycopg.errors.LockNotAvailable("it gave way") from error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", stepped)
        yield
