"""Jobs as they are shown, without their secrets, and the jobs that a name means."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from jobqueue.job import Job, names_of, registry
from jobqueue.records import AttemptRecord, JobRecord, ScheduleRecord
from jobqueue.redaction import MASK, Secrets

PUBLISHED_AS = {"run_time": "run_seconds"}


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is shown.

    Args:
        record: its row.
        args: its arguments; the secret ones are masked.
        progress: what it reported last; the values of its secret arguments are masked in there.
        result: what it returned, masked likewise.
    """

    record: JobRecord
    args: Mapping[str, Any]
    progress: Any
    result: Any

    def values(self) -> dict[str, Any]:
        """Return every field of the row by its name, masked."""
        row = {field.name: getattr(self.record, field.name) for field in fields(JobRecord)}
        row = {PUBLISHED_AS.get(name, name): value for name, value in row.items()}
        run_time = self.record.run_time
        row["run_seconds"] = None if run_time is None else run_time.total_seconds()
        row["terms"] = self.record.terms.facts() or None
        return {**row, "args": self.args, "progress": self.progress, "result": self.result}


def attempt_values(attempt: AttemptRecord) -> dict[str, Any]:
    """Return an attempt that did not succeed, as it is shown. Its error was masked when it ended.

    Without the id of its job.
    """
    values = {field.name: getattr(attempt, field.name) for field in fields(AttemptRecord)}
    del values["job_id"]
    return values


def job_view(record: JobRecord, *, reveal: bool = False) -> JobView:
    """Return a job as it is shown.

    Args:
        record: its row.
        reveal: whether secrets are shown too.
    """
    hidden = {} if reveal else _secrets_of(record)
    if not hidden:
        return JobView(record, record.args, record.progress, record.result)
    secrets = Secrets(hidden)
    return JobView(
        record,
        _args_without(hidden, record),
        secrets.masked(record.progress),
        secrets.masked(record.result),
    )


def shown_args(record: JobRecord | ScheduleRecord) -> dict[str, Any]:
    """Return the arguments of a job or of a schedule; the secret ones are masked."""
    return _args_without(_secrets_of(record), record)


def hides_unknown(record: JobRecord) -> bool:
    """Return whether arguments are masked only because the job's class is not known here."""
    return bool(record.args) and registry.find(record.handler) is None


def _args_without(secrets: Mapping[str, Any], record: JobRecord | ScheduleRecord) -> dict[str, Any]:
    return {name: MASK if name in secrets else value for name, value in record.args.items()}


def _secrets_of(record: JobRecord | ScheduleRecord) -> dict[str, Any]:
    """Return the arguments that must not be shown, by name.

    If the job's class is not known here, nobody can say what is secret, so that everything is.
    """
    job_class = registry.find(record.handler)
    hidden = {
        name: value
        for name, value in record.args.items()
        if job_class is None or not is_public(job_class, name)
    }
    if job_class is None or not job_class.redact:
        return hidden
    # A value that is not stored is the default of its parameter, which is as secret.
    return {**job_class.parameters().defaults(job_class.redact), **hidden}


def is_public(job_class: type[Job], name: str) -> bool:
    """Return whether an argument may be shown.

    If a class has secrets, an argument that its `perform` does not have (any more) counts as one,
    unless it belongs to `**kwargs`, which are stored side by side with the others.
    """
    if not job_class.redact:
        return True
    parameters = job_class.parameters().signature.parameters
    merged = [p.name for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
    known = [parameter for parameter in parameters if parameter not in merged]
    owner = name if name in known else next(iter(merged), None)
    return owner is not None and owner not in job_class.redact


# --- names ---------------------------------------------------------------------------------------


def classes_meant(name: str, *, open_only: bool = False) -> list[type[Job]]:
    """Return the job classes that a person can mean by a name, an alias, or the end of one.

    A full name or alias means its own class alone, as for `jobqueue enqueue`.

    Args:
        name: what the person wrote.
        open_only: whether only classes with `api = True` are known to that person.
    """
    known = [job_class for job_class in registry.classes() if job_class.api or not open_only]
    exact = registry.find(name)
    if exact in known:
        return [exact]
    return [c for c in known if any(full.endswith(f".{name}") for full in names_of(c))]


def names_meant(name: str) -> list[str]:
    """Return the names that rows may carry of all jobs that a name can mean.

    The name itself is among them, since rows may outlive their class.
    """
    return list(dict.fromkeys((name, *(n for c in classes_meant(name) for n in names_of(c)))))


def names_of_the_one_meant(name: str) -> list[str]:
    """Return the names that rows may carry of the one job that a name means.

    Raises:
        UnknownJob: it means none, or several.
    """
    return list(dict.fromkeys((name, *names_of(registry.resolve(name)))))
