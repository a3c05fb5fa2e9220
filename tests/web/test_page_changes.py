"""Changes to many jobs by pages: chips, the dry run, and its beginning, on every adapter."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.bulk import run_action
from jobqueue.canary import take_step
from jobqueue.fingerprints import group_of
from jobqueue.maintenance.bulk_actions import BulkActionService
from jobqueue.records import (
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
    Failed,
    JobFilter,
    JobState,
    NewErrors,
    NewJob,
)
from jobqueue.testing.contract.base import a_claim
from jobqueue.web.dashboard.chips import quick_chips, word_chips
from tests.web.conftest import client_of
from tests.web.test_dashboard import OWN, plain

GROUP = group_of("Work", "ValueError", "a.py:f", "no")
HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">')


@pytest.fixture
def page(adapter: Adapter) -> Iterator[TestClient]:
    """An operator's browser, on each adapter in turn."""
    with client_of(JobQueue(adapter)) as made:
        made.headers.update(OWN)
        yield made


def failed_jobs(adapter: Adapter, number: int, queue: str = "a") -> list[int]:
    """The ids of jobs that have failed with the errors of one group."""
    adapter.enqueue([NewJob("Work", "{}", queue, 50, 1)] * number)
    claimed = adapter.claim(a_claim("w:1:a", limit=number, queues=(queue,)))
    adapter.settle([Failed(job, error="ValueError: no", error_group=GROUP) for job in claimed])
    adapter.add_errors([NewErrors(GROUP, number, "ValueError: no", claimed[0].id)], "1.5.0")
    return sorted(job.id for job in claimed)


def confirmed(client: TestClient, page: str, target: str, reason: str = "") -> Any:
    """The action, as the API answers it, that the form on a page of a dry run begins."""
    form = page.partition('id="confirm"')[2].partition("</form>")[0]
    fields = {name: html.unescape(value) for name, value in HIDDEN.findall(form)}
    answer = client.post(target, data={**fields, "reason": reason}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    found = re.match(r"/activity/(\d+)\?said=", answer.headers["location"])
    assert found is not None
    return client.get(f"/api/actions/{found[1]}").json()


def carried_out(adapter: Adapter) -> ActionRecord:
    """An action, as a worker carries it out that looks for one."""
    action = adapter.take_over_action("w:1:a")
    assert action is not None
    return run_action(adapter, action, JobQueue(adapter).ends)


def states(adapter: Adapter, ids: list[int]) -> list[JobState | None]:
    return [None if (job := adapter.get(id_)) is None else job.state for id_ in ids]


# --- chips ----------------------------------------------------------------------------------------


def test_each_word_of_a_query_has_a_chip_that_removes_it() -> None:
    chips = word_chips('state:failed queue:a "two words"')
    assert [(chip.text, chip.query) for chip in chips] == [
        ("state:failed", 'queue:a "two words"'),
        ("queue:a", 'state:failed "two words"'),
        ('"two words"', "state:failed queue:a"),
    ]
    assert word_chips('"not closed') == ()


def test_quick_chips_leave_the_other_words_alone() -> None:
    chips = {chip.text: chip for chip in quick_chips("state:ready due:yes queue:a")}
    assert chips["Failed"].query == "state:failed queue:a"
    assert chips["All"].query == "queue:a"
    assert [text for text, chip in chips.items() if chip.is_on] == ["Due"]
    assert chips["Last hour"].query == "state:ready due:yes queue:a since:1h"
    on = {chip.text: chip for chip in quick_chips("queue:a since:1h")}["Last hour"]
    assert (on.is_on, on.query) == (True, "queue:a")


def test_the_page_has_the_chips_and_a_box_for_each_row(page: TestClient, adapter: Adapter) -> None:
    ids = failed_jobs(adapter, 2)
    shown = page.get("/jobs", params={"q": "state:failed queue:a"}).text
    assert 'href="/jobs?q=queue%3Aa" aria-label="Search without state:failed"' in shown
    assert re.findall(r'name="id" value="(\d+)"', shown) == [str(id_) for id_ in reversed(ids)]
    reader = page.get("/jobs", headers={"x-role": "read"}).text
    assert 'type="checkbox"' not in reader
    assert "/jobs/change" not in reader


# --- selected jobs, and all that match ------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "state"),
    [("retry", JobState.READY), ("delete", None)],
)
def test_selected_jobs_are_changed_after_a_dry_run(
    page: TestClient, adapter: Adapter, do: str, state: JobState | None
) -> None:
    ids = failed_jobs(adapter, 3)
    asked = {"do": do, "of": "selected", "id": [str(id_) for id_ in ids[:2]]}
    dry = page.get("/jobs/change", params=asked).text
    assert f"{do.capitalize()} 2 jobs?" in plain(dry)
    assert states(adapter, ids) == [JobState.FAILED] * 3
    assert not adapter.actions(ActionFilter(), 1)
    action = confirmed(page, dry, "/jobs/change", "the bank is back")
    assert (action["kind"], action["reason"], action["done_by"]) == (do, "the bank is back", "ann")
    assert states(adapter, ids) == [JobState.FAILED] * 3
    assert carried_out(adapter).number == 2
    assert states(adapter, ids) == [state, state, JobState.FAILED]


def test_all_that_match_are_changed_and_what_comes_later_is_not(
    page: TestClient, adapter: Adapter
) -> None:
    old = [job.id for job in adapter.enqueue([NewJob("Work", "{}", "a", 50, 5)] * 3)]
    dry = page.get("/jobs/change", params={"do": "cancel", "of": "all", "q": "queue:a"}).text
    assert "Cancel 3 jobs?" in plain(dry)
    assert "queue:a" in plain(dry)
    [late] = adapter.enqueue([NewJob("Work", "{}", "a", 50, 5)])
    confirmed(page, dry, "/jobs/change", "not needed")
    assert carried_out(adapter).state is ActionState.DONE
    assert states(adapter, [*old, late.id]) == [JobState.CANCELLED] * 3 + [JobState.READY]
    job = adapter.get(old[0])
    assert job is not None
    assert job.last_error == "not needed"


def test_ages_count_from_the_dry_run(page: TestClient, adapter: Adapter) -> None:
    failed_jobs(adapter, 1)
    asked = {"do": "retry", "of": "all", "q": "state:failed since:1h"}
    action = confirmed(page, page.get("/jobs/change", params=asked).text, "/jobs/change")
    shown = plain(page.get(f"/activity/{action['id']}").text)
    assert re.search(r"state:failed since:\d{4}-\d\d-\d\dT", shown)


def test_a_query_that_matches_nothing_has_no_form(page: TestClient) -> None:
    dry = page.get("/jobs/change", params={"do": "retry", "of": "all", "q": "queue:none"}).text
    assert "Retry 0 jobs?" in plain(dry)
    assert "None of them can be changed so now." in plain(dry)
    assert 'id="confirm"' not in dry


def test_a_reader_sees_the_number_and_no_form(page: TestClient, adapter: Adapter) -> None:
    failed_jobs(adapter, 1)
    asked = {"do": "retry", "of": "all", "q": "state:failed"}
    dry = page.get("/jobs/change", params=asked, headers={"x-role": "read"}).text
    assert "Retry 1 job?" in plain(dry)
    assert 'method="post"' not in dry.partition("<main")[2]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"do": "retry", "of": "selected"}, "no job is selected"),
        ({"do": "retry", "of": "all"}, "would mean every job"),
        ({"do": "burn", "of": "all", "q": "queue:a"}, "retry, cancel or delete"),
        ({"do": "retry", "id": ["x"]}, "has no id"),
        ({"do": "retry", "id": ["9" * 30]}, "has no id"),
        ({"do": "retry", "id": ["1"] * 201}, "200 jobs at most"),
        ({"do": "cancel", "of": "all", "q": "state:failed"}, "failed jobs cannot be cancelled"),
        ({"do": "retry", "of": "all", "q": "stat:failed"}, "did you mean"),
        ({"do": "retry", "of": "all", "q": "x" * 2001}, "2,000 characters at most"),
    ],
)
def test_what_cannot_be_changed_is_said(
    page: TestClient, adapter: Adapter, asked: dict[str, str | list[str]], why: str
) -> None:
    answer = page.get("/jobs/change", params=asked)
    assert (answer.status_code, why in plain(answer.text)) == (422, True), answer.text
    fields = {name: value for name, value in asked.items() if name in {"do", "q"}}
    fields["ids"] = ",".join(asked.get("id", []))
    refused = page.post("/jobs/change", data=fields)
    assert refused.status_code == 422, refused.text
    assert not adapter.actions(ActionFilter(), 1)


# --- groups of errors -----------------------------------------------------------------------------


def test_all_jobs_of_a_group_are_retried(page: TestClient, adapter: Adapter) -> None:
    ids = failed_jobs(adapter, 4)
    dry = page.get(f"/errors/{GROUP.key}/change?do=retry").text
    assert "Retry 4 jobs?" in plain(dry)
    action = confirmed(page, dry, f"/errors/{GROUP.key}/retry", "mended")
    assert (action["kind"], action["reason"]) == (ActionKind.RETRY, "mended")
    assert carried_out(adapter).number == 4
    assert states(adapter, ids) == [JobState.READY] * 4


def test_all_waiting_jobs_of_a_group_are_cancelled(page: TestClient, adapter: Adapter) -> None:
    ids = failed_jobs(adapter, 2)
    adapter.retry(JobFilter(ids=(ids[0],)))
    dry = page.get(f"/errors/{GROUP.key}/change?do=cancel").text
    assert "Cancel 1 job?" in plain(dry)
    confirmed(page, dry, f"/errors/{GROUP.key}/cancel", "hopeless")
    assert carried_out(adapter).number == 1
    assert states(adapter, ids) == [JobState.CANCELLED, JobState.FAILED]


def test_a_group_is_not_deleted_and_has_to_be_there(page: TestClient, adapter: Adapter) -> None:
    failed_jobs(adapter, 1)
    assert page.get(f"/errors/{GROUP.key}/change?do=delete").status_code == 422
    assert page.get("/errors/none/change?do=retry").status_code == 404


def test_a_list_of_errors_says_with_which_release_they_are_new(
    page: TestClient, adapter: Adapter
) -> None:
    failed_jobs(adapter, 3)
    shown = page.get("/errors").text
    assert "new with release 1.5.0" in plain(shown)
    assert 'aria-label="Errors of the last 7 days: 3"' in shown
    assert "new with release 1.5.0" in plain(page.get(f"/errors/{GROUP.key}").text)


@pytest.mark.parametrize("word", ["mute", "resolve", "reopen"])
def test_a_state_of_errors_has_a_reason(page: TestClient, adapter: Adapter, word: str) -> None:
    failed_jobs(adapter, 1)
    page.post(f"/errors/{GROUP.key}/{word}", data={"reason": "see 4711"})
    [action] = adapter.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == (f"{word} errors", "see 4711")
    page.post(f"/api/errors/{GROUP.key}/{word}", json={"reason": "again"})
    assert adapter.actions(ActionFilter(), 1)[0].reason == "again"
    assert page.post(f"/api/errors/{GROUP.key}/{word}").status_code == 200


# --- canaries -------------------------------------------------------------------------------------


def test_a_canary_is_begun_over_http(page: TestClient, adapter: Adapter) -> None:
    ids = failed_jobs(adapter, 4)
    path = f"/api/errors/{GROUP.key}/retry"
    asked = {"canary": {"number": 2, "spread_seconds": 60}, "reason": "mended"}
    dry = page.post(path, json={**asked, "dry_run": True}).json()
    assert (dry["count"], dry["action"]) == (4, None)
    answer = page.post(path, json=asked)
    assert answer.status_code == 202
    action = page.get(f"/api/actions/{answer.json()['action']}").json()
    assert (action["kind"], action["reason"], action["number"]) == ("canary retry", "mended", 0)
    assert action["target"]["canary"]["number"] == 2
    assert states(adapter, ids) == [JobState.FAILED] * 4


@pytest.mark.parametrize(
    "canary", [{"number": 0}, {"number": 501}, {"spread_seconds": -1}, {"speed": 1}, 3]
)
def test_what_is_no_canary_is_refused(page: TestClient, adapter: Adapter, canary: object) -> None:
    failed_jobs(adapter, 1)
    path = f"/api/errors/{GROUP.key}/retry"
    assert page.post(path, json={"canary": canary}).status_code == 422
    assert page.post(f"/api/errors/{GROUP.key}/cancel", json={"canary": {}}).status_code == 422
    body = {"filter": {"q": "state:failed"}, "canary": {}}
    assert page.post("/api/jobs/retry", json=body).status_code == 422
    assert not adapter.actions(ActionFilter(), 1)


def test_a_canary_is_begun_by_a_page_and_workers_carry_it_out(
    page: TestClient, adapter: Adapter
) -> None:
    ids = failed_jobs(adapter, 4)
    dry = page.get(f"/errors/{GROUP.key}/change?do=retry").text
    assert "A few first" in plain(dry)
    how = {"how": "canary", "first": "3", "minutes": "0", "reason": "mended"}
    answer = page.post(f"/errors/{GROUP.key}/retry", data=how, follow_redirects=False)
    path = answer.headers["location"]
    assert "First 3 jobs are retried." in plain(page.get(path).text)
    service = BulkActionService(
        adapter, "w:1:a", JobQueue(adapter).ends, logging.getLogger("tests.canary")
    )
    assert service._step() == 0
    assert states(adapter, ids).count(JobState.READY) == 3
    assert "3 changed, 1 left." in plain(page.get(path).text)
    assert "waits for its first jobs" in plain(page.get(path).text)
    claimed = adapter.claim(a_claim("w:1:a", limit=1))
    failed = Failed(claimed[0], error="ValueError: no", error_group=GROUP)
    adapter.settle([failed])
    [action] = adapter.actions(ActionFilter(), 1)
    held = adapter.take_over_action("w:2:b", action_id=action.id)
    latest = take_step(adapter, held or replace(action, run_by="w:1:a"))
    assert latest.state is ActionState.STOPPED
    shown = plain(page.get(path).text)
    assert f"The same error came back in job {claimed[0].id}" in shown
    assert "Resume" in shown


def test_only_groups_of_errors_have_canaries(page: TestClient, adapter: Adapter) -> None:
    ids = failed_jobs(adapter, 2)
    asked = {"do": "retry", "of": "all", "q": "state:failed"}
    assert "A few first" not in plain(page.get("/jobs/change", params=asked).text)
    fields = {"do": "retry", "ids": str(ids[0]), "how": "canary"}
    page.post("/jobs/change", data=fields)
    assert adapter.actions(ActionFilter(), 1)[0].kind == ActionKind.RETRY
    wrong = page.post(f"/errors/{GROUP.key}/retry", data={"how": "canary", "first": "0"})
    assert wrong.status_code == 422
