"""The jobs that are performed in a chaos run, and the ledger that they write.

The ledger is a file of each process, opened by the jobs themselves: nothing of the queue, and
nothing that is taken away during a run, lies between a job and its record. Half of the jobs also
store an effect in the queue's database, in the transaction of their own completion.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from jobqueue import Hooks, Job
from jobqueue.records import ClaimedJob
from tests.chaos.journal import Journal

FOLDER = "CHAOS_FOLDER"
LEDGER = "ledger"
EFFECT = text("INSERT INTO chaos_effects (number, job_id, token) VALUES (:number, :id, :token)")
RETRY_SECONDS = 0.2
HOPELESS_ATTEMPTS = 3
POISON_ATTEMPTS = 24

_opening = threading.Lock()


class Trouble(Exception):
    """What a job raises that is meant to fail."""


@functools.cache
def _opened() -> Journal:
    name = f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
    return Journal(Path(os.environ[FOLDER]) / LEDGER / name)


def ledger() -> Journal:
    """This process's part of the ledger; its name begins with the process's id."""
    with _opening:
        return _opened()


@contextmanager
def recorded(job: Job, number: int) -> Iterator[ClaimedJob]:
    """Write down that a job begins, and how it ends."""
    attempt = job._attempt
    assert attempt is not None
    claimed = attempt.claimed
    ledger().write(
        "started",
        number=number,
        job=claimed.id,
        token=claimed.token,
        attempt=claimed.attempts,
        crashes=claimed.crashes,
        pid=os.getpid(),
        parent=os.getppid(),
        name=claimed.handler,
    )
    how = "done"
    try:
        yield claimed
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        ledger().write("ended", job=claimed.id, token=claimed.token, how=how)


class Witness(Hooks):
    """Writes down what a worker took for stored."""

    def job_succeeded(self, job: ClaimedJob, run_time: timedelta) -> None:
        ledger().write("accepted", job=job.id, token=job.token, how="succeeded")

    def job_failed(self, job: Any, error: str) -> None:
        if isinstance(job, ClaimedJob):
            ledger().write("accepted", job=job.id, token=job.token, how="failed")


class Tried(Job):
    """The base of all: tried again soon."""

    retry = staticmethod(lambda attempt, error: RETRY_SECONDS)


class Effect(Tried):
    """Half of the jobs; the application renames this class now and then."""

    def perform(self, number: int, ms: int) -> None:
        with recorded(self, number):
            time.sleep(ms / 1000)


class Awaited(Tried):
    name = "chaos.awaited"

    async def perform(self, number: int, ms: int) -> None:
        with recorded(self, number):
            await asyncio.sleep(ms / 1000)


class Transacted(Tried):
    """The other half."""

    name = "chaos.transacted"

    def perform(self, number: int, ms: int) -> None:
        with recorded(self, number) as claimed, self.transaction() as session:
            time.sleep(ms / 2000)
            facts = {"number": number, "id": claimed.id, "token": claimed.token}
            session.execute(EFFECT, facts)
            time.sleep(ms / 2000)
            # The end of the block is the end of the job, if it can be committed.
            ledger().write("finished", job=claimed.id, token=claimed.token)


class Flaky(Tried):
    """Fails once, and then succeeds."""

    name = "chaos.flaky"

    def perform(self, number: int, ms: int) -> None:
        with recorded(self, number) as claimed:
            time.sleep(ms / 1000)
            if claimed.attempts == 1:
                raise Trouble


class Hopeless(Tried):
    """Fails each time, until its attempts are used up."""

    name = "chaos.hopeless"
    max_attempts = HOPELESS_ATTEMPTS

    def perform(self, number: int, ms: int) -> None:
        with recorded(self, number):
            raise Trouble


class Poison(Tried):
    """Takes its process with it."""

    name = "chaos.poison"

    def perform(self, number: int, ms: int) -> None:
        with recorded(self, number):
            os.kill(os.getpid(), 9)
