"""The page of what people did, and the page of each action, on every adapter."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.bulk import BATCH, bulk_action, run_action
from jobqueue.records import (
    ActionKind,
    ActionRecord,
    ActionState,
    JobFilter,
    JobState,
    JsonValue,
    NewAction,
    NewJob,
    NewWorker,
)
from jobqueue.web import Access, Scope
from tests.web.conftest import client_of
from tests.web.test_dashboard import plain
from tests.web.test_page_changes import page

__all__ = ["page"]


def a_bulk_action(adapter: Adapter, jobs: int = 3) -> ActionRecord:
    adapter.enqueue([NewJob("Work", "{}", "a", 50, 5)] * jobs)
    where = JobFilter(states=(JobState.READY,), queues=("a",))
    return adapter.begin_action(bulk_action(ActionKind.CANCEL, where, "ann", reason="wrong"))


def test_who_did_what_to_what_and_why(page: TestClient, adapter: Adapter) -> None:
    page.post("/queues/email/pause", data={"reason": "the bank is away"})
    adapter.note_action(NewAction(ActionKind.EDIT, "bob", {"ids": [7]}, "typo"))
    shown = plain(page.get("/activity").text)
    assert re.search(r"ann pause queue queue email the bank is away 1 done", shown)
    assert re.search(r"bob edit ids 7 typo 1 done", shown)
    assert shown.index("bob edit") < shown.index("ann pause queue")
    [action] = [a for a in page.get("/api/actions").json()["actions"] if a["done_by"] == "bob"]
    one = plain(page.get(f"/activity/{action['id']}").text)
    assert "By bob" in one
    assert "typo" in one
    assert "Progress" not in one


def test_the_list_is_narrowed_and_paged(page: TestClient, adapter: Adapter) -> None:
    for number in range(60):
        adapter.note_action(NewAction(ActionKind.EDIT, "ann", {"ids": [number + 1]}))
    adapter.note_action(NewAction(ActionKind.PAUSE_QUEUE, "bob", {"queue": "email"}))
    rows = re.compile(r'id="action-(\d+)"')
    first = page.get("/activity", params={"kind": "edit", "by": "ann"}).text
    assert len(rows.findall(first)) == 50
    following = re.search(r'href="(/activity\?[^"]*)" rel="next"', first)
    assert following is not None
    second = page.get(following[1].replace("&amp;", "&")).text
    assert len(rows.findall(second)) == 10
    assert not set(rows.findall(first)) & set(rows.findall(second))
    assert len(rows.findall(page.get("/activity?by=bob").text)) == 1
    assert "Nobody did that." in plain(page.get("/activity?by=carl").text)


@pytest.mark.parametrize("asked", ["kind=x", "before=x", "by=%00", f"by={'x' * 1001}"])
def test_what_cannot_be_understood_is_said(page: TestClient, asked: str) -> None:
    assert page.get(f"/activity?{asked}").status_code == 422


def test_an_action_shows_how_far_it_is(page: TestClient, adapter: Adapter) -> None:
    action = a_bulk_action(adapter, jobs=BATCH + 100)
    waiting = page.get(f"/activity/{action.id}").text
    assert "0 changed, 600 left." in plain(waiting)
    assert "waits for a worker" in plain(waiting)
    assert "No worker is alive" in plain(waiting)
    adapter.register_worker(NewWorker("w", "w", "h", 1, None, 4, timedelta(minutes=9), "1"))
    taken = adapter.take_over_action("w")
    assert taken is not None
    run_action(adapter, taken, JobQueue(adapter).ends, lambda _: False)
    half = page.get(f"/activity/{action.id}").text
    assert "500 changed, 100 left." in plain(half)
    assert "No worker is alive" not in plain(half)
    assert 'max="1" value="0.83' in half
    taken = adapter.action(action.id)
    assert taken is not None
    run_action(adapter, taken, JobQueue(adapter).ends)
    done = plain(page.get(f"/activity/{action.id}").text)
    assert "600 jobs were changed" in done


def test_an_action_is_stopped_and_resumed(page: TestClient, adapter: Adapter) -> None:
    action = a_bulk_action(adapter)
    stopped = page.post(f"/activity/{action.id}/stop")
    assert f"Action {action.id} is stopped." in plain(stopped.text)
    assert "0 changed, 3 left." in plain(stopped.text)
    assert adapter.take_over_action("w") is None
    assert page.post(f"/activity/{action.id}/stop").status_code == 409
    assert "goes on" in plain(page.post(f"/activity/{action.id}/resume").text)
    taken = adapter.take_over_action("w")
    assert taken is not None
    assert run_action(adapter, taken, JobQueue(adapter).ends).state is ActionState.DONE
    assert adapter.count_up_to(JobFilter(states=(JobState.CANCELLED,)), 9).number == 3


def test_the_page_and_the_api_agree(page: TestClient, adapter: Adapter) -> None:
    action = a_bulk_action(adapter)
    answer = page.get(f"/api/actions/{action.id}").json()
    shown = plain(page.get(f"/activity/{action.id}").text)
    assert answer["course"] in shown
    assert answer["target"]["query"] in shown


def test_secret_arguments_of_a_query_are_masked_and_not_linked(
    page: TestClient, adapter: Adapter
) -> None:
    where = JobFilter(states=(JobState.READY,), args=(JsonValue(("card",), "4111"),))
    action = adapter.begin_action(bulk_action(ActionKind.CANCEL, where, "ann"))
    shown = page.get(f"/activity/{action.id}").text
    assert "4111" not in shown
    assert "The jobs that match now" not in shown


def test_a_missing_action_is_not_found(page: TestClient) -> None:
    assert page.get("/activity/999").status_code == 404
    assert page.post(f"/activity/{2**70}/stop").status_code == 404


def test_who_may_only_read_can_stop_nothing(adapter: Adapter) -> None:
    action = a_bulk_action(adapter)
    reader = Access("eve", frozenset({Scope.READ}))
    with client_of(JobQueue(adapter), auth=lambda _: reader) as client:
        client.headers.update({"accept": "text/html", "sec-fetch-site": "same-origin"})
        assert "Stop" not in client.get(f"/activity/{action.id}").text.partition("<main")[2]
        assert client.post(f"/activity/{action.id}/stop").status_code == 403
    latest = adapter.action(action.id)
    assert latest is not None
    assert latest.state is ActionState.RUNNING
