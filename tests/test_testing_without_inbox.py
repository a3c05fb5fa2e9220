"""A test that has no inbox does not get jobs into the application's own database by mistake."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from jobqueue.adapters import connect
from jobqueue.records import JobFilter
from tests.test_testing_plugin import run

pytest_plugins = ["pytester"]

SHOP = """
from jobqueue import Job


class Send(Job):
    def perform(self, user_id: int) -> None: ...
"""
ENQUEUES = """
    import jobqueue
    from shop import Send

    def test_it():
        Send.perform_later(1)
"""
REFUSED = "*ConfigurationError: test_*.py::test_it enqueues a job in *"


@pytest.fixture(autouse=True)
def own_database(monkeypatch: pytest.MonkeyPatch, database_url: str) -> str:
    """What the application is configured with: SQLite, then PostgreSQL."""
    monkeypatch.setenv("JOBS_DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def shop(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(shop=SHOP)
    pytester.syspathinsert()
    return pytester


def jobs_in(url: str) -> int:
    with closing(connect(url)) as adapter:
        return adapter.count_jobs(JobFilter())


@pytest.mark.parametrize(
    "call",
    [
        "Send.perform_later(1)",
        "Send.set(wait=60).perform_later(1)",
        "Send.perform_all_later([(1,), (2,)])",
        "import asyncio; asyncio.run(Send.perform_later_async(1))",
        "jobqueue.enqueue('Send', {'user_id': 1})",
        "jobqueue.enqueue('shop.Send', {'user_id': 1}, unchecked=True)",
        "jobqueue.JobQueue().enqueue(Send, 1)",
    ],
)
def test_it_is_refused(shop: pytest.Pytester, own_database: str, call: str) -> None:
    shop.makepyfile(ENQUEUES.replace("Send.perform_later(1)", call))
    result = run(shop)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([REFUSED])
    result.stdout.fnmatch_lines(["*jobs_inbox*jobs_real*"])
    assert jobs_in(own_database) == 0


def test_it_is_refused_over_the_api(shop: pytest.Pytester, own_database: str) -> None:
    shop.makepyfile(
        shop=SHOP.replace("def perform", "api = True\n\n    def perform"),
        test_api="""
            import shop
            import jobqueue.web
            from starlette.testclient import TestClient

            def test_it():
                app = jobqueue.web.app(lambda _: ("ann", "admin"))
                with TestClient(app) as client:
                    client.post("/api/jobs", json={"name": "shop.Send", "args": {"user_id": 1}})
        """,
    )
    run(shop)
    assert jobs_in(own_database) == 0


def test_settings_of_a_file_are_the_applications_own(
    shop: pytest.Pytester, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOBS_DATABASE_URL")
    (shop.path / "jobqueue.toml").write_text(f'database_url = "{own_database}"\n')
    shop.makepyfile(ENQUEUES)
    run(shop).stdout.fnmatch_lines([REFUSED])
    assert jobs_in(own_database) == 0


def test_a_session_of_the_tests_database_is_refused_too(
    shop: pytest.Pytester, own_database: str, tmp_path: Path
) -> None:
    shop.makepyfile(f"""
        from shop import Send
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session

        def test_it():
            with Session(create_engine("sqlite:///{tmp_path}/test.sqlite3")) as session:
                Send.set(session=session).perform_later(1)
    """)
    result = run(shop)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*but this job is kept in*"])


@pytest.mark.parametrize(
    "text",
    [
        "def test_it(jobs_inbox):\n    Send.perform_later(1)",
        "def test_it(jobs_inline):\n    Send.perform_later(1)",
        (
            "def test_it():\n    jobqueue.Job.config(adapter=jobqueue.MemoryAdapter())\n"
            "    Send.perform_later(1)"
        ),
        "def test_it():\n    jobqueue.JobQueue(jobqueue.MemoryAdapter()).enqueue(Send, 1)",
        (
            "def test_it(monkeypatch):\n"
            "    monkeypatch.setenv('JOBS_DATABASE_URL', 'memory://')\n    Send.perform_later(1)"
        ),
        "def test_it():\n    assert jobqueue.Job.adapter.count_by_state() == {}",
    ],
)
def test_what_does_not_get_there_is_let_be(
    shop: pytest.Pytester, own_database: str, text: str
) -> None:
    shop.makepyfile(f"import jobqueue\nfrom shop import Send\n\n{text}\n")
    run(shop).assert_outcomes(passed=1)
    assert jobs_in(own_database) == 0


def test_a_database_that_conftest_sets(shop: pytest.Pytester, own_database: str) -> None:
    """The way of a project whose tests work with a database of their own."""
    url = f"sqlite:///{shop.path}/test.sqlite3"
    shop.makeconftest(f"""
        import os

        import pytest

        import jobqueue

        os.environ["JOBS_DATABASE_URL"] = "{url}"

        @pytest.fixture(scope="session", autouse=True)
        def tables():
            jobqueue.Job.adapter.migrate()
    """)
    shop.makepyfile(ENQUEUES)
    run(shop).assert_outcomes(passed=1)
    assert (jobs_in(own_database), jobs_in(url)) == (0, 1)


@pytest.mark.parametrize("how", ["marker", "ini"])
def test_one_that_wants_it_gets_it(shop: pytest.Pytester, own_database: str, how: str) -> None:
    if how == "ini":
        shop.makeini("[pytest]\njobqueue_real = true")
        shop.makepyfile(ENQUEUES)
    else:
        marked = "import pytest\n\n    @pytest.mark.jobs_real\n    def test_it"
        shop.makepyfile(ENQUEUES.replace("def test_it", marked))
    run(shop).assert_outcomes(passed=1)
    assert jobs_in(own_database) == 1


def test_outside_of_tests_nothing_is_refused(shop: pytest.Pytester, own_database: str) -> None:
    """A conftest may fill the database that it has made."""
    shop.makeconftest("from shop import Send\n\nSend.perform_later(1)")
    shop.makepyfile("def test_it(): ...")
    run(shop).assert_outcomes(passed=1)
    assert jobs_in(own_database) == 1
    assert "JOBS_DATABASE_URL" in os.environ
