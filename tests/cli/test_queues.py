"""Pausing and resuming queues on the command line, and what workers leave alone meanwhile."""

from __future__ import annotations

import getpass
import json
import re
import socket

import pytest

from tests.conftest import Project

GREET = ("enqueue", "Greet", '{"name": "Ada"}')


def greetings(project: Project) -> int:
    path = project.folder / "greetings.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def paused_queues(project: Project) -> list[str]:
    queues = json.loads(project.jobs("status", "--json").out)["queues"]
    return [queue["queue"] for queue in queues if queue["paused"]]


def test_a_paused_queue_is_left_alone_until_it_is_resumed(project: Project) -> None:
    for queue in ("email", "email", "default"):
        assert project.jobs(*GREET, "--queue", queue).exit_code == 0
    run = project.jobs("pause", "email")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out == "Queue email is paused; 2 jobs wait in it.\n"

    run = project.jobs("workoff")
    assert (run.exit_code, run.out.splitlines()[0]) == (0, "Worked off: 1 succeeded.")
    assert project.jobs("workoff", "--queues", "email").out.startswith("Nothing was due.\n")
    assert project.jobs("workoff", "-n", "email:1").exit_code == 0
    assert greetings(project) == 1
    assert paused_queues(project) == ["email"]
    assert "paused" in project.jobs("status").out

    run = project.jobs("resume", "email")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out == "Queue email is resumed; 2 jobs wait in it.\n"
    assert paused_queues(project) == []
    assert project.jobs("workoff").out == "Worked off: 2 succeeded.\n"
    assert greetings(project) == 3


def test_several_queues_are_steered_at_once(project: Project) -> None:
    project.jobs(*GREET, "--queue", "sms")
    run = project.jobs("pause", "email", "sms", "email")
    assert run.out == (
        "Queue email is paused; 0 jobs wait in it.\nQueue sms is paused; 1 job waits in it.\n"
    )
    run = project.jobs("pause", "sms", "fax")
    assert run.exit_code == 0
    assert run.out == (
        "Queue sms was paused already; 1 job waits in it.\n"
        "Queue fax is paused; 0 jobs wait in it.\n"
    )
    assert paused_queues(project) == ["email", "fax", "sms"]
    run = project.jobs("resume", "email", "other")
    assert run.exit_code == 0
    assert run.out == (
        "Queue email is resumed; 0 jobs wait in it.\n"
        "Queue other was not paused; 0 jobs wait in it.\n"
    )
    assert paused_queues(project) == ["fax", "sms"]


def test_jobs_that_are_performed_are_counted_apart(project: Project) -> None:
    project.write(
        "jobs.py",
        """
        import subprocess
        import sys

        from jobqueue import Job


        class PauseMyQueue(Job):
            def perform(self) -> None:
                command = [sys.executable, "-m", "jobqueue", "pause", "default"]
                print(subprocess.run(command, capture_output=True, text=True).stdout)
        """,
    )
    project.jobs("enqueue", "PauseMyQueue")
    project.jobs("enqueue", "PauseMyQueue", "--wait", "3600")
    run = project.jobs("workoff")
    assert "Queue default is paused; 1 job waits in it, and 1 is being performed.\n" in run.out
    assert "Worked off: 1 succeeded." in run.out


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_mistakes(empty_project: Project, command: str) -> None:
    run = empty_project.jobs(command)
    assert run.exit_code == 2
    assert "QUEUE" in run.err
    run = empty_project.jobs(command, "good", "not good")
    assert (run.exit_code, run.out) == (2, "")
    assert "'not good' is no name for a queue; expected 1 to 128 letters" in run.err
    run = empty_project.jobs(command, "email")
    assert (run.exit_code, run.out) == (3, "")
    assert "`jobs setup`" in run.err
    run = empty_project.jobs(command, "email", "--database-url", "memory://")
    assert (run.exit_code, run.out) == (2, "")
    assert "memory://, which every process has for itself" in run.err


def test_a_pause_says_who_why_and_until_when(project: Project) -> None:
    run = project.jobs("pause", "email", "--until", "2h", "--reason", "the mail server is down")
    assert run.exit_code == 0, run.err
    assert re.fullmatch(r"Queue email is paused until .* UTC; 0 jobs wait in it\.\n", run.out)
    who = rf"{re.escape(getpass.getuser())}@{re.escape(socket.gethostname())}"
    line = rf"paused until \d{{4}}-.* UTC by {who}: the mail server is down"
    assert re.search(line, project.jobs("status").out)
    [queue] = json.loads(project.jobs("status", "--json").out)["queues"]
    assert re.fullmatch(who, queue["paused_by"])
    assert queue["reason"] == "the mail server is down"
    assert queue["paused_until"].endswith("+00:00")
    assert "is paused until it is resumed (before until " in project.jobs("pause", "email").out
    [queue] = json.loads(project.jobs("status", "--json").out)["queues"]
    assert (queue["paused"], queue["paused_until"], queue["reason"]) == (True, None, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--until", "soon"), "--until is 'soon'; expected a time such as"),
        (("--until", "2000-01-01T08:00"), "--until is '2000-01-01T08:00', which is in the past"),
        (("--until", "0h"), "in the past"),
        (("--until", "9999-12-31"), "more than ten years"),
        (("--until", "999999999d"), "more than ten years"),
        (("--reason", "x" * 501), "--reason has 501 characters; write up to 500"),
    ],
)
def test_a_pause_that_cannot_be_is_refused(
    project: Project, options: tuple[str, ...], says: str
) -> None:
    run = project.jobs("pause", "email", *options)
    assert (run.exit_code, says in run.err) == (2, True), run.err
    assert paused_queues(project) == []


def test_a_pause_that_gets_another_end_says_so(project: Project) -> None:
    project.jobs("pause", "email")
    run = project.jobs("pause", "email", "--until", "2h")
    assert run.out.startswith("Queue email is paused until 2")
    assert " UTC (before until it is resumed); 0 jobs" in run.out
    run = project.jobs("pause", "email", "--until", "3h")
    assert run.out.count(" UTC") == 2
    assert run.out.startswith("Queue email is paused until 2")
    run = project.jobs("pause", "email")
    assert run.out.startswith("Queue email is paused until it is resumed (before until 2")
    assert project.jobs("pause", "email").out.startswith("Queue email was paused already; 0 jobs")
