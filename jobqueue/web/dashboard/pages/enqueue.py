"""The form that enqueues a job of a class that is open to the API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from jobqueue.app import import_app
from jobqueue.defaults import default_configuration
from jobqueue.errors import InvalidArguments
from jobqueue.job import Job, registry
from jobqueue.web import jobs as api_jobs
from jobqueue.web.access import Scope
from jobqueue.web.dashboard.argument_fields import argument_fields, arguments_in, given_texts
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown, ShownInstead
from jobqueue.web.models import NewJobBody
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

TAB, TEMPLATE = "Enqueue", "enqueue.html"
NUMBERS = ("priority", "wait")
OPTIONS = ("queue", *NUMBERS, "run_at")


def enqueue_page(call: ApiCall) -> Shown:
    """Return the classes that are open, and the form of the one that is asked for."""
    name = asked_of(call, "name")
    if not name:
        import_app(default_configuration.settings.app)
        return {"classes": _open_classes(), "job_class": None}
    return _form_of(api_jobs.open_class(name), {}, {})


def enqueue_job(call: ApiCall) -> dict[str, Any] | ShownInstead:
    """Enqueue a job, or show the form once more with what is wrong in it."""
    typed: Mapping[str, str] = call.body
    job_class = api_jobs.open_class(typed.get("name", ""))
    texts = given_texts(typed)
    try:
        args = arguments_in(argument_fields(job_class, {}), texts, {})
        options = {name: _option(name, typed[name].strip()) for name in OPTIONS if typed.get(name)}
        body = NewJobBody.model_validate({"name": job_class.name, "args": args, **options})
        answer = api_jobs.enqueue(_with_body(call, body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (InvalidArguments, Problem) as error:
        wrong = error.detail if isinstance(error, Problem) else str(error)
    else:
        return {"id": answer.body["id"]}
    return ShownInstead(TEMPLATE, TAB, {**_form_of(job_class, texts, typed), "wrong": wrong}, 422)


def _option(name: str, text: str) -> Any:
    """Return an option as the API takes it, which gets numbers as such."""
    if not text:
        return None
    try:
        return json.loads(text) if name in NUMBERS else text
    except ValueError:
        return text


def _with_body(call: ApiCall, body: NewJobBody) -> ApiCall:
    return ApiCall(call.request, call.api, call.access, call.path, body=body)


def _open_classes() -> list[tuple[str, str]]:
    found = [job_class for job_class in registry.classes() if job_class.api]
    return sorted((each.name, _summary(each)) for each in found)


def _summary(job_class: type[Job]) -> str:
    return (job_class.__doc__ or "").strip().partition("\n")[0]


def _form_of(job_class: type[Job], texts: Mapping[str, str], typed: Mapping[str, str]) -> Shown:
    return {
        "classes": (),
        "job_class": job_class,
        "summary": _summary(job_class),
        "fields": argument_fields(job_class, texts),
        "options": {name: typed.get(name, "") for name in OPTIONS},
        "wrong": None,
    }


PAGES = (DashboardPage("/enqueue", TAB, TEMPLATE, enqueue_page, Scope.ENQUEUE),)
FORM_ACTIONS = (
    FormAction(
        "/enqueue",
        enqueue_job,
        "Job {id} is enqueued.",
        "/jobs/{id}",
        scope=Scope.ENQUEUE,
        takes_fields=True,
    ),
)
