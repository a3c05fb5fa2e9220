"""What a newcomer gets wrong: one clean line that says what to do, and the right exit code."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project, Run

SQLITE_ALONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def refused(run: Run, exit_code: int, *words: str) -> None:
    assert run.exit_code == exit_code, run
    assert run.out == ""
    assert [line for line in run.err.splitlines() if line.startswith("Error: ")], run.err
    assert "Traceback" not in run.err
    for word in words:
        assert word in run.err


def refused_in_one_line(run: Run, exit_code: int, *words: str) -> None:
    refused(run, exit_code, *words)
    assert run.err.count("\n") == 1, run.err


def test_nothing_is_there_yet(empty_project: Project) -> None:
    for command in (["work"], ["workoff"], ["enqueue", "Greet"]):
        run = empty_project.jobs(*command)
        refused_in_one_line(run, 2, "there are no jobs", "jobs new MyJob", "--app")
    empty_project.write("jobs.py", "import jobqueue")
    refused_in_one_line(empty_project.jobs("work"), 2, "jobs defines no jobs", "jobs new MyJob")


def test_no_tables_yet(empty_project: Project, empty_database_url: str) -> None:
    empty_project.write("jobs.py", "import jobqueue\n@jobqueue.job\ndef greet() -> None: ...\n")
    environment = {"JOBS_DATABASE_URL": empty_database_url}
    for command in ("work", "workoff", "list", "clear"):
        run = empty_project.jobs(command, env=environment)
        refused_in_one_line(run, 3)
        assert "`jobs setup`" in run.err or "`jobs migrate`" in run.err
    refused_in_one_line(empty_project.jobs("enqueue", "greet", env=environment), 3)
    run = empty_project.jobs("doctor", env=environment)
    assert run.exit_code == 3
    assert "`jobs setup`" in run.out


@SQLITE_ONLY
def test_an_application_that_cannot_be_imported(project: Project) -> None:
    project.write("jobs.py", "import json\n\ndef broken(:\n    pass\n")
    run = project.jobs("work")
    assert run.exit_code == 2
    assert run.err.startswith("Error: the application's module 'jobs'")
    assert "line 3" in run.err
    assert "def broken(:" in run.err

    project.write("jobs.py", "import json\n\njson.loads('{')\n")
    run = project.jobs("workoff")
    assert run.exit_code == 2
    assert 'jobs.py", line 3' in run.err
    assert run.err.count("  File ") == 1, "only the user's own lines are shown"
    assert "JSONDecodeError" in run.err

    run = project.jobs("work", "--app", "shpo.jobs")
    assert run.exit_code == 2
    assert "No module named 'shpo'; is `app` right, and is this the folder" in run.err

    project.write("jobs.py", "import sys\n\nsys.exit(0)\n")
    refused_in_one_line(project.jobs("work"), 2, "ended the process", "__main__")
    run = project.jobs("list")
    assert run.exit_code == 0
    assert project.jobs("doctor").exit_code == 2


@SQLITE_ONLY
def test_wrong_names_and_arguments(project: Project) -> None:
    cases = {
        ("Gret", "{}"): ("no job is named 'Gret'", "jobs.Greet"),
        ("Greet", '{"name"'): ("no JSON", '{"user_id": 42}'),
        ("Greet", "[1]"): ("a JSON list", "JSON object"),
        ("Greet", '{"name": 3}'): ("name", "(name: str, times: int = 1)"),
        ("Greet", "{}"): ("missing", "'name'", "(name: str, times: int = 1)"),
        ("Greet", '{"name": "a", "x": 1}'): ("unexpected", "'x'"),
        ("Greet", '{"name": NaN}'): ("name",),
    }
    for arguments, words in cases.items():
        refused_in_one_line(project.jobs("enqueue", *arguments), 2, *words)
    greet = ("enqueue", "Greet", '{"name": "Ada"}')
    for options, words in {
        ("--wait", "-1"): ("--wait is -1,", "0 seconds or more"),
        ("--wait-until", "tomorrow"): ("'tomorrow'", "ISO 8601"),
        ("--wait-until", "2080-01-31T08:00"): ("no time zone", "+01:00"),
        ("--queue", "a b"): ("'a b'", "letters"),
        ("--wait", "1", "--wait-until", "2080-01-31T08:00Z"): (
            "--wait and --wait-until exclude each other",
        ),
        ("--meta", json.dumps({"x": "y" * 9000})): ("--meta has 9,008 bytes",),
    }.items():
        refused_in_one_line(project.jobs(*greet, *options), 2, *words)
    assert project.jobs("list").out == "No jobs.\n"


@SQLITE_ONLY
def test_wrong_options(project: Project) -> None:
    refused_in_one_line(project.jobs("list", "--state", "faild"), 2, "'faild'", "failed")
    refused_in_one_line(project.jobs("list", "--queue", "a b"), 2, "--queue is 'a b'")
    refused_in_one_line(project.jobs("work", "--lease", "soon"), 2, "--lease is 'soon'", "seconds")
    refused_in_one_line(project.jobs("retry"), 2, "--failed")
    refused_in_one_line(project.jobs("retry", "1", "--failed"), 2, "--failed")
    refused_in_one_line(project.jobs("cancel", "9" * 30), 1, "there is no job")
    refused(project.jobs("wrok"), 2, "Did you mean 'work'?")
    refused(project.jobs("work", "--ttl", "0"), 2, "above 0")
    refused(project.jobs("show", "one"), 2, "integer")
    refused(project.jobs("list", "--limit", "0"), 2, "--limit")
    run = project.jobs("list", env={"JOBS_LEASE": "-1"})
    refused_in_one_line(run, 2, "JOBS_LEASE is '-1'", "seconds above 0")
    project.write("jobqueue.toml", "pol_interval = 3")
    refused_in_one_line(project.jobs("doctor"), 2, "'pol_interval'", "poll_interval")


@SQLITE_ONLY
def test_wrong_databases(project: Project) -> None:
    def listing(url: str) -> Run:
        return project.jobs("list", "--database-url", url)

    secret = "postgresql://ada:hunter22@127.0.0.1:1/x"
    run = listing(secret)
    refused_in_one_line(run, 3, "does not answer", "Connection refused", "jobs doctor")
    assert "hunter22" not in run.err
    run = listing("postgresql://ada:hunter@22@127.0.0.1:1/x")
    refused_in_one_line(run, 3, "two @", "write %40")
    refused_in_one_line(listing("mysql://x"), 3, "'mysql://x'", "postgresql://")
    nowhere = "sqlite:///nowhere/jobs.sqlite3"
    place = f"{project.folder}/nowhere/jobs.sqlite3 does not exist"
    refused_in_one_line(listing(nowhere), 3, place, "`jobs setup`", "go to the folder")
    run = project.jobs("migrate", "--database-url", nowhere)
    refused_in_one_line(run, 3, "the folder nowhere", "create it, or check the URL")
    run = project.jobs("doctor", "--database-url", secret)
    assert run.exit_code == 3
    assert "hunter22" not in run.out + run.err
    run = project.jobs("enqueue", "Greet", '{"name": "a"}', "--database-url", "memory://")
    refused_in_one_line(run, 2, "memory://", "JOBS_DATABASE_URL")


@SQLITE_ALONE
def test_a_query_of_blanks_means_no_job(project: Project) -> None:
    """As in a script that writes --query "$WHICH" where nothing is set. It used to mean all."""
    project.jobs("enqueue", "Fail")
    project.jobs("workoff")
    before = project.jobs("list", "--json").out
    for command in (("clear",), ("retry", "--failed"), ("cancel",)):
        for blank in ("", " ", '" "'):
            run = project.jobs(*command, "--query", blank)
            assert (run.exit_code, run.out, "Traceback" in run.err) == (2, "", False), run
    assert project.jobs("list", "  ").exit_code == 2
    assert project.jobs("list", "--json").out == before
