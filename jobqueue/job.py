"""Defining a job and enqueueing it: `Job`, `@job`, and the registry of all jobs.

class SendWelcomeEmail(Job):
    queue = "email"

    def perform(self, user_id: int) -> None: ...

SendWelcomeEmail.perform_later(42)
"""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import (
    Any,
    ClassVar,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

from jobqueue.adapters.base import Adapter
from jobqueue.adapters.stored import StoredJob
from jobqueue.arguments import Parameters
from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.cron import Schedule, schedules_of_job
from jobqueue.defaults import DefaultAdapter, DefaultLogger, default_configuration
from jobqueue.enqueue import (
    PRIORITY_RANGE,
    Call,
    EnqueueOptions,
    NewJobs,
    PerformAllLater,
    PerformAllLaterAsync,
    PerformLater,
    PerformLaterAsync,
    PerformNow,
    SetOptions,
    checked_queue,
    enqueue_without_blocking,
    tell_enqueued,
)
from jobqueue.errors import (
    ConfigurationError,
    DuplicateJob,
    InvalidJob,
    UnknownJob,
)
from jobqueue.event_loop import loop_is_running
from jobqueue.hook_calls import HookMethods, attempt_hooks, why_not_hooks
from jobqueue.hooks import Observers
from jobqueue.json_text import progress_text
from jobqueue.records import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    NO_DELAY,
    ClaimedJob,
    NewJob,
)
from jobqueue.retention import KEEP_EXPECTED_IN_CODE, KeepRule, is_keep_rule
from jobqueue.retry import DEFAULT_RETRY, LONGEST_WAIT, RetryPolicy, as_seconds
from jobqueue.spelling import close_to, why_not_given
from jobqueue.transactions import TransactionBlock, WithoutClaim, joined_session

P = ParamSpec("P")
R = TypeVar("R")

MAX_NAME_LENGTH = 255
MOST_ATTEMPTS = 2**31 - 1


# --- the registry --------------------------------------------------------------------------------


class Registry:
    """The job classes of this process, by name. A row can name these and nothing else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, type[Job]] = {}

    def add(self, job_class: type[Job]) -> None:
        """Register a class under its name and its aliases.

        Raises:
            DuplicateJob: another class has one of them.
        """
        with self._lock:
            for name in (job_class.name, *job_class.aliases):
                self._refuse_clash(name, job_class)
            for name in (job_class.name, *job_class.aliases):
                self._by_name[name] = job_class

    def _refuse_clash(self, name: str, job_class: type[Job]) -> None:
        other = self._by_name.get(name)
        if other is None or _is_redefinition(other, job_class):
            return
        raise DuplicateJob(
            f"two jobs are named {name!r}: {place_of(other)} and {place_of(job_class)}; "
            "give one of them another `name`"
        )

    def find(self, name: str) -> type[Job] | None:
        """The class registered under exactly this name or alias, as a row has it."""
        return self._by_name.get(name)

    def resolve(self, name: str) -> type[Job]:
        """The class that a person means: by name, alias, or the unambiguous end of its name.

        Raises:
            UnknownJob: there is none, or there are several.
        """
        exact = self.find(name)
        if exact is not None:
            return exact
        ending = {c.name: c for n, c in self._by_name.items() if n.endswith("." + name)}
        if len(ending) == 1:
            return next(iter(ending.values()))
        if ending:
            raise UnknownJob(f"{name!r} can be any of {_listed(ending)}; use the full name")
        raise UnknownJob(
            f"no job is named {name!r}{self._similar_to(name)}; known here: "
            f"{_listed(self.names()) or 'none at all'}. Is the module that defines it part of "
            "`app`?"
        )

    def _similar_to(self, name: str) -> str:
        endings = {known.rpartition(".")[2].lower(): known for known in self.names()}
        close = difflib.get_close_matches(name.rpartition(".")[2].lower(), endings, n=1)
        return f" (did you mean {endings[close[0]]!r}?)" if close else ""

    def names(self) -> list[str]:
        """The names of all registered classes, without aliases, sorted."""
        return sorted({job_class.name for job_class in self._by_name.values()})


registry = Registry()


def place_of(job_class: type[Job]) -> str:
    """Where a job class is defined, for messages."""
    code = _code_of(job_class)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{job_class.__module__}.{job_class.__qualname__}{where}"


def _is_redefinition(old: type[Job], new: type[Job]) -> bool:
    """Whether a class is the same one again: reloaded, or run once more in a shell."""
    same_name = (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
    old_code, new_code = _code_of(old), _code_of(new)
    if not same_name or old_code is None or new_code is None:
        return same_name
    same_line = (old_code.co_filename, old_code.co_firstlineno) == (
        new_code.co_filename,
        new_code.co_firstlineno,
    )
    return same_line or new.__module__ == "__main__"


def _code_of(job_class: type[Job]) -> Any:
    function, _ = job_class.performing_function()
    return getattr(inspect.unwrap(function), "__code__", None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# --- the job itself ------------------------------------------------------------------------------


class OngoingAttempt(Protocol):
    """What a job that runs is linked to."""

    claimed: ClaimedJob

    def report(self, progress: str) -> None:
        """Store how far the job is, as JSON, sooner or later."""
        ...

    def transaction(self, sessions: Callable[[], Any] | None) -> TransactionBlock:
        """A transaction that completes the job."""
        ...

    def is_cancelled(self) -> bool:
        """Whether somebody wants the job to end. Who asks is taken to heed it."""
        ...


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a running job can know of itself, as `self.context`.

    Args:
        job_id: stable over all attempts, so good as an idempotency key; None in `perform_now`.
        attempt: the number of this attempt, from 1.
        max_attempts: how many there can be.
        queue: the queue that it came from.
        enqueued_at: when it was stored; None in `perform_now`.
    """

    job_id: int | None
    attempt: int
    max_attempts: int
    queue: str
    enqueued_at: datetime | None
    _attempt: OngoingAttempt | None = field(default=None, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled the job since it began.

        Once it has been True, the job ends cancelled, whether it then returns or raises.
        """
        return self._attempt is not None and self._attempt.is_cancelled()


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

    _options: EnqueueOptions = EnqueueOptions()
    _parameters: ClassVar[Parameters]
    _attempt: OngoingAttempt | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if getattr(cls, "perform", None) is None or cls.__dict__.get("_abstract", False):
            return
        if "name" not in cls.__dict__:
            cls.name = f"{cls.__module__}.{cls.__qualname__}"
        if "aliases" not in cls.__dict__:
            cls.aliases = ()
        check_definition(cls)
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
        """What this attempt can know of itself; there while `perform` runs."""
        attempt = self._attempt
        assert attempt is not None, "context is there while perform runs"  # noqa: S101
        claimed = attempt.claimed
        return JobContext(
            job_id=claimed.id,
            attempt=claimed.attempts,
            max_attempts=claimed.max_attempts,
            queue=claimed.queue,
            enqueued_at=claimed.created_at,
            _attempt=attempt,
        )

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

    # What the descriptors call.

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
        self, calls: Sequence[Call], adapter: Adapter | None = None
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
        """As `enqueue_call`, while the event loop goes on."""
        return (await self._without_blocking(lambda job: [job.enqueue_call(args, kwargs)]))[0]

    async def enqueue_calls_async(self, calls: Sequence[Call]) -> Sequence[StoredJob]:
        """As `enqueue_calls`, while the event loop goes on."""
        return await self._without_blocking(lambda job: job.enqueue_calls(calls))

    async def _without_blocking(
        self, enqueue: Callable[[Job], Sequence[StoredJob]]
    ) -> Sequence[StoredJob]:
        session = self._options.session or joined_session(self.adapter, is_awaited=True)
        return await enqueue_without_blocking(
            session,
            lambda usable: enqueue(self if usable is None else self.with_options(session=usable)),
        )

    def enqueue_mapping(self, args: Mapping[str, Any], adapter: Adapter | None = None) -> StoredJob:
        """Store a job whose arguments come by name, as Python values or as JSON ones."""
        return self._enqueue([self.new_job(args)], adapter)[0]

    def new_job(self, args: Mapping[str, Any]) -> NewJob:
        """What `enqueue_mapping` stores.

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
        adapter = adapter or self.adapter
        session = self._options.session or joined_session(adapter)
        records = adapter.enqueue(new_jobs, session=session)
        observers = observers or default_configuration.observers
        tell_enqueued(records, session, observers, self.logger)
        return records

    def _new_job(self) -> Callable[[str], NewJob]:
        """What makes a new job of the text of its arguments."""
        options, handler = self._options, self.name
        queue = options.queue or checked_queue(self.queue)
        priority = self.priority if options.priority is None else options.priority
        max_attempts, run_at = self.attempts_allowed(), options.wait_until
        delay = options.wait or NO_DELAY
        return lambda args: NewJob(handler, args, queue, priority, max_attempts, run_at, delay)

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
        """Call `perform`, and what goes around an attempt."""
        hooks = attempt_hooks(type(self), default_configuration.observers.hooks)
        if hooks is not None:
            return hooks.perform(self, args, kwargs, lambda coroutine: coroutine)
        return self.perform(*args, **kwargs)  # type: ignore[attr-defined]

    @classmethod
    def schedules(cls) -> dict[str, Schedule]:
        """Its schedules, by names that are unique among all jobs."""
        return schedules_of_job(cls.name, cls.schedule)

    @classmethod
    def performing_function(cls) -> tuple[Callable[..., Any], bool]:
        """What is called with the job's arguments, and whether it takes `self` before them."""
        return cls.perform, True  # type: ignore[attr-defined]

    @classmethod
    def parameters(cls) -> Parameters:
        """The parameters of its `perform`."""
        parameters = cls.__dict__.get("_parameters")
        if parameters is None:
            parameters = cls._parameters = _new_parameters(cls)
        return cast("Parameters", parameters)


# What a class may set, and `@job` takes.
JOB_OPTIONS = tuple(name for name in Job.__annotations__ if not name.startswith("_"))


def _new_parameters(job_class: type[Job]) -> Parameters:
    function, is_method = job_class.performing_function()
    return Parameters(function, job_class.name, is_method=is_method, redact=tuple(job_class.redact))


def refuse_main(job_class: type[Job]) -> None:
    """Raise `InvalidJob` for a class that no worker could import."""
    if job_class.__module__ == "__main__":
        raise InvalidJob(
            f"{job_class.__qualname__} is defined in __main__, the script that was started, which "
            "a worker cannot import; move it into a module (jobs.py, say) and import it from there"
        )


def check_definition(job_class: type[Job]) -> None:
    """Raise `InvalidJob` for a class whose attributes cannot be used."""

    def refuse(why: str) -> None:
        raise InvalidJob(f"{job_class.__module__}.{job_class.__qualname__}: {why}")

    misspelt = _misspelt_option(job_class)
    if misspelt:
        attribute, option = misspelt
        refuse(
            f"{attribute!r} is no option of a job; did you mean {option!r}? If it is something of "
            "your own, give it another name, or begin it with an underscore"
        )
    names: tuple[object, ...] = (job_class.name, *job_class.aliases)
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or "\x00" in name:
            refuse(f"{name!r} is no name for a job; expected 1 to {MAX_NAME_LENGTH} characters")
    if isinstance(job_class.aliases, str):
        refuse("aliases is a string; expected a tuple of names")
    if not is_queue_name(job_class.queue):
        refuse(f"queue = {job_class.queue!r}; expected {QUEUE_NAME_RULE}")
    if type(job_class.priority) is not int or job_class.priority not in PRIORITY_RANGE:
        refuse(f"priority = {job_class.priority!r}; expected a whole number of 32 bits")
    attempts: object = job_class.max_attempts
    if attempts is not None and (type(attempts) is not int or not 1 <= attempts <= MOST_ATTEMPTS):
        refuse(f"max_attempts = {attempts!r}; expected a whole number from 1, of 32 bits")
    if not _is_duration(job_class.max_runtime):
        refuse(f"max_runtime = {job_class.max_runtime!r}; expected a timedelta or seconds, above 0")
    why_not = _why_not_ended_so(job_class) or why_not_hooks(job_class)
    if why_not:
        refuse(why_not)
    parameters = job_class.parameters()
    unknown = [name for name in job_class.redact if name not in parameters.names]
    if unknown:
        refuse(f"redact names {unknown[0]!r}, which is no parameter of perform")
    for schedule in job_class.schedules().values():
        why_not = _why_not_with(parameters, schedule.args)
        if why_not:
            refuse(f"its schedule {schedule.expression!r}: {why_not}; give args={{…}} that fit")


def _misspelt_option(job_class: type[Job]) -> tuple[str, str] | None:
    """An attribute that is nearly an option, such as `redcat`, and the option.

    Methods are something else whatever they are called, and so are constants in capitals.
    """
    for owner in job_class.__mro__:
        if owner.__module__.partition(".")[0] in {"jobqueue", "builtins", "typing"}:
            continue
        for name, value in vars(owner).items():
            is_other = name.startswith("_") or name.isupper() or not _is_data(value)
            option = None if is_other or hasattr(Job, name) else close_to(name, JOB_OPTIONS)
            if option not in (None, name):
                return name, option
    return None


def _is_data(value: object) -> bool:
    others = (classmethod, staticmethod, property, functools.cached_property)
    return not (inspect.isroutine(value) or inspect.isclass(value) or isinstance(value, others))


def _why_not_ended_so(job_class: type[Job]) -> str | None:
    """What is wrong with what is to happen at its end, if anything is."""
    if not callable(job_class.retry):
        return f"retry = {job_class.retry!r}; expected a policy, such as Constant(30)"
    for name in ("keep_result", "interrupt_on_cancel"):
        if not isinstance(getattr(job_class, name), bool):
            return f"{name} = {getattr(job_class, name)!r}; expected True or False"
    for name in ("keep_succeeded", "keep_failed"):
        rule = getattr(job_class, name)
        if rule is not None and not is_keep_rule(rule):
            return f"{name} = {rule!r}; expected {KEEP_EXPECTED_IN_CODE}"
    if job_class.keep_result and job_class.keep_succeeded is False:
        return "keep_result needs the rows of succeeded jobs; leave keep_succeeded out"
    return None


def _why_not_with(parameters: Parameters, args: Mapping[str, Any]) -> str | None:
    """Why `perform` cannot be called with arguments of these names, if it cannot.

    Their types are looked at when a worker starts: here, what annotations name may not be there.
    """
    kinds = parameters.signature.parameters
    star = [name for name, p in kinds.items() if p.kind is inspect.Parameter.VAR_POSITIONAL]
    try:
        parameters.signature.bind(**{k: v for k, v in args.items() if k not in star})
    except TypeError as error:
        return str(error)
    return None


def _is_duration(value: object) -> bool:
    if value is None or isinstance(value, bool) or not isinstance(value, timedelta | float | int):
        return value is None
    return 0 < as_seconds(value) <= LONGEST_WAIT.total_seconds()


# --- functions as jobs ---------------------------------------------------------------------------


class FunctionJob(Job, Generic[P, R]):
    """A job made of a function by `@job`. Calling it calls the function."""

    _abstract = True
    function: ClassVar[Callable[..., Any]]

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return cast("R", type(self).function(*args, **kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it had not been decorated."""
        return cast("R", type(self).function(*args, **kwargs))

    @classmethod
    def performing_function(cls) -> tuple[Callable[..., Any], bool]:
        """The decorated function, which takes no `self`."""
        return cls.function, False


@overload
def job(function: Callable[P, R], /) -> FunctionJob[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    queue: str = DEFAULT_QUEUE,
    priority: int = DEFAULT_PRIORITY,
    max_attempts: int | None = None,
    max_runtime: timedelta | float | None = None,
    retry: RetryPolicy = DEFAULT_RETRY,
    keep_succeeded: KeepRule | None = None,
    keep_failed: KeepRule | None = None,
    keep_result: bool = False,
    interrupt_on_cancel: bool = False,
    schedule: Schedule | Sequence[Schedule] | None = None,
    redact: Sequence[str] = (),
    api: bool = False,
    adapter: Adapter | None = None,
    logger: logging.Logger | None = None,
) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
def job(function: Any = None, /, **attributes: Any) -> Any:
    """Make a job of a function: `@job` or `@job(queue="email")`.

    The options are the class attributes of `Job`. The function can still be called, and is the
    `perform_now` of the job; `perform_later` and `.set()` work as on a class.
    """
    if function is None:
        return functools.partial(_job_of, attributes=attributes)
    return _job_of(function, attributes)


def _job_of(function: Callable[..., Any], attributes: Mapping[str, Any]) -> FunctionJob[Any, Any]:
    why_not = why_not_given("@job", attributes, JOB_OPTIONS)
    if why_not:
        raise InvalidJob(f"{function.__module__}.{function.__qualname__}: {why_not}")
    given = {name: value for name, value in attributes.items() if value is not None}
    namespace = {
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "function": staticmethod(function),
        **given,
    }
    if inspect.iscoroutinefunction(function):
        namespace["perform"] = _perform_async
    job_class = cast(
        "type[FunctionJob[Any, Any]]", type(function.__name__, (FunctionJob,), namespace)
    )
    return job_class()


async def _perform_async(self: FunctionJob[Any, Any], *args: Any, **kwargs: Any) -> Any:
    return await type(self).function(*args, **kwargs)
