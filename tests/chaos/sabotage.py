"""Ways to break the product, in the processes of a run: to see that a run notices.

make chaos ARGS="--only postgresql --jobs 4000 --break fence"
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

ONE_IN = 50
COUNTS = "attempts = attempts + 1"


def commit(way: str) -> None:
    """Break something in this process, in a way of `WAYS`."""
    WAYS[way]()


def without_fence() -> None:
    """On PostgreSQL, a settle applies whoever holds the job."""
    from jobqueue.adapters.postgres import statements

    fence = "AND claim_token = %(token)s\nRETURNING id, claim_token"
    assert fence in statements.REMOVE
    without = statements.REMOVE.replace(fence, "RETURNING id, %(token)s::bigint")
    vars(statements)["REMOVE"] = without


def without_counting() -> None:
    """A claim counts no attempt."""
    import jobqueue.adapters.postgres.path
    import jobqueue.adapters.sqlite.path

    for module in (jobqueue.adapters.postgres.path, jobqueue.adapters.sqlite.path):
        for name, text in vars(module).items():
            if isinstance(text, str) and COUNTS in text:
                setattr(module, name, text.replace(COUNTS, "attempts = attempts"))


def on_the_floor() -> None:
    """Some jobs are said to have succeeded that were never performed."""
    from jobqueue.perform.executor import Executor
    from jobqueue.records import ClaimedJob, Succeeded

    perform = Executor.execute

    def execute(self: Executor, claimed: ClaimedJob, *more: Any, **options: Any) -> Any:
        if random.random() < 1 / ONE_IN:
            return Succeeded(claimed)
        return perform(self, claimed, *more, **options)

    Executor.execute = execute  # type: ignore[method-assign]


def freeing_the_living() -> None:
    """Workers are taken for dead that have just beaten."""
    from jobqueue.maintenance.rescuer import Rescuer

    def still_for(self: Rescuer, worker_id: str, heartbeat: Any) -> float:
        return 3600.0 if random.random() < 1 / ONE_IN else 0.0

    Rescuer._still_for = still_for  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {
    "fence": without_fence,
    "attempts": without_counting,
    "floor": on_the_floor,
    "living": freeing_the_living,
}
