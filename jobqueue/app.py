"""The wiring: settings become an adapter, names become job classes.

Importing this module (which `import jobqueue` does) connects to nothing.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from jobqueue.adapters import Adapter, connect
from jobqueue.arguments import encode_unchecked
from jobqueue.config import PLACE, Settings, load_settings, setting_names
from jobqueue.defaults import default_configuration
from jobqueue.ends import EndReporter
from jobqueue.enqueue import EnqueueOptions, checked_queue, store
from jobqueue.errors import ConfigurationError, InvalidArguments
from jobqueue.hooks import Hooks, Observers
from jobqueue.job import Job, registry
from jobqueue.records import (
    DEFAULT_PRIORITY,
    DEFAULT_QUEUE,
    NO_DELAY,
    NewJob,
)
from jobqueue.spelling import did_you_mean
from jobqueue.stored import StoredJob, not_found

if TYPE_CHECKING:
    from jobqueue.runner.in_process import InProcess
    from jobqueue.worker.reporter import Tally
    from jobqueue.worker.worker import Worker

DEFAULT_APP = "jobs"


def _connect(settings: Settings) -> Adapter:
    return connect(settings.database_url, settings.schema)


default_configuration.install(_connect)


def configure(
    *,
    adapter: Adapter | None = None,
    logger: logging.Logger | None = None,
    hooks: Iterable[Hooks] | None = None,
    **settings: Any,
) -> None:
    """Set the default configuration in code, over the environment and the files.

    Args:
        adapter: where jobs are kept; made from `database_url` and `schema` when none is given.
        logger: where events are logged; `jobqueue` by default.
        hooks: what is called around all jobs, in the place of those configured before.
        **settings: any setting, by its name: `database_url="…"`, `app="shop.jobs"`, `lease=60`.

    Raises:
        ConfigurationError: a setting is unknown or cannot be used, or something is no `Hooks`.
    """
    _refuse_unknown("configure()", settings)
    loaded = load_settings(settings) if settings else None
    default_configuration.configure(settings=loaded, adapter=adapter, logger=logger, hooks=hooks)


def enqueue(
    name: str,
    args: Mapping[str, Any] | None = None,
    *,
    wait: timedelta | float | None = None,
    wait_until: datetime | None = None,
    queue: str | None = None,
    priority: int | None = None,
    session: Any = None,
    meta: Mapping[str, Any] | None = None,
    unchecked: bool = False,
) -> StoredJob:
    """Store a job by its name, when its class is not at hand.

    Args:
        name: the registered name, or the end of it if only one job's name ends so.
        args: the arguments by parameter name, as Python values or as JSON has them.
        wait: how long until it is due, as a `timedelta` or seconds.
        wait_until: when it is due, as an aware datetime.
        queue: instead of the class's own.
        priority: instead of the class's own.
        session: the caller's transaction; see `Job.set`.
        meta: what travels with the job beside its arguments, a JSON object.
        unchecked: store it without looking at the job's code, for a service that does not have it.
            `name` has to be the full one then.

    Raises:
        UnknownJob: the modules of `app` define no such job.
        InvalidArguments: the arguments do not fit its `perform`.
    """
    if not isinstance(name, str):
        raise InvalidArguments(
            f"enqueue takes the name of a job, not {name!r}; with the class at hand, call its "
            "perform_later"
        )
    options: dict[str, Any] = {
        "wait": wait,
        "wait_until": wait_until,
        "queue": queue,
        "priority": priority,
        "session": session,
        "meta": meta,
    }
    if unchecked:
        return _enqueue_unchecked(name, args or {}, EnqueueOptions().merged(**options))
    return find_job(name).set(**options).enqueue_mapping(args or {})


def get(job_id: int) -> StoredJob:
    """A job as it is now, and what can be done with it: `.cancel()`, `.retry()`, `.wait()`, …

    Raises:
        JobNotFound: there is no row of that id: it never was, or it is done and was not kept.
    """
    record = default_configuration.adapter.get(job_id)
    if record is None:
        raise not_found(job_id)
    return record


async def get_async(job_id: int) -> StoredJob:
    """Read a job like `get`, without blocking the event loop."""
    import asyncio

    return await asyncio.to_thread(get, job_id)


def find_job(name: str) -> type[Job]:
    """A job class by name, importing the application's modules if it is not known yet.

    Raises:
        UnknownJob: there is no such job.
        ConfigurationError: the application cannot be imported.
    """
    if registry.find(name) is None:
        import_app(default_configuration.settings.app)
    return registry.resolve(name)


def import_app(app: str | None, directory: Path | None = None) -> list[str]:
    """Import the modules that define the jobs, packages with all that is in them.

    Args:
        app: module names with commas between them; None for `jobs` in the directory, if any.
        directory: the working directory by default. It is put on `sys.path`.

    Returns:
        The names of the modules; none when there is no `app` and no `jobs` either.

    Raises:
        ConfigurationError: one cannot be imported; the cause is what it raised.
    """
    folder = (directory or Path.cwd()).resolve()
    if app:
        names = [name.strip() for name in app.split(",")]
    else:
        names = [DEFAULT_APP] if default_app_exists(folder) else []
    if names and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    for name in names:
        _import_with_submodules(name)
    if not app and names:
        _refuse_stranger(sys.modules[DEFAULT_APP], folder)
    return names


def default_app_exists(folder: Path) -> bool:
    """Whether there is a module or package `jobs` in a folder."""
    return (folder / f"{DEFAULT_APP}.py").is_file() or (folder / DEFAULT_APP).is_dir()


class JobQueue:
    """A queue of its own: an adapter, and the workers on it.

    `perform_later` goes to the default one. Use this where there are several, or in tests.

    Args:
        adapter: where its jobs are kept. Without one, what the settings `database_url` and `schema`
            name if one of them is given here, and otherwise the default adapter.
        logger: where its workers log, also what becomes of jobs, unless their class sets a logger
            of its own. The default logger when none is given.
        hooks: what is called around its jobs, in the place of those that are configured for all.
        **settings: any setting, by its name.
    """

    def __init__(
        self,
        adapter: Adapter | None = None,
        *,
        logger: logging.Logger | None = None,
        hooks: Iterable[Hooks] | None = None,
        **settings: Any,
    ) -> None:
        _refuse_unknown("JobQueue()", settings)
        self._given = settings
        self._own_observers = None if hooks is None else Observers(hooks)
        self.settings = load_settings(settings)
        if adapter is None and PLACE.intersection(settings):
            adapter = _connect(self.settings)
        self._own_adapter = adapter
        self._own_logger = logger

    @property
    def adapter(self) -> Adapter:
        """The adapter that keeps the queue's jobs."""
        stands_in = default_configuration.substitute
        return stands_in or self._own_adapter or default_configuration.adapter

    @property
    def logger(self) -> logging.Logger:
        """The logger of the queue's workers."""
        return self._own_logger or default_configuration.logger

    @property
    def observers(self) -> Observers:
        """The hooks for all jobs of the queue."""
        return self._own_observers or default_configuration.observers

    @property
    def ends(self) -> EndReporter:
        """The reporter of the queue's jobs that end here without being performed."""
        return EndReporter(self.logger, self.observers)

    def enqueue(self, job: Any, *args: Any, **kwargs: Any) -> StoredJob:
        """Store a job on this queue.

        Args:
            job: a job class, what `@job` made, or either after `.set()`.
            *args, **kwargs: the arguments of its `perform`.

        Raises:
            InvalidArguments: they do not fit it.
        """
        instance: Job = job() if isinstance(job, type) else job
        record = instance.enqueue_call(args, kwargs, self.adapter, self.observers)
        record.ends = self.ends
        return record

    def worker(self, *, until_idle: bool = False) -> Worker:
        """A worker on this queue. Its `run` works on the thread that calls it."""
        from jobqueue.worker.worker import Worker

        return Worker(
            self.adapter,
            registry,
            self.settings,
            self.logger,
            until_idle=until_idle,
            observers=self.observers,
        )

    def work_off(self) -> Tally:
        """Perform everything that is due, here and now, and return how it ended."""
        return self.worker(until_idle=True).run()

    def running(
        self,
        *,
        concurrency: int | None = None,
        queues: Sequence[str] | str | None = None,
        grace: timedelta | float | None = None,
    ) -> InProcess[Self]:
        """Perform jobs inside this process for as long as a `with` or `async with` block lasts.

        A worker begins on threads of its own, and keeps its lease as one outside would. With
        `async with`, async jobs run on the event loop of the block. At the end of the block it
        takes no more jobs, and finishes those that run. SIGTERM ends the block where nothing else
        handles that signal. Within `jobqueue.testing.inbox` nothing is run.

        Args:
            concurrency: how many jobs at a time; by default as the setting says.
            queues: the queues to take jobs from; by default as the setting says.
            grace: how long to let jobs finish, as a `timedelta` or seconds; by default as the
                setting says. What still runs then is given back.

        Raises:
            DatabaseError: on entering, the database does not answer or has no tables.
            ConfigurationError: one of the values cannot be used.
        """
        return self._in_process(concurrency=concurrency, queues=queues, grace=grace)

    def lifespan(self, app: Any = None) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 - ASGI
        """Perform jobs as long as an ASGI application runs: `Starlette(lifespan=queue.lifespan)`.

        Works as `async with running()`, async jobs on the application's own event loop, and leaves
        signals to the server. In a lifespan of one's own, use `async with queue.lifespan():`.

        Args:
            app: the application, which frameworks pass; it is not used.
        """
        return self._in_process(heeds_sigterm=False).as_lifespan()

    def _in_process(self, *, heeds_sigterm: bool = True, **options: Any) -> InProcess[Self]:
        from jobqueue.runner.in_process import InProcess

        given = {name: value for name, value in options.items() if value is not None}
        settings = load_settings(self._given | given)
        # Where an inbox stands in for the adapter, nothing is meant to run.
        stands_in = default_configuration.substitute is not None
        return InProcess(
            self,
            None if stands_in else self._worker_beside(settings),
            self.adapter,
            self.logger,
            settings.grace,
            heeds_sigterm=heeds_sigterm,
        )

    def _worker_beside(self, settings: Settings) -> Worker:
        """A worker for a process whose main thread has something else to do."""
        from jobqueue.worker.worker import Worker

        if settings.app:
            import_app(settings.app)
        return Worker(self.adapter, registry, settings, self.logger, observers=self.observers)


def _refuse_unknown(what: str, settings: Mapping[str, Any]) -> None:
    known = ("adapter", "logger", "hooks", *setting_names())
    for name in settings:
        if name not in known:
            raise ConfigurationError(
                f"{name!r} is no setting that {what} takes{did_you_mean(name, known) or ';'} "
                f"there are: {', '.join(known)}"
            )


def _enqueue_unchecked(name: str, args: Mapping[str, Any], options: EnqueueOptions) -> StoredJob:
    new_job = NewJob(
        handler=name,
        args=encode_unchecked(args, name),
        queue=checked_queue(options.queue or DEFAULT_QUEUE),
        priority=DEFAULT_PRIORITY if options.priority is None else options.priority,
        max_attempts=default_configuration.settings.max_attempts,
        run_at=options.wait_until,
        delay=options.wait or NO_DELAY,
        meta=options.meta,
    )
    [record] = store(
        [new_job],
        default_configuration.adapter,
        session=options.session,
        observers=default_configuration.observers,
        logger=default_configuration.logger,
    )
    return record


def _import_with_submodules(name: str) -> None:
    module = _import(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), module.__name__ + "."):
        if not found.name.endswith(".__main__"):
            _import(found.name)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ConfigurationError:
        raise
    except SystemExit as ending:
        raise ConfigurationError(
            f"the application's module {name!r} ended the process while it was imported "
            f"({ending!r}); put what it does under `if __name__ == '__main__':`"
        ) from None
    except Exception as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name in {
            name,
            name.partition(".")[0],
        }
        hint = "; is `app` right, and is this the folder to import it from?" if is_missing else ""
        raise ConfigurationError(
            f"the application's module {name!r} cannot be imported: "
            f"{type(error).__name__}: {error}{hint}"
        ) from error


def _refuse_stranger(module: ModuleType, folder: Path) -> None:
    """Refuse a `jobs` that is not the one in the working directory but some installed package."""
    places = [module.__file__ or "", *getattr(module, "__path__", ())]
    if not any(place and Path(place).resolve().is_relative_to(folder) for place in places):
        raise ConfigurationError(
            f"`jobs` was imported from {places[0]}, not from {folder}: another module of that "
            "name is in the way; rename yours and set `app`"
        )
