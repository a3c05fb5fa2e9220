"""`jobs errors retry --canary`: left to the workers, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.canary import canary_of
from jobqueue.records import ActionFilter, ActionKind, JobFilter, JobState, NewAction
from tests.cli.test_errors import add, failed_jobs, said
from tests.conftest import Project


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        yield made


def test_a_canary_is_begun_and_left_to_workers(project: Project, adapter: SqlAdapter) -> None:
    failed_jobs(project, adapter, 10)
    asked = ("retry", "aaa", "--canary", "3", "--spread", "2h")
    assert said(project, *asked, "--dry-run") == "10 jobs would be made due now.\n"
    assert not adapter.actions(ActionFilter(), 1)
    out = said(project, *asked, "--reason", "mended")
    [action] = adapter.actions(ActionFilter(), 1)
    assert out.startswith(f"Action {action.id} retries 3 jobs first. Workers carry it out;")
    assert (action.kind, action.reason, action.number) == (ActionKind.CANARY, "mended", 0)
    canary = canary_of(action.target)
    assert canary is not None
    assert (canary.number, canary.spread_seconds) == (3, 7200)
    assert adapter.count_jobs(JobFilter(states=(JobState.FAILED,))) == 5
    shown = project.jobs("actions", "show", str(action.id)).out
    assert "canary retry" in shown
    assert "waits for a worker" in shown


def test_a_stopped_canary_is_resumed_for_the_workers(project: Project, adapter: SqlAdapter) -> None:
    add(adapter, "aaa")
    said(project, "retry", "aaa", "--canary", "3")
    [action] = adapter.actions(ActionFilter(), 1)
    assert project.jobs("actions", "stop", str(action.id)).exit_code == 0
    resumed = project.jobs("actions", "resume", str(action.id))
    assert (resumed.exit_code, "the workers go on" in resumed.out) == (0, True)
    taken = adapter.take_over_action("w")
    assert taken is not None
    assert taken.id == action.id


def test_a_canary_that_was_stopped_by_its_error_says_so(
    project: Project, adapter: SqlAdapter
) -> None:
    add(adapter, "aaa")
    course = {"number": 3, "spread_seconds": 60.0, "came_back": 4711}
    target = {"filter": {"error_keys": ["aaa"]}, "canary": course}
    adapter.note_action(NewAction(ActionKind.CANARY, "ann", target))
    [action] = adapter.actions(ActionFilter(), 1)
    shown = project.jobs("actions", "show", str(action.id))
    assert "the same error came back in job 4711, so it was stopped" in shown.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--spread", "10m"), "it needs --canary"),
        (("--canary", "0"), "greater than or equal to 1"),
        (("--canary", "501"), "less than or equal to 500"),
        (("--canary", "3", "--spread", "soon"), "expected"),
        (("--canary", "3", "--spread", "8d"), "7 days at most"),
    ],
)
def test_what_is_no_canary_is_refused(
    project: Project, adapter: SqlAdapter, arguments: tuple[str, ...], why: str
) -> None:
    add(adapter, "aaa")
    run = project.jobs("errors", "retry", "aaa", *arguments)
    assert (run.exit_code, why in " ".join(run.err.split())) == (2, True), run
    assert not adapter.actions(ActionFilter(), 1)
