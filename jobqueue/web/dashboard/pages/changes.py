"""A change to many jobs: its preview, which changes nothing, and its beginning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from jobqueue.canary import LONGEST_SPREAD, MOST_FIRST, USUAL_NUMBER
from jobqueue.records import LARGEST_ID, ActionKind, JobFilter
from jobqueue.views.job_query import LONGEST_QUERY, words_of
from jobqueue.views.jobs import job_view
from jobqueue.views.query_text import query_text
from jobqueue.web import error_groups as api_error_groups
from jobqueue.web.bulk import MOST_CHANGED, POSSIBLE_STATES, bulk_filter, change_jobs
from jobqueue.web.dashboard.asked import asked_of
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.models import GroupRetryBody, JobFilterBody
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import Problem

EXAMPLES = 5
MINUTE = timedelta(minutes=1)
MOST_SELECTED = 200
KINDS = {"retry": ActionKind.RETRY, "cancel": ActionKind.CANCEL, "delete": ActionKind.DELETE}
CONSEQUENCES = {
    ActionKind.RETRY: "They become due now, and run as soon as workers have room. One whose "
    "attempts are used up is allowed one more.",
    ActionKind.CANCEL: "Those that wait end at once, and those that run are asked to end. The "
    "reason is kept with each of them.",
    ActionKind.DELETE: "Their rows are removed, and nothing brings them back.",
}
BEGUN = "Action {id} has begun. It goes on when you leave this page."


class ChangeForm(BaseModel):
    """The form that begins a change to many jobs.

    Args:
        do: what is done to them.
        q: which jobs, as a query.
        ids: which jobs, by their ids with commas between.
        before: only jobs with smaller ids.
        reason: why.
        how: all at once, or as a canary, which is for groups of errors.
        first: how many a canary retries first.
        minutes: over how many minutes it spreads the rest.
    """

    do: Literal["retry", "cancel", "delete"] = "retry"
    q: Annotated[str, Field(max_length=LONGEST_QUERY)] | None = None
    ids: Annotated[str, Field(max_length=20_000)] | None = None
    before: Annotated[int, Field(ge=1, le=LARGEST_ID)] | None = None
    reason: Annotated[str, Field(max_length=10_000)] | None = None
    how: Literal["all", "canary"] = "all"
    first: Annotated[int, Field(ge=1, le=MOST_FIRST)] = USUAL_NUMBER
    minutes: Annotated[float, Field(ge=0, le=LONGEST_SPREAD / MINUTE, allow_inf_nan=False)] = 10


@dataclass(frozen=True, slots=True)
class Preview:
    """A dry run: what a change would do.

    Args:
        kind: what is done.
        where: the jobs.
        target: the path that the form is sent to.
        back: the URL of the page that leads here, without the mount.
        fields: the hidden fields of the form.
    """

    kind: ActionKind
    where: JobFilter
    target: str
    back: tuple[str, dict[str, str]]
    fields: dict[str, str]


# --- jobs by their ids, or by a query -------------------------------------------------------------


def change_page(call: ApiCall) -> Shown:
    """Return what a change to selected jobs, or to all that match a query, would do."""
    kind, query = _kind_of(asked_of(call, "do")), asked_of(call, "q")
    back = ("/jobs", {"q": query})
    if asked_of(call, "of") == "all":
        where = _of_query(call, kind, query)
        resolved = query_text(where)
        asked = resolved if len(resolved) <= LONGEST_QUERY else query
        return _shown(call, Preview(kind, where, "/jobs/change", back, {"q": asked}))
    ids = call.request.query_params.getlist("id")
    where = _of_ids(call, kind, ids)
    fields = {"ids": ",".join(map(str, where.ids or ()))}
    return _shown(call, Preview(kind, where, "/jobs/change", back, fields))


def begin_change(call: ApiCall) -> dict[str, int]:
    """Begin the change to selected jobs, or to all that match a query; return its action's id."""
    form: ChangeForm = call.body
    kind = _kind_of(form.do)
    if form.ids is not None:
        return _begun(call, kind, _of_ids(call, kind, form.ids.split(",")))
    return _begun(call, kind, _of_query(call, kind, form.q or ""))


def _kind_of(word: str) -> ActionKind:
    if word not in KINDS:
        raise Problem(422, "what is to be done to the jobs is missing: retry, cancel or delete")
    return KINDS[word]


def _of_query(call: ApiCall, kind: ActionKind, query: str) -> JobFilter:
    if not query:
        raise Problem(422, "without a query this would mean every job; ask for some of them first")
    list(words_of(query))  # which says of a query that is too long how long it may be
    return bulk_filter(call.adapter, kind, JobFilterBody.model_validate({"q": query}))


def _of_ids(call: ApiCall, kind: ActionKind, texts: list[str]) -> JobFilter:
    """Return the filter of jobs that somebody has selected one by one, in any fitting state."""
    if not texts:
        raise Problem(422, "no job is selected; go back and tick some, or choose all that match")
    if len(texts) > MOST_SELECTED:
        raise Problem(422, f"{MOST_SELECTED} jobs at most can be selected; use a query for more")
    if not all(t.isascii() and t.isdecimal() and 0 < int(t[:20]) <= LARGEST_ID for t in texts):
        raise Problem(422, "one of the selected jobs has no id; go back and select them again")
    asked = JobFilterBody.model_validate({"ids": [int(text) for text in texts]})
    return replace(bulk_filter(call.adapter, kind, asked), states=POSSIBLE_STATES[kind])


# --- the jobs of a group of errors ----------------------------------------------------------------


def group_change_page(call: ApiCall) -> Shown:
    """Return what a change to all jobs of a group of errors would do."""
    kind, key = _kind_of(asked_of(call, "do")), call.path["key"]
    where = api_error_groups.jobs_to_change(call, kind)
    target = f"/errors/{key}/{kind}"
    return _shown(call, Preview(kind, where, target, (f"/errors/{key}", {}), {}))


def retry_group(call: ApiCall) -> dict[str, int]:
    """Begin to retry all jobs of a group of errors; return the action's id."""
    return _begun_of_group(call, ActionKind.RETRY)


def cancel_group(call: ApiCall) -> dict[str, int]:
    """Begin to cancel all jobs of a group of errors; return the action's id."""
    return _begun_of_group(call, ActionKind.CANCEL)


def _begun_of_group(call: ApiCall, kind: ActionKind) -> dict[str, int]:
    return _begun(call, kind, api_error_groups.jobs_to_change(call, kind))


# --- both -----------------------------------------------------------------------------------------


def _begun(call: ApiCall, kind: ActionKind, where: JobFilter) -> dict[str, int]:
    form: ChangeForm = call.body
    asked: dict[str, Any] = {"background": True, "reason": form.reason}
    if form.how == "canary" and kind is ActionKind.RETRY and where.error_keys:
        asked["canary"] = {"number": form.first, "spread_seconds": form.minutes * 60}
    body = GroupRetryBody.model_validate(asked)
    answer = change_jobs(
        replace(call, body=body), kind, replace(where, before_id=form.before or where.before_id)
    )
    return {"id": answer.body["action"]}


def _shown(call: ApiCall, preview: Preview) -> dict[str, Any]:
    """Return the dry run: how many jobs, some of them, and what happens to them."""
    adapter, where = call.adapter, preview.where
    examples = adapter.page_jobs(where, EXAMPLES).jobs
    fields = {"do": preview.kind.value, **preview.fields}
    if examples:
        # Jobs that are enqueued while somebody reads the page are not meant.
        fields["before"] = str(min(examples[0].id + 1, LARGEST_ID))
    path, query = preview.back
    return {
        "now": adapter.now(),
        "kind": preview.kind.value,
        "count": adapter.count_up_to(where, MOST_CHANGED),
        "query": query_text(where),
        "consequence": CONSEQUENCES[preview.kind],
        "examples": [job_view(record) for record in examples],
        "target": preview.target,
        "fields": fields,
        "can_be_canary": preview.kind is ActionKind.RETRY and preview.target != "/jobs/change",
        "back": path,
        "back_query": query,
    }


PAGES = (
    DashboardPage("/jobs/change", "Jobs", "change.html", change_page),
    DashboardPage("/errors/{key}/change", "Errors", "change.html", group_change_page),
)
FORM_ACTIONS = (
    FormAction("/jobs/change", begin_change, BEGUN, "/activity/{id}", ChangeForm),
    FormAction("/errors/{key}/retry", retry_group, BEGUN, "/activity/{id}", ChangeForm),
    FormAction("/errors/{key}/cancel", cancel_group, BEGUN, "/activity/{id}", ChangeForm),
)
