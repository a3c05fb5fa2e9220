"""The block `with self.transaction() as session:`, which commits a job's writes and completion.

The completion is the block's last statement, fenced as every settle is: where the job is no longer
held, everything that was written is rolled back. Whatever kills the process, at whatever moment,
either both are in the database, or neither is and the job is tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jobqueue import forks
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.roles.transactions import AsyncTransaction, CommitFailed, Transaction
from jobqueue.clock import reconnect_pauses
from jobqueue.errors import DatabaseError, DatabaseUnavailable, InvalidTransaction
from jobqueue.event_loop import loop_is_running
from jobqueue.records import Succeeded

if TYPE_CHECKING:
    import asyncio

    from jobqueue.adapters.roles.transactions import AsyncSession, Session

T = TypeVar("T")

LOOK_SECONDS = 0.1
LOOK_ASYNC_SECONDS = 0.01
COMMIT_TASK = "jobqueue-commit"
"""The name of the task that commits an async job's transaction, which must not be cancelled."""


class Completion(Protocol):
    """The attempt that a transaction completes."""

    def begin_transaction(self, block: TransactionBlock) -> None:
        """Note that a block begins.

        Raises:
            InvalidTransaction: this attempt cannot have one, or not another.
        """
        ...

    def success(self) -> Succeeded:
        """The outcome, if the block ends now.

        Raises:
            JobCancelled: it is cancelled, and has heeded that.
        """
        ...

    def uninterrupted(self) -> AbstractContextManager[None]:
        """A block in which the attempt is not interrupted. An interruption comes at its end."""
        ...

    def succeed(self, outcome: Succeeded) -> None:
        """Note that the transaction was committed, and this outcome with it."""
        ...

    def waits_for_database(self, outcome: Succeeded, error: BaseException) -> None:
        """Note that it cannot be known yet whether the transaction was committed."""
        ...


class WithoutClaim:
    """The completion for `perform_now`, where a transaction completes no job."""

    def begin_transaction(self, block: TransactionBlock) -> None:
        """Do nothing: any number of blocks may begin."""

    def success(self) -> None:
        """No outcome: there is no row to settle."""

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """A block without effect: nothing interrupts here."""
        yield

    def succeed(self, outcome: Succeeded | None) -> None:
        """Do nothing."""


class TransactionBlock:
    """The block of `self.transaction()`: `with` in a job, `async with` in an async one.

    Args:
        adapter: whose database it is.
        completion: the attempt that is complete when it commits.
        is_async: whether the job is.
        sessions: makes the session, instead of the adapter.
    """

    def __init__(
        self,
        adapter: Adapter,
        completion: Completion | WithoutClaim,
        is_async: bool,
        sessions: Callable[[], Any] | None,
    ) -> None:
        self.adapter = adapter
        self._completion: Any = completion
        self._is_async = is_async
        self._sessions = sessions
        self._transaction: Transaction | None = None
        self._async_transaction: AsyncTransaction | None = None
        self._outer: TransactionBlock | None = None
        self._thread_id = 0
        self._process_id = forks.pid

    @property
    def is_open(self) -> bool:
        """Whether the block has begun and not ended; False in a process that the job has forked."""
        return self._transaction is not None and not self._is_forked

    @property
    def _is_forked(self) -> bool:
        """Whether the job has forked this process, which the connection does not belong to."""
        return forks.pid != self._process_id

    @property
    def session(self) -> Any:
        """The session that the job writes in, while the block is open."""
        made = self._async_transaction or self._transaction
        return None if made is None else made.session

    @property
    def is_async(self) -> bool:
        """Whether the block has an async session."""
        return self._async_transaction is not None

    # --- in a job --------------------------------------------------------------------------------

    def __enter__(self) -> Session:
        if self._is_async and loop_is_running():
            raise InvalidTransaction(
                "in an async job it is `async with self.transaction()`: the event loop would stand "
                "still in this one; or have a thread do it, with asyncio.to_thread"
            )
        self._refuse_nesting()
        self._completion.begin_transaction(self)
        self._transaction = transaction = self.adapter.transaction(self._sessions)
        self._thread_id = threading.get_ident()
        try:
            while not transaction.take_turn(LOOK_SECONDS):
                pass
            transaction.begin()
        except BaseException:
            self.abandon()
            raise
        self._open_here()
        return transaction.session

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_forked:
            return
        try:
            outcome, failure = None, None
            if error is None:
                outcome, failure = self._commit()
        finally:
            self.abandon()
        if failure is not None:
            self._find_out(outcome, failure)

    def abandon(self) -> None:
        """Roll back what has not been committed."""
        transaction, self._transaction = self._transaction, None
        self._close_here()
        if transaction is not None:
            transaction.end()

    def abandon_if_left(self) -> None:
        """Roll back, if the job has ended without ending its block."""
        if not self._is_forked and self._thread_id == threading.get_ident():
            self.abandon()

    def _commit(self) -> tuple[Any, CommitFailed | None]:
        """Commit; return the outcome, and the failure if it is not known whether it took place."""
        assert self._transaction is not None, "the block is open"  # noqa: S101
        self._transaction.flush()
        outcome = self._completion.success()
        with self._completion.uninterrupted():
            try:
                self._transaction.commit(outcome)
            except CommitFailed as failure:
                return outcome, failure
            self._completion.succeed(outcome)
        return outcome, None

    def _find_out(self, outcome: Succeeded | None, failure: CommitFailed) -> None:
        """Raise the error of a commit, unless the commit took place in spite of it."""
        for pause in self._looks(outcome, failure):
            time.sleep(pause)
            with suppress(DatabaseUnavailable):
                self._judge(outcome, failure, self._was_committed(outcome, failure))
                return

    def _was_committed(self, outcome: Succeeded | None, failure: CommitFailed) -> bool:
        try:
            return outcome is not None and self.adapter.was_committed(outcome)
        except DatabaseUnavailable:
            raise
        except DatabaseError:
            raise _cause_of(failure) from None

    def _judge(self, outcome: Succeeded | None, failure: CommitFailed, was_committed: bool) -> None:
        if not was_committed:
            raise _cause_of(failure)
        self._completion.succeed(outcome)

    def _looks(self, outcome: Succeeded | None, failure: CommitFailed) -> Iterator[float]:
        """The pauses before each look at the row: as long as the database is away."""
        yield 0.0
        self._completion.waits_for_database(outcome, _cause_of(failure))
        yield from reconnect_pauses()

    # --- in an async job -------------------------------------------------------------------------

    async def __aenter__(self) -> AsyncSession:
        import asyncio

        self._refuse_nesting()
        self._completion.begin_transaction(self)
        self._async_transaction = made = self.adapter.transaction_async(self._sessions)
        self._transaction = made.inner
        try:
            while not made.inner.take_turn(0):  # noqa: ASYNC110 - threads take turns as well
                await asyncio.sleep(LOOK_ASYNC_SECONDS)
            await made.run(made.inner.begin)
        except BaseException:
            await self._abandon_async(made)
            raise
        self._open_here()
        return made.session

    async def __aexit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_forked:
            return
        made = self._async_transaction
        assert made is not None, "the block is open"  # noqa: S101
        outcome, failure = None, None
        try:
            if error is None:
                await made.run(made.inner.flush)
                outcome = self._completion.success()
                failure = await _to_its_end(self._commit_async(made, outcome))
        finally:
            await self._abandon_async(made)
        if failure is not None:
            await self._find_out_async(outcome, failure)

    async def _abandon_async(self, made: AsyncTransaction) -> None:
        self._async_transaction = self._transaction = None
        self._close_here()
        await _to_its_end(made.run(made.inner.end))

    async def _commit_async(
        self, made: AsyncTransaction, outcome: Succeeded | None
    ) -> CommitFailed | None:
        try:
            await made.run(made.inner.commit, outcome)
        except CommitFailed as failure:
            return failure
        self._completion.succeed(outcome)
        return None

    async def _find_out_async(self, outcome: Succeeded | None, failure: CommitFailed) -> None:
        import asyncio

        for pause in self._looks(outcome, failure):
            await asyncio.sleep(pause)
            with suppress(DatabaseUnavailable):
                answer = await asyncio.to_thread(self._was_committed, outcome, failure)
                self._judge(outcome, failure, answer)
                return

    # --- both ------------------------------------------------------------------------------------

    def _refuse_nesting(self) -> None:
        outer = _open.get()
        if outer is not None and outer.is_open and outer.adapter.is_same_database(self.adapter):
            raise InvalidTransaction(
                "self.transaction() within the block of another: they would not commit together; "
                "give what is called in there the session of the first"
            )

    def _open_here(self) -> None:
        self._outer = _open.get()
        _open.set(self)

    def _close_here(self) -> None:
        if _open.get() is self:
            _open.set(self._outer)


def joined_session(adapter: Adapter, *, is_awaited: bool = False) -> Any:
    """The session of the block around the caller, if jobs of an adapter can be part of it.

    Raises:
        InvalidTransaction: it is an async session, and the caller cannot await it.
    """
    block = _open.get()
    if block is None or not block.is_open or not block.adapter.is_same_database(adapter):
        return None
    if block.is_async and not is_awaited:
        raise InvalidTransaction(
            "within `async with self.transaction()` it is `await MyJob.perform_later_async(…)`: "
            "the job becomes part of the transaction, which has to be waited for"
        )
    return block.session


_open: ContextVar[TransactionBlock | None] = ContextVar("jobqueue_transaction", default=None)


def _cause_of(failure: CommitFailed) -> BaseException:
    return failure.__cause__ or failure


async def _to_its_end(work: Awaitable[T]) -> T:
    """Await `work` to its end. A cancellation takes effect after that."""
    import asyncio

    task = asyncio.create_task(_awaiting(work), name=COMMIT_TASK)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    return task.result()


async def _awaiting(work: Awaitable[T]) -> T:
    return await work
