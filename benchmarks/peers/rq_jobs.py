"""The job of `rq_peer.py`, in a module of its own since RQ imports it by its name."""

from __future__ import annotations

from benchmarks.peers.counting import Counter

counter = Counter()


def no_op(number: int) -> None:  # noqa: ARG001 - a job's argument
    """Count it."""
    counter()
