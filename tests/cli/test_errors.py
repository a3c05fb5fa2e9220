"""`jobs errors`: what fails, in groups, and what people do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import update

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.cli.error_charts import bars, sparkline
from jobqueue.cli.who import user_at_host
from jobqueue.clock import ManualClock
from jobqueue.records import ErrorGroup, ErrorState, JobFilter, JobState, NewErrors, NewJob
from tests.conftest import Project


@pytest.fixture
def adapter(database_url: str) -> Iterator[SqlAdapter]:
    with closing(connect(database_url)) as made:
        assert isinstance(made, SqlAdapter)
        yield made


def add(adapter: SqlAdapter, key: str, message: str = "no", number: int = 1) -> None:
    group = ErrorGroup(key, "jobs.Fail", "ValueError", "jobs.py:Fail.perform", message)
    adapter.add_errors([NewErrors(group, number, f"Traceback\nValueError: {message}", 1)], "1.2")


def mark(adapter: SqlAdapter, key: str) -> None:
    """Write a group's key into the rows of all jobs."""
    adapter.database.write(lambda c: c.execute(update(JOBS).values(error_key=key)))


def said(project: Project, *arguments: str, exit_code: int = 0) -> str:
    run = project.jobs("errors", *arguments)
    assert (run.exit_code, "Traceback" in run.err) == (exit_code, False), run
    return run.out if exit_code == 0 else run.err


def keys(project: Project, *arguments: str) -> list[str]:
    return [group["key"] for group in json.loads(said(project, *arguments, "--json"))]


# --- lists ---------------------------------------------------------------------------------------


def test_what_failed_is_listed_in_groups(project: Project) -> None:
    assert said(project) == "No open errors.\n"
    for why in ("order 1", "order 2"):
        project.jobs("enqueue", "Fail", json.dumps({"why": why}))
    project.jobs("enqueue", "Login", '{"user": "ann", "password": "hunter2"}')
    project.jobs("workoff")
    lines = said(project).splitlines()
    assert lines[0].split()[:6] == ["KEY", "STATE", "JOB", "TYPE", "PLACE", "MESSAGE"]
    assert len(lines) == 3
    [fail] = [line for line in lines if "jobs.Fail" in line]
    assert fail.split()[1:9] == [
        *("open", "jobs.Fail", "ValueError", "jobs.py:Fail.perform", "order", "<number>", "2"),
        fail.split()[8],
    ]
    assert "ann cannot log in with ***" in said(project)
    shown = said(project, "show", keys(project, "--job", "Login")[0])
    assert "hunter2" not in shown
    assert "RuntimeError: ann cannot log in with ***" in shown


def test_lists_are_of_states_jobs_and_times(project: Project, adapter: SqlAdapter) -> None:
    for key in ("aaa", "bbb", "ccc"):
        add(adapter, key)
    adapter.set_error_state("bbb", ErrorState.MUTED, "ann")
    adapter.set_error_state("ccc", ErrorState.RESOLVED, "ann")
    assert keys(project) == ["aaa"]
    assert keys(project, "--state", "all") == ["ccc", "bbb", "aaa"]
    assert keys(project, "--state", "muted,resolved", "--limit", "1") == ["ccc"]
    assert keys(project, "--state", "all", "--since", "1h", "--job", "Fail") != []
    assert keys(project, "--job", "Greet") == []
    assert said(project, "--job", "Greet") == "No open errors.\n"


def test_a_class_that_only_errors_are_left_of(project: Project, adapter: SqlAdapter) -> None:
    gone = ErrorGroup("aaa", "old.Gone", "ValueError", None, "no")
    adapter.add_errors([NewErrors(gone, 1, "no", None)])
    assert keys(project, "--job", "old.Gone") == ["aaa"]
    assert "old.Neither" in said(project, "--job", "old.Neither", exit_code=2)


def test_lists_go_on(project: Project, adapter: SqlAdapter) -> None:
    for key in ("aaa", "bbb", "ccc"):
        add(adapter, key)
    run = project.jobs("errors", "--limit", "2")
    assert len(run.out.splitlines()) == 3
    command = run.err.split("`")[1].split()
    assert command[1:3] == ["errors", "--before"]
    assert keys(project, *command[2:]) == ["aaa"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--state", "closed"), "--state is 'closed'; expected one of open, muted, resolved"),
        (("--since", "soon"), "--since is 'soon'; expected an age with its unit (90s"),
        (("--since", "-1"), "--since is '-1'; expected an age"),
        (("--before", "x"), "--before is 'x'; expected the place that the page before says"),
        (("--before", "9" * 40 + ".x"), "expected the place"),
        (("--json", "mute", "x"), "write the options after the command"),
    ],
)
def test_mistakes(project: Project, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in said(project, *arguments, exit_code=2)


def test_a_key_of_no_group(project: Project, adapter: SqlAdapter) -> None:
    add(adapter, "aaa")
    for command in ("show", "mute", "resolve", "reopen", "retry", "cancel"):
        error = said(project, command, "b\x1b[31m", exit_code=1)
        assert "no group of errors has the key 'b\\x1b[31m'; `jobs errors` lists them" in error
    assert "aaa is muted" in project.jobs("errors", "mute", "bbb", "aaa").out


# --- one group -----------------------------------------------------------------------------------


def test_everything_about_a_group(project: Project, adapter: SqlAdapter) -> None:
    add(adapter, "aaa", "no \x1b[31m", 3)
    jobs = adapter.enqueue([NewJob("jobs.Fail", "{}", "email", 50, 5) for _ in range(12)])
    mark(adapter, "aaa")
    shown = said(project, "show", "aaa").splitlines()
    pairs = dict(line.split(maxsplit=1) for line in shown[:12])
    assert pairs["key"] == "aaa"
    assert pairs["message"] == "no \\x1b[31m"
    assert pairs["number_of_day"] == "3"
    assert pairs["first_release"] == "1.2"
    for title in ("by hour", "by day"):
        assert shown[shown.index(title) + 1].endswith("  3  " + "#" * 40)
    assert shown[shown.index("sample") + 2] == "  ValueError: no \\x1b[31m"
    listed = shown[shown.index("last jobs") + 2 :]
    assert [int(line.split()[0]) for line in listed] == [job.id for job in jobs[:1:-1]]
    found = json.loads(said(project, "show", "aaa", "--json"))
    assert found["sample"] == "Traceback\nValueError: no \x1b[31m"
    assert len(found["jobs"]) == 10
    assert sum(hour["number"] for hour in found["hours"]) == 3
    assert sum(day["number"] for day in found["days"]) == 3


def test_a_group_is_muted_resolved_and_comes_back(project: Project, adapter: SqlAdapter) -> None:
    add(adapter, "aaa")
    assert said(project, "mute", "aaa") == "aaa is muted: ValueError in jobs.Fail.\n"
    assert keys(project) == []
    assert said(project, "reopen", "aaa").startswith("aaa is open")
    assert keys(project) == ["aaa"]
    assert said(project, "resolve", "aaa").startswith("aaa is resolved")
    assert "@" in json.loads(said(project, "show", "aaa", "--json"))["changed_by"]
    add(adapter, "aaa")
    assert "open again" in said(project)
    assert "open again" in said(project, "show", "aaa")
    assert "reopened_at" in said(project, "show", "aaa")


# --- its jobs ------------------------------------------------------------------------------------


def failed_jobs(project: Project, adapter: SqlAdapter, number: int) -> None:
    """Jobs of which half have failed, and half wait; all are of the group `aaa`."""
    add(adapter, "aaa")
    for priority in (1, 24):
        adapter.enqueue(
            [NewJob("jobs.Fail", "{}", "email", 50, priority) for _ in range(number // 2)]
        )
    project.jobs("workoff", "--log-level", "critical")
    mark(adapter, "aaa")
    adapter.enqueue([NewJob("jobs.Fail", "{}", "email", 50, 1)])


def test_all_jobs_of_a_group_are_retried(project: Project, adapter: SqlAdapter) -> None:
    failed_jobs(project, adapter, 10)
    assert said(project, "retry", "aaa", "--dry-run") == "10 jobs would be made due now.\n"
    assert adapter.count_jobs(JobFilter(states=(JobState.FAILED,))) == 5
    assert said(project, "retry", "aaa") == "10 jobs made due now.\n"
    assert adapter.count_jobs(JobFilter(states=(JobState.READY,), due=True)) == 11


def test_all_jobs_of_a_group_are_cancelled(
    project: Project, adapter: SqlAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_jobs(project, adapter, 10)
    assert said(project, "cancel", "aaa", "--dry-run") == "5 jobs would be cancelled.\n"
    assert said(project, "cancel", "aaa", "--yes") == "5 jobs cancelled.\n"
    [one, *_] = adapter.list_jobs(JobFilter(states=(JobState.CANCELLED,)), 10)
    assert one.last_error == f"cancelled by {user_at_host()}"
    assert adapter.count_jobs(JobFilter(states=(JobState.READY,))) == 1
    assert said(project, "cancel", "aaa") == "0 jobs cancelled.\n"


# --- charts --------------------------------------------------------------------------------------


def test_a_sparkline_shows_what_is_more() -> None:
    assert sparkline([0, 1, 4, 8, 0, 0]) in {" ▁▄█", " .-@"}
    assert sparkline([]) == sparkline([0, 0]) == ""
    assert len(sparkline([10**18, 1])) == 2


def test_bars_begin_with_the_first() -> None:
    now = ManualClock().now()
    later = {now.replace(hour=hour): number for hour, number in enumerate((0, 3, 0, 1_200))}
    assert list(bars(later, "%H")) == [
        "01      3  #",
        "02      0",
        "03  1,200  " + "#" * 40,
    ]
    assert list(bars({now: 0}, "%H")) == []
