"""What of a job is shown to people and programs, and what of it they mean by a name."""

from __future__ import annotations

import inspect
from typing import Any

from jobqueue.job import Job, registry
from jobqueue.records import JobRecord, ScheduleRecord
from jobqueue.redaction import MASK, masked


def shown_args(record: JobRecord | ScheduleRecord, *, reveal: bool = False) -> dict[str, Any]:
    """A job's arguments as they may be shown.

    Of a job whose class is not known here nobody can say what is secret, so all of it is masked.
    """
    if reveal:
        return dict(record.args)
    secret = _secrets_of(record)
    return {name: MASK if name in secret else value for name, value in record.args.items()}


def shown_words(record: JobRecord, *, reveal: bool = False) -> dict[str, Any]:
    """What a job said while it ran and at its end, as it may be shown: `progress` and `result`.

    The values of its secret arguments are masked in there, as they are in `last_error`.
    """
    words = {"progress": record.progress, "result": record.result}
    if reveal or all(value is None for value in words.values()):
        return words
    secrets = _secrets_of(record)
    return {name: masked(value, secrets) for name, value in words.items()} if secrets else words


def _secrets_of(record: JobRecord | ScheduleRecord) -> dict[str, Any]:
    """The arguments that must not be shown, by name."""
    job_class = registry.find(record.handler)
    return {
        name: value
        for name, value in record.args.items()
        if job_class is None or not _is_public(job_class, name)
    }


def hides_unknown(record: JobRecord) -> bool:
    """Whether arguments are masked only because the job's class is not known here."""
    return bool(record.args) and registry.find(record.handler) is None


def classes_meant(name: str) -> list[type[Job]]:
    """The job classes that a person can mean by a full or short name, an alias included."""
    meant = [known for known in registry.names() if known == name or known.endswith("." + name)]
    found = [registry.find(full) for full in (*meant, name)]
    return list(dict.fromkeys(job_class for job_class in found if job_class is not None))


def names_meant(name: str) -> list[str]:
    """The names that rows may carry, of all jobs that a full or short name can mean."""
    aliases = [alias for c in classes_meant(name) for alias in (c.name, *c.aliases)]
    return list(dict.fromkeys((name, *aliases)))


def _is_public(job_class: type[Job], name: str) -> bool:
    """Whether an argument may be shown.

    Where a class has secrets, an argument that its `perform` does not have (any more) counts as
    one; unless it is one of `**kwargs`, which are stored side by side with the others.
    """
    if not job_class.redact:
        return True
    parameters = job_class.parameters().signature.parameters
    merged = [p.name for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    known = [parameter for parameter in parameters if parameter not in merged]
    owner = name if name in known else next(iter(merged), None)
    return owner is not None and owner not in job_class.redact
