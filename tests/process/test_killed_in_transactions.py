"""Processes that are killed, frozen or interrupted within `self.transaction()`."""

from __future__ import annotations

import json
import signal
import time

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.conftest import Project
from tests.process.conftest import Start, WaitFor, enqueue, exists, show
from tests.process.outage import freeze

JOBS = """
    import os
    import signal
    import time
    from pathlib import Path

    from sqlalchemy import event, text

    from jobqueue import Job

    INSERT = text("INSERT INTO ledger (job_id) VALUES (:job_id)")


    def dying(job):
        def die(*_):
            marker = Path(f"{job.context.job_id}.died")
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return die


    def wait_for(name):
        while not Path(name).exists():
            time.sleep(0.01)


    class Dies(Job):
        def perform(self, when: str) -> None:
            die = dying(self)
            with self.transaction() as session:
                session.execute(INSERT, {"job_id": self.context.job_id})
                if when == "within":
                    die()
                elif when != "afterwards":
                    event.listen(session, when, die)
            die()


    class DiesAsync(Job):
        async def perform(self, when: str) -> None:
            die = dying(self)
            async with self.transaction() as session:
                await session.execute(INSERT, {"job_id": self.context.job_id})
                if when == "within":
                    die()
                elif when != "afterwards":
                    event.listen(session.sync_session, when, die)
            die()


    class Waits(Job):
        def perform(self, where: str = "within") -> None:
            with self.transaction() as session:
                session.execute(INSERT, {"job_id": self.context.job_id})
                if where == "commit" and self.context.attempt == 1:
                    event.listen(session, "before_commit", lambda _: self.wait())
                else:
                    self.wait()

        def wait(self) -> None:
            Path(f"started.{self.context.attempt}").touch()
            wait_for(f"go.{self.context.attempt}")
"""


@pytest.fixture
def ledger(slow_project: Project) -> Project:
    slow_project.write("jobs.py", JOBS)
    engine = create_engine(engine_url(slow_project))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS ledger"))
        connection.execute(text("CREATE TABLE ledger (job_id bigint)"))
    engine.dispose()
    return slow_project


def engine_url(project: Project) -> str:
    url = make_url(project.environment["JOBS_DATABASE_URL"])
    drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite"}
    url = url.set(drivername=drivers[url.get_backend_name()])
    return url.render_as_string(hide_password=False)


def written(project: Project) -> list[int]:
    engine = create_engine(engine_url(project))
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT job_id FROM ledger")).scalars())
    engine.dispose()
    return found


WORK = ("work", "--lease", "0.5", "--poll-interval", "0.05")


KILLING = """
    import json
    import os
    import signal

    import jobs
    from jobqueue import Job, JobQueue
    from jobqueue.records import JobFilter


    def work_off():
        process = os.fork()
        if not process:
            JobQueue().work_off()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


    def kill(job_class, when):
        job = job_class.perform_later(when)
        assert work_off() == -signal.SIGKILL
        for worker in Job.adapter.workers():
            Job.adapter.rescue(worker, "killed")
        again = Job.adapter.get(job.id) is not None
        assert work_off() == 0
        return job.id, when, again


    killed = [
        kill(job_class, when)
        for job_class in (jobs.Dies, jobs.DiesAsync)
        for when in ("within", "before_commit", "after_commit", "afterwards")
    ]
    assert Job.adapter.count_jobs(JobFilter()) == 0
    print(json.dumps(killed))
"""


def test_killed_at_any_moment_the_effect_is_there_once(ledger: Project) -> None:
    """In the block, when all is settled and not committed, when it just is, and afterwards."""
    ledger.write("killing.py", KILLING)
    run = ledger.python("killing.py")
    assert run.exit_code == 0, run.err
    killed = json.loads(run.out)
    assert len(killed) == 8
    for _, when, was_there_again in killed:
        assert was_there_again is (when in {"within", "before_commit"})
    assert sorted(written(ledger)) == [job_id for job_id, _, _ in killed]


def test_a_second_signal_in_the_block_rolls_it_back_and_gives_the_job_back(
    ledger: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(ledger, "Waits")
    worker = start(*WORK)
    wait_for(exists(ledger, "started.1"), "the job to start")
    worker.send(signal.SIGINT)
    wait_for(lambda: "is stopping" in worker.log, "the worker to say that it is stopping")
    worker.send(signal.SIGINT)
    exit_code, log = worker.ended()
    assert exit_code == 0, log
    assert "Traceback" not in log
    record = show(ledger, job_id)
    assert record is not None
    assert (record.state, record.attempts) == ("ready", 0)
    assert written(ledger) == []


def test_a_second_signal_in_the_commit_waits_for_it(
    ledger: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(ledger, "Waits", where="commit")
    worker = start(*WORK)
    wait_for(exists(ledger, "started.1"), "the commit to begin")
    worker.send(signal.SIGINT)
    wait_for(lambda: "is stopping" in worker.log, "the worker to say that it is stopping")
    worker.send(signal.SIGINT)
    (ledger.folder / "go.1").touch()
    exit_code, log = worker.ended()
    assert exit_code == 0, log
    assert "succeeded" in log
    assert show(ledger, job_id) is None
    assert written(ledger) == [job_id]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("where", ["within", "commit"])
def test_a_process_frozen_past_its_lease_leaves_nothing(
    ledger: Project, start: Start, wait_for: WaitFor, where: str
) -> None:
    """On PostgreSQL: on SQLite nobody else could write, and so take the job, meanwhile."""
    job_id = enqueue(ledger, "Waits", where=where)
    frozen = start(*WORK)
    wait_for(exists(ledger, "started.1"), "the job to start")
    wake = freeze(frozen.pid, ledger.environment["JOBS_DATABASE_URL"])
    other = start(*WORK)
    wait_for(exists(ledger, "started.2"), "another worker to take the job")
    wake()
    (ledger.folder / "go.1").touch()
    wait_for(lambda: "rejected" in frozen.log, "the first worker to be refused")
    assert written(ledger) == []
    (ledger.folder / "go.2").touch()
    wait_for(lambda: show(ledger, job_id) is None, "the second to be done")
    for worker in (frozen, other):
        worker.send(signal.SIGTERM)
        assert worker.ended()[0] == 0
    assert written(ledger) == [job_id]


def test_a_block_may_last_longer_than_the_lease(
    ledger: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(ledger, "Waits")
    workers = [start(*WORK), start(*WORK)]
    wait_for(exists(ledger, "started.1"), "the job to start")
    time.sleep(1.5)
    assert not (ledger.folder / "started.2").exists()
    (ledger.folder / "go.1").touch()
    wait_for(lambda: show(ledger, job_id) is None, "the job to be done")
    for worker in workers:
        worker.send(signal.SIGTERM)
        exit_code, log = worker.ended()
        assert exit_code == 0, log
        assert "Traceback" not in log
    assert written(ledger) == [job_id]
