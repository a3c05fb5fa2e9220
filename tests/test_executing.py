"""`execute`: one claimed job becomes one outcome, whatever `perform` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import jobqueue
from jobqueue.config import Settings
from jobqueue.job import Job, JobContext, registry
from jobqueue.perform.executor import Executor
from jobqueue.records import Discarded, Failed, Outcome, Released, Retried, Succeeded
from jobqueue.redaction import MAX_ERROR_CHARACTERS
from tests import sample_jobs
from tests.sample_jobs import calls, claimed

SECOND = timedelta(seconds=1)


@pytest.fixture
def executor() -> Iterator[Executor]:
    calls.clear()
    made = Executor(registry, Settings())
    yield made
    made.close()


def perform(executor: Executor, job: Any, arguments: Any = None, **given: Any) -> Outcome:
    text = json.dumps(arguments or {})
    return executor.execute(claimed(f"tests.sample_jobs.{job}", text, **given))


@pytest.mark.parametrize("job", ["Note", "NoteAsync", "note"])
def test_success(executor: Executor, job: str) -> None:
    outcome = perform(executor, job, {"what": "x"})
    assert isinstance(outcome, Succeeded)
    assert not outcome.keep
    assert outcome.run_time > timedelta(0)
    assert calls == ["x"]


def test_the_context(executor: Executor) -> None:
    given = claimed("tests.sample_jobs.NoteContext", id=42, attempts=2, queue="q")
    executor.execute(given)
    assert calls == [JobContext(42, 2, 24, "q", given.created_at)]


def test_whether_a_success_is_kept(executor: Executor) -> None:
    kept = {job: perform(executor, job) for job in ("Keep", "Open", "Note")}
    assert {
        job: outcome.keep for job, outcome in kept.items() if isinstance(outcome, Succeeded)
    } == {
        "Keep": True,
        "Open": True,
        "Note": False,
    }
    keeping = Executor(registry, Settings(keep_succeeded=True))
    outcome = perform(keeping, "Note")
    assert isinstance(outcome, Succeeded)
    assert outcome.keep


def test_an_error_is_retried_by_the_policy_of_the_class(executor: Executor) -> None:
    outcome = perform(executor, "Boom", {"message": "why"}, attempts=1, max_attempts=3)
    assert isinstance(outcome, Retried)
    assert outcome.delay == timedelta(seconds=60)
    assert not outcome.refund


def test_the_last_attempt_fails_for_good(executor: Executor) -> None:
    outcome = perform(executor, "Boom", attempts=3, max_attempts=3)
    assert isinstance(outcome, Failed)
    assert outcome.keep
    dropped = perform(executor, "Drop", attempts=1, max_attempts=1)
    assert isinstance(dropped, Failed)
    assert not dropped.keep


def test_the_default_backoff(executor: Executor) -> None:
    for attempt, seconds in ((1, 1), (2, 16), (3, 81)):
        outcome = perform(executor, "Secret", {"user": "u", "password": "p"}, attempts=attempt)
        assert isinstance(outcome, Retried)
        assert seconds * SECOND <= outcome.delay <= seconds * 1.1 * SECOND


def test_an_async_error_backs_off_exponentially(executor: Executor) -> None:
    delays = []
    for attempt in (1, 2, 3):
        outcome = perform(executor, "BoomAsync", attempts=attempt, max_attempts=5)
        assert isinstance(outcome, Retried)
        delays.append(outcome.delay.total_seconds())
    for delay, expected in zip(delays, (3, 6, 12), strict=True):
        assert expected <= delay <= expected * 1.1


def test_the_traceback_begins_in_the_users_code(executor: Executor) -> None:
    for job in ("Boom", "BoomAsync"):
        outcome = perform(executor, job)
        assert isinstance(outcome, Retried)
        lines = outcome.error.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert "sample_jobs.py" in lines[1]
        assert lines[-1].startswith("ValueError: boom")
        assert "execution.py" not in outcome.error
        assert "attempt.py" not in outcome.error


@jobqueue.job
def explode() -> None:
    raise ValueError("exploded")


def test_the_traceback_of_a_function_begins_in_the_function(executor: Executor) -> None:
    outcome = executor.execute(claimed(explode.name, "{}"))
    assert isinstance(outcome, Retried)
    assert outcome.error.splitlines()[1].endswith("in explode")


def test_retry_spends_no_attempt(executor: Executor) -> None:
    outcome = perform(executor, "Later", {"seconds": 30}, attempts=24, max_attempts=24)
    assert isinstance(outcome, Retried)
    assert outcome.delay == 30 * SECOND
    assert outcome.refund


def test_discard_ends_the_job_with_its_reason(executor: Executor) -> None:
    outcome = perform(executor, "Never")
    assert isinstance(outcome, Discarded)
    assert outcome.reason == "no such user"
    assert outcome.keep


def test_an_unknown_handler_is_left_for_another_worker(executor: Executor) -> None:
    for handler in ("gone.Job", "os.system", "Note", "tests.sample_jobs", ""):
        outcome = executor.execute(claimed(handler))
        assert isinstance(outcome, Released)
        assert timedelta(seconds=5) <= outcome.delay <= timedelta(seconds=60)
        assert f"no job named {handler!r} is known to this worker" in (outcome.error or "")


def test_an_old_name_is_performed(executor: Executor) -> None:
    class Renamed(Job):
        name = "new-name-of-job"
        aliases = ("old-name-of-job",)

        def perform(self) -> None:
            calls.append("renamed")

    assert isinstance(executor.execute(claimed("old-name-of-job")), Succeeded)
    assert calls == ["renamed"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{", "not JSON"),
        ("null", "not a JSON object"),
        ('{"what": 1}', "what: Input should be a valid string"),
    ],
)
def test_a_row_that_does_not_fit_fails_with_a_clear_error(
    executor: Executor, args: str, said: str
) -> None:
    outcome = executor.execute(claimed("tests.sample_jobs.Note", args))
    assert isinstance(outcome, Failed)
    assert outcome.keep
    assert said in outcome.error
    assert not calls


def test_a_row_of_another_release_is_left_for_it(executor: Executor) -> None:
    outcome = executor.execute(claimed("tests.sample_jobs.Note", '{"other": 1}'))
    assert isinstance(outcome, Released)
    assert "(other) do not fit perform(" in str(outcome.error)
    assert "unexpected keyword argument 'other'" in str(outcome.error)
    assert not calls


def test_secrets_are_masked_in_errors(executor: Executor) -> None:
    arguments = {"user": "ann", "password": "hunt'er\n2", "keys": ["k-1234", "k-5678"]}
    outcome = perform(executor, "Secret", arguments)
    assert isinstance(outcome, Retried)
    assert "ann used" in outcome.error
    assert "***" in outcome.error
    for secret in ("hunt'er", "hunt\\'er", "k-1234", "k-5678"):
        assert secret not in outcome.error
    assert "{password!r}" in outcome.error, "the name of a parameter is no secret"


def test_secrets_are_masked_when_the_row_does_not_fit(executor: Executor) -> None:
    outcome = executor.execute(
        claimed("tests.sample_jobs.Secret", '{"user": 5, "password": 123456789}')
    )
    assert isinstance(outcome, Failed)
    assert "123456789" not in outcome.error
    outcome = executor.execute(claimed("tests.sample_jobs.Secret", '{"password": "hunter2"'))
    assert isinstance(outcome, Failed)
    assert "hunter2" not in outcome.error


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("unprintable", "OddError"),
        ("nul", "ValueError: a\\x00b \\ud800 c"),
        ("huge", "characters left out"),
        ("exit", "SystemExit: 3"),
        ("base", "BaseException: as low as it gets"),
        ("group", "KeyError: 'two'"),
    ],
)
def test_whatever_is_raised_becomes_text_that_can_be_stored(
    executor: Executor, kind: str, said: str
) -> None:
    outcome = perform(executor, "Odd", {"kind": kind})
    assert isinstance(outcome, Retried)
    assert said in outcome.error
    assert "\x00" not in outcome.error
    assert outcome.error.encode("utf-8")
    assert len(outcome.error) < MAX_ERROR_CHARACTERS + 100


def test_a_huge_error_keeps_its_end(executor: Executor) -> None:
    outcome = perform(executor, "Odd", {"kind": "huge"})
    assert isinstance(outcome, Retried)
    assert outcome.error.endswith("xend")


def test_a_policy_that_fails_does_not_take_the_error_with_it(executor: Executor) -> None:
    outcome = perform(executor, "BadPolicy")
    assert isinstance(outcome, Retried)
    assert "ValueError: boom" in outcome.error
    assert "Its retry policy failed as well" in outcome.error
    assert SECOND <= outcome.delay <= 1.1 * SECOND


def test_a_policy_can_end_it(executor: Executor) -> None:
    again = perform(executor, "StopsTrying", attempts=1)
    assert isinstance(again, Retried)
    assert again.delay == timedelta(0)
    assert isinstance(perform(executor, "StopsTrying", attempts=2), Failed)


def test_one_event_loop_serves_all_async_jobs(executor: Executor) -> None:
    import asyncio

    class WhichLoop(Job):
        async def perform(self) -> None:
            calls.append(asyncio.get_running_loop())

    for _ in range(2):
        executor.execute(claimed(WhichLoop.name))
    assert calls[0] is calls[1]


def test_sample_jobs_are_registered_where_they_are() -> None:
    assert registry.find("tests.sample_jobs.Note") is sample_jobs.Note
