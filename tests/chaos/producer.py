"""Enqueues jobs, and writes down which of them were acknowledged: `python -m tests.chaos.producer`.

One by one, in bulk, and in transactions of its own, of which some are rolled back. Each job has a
number, so that one whose acknowledgement was lost is known again. A number is tried once.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import jobqueue
from jobqueue import begin_immediate
from jobqueue.errors import DatabaseError
from tests.chaos import app
from tests.chaos.journal import Journal
from tests.chaos.versions import current_name

PRODUCED = "produced.jsonl"
PAUSE_AFTER_ERROR_SECONDS = 0.1
QUEUES = ("default", "email", "paused")
LARGEST_BULK = 60
POISONS = 2
KINDS = {
    "plain": 0.44,
    "awaited": 0.04,
    "transacted": 0.48,
    "flaky": 0.03,
    "hopeless": 0.01,
}
CLASSES: dict[str, Any] = {
    "awaited": app.Awaited,
    "transacted": app.Transacted,
    "flaky": app.Flaky,
    "hopeless": app.Hopeless,
    "poison": app.Poison,
}


class Producer:
    """Enqueues so many jobs.

    Args:
        folder: of the run; the journal goes there.
        chance: what decides everything.
        longest_ms: how long a job takes at most, as a rule.
        least_seconds: over how long all of them are spread.
    """

    def __init__(
        self, folder: Path, chance: random.Random, longest_ms: int, least_seconds: float
    ) -> None:
        self._folder = folder
        self._chance = chance
        self._longest_ms = longest_ms
        self._least_seconds = least_seconds
        self._journal = Journal(folder / PRODUCED, synced=True)
        url = os.environ["JOBS_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url)
        self._engine = begin_immediate(engine) if engine.dialect.name == "sqlite" else engine
        self._number = 0

    def produce(self, jobs: int) -> None:
        """Go on until so many are acknowledged."""
        acknowledged = poisons = 0
        began = time.monotonic()
        while acknowledged < jobs:
            way = self._chance.choices((self._one, self._bulk, self._transaction), (6, 2, 2))[0]
            acknowledged += way()
            not_before = began + self._least_seconds * acknowledged / jobs
            time.sleep(max(0.0, not_before - time.monotonic()))
            if poisons < POISONS and acknowledged > jobs * (poisons + 1) / (POISONS + 1):
                poisons += 1
                acknowledged += self._store("one", ["poison"], self._each)

    def _one(self) -> int:
        return self._store("one", self._kinds(1), self._each)

    def _bulk(self) -> int:
        """Many of a class in one call."""
        kind = self._kinds(1)[0]
        number = self._chance.randint(2, LARGEST_BULK)
        return self._store("bulk", [kind] * number, self._all_at_once)

    def _transaction(self) -> int:
        """Jobs together with rows of an application."""
        gives_up = self._chance.random() < 0.25
        kinds = self._kinds(self._chance.randint(1, 5))
        if gives_up:
            return self._store("rolled back", kinds, self._rolled_back)
        return self._store("transaction", kinds, self._committed)

    def _kinds(self, number: int) -> list[str]:
        return self._chance.choices(list(KINDS), list(KINDS.values()), k=number)

    def _store(
        self,
        way: str,
        kinds: Sequence[str],
        store: Callable[[Sequence[tuple[str, int, int]], str], list[int]],
    ) -> int:
        """Try it, and write down what came of it; how many were acknowledged."""
        queue = self._chance.choice(QUEUES)
        jobs = [(kind, self._number + i, self._ms()) for i, kind in enumerate(kinds, 1)]
        self._number += len(jobs)
        tried = [[kind, number] for kind, number, _ in jobs]
        # Before, so that there is a word of each number whatever happens.
        self._journal.write("tried", way=way, jobs=tried)
        try:
            ids = store(jobs, queue)
        except (DatabaseError, DBAPIError) as error:
            self._journal.write("unknown", way=way, jobs=tried, error=str(error)[:200])
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return 0
        answered = [[number, job_id] for (_, number, _), job_id in zip(jobs, ids, strict=False)]
        self._journal.write("acknowledged", way=way, jobs=answered)
        return len(ids)

    def _ms(self) -> int:
        if self._chance.random() < 0.005:
            return self._chance.randint(300, 1500)
        return self._chance.randint(0, self._longest_ms)

    # --- ways of storing -------------------------------------------------------------------------

    def _each(
        self, jobs: Sequence[tuple[str, int, int]], queue: str, session: Session | None = None
    ) -> list[int]:
        ids = []
        for kind, number, ms in jobs:
            arguments = {"number": number, "ms": ms}
            if kind == "plain":
                # By whatever name the class has at the moment, which this process cannot import.
                name = current_name(self._folder)
                record = jobqueue.enqueue(
                    name, arguments, queue=queue, session=session, unchecked=True
                )
            else:
                record = CLASSES[kind].set(queue=queue, session=session).perform_later(**arguments)
            ids.append(record.id)
        return ids

    def _all_at_once(self, jobs: Sequence[tuple[str, int, int]], queue: str) -> list[int]:
        kind = jobs[0][0]
        if kind == "plain":
            return self._committed(jobs, queue)
        calls = [{"number": number, "ms": ms} for _, number, ms in jobs]
        return [r.id for r in CLASSES[kind].set(queue=queue).perform_all_later(calls)]

    def _committed(self, jobs: Sequence[tuple[str, int, int]], queue: str) -> list[int]:
        with Session(self._engine) as session, session.begin():
            return self._with_orders(session, jobs, queue)

    def _rolled_back(self, jobs: Sequence[tuple[str, int, int]], queue: str) -> list[int]:
        with Session(self._engine) as session:
            self._with_orders(session, jobs, queue)
            session.rollback()
        return []

    def _with_orders(
        self, session: Session, jobs: Sequence[tuple[str, int, int]], queue: str
    ) -> list[int]:
        for _, number, _ in jobs:
            session.execute(text("INSERT INTO chaos_orders VALUES (:number)"), {"number": number})
        return self._each(jobs, queue, session)


def main() -> None:
    """Enqueue as the command line says: a folder, a seed, how many, their length, over how long."""
    folder, seed, jobs, longest_ms, seconds = sys.argv[1:]
    chance = random.Random(f"{seed} producer")
    producer = Producer(Path(folder), chance, int(longest_ms), float(seconds))
    producer.produce(int(jobs))


if __name__ == "__main__":
    main()
