"""A worker killed at every step of its turn, and what becomes of the job that it had."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import Claim, JobFilter, Outcome, Turn
from tests.conftest import PROJECT, plain_environment
from tests.process.crashing import POINTS, RECOVERIES
from tests.sample_jobs import Note, calls

PROGRAM = "from tests.process.crashing import main; main()"
SUPERVISED, LOST = RECOVERIES
# How often it was performed, the attempts and the crashes it has in the end. A supervisor charges
# what was being performed, and nothing else; a lost machine cannot say what that was.
EXPECTED = {
    "before claim": {SUPERVISED: (1, 1, 0), LOST: (1, 1, 0)},
    "claim, before COMMIT": {SUPERVISED: (1, 1, 0), LOST: (1, 1, 0)},
    "after claim": {SUPERVISED: (1, 1, 0), LOST: (1, 2, 0)},
    "before the slot is taken": {SUPERVISED: (1, 1, 0), LOST: (1, 2, 0)},
    "before perform": {SUPERVISED: (1, 2, 1), LOST: (1, 2, 0)},
    "during perform": {SUPERVISED: (2, 2, 1), LOST: (2, 2, 0)},
    "after perform": {SUPERVISED: (2, 2, 1), LOST: (2, 2, 0)},
    "after the slot is free": {SUPERVISED: (2, 1, 0), LOST: (2, 2, 0)},
    "before settle": {SUPERVISED: (2, 1, 0), LOST: (2, 2, 0)},
    "settle, before COMMIT": {SUPERVISED: (2, 1, 0), LOST: (2, 2, 0)},
    "after COMMIT": {SUPERVISED: (1, 1, 0), LOST: (1, 1, 0)},
}


def test_a_worker_killed_at_each_step(database_url: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, database_url, str(tmp_path)],
        cwd=PROJECT,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(POINTS) * len(RECOVERIES), run.stderr
    assert [as_it_should_be(facts) for facts in found] == found


def as_it_should_be(facts: dict[str, Any]) -> dict[str, Any]:
    """The job that was met by the crash, and the one behind it, which is never charged a crash."""
    performed, attempts, crashes = EXPECTED[facts["point"]][facts["recovery"]]
    ended = {"state": "succeeded", "attempts": attempts, "crashes": crashes}
    behind = {**facts["second"], "state": "succeeded", "crashes": 0, "performed": 1}
    behind["attempts"] = max(
        1, min(behind["attempts"], 1 if facts["recovery"] == SUPERVISED else 2)
    )
    return {
        **facts,
        "killed": True,
        "recovered": True,
        "first": {**ended, "performed": performed},
        "second": behind,
    }


class KeepNote(Note):
    keep_succeeded = True


# The same turn, when it is the connection that breaks and the worker lives on.


@pytest.mark.parametrize("breaks", ["before", "after"])
@pytest.mark.parametrize("step", ["claim", "settle"])
def test_a_connection_that_breaks_at_each_step(adapter: Adapter, step: str, breaks: str) -> None:
    """The worker asks again, and each job is performed once, in one attempt."""
    calls.clear()
    Job.config(adapter=adapter)
    made = [KeepNote.perform_later(str(n)) for n in range(3)]
    broken: list[str] = []
    turn = adapter.turn

    def breaking(outcomes: list[Outcome], claim: Claim | None, *meanwhile: Any) -> Turn:
        this = "settle" if outcomes else "claim"
        now = this == step and not broken
        if now:
            broken.append(this)
        if now and breaks == "before":
            raise DatabaseUnavailable("the connection broke")
        done = turn(outcomes, claim, *meanwhile)
        if now:
            raise DatabaseUnavailable("the answer was lost")
        return done

    adapter.turn = breaking  # type: ignore[method-assign,assignment]
    tally = JobQueue(adapter).work_off()
    assert broken == [step]
    assert calls == ["0", "1", "2"]
    assert (tally.succeeded, tally.rejected, tally.retried) == (3, 0, 0)
    rows = adapter.list_jobs(JobFilter(), 10)
    assert [row.id for row in rows] == [job.id for job in reversed(made)]
    assert {(row.attempts, row.crashes, row.state.value) for row in rows} == {(1, 0, "succeeded")}
