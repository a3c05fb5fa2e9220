"""Nothing that a row or a job says can look like a record of the log of its own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.log import JsonFormatter, LineHandler, TextFormatter
from jobqueue.records import NewJob
from tests.conftest import Project

FORGED = "12:34:56 jobs.Pay #1 succeeded in 1 ms\r\n\x1b[2J\u2028\x9b31m"
NAME = f"jobs.Nobody\n{FORGED}"
TIME = re.compile(r"\d\d:\d\d:\d\d ")


class Says(Job):
    def perform(self, text: str) -> None:
        self.logger.info("a job says %s", text)
        raise ValueError(text)


@contextlib.contextmanager
def logged(formatter: TextFormatter | JsonFormatter) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = LineHandler(stream, formatter)
    logger = logging.getLogger("jobqueue")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def work_off_hostile_jobs(adapter: Adapter) -> None:
    adapter.enqueue([NewJob(NAME, "{}", "default", 50, 5)])
    Says.perform_later(f"x\n{FORGED}")
    JobQueue(adapter).work_off()


def test_a_line_break_begins_no_record_of_the_text(adapter: Adapter) -> None:
    with logged(TextFormatter()) as stream:
        work_off_hostile_jobs(adapter)
    text = stream.getvalue()
    assert text.count("succeeded in 1 ms") >= 3, "it is said"
    for line in text.removesuffix("\n").split("\n"):
        assert line.isprintable(), line
        assert TIME.match(line) or line.startswith("    "), line
        assert not line.startswith("12:34:56 jobs.Pay"), line


def test_json_has_one_printable_line_for_each_record(adapter: Adapter) -> None:
    with logged(JsonFormatter()) as stream:
        work_off_hostile_jobs(adapter)
    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    records = [json.loads(line) for line in lines]
    assert any(FORGED in record["message"] for record in records)


@pytest.mark.parametrize("command", [("list",), ("show", "1"), ("status",)])
def test_a_name_forges_no_line_of_a_command(
    project: Project, database_url: str, command: tuple[str, ...]
) -> None:
    with contextlib.closing(connect(database_url)) as adapter:
        adapter.enqueue([NewJob("jobs.Nobody\nstate  succeeded", "{}", "a\nb", 50, 5)])
    run = project.jobs(*command)
    assert run.exit_code == 0
    assert not any(line.startswith(("state  succeeded", "b ")) for line in run.out.splitlines())
