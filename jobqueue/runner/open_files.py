"""The limit of a supervisor's open files, which limits how many workers it can have."""

from __future__ import annotations

import resource
from collections.abc import Sequence

from jobqueue.runner.groups import WorkerGroup

FILES_PER_WORKER = 4
OTHER_FILES = 256


def files_for(groups: Sequence[WorkerGroup]) -> int:
    """The number of open files that a supervisor needs for some groups.

    During a restart each worker is there twice; three times, where old ones have long jobs.
    """
    return OTHER_FILES + 3 * FILES_PER_WORKER * sum(group.count for group in groups)


def allow_open_files(number: int) -> None:
    """Let this process open `number` files, or as many as the hard limit allows (`ulimit -Hn`)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
