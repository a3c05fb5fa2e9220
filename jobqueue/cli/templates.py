"""The files that `jobqueue new` writes."""

from __future__ import annotations

from pathlib import Path

JOB = '''\
class {class_name}({base}):
    """Say here what this job does."""

    def perform(self, name: str = "world") -> None:
        """Perform the job. It may run more than once, so make it idempotent."""
        self.logger.info("{class_name}: hello, %s", name)
'''

TEST = """\
from jobqueue import JobQueue, MemoryAdapter
from {module} import {class_name}


def test_{function}_performs() -> None:
    {class_name}.perform_now("Ada")


def test_{function}_is_enqueued_and_worked_off() -> None:
    queue = JobQueue(MemoryAdapter())
    queue.enqueue({class_name}, "Ada")
    assert queue.work_off().succeeded == 1
"""

CONFTEST = '''\
"""Lets the tests import the application, from wherever pytest is started."""

import sys
from pathlib import Path

sys.path.insert(0, str({root}))
'''


def job_class(class_name: str, base: str) -> str:
    """Return the source of a job class."""
    return JOB.format(class_name=class_name, base=base)


def job_module(class_name: str) -> str:
    """Return the source of a module with one job."""
    return f"from jobqueue import Job\n\n\n{job_class(class_name, 'Job')}"


def test_module(class_name: str, function: str, module: str) -> str:
    """Return the source of the test of a job."""
    return TEST.format(class_name=class_name, function=function, module=module)


def conftest_module(path: Path, root: Path) -> str:
    """Return a `conftest.py` for `path` that puts the folder `root` on the import path."""
    is_below = path.is_relative_to(root)
    top = root if is_below else root.parent
    levels = len(path.relative_to(top).parts) - 1
    beyond = "" if is_below else f' / "{root.name}"'
    return CONFTEST.format(root=f"Path(__file__).resolve().parents[{levels}]{beyond}")
