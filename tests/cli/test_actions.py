"""`jobs actions`: who did what, when, and why."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from jobqueue.cli.who import user_at_host
from jobqueue.records import NO_DELAY, ActionKind, JobFilter, JobState, NewAction, NewJob
from tests.conftest import Project
from tests.process.conftest import database_of

HOUR = timedelta(hours=1)


def said(project: Project, *arguments: str, exit_code: int = 0) -> str:
    run = project.jobs("actions", *arguments)
    assert (run.exit_code, "Traceback" in run.err) == (exit_code, False), run
    return run.out if exit_code == 0 else run.err


def did(project: Project, *arguments: str) -> None:
    run = project.jobs(*arguments)
    assert run.exit_code == 0, run


def actions(project: Project, *arguments: str) -> list[dict[str, Any]]:
    """The actions, the first one first."""
    found: list[dict[str, Any]] = json.loads(said(project, *arguments, "--json"))
    return found[::-1]


def test_every_change_is_remembered_with_who_made_it(project: Project) -> None:
    assert said(project) == "No actions.\n"
    for why in ("one", "two", "three"):
        did(project, "enqueue", "Fail", json.dumps({"why": why}))
    did(project, "pause", "email", "--until", "2h", "--reason", "the mail server is down")
    did(project, "resume", "email", "sms")
    did(project, "retry", "1", "2", "--reason", "try it")
    did(project, "cancel", "1", "--reason", "no longer needed")
    did(project, "cancel", "--query", "queue:email job:Fail", "--reason", "all of them")
    did(project, "clear", "--state", "cancelled", "--yes")
    did(project, "token", "create", "billing", "--scope", "enqueue")
    [token] = json.loads(project.jobs("token", "list", "--json").out)
    did(project, "token", "revoke", token["id"])
    found = actions(project)
    assert {action["done_by"] for action in found} == {user_at_host()}
    assert {action["state"] for action in found} == {"done"}
    until = found[0]["target"].pop("until")
    assert until > found[0]["done_at"]
    told = [(a["kind"], a["target"], a["reason"], a["number"]) for a in found]
    assert told == [
        ("pause queue", {"queue": "email"}, "the mail server is down", 1),
        ("resume queue", {"queue": "email"}, None, 1),
        ("retry", {"ids": [1, 2]}, "try it", 2),
        ("cancel", {"ids": [1]}, "no longer needed", 1),
        (
            "cancel",
            {"query": "state:ready,gated,running queue:email job:Fail,jobs.Fail"},
            "all of them",
            2,
        ),
        ("delete", {"query": "state:cancelled"}, None, 3),
        ("create token", {"token": token["id"], "name": "billing", "scopes": ["enqueue"]}, None, 1),
        ("revoke token", {"token": token["id"]}, None, 1),
    ]
    lines = said(project).splitlines()
    assert lines[0].split() == [
        *("ID", "WHEN", "WHO", "WHAT", "TARGET", "NUMBER", "STATE", "REASON")
    ]
    assert "queue email, until" in lines[-1]
    assert "the mail server is down" in lines[-1]


def test_what_changes_nothing_is_not_remembered(project: Project) -> None:
    did(project, "resume", "email")
    did(project, "retry", "--failed", "--dry-run")
    assert project.jobs("retry", "42").exit_code == 1
    assert project.jobs("token", "revoke", "42").exit_code == 2
    assert project.jobs("clear").exit_code == 2
    assert actions(project) == []


def test_errors_in_groups(project: Project) -> None:
    did(project, "enqueue", "Fail", '{"why": "order 1"}')
    project.jobs("workoff")
    [group] = json.loads(project.jobs("errors", "--json").out)
    key = group["key"]
    did(project, "errors", "mute", key)
    did(project, "errors", "reopen", key)
    did(project, "errors", "resolve", key)
    did(project, "errors", "retry", key, "--reason", "mended")
    told = [(a["kind"], a["target"], a["number"]) for a in actions(project)]
    assert told == [
        ("mute errors", {"errors": key}, 1),
        ("reopen errors", {"errors": key}, 1),
        ("resolve errors", {"errors": key}, 1),
        ("retry", {"query": f"state:ready,gated,failed error_key:{key}"}, 1),
    ]


def test_lists_are_narrowed_down(project: Project) -> None:
    with database_of(project) as adapter:
        for number in range(4):
            adapter.note_action(NewAction(ActionKind.RETRY, f"u{number % 2}"))
        target = {"filter": {"states": ["failed"]}}
        adapter.begin_action(NewAction(ActionKind.DELETE, "u0", target))
    assert [a["id"] for a in actions(project, "--by", "u1")] == [2, 4]
    assert [a["id"] for a in actions(project, "--kind", "delete,cancel")] == [5]
    assert [a["id"] for a in actions(project, "--running")] == [5]
    assert [a["id"] for a in actions(project, "--limit", "2")] == [4, 5]
    assert [a["id"] for a in actions(project, "--before", "3")] == [1, 2]
    run = project.jobs("actions", "--limit", "2")
    assert "`jobs actions --before 4` shows the next ones" in run.err
    assert said(project, "--by", "nobody") == "No such actions.\n"


def test_one_action(project: Project) -> None:
    did(project, "pause", "email", "--reason", "two\x1b[31m words")
    lines = said(project, "show", "1").splitlines()
    assert any(line.split()[:2] == ["kind", "pause"] for line in lines)
    assert any(line.split() == ["target", "queue", "email"] for line in lines)
    assert "\x1b" not in said(project, "show", "1")
    assert json.loads(said(project, "show", "1", "--json"))["target"] == {"queue": "email"}


def test_whether_somebody_runs_a_bulk_action_is_shown(project: Project) -> None:
    target = {"filter": {"states": ["failed"]}}
    with database_of(project) as adapter:
        adapter.begin_action(NewAction(ActionKind.RETRY, "ann", target))
        adapter.begin_action(NewAction(ActionKind.RETRY, "ben", target), "runner", HOUR)
        adapter.begin_action(NewAction(ActionKind.RETRY, "cy", target), "runner", NO_DELAY)
        adapter.begin_action(NewAction(ActionKind.RETRY, "di", target), "runner", HOUR)
        adapter.stop_action(4)
    courses = ["waits for a worker", "running", "nobody runs it", "stopped"]
    assert [action["course"] for action in actions(project)] == courses
    assert [action["state"] for action in actions(project)] == ["running"] * 3 + ["stopped"]
    for line, course in zip(reversed(said(project).splitlines()[1:]), courses, strict=True):
        assert course in line
    for number, is_said in ((1, True), (2, False), (3, True), (4, True)):
        run = project.jobs("actions", "show", str(number))
        assert (f"`jobs actions resume {number}` goes on with it" in run.err) is is_said


def test_status_says_that_a_bulk_action_waits_for_a_worker(project: Project) -> None:
    assert project.jobs("status").err == ""
    target = {"filter": {"states": ["failed"]}}
    with database_of(project) as adapter:
        adapter.begin_action(NewAction(ActionKind.RETRY, "ben", target), "runner", HOUR)
    assert project.jobs("status").err == ""
    with database_of(project) as adapter:
        adapter.begin_action(NewAction(ActionKind.RETRY, "ann", target))
    assert "action 2 waits for a worker, which goes on with it" in project.jobs("status").err


def test_mistakes(project: Project) -> None:
    assert "no action has the id 7; `jobs actions` lists them" in said(
        project, "show", "7", exit_code=1
    )
    assert "no action has the id 7" in said(project, "stop", "7", exit_code=1)
    assert "no action has the id 7" in said(project, "resume", "7", exit_code=1)
    assert "--kind is 'pause'" in said(project, "--kind", "pause", exit_code=2)
    assert "write the options after the command" in said(
        project, "--running", "show", "7", exit_code=2
    )
    did(project, "pause", "email")
    assert "action 1 is done, and does not run" in said(project, "stop", "1", exit_code=1)
    assert "action 1 is done" in said(project, "resume", "1", exit_code=1)
    for arguments in (("cancel",), ("cancel", "1", "--query", "state:ready")):
        run = project.jobs(*arguments)
        assert (run.exit_code, "either the ids of jobs or --query" in run.err) == (2, True)
    run = project.jobs("cancel", "--query", "state:failed")
    assert (run.exit_code, "failed jobs have ended" in run.err) == (2, True)
    assert len(actions(project)) == 1


def test_arguments_that_are_secret_are_masked(project: Project) -> None:
    did(project, "enqueue", "Login", '{"user": "ann", "password": "hunter2"}')
    did(project, "cancel", "--query", "job:Login args.password:hunter2 args.user:ann")
    [action] = actions(project)
    assert action["number"] == 1
    assert "hunter2" not in json.dumps(action)
    assert "args.password:" in action["target"]["query"]
    assert "hunter2" not in said(project)
    with database_of(project) as adapter:
        [job] = adapter.list_jobs(JobFilter(), 9)
    assert job.state is JobState.CANCELLED


def test_a_retry_with_other_arguments(project: Project) -> None:
    did(project, "enqueue", "Login", '{"user": "ann", "password": "hunter2"}')
    did(project, "cancel", "1")
    run = project.jobs("retry", "1", "--args", '{"user": "ben"}', "--reason", "a typo")
    assert (run.exit_code, run.out) == (0, "Job 1 is due now, with other arguments: user.\n")
    with database_of(project) as adapter:
        job = adapter.get(1)
    assert job is not None
    assert (job.state, job.args) == (JobState.READY, {"user": "ben", "password": "hunter2"})
    assert actions(project)[-1]["target"] == {"ids": [1], "args": ["user"]}
    for args, why in (
        ('{"user": 1}', "user"),
        ('{"nobody": 1}', "nobody"),
        ("[1]", "--args is a JSON list"),
        ("{", "--args is no JSON"),
        ("{}", "--args has no arguments"),
        ('{"password": "***"}', "password is redacted, and *** is not its value"),
    ):
        run = project.jobs("retry", "1", "--args", args)
        assert (run.exit_code, why in run.err, "Traceback" in run.err) == (2, True, False), run
    run = project.jobs("retry", "1", "2", "--args", '{"user": "ben"}')
    assert (run.exit_code, "--args goes with the id of one job" in run.err) == (2, True)
    run = project.jobs("retry", "--failed", "--args", "{}")
    assert (run.exit_code, "--args goes with the id of one job" in run.err) == (2, True)
    assert project.jobs("retry", "7", "--args", '{"user": "ben"}').exit_code == 1
    with database_of(project) as adapter:
        adapter.enqueue([NewJob("Elsewhere", "{}", "default", 50, 5)])
    run = project.jobs("retry", "2", "--args", '{"user": "ben"}')
    assert (run.exit_code, "Elsewhere is not known here" in run.err) == (2, True)
    assert len(actions(project)) == 2
