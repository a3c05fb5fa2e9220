"""The pytest plugin and `jobqueue.testing`, as tests of an application use them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import unittest
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import entry_points
from typing import Any, ClassVar
from unittest import mock

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import jobqueue
import jobqueue.testing
from jobqueue import (
    Constant,
    Discard,
    InvalidArguments,
    Job,
    JobQueue,
    JobState,
    MemoryAdapter,
    Retry,
    UnknownJob,
    job,
)
from jobqueue.defaults import default_configuration
from jobqueue.records import JobFilter
from jobqueue.testing import Inbox

pytest_plugins = ["pytester"]

sent: list[Any] = []


class SendMail(Job):
    queue = "email"
    retry = Constant(60)
    max_attempts = 2

    def perform(
        self, user_id: int, at: datetime | None = None, price: Decimal | None = None
    ) -> None:
        if user_id < 0:
            raise LookupError(f"no user {user_id}")
        sent.append(user_id)


class SendToAll(Job):
    def perform(self, *user_ids: int, **options: Any) -> None:
        for user_id in user_ids:
            SendMail.perform_later(user_id)


class SendAsync(Job):
    async def perform(self, user_id: int) -> None:
        await asyncio.sleep(0)
        sent.append((user_id, id(asyncio.get_running_loop())))


class Ping(Job):
    def perform(self) -> None:
        Ping.perform_later()


class Steer(Job):
    def perform(self, how: str) -> None:
        sent.append(how)
        if how == "retry":
            raise Retry(in_=30)
        if how == "discard":
            raise Discard("no longer wanted")
        if how == "interrupt":
            raise KeyboardInterrupt


class Unlock(Job):
    redact = ("code",)

    def perform(self, door: str, code: str) -> None: ...


@job(queue="functions")
def move(queue: str, count: int = 1) -> None:
    sent.append((queue, count))


class OnItsOwn(Job):
    adapter: ClassVar[Any] = MemoryAdapter()

    def perform(self) -> None:
        sent.append("on its own")


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    sent.clear()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with jobqueue.testing.inbox() as box:
        yield box


@pytest.fixture
def inline() -> Iterator[Inbox]:
    with jobqueue.testing.inline() as box:
        yield box


# --- the inbox -----------------------------------------------------------------------------------


def test_nothing_runs_and_everything_is_recorded(inbox: Inbox) -> None:
    record = SendMail.set(priority=3).perform_later(42)
    jobqueue.enqueue("SendMail", {"user_id": 43})
    assert [(j.id, j.args, j.queue, j.priority) for j in inbox.jobs] == [
        (record.id, {"user_id": 42}, "email", 3),
        (record.id + 1, {"user_id": 43}, "email", 50),
    ]
    assert jobqueue.get(record.id).state is JobState.READY
    assert sent == []


def test_a_job_that_was_enqueued_is_found(inbox: Inbox) -> None:
    first = SendMail.perform_later(42)
    SendMail.set(queue="other").perform_later(42)
    assert inbox.assert_enqueued(SendMail) == first
    assert inbox.assert_enqueued(SendMail, 42, queue="email") == first
    inbox.assert_enqueued(SendMail, user_id=42, queue="other", count=1)
    inbox.assert_enqueued(SendMail, user_id=42, count=2)
    inbox.assert_enqueued(SendMail.set(queue="other", priority=50), 42)
    inbox.assert_enqueued("SendMail", user_id=mock.ANY, at=None)
    inbox.assert_not_enqueued(SendMail, 43)
    inbox.assert_not_enqueued(SendMail, 42, queue="third")
    inbox.assert_not_enqueued(move)


def test_arguments_are_compared_as_python_and_as_json_have_them(inbox: Inbox) -> None:
    moment = datetime(2031, 5, 6, tzinfo=UTC)
    SendMail.perform_later(1, at=moment, price=Decimal("2.50"))
    inbox.assert_enqueued(SendMail, 1, at=moment, price=Decimal("2.50"))
    inbox.assert_enqueued(SendMail, at="2031-05-06T00:00:00Z", price="2.50")
    SendToAll.perform_later(1, 2, tags=("a", "b"))
    inbox.assert_enqueued(SendToAll, 1, 2, tags=("a", "b"))
    inbox.assert_not_enqueued(SendToAll, 1)


def test_a_parameter_comes_before_the_option_of_its_name(inbox: Inbox) -> None:
    move.perform_later("left", count=3)
    inbox.assert_enqueued(move, queue="left", count=3)
    inbox.assert_not_enqueued(move, queue="functions")
    inbox.assert_enqueued(move.set(queue="functions"))


def test_times_are_compared(inbox: Inbox) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    SendMail.set(wait=60).perform_later(1)
    SendMail.set(wait_until=tomorrow).perform_later(2)
    inbox.assert_enqueued(SendMail, 1, wait=timedelta(minutes=1))
    inbox.assert_enqueued(SendMail, 2, wait_until=tomorrow, wait=24 * 3600)
    inbox.assert_not_enqueued(SendMail, wait=61.5)


def test_a_failed_assertion_says_what_was_enqueued_instead(inbox: Inbox) -> None:
    SendMail.set(queue="other").perform_later(41)
    SendMail.set(wait=60).perform_later(7)
    move.perform_later("left")
    with pytest.raises(AssertionError) as failure:
        inbox.assert_enqueued(SendMail, user_id=42, queue="other")
    name = "tests.test_testing_plugin."
    assert str(failure.value).replace(name, "") == (
        "SendMail(user_id=42) queue='other' was not enqueued.\n"
        "\n"
        "The nearest is #1:\n"
        "  user_id: expected 42, was 41\n"
        "\n"
        "Enqueued (3):\n"
        "  #1 SendMail(user_id=41) queue='other'\n"
        "  #2 SendMail(user_id=7) queue='email' wait=0:01:00\n"
        "  #3 move(queue='left') queue='functions'"
    )
    with pytest.raises(AssertionError, match="was enqueued 2 times, not 3 times"):
        inbox.assert_enqueued(SendMail, count=3)
    with pytest.raises(AssertionError, match=r"no .*SendMail should .*\n  #1 .*\n  #2 .*\Z"):
        inbox.assert_not_enqueued(SendMail)
    with pytest.raises(AssertionError, match="nothing should have been enqueued"):
        inbox.assert_not_enqueued()


def test_a_failed_assertion_tells_one_type_from_another(inbox: Inbox) -> None:
    SendToAll.perform_later(when=1)
    with pytest.raises(AssertionError, match="when: expected '1', was 1"):
        inbox.assert_enqueued(SendToAll, when="1")
    with pytest.raises(AssertionError, match="other: expected 2, was nothing"):
        inbox.assert_enqueued(SendToAll, other=2)


def test_nothing_at_all_is_said_too(inbox: Inbox) -> None:
    inbox.assert_not_enqueued()
    with pytest.raises(AssertionError, match=r"was not enqueued\.\n\nNothing was enqueued\.$"):
        inbox.assert_enqueued(SendMail)


def test_secrets_stay_out_of_messages(inbox: Inbox) -> None:
    Unlock.perform_later("front", "12345")
    with pytest.raises(AssertionError) as failure:
        inbox.assert_enqueued(Unlock, "front", "98765")
    assert "12345" not in str(failure.value)
    assert "98765" not in str(failure.value)
    assert "code: expected ***, was another" in str(failure.value)


def test_expectations_that_cannot_be_met_are_refused(inbox: Inbox) -> None:
    with pytest.raises(InvalidArguments, match=r"unexpected keyword argument 'user'.*user_id"):
        inbox.assert_enqueued(SendMail, user=42)
    with pytest.raises(InvalidArguments, match="unexpected keyword argument 'user'"):
        inbox.assert_not_enqueued(SendMail, user=42)
    with pytest.raises(InvalidArguments, match=r"count=0 .* assert_not_enqueued"):
        inbox.assert_enqueued(SendMail, count=0)
    with pytest.raises(UnknownJob, match="SendMial"):
        inbox.assert_enqueued("SendMial")
    with pytest.raises(InvalidArguments, match="is no job"):
        inbox.assert_enqueued(print)


def test_arguments_are_checked_as_in_production(inbox: Inbox) -> None:
    with pytest.raises(InvalidArguments, match="missing"):
        SendMail.perform_later()  # type: ignore[call-arg]
    with pytest.raises(InvalidArguments, match="not JSON"):
        SendToAll.perform_later(user=object())
    assert inbox.enqueued == []
    SendToAll.perform_later(numbers=(1, 2))
    assert inbox.jobs[0].args == {"numbers": [1, 2]}


def test_clearing(inbox: Inbox) -> None:
    SendMail.perform_later(1)
    inbox.clear()
    inbox.assert_not_enqueued()
    assert inbox.jobs == []
    inbox.perform_all()
    assert sent == []


# --- performing ----------------------------------------------------------------------------------


def test_everything_that_is_due_is_performed(inbox: Inbox) -> None:
    SendMail.set(priority=90).perform_later(1)
    SendToAll.perform_later(2, 3)
    SendMail.set(wait=60).perform_later(4)
    tally = inbox.perform_all()
    assert sent == [2, 3, 1]
    assert (tally.succeeded, tally.performed) == (4, 4)
    assert [job.args for job in inbox.jobs] == [{"user_id": 4}]
    inbox.assert_enqueued(SendMail, 2)
    assert inbox.perform_all().performed == 0


def test_only_one_queue(inbox: Inbox) -> None:
    SendMail.perform_later(1)
    move.perform_later("left")
    inbox.perform_all(queue="functions", until=timedelta(days=1))
    assert sent == [("left", 1)]


def test_travelling(inbox: Inbox) -> None:
    SendMail.set(wait=3600).perform_later(1)
    SendMail.set(wait_until=datetime.now(UTC) + timedelta(days=2)).perform_later(2)
    inbox.travel(minutes=59)
    assert inbox.perform_all().performed == 0
    inbox.travel(timedelta(minutes=2))
    inbox.perform_all()
    assert sent == [1]
    inbox.travel(2 * 24 * 3600)
    inbox.perform_all()
    assert sent == [1, 2]
    with pytest.raises(InvalidArguments, match="back"):
        inbox.travel(hours=-1)


def test_each_job_is_performed_when_its_time_comes(inbox: Inbox) -> None:
    class Daily(Job):
        def perform(self) -> None:
            sent.append(inbox.now - start)
            Daily.set(wait=timedelta(days=1)).perform_later()

    Daily.perform_later()
    start = inbox.now
    inbox.perform_all(until=start + timedelta(days=3, hours=12))
    assert [passed.days for passed in sent] == [0, 1, 2, 3]
    assert inbox.now - start >= timedelta(days=3, hours=12)
    inbox.perform_all(until=timedelta(hours=13))
    assert len(sent) == 5
    with pytest.raises(InvalidArguments, match="time zone"):
        inbox.perform_all(until=datetime(2031, 1, 1))  # noqa: DTZ001


def test_an_error_is_raised_once_it_is_stored(inbox: Inbox) -> None:
    SendMail.perform_later(-1)
    SendMail.perform_later(2)
    with pytest.raises(LookupError, match="no user -1"):
        inbox.perform_all()
    failed, waiting = inbox.jobs
    assert (failed.attempts, waiting.attempts) == (1, 0)
    assert "no user -1" in (failed.last_error or "")


def test_errors_can_be_left_to_the_retry_policy(inbox: Inbox) -> None:
    record = SendMail.perform_later(-1)
    assert inbox.perform_all(raise_errors=False).retried == 1
    assert inbox.perform_all(raise_errors=False).performed == 0
    assert inbox.perform_all(until=61, raise_errors=False).failed == 1
    assert jobqueue.get(record.id).state is JobState.FAILED


def test_retry_and_discard_are_no_errors(inbox: Inbox) -> None:
    for how in ("retry", "discard"):
        Steer.perform_later(how)
    tally = inbox.perform_all()
    assert (tally.retried, tally.discarded) == (1, 1)
    inbox.perform_all(until=31)
    assert sent == ["retry", "discard", "retry"]


def test_what_is_no_failure_of_the_job_gets_out(inbox: Inbox) -> None:
    Steer.perform_later("interrupt")
    with pytest.raises(KeyboardInterrupt):
        inbox.perform_all(raise_errors=False)


def test_a_job_without_end_is_noticed(inbox: Inbox) -> None:
    Ping.perform_later()
    with pytest.raises(AssertionError, match=r"50 jobs were performed.*enqueue itself"):
        inbox.perform_all(limit=50)
    inbox.clear()
    SendMail.perform_later(1)
    assert inbox.perform_all(limit=1).succeeded == 1


def test_a_job_that_nobody_knows_is_an_error(inbox: Inbox) -> None:
    jobqueue.enqueue("elsewhere.Job", {}, unchecked=True)
    with pytest.raises(AssertionError, match=r"elsewhere\.Job"):
        inbox.perform_all()


async def perform_on_this_loop(inbox: Inbox) -> int:
    SendAsync.perform_later(1)
    move.perform_later("left")
    await inbox.perform_all_async()
    return id(asyncio.get_running_loop())


async def perform_beside_this_loop(inbox: Inbox) -> int:
    SendAsync.perform_later(1)
    move.perform_later("left")
    inbox.perform_all()
    return id(asyncio.get_running_loop())


def test_in_async_tests(inbox: Inbox) -> None:
    loop = asyncio.run(perform_on_this_loop(inbox))
    assert sent == [(1, loop), ("left", 1)]
    sent.clear()
    loop = asyncio.run(perform_beside_this_loop(inbox))
    assert len(sent) == 2
    assert sent[0] != (1, loop)


def test_an_async_job_raises_too(inbox: Inbox) -> None:
    class BoomAsync(Job):
        async def perform(self) -> None:
            raise LookupError("boom")

    BoomAsync.perform_later()
    with pytest.raises(LookupError, match="boom"):
        inbox.perform_all()
    BoomAsync.perform_later()
    with pytest.raises(LookupError, match="boom"):
        asyncio.run(inbox.perform_all_async())


# --- sessions ------------------------------------------------------------------------------------


def test_only_what_is_committed_is_in_the_inbox(inbox: Inbox) -> None:
    with Session(create_engine("sqlite://")) as session:
        SendMail.set(session=session).perform_later(1)
        assert inbox.jobs == []
        session.commit()
        SendMail.set(session=session).perform_later(2)
        session.rollback()
    assert [job.args["user_id"] for job in inbox.jobs] == [1]
    with pytest.raises(AssertionError, match=r"rolled back \(1\):\n  #2 .*user_id=2"):
        inbox.assert_enqueued(SendMail, 2)


def test_connections_of_drivers_are_taken(inbox: Inbox, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        SendMail.set(session=connection).perform_later(1)
    inbox.assert_enqueued(SendMail, 1)
    with pytest.raises(jobqueue.ConfigurationError):
        SendMail.set(session=object()).perform_later(1)


# --- inline --------------------------------------------------------------------------------------


def test_everything_runs_at_once(inline: Inbox) -> None:
    SendMail.set(wait=3600).perform_later(1)
    assert sent == [1]
    SendToAll.perform_later(2, 3)
    assert sent == [1, 2, 3]
    inline.assert_enqueued(SendMail, 1, wait=3600)
    assert inline.jobs == []


def test_inline_errors_reach_the_caller(inline: Inbox) -> None:
    with pytest.raises(LookupError, match="no user -1"):
        SendMail.perform_later(-1)
    with pytest.raises(LookupError, match="no user -1"):
        SendToAll.perform_later(-1)
    assert inline.jobs[0].attempts == 1


def test_inline_waits_for_the_commit(inline: Inbox) -> None:
    with Session(create_engine("sqlite://")) as session:
        SendMail.set(session=session).perform_later(1)
        assert sent == []
        session.commit()
    assert sent == [1]


def test_inline_in_a_coroutine_and_in_threads(inline: Inbox) -> None:
    async def sign_up() -> None:
        SendAsync.perform_later(1)
        assert len(sent) == 1

    asyncio.run(sign_up())
    sent.clear()
    together = threading.Barrier(8)

    def enqueue(number: int) -> None:
        together.wait()
        SendToAll.perform_later(number)
        assert number in sent

    threads = [threading.Thread(target=enqueue, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == list(range(8))


def test_inline_a_job_without_end_is_noticed(inline: Inbox) -> None:
    with pytest.raises(AssertionError, match="does a job enqueue itself"):
        Ping.perform_later()


# --- what it replaces ----------------------------------------------------------------------------


def test_all_adapters_are_replaced_and_restored() -> None:
    own, mine = OnItsOwn.adapter, MemoryAdapter()
    Job.config(adapter=mine)
    queue = JobQueue(MemoryAdapter())
    real = queue.adapter
    with jobqueue.testing.inbox() as inbox:
        OnItsOwn.perform_later()
        queue.enqueue(SendMail, 1)
        SendMail.perform_later(2)
        assert [j.id for j in inbox.jobs] == [1, 2, 3]
        assert {Job.adapter, OnItsOwn.adapter, queue.adapter} == {inbox.adapter}
        other = MemoryAdapter()
        Job.config(adapter=other)
        SendMail.perform_later(3)
        assert len(inbox.jobs) == 4
    assert (OnItsOwn.adapter, queue.adapter, Job.adapter) == (own, real, other)
    assert all(a.count_jobs(JobFilter()) == 0 for a in (own, real, other, mine))
    default_configuration.reset()


def test_a_class_that_is_defined_meanwhile_is_replaced_as_well() -> None:
    mine = MemoryAdapter()
    with jobqueue.testing.inbox() as inbox:

        class Base(Job):
            adapter = mine

        class Late(Base):
            def perform(self) -> None: ...

        Late.perform_later()
        inbox.assert_enqueued(Late)
    assert Late.adapter is mine
    assert mine.count_jobs(JobFilter()) == 0


def test_inboxes_can_be_nested() -> None:
    with jobqueue.testing.inbox() as outer:
        SendMail.perform_later(1)
        with jobqueue.testing.inline() as inner:
            OnItsOwn.perform_later()
        OnItsOwn.perform_later()
    assert sent == ["on its own"]
    assert (len(inner.enqueued), len(outer.enqueued)) == (1, 2)


def test_another_thread_has_the_same_inbox(inbox: Inbox) -> None:
    thread = threading.Thread(target=SendMail.perform_later, args=(1,))
    thread.start()
    thread.join()
    inbox.assert_enqueued(SendMail, 1)


def test_workers_in_the_process_leave_the_inbox_alone(inbox: Inbox) -> None:
    with JobQueue(MemoryAdapter()).running() as queue:
        queue.enqueue(SendMail, 1)
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if name.startswith("jobqueue-worker")]
    assert len(inbox.jobs) == 1


class WithUnittest(unittest.TestCase):
    def setUp(self) -> None:
        self.inbox = self.enterContext(jobqueue.testing.inbox())

    def test_in_a_test_case(self) -> None:
        SendMail.perform_later(1)
        self.inbox.assert_enqueued(SendMail, 1)


# --- the plugin ----------------------------------------------------------------------------------

IS_INSTALLED = any(point.name == "jobqueue" for point in entry_points(group="pytest11"))
PLUGIN = () if IS_INSTALLED else ("-p", "jobqueue.testing.plugin")
SHOP = """
from jobqueue import Job, MemoryAdapter

real = MemoryAdapter()
Job.config(adapter=real)
sent = []


class Send(Job):
    def perform(self, user_id: int) -> None:
        sent.append(user_id)
"""


@pytest.fixture
def shop(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a job and without any configuration."""
    pytester.makepyfile(shop=SHOP)
    pytester.syspathinsert()
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest as somebody would who has installed jobqueue."""
    # These two take two seconds to import. Pytester takes no options from the environment.
    others = ("-p", "no:schemathesis", "-p", "no:hypothesispytest")
    return project.runpytest_subprocess(*PLUGIN, *others, "--strict-markers", *options)


def test_the_fixtures(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        from shop import Send, real, sent

        def test_inbox(jobs_inbox):
            Send.perform_later(1)
            jobs_inbox.assert_enqueued(Send, user_id=1)
            assert sent == []
            jobs_inbox.perform_all()
            assert sent == [1]

        def test_each_test_has_its_own(jobs_inbox):
            assert jobs_inbox.enqueued == []

        def test_inline(jobs_inline):
            Send.perform_later(2)
            assert sent == [1, 2]
            jobs_inline.assert_enqueued(Send, 2)

        def test_neither():
            Send.perform_later(3)
            assert real.count_by_state() == {"ready": 1}
    """)
    run(shop).assert_outcomes(passed=4)


def test_a_failure_is_shown_without_our_own_lines(shop: pytest.Pytester) -> None:
    shop.makepyfile("""
        from jobqueue import Job
        from shop import Send

        class Boom(Job):
            def perform(self) -> None:
                raise ValueError("boom")

        def test_assertion(jobs_inbox):
            Send.perform_later(41)
            jobs_inbox.assert_enqueued(Send, 42)

        def test_error(jobs_inbox):
            Boom.perform_later()
            jobs_inbox.perform_all()
    """)
    result = run(shop)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*user_id: expected 42, was 41"])
    result.stdout.fnmatch_lines(["E*ValueError: boom"])
    result.stdout.no_fnmatch_line("*jobqueue/*.py*")


EVERY_TEST = """
    import unittest

    import pytest
    from shop import Send, real, sent

    def test_nothing_runs():
        Send.perform_later(1)

    def test_it_is_the_fixture(jobs_inbox):
        jobs_inbox.assert_enqueued(Send, user_id=0)
        Send.perform_later(1)
        jobs_inbox.assert_enqueued(Send, user_id=1)

    def test_inline_is_inline(jobs_inline):
        Send.perform_later(2)
        assert sent.pop() == 2

    class TestCase(unittest.TestCase):
        def test_here_too(self):
            Send.perform_later(3)

    @pytest.fixture(autouse=True)
    def nothing_real():
        yield
        assert (sent, real.count_by_state()) == ([], {})
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_the_ini_option_puts_every_test_in_the_inbox(
    shop: pytest.Pytester, options: tuple[str, ...]
) -> None:
    shop.makeini("[pytest]\njobqueue_inbox = true")
    shop.makeconftest("""
        import pytest
        from shop import Send

        @pytest.fixture(autouse=True)
        def somebody_is_welcomed():
            Send.perform_later(0)
    """)
    shop.makepyfile(EVERY_TEST)
    run(shop, *options).assert_outcomes(passed=4)


def test_a_marker_leaves_a_test_its_adapters(shop: pytest.Pytester) -> None:
    shop.makeini("[pytest]\njobqueue_inbox = true")
    shop.makepyfile("""
        import pytest
        from shop import Send, real

        @pytest.mark.jobs_real
        def test_real():
            Send.perform_later(1)
            assert real.count_by_state() == {"ready": 1}
    """)
    run(shop).assert_outcomes(passed=1)


def test_other_projects_notice_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_what_is_imported(request):
            heavy = {"sqlalchemy", "alembic", "psycopg", "pydantic", "typer"}
            assert not heavy & set(sys.modules)
            assert "jobqueue.adapters.memory" not in sys.modules
            assert not [name for name in request.fixturenames if "jobs" in name]
    """)
    run(pytester).assert_outcomes(passed=1)


def test_a_conftest_can_load_it(shop: pytest.Pytester) -> None:
    shop.makeini("[pytest]\njobqueue_inbox = true")
    shop.makeconftest('pytest_plugins = ["jobqueue.testing.plugin"]')
    shop.makepyfile("""
        from shop import Send, real

        def test_it():
            Send.perform_later(1)
            assert real.count_by_state() == {}
    """)
    run(shop, "-p", "no:jobqueue").assert_outcomes(passed=1)


def test_importing_the_package_imports_no_pytest() -> None:
    code = "import sys, jobqueue.testing; jobqueue.testing.inbox; print('pytest' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "False"
