"""The path of a job: enqueue, claim, settle."""

from __future__ import annotations

from jobqueue.testing.contract.path.claim import ClaimContract
from jobqueue.testing.contract.path.enqueue import EnqueueContract
from jobqueue.testing.contract.path.gates import GatesContract
from jobqueue.testing.contract.path.settle import SettleContract

__all__ = ["ClaimContract", "EnqueueContract", "GatesContract", "PathContract", "SettleContract"]


class PathContract(EnqueueContract, ClaimContract, GatesContract, SettleContract):
    """Tests `enqueue`, `claim`, `settle` and `turn`, each in a file of its own."""
