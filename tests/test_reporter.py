"""What a turn has settled and what it rejected, for the log, the counts and the hooks alike."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from jobqueue import Hooks
from jobqueue.adapters import Adapter
from jobqueue.ends import usual_ends
from jobqueue.hooks import Observers
from jobqueue.records import ClaimedJob, Failed, Outcome, Retried, Succeeded, Turn
from jobqueue.testing.contract.base import a_claim, claim_one, enqueue_one
from jobqueue.worker.reporter import Reporter

LOG = logging.getLogger("jobqueue")


class Heard(Hooks):
    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def job_succeeded(self, job: Any, run_time: timedelta) -> None:
        self.heard.append(("succeeded", job.token))

    def job_failed(self, job: Any, error: str) -> None:
        self.heard.append(("failed", job.token))

    def job_retried(self, job: Any, error: str, delay: timedelta | None) -> None:
        self.heard.append(("retried", job.token))


def claimed_twice(adapter: Adapter) -> tuple[ClaimedJob, ClaimedJob]:
    """A job that a worker lost, and claimed again before its first attempt ended."""
    enqueue_one(adapter)
    first = claim_one(adapter)
    adapter.unregister_worker("worker-1")
    (second,) = adapter.claim(a_claim())
    assert second.id == first.id
    return first, second


@pytest.mark.parametrize("late", [Succeeded, Failed, Retried])
@pytest.mark.parametrize("good", [Succeeded, Failed, Retried])
@pytest.mark.parametrize("late_is_first", [True, False])
def test_of_two_attempts_of_one_job_in_a_turn_only_the_late_one_is_rejected(
    adapter: Adapter,
    late: type[Outcome],
    good: type[Outcome],
    late_is_first: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "jobqueue")
    first, second = claimed_twice(adapter)
    outcomes = [late(first), good(second)] if late_is_first else [good(second), late(first)]
    turn = adapter.turn(outcomes, None)
    assert turn == Turn((late(first),), ())
    counted: list[Outcome] = []
    hooks = Heard()
    reporter = Reporter(LOG, lambda _: LOG, usual_ends(), Observers([hooks]), counted.extend)
    reporter.report(outcomes, turn)
    name = good.__name__.lower()
    assert counted == [good(second)]
    assert hooks.heard == [(name, second.token)]
    assert (reporter.tally.rejected, reporter.tally.performed) == (1, 1)
    assert getattr(reporter.tally, name) == 1
    events = [record.__dict__["event"] for record in caplog.records]
    assert events == ["job_rejected", f"job_{name}"]
