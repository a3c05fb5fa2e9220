"""Statements compare the state of a job with a literal, or SQLite would not use its indexes."""

from __future__ import annotations

import re
from pathlib import Path

import jobqueue.adapters.sql

OF_JOBS = re.compile(r"(JOBS\.c|\bof|\bjob)\.state( ==| !=|\.in_|\.not_in)")


def test_no_statement_compares_the_state_of_a_job_with_a_parameter() -> None:
    folder = Path(jobqueue.adapters.sql.__file__).parent
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(folder.parent.rglob("*.py"))
        if path.parent.name in {"sql", "postgres", "sqlite"}
        for line in path.read_text().splitlines()
        if OF_JOBS.search(line)
        and "bindparam" not in line
        and not re.search(r"job\.state = '", line)
    ]
    assert not found
