"""The registry of job classes: a row can name the classes in it, and nothing else."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobqueue.arguments import encode_unchecked
from jobqueue.durations import exact_duration
from jobqueue.errors import DuplicateJob, UnknownJob
from jobqueue.forks import renewed_in_children

if TYPE_CHECKING:
    from jobqueue.job import Job
    from jobqueue.records import DeclaredLimit


class Registry:
    """The job classes of this process, by name."""

    def __init__(self) -> None:
        self._renew_lock()
        renewed_in_children(self, Registry._renew_lock)
        self._by_name: dict[str, type[Job]] = {}
        self._watchers: list[Callable[[type[Job]], None]] = []

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def add(self, job_class: type[Job]) -> None:
        """Register a class under its name and its aliases.

        Raises:
            DuplicateJob: another class has one of them.
        """
        with self._lock:
            for name in names_of(job_class):
                self._refuse_clash(name, job_class)
            for name in names_of(job_class):
                self._by_name[name] = job_class
        for watcher in self._watchers:
            watcher(job_class)

    def _refuse_clash(self, name: str, job_class: type[Job]) -> None:
        other = self._by_name.get(name)
        if other is None or _is_redefinition(other, job_class):
            return
        raise DuplicateJob(
            f"two jobs are named {name!r}: {place_of(other)} and {place_of(job_class)}; "
            "give one of them another `name`"
        )

    @contextmanager
    def watched(self, watcher: Callable[[type[Job]], None]) -> Iterator[None]:
        """Call `watcher` with each class that is registered meanwhile: for tests."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

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

    def classes(self) -> list[type[Job]]:
        """All registered classes, each once, sorted by name."""
        return [found for name in self.names() if (found := self.find(name)) is not None]

    def declared_limits(self) -> list[DeclaredLimit]:
        """The limits that the classes declare. Of those with one name the strictest counts."""
        declared = [limit for job_class in self.classes() for limit in job_class.declared_limits()]
        strictest = sorted(declared, key=lambda limit: limit.number, reverse=True)
        return list({limit.name: limit for limit in strictest}.values())

    def clashes_of_limits(self, limits: Iterable[DeclaredLimit], job_name: str) -> Iterator[str]:
        """Why limits of a class, or of a call of it, cannot have the names that they have.

        Classes that share a limit have to mean the same. Of their numbers the strictest counts.
        """
        others = [c for c in self.classes() if c.name != job_name]
        known = {limit.name: (c.name, limit) for c in others for limit in c.declared_limits()}
        for limit in limits:
            other_name, other = known.get(limit.name, ("", limit))
            if other.per != limit.per:
                yield (
                    f"the limit {limit.name!r} is {_kind_of(limit)} here, and {_kind_of(other)} of "
                    f"{other_name}; give one of them another name, or both the same period"
                )

    def encode_args(self, args: Mapping[str, Any], handler: str) -> str:
        """The JSON text of arguments by name, checked by the job's class where that is known.

        Raises:
            InvalidArguments: they do not fit its `perform`, or JSON cannot carry them.
        """
        job_class = self.find(handler)
        if job_class is None:
            return encode_unchecked(args, handler)
        return job_class.parameters().dump_mapping(args)


registry = Registry()
"""The classes that subclassing `Job` registers."""


def _kind_of(limit: DeclaredLimit) -> str:
    if limit.per is None:
        return "a Limit"
    return f"a Rate of {exact_duration(limit.per.total_seconds())}"


def names_of(job_class: type[Job]) -> tuple[str, ...]:
    """The names that rows of a job class may carry: its own, and its aliases."""
    return (job_class.name, *job_class.aliases)


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
