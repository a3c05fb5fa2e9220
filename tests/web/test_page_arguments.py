"""Forms for arguments: a job is enqueued, and retried with others, from a page."""

from __future__ import annotations

import enum
import html
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import pytest
from starlette.testclient import TestClient

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.records import ActionFilter, ActionKind, JobFilter, JobState, NewJob
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

SECRET = "4000-0000-0000-0002"


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class FormJob(Job):
    """Has a parameter of each kind."""

    api = True
    redact = ("card",)
    queue = "forms"

    def perform(
        self,
        who: str,
        count: int,
        card: str = "none",
        note: str | None = None,
        colour: Colour = Colour.RED,
        size: Literal["s", "m"] = "s",
        at: datetime | None = None,
        again: bool = False,
        tags: list[str] | None = None,
        **more: float,
    ) -> None:
        """Do nothing."""


class ClosedJob(Job):
    """Is not open to the API."""

    def perform(self, who: str) -> None:
        """Do nothing."""


@pytest.fixture
def client(adapter: Adapter) -> Iterator[TestClient]:
    with client_of(JobQueue(adapter)) as made:
        made.headers.update(OWN)
        yield made


GIVEN = {"name": FormJob.name, "arg.who": " Ann  ", "arg.count": "3"}


def test_a_job_is_enqueued_with_what_was_typed(client: TestClient, adapter: Adapter) -> None:
    listed = client.get("/enqueue").text
    assert FormJob.name in plain(listed)
    assert ClosedJob.name not in plain(listed)
    form = client.get("/enqueue", params={"name": FormJob.name}).text
    assert "has to be given" in plain(form)
    more = {
        "arg.note": "null",
        "arg.colour": "2",
        "arg.size": '"m"',
        "arg.at": "2026-12-24T08:00:00Z",
        "arg.again": "true",
        "arg.tags": '["a", "<b>"]',
        "arg.more": '{"x": 1.5}',
        "arg.card": SECRET,
        "priority": "7",
        "wait": "60",
    }
    page = client.post("/enqueue", data={**GIVEN, **more})
    assert re.search(r"Job \d+ is enqueued", plain(page.text)), plain(page.text)
    assert SECRET not in page.text
    [job] = adapter.list_jobs(JobFilter(), 9)
    assert job.args == {
        "who": " Ann  ",
        "count": 3,
        "card": SECRET,
        "note": None,
        "colour": 2,
        "size": "m",
        "at": "2026-12-24T08:00:00Z",
        "again": True,
        "tags": ["a", "<b>"],
        "x": 1.5,
    }
    assert (job.queue, job.priority) == ("forms", 7)
    assert job.run_at - job.created_at == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arg.count": "three"}, "'three' is not a number"),
        ({"arg.count": "1.5"}, "count"),
        ({"arg.count": ""}, "count"),
        ({"arg.tags": "[1"}, "is not JSON"),
        ({"arg.more": "[]"}, "JSON object"),
        ({"arg.size": '"xl"'}, "size"),
        ({"priority": "high"}, "priority"),
        ({"wait": "-1"}, "wait"),
        ({"queue": "no such name!"}, "queue"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    client: TestClient, adapter: Adapter, changed: dict[str, str], said: str
) -> None:
    answer = client.post("/enqueue", data={**GIVEN, "arg.note": "keep <this>", **changed})
    assert answer.status_code == 422
    assert "Nothing was enqueued." in plain(answer.text)
    assert said in plain(answer.text)
    assert "keep &lt;this&gt;" in answer.text
    assert not adapter.list_jobs(JobFilter(), 1)


def test_who_may_not_enqueue_has_no_form(client: TestClient, adapter: Adapter) -> None:
    reader = {"x-role": "only read"}
    assert client.get("/enqueue", headers=reader).status_code == 403
    assert client.post("/enqueue", data=GIVEN, headers=reader).status_code == 403
    assert client.post("/enqueue", data={**GIVEN, "name": ClosedJob.name}).status_code == 422
    assert not adapter.list_jobs(JobFilter(), 1)


def failed(adapter: Adapter) -> int:
    args = json.dumps({"who": "Ann", "count": 3, "card": SECRET, "tags": ["a"]})
    [job] = adapter.enqueue([NewJob(FormJob.name, args, "forms", 50, 5)])
    job.cancel("for the test")
    return job.id


def hidden(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def fields_in(page: str) -> dict[str, str]:
    inputs = re.findall(r'<input id="(arg\.[^"]*)" name="[^"]*" value="([^"]*)"', page)
    areas = re.findall(r'<textarea id="(arg\.[^"]*)"[^>]*>([^<]*)</textarea>', page)
    chosen = re.findall(r'<select id="(arg\.[^"]*)".*?</select>', page, re.DOTALL)
    given = {name: html.unescape(value) for name, value in (*inputs, *areas)}
    return given | dict.fromkeys(chosen, "")


def test_a_job_is_retried_with_other_arguments_after_a_preview(
    client: TestClient, adapter: Adapter
) -> None:
    job_id = failed(adapter)
    assert f"/jobs/{job_id}/edit" in client.get(f"/jobs/{job_id}").text
    form = client.get(f"/jobs/{job_id}/edit").text
    assert SECRET not in form
    typed = fields_in(form)
    assert (typed["arg.who"], typed["arg.tags"], typed["arg.card"]) == ("Ann", '["a"]', "")
    same = client.post(f"/jobs/{job_id}/edit", data=typed)
    assert "Nothing is different yet" in plain(same.text)
    typed |= {"arg.who": "Bob", "arg.count": "4"}
    preview = client.post(f"/jobs/{job_id}/edit", data=typed)
    shown = plain(preview.text)
    assert re.search(r'who "Ann" "Bob"', shown), shown
    assert re.search(r"count 3 4", shown), shown
    assert "tags" not in shown
    unchanged = adapter.get(job_id)
    assert unchanged is not None
    assert unchanged.state is JobState.CANCELLED
    fields = {**hidden(preview.text), "reason": "the name was wrong"}
    done = client.post(f"/jobs/{job_id}/edit/retry", data=fields)
    assert "has its new arguments, and is due now" in plain(done.text)
    changed = adapter.get(job_id)
    assert changed is not None
    assert changed.state is JobState.READY
    assert (changed.args["who"], changed.args["count"], changed.args["card"]) == ("Bob", 4, SECRET)
    [action] = adapter.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == (ActionKind.RETRY, "the name was wrong")


def test_arguments_that_do_not_fit_change_nothing(client: TestClient, adapter: Adapter) -> None:
    job_id = failed(adapter)
    for path in (f"/jobs/{job_id}/edit", f"/jobs/{job_id}/edit/retry"):
        answer = client.post(path, data={"arg.count": "many"})
        assert answer.status_code == 422
        assert "'many' is not a number" in plain(answer.text)
    assert not adapter.actions(ActionFilter(), 1)


NEW_SECRET = "5555-0000-0000-0001"


def test_a_secret_is_replaced_and_never_sent_back(client: TestClient, adapter: Adapter) -> None:
    job_id = failed(adapter)
    typed = fields_in(client.get(f"/jobs/{job_id}/edit").text) | {"arg.card": NEW_SECRET}
    preview = client.post(f"/jobs/{job_id}/edit", data=typed)
    assert "another value" in plain(preview.text)
    assert "card, once more" in plain(preview.text)
    assert SECRET not in preview.text
    assert NEW_SECRET not in preview.text
    fields = {**hidden(preview.text), "arg.card": NEW_SECRET}
    client.post(f"/jobs/{job_id}/edit/retry", data=fields)
    changed = adapter.get(job_id)
    assert changed is not None
    assert changed.args["card"] == NEW_SECRET
    wrong = {**GIVEN, "arg.card": NEW_SECRET, "arg.count": "no"}
    assert NEW_SECRET not in client.post("/enqueue", data=wrong).text
    assert NEW_SECRET not in client.post(f"/jobs/{job_id}/edit", data=wrong).text


def test_what_was_changed_since_the_preview_is_not_undone(
    client: TestClient, adapter: Adapter
) -> None:
    job_id = failed(adapter)
    typed = fields_in(client.get(f"/jobs/{job_id}/edit").text) | {"arg.count": "4"}
    fields = hidden(client.post(f"/jobs/{job_id}/edit", data=typed).text)
    args = json.dumps({"who": "Zoe", "count": 3, "card": SECRET, "tags": ["a"]})
    assert adapter.update_args(job_id, args)
    again = client.post(f"/jobs/{job_id}/edit/retry", data=fields)
    assert again.status_code == 409
    assert "somebody has changed the job since" in plain(again.text)
    assert re.search(r'who "Zoe" "Ann"', plain(again.text)), plain(again.text)
    seen = adapter.get(job_id)
    assert seen is not None
    assert (seen.state, seen.args["who"]) == (JobState.CANCELLED, "Zoe")
    confirmed = client.post(f"/jobs/{job_id}/edit/retry", data=hidden(again.text))
    assert "has its new arguments" in plain(confirmed.text)


def test_arguments_of_closed_classes_and_of_running_jobs_are_not_changed(
    client: TestClient, adapter: Adapter
) -> None:
    [closed] = adapter.enqueue([NewJob(ClosedJob.name, '{"who": "Ann"}', "forms", 50, 5)])
    assert client.get(f"/jobs/{closed.id}/edit").status_code == 422
    assert f"/jobs/{closed.id}/edit" not in client.get(f"/jobs/{closed.id}").text
    assert client.get("/jobs/999999/edit").status_code == 404
