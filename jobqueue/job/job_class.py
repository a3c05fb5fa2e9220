"""The base class of every job."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Never, Self, cast

from jobqueue.adapters.base import Adapter
from jobqueue.arguments import Parameters
from jobqueue.cron import Schedule, schedules_of_job
from jobqueue.defaults import DefaultAdapter, DefaultLogger, default_configuration
from jobqueue.enqueue import (
    CallArguments,
    EnqueueOptions,
    NewJobs,
    checked_queue,
    split_call,
    store,
    without_blocking,
)
from jobqueue.errors import ConfigurationError, InvalidArguments, StateConflict
from jobqueue.event_loop import loop_is_running
from jobqueue.flow_control import (
    CONTROL_NAMES,
    Controls,
    Debounce,
    Fair,
    Limit,
    Ordered,
    Rate,
    Unique,
)
from jobqueue.hook_calls import HookMethods, attempt_hooks
from jobqueue.hooks import Observers
from jobqueue.job.context import JobContext, OngoingAttempt
from jobqueue.job.controls import (
    ControlledCalls,
    declared_limits,
    faults_of,
)
from jobqueue.job.definition import check_definition, options_of, refuse_main
from jobqueue.job.descriptors import (
    MakeStep,
    MapCalls,
    PerformAllLater,
    PerformAllLaterAsync,
    PerformLater,
    PerformLaterAsync,
    PerformNow,
    Performs,
    R,
    SetOptions,
)
from jobqueue.job.flows import OngoingBatch, StartedFlow, start_map
from jobqueue.job.results import result_reader
from jobqueue.job.steps import Step
from jobqueue.json_text import progress_text
from jobqueue.meta import meta_in
from jobqueue.records import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    NO_DELAY,
    DeclaredLimit,
    JobState,
    NewJob,
    StepRecord,
    member_of,
)
from jobqueue.registry import registry
from jobqueue.retention import KeepRule
from jobqueue.retry import DEFAULT_RETRY, RetryPolicy
from jobqueue.spelling import why_not_given
from jobqueue.stored import StoredJob
from jobqueue.transactions import TransactionBlock, WithoutClaim, joined_session


class Job(HookMethods):
    """The base of every job. A subclass has a `perform`, with `def` or `async def`.

    Subclassing registers the class, as `module.QualName` unless it sets `name`. A subclass without
    `perform` is a base for others. An instance is made for every attempt, without arguments.
    """

    name: ClassVar[str]
    """The name that rows carry: unique, and kept for as long as there are rows of it."""
    aliases: ClassVar[Sequence[str]] = ()
    """Names that the class had before: rows that carry them are still performed."""
    queue: ClassVar[str] = DEFAULT_QUEUE
    """The queue that its jobs go to."""
    priority: ClassVar[int] = DEFAULT_PRIORITY
    """Lower is performed first."""
    max_attempts: ClassVar[int | None] = None
    """How often it is attempted; None: as `retry` or the setting `max_attempts` says."""
    max_runtime: ClassVar[timedelta | float | None] = None
    """How long an attempt may take, as a `timedelta` or seconds; None: as the setting says.

    Then `JobTimeout` is raised in it. One that does not end `kill_after` later is killed with its
    process, where there is a supervisor to do that.
    """
    retry: ClassVar[RetryPolicy] = DEFAULT_RETRY
    """When a failed attempt is followed by another: see `jobqueue.retry`."""
    keep_succeeded: ClassVar[KeepRule | None] = None
    """Which rows of succeeded jobs stay: True, False, a count, a `timedelta`, or a `Keep` with
    both; None: as the setting says."""
    keep_failed: ClassVar[KeepRule | None] = None
    """Which rows of failed, and of cancelled jobs stay, likewise; None: as the setting says."""
    keep_result: ClassVar[bool] = False
    """Whether what `perform` returns is stored, as JSON, for `.wait()` and `.result`.

    Its succeeded rows stay for an hour then, unless `keep_succeeded` says for how long.
    """
    interrupt_on_cancel: ClassVar[bool] = False
    """Whether `JobCancelled` is raised in a sync job that is cancelled while it runs."""
    schedule: ClassVar[Schedule | Sequence[Schedule] | None] = None
    """When it is enqueued by itself: a `Cron` or an `Every`, or several, told apart by `name`."""
    limits: ClassVar[Sequence[Limit | Rate]] = ()
    """How many of its jobs may run at once, or start within a period, on all workers together."""
    unique: ClassVar[Unique | None] = None
    """Which calls mean a job that is there already, and store nothing."""
    expires_in: ClassVar[timedelta | float | None] = None
    """How long after a job is due it may still start, as a `timedelta` or seconds; None for ever.
    After that it is cancelled."""
    ordered: ClassVar[Ordered | None] = None
    """Whether its jobs are performed one at a time, in the order in which they were enqueued."""
    fair: ClassVar[Fair | None] = None
    """Whether its jobs take turns by a key, so that nobody waits behind a million jobs of one."""
    debounce: ClassVar[Debounce | None] = None
    """Whether calls that follow each other quickly become one job."""
    redact: ClassVar[Sequence[str]] = ()
    """Parameters whose values are shown as `***` in lists, logs and errors."""
    api: ClassVar[bool] = False
    """Whether it may be enqueued from outside, over HTTP; its succeeded rows stay for an hour then,
    unless `keep_succeeded` or the setting keeps any."""
    adapter: ClassVar[Adapter] = cast("Adapter", DefaultAdapter())
    """Where its jobs are kept; the default one unless a class sets its own."""
    logger: ClassVar[logging.Logger] = cast("logging.Logger", DefaultLogger())
    """Where its events are logged, and `self.logger` in `perform`."""

    perform_later = PerformLater()
    perform_now = PerformNow()
    perform_all_later = PerformAllLater()
    perform_later_async = PerformLaterAsync()
    perform_all_later_async = PerformAllLaterAsync()
    set = SetOptions()
    step = MakeStep()
    map = MapCalls()

    _options: EnqueueOptions = EnqueueOptions()
    _parameters: ClassVar[Parameters]
    _controlled_calls: ClassVar[ControlledCalls | None]
    _attempt: OngoingAttempt | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(cls, "perform", None) is None or cls.__dict__.get("_abstract", False):
            return
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}.{cls.__qualname__}"
        if "aliases" not in cls.__dict__:
            cls.aliases = ()
        check_definition(cls, Job)
        registry.add(cls)

    @classmethod
    def config(
        cls,
        *,
        adapter: Adapter | None = None,
        logger: logging.Logger | None = None,
        **unknown: Never,
    ) -> None:
        """Set the adapter or the logger of every job that does not bring its own.

        Raises:
            ConfigurationError: it is given anything else.
        """
        why_not = why_not_given("Job.config()", unknown, ("adapter", "logger"))
        if why_not:
            raise ConfigurationError(why_not)
        default_configuration.configure(adapter=adapter, logger=logger)

    @functools.cached_property
    def context(self) -> JobContext:
        """The facts about this attempt. It is there while `perform` runs."""
        attempt = self._attempt
        assert attempt is not None, "context is there while perform runs"  # noqa: S101
        claimed = attempt.claimed
        return JobContext(
            job_id=claimed.id,
            attempt=claimed.attempts,
            max_attempts=claimed.max_attempts,
            queue=claimed.queue,
            enqueued_at=claimed.created_at,
            meta=meta_in(claimed.meta),
            _attempt=attempt,
        )

    @functools.cached_property
    def steps_before(self) -> Sequence[StepRecord]:
        """The jobs of its flow that this one has waited for, in their order.

        For a job that follows a batch or `map`, these are all jobs of it.
        """
        attempt = self._attempt
        if attempt is None or attempt.claimed.flow_id is None:
            return ()
        return self.adapter_of_attempt().steps_before(attempt.claimed.id)

    @property
    def results(self) -> list[Any]:
        """The results of the jobs that this one has waited for, in their order, as JSON has them.

        It is None for one that has not succeeded, or has returned nothing that JSON can carry.
        """
        return [step.result for step in self.steps_before]

    def results_of(self, job_class: type[Performs[..., R]]) -> list[R]:
        """The results of the jobs of a class that this one has waited for, by its annotation.

        Those that have not succeeded are left out.

        Raises:
            InvalidArguments: what is stored does not fit the annotation of what `perform` returns.
        """
        wanted = cast("type[Job]", job_class)
        names = {wanted.name, *wanted.aliases}
        read = result_reader(wanted.performing_function()[0], wanted.name)
        return [
            read(step.result)
            for step in self.steps_before
            if step.handler in names and step.state is JobState.SUCCEEDED
        ]

    @property
    def batch(self) -> OngoingBatch:
        """The batch, or the flow, that this job belongs to: `.set(batch=self.batch)` adds to it.

        Raises:
            StateConflict: it belongs to none.
        """
        attempt = self._attempt
        if attempt is None or attempt.claimed.flow_id is None:
            raise StateConflict(f"{self.name}: this job belongs to no batch and no flow")
        return OngoingBatch(attempt.claimed.flow_id)

    def adapter_of_attempt(self) -> Adapter:
        """The adapter that the job was claimed from."""
        attempt = self._attempt
        own = None if attempt is None else attempt.adapter
        return self.adapter if own is None else own

    def progress(self, value: Any, message: str | None = None) -> None:
        """Say how far this attempt is, for everybody to see.

        It is stored once a second at most, in the background; the last one always is, and stays
        when the job has ended, as long as its row does. In `perform_now` it is only checked.

        Args:
            value: any JSON value, such as "started", or a fraction from 0 to 1.
            message: what is going on; it and the value are stored as an object then,
                `{"fraction": 0.4, "message": "resizing"}`.

        Raises:
            InvalidArguments: JSON cannot carry them.
        """
        text = progress_text(value, message)
        if self._attempt is not None:
            self._attempt.report(text)

    def transaction(self, sessions: Callable[[], Any] | None = None) -> TransactionBlock:
        """A transaction of the jobs' own database, with the job's completion as its last part.

            with self.transaction() as session:
                session.execute(…)

        At the end of the block, what was written through the session and the completion of this
        job are committed together; an exception in the block rolls both back, and is the job's as
        any other. So whatever happens to the process, it is written exactly once. An error after
        the block is logged, and the job is not tried again. `perform_later` within the block is
        part of it as well. In an async job it is `async with`, and an `AsyncSession`. In
        `perform_now` the block commits what was written, and there is nothing to complete.

        Args:
            sessions: a `sessionmaker` (or an `async_sessionmaker`) of the application to have the
                session from, bound to the same database. By default a plain `Session` is made,
                with `expire_on_commit=False`, on a connection of jobqueue's own.

        Raises:
            ClaimLost: at the end of the block: the job is no longer this worker's, and everything
                was rolled back.
            InvalidTransaction: the job has completed itself so before, or has `keep_result`, or
                commits or closes the session itself.
            ConfigurationError: the jobs are in no database, or what is needed is not installed.
            DatabaseUnavailable: the transaction cannot begin, or cannot be committed.
        """
        if self._attempt is not None:
            return self._attempt.transaction(sessions)
        is_async = inspect.iscoroutinefunction(type(self).perform)  # type: ignore[attr-defined]
        return TransactionBlock(self.adapter, WithoutClaim(), is_async, sessions)

    def attempt_at(self, attempt: OngoingAttempt) -> None:
        """Become the attempt at a claimed job."""
        self._attempt = attempt

    # --- called by the descriptors ---------------------------------------------------------------

    def with_options(self, **options: Any) -> Self:
        """A copy of this job to be enqueued with the given options; `.set()` by another name."""
        job = copy.copy(self)
        job._options = self._options.merged(**options)  # noqa: SLF001 - a copy of this very object
        return job

    def enqueue_call(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        adapter: Adapter | None = None,
        observers: Observers | None = None,
    ) -> StoredJob:
        """Store a job, and return its record.

        Raises:
            InvalidArguments: they do not fit `perform`; nothing is stored.
        """
        refuse_main(type(self))
        new_job = self._new_job()(self.parameters().dump(args, kwargs))
        return self._enqueue([new_job], adapter, observers)[0]

    def enqueue_calls(
        self, calls: Sequence[CallArguments], adapter: Adapter | None = None
    ) -> Sequence[StoredJob]:
        """Store a job for each call, in one statement, and return their records.

        Raises:
            InvalidArguments: some do not fit `perform`; nothing is stored.
        """
        refuse_main(type(self))
        if not calls:
            return []
        new_jobs = NewJobs(calls, self.parameters().dump, self._new_job())
        return self._enqueue(new_jobs, adapter)

    async def enqueue_call_async(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> StoredJob:
        """Store a job like `enqueue_call`, without blocking the event loop."""
        return (await self._without_blocking(lambda job: [job.enqueue_call(args, kwargs)]))[0]

    async def enqueue_calls_async(self, calls: Sequence[CallArguments]) -> Sequence[StoredJob]:
        """Store jobs like `enqueue_calls`, without blocking the event loop."""
        return await self._without_blocking(lambda job: job.enqueue_calls(calls))

    async def _without_blocking(
        self, enqueue: Callable[[Job], Sequence[StoredJob]]
    ) -> Sequence[StoredJob]:
        session = self._options.own_session or joined_session(self.adapter, is_awaited=True)
        return await without_blocking(
            session,
            lambda usable: enqueue(self if usable is None else self.with_options(session=usable)),
        )

    def step_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Step:
        """A call of this job, as a step of a flow.

        Raises:
            InvalidArguments: they do not fit `perform`, or a job with these options can be no step.
        """
        refuse_main(type(self))
        if self._options.session is not None or self._options.batch is not None:
            raise InvalidArguments(
                f"{self.name}: a step is stored with its flow; leave session and batch out of "
                ".set(), and give the session to start()"
            )
        new_job = self._new_job()(self.parameters().dump(args, kwargs))
        control = new_job.flow_control
        if control is not None and control.debounced is not None:
            raise InvalidArguments(
                f"{self.name}: a job with debounce cannot be a step of a flow: later calls would "
                "change it"
            )
        return Step(self, new_job)

    def map_calls(
        self,
        calls: Sequence[CallArguments],
        then: Step | None = None,
        name: str | None = None,
        session: Any = None,
    ) -> StartedFlow:
        """Store a job for each call, and one that follows them; see `Job.map`."""
        steps = [self.step_of(*split_call(call)) for call in calls]
        return start_map(steps, then, name, session or self._options.session, self.adapter)

    def enqueue_mapping(self, args: Mapping[str, Any], adapter: Adapter | None = None) -> StoredJob:
        """Store a job whose arguments come by name, as Python values or as JSON ones."""
        return self._enqueue([self.new_job(args)], adapter)[0]

    def new_job(self, args: Mapping[str, Any]) -> NewJob:
        """The job that `enqueue_mapping` stores.

        Raises:
            InvalidArguments: they do not fit `perform`.
        """
        refuse_main(type(self))
        return self._new_job()(self.parameters().dump_mapping(args))

    def _enqueue(
        self,
        new_jobs: Sequence[NewJob],
        adapter: Adapter | None,
        observers: Observers | None = None,
    ) -> Sequence[StoredJob]:
        return store(
            new_jobs,
            adapter or self.adapter,
            session=self._options.own_session,
            observers=observers or default_configuration.observers,
            logger=self.logger,
        )

    def _new_job(self) -> Callable[[str], NewJob]:
        """A function that makes a new job of the text of its arguments."""
        options, handler = self._options, self.name
        queue = options.queue or checked_queue(self.queue)
        priority = self.priority if options.priority is None else options.priority
        max_attempts, run_at = self.attempts_allowed(), options.wait_until
        delay = options.wait or NO_DELAY
        meta = options.meta
        controlled = self._calls_under_control()
        if controlled is None and options.batch is None:
            return lambda args: NewJob(
                handler, args, queue, priority, max_attempts, run_at, delay, meta
            )
        if controlled is not None and controlled.wait is not None and run_at is None:
            delay = options.wait or controlled.wait
        flow_id = None if options.batch is None else options.batch.flow_id

        def make(args: str) -> NewJob:
            control = None if controlled is None else controlled.of(args)
            job = NewJob(
                *(handler, args, queue, priority, max_attempts, run_at, delay, meta), control
            )
            return job if flow_id is None else member_of(job, flow_id)

        return make

    def _calls_under_control(self) -> ControlledCalls | None:
        """The flow control of these calls; None if there is none."""
        given = self._options.controls
        if given is None:
            return self.flow_control()
        controls, parameters = given.over(self.controls()), self.parameters()
        why_not = next(faults_of(controls, parameters, self.name), None)
        if why_not is None and given.limits:
            limits = declared_limits(controls, self.name)
            why_not = next(registry.clashes_of_limits(limits, ""), None)
        if why_not is not None:
            raise InvalidArguments(f"{self.name}: {why_not}")
        return ControlledCalls(controls, parameters, self.name, self.redact)

    @classmethod
    def controls(cls) -> Controls:
        """The options of the class that are flow control."""
        return Controls(*(getattr(cls, name) for name in CONTROL_NAMES))

    @classmethod
    def flow_control(cls) -> ControlledCalls | None:
        """The flow control of its jobs; None if there is none."""
        if "_controlled_calls" not in cls.__dict__:
            controls = cls.controls()
            calls = ControlledCalls(controls, cls.parameters(), cls.name, tuple(cls.redact))
            cls._controlled_calls = calls if controls else None
        return cls._controlled_calls

    @classmethod
    def declared_limits(cls) -> list[DeclaredLimit]:
        """The limits of the class, with their names and numbers."""
        return declared_limits(cls.controls(), cls.name)

    @classmethod
    def attempts_allowed(cls) -> int:
        """`max_attempts` of the class, of its retry policy, or of the settings, in that order."""
        own = cls.max_attempts or getattr(cls.retry, "attempts", None)
        return own or default_configuration.settings.max_attempts

    def run_here(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Check the arguments and call `perform`; what it returns or raises comes back."""
        self.parameters().check(args, kwargs)
        job = copy.copy(self)
        job._attempt = None  # noqa: SLF001 - a copy of this very object
        job.context = JobContext(None, 1, self.attempts_allowed(), self.queue, None)
        answer = job.call_within_hooks(args, kwargs)
        if not inspect.iscoroutine(answer) or loop_is_running():
            return answer
        import asyncio

        return asyncio.run(answer)

    def call_within_hooks(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call `perform` within the hooks around an attempt."""
        hooks = attempt_hooks(type(self), default_configuration.observers.hooks)
        if hooks is not None:
            return hooks.perform(self, args, kwargs, lambda coroutine: coroutine)
        return self.perform(*args, **kwargs)  # type: ignore[attr-defined]

    @classmethod
    def schedules(cls) -> dict[str, Schedule]:
        """The schedules of the class, by names that are unique among all jobs."""
        return schedules_of_job(cls.name, cls.schedule)

    @classmethod
    def performing_function(cls) -> tuple[Callable[..., Any], bool]:
        """The function that takes the job's arguments, and whether it takes `self` before them."""
        return cls.perform, True  # type: ignore[attr-defined]

    @classmethod
    def parameters(cls) -> Parameters:
        """The parameters of the class's `perform`."""
        parameters = cls.__dict__.get("_parameters")
        if parameters is None:
            parameters = cls._parameters = _new_parameters(cls)
        return cast("Parameters", parameters)


JOB_OPTIONS = options_of(Job)
"""The attributes that a class may set, and that `@job` takes."""


def _new_parameters(job_class: type[Job]) -> Parameters:
    function, is_method = job_class.performing_function()
    return Parameters(function, job_class.name, is_method=is_method, redact=tuple(job_class.redact))
