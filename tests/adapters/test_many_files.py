"""A process with more open files than `select` knows: a web server, or a job that opens many."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from jobqueue import JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.records import CrashedJob, JobFilter, JobState
from jobqueue.testing.contract.base import a_claim, enqueue_one, new_worker
from tests.conftest import ADAPTERS, PATIENCE_SECONDS, Project, build_adapter
from tests.sample_jobs import Note, NoteAsync, calls

FILES = 1_100
SELECT_ENDS_AT = 1_024
MANY = f"""
    import resource

    from jobqueue import Job

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, {10 * FILES}), hard))
    FILES = [open("/dev/null") for _ in range({FILES})]


    class Quick(Job):
        keep_succeeded = True

        def perform(self) -> None:
            assert FILES[-1].fileno() >= {SELECT_ENDS_AT}


    class QuickAsync(Job):
        keep_succeeded = True

        async def perform(self) -> None:
            assert FILES[-1].fileno() >= {SELECT_ENDS_AT}


    class TooLong(Job):
        max_runtime = 0.2
        max_attempts = 1

        def perform(self) -> None:
            while True:
                pass
"""

WaitFor = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def many_files() -> Iterator[None]:
    """So many files are open that all others get descriptors beyond those of `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10 * FILES), hard))
    with ExitStack() as opened:
        files = [opened.enter_context(Path(os.devnull).open("rb")) for _ in range(FILES)]
        assert files[-1].fileno() >= SELECT_ENDS_AT
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest, many_files: None) -> Iterator[Adapter]:
    """Each adapter in turn, made when the files are open already."""
    with closing(build_adapter(request, request.param)) as made:
        yield made


def test_enqueueing(adapter: Adapter) -> None:
    queue = JobQueue(adapter)
    for number in range(5):
        queue.enqueue(Note, f"note {number}")
    assert adapter.count_jobs(JobFilter()) == 5


def test_enqueueing_in_a_session(
    database_url: str, many_files: None, request: pytest.FixtureRequest
) -> None:
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    request.addfinalizer(engine.dispose)
    with closing(connect(database_url)) as adapter:
        for _ in range(2):
            with Session(engine) as session, session.begin():
                JobQueue(adapter).enqueue(Note.set(session=session))
        for _ in range(2):
            with adapter.transaction().session as session, session.begin():
                JobQueue(adapter).enqueue(Note.set(session=session))
        assert adapter.count_jobs(JobFilter()) == 4


def test_listening(adapter: Adapter) -> None:
    with closing(adapter.listen()) as listener:
        JobQueue(adapter).enqueue(Note)
        assert listener.wait(PATIENCE_SECONDS) is not None


@pytest.mark.parametrize("concurrency", [1, 4])
def test_working(adapter: Adapter, concurrency: int, wait_for: WaitFor) -> None:
    calls.clear()
    queue = JobQueue(adapter, concurrency=concurrency)
    worker = queue.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        for number in range(20):
            queue.enqueue(Note, f"note {number}")
            queue.enqueue(NoteAsync, f"note {number}")
        wait_for(lambda: len(calls) == 40, "the jobs")
        queue.enqueue(Note.set(wait=timedelta(seconds=0.2)), "later")
        wait_for(lambda: "later" in calls, "the last job")
    finally:
        worker.stop()
        thread.join()
    assert adapter.count_jobs(JobFilter()) == 0


def test_rescuing(adapter: Adapter) -> None:
    adapter.register_worker(new_worker())
    enqueue_one(adapter)
    (job,) = adapter.claim(a_claim())
    with closing(adapter.listen()) as listener:
        adapter.rescue_crashed("worker-1", [CrashedJob(job.id, job.token, "it died")])
        assert listener.wait(PATIENCE_SECONDS) is not None


def test_a_worker_whose_application_opens_many_files(
    project: Project, tmp_path: Path, wait_for: WaitFor
) -> None:
    """What is opened by an import is open before the worker connects."""
    project.write("many.py", MANY)
    project = replace(project, environment={**project.environment, "JOBS_APP": "many"})
    forked = project.start("work", "-n", "2", log=tmp_path / "log")
    try:
        for name in ("Quick", "QuickAsync", "TooLong", "Quick"):
            done = project.jobs("enqueue", f"many.{name}")
            assert done.exit_code == 0, done.err
        with closing(connect(project.environment["JOBS_DATABASE_URL"])) as adapter:
            ended = {JobState.SUCCEEDED: 3, JobState.FAILED: 1}
            wait_for(lambda: adapter.count_by_state() == ended, "the jobs")
    finally:
        os.kill(forked.pid, signal.SIGTERM)
        forked.wait(PATIENCE_SECONDS)
    assert "Error" not in (tmp_path / "log").read_text().replace("JobTimeout", "")
