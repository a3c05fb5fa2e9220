"""Rows that JSON cannot write are shown as far as they can be, beside the others."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from jobqueue.adapters import connect
from jobqueue.records import NewJob
from tests.conftest import Project

DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize("name", ["jobs.Greet", "jobs.Login", "Elsewhere"])
@pytest.mark.parametrize("args", ['{"name": 1e999}', f'{{"name": {DEEP}}}'])
def test_an_odd_row_is_listed(project: Project, database_url: str, name: str, args: str) -> None:
    with closing(connect(database_url)) as adapter:
        [odd] = adapter.enqueue([NewJob(name, args, "default", 50, 5)])
        adapter.set_progress(odd.id, DEEP)
    for command in ("list", "show"):
        number = [str(odd.id)] if command == "show" else []
        assert project.jobs(command, *number).exit_code == 0
        run = project.jobs(command, *number, "--json")
        assert run.exit_code == 0, run.err
        assert "Infinity" not in run.out
        found = json.loads(run.out)
        assert (found[0] if command == "list" else found)["id"] == odd.id
