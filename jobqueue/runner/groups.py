"""The workers to run: `-n 4`, `-n default:2,email:1`, `-n default+email:2`, `-n '*:1'`."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from jobqueue.config import (
    QUEUE_NAME_RULE,
    ConfiguredGroup,
    Settings,
    is_queue_name,
    load_settings,
    load_worker_groups,
)
from jobqueue.errors import ConfigurationError

EXPECTED = (
    "expected a number of workers (4), or queues with a number each (default:2,email:1), several "
    "queues for the same workers (default+email:2), or all of them (*:1)"
)
MOST_WORKERS = 1000
ALL_QUEUES = "*"
ONE_WORKER = "1"
AS_CONFIGURED = ""
SUPERVISOR_TITLE = "jobs supervisor "
"""The title of a supervisor in `ps`, followed by its groups."""
RESTING = "resting"
"""The word in `ps` and `jobs status` for a worker that takes no jobs until it is told to."""


SUSPENDED = frozenset({"stopped", "tracing-stop"})
"""The states of a process, as psutil calls them, in which it does nothing until it goes on."""


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Workers that are alike.

    Args:
        name: of the group; its workers are `name.0`, `name.1`, …
        queues: from which they claim; None for all queues.
        count: how many worker processes.
        concurrency: how many jobs each performs at a time; None for that of the settings.
        options: the group's own settings.
    """

    name: str
    queues: tuple[str, ...] | None
    count: int
    concurrency: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undertaking:
    """The order to a supervisor, as its command line gives it.

    Args:
        spec: what stands after `-n`.
        options: the settings that were given as options; the workers load them again.
        until_idle: whether the workers end when nothing is due.
        ttl_seconds: after how long to stop; None for never.
        max_jobs: after how many jobs a worker is replaced; None for never.
        max_memory_bytes: at how much memory a worker is replaced; None for never.
        health: the address to answer `/healthz` and `/readyz` at; None for nowhere.
    """

    spec: str
    options: Mapping[str, Any]
    until_idle: bool = False
    ttl_seconds: float | None = None
    max_jobs: int | None = None
    max_memory_bytes: int | None = None
    health: str | None = None


def groups_of(
    spec: str, settings: Settings, options: Mapping[str, Any] | None = None
) -> tuple[WorkerGroup, ...]:
    """The groups of a `-n`, or, when that is empty, of the configuration; one worker if none.

    Args:
        spec: what stands after `-n`.
        settings: for what a group does not set itself.
        options: the settings that were given as options, which come before a group's own.

    Raises:
        ConfigurationError: they cannot be used.
    """
    given = {name for name, value in (options or {}).items() if value is not None}
    if spec:
        return parse_groups(spec, settings.queues, queues_given="queues" in given)
    configured = load_worker_groups()
    if not configured:
        return parse_groups(ONE_WORKER, settings.queues)
    return tuple(_configured(group, settings, given) for group in configured)


def _configured(group: ConfiguredGroup, settings: Settings, given: AbstractSet[str]) -> WorkerGroup:
    options = {name: value for name, value in group.options.items() if name not in given}
    own = load_settings(options)
    return WorkerGroup(
        name=group.name,
        queues=own.queues if "queues" in options else settings.queues,
        count=group.count,
        concurrency=own.concurrency if "concurrency" in options else None,
        options=options,
    )


def most_attempts(settings: Settings, options: Mapping[str, Any]) -> int | None:
    """The number of attempts after which these options have a job fail; None if they do not say.

    A setting from elsewhere applied when the job was enqueued, and is in its row.
    """
    return settings.max_attempts if options.get("max_attempts") is not None else None


def parse_groups(
    text: str, queues: tuple[str, ...] | None = None, *, queues_given: bool = False
) -> tuple[WorkerGroup, ...]:
    """The groups that a `-n` asks for.

    Args:
        text: what stands after `-n`.
        queues: for a bare number, the queues that the settings name.
        queues_given: whether an option named them.

    Raises:
        ConfigurationError: it is none of the forms, names a group twice, or names queues while an
            option does so too.
    """
    if text.strip().isdigit():
        return (WorkerGroup("worker", queues, _count(text, text)),)
    groups = tuple(_group(part, text) for part in text.split(","))
    if queues_given:
        raise ConfigurationError(
            f"-n {text!r} names queues and so does --queues; leave one of them out"
        )
    names = [group.name for group in groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"-n {text!r} has {twice!r} twice; give it one number")
    return groups


def _group(part: str, whole: str) -> WorkerGroup:
    named, colon, count = part.strip().rpartition(":")
    if not colon:
        raise ConfigurationError(f"-n {whole!r} has {part!r} without a number; {EXPECTED}")
    if named == ALL_QUEUES:
        return WorkerGroup("all", None, _count(count, whole))
    queues = tuple(dict.fromkeys(name.strip() for name in named.split("+")))
    wrong = next((name for name in queues if not is_queue_name(name)), None)
    if wrong is not None:
        raise ConfigurationError(
            f"-n {whole!r} has the queue {wrong!r}; a queue's name is {QUEUE_NAME_RULE}; {EXPECTED}"
        )
    return WorkerGroup("+".join(queues), queues, _count(count, whole))


def _count(text: str, whole: str) -> int:
    if not text.strip().isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise ConfigurationError(
            f"-n {whole!r} has the number {text.strip()!r}; expected 1 to {MOST_WORKERS}; "
            f"{EXPECTED}"
        )
    return int(text)
