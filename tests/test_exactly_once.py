"""`self.transaction()`: what a job writes is there together with its completion, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import jobqueue
import jobqueue.testing
from jobqueue import (
    ClaimLost,
    Discard,
    Job,
    JobQueue,
    JobState,
    Retry,
)
from jobqueue.adapters import Adapter
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.defaults import default_configuration
from jobqueue.records import Claim, JobFilter, WorkerRecord
from jobqueue.worker.reporter import Tally
from tests.conftest import DATABASES, build_adapter

WaitFor = Callable[[Callable[[], bool], str], None]


class Base(DeclarativeBase): ...


class Payment(Base):
    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(unique=True)


@pytest.fixture(params=DATABASES)
def adapter(request: pytest.FixtureRequest) -> Iterator[SqlAdapter]:
    made = build_adapter(request, request.param)
    assert isinstance(made, SqlAdapter)
    Job.config(adapter=made)
    Base.metadata.create_all(made.database.engine)
    yield made
    Base.metadata.drop_all(made.database.engine)
    made.close()
    default_configuration.reset()


def payments(adapter: SqlAdapter) -> list[int]:
    """The amounts that are committed."""
    query = text("SELECT amount FROM payments ORDER BY amount")
    return list(adapter.database.read(lambda c: c.execute(query).scalars().all()))


def work_off(adapter: Adapter, **settings: Any) -> Tally:
    return JobQueue(adapter, poll_interval=0.01, **settings).work_off()


class Pay(Job):
    """Writes a payment, and does something within its transaction and afterwards."""

    keep_succeeded = True
    within: ClassVar[Callable[[Pay, Session], object]] = staticmethod(lambda job, session: None)
    after: ClassVar[Callable[[Pay], None]] = staticmethod(lambda job: None)

    def perform(self, amount: int = 1) -> None:
        with self.transaction() as session:
            session.add(Payment(amount=amount))
            session.flush()
            type(self).within(self, session)
        type(self).after(self)


class PayAsync(Job):
    within: ClassVar[Callable[[PayAsync, Any], Any]]

    async def perform(self, amount: int = 1) -> None:
        async with self.transaction() as session:
            session.add(Payment(amount=amount))
            await session.flush()
            await type(self).within(self, session)


@pytest.fixture(autouse=True)
def nothing_within() -> Iterator[None]:
    yield
    Pay.within = staticmethod(lambda job, session: None)
    Pay.after = staticmethod(lambda job: None)
    PayAsync.within = staticmethod(nothing)


async def nothing(job: PayAsync, session: Any) -> None:
    """Within an async transaction."""


PayAsync.within = staticmethod(nothing)


# --- both, or neither ----------------------------------------------------------------------------


def test_what_it_writes_is_committed_with_its_completion(adapter: SqlAdapter) -> None:
    job = Pay.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [5]
    assert job.refresh().state is JobState.SUCCEEDED
    assert job.refresh().locked_by is None


def test_neither_is_there_before_the_end_of_the_block(adapter: SqlAdapter) -> None:
    seen: list[Any] = []
    Pay.within = staticmethod(
        lambda job, session: seen.append((payments(adapter), stored.refresh().state))
    )
    stored = Pay.perform_later(5)
    work_off(adapter)
    assert seen == [([], JobState.RUNNING)]


def test_both_are_there_after_the_block(adapter: SqlAdapter) -> None:
    seen: list[Any] = []
    Pay.after = staticmethod(lambda job: seen.append((payments(adapter), stored.refresh().state)))
    stored = Pay.perform_later(5)
    work_off(adapter)
    assert seen == [([5], JobState.SUCCEEDED)]


def test_a_row_that_is_not_kept_is_gone(adapter: SqlAdapter) -> None:
    class PayAndGo(Job):
        def perform(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=7))

    stored = PayAndGo.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [7]
    assert adapter.get(stored.id) is None


def test_an_error_within_rolls_back_and_is_the_job_s(adapter: SqlAdapter) -> None:
    Pay.within = staticmethod(failing(ValueError("no")))
    stored = Pay.perform_later(5)
    assert work_off(adapter) == Tally(retried=1)
    assert payments(adapter) == []
    assert "ValueError: no" in str(stored.refresh().last_error)
    Pay.within = staticmethod(lambda job, session: None)
    stored.retry()
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [5]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(Discard("no"), Tally(discarded=1)), (Retry(in_=60), Tally(retried=1))],
    ids=["discard", "retry"],
)
def test_discard_and_retry_within_roll_back(
    adapter: SqlAdapter, error: BaseException, expected: Tally
) -> None:
    Pay.within = staticmethod(failing(error))
    Pay.perform_later(5)
    assert work_off(adapter) == expected
    assert payments(adapter) == []


@pytest.mark.parametrize("error", [ValueError("late"), Retry(in_=1), Discard("late")], ids=repr)
def test_an_error_afterwards_is_logged_and_changes_nothing(
    adapter: SqlAdapter, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    Pay.after = staticmethod(failing_after(error))
    stored = Pay.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [5]
    assert (stored.refresh().state, stored.refresh().last_error) == (JobState.SUCCEEDED, None)
    (told,) = [r for r in caplog.records if r.__dict__["event"] == "raised_after_commit"]
    assert "changes nothing any more" in told.getMessage()
    assert "jobs_succeeded" not in caplog.text


def test_an_error_that_the_job_handles_leaves_it_to_go_on_without_the_transaction(
    adapter: SqlAdapter,
) -> None:
    class PayIfYouCan(Job):
        def perform(self) -> None:
            try:
                with self.transaction() as session:
                    session.add(Payment(amount=1))
                    session.flush()
                    session.add(Payment(amount=1))
            except IntegrityError:
                pass
            with self.transaction() as session:
                session.add(Payment(amount=2))

    PayIfYouCan.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [2]


def test_a_block_that_was_rolled_back_and_handled_completes_nothing(adapter: SqlAdapter) -> None:
    class NeverMind(Job):
        def perform(self) -> None:
            try:
                with self.transaction() as session:
                    session.add(Payment(amount=1))
                    raise KeyError
            except KeyError:
                seen.append(self.context.job_id is not None and still_running(self))

    def still_running(job: Job) -> bool:
        record = adapter.get(job.context.job_id or 0)
        return record is not None and record.state is JobState.RUNNING

    seen: list[bool] = []
    NeverMind.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert seen == [True]
    assert payments(adapter) == []
    assert adapter.count_jobs(JobFilter()) == 0


def failing(error: BaseException) -> Callable[[Any, Any], None]:
    def fail(job: Any, session: Any) -> None:
        raise error

    return fail


def failing_after(error: BaseException) -> Callable[[Any], None]:
    def fail(job: Any) -> None:
        raise error

    return fail


# --- the fence -----------------------------------------------------------------------------------


def lose_the_claim(adapter: Adapter) -> None:
    """As a rescue by another worker does, which then claims the job."""
    (job,) = adapter.running_jobs(10)
    # The worker beats once as it starts, perhaps just after it was seen, which keeps it from that.
    while not any(adapter.rescue(seen, "silent") for seen in seen_far_away(adapter, job.locked_by)):
        pass
    assert adapter.claim(Claim("another", 4711, 1, 1)) != []


def seen_far_away(adapter: Adapter, worker_id: str | None) -> list[WorkerRecord]:
    return [replace(seen, host="far away") for seen in adapter.workers() if seen.id == worker_id]


def on_another_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_job_that_is_lost_within_leaves_nothing(
    request: pytest.FixtureRequest, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On SQLite nobody can write meanwhile, and so nobody can take the job."""
    adapter = build_adapter(request, "postgresql")
    assert isinstance(adapter, SqlAdapter)
    Job.config(adapter=adapter)
    Base.metadata.create_all(adapter.database.engine)
    errors: list[BaseException] = []

    class PayTooLate(Job):
        def perform(self) -> None:
            try:
                with self.transaction() as session:
                    session.add(Payment(amount=1))
                    session.flush()
                    lose_the_claim(adapter)
            except ClaimLost as error:
                errors.append(error)
                raise

    stored = PayTooLate.perform_later()
    tally = work_off(adapter)
    assert tally == Tally(rejected=1)
    assert "no longer this worker's" in str(errors[0])
    assert payments(adapter) == []
    assert stored.refresh().locked_by == "another"
    Base.metadata.drop_all(adapter.database.engine)
    adapter.close()


def test_a_job_that_is_lost_before_leaves_nothing(adapter: SqlAdapter) -> None:
    class PayLater(Job):
        def perform(self) -> None:
            lose_the_claim(adapter)
            with self.transaction() as session:
                session.add(Payment(amount=1))

    PayLater.perform_later()
    assert work_off(adapter) == Tally(rejected=1)
    assert payments(adapter) == []


# --- what cannot be ------------------------------------------------------------------------------


def test_a_second_block_is_an_error(adapter: SqlAdapter, caplog: pytest.LogCaptureFixture) -> None:
    class Twice(Job):
        def perform(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=1))
            with self.transaction() as session:
                session.add(Payment(amount=2))

    Twice.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [1]
    assert "InvalidTransaction: a second self.transaction()" in caplog.text


def test_a_block_within_a_block_is_an_error(adapter: SqlAdapter) -> None:
    Pay.within = staticmethod(lambda job, session: job.transaction().__enter__())
    stored = Pay.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert payments(adapter) == []
    assert "within the block of another" in str(stored.refresh().last_error)


def test_perform_now_within_a_block_cannot_have_one_of_its_own(adapter: SqlAdapter) -> None:
    class Outer(Job):
        def perform(self) -> None:
            with self.transaction():
                Pay.perform_now(3)

    stored = Outer.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert "within the block of another" in str(stored.refresh().last_error)


def test_a_result_cannot_be_kept(adapter: SqlAdapter) -> None:
    class PayWithResult(Job):
        keep_result = True

        def perform(self) -> int:
            with self.transaction() as session:
                session.add(Payment(amount=1))
            return 1

    stored = PayWithResult.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert payments(adapter) == []
    assert "has keep_result" in str(stored.refresh().last_error)


@pytest.mark.parametrize(
    "commit",
    [
        lambda session: session.commit(),
        lambda session: session.get_transaction().commit(),
        lambda session: session.connection().commit(),
    ],
    ids=["session", "transaction", "connection"],
)
def test_it_cannot_be_committed_by_hand(
    adapter: SqlAdapter, commit: Callable[[Session], None]
) -> None:
    Pay.within = staticmethod(lambda job, session: commit(session))
    stored = Pay.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert payments(adapter) == []
    assert "commits by itself" in str(stored.refresh().last_error)


@pytest.mark.parametrize("close", [Session.close, Session.reset, Session.invalidate])
def test_it_cannot_be_closed_by_hand(adapter: SqlAdapter, close: Callable[[Session], None]) -> None:
    Pay.within = staticmethod(lambda job, session: close(session))
    stored = Pay.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert payments(adapter) == []
    assert "was closed within the block" in str(stored.refresh().last_error)


def test_what_is_rolled_back_by_hand_is_not_part_of_it(adapter: SqlAdapter) -> None:
    def think_again(job: Any, session: Session) -> None:
        session.rollback()
        session.add(Payment(amount=9))

    Pay.within = staticmethod(think_again)
    Pay.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [9]


def test_savepoints_are_the_job_s_own(adapter: SqlAdapter) -> None:
    def try_things(job: Any, session: Session) -> None:
        for _ in range(2):
            with suppress(IntegrityError), session.begin_nested():
                session.add(Payment(amount=6))

    Pay.within = staticmethod(try_things)
    Pay.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [5, 6]


def test_a_block_that_is_left_open_is_rolled_back(adapter: SqlAdapter) -> None:
    class LeftOpen(Job):
        def perform(self) -> None:
            self.transaction().__enter__().add(Payment(amount=1))

    LeftOpen.perform_all_later([(), ()])
    assert work_off(adapter) == Tally(succeeded=2)
    assert payments(adapter) == []


def test_memory_has_no_transactions() -> None:
    memory = jobqueue.MemoryAdapter()
    Job.config(adapter=memory)
    stored = Pay.perform_later()
    assert work_off(memory) == Tally(retried=1)
    assert "needs a database to write in" in str(stored.refresh().last_error)
    default_configuration.reset()


# --- what goes with it ---------------------------------------------------------------------------


def test_jobs_that_are_enqueued_within_are_part_of_it(adapter: SqlAdapter) -> None:
    Pay.within = staticmethod(lambda job, session: Note.perform_later("within"))
    Pay.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=2)
    Pay.within = staticmethod(enqueue_and_fail)
    stored = Pay.perform_later(6)
    assert work_off(adapter) == Tally(retried=1)
    assert adapter.list_jobs(JobFilter(handlers=(Note.name,)), 9) == []
    stored.delete()


class Note(Job):
    def perform(self, what: str) -> None:
        """Nothing but a row."""


def enqueue_and_fail(job: Any, session: Any) -> None:
    Note.perform_later("never")
    Note.perform_all_later([("never",)] * 3)
    jobqueue.enqueue(Note.name, {"what": "never"})
    jobqueue.enqueue("elsewhere", {"what": "never"}, unchecked=True)
    JobQueue(Job.adapter).enqueue(Note, "never")
    raise RuntimeError("and none of them is there")


def test_jobs_for_another_database_are_not(adapter: SqlAdapter) -> None:
    memory = jobqueue.MemoryAdapter()

    def elsewhere(job: Any, session: Any) -> None:
        JobQueue(memory).enqueue(Note, "there")
        raise RuntimeError

    Pay.within = staticmethod(elsewhere)
    Pay.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert memory.count_jobs(JobFilter()) == 1


def test_progress_within_waits_for_the_end(adapter: SqlAdapter) -> None:
    Pay.within = staticmethod(lambda job, session: job.progress(0.5, "half"))
    Pay.after = staticmethod(lambda job: job.progress(1.0))
    stored = Pay.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert stored.refresh().progress == {"fraction": 0.5, "message": "half"}


def test_after_success_comes_after_the_commit(adapter: SqlAdapter) -> None:
    seen: list[Any] = []

    class PayAndTell(Job):
        def perform(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=3))

        def after_success(self) -> None:
            seen.append(payments(adapter))

    PayAndTell.perform_later()
    work_off(adapter)
    assert seen == [[3]]


def test_perform_now_commits_the_block(adapter: SqlAdapter) -> None:
    Pay.perform_now(4)
    assert payments(adapter) == [4]
    Pay.within = staticmethod(failing(KeyError("no")))
    with pytest.raises(KeyError):
        Pay.perform_now(5)
    assert payments(adapter) == [4]


def test_what_was_loaded_can_be_used_after_the_block(adapter: SqlAdapter) -> None:
    seen: list[int] = []

    class PayAndSee(Job):
        def perform(self) -> None:
            with self.transaction() as session:
                payment = Payment(amount=8)
                session.add(payment)
            seen.append(payment.amount)

    PayAndSee.perform_later()
    work_off(adapter)
    assert seen == [8]


# --- cancelling, timing out, stopping ------------------------------------------------------------


def test_a_job_that_heeds_a_cancel_within_leaves_nothing(
    request: pytest.FixtureRequest, wait_for: WaitFor
) -> None:
    adapter = build_adapter(request, "postgresql")
    assert isinstance(adapter, SqlAdapter)
    Job.config(adapter=adapter)
    Base.metadata.create_all(adapter.database.engine)

    def cancel_and_heed(job: Any, session: Any) -> None:
        stored.cancel("not wanted")
        wait_for(lambda: bool(job.context.cancelled), "the cancel to be heard")

    Pay.within = staticmethod(cancel_and_heed)
    stored = Pay.perform_later()
    assert work_off(adapter) == Tally(discarded=1)
    assert payments(adapter) == []
    assert stored.refresh().state is JobState.CANCELLED
    assert stored.refresh().last_error == "not wanted"
    Base.metadata.drop_all(adapter.database.engine)
    adapter.close()


def test_a_cancel_that_is_not_heeded_does_not_undo_success(adapter: SqlAdapter) -> None:
    Pay.after = staticmethod(lambda job: None)

    class CancelledTooLate(Job):
        keep_succeeded = True

        def perform(self) -> None:
            adapter.request_cancel(self.context.job_id or 0, "too late")
            with self.transaction() as session:
                session.add(Payment(amount=1))

    stored = CancelledTooLate.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert stored.refresh().state is JobState.SUCCEEDED
    assert payments(adapter) == [1]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_job_that_runs_out_of_time_within_leaves_nothing(
    adapter: SqlAdapter, concurrency: int
) -> None:
    class PaySlowly(Job):
        max_runtime = 0.1
        max_attempts = 1

        def perform(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=1))
                session.flush()
                while True:
                    threading.Event().wait(0.01)

    stored = PaySlowly.perform_later()
    assert work_off(adapter, concurrency=concurrency) == Tally(failed=1)
    assert "JobTimeout" in str(stored.refresh().last_error)
    assert payments(adapter) == []
    Pay.perform_later(2)
    assert work_off(adapter) == Tally(succeeded=1)


# --- async jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_async_job_has_an_async_session(adapter: SqlAdapter, concurrency: int) -> None:
    PayAsync.perform_all_later([(n,) for n in range(5)])
    assert work_off(adapter, concurrency=concurrency) == Tally(succeeded=5)
    assert payments(adapter) == [0, 1, 2, 3, 4]
    assert adapter.count_jobs(JobFilter()) == 0


async def fail_async(job: Any, session: Any) -> None:
    raise ValueError("no")


def test_an_error_within_an_async_block_rolls_back(adapter: SqlAdapter) -> None:
    PayAsync.within = staticmethod(fail_async)
    stored = PayAsync.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert "ValueError: no" in str(stored.refresh().last_error)
    assert payments(adapter) == []


def test_jobs_enqueued_within_an_async_block_are_part_of_it(adapter: SqlAdapter) -> None:
    async def enqueue(job: Any, session: Any) -> None:
        await Note.perform_later_async("within")
        assert adapter.list_jobs(JobFilter(handlers=(Note.name,)), 9) == []

    PayAsync.within = staticmethod(enqueue)
    PayAsync.perform_later(5)
    assert work_off(adapter) == Tally(succeeded=2)


def test_enqueueing_within_an_async_block_has_to_be_awaited(adapter: SqlAdapter) -> None:
    async def enqueue(job: Any, session: Any) -> None:
        Note.perform_later("within")

    PayAsync.within = staticmethod(enqueue)
    stored = PayAsync.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert "perform_later_async" in str(stored.refresh().last_error)


def test_an_async_job_cannot_use_with(adapter: SqlAdapter) -> None:
    class WithoutAsync(Job):
        async def perform(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=1))

    stored = WithoutAsync.perform_later()
    assert work_off(adapter) == Tally(retried=1)
    assert "async with self.transaction()" in str(stored.refresh().last_error)


def test_an_async_job_can_have_a_thread_write(adapter: SqlAdapter) -> None:
    class PayOnThread(Job):
        async def perform(self) -> None:
            await asyncio.to_thread(self.pay)

        def pay(self) -> None:
            with self.transaction() as session:
                session.add(Payment(amount=1))

    PayOnThread.perform_later()
    assert work_off(adapter) == Tally(succeeded=1)
    assert payments(adapter) == [1]


# --- in the tests of applications ----------------------------------------------------------------


def test_within_an_inbox_it_writes_to_the_configured_database(adapter: SqlAdapter) -> None:
    with jobqueue.testing.inbox() as inbox:
        Pay.within = staticmethod(lambda job, session: Note.perform_later("within"))
        Pay.perform_later(5)
        PayAsync.perform_later(6)
        inbox.perform_all()
        inbox.assert_enqueued(Note, "within")
        Pay.within = staticmethod(failing(KeyError("no")))
        Pay.perform_later(7)
        with pytest.raises(KeyError):
            inbox.perform_all()
    assert payments(adapter) == [5, 6]
    assert adapter.count_jobs(JobFilter()) == 0
