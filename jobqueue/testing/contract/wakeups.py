"""Wake-ups: listeners, and the time until the next job is due."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter, Listener
from jobqueue.clock import ManualClock
from jobqueue.records import Wakeup
from jobqueue.testing.contract.base import (
    ContractBase,
    claim_new,
    enqueue_one,
    new_job,
)

HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 10.0


class WakeupsContract(ContractBase):
    """Tests `listen` and `due_in`."""

    @pytest.fixture
    def listener(self, adapter: Adapter) -> Iterator[Listener]:
        """A listener of the adapter."""
        listening = adapter.listen()
        yield listening
        listening.close()

    # --- listen ----------------------------------------------------------------------------------

    def test_a_new_job_is_heard_of(self, adapter: Adapter, listener: Listener) -> None:
        job = enqueue_one(adapter, new_job(queue="email", priority=7))
        heard = listener.wait(PATIENCE_SECONDS)
        assert heard is not None
        assert heard.concerns(("email",))
        assert heard.lowest in {None, (7, job.run_at, job.id)}

    def test_a_batch_is_heard_of(self, adapter: Adapter, listener: Listener) -> None:
        jobs = [new_job(queue=queue, priority=p) for queue, p in (("a", 9), ("b", 3), ("c", 5))]
        records = adapter.enqueue(jobs)
        heard = listener.wait(PATIENCE_SECONDS)
        assert heard is not None
        assert all(heard.concerns((queue,)) for queue in "abc")
        assert heard.lowest in {None, (3, records[1].run_at, records[1].id)}

    def test_every_listener_hears(self, adapter: Adapter, listener: Listener) -> None:
        other = adapter.listen()
        enqueue_one(adapter)
        assert other.wait(PATIENCE_SECONDS) is not None
        assert listener.wait(PATIENCE_SECONDS) is not None
        other.close()

    def test_a_wait_in_vain_ends(self, listener: Listener) -> None:
        assert listener.wait(0.01) is None
        assert listener.wait(0) is None

    def test_closing_ends_a_wait(self, listener: Listener) -> None:
        heard: list[Wakeup | None] = []
        waiting = threading.Thread(target=lambda: heard.append(listener.wait(PATIENCE_SECONDS)))
        waiting.start()
        listener.close()
        waiting.join(PATIENCE_SECONDS / 2)
        assert heard == [None]
        listener.close()

    def test_it_is_verified_that_wakeups_arrive(self, adapter: Adapter, listener: Listener) -> None:
        heard: list[Wakeup | None] = []
        waiting = threading.Thread(target=lambda: heard.append(listener.wait(PATIENCE_SECONDS)))
        waiting.start()
        listener.verify()
        assert listener.silent_seconds() < PATIENCE_SECONDS
        assert waiting.is_alive(), "it is no wake-up"
        enqueue_one(adapter)
        waiting.join(PATIENCE_SECONDS)
        assert heard[0] is not None

    # --- due_in ----------------------------------------------------------------------------------

    def test_nothing_is_due_where_nothing_is_ready(self, adapter: Adapter) -> None:
        assert adapter.due_in() is None
        claim_new(adapter)
        assert adapter.due_in() is None

    def test_the_first_job_to_come_due(self, adapter: Adapter, clock: ManualClock) -> None:
        enqueue_one(adapter, new_job(priority=1, delay=2 * HOUR))
        enqueue_one(adapter, new_job(priority=99, queue="other", delay=HOUR))
        enqueue_one(adapter, new_job(priority=50, delay=3 * HOUR))
        assert adapter.due_in() == HOUR
        clock.advance(HOUR)
        assert adapter.due_in() == timedelta(0)
        clock.advance(HOUR)
        assert adapter.due_in() == -HOUR
