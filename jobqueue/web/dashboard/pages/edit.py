"""The form that gives a job other arguments and retries it, with a preview of what changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobqueue.errors import InvalidArguments, StateConflict
from jobqueue.exact_json import as_texts
from jobqueue.job import Job, registry
from jobqueue.records import WAITING_STATES, JobState
from jobqueue.redaction import MASK
from jobqueue.stored import StoredJob
from jobqueue.web import jobs as api_jobs
from jobqueue.web.access import Scope
from jobqueue.web.dashboard.argument_fields import (
    PREFIX,
    argument_fields,
    arguments_in,
    given_texts,
    stored_texts,
)
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown, ShownInstead
from jobqueue.web.models import RetryBody
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

TAB = "Jobs"
EDITABLE = {*WAITING_STATES, JobState.FAILED, JobState.CANCELLED}
CHANGED_MEANWHILE = (
    "Nothing was changed: somebody has changed the job since you saw what would be different. "
    "This is the difference now."
)
NOTHING_NEW = "Nothing is different yet: change an argument, or retry the job as it is."


@dataclass(frozen=True, slots=True)
class ChangedArgument:
    """An argument that is to be another; the values as JSON texts, None where there is none."""

    name: str
    before: str | None
    after: str | None


def edit_page(call: ApiCall) -> Shown:
    """Return the form with the arguments of a job."""
    record, job_class = _editable(call)
    return _form_of(record, job_class, stored_texts(job_class, record.args))


def preview(call: ApiCall) -> ShownInstead:
    """Show what would be different; nothing is changed."""
    record, job_class = _editable(call)
    typed = given_texts(call.body)
    try:
        args = _changed(record, job_class, typed)
        differences = _differences(record, job_class, args)
    except (InvalidArguments, Problem) as error:
        wrong = error.detail if isinstance(error, Problem) else str(error)
        shown = {**_form_of(record, job_class, typed), "wrong": wrong}
        return ShownInstead("edit.html", TAB, shown, 422)
    if not differences:
        shown = {**_form_of(record, job_class, typed), "wrong": NOTHING_NEW}
        return ShownInstead("edit.html", TAB, shown)
    return _preview(record, job_class, differences, call.body)


def _preview(
    record: StoredJob,
    job_class: type[Job],
    differences: Sequence[ChangedArgument],
    fields: Mapping[str, str],
    *,
    wrong: str | None = None,
) -> ShownInstead:
    """Show differences. What was typed is sent along, but for secrets, which are typed again."""
    secret = {PREFIX + name for name in job_class.redact}
    shown = {
        "record": record,
        "differences": differences,
        "kept": {
            name: text
            for name, text in fields.items()
            if name.startswith(PREFIX) and name not in secret
        },
        "secrets": [d.name for d in differences if d.name in job_class.redact],
        "seen": record.updated_at.isoformat(),
        "wrong": wrong,
    }
    return ShownInstead("edit_preview.html", TAB, shown, 200 if wrong is None else 409)


def retry_changed(call: ApiCall) -> ShownInstead | None:
    """Give the job its arguments and retry it, in one transaction.

    If it was changed since the preview, the preview is shown once more.
    """
    record, job_class = _editable(call)
    args = _changed(record, job_class, given_texts(call.body))
    if call.body.get("seen") != record.updated_at.isoformat():
        differences = _differences(record, job_class, args)
        return _preview(record, job_class, differences, call.body, wrong=CHANGED_MEANWHILE)
    reason = call.body.get("reason", "").strip() or None
    api_jobs.retry(replace(call, body=RetryBody(args=args, reason=reason)))
    return None


def _editable(call: ApiCall) -> tuple[StoredJob, type[Job]]:
    record = api_jobs.found(call)
    if record.state not in EDITABLE:
        raise StateConflict(
            f"job {record.id} is {record.state}: its arguments can no longer be changed"
        )
    job_class = api_jobs.class_of(record)
    if job_class is None or not job_class.api:
        api_jobs.refuse_unchangeable(record, {})
        raise Problem(422, f"{record.handler} is not known here")
    return record, job_class


def _changed(record: StoredJob, job_class: type[Job], typed: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments that differ from those that are stored."""
    before = stored_texts(job_class, record.args)
    return arguments_in(argument_fields(job_class, {}), typed, before)


def _differences(
    record: StoredJob, job_class: type[Job], args: Mapping[str, Any]
) -> list[ChangedArgument]:
    """Return what differs, when the class has taken the new arguments.

    Raises:
        InvalidArguments: they do not fit its `perform`.
    """
    new = json.loads(registry.encode_args({**record.args, **args}, record.handler))
    secret = set(job_class.redact)
    return [
        ChangedArgument(
            name,
            _shown(record.args, name, is_secret=name in secret),
            f"{MASK} (another value)" if name in secret else _shown(new, name, is_secret=False),
        )
        for name in dict.fromkeys((*record.args, *new))
        if as_texts(record.args.get(name)) != as_texts(new.get(name)) or name not in record.args
    ]


def _shown(args: Mapping[str, Any], name: str, *, is_secret: bool) -> str | None:
    if name not in args:
        return None
    return MASK if is_secret else json.dumps(args[name], ensure_ascii=False, indent=2)


def _form_of(record: StoredJob, job_class: type[Job], texts: Mapping[str, str]) -> Shown:
    fields = argument_fields(job_class, texts)
    return {"record": record, "fields": fields, "wrong": None}


PAGES = (DashboardPage("/jobs/{id:job_id}/edit", TAB, "edit.html", edit_page, Scope.OPERATE),)
FORM_ACTIONS = (
    FormAction("/jobs/{id:job_id}/edit", preview, "", "/jobs/{id}", takes_fields=True),
    FormAction(
        "/jobs/{id:job_id}/edit/retry",
        retry_changed,
        "Job {id} has its new arguments, and is due now.",
        "/jobs/{id}",
        takes_fields=True,
    ),
)
