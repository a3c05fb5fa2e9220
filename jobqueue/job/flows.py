"""Batches, chains and flows: jobs that are stored together, and of which some wait for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from jobqueue.adapters.base import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.enqueue import store_flow, without_blocking
from jobqueue.errors import InvalidArguments
from jobqueue.job.steps import Step
from jobqueue.records import FlowKind, NewFlow, NewStep
from jobqueue.stored import StoredJob

T = TypeVar("T")
BLOCK_RAISED = "the block that filled its batch raised an error"


@dataclass(frozen=True, slots=True)
class StartedFlow:
    """A flow that is stored.

    Args:
        id: its number, by which `jobs flows` shows it.
        jobs: its jobs, in the order in which they were given.
    """

    id: int
    jobs: Sequence[StoredJob]


# --- batches -------------------------------------------------------------------------------------


class Batch:
    """Jobs that are followed by another one when all of them have ended.

        with Batch(on_success=Report.step(7)) as batch:
            Resize.set(batch=batch).perform_all_later(calls)

    Each of the two jobs that follow is enqueued once, whoever crashes. Jobs of a batch can add
    others, by `.set(batch=self.batch)`. If the block raises, its jobs are cancelled; within a
    session they are rolled back with it.

    Args:
        on_success: what follows when all jobs have succeeded, perhaps after a retry.
        on_finish: what follows when all jobs have ended, however they have.
        name: for people.
        session: the transaction of the application that the batch and its jobs are part of.
        adapter: where it is kept; by default where the jobs that follow are.
    """

    def __init__(
        self,
        *,
        on_success: Step | None = None,
        on_finish: Step | None = None,
        name: str | None = None,
        session: Any = None,
        adapter: Adapter | None = None,
    ) -> None:
        self._new = NewFlow(
            FlowKind.BATCH,
            checked_name(name),
            None if on_success is None else checked_step("on_success", on_success).new_job,
            None if on_finish is None else checked_step("on_finish", on_finish).new_job,
            is_open=True,
        )
        self._store = _Storing.of([each for each in (on_success, on_finish) if each], adapter)
        self._id: int | None = None
        self._is_over = False
        self.session = session

    @property
    def id(self) -> int:
        """Its number, by which `jobs flows` shows it.

        Raises:
            InvalidArguments: its block has not begun.
        """
        if self._id is None:
            raise InvalidArguments("a batch is filled within its block: `with Batch() as batch:`")
        return self._id

    @property
    def flow_id(self) -> int:
        """The same, for jobs that are added.

        Raises:
            InvalidArguments: its block has not begun, or is over.
        """
        if self._is_over:
            raise InvalidArguments(
                f"batch {self._id} is filled: nothing can be added after its block. One of its "
                "jobs can, by .set(batch=self.batch)"
            )
        return self.id

    def __enter__(self) -> Self:
        self._id = self._store.start(self._new, (), self.session).id
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(error is not None, self.session)

    async def __aenter__(self) -> Self:
        started = await without_blocking(
            self.session, lambda usable: self._store.start(self._new, (), usable)
        )
        self._id = started.id
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await without_blocking(self.session, lambda usable: self._end(error is not None, usable))

    def _end(self, has_failed: bool, session: Any) -> None:
        self._is_over = True
        if not has_failed:
            self._store.adapter.close_flow(self.id, session=session)
        elif session is None:
            self._store.adapter.cancel_flow(self.id, BLOCK_RAISED)


@dataclass(frozen=True, slots=True)
class OngoingBatch:
    """The batch, or the flow, of a job that is being performed, to add jobs to it.

    Args:
        flow_id: its number.
    """

    flow_id: int

    @property
    def session(self) -> None:
        """None: what is added is stored at once."""
        return


# --- chains and flows ----------------------------------------------------------------------------


class Chain:
    """Jobs of which each starts when the one before it has succeeded.

        Chain(Extract.step(1), Load.step()).start(session=session)

    Args:
        *steps: the jobs, in their order.
        name: for people.
    """

    def __init__(self, *steps: Step, name: str | None = None) -> None:
        if not steps:
            raise InvalidArguments("a chain has at least one step: Chain(First.step(), …)")
        self._steps = [checked_step("Chain()", step) for step in steps]
        self._new = NewFlow(FlowKind.CHAIN, checked_name(name))

    def start(self, *, session: Any = None, adapter: Adapter | None = None) -> StartedFlow:
        """Store its jobs, all or none.

        Args:
            session: the transaction of the application that they are part of.
            adapter: where they are kept; by default where the first job is.
        """
        new_steps = [
            NewStep(step.new_job, (place - 1,) if place else ())
            for place, step in enumerate(self._steps)
        ]
        return _Storing.of(self._steps, adapter).start(self._new, new_steps, session)

    async def start_async(
        self, *, session: Any = None, adapter: Adapter | None = None
    ) -> StartedFlow:
        """Store them like `start`, without blocking the event loop."""
        return await without_blocking(
            session, lambda usable: self.start(session=usable, adapter=adapter)
        )


@dataclass(frozen=True, slots=True, eq=False)
class FlowStep:
    """A step of a flow that is being made: what later ones can wait for.

    Args:
        flow: the flow.
        place: its place there, from 0.
    """

    flow: Flow
    place: int


class Flow:
    """Jobs of which each waits for some others.

        flow = Flow()
        extract = flow.add(Extract.step(1))
        flow.add(Load.step(), after=[extract])
        flow.start(session=session)

    Args:
        name: for people.
    """

    def __init__(self, name: str | None = None) -> None:
        self._new = NewFlow(FlowKind.FLOW, checked_name(name))
        self._steps: list[Step] = []
        self._new_steps: list[NewStep] = []

    def add(
        self,
        step: Step,
        *,
        after: Sequence[FlowStep] = (),
        on_failed: Literal["cancel", "run"] = "cancel",
    ) -> FlowStep:
        """Add a job.

        Args:
            step: the job, as `MyJob.step(…)` makes it.
            after: the steps that it waits for; it starts when all of them have succeeded.
            on_failed: "cancel" cancels it when one of these fails, is cancelled or is deleted;
                "run" has it start when all of them have ended, however they have.

        Raises:
            InvalidArguments: it cannot wait for these.
        """
        checked_step("flow.add()", step)
        if on_failed not in {"cancel", "run"}:
            raise InvalidArguments(f'on_failed is {on_failed!r}; expected "cancel" or "run"')
        wanted: Sequence[Any] = after
        for before in wanted:
            if not isinstance(before, FlowStep) or before.flow is not self:
                raise InvalidArguments(
                    f"after has {before!r}; expected what add() of the same flow has returned"
                )
        places = tuple(before.place for before in after)
        self._new_steps.append(NewStep(step.new_job, places, runs_anyway=on_failed == "run"))
        self._steps.append(step)
        return FlowStep(self, len(self._steps) - 1)

    def start(self, *, session: Any = None, adapter: Adapter | None = None) -> StartedFlow:
        """Store its jobs, all or none.

        Args:
            session: the transaction of the application that they are part of.
            adapter: where they are kept; by default where the first job is.

        Raises:
            InvalidArguments: it has no jobs.
        """
        if not self._steps:
            raise InvalidArguments("the flow has no steps; add some: flow.add(First.step())")
        return _Storing.of(self._steps, adapter).start(self._new, self._new_steps, session)

    async def start_async(
        self, *, session: Any = None, adapter: Adapter | None = None
    ) -> StartedFlow:
        """Store them like `start`, without blocking the event loop."""
        return await without_blocking(
            session, lambda usable: self.start(session=usable, adapter=adapter)
        )


def start_map(
    steps: Sequence[Step],
    then: Step | None,
    name: str | None,
    session: Any,
    adapter: Adapter,
) -> StartedFlow:
    """Store the jobs of many calls, and one that follows when all of them have succeeded."""
    follows = None if then is None else checked_step("then", then).new_job
    new = NewFlow(FlowKind.MAP, checked_name(name), on_success=follows)
    storing = _Storing.of([*steps[:1], *([] if then is None else [then])], adapter)
    return storing.start(new, [NewStep(step.new_job) for step in steps], session)


# --- storing them --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Storing:
    """Where a flow is stored, and who logs it."""

    adapter: Adapter
    logger: Any

    @classmethod
    def of(cls, steps: Sequence[Step], adapter: Adapter | None) -> _Storing:
        """Where the first of some jobs is kept, unless an adapter is given."""
        job = steps[0].job if steps else None
        kept_by = default_configuration.adapter if job is None else job.adapter
        logger = default_configuration.logger if job is None else job.logger
        return cls(adapter or kept_by, logger)

    def start(self, new: NewFlow, steps: Sequence[NewStep], session: Any) -> StartedFlow:
        flow_id, jobs = store_flow(
            new,
            steps,
            self.adapter,
            session=session,
            observers=default_configuration.observers,
            logger=self.logger,
        )
        return StartedFlow(flow_id, jobs)


def checked_step(where: str, step: Any) -> Step:
    """A step; raises `InvalidArguments` for anything else."""
    if not isinstance(step, Step):
        raise InvalidArguments(f"{where} has {step!r}; expected a step, as MyJob.step(…) makes it")
    return step


def checked_name(name: Any) -> str | None:
    """A name for people; raises `InvalidArguments` when it cannot be one."""
    if name is None or (isinstance(name, str) and 0 < len(name) <= 255 and name.isprintable()):
        return name
    raise InvalidArguments(f"name={name!r}; expected a text of 1 to 255 characters")
