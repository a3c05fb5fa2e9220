"""`jobs why` on a real database: what it says of queues and jobs, and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project

GREET = ("enqueue", "Greet", '{"name": "Ada"}', "--queue", "email")


def test_a_paused_queue_without_a_worker(project: Project) -> None:
    project.jobs(*GREET)
    project.jobs("pause", "email", "--reason", "the server is away")
    run = project.jobs("why", "email")
    assert (run.exit_code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0].startswith("The oldest due job of the queue email has waited for ")
    assert lines[0].endswith("(1 more below)")
    assert "The queue email is paused by " in lines[2]
    assert ": the server is away (since " in lines[2]
    assert lines[3:6] == [
        "  looked at: the pauses of queues",
        "  Resume it.",
        "  $ jobs resume email",
    ]
    assert lines[7] == "No living worker takes from the queue email now."
    assert "  $ jobs work -n email:1" in lines
    others = lines[lines.index("Looked at too") :]
    assert len(others) == 7
    assert others[-1].startswith("  - Nothing was found that slows it down. (what the command")


def test_a_job_says_the_same_in_json(project: Project) -> None:
    [word] = [w for w in project.jobs(*GREET).out.split() if w.strip("#.:,").isdigit()]
    job_id = word.strip("#.:,")
    run = project.jobs("why", job_id, "--json")
    found = json.loads(run.out)
    assert (run.exit_code, found["job"], found["queue"]) == (0, int(job_id), "email")
    [reason] = [reason for reason in found["reasons"] if reason["holds"]]
    assert (reason["kind"], reason["page"]) == ("no_worker", "/workers")
    assert reason["facts"] == {"taking": 0, "lost": 0, "registered": 0}
    project.jobs("cancel", job_id)
    ended = project.jobs("why", job_id)
    assert ended.exit_code == 0
    assert f"Job {job_id} does not wait: it ended " in ended.out
    assert len(ended.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("4711",), 1, "there is no job 4711"),
        (("4711", "--queue"), 1, "there is no trace of a queue '4711'"),
        (("emial",), 1, "Queues with unfinished jobs: email; did you mean 'email'?"),
        (("a b",), 2, "is neither the id of a job nor a name for a queue"),
    ],
)
def test_what_is_not_there_gets_an_honest_answer(
    project: Project, arguments: tuple[str, ...], code: int, says: str
) -> None:
    project.jobs(*GREET)
    run = project.jobs("why", *arguments)
    assert (run.exit_code, run.out) == (code, "")
    assert says in run.err


def test_without_a_database(empty_project: Project) -> None:
    run = empty_project.jobs("why", "email")
    assert run.exit_code == 3


def test_why_a_queue_was_resumed(project: Project) -> None:
    project.jobs("pause", "email")
    project.jobs("resume", "email", "--reason", "it is back")
    assert "it is back" in project.jobs("actions").out
