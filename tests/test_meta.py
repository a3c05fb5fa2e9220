"""The meta of a job: what travels with it beside its arguments."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

import jobqueue
from jobqueue import Hooks, Job, JobQueue
from jobqueue.adapters import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.errors import InvalidArguments
from jobqueue.meta import MOST_META_BYTES
from jobqueue.records import NewJob, UsedKey
from tests.conftest import Project

seen: list[Any] = []


class Seen(Job):
    def perform(self) -> None:
        seen.append(self.context.meta)


class SeenAsync(Job):
    async def perform(self) -> None:
        seen.append(self.context.meta)


class Tagged(Hooks):
    """Adds who asked, and what the job is."""

    def before_enqueue(self, job: NewJob, args: Mapping[str, Any], meta: dict[str, Any]) -> None:
        meta["by"] = "ann"
        meta["about"] = [job.queue, dict(args)]


class Broken(Hooks):
    def before_enqueue(self, job: NewJob, args: Mapping[str, Any], meta: dict[str, Any]) -> None:
        raise ValueError(f"no meta for {job.handler}")


class TooMuch(Hooks):
    def before_enqueue(self, job: NewJob, args: Mapping[str, Any], meta: dict[str, Any]) -> None:
        meta["ballast"] = "x" * MOST_META_BYTES


@pytest.fixture(autouse=True)
def no_hooks_afterwards() -> Iterator[None]:
    seen.clear()
    yield
    default_configuration.configure(hooks=[])


@pytest.mark.parametrize("job_class", [Seen, SeenAsync])
def test_it_is_there_while_the_job_is_performed(adapter: Adapter, job_class: Any) -> None:
    record = job_class.set(meta={"tenant": 42, "of": "Zoë"}).perform_later()
    assert record.meta == record.refresh().meta == {"tenant": 42, "of": "Zoë"}
    job_class.perform_later()
    assert JobQueue(adapter).work_off().succeeded == 2
    assert seen == [{"tenant": 42, "of": "Zoë"}, {}]


def test_it_stays_for_the_next_attempt(adapter: Adapter) -> None:
    record = Seen.set(meta={"tenant": 42}, wait=timedelta(days=1)).perform_later()
    record.retry()
    JobQueue(adapter).work_off()
    assert seen == [{"tenant": 42}]


def test_perform_now_has_none(adapter: Adapter) -> None:
    Seen.perform_now()
    assert seen == [{}]


@pytest.mark.parametrize("number", [1, 2, 2000])
def test_hooks_add_to_it(adapter: Adapter, number: int) -> None:
    jobqueue.configure(adapter=adapter, hooks=[Tagged()])
    records = Seen.set(meta={"tenant": 42}, queue="slow").perform_all_later([()] * number)
    expected = {"tenant": 42, "by": "ann", "about": ["slow", {}]}
    assert [record.meta for record in records] == [expected] * number
    by_name = jobqueue.enqueue("tests.test_meta.Seen")
    assert by_name.meta == {"by": "ann", "about": ["default", {}]}
    unchecked = jobqueue.enqueue("elsewhere.Job", {"a": 1}, meta={"x": 1}, unchecked=True)
    assert unchecked.meta == {"x": 1, "by": "ann", "about": ["default", {"a": 1}]}


def test_hooks_add_to_that_of_a_job_that_is_stored_once(adapter: Adapter) -> None:
    from jobqueue.enqueue import store_once

    observers = default_configuration.observers
    jobqueue.configure(adapter=adapter, hooks=[Tagged()])
    new = NewJob("tests.test_meta.Seen", "{}", "default", 50, 5)
    once = store_once(
        UsedKey("key", "asked"),
        new,
        adapter,
        observers=default_configuration.observers,
        logger=logging.getLogger("jobqueue"),
    )
    assert observers is not default_configuration.observers
    assert once.job is not None
    assert once.job.meta == {"by": "ann", "about": ["default", {}]}


@pytest.mark.parametrize("hooks", [Broken(), TooMuch()])
def test_a_hook_that_cannot_add_costs_no_job(
    adapter: Adapter, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    jobqueue.configure(adapter=adapter, hooks=[hooks])
    record = Seen.set(meta={"tenant": 42}).perform_later()
    assert record.refresh().meta == {"tenant": 42}
    events = [getattr(logged, "event", "") for logged in caplog.records]
    assert ("hook_failed" in events) or ("meta_refused" in events)


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        (42, "meta is int and no JSON object; give a dict"),
        (["a"], "meta is list and no JSON object"),
        ({1: "a"}, "meta is a dict with other keys than text and no JSON object"),
        ({"a": object()}, "meta"),
        ({"a": float("nan")}, "meta"),
        ({"a": "\0"}, "NUL"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": "x" * MOST_META_BYTES}, "meta has 8,200 bytes of JSON, and at most 8,192"),
    ],
)
def test_what_cannot_travel_is_refused(adapter: Adapter, meta: Any, said: str) -> None:
    with pytest.raises(InvalidArguments, match=said):
        Seen.set(meta=meta)
    assert adapter.count_by_state() == {}


def test_on_the_command_line(project: Project) -> None:
    made = project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--meta", '{"t": 1}', "--json")
    assert json.loads(made.out)["meta"] == {"t": 1}
    assert 'meta          {"t": 1}' in project.jobs("show", "1").out
    for wrong, said in (
        ("{", "--meta is no JSON"),
        ("[1]", "--meta is a JSON list; expected a JSON object, such as '{\"tenant\": 42}'"),
        (json.dumps({"a": "x" * 9000}), "meta has 9,008 bytes of JSON, and at most 8,192"),
    ):
        refused = project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--meta", wrong)
        assert (refused.exit_code, refused.out) == (2, "")
        assert said in refused.err
    assert project.jobs("list", "--json").out.count('"id"') == 1
