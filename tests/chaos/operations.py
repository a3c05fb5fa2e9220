"""What an operator does meanwhile: cancels jobs, retries them, pauses queues and resumes them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobqueue.adapters import connect
from jobqueue.errors import DatabaseError
from jobqueue.records import JobFilter, JobState
from tests.chaos.journal import Journal

OPERATIONS = "operations.jsonl"
REASON = "an operator of the chaos run cancelled it"
PAUSED = "paused"
PAUSE_SECONDS = 0.15


class Operator:
    """Works on a thread of its own until it is stopped.

    Args:
        folder: of the run; the journal goes there.
        seed: of all chance.
        url: of the database, as workers reach it.
        newest: the highest id of a job that is known.
    """

    def __init__(self, folder: Path, seed: str, url: str, newest: Callable[[], int]) -> None:
        self._journal = Journal(folder / OPERATIONS, synced=True)
        self._chance = random.Random(f"{seed} operator")
        self._adapter = connect(url)
        self._newest = newest
        self._is_paused = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with every queue resumed."""
        self._stopped.set()
        self._thread.join()
        while self._is_paused:
            self._toggle_pause()
        self._adapter.close()

    def _run(self) -> None:
        doings = (self._cancel, self._retry, self._toggle_pause)
        while not self._stopped.wait(PAUSE_SECONDS):
            self._chance.choices(doings, (5, 3, 2))[0]()

    def _cancel(self) -> None:
        """One of the newest, which wait; it may have begun, or be done."""
        newest = self._newest()
        job = self._chance.randint(max(1, newest - 500), newest) if newest else 0
        self._do("cancel", lambda: self._request_cancel(job), job=job)

    def _request_cancel(self, job: int) -> JobState | None:
        record = self._adapter.request_cancel(job, REASON)
        return None if record is None else record.state

    def _retry(self) -> None:
        """One that failed or was cancelled, and any other that may be doing anything."""
        newest = self._newest()
        ended = JobFilter(states=(JobState.FAILED, JobState.CANCELLED))
        try:
            found = [
                job for job in self._adapter.list_jobs(ended, 50) if "poison" not in job.handler
            ]
        except DatabaseError:
            return
        any_job = self._chance.randint(1, newest) if newest else 0
        job = self._chance.choice(found).id if found and self._chance.random() < 0.7 else any_job
        self._do("retry", lambda: self._adapter.retry(JobFilter(ids=(job,))), job=job)

    def _toggle_pause(self) -> None:
        if self._is_paused:
            if self._do("resume", lambda: self._adapter.resume_queues([PAUSED])):
                self._is_paused = False
        else:
            self._is_paused = True
            self._do("pause", lambda: self._adapter.pause_queues([PAUSED]))

    def _do(self, what: str, do: Callable[[], Any], **facts: Any) -> bool:
        """Do it and write down what was answered; whether anything was."""
        began = time.time()
        try:
            answer = do()
        except DatabaseError:
            self._journal.write(what, began=began, answer="unknown", **facts)
            return False
        shown = sorted(answer) if isinstance(answer, set) else answer
        self._journal.write(what, began=began, answer=shown, **facts)
        return True
