"""A worker as a process: real signals, and a real kill -9, on both databases."""

from __future__ import annotations

import signal

import pytest

from jobqueue.records import JobFilter, NewJob
from tests.conftest import Project
from tests.process.conftest import (
    Start,
    WaitFor,
    database_of,
    enqueue,
    exists,
    is_running,
    is_untouched,
    show,
)
from tests.process.outage import freeze, outage


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_what_runs(
    slow_project: Project, start: Start, wait_for: WaitFor, number: signal.Signals
) -> None:
    enqueue(slow_project, "Slow")
    left = enqueue(slow_project, "Quick")
    worker = start("work", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    worker.send(number)
    (slow_project.folder / "slow.go").touch()
    exit_code, log = worker.ended()
    assert exit_code == 0, log
    assert (slow_project.folder / "done.txt").read_text() == "slow\n"
    assert "is stopping" in log
    assert "jobs.Slow #1 succeeded" in log
    assert "Traceback" not in log
    assert is_untouched(show(slow_project, left))


@pytest.mark.parametrize("job", ["Slow", "SlowAsync"])
def test_the_second_signal_gives_the_job_back_now(
    slow_project: Project, start: Start, wait_for: WaitFor, job: str
) -> None:
    job_id = enqueue(slow_project, job)
    worker = start("work", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    worker.send(signal.SIGINT)
    wait_for(lambda: "is stopping" in worker.log, "the worker to say that it is stopping")
    worker.send(signal.SIGINT)
    exit_code, log = worker.ended()
    assert exit_code == 0, log
    assert "Traceback" not in log
    assert is_untouched(show(slow_project, job_id))
    assert not (slow_project.folder / "done.txt").exists()


def test_a_killed_workers_job_comes_back_when_its_lease_ends(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    killed = start("work", "--lease", "1", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    killed.kill()
    (slow_project.folder / "slow.started").unlink()
    assert is_running(show(slow_project, job_id), 1)

    rescuer = start("work", "--lease", "1", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start again")
    assert is_running(show(slow_project, job_id), 2)
    (slow_project.folder / "slow.go").touch()
    wait_for(exists(slow_project, "done.txt"), "the job to be done")
    rescuer.send(signal.SIGTERM)
    exit_code, log = rescuer.ended()
    assert exit_code == 0
    assert "is gone: 1 job is free again" in log
    assert show(slow_project, job_id) is None


def test_a_live_worker_keeps_its_job_past_its_lease(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    long_one = start("work", "--lease", "0.5", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    other = start("work", "--lease", "0.5", "--ttl", "2", "--poll-interval", "0.05")
    assert other.ended()[0] == 0
    assert is_running(show(slow_project, job_id), 1)
    (slow_project.folder / "slow.go").touch()
    wait_for(exists(slow_project, "done.txt"), "the job to be done")
    long_one.send(signal.SIGTERM)
    assert long_one.ended()[0] == 0


def test_a_frozen_worker_finds_its_claim_gone(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(slow_project, "Slow")
    frozen = start("work", "--lease", "0.5", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "the job to start")
    wake = freeze(frozen.pid, slow_project.environment["JOBS_DATABASE_URL"])
    (slow_project.folder / "slow.started").unlink()
    other = start("work", "--lease", "0.5", "--poll-interval", "0.05")
    wait_for(exists(slow_project, "slow.started"), "another worker to take the job")
    wake()
    (slow_project.folder / "slow.go").touch()
    frozen.send(signal.SIGTERM)
    exit_code, log = frozen.ended()
    assert exit_code == 0, log
    assert "was rejected" in log
    other.send(signal.SIGTERM)
    assert other.ended()[0] == 0
    assert show(slow_project, job_id) is None


def test_a_job_that_kills_its_worker_is_not_lost(slow_project: Project, start: Start) -> None:
    job_id = enqueue(slow_project, "KillsItself")
    assert start("workoff").ended()[0] == -signal.SIGKILL
    assert is_running(show(slow_project, job_id), 1)


def test_a_killed_worker_repeats_half_a_second_of_work_at_most(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    """What it had performed and not yet settled: jobs of a millisecond, so fewer than 500."""
    counted = slow_project.folder / "counted.txt"
    with database_of(slow_project) as adapter:
        new_jobs = [
            NewJob("jobs.Counted", f'{{"number": {n}}}', "default", 50, 24) for n in range(4000)
        ]
        adapter.enqueue(new_jobs)
        worker = start("work")
        wait_for(counted.exists, "the worker to begin")
        wait_for(lambda: len(counted.read_text().split()) > 1000, "it to be at full speed")
        worker.kill()
        performed = tuple(int(line) for line in counted.read_text().split())
        assert adapter.count_jobs(JobFilter(ids=performed)) < 500


def test_a_worker_outlives_a_database_that_is_away(
    slow_project: Project, start: Start, wait_for: WaitFor
) -> None:
    """On SQLite the file is locked by another program; on PostgreSQL every backend is killed."""
    worker = start("work", "--poll-interval", "0.05")
    job_id = enqueue(slow_project, "Slow", name="one")
    wait_for(exists(slow_project, "one.started"), "the first job to start")
    with outage(slow_project.environment["JOBS_DATABASE_URL"]):
        (slow_project.folder / "one.go").touch()
        wait_for(exists(slow_project, "done.txt"), "the first job to be performed")
    enqueue(slow_project, "Quick")
    wait_for(
        lambda: (slow_project.folder / "done.txt").read_text() == "one\nquick\n", "the second job"
    )
    worker.send(signal.SIGTERM)
    exit_code, log = worker.ended()
    assert exit_code == 0, log
    assert show(slow_project, job_id) is None
    assert "Traceback" not in log


def test_two_workers_share_and_perform_each_job_once(slow_project: Project, start: Start) -> None:
    code = "import jobs; jobs.Quick.perform_all_later([()] * 2000)"
    assert slow_project.python("-c", code).exit_code == 0
    workers = [start("workoff") for _ in range(2)]
    logs = [worker.ended()[1] for worker in workers]
    counts = [int(log.rsplit("stopped after ")[1].split()[0].replace(",", "")) for log in logs]
    assert sum(counts) == 2000
    lines = (slow_project.folder / "done.txt").read_text().splitlines()
    assert len(lines) == 2000


def test_standard_output_is_the_jobs_own(slow_project: Project) -> None:
    slow_project.write(
        "jobs.py", "from jobqueue import job\n@job\ndef say() -> None:\n    print('hello')\n"
    )
    enqueue(slow_project, "say")
    run = slow_project.jobs("workoff")
    assert run.out == "hello\nWorked off: 1 succeeded.\n"
    assert "jobs.say #1 succeeded" in run.err


def test_workers_do_not_import_alembic(slow_project: Project) -> None:
    enqueue(slow_project, "Quick")
    run = slow_project.python("-X", "importtime", "-m", "jobqueue", "workoff")
    imported = {line.rsplit("|")[-1].strip() for line in run.err.splitlines() if "|" in line}
    assert "sqlalchemy" in imported
    assert "alembic" not in imported
