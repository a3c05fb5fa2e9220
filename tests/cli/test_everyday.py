"""The everyday path on the command line: enqueue, work off, list, show, retry, cancel, clear."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import Project

ARGUMENTS_OF_LOGIN = '{"user": "ada", "password": "hunter22"}'


def listed(project: Project, *options: str) -> list[dict[str, Any]]:
    run = project.jobs("list", "--json", *options)
    assert run.exit_code == 0, run.err
    return list(json.loads(run.out))


def normalised(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME", text)
    text = re.sub(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d ", "HH:MM:SS ", text)
    text = re.sub(r"pid \d+", "pid N", text)
    text = re.sub(r"worker [\w.-]+:\d+:[0-9a-f]{8}", "worker NAME", text)
    return re.sub(r"\d+(\.\d+)? (ms|s)( ago)?\b|\bnow\b(?=\))", "SPAN", text)


def test_a_job_goes_its_whole_way(project: Project) -> None:
    run = project.jobs("enqueue", "Greet", '{"name": "Ada", "times": 2}', "--queue", "email")
    assert (run.exit_code, run.err) == (0, "")
    assert run.out == "Enqueued jobs.Greet as job 1 on queue email, due now.\n"

    run = project.jobs("workoff")
    assert run.exit_code == 0
    assert run.out == "Worked off: 1 succeeded.\n"
    assert normalised(run.err) == (
        "HH:MM:SS worker NAME started, pid N\n"
        "HH:MM:SS worker NAME works on all queues\n"
        "HH:MM:SS jobs.Greet #1 succeeded in SPAN (waited SPAN, attempt 1 of 24)\n"
        "HH:MM:SS worker NAME stopped after 1 job\n"
    )
    assert (project.folder / "greetings.txt").read_text() == "hello Ada\nhello Ada\n"

    run = project.jobs("show", "1")
    assert (run.exit_code, run.out) == (1, "")
    assert "there is no job 1" in run.err


def test_failure_retry_cancel_and_clear(project: Project) -> None:
    project.jobs("enqueue", "Fail", '{"why": "no paper"}')
    project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--wait", "3600")
    run = project.jobs("workoff", "--queues", "default")
    assert run.exit_code == 0
    assert run.out.splitlines()[0] == "Nothing was due."
    assert "1 job for later" in run.out

    assert project.jobs("workoff").exit_code == 0  # the first of two attempts: to be retried
    assert project.jobs("retry", "1").out == "Job 1 is due now.\n"
    run = project.jobs("workoff")
    assert run.exit_code == 1
    assert run.out.splitlines()[0] == "Worked off: 1 failed."

    (failed,) = listed(project, "--state", "failed")
    assert (failed["attempts"], failed["max_attempts"], failed["state"]) == (2, 2, "failed")
    assert failed["failed_at"].endswith("+00:00")
    assert "ValueError: no paper" in failed["last_error"]

    assert project.jobs("retry", "--failed").out == "1 failed job made due now.\n"
    (again,) = listed(project, "--queue", "email")
    assert (again["state"], again["max_attempts"], again["failed_at"]) == ("ready", 3, None)

    run = project.jobs("cancel", "2", "7")
    assert (run.exit_code, run.out) == (1, "Job 2 is cancelled.\n")
    assert "there is no job 7" in run.err
    run = project.jobs("cancel", "2")
    assert run.exit_code == 1
    assert "job 2 is cancelled already" in run.err

    assert project.jobs("clear", "--queue", "email").out == "Removed 1 job.\n"
    assert [job["id"] for job in listed(project)] == [2]
    assert project.jobs("clear", "--yes").out == "Removed 1 job.\n"
    assert listed(project) == []


TWO_OF_A_NAME = """
from jobqueue import Job


class Greet(Job):
    aliases = ("jobs.Hello",)

    def perform(self) -> None: ...


class Billing:
    class Send(Job):
        def perform(self) -> None: ...


class Mail:
    class Send(Job):
        def perform(self) -> None: ...
"""


def test_a_job_is_named_as_for_enqueue(project: Project) -> None:
    project.write("jobs.py", TWO_OF_A_NAME)
    for name in ("Greet", "Hello", "Billing.Send", "jobs.Mail.Send"):
        assert project.jobs("enqueue", name).exit_code == 0
    for name, ids in {
        "Greet": [2, 1],
        "jobs.Greet": [2, 1],
        "Hello": [2, 1],
        "Billing.Send": [3],
        "jobs.Billing.Send": [3],
        "Mail.Send": [4],
        "Mail.Send,Greet": [4, 2, 1],
    }.items():
        assert [job["id"] for job in listed(project, "--job", name)] == ids, name
    assert [job["id"] for job in listed(project, "--job", "Greet", "--job", "Mail.Send")] == [
        4,
        2,
        1,
    ]

    for name in ("Send", "Gret", "reet", "jobs", "jobs.Nothing", "Greet,Send", ""):
        expected = project.jobs("enqueue", name.rpartition(",")[2])
        assert expected.exit_code == 2
        for command in (
            ["list", "--job", name],
            ["list", "--handler", name],
            ["clear", "--yes", "--job", name],
            ["retry", "--failed", "--job", name],
        ):
            run = project.jobs(*command)
            assert (run.exit_code, run.out, run.err) == (2, "", expected.err), command
    assert len(listed(project)) == 4


def test_a_job_whose_class_is_gone_is_named_in_full(project: Project) -> None:
    """Its rows are listed, and can be cleared away, also where another class ends like it."""
    project.write("jobs.py", TWO_OF_A_NAME)
    project.jobs("enqueue", "Billing.Send")
    project.jobs("enqueue", "Greet")
    project.jobs("enqueue", "Send", "--unchecked")  # from a service that has no code of ours
    kept = TWO_OF_A_NAME[: TWO_OF_A_NAME.index("class Billing")]
    project.write("jobs.py", kept)
    assert [job["id"] for job in listed(project, "--job", "jobs.Billing.Send")] == [1]
    assert [job["id"] for job in listed(project, "--job", "Send")] == [3]
    assert project.jobs("list", "--job", "Billing.Send").exit_code == 2  # as for enqueue

    project.write("jobs.py", "raise RuntimeError('broken')")
    run = project.jobs("list", "--json", "--job", "jobs.Greet")
    assert [job["id"] for job in json.loads(run.out)] == [2]
    assert run.err.startswith("Note: ")
    assert "broken" in run.err
    run = project.jobs("clear", "--job", "jobs.Billing.Send")
    assert (run.exit_code, run.out) == (0, "Removed 1 job.\n")
    assert (
        project.jobs("list", "--job", "jobs.Billing.Send").exit_code == 2
    )  # nothing is left of it


def test_clear_wants_to_be_told_where_it_cannot_ask(project: Project) -> None:
    for _ in range(2):
        project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    project.jobs("cancel", "3")
    for options in ([], ["--force"]):
        run = project.jobs("clear", *options)
        assert (run.exit_code, run.out) == (2, "")
        assert "this removes 3 jobs (2 ready, 1 cancelled) for good" in run.err
        assert "--yes" in run.err
        assert run.err.count("\n") == 1
    assert len(listed(project)) == 3
    assert project.jobs("clear", stdin="y\n").exit_code == 2  # an answer to what was not asked
    assert project.jobs("clear", "--state", "cancelled").out == "Removed 1 job.\n"
    assert project.jobs("clear", "--job", "Greet", "--queue", "other").out == "Removed 0 jobs.\n"
    assert project.jobs("clear", "-y").out == "Removed 2 jobs.\n"
    assert project.jobs("clear").exit_code == 2  # the same whatever there is
    assert project.jobs("clear", "--yes").out == "Removed 0 jobs.\n"


def test_lists_are_complete_where_there_is_no_terminal(project: Project) -> None:
    long_name = "Ada " * 100
    project.jobs("enqueue", "Greet", json.dumps({"name": long_name}))
    project.jobs("enqueue", "Fail", "--queue", "other", "--priority", "7", "--wait", "10800")
    run = project.jobs("list", env={"COLUMNS": "40"})
    head, second, first = run.out.splitlines()
    assert head.split() == ["ID", "STATE", "JOB", "QUEUE", "ATTEMPTS", "WHEN", "ARGS", "ERROR"]
    assert re.match(r" 2  ready  jobs\.Fail +other +0/2 +in 3 h +\{\}$", second)
    assert json.dumps({"name": long_name}) in first
    assert "\x1b" not in run.out

    run = project.jobs("list", "--limit", "1")
    assert len(run.out.splitlines()) == 2
    assert "jobs list --before 2" in run.err
    assert [job["id"] for job in listed(project, "--before", "2")] == [1]
    assert [job["id"] for job in listed(project, "--job", "Fail", "--handler", "Fail")] == [2]
    assert [job["priority"] for job in listed(project, "--queue", "email,other")] == [7]
    assert project.jobs("list", "--state", "succeeded").out == "No jobs.\n"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_field_of_a_job_is_in_its_json(project: Project) -> None:
    run = project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--json")
    job = json.loads(run.out)
    assert list(job) == [
        "id",
        "handler",
        "args",
        "queue",
        "priority",
        "state",
        "attempts",
        "max_attempts",
        "run_at",
        "created_at",
        "updated_at",
        "locked_at",
        "locked_by",
        "crashes",
        "last_error",
        "failed_at",
        "finished_at",
        "progress",
        "result",
        "cancel_requested_at",
        "started_at",
        "run_seconds",
        "performed_by",
        "error_key",
        "meta",
        *("line", "terms", "expires_at", "unique_key", "waiting_key"),
    ]
    assert json.loads(project.jobs("show", "1", "--json").out) == job | {"history": []}
    assert listed(project) == [job]
    assert normalised(project.jobs("show", "1").out) == (
        "id            1\n"
        "handler       jobs.Greet\n"
        "queue         default\n"
        "priority      50\n"
        "state         ready\n"
        "attempts      0\n"
        "max_attempts  24\n"
        "run_at        TIME (SPAN)\n"
        "created_at    TIME (SPAN)\n"
        "updated_at    TIME (SPAN)\n"
        "crashes       0\n"
        'args          {"name": "Ada"}\n'
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_secrets_are_masked_unless_they_are_asked_for(project: Project) -> None:
    project.jobs("enqueue", "Login", ARGUMENTS_OF_LOGIN)
    project.jobs("workoff")
    for command in (["list"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"]):
        run = project.jobs(*command)
        assert "hunter22" not in run.out + run.err, command
        assert '"password": "***"' in run.out, command
        assert '"ada"' in run.out, command
    assert '"password": "hunter22"' in project.jobs("show", "1", "--reveal").out
    assert '"password": "hunter22"' in project.jobs("show", "1", "--reveal", "--json").out


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_all_is_masked_of_a_job_that_is_not_known(project: Project) -> None:
    project.jobs("enqueue", "Login", ARGUMENTS_OF_LOGIN)
    (project.folder / "jobs.py").unlink()
    for command in (["list"], ["list", "--json"], ["show", "1"], ["show", "1", "--json"]):
        run = project.jobs(*command)
        assert run.exit_code == 0
        assert "hunter22" not in run.out, command
        assert "ada" not in run.out, command
        assert '"user": "***"' in run.out, command
    assert "--reveal shows them" in project.jobs("show", "1").err
    assert '"hunter22"' in project.jobs("show", "1", "--reveal").out
    project.write("jobs.py", "import nothing_of_that_name")
    run = project.jobs("list")
    assert "nothing_of_that_name" in run.err
    assert '"user": "***"' in run.out


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_secrets_among_keywords_and_renamed_parameters_are_masked(project: Project) -> None:
    project.write(
        "jobs.py",
        """
        from jobqueue import Job

        class Login(Job):
            redact = ("more",)
            def perform(self, user: str, **more: str) -> None: ...

        class Renamed(Job):
            redact = ("password",)
            def perform(self, passwd: str) -> None: ...
        """.replace('redact = ("password",)', 'redact = ("passwd",)'),
    )
    project.jobs("enqueue", "Login", '{"user": "ada", "pin": "98765"}')
    project.jobs("enqueue", "Renamed", '{"passwd": "98765"}')
    text = (project.folder / "jobs.py").read_text()
    project.write("jobs.py", text.replace("passwd", "password"))
    renamed, login = listed(project)
    assert login["args"] == {"user": "ada", "pin": "***"}
    assert renamed["args"] == {"passwd": "***"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_terminal_would_obey_is_spelled_out(project: Project) -> None:
    project.jobs("enqueue", "Fail", json.dumps({"why": "\x1b[31mred\x9b\u202e"}))
    project.jobs("workoff")
    for command in (["list"], ["show", "1"]):
        out = project.jobs(*command).out
        assert "red" in out
        assert not {"\x1b", "\x9b", "\u202e"} & set(out), command


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_times_can_be_given(project: Project) -> None:
    run = project.jobs("enqueue", "Greet", '{"name": "a"}', "--wait-until", "2080-01-31T08:00Z")
    assert run.exit_code == 0
    assert listed(project)[0]["run_at"] == "2080-01-31T08:00:00+00:00"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_service_without_the_code_enqueues_unchecked(project: Project) -> None:
    (project.folder / "jobs.py").rename(project.folder / "away.py")
    arguments = ("enqueue", "jobs.Greet", '{"name": "Ada"}')
    assert project.jobs(*arguments).exit_code == 2
    assert project.jobs(*arguments, "--unchecked", "--max-attempts", "3").exit_code == 0
    (project.folder / "away.py").rename(project.folder / "jobs.py")
    assert listed(project)[0]["max_attempts"] == 3
    assert project.jobs("workoff").out == "Worked off: 1 succeeded.\n"


def test_every_digit_of_a_number_is_stored(project: Project) -> None:
    project.write(
        "jobs.py",
        """
        from decimal import Decimal
        from jobqueue import Job

        class Pay(Job):
            def perform(self, amount: Decimal, rate: float = 1.0) -> None:
                print("pays", amount)
        """,
    )
    long = "1234567890123456.78"
    assert project.jobs("enqueue", "Pay", f'{{"amount": {long}}}').exit_code == 0
    refused = project.jobs("enqueue", "Pay", f'{{"amount": 1, "rate": {long}}}')
    assert refused.exit_code == 2
    assert f"{long} has more digits than a float" in refused.err
    refused = project.jobs("enqueue", "Pay", f'{{"amount": {long}}}', "--unchecked")
    assert refused.exit_code == 2
    assert f"pays {long}" in project.jobs("workoff").out
