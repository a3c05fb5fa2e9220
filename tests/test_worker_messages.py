"""What supervisors and worker processes of different releases say to each other."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.config import load_settings
from jobqueue.records import NewJob, NewSchedule, Rescue, Wakeup
from jobqueue.runner.command_line import environment_for
from jobqueue.runner.daemon import DaemonFiles, own_state
from jobqueue.runner.messages import (
    PROTOCOL,
    UNNUMBERED,
    Stage,
    SupervisorLine,
    WorkerLine,
    WorkerMessage,
    protocol_among,
)
from jobqueue.runner.process import WorkerPlan
from jobqueue.runner.relay import WakePipe, read_from_supervisor
from jobqueue.runner.rescue_hooks import rescues_as_json, rescues_from_json

SCHEDULE = NewSchedule("nightly", "jobs.Clean", "{}", {"every": 60}, False, "default", 50, 24)
READY = WorkerMessage(Stage.READY, (SCHEDULE,))
LOG = logging.getLogger("jobqueue")
LATER = {"of_a_later_release": [1, 2]}


@pytest.fixture
def pipe() -> Iterator[tuple[WorkerLine, int]]:
    ours, theirs = os.pipe()
    line = WorkerLine(ours)
    yield line, theirs
    line.close()
    os.close(theirs)


def test_every_message_arrives(pipe: tuple[WorkerLine, int]) -> None:
    line, theirs = pipe
    said = [WorkerMessage(Stage.STARTED), READY, WorkerMessage(Stage.FINISHED, exit_code=3)]
    for message in said:
        SupervisorLine(theirs, PROTOCOL).say(message)
    assert list(line.messages()) == said
    assert list(line.messages()) == []


def test_a_message_that_is_not_whole_is_waited_for(pipe: tuple[WorkerLine, int]) -> None:
    line, theirs = pipe
    text = READY.to_json()
    os.write(theirs, text[:20])
    assert list(line.messages()) == []
    os.write(theirs, text[20:])
    assert list(line.messages()) == [READY]


def test_a_worker_of_a_later_release_may_say_more(pipe: tuple[WorkerLine, int]) -> None:
    line, theirs = pipe
    facts = asdict(READY) | LATER
    facts["schedules"] = [asdict(SCHEDULE) | LATER]
    for message in ({"stage": "of a later release"}, LATER, facts):
        os.write(theirs, json.dumps(message).encode() + b"\n")
    assert list(line.messages()) == [READY]


def test_a_worker_of_an_earlier_release_says_only_that_it_is_ready(
    pipe: tuple[WorkerLine, int],
) -> None:
    line, theirs = pipe
    os.write(theirs, json.dumps([asdict(SCHEDULE)]).encode() + b"\n")
    assert list(line.messages()) == [READY]


def test_what_cannot_be_understood_keeps_nothing_else_back(pipe: tuple[WorkerLine, int]) -> None:
    line, theirs = pipe
    os.write(theirs, b"{\n" + READY.to_json())
    with pytest.raises(ValueError, match="Expecting property name"):
        list(line.messages())
    assert list(line.messages()) == [READY]


def test_a_supervisor_of_an_earlier_release_hears_what_it_understands() -> None:
    ours, theirs = os.pipe()
    line = SupervisorLine(theirs, protocol_among([]))
    for message in (WorkerMessage(Stage.STARTED), READY, WorkerMessage(Stage.FINISHED)):
        line.say(message)
    os.close(theirs)
    with os.fdopen(ours, "rb") as said:
        assert [json.loads(text) for text in said] == [[asdict(SCHEDULE)]]


def test_a_supervisor_that_is_gone_is_no_error_of_its_worker() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    SupervisorLine(theirs, PROTOCOL).say(READY)
    os.close(theirs)


def test_the_protocol_stands_behind_the_plan() -> None:
    assert protocol_among([str(PROTOCOL)]) == PROTOCOL > UNNUMBERED
    assert protocol_among(["7", "and more"]) == 7


def test_a_plan_of_a_later_release_may_say_more() -> None:
    plan = WorkerPlan("id", "worker.0", ("a", "b"), 1, False, {"lease": 2}, 3, 4, 5)
    later = json.dumps(json.loads(plan.to_json()) | LATER)
    assert WorkerPlan.from_json(later) == plan


def test_the_url_of_an_option_reaches_workers_of_any_release(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Earlier supervisors have it in the plan. Earlier workers find it as a setting."""
    url = "postgresql://me:hunter2@db/shop"
    plan = WorkerPlan("id", "worker.0", None, 1, False, {"database_url": url}, 3, 4, 5)
    facts = json.loads(plan.to_json())
    assert WorkerPlan.from_json(json.dumps(facts | {"options": {"database_url": url}})) == plan
    assert (
        load_settings(facts["options"], environ=environment_for(plan.options)).database_url == url
    )
    monkeypatch.setattr(os, "environ", environment_for(plan.options))
    assert WorkerPlan.from_json(plan.to_json()) == plan


def test_a_state_file_of_a_later_release_can_be_read(tmp_path: Path) -> None:
    files = DaemonFiles(tmp_path, "")
    files.prepare()
    lock = files.hold_lock()
    state = own_state("", timedelta(seconds=25))
    files.write(state)
    files.state.write_text(json.dumps(json.loads(files.state.read_text()) | LATER))
    assert files.read() == state
    os.close(lock)


def test_hooks_are_called_for_the_jobs_of_a_supervisor_of_a_later_release() -> None:
    adapter = MemoryAdapter()
    (job,) = adapter.enqueue([NewJob("jobs.Clean", "{}", "default", 50, 24)])
    adapter.request_cancel(job.id, "why not")
    record = adapter.get(job.id)
    assert record is not None
    text = rescues_as_json([Rescue.of("worker", {job.id: record.state}, [record])])
    facts = json.loads(text)
    facts["ended"] = [facts["ended"][0] | LATER]
    (rescue,) = rescues_from_json(json.dumps(facts), adapter)
    assert rescue.ended == (record,)


class SeemingWorker:
    """Notes what it is told to do."""

    id = "worker"

    def __init__(self) -> None:
        self.told: list[Any] = []

    def rest(self, resting: bool) -> None:
        self.told.append(("rest", resting))

    def rely_on_wakeups(self, relying: bool) -> None:
        self.told.append(("rely", relying))

    def wake(self, wakeup: Wakeup) -> None:
        self.told.append(wakeup)


def test_a_worker_rests_from_the_start_if_it_was_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that listens may come too late, when the first jobs have been claimed."""
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    pipe, worker = WakePipe(), SeemingWorker()
    pipe.send_resting(True)
    pipe.send_resting(True)
    alone: list[bool] = []
    told: Any = worker
    read_from_supervisor(pipe.child_fd, told, alone.append, LOG)
    assert worker.told == [("rest", True)], "and only once"
    assert alone == [False]
    pipe.close()
    os.close(pipe.child_fd)


def test_a_supervisor_of_a_later_release_may_say_more_to_its_workers() -> None:
    ours, theirs = os.pipe()
    worker, lines = SeemingWorker(), [{"resting": [True, False, 1]}, {"jobs": 2} | LATER, LATER]
    os.write(theirs, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    told: Any = worker
    read_from_supervisor(ours, told, lambda _: None, LOG)
    assert worker.told == [("rest", True), Wakeup(jobs=2), Wakeup()]
    os.close(theirs)
