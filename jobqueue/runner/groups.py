"""Which workers to run: `-n 4`, `-n default:2,email:1`, `-n default+email:2`, `-n '*:1'`."""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """Some workers that do the same.

    Args:
        name: of the group; its workers are `name.0`, `name.1`, …
        queues: where they take jobs from; None for all queues.
        count: how many worker processes.
        concurrency: how many jobs each performs at a time; None for as the settings say.
        options: settings that are the group's own.
    """

    name: str
    queues: tuple[str, ...] | None
    count: int
    concurrency: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undertaking:
    """What a supervisor is to do, as its command line has it.

    Args:
        spec: what stands after `-n`.
        options: the settings that were given as options; the workers load them again.
        until_idle: whether the workers end when nothing is due.
        ttl_seconds: after how long to stop; None for never.
        max_jobs: after how many jobs a worker is replaced; None for never.
        max_memory_bytes: at how much memory a worker is replaced; None for never.
        health: where to answer `/healthz` and `/readyz`; None for nowhere.
    """

    spec: str
    options: Mapping[str, Any]
    until_idle: bool = False
    ttl_seconds: float | None = None
    max_jobs: int | None = None
    max_memory_bytes: int | None = None
    health: str | None = None


def groups_of(spec: str, settings: Settings) -> tuple[WorkerGroup, ...]:
    """The groups of a `-n`, or, when that is empty, of the configuration; one worker if none.

    Raises:
        ConfigurationError: they cannot be used.
    """
    if spec:
        return parse_groups(spec, settings.queues)
    configured = load_worker_groups()
    if not configured:
        return parse_groups(ONE_WORKER, settings.queues)
    return tuple(_configured(group, settings) for group in configured)


def _configured(group: ConfiguredGroup, settings: Settings) -> WorkerGroup:
    own = load_settings(group.options) if group.options else settings
    return WorkerGroup(
        name=group.name,
        queues=own.queues if "queues" in group.options else settings.queues,
        count=group.count,
        concurrency=own.concurrency if "concurrency" in group.options else None,
        options=group.options,
    )


def parse_groups(text: str, queues: tuple[str, ...] | None = None) -> tuple[WorkerGroup, ...]:
    """The groups that a `-n` asks for.

    Args:
        text: what stands after `-n`.
        queues: for a bare number, the queues that the settings name.

    Raises:
        ConfigurationError: it is none of the forms, or names a group twice.
    """
    if text.strip().isdigit():
        return (WorkerGroup("worker", queues, _count(text, text)),)
    groups = tuple(_group(part, text) for part in text.split(","))
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
