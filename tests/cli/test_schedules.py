"""`jobs schedules`: what recurring jobs there are, and steering them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from jobqueue.adapters import Adapter, connect
from jobqueue.records import JobFilter, NewJob, NewSchedule, NewWorker
from tests.conftest import Project

JOBS = """
    from jobqueue import Cron, Job


    class Report(Job):
        redact = ("key",)
        schedule = Cron("0 2 * * *", tz="Europe/Paris", args={"of": "sales", "key": "hunter2"})

        def perform(self, of: str, key: str) -> None:
            pass
"""
RULE = {"cron": "0 2 * * *", "tz": "Europe/Paris"}
WORKER = NewWorker("worker-1", "web", "host-1", 4711, None, 1, timedelta(seconds=30))


def of_app(module: str) -> NewSchedule:
    name = f"{module}.Report"
    return NewSchedule(name, name, '{"of":"sales","key":"hunter2"}', RULE, True, "slow", 7, 5)


@contextmanager
def database_of(project: Project) -> Iterator[Adapter]:
    adapter = connect(project.environment["JOBS_DATABASE_URL"])
    yield adapter
    adapter.close()


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose schedule a living worker has declared."""
    project.write("jobs.py", JOBS)
    with database_of(project) as adapter:
        adapter.register_worker(WORKER)
        adapter.declare_schedules("jobs", [of_app("jobs")])
    return project


def listed(project: Project) -> list[dict[str, Any]]:
    run = project.jobs("schedules", "list", "--json")
    assert run.exit_code == 0, run.err
    found: list[dict[str, Any]] = json.loads(run.out)
    return found


def test_listing(shop: Project) -> None:
    (schedule,) = listed(shop)
    next_ticks = schedule.pop("next_ticks")
    assert len(next_ticks) == 5
    assert {tick[11:] for tick in next_ticks} <= {"00:00:00+00:00", "01:00:00+00:00"}
    assert schedule.pop("next_tick") == next_ticks[0]
    assert schedule == {
        "app": "jobs",
        "name": "jobs.Report",
        "job": "jobs.Report",
        "args": {"of": "sales", "key": "***"},
        "schedule": "0 2 * * *",
        "tz": "Europe/Paris",
        "catch_up": True,
        "queue": "slow",
        "priority": 7,
        "state": "active",
        "paused": False,
        "last_tick": None,
        "last_jobs": [],
    }
    head, row = shop.jobs("schedules").out.splitlines()
    assert head.split() == ["NAME", "JOB", "SCHEDULE", "ZONE", "STATE", "NEXT", "LAST"]
    assert "0 2 * * *  Europe/Paris  active  in " in row


def test_one_schedule_with_its_last_jobs_and_next_ticks(shop: Project) -> None:
    """A job that is gone succeeded and was not kept."""
    with database_of(shop) as adapter:
        for number, args in enumerate(('{"of": "x", "key": "hunter2"}', '{"of": "y"}', "{}")):
            [seen] = adapter.schedules("jobs")
            tick = seen.since + timedelta(hours=number + 1)
            job = NewJob("jobs.Report", args, "slow", 7, 1, run_at=seen.since)
            assert adapter.enqueue_ticks(seen, [job], tick)
        adapter.cancel(JobFilter(ids=(3,)), "no longer needed")
    shop.jobs("workoff")
    [listed_] = listed(shop)
    assert [(job["id"], job["state"]) for job in listed_["last_jobs"]] == [
        (3, "cancelled"),
        (2, "ready"),
        (1, "gone"),
    ]
    assert [job["error"] and "no longer" in job["error"] for job in listed_["last_jobs"]] == [
        True,
        False,
        None,
    ]
    shown = json.loads(shop.jobs("schedules", "show", "Report", "--json").out)
    assert shown == listed_
    lines = shop.jobs("schedules", "show", "jobs.Report").out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["app", "name", "job"]
    at = lines.index("next")
    assert all(" 02:00:00 CE" in line for line in lines[at + 1 : at + 6]), "in the schedule's zone"
    assert lines[at + 6] == "last jobs"
    assert [line.split()[4] for line in lines[at + 8 :]] == ["cancelled", "ready", "gone"]
    assert "hunter2" not in "\n".join(lines)
    assert shop.jobs("schedules", "show", "Nobody").exit_code == 2


def test_without_living_workers_a_schedule_is_inactive(shop: Project) -> None:
    with database_of(shop) as adapter:
        adapter.unregister_worker(WORKER.id)
    (schedule,) = listed(shop)
    assert (schedule["state"], schedule["next_tick"]) == ("inactive", None)


def test_what_no_worker_has_declared_yet(project: Project) -> None:
    project.write("jobs.py", JOBS)
    run = project.jobs("schedules")
    assert run.out == "No schedules.\n"
    assert "jobs.Report: in the code, and not yet in the database" in run.err
    unknown = project.jobs("schedules", "run", "Report")
    assert unknown.exit_code == 2
    assert "no schedule of 'jobs' is named 'Report'; in the database: none" in unknown.err


def test_pausing_and_resuming(shop: Project) -> None:
    assert shop.jobs("schedules", "pause", "Report").out.startswith("jobs.Report is paused")
    assert shop.jobs("schedules", "pause", "Report").exit_code == 1
    (schedule,) = listed(shop)
    assert (schedule["state"], schedule["paused"], schedule["next_tick"]) == ("paused", True, None)
    assert shop.jobs("schedules", "resume", "Report").out == "jobs.Report goes on.\n"
    assert shop.jobs("schedules", "resume", "Report").exit_code == 1
    assert listed(shop)[0]["state"] == "active"


def test_running_one_now(shop: Project) -> None:
    run = shop.jobs("schedules", "run", "Report")
    assert run.out == "Enqueued jobs.Report as job 1 on queue slow, due now.\n"
    shown = json.loads(shop.jobs("schedules", "run", "jobs.Report", "--json").out)
    assert (shown["handler"], shown["priority"]) == ("jobs.Report", 7)
    assert shown["args"] == {"of": "sales", "key": "***"}
    assert listed(shop)[0]["last_tick"] is None
    assert shop.jobs("workoff").exit_code == 0


def test_one_that_is_run_by_hand_is_told_to_hooks(shop: Project) -> None:
    """Only the ticks, which a supervisor enqueues, are not."""
    hooks = """
        import jobqueue
        from jobqueue.hooks import Hooks


        class Tell(Hooks):
            def job_enqueued(self, job):
                with open("told.txt", "a") as file:
                    file.write(f"{job.id} {job.handler} {job.queue}\\n")


        jobqueue.configure(hooks=[Tell()])
    """
    shop.write("jobs.py", textwrap.dedent(JOBS) + textwrap.dedent(hooks))
    assert shop.jobs("schedules", "run", "Report").exit_code == 0
    assert (shop.folder / "told.txt").read_text() == "1 jobs.Report slow\n"


def test_other_applications_are_seen_and_left_alone(shop: Project) -> None:
    with database_of(shop) as adapter:
        adapter.declare_schedules("blog", [of_app("blog")])
    assert [(s["app"], s["name"]) for s in listed(shop)] == [
        ("blog", "blog.Report"),
        ("jobs", "jobs.Report"),
    ]
    assert shop.jobs("schedules").out.splitlines()[0].split()[-1] == "APP"
    other = shop.jobs("schedules", "pause", "blog.Report")
    assert other.exit_code == 2
    assert "but one of 'blog'; use --app" in other.err
    shop.write("blog.py", JOBS)
    assert shop.jobs("schedules", "pause", "blog.Report", "--app", "blog").exit_code == 0
    assert [s["paused"] for s in listed(shop)] == [True, False]


def test_options_before_the_command_are_not_silently_dropped(shop: Project) -> None:
    run = shop.jobs("schedules", "--json", "list")
    assert run.exit_code == 2
    assert "write the options after the command" in run.err


@pytest.mark.parametrize("name", ["list", "run", "pause", "resume"])
def test_every_command_explains_itself(empty_project: Project, name: str) -> None:
    shown = empty_project.jobs("schedules", name, "--help").out
    assert f"jobs schedules {name}" in shown.partition("Examples:")[2]
