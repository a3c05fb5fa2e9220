"""The control of jobs and queues: retry, cancel, change, delete, pause."""

from __future__ import annotations

from jobqueue.testing.contract.control.arguments import ArgumentsContract
from jobqueue.testing.contract.control.cancel import CancelContract
from jobqueue.testing.contract.control.delete import DeleteContract
from jobqueue.testing.contract.control.pause import PauseContract
from jobqueue.testing.contract.control.progress import ProgressContract
from jobqueue.testing.contract.control.retry import RetryContract

__all__ = [
    "ArgumentsContract",
    "CancelContract",
    "ControlContract",
    "DeleteContract",
    "PauseContract",
    "ProgressContract",
    "RetryContract",
]


class ControlContract(
    RetryContract,
    CancelContract,
    ArgumentsContract,
    ProgressContract,
    DeleteContract,
    PauseContract,
):
    """Tests the methods by which people change jobs and queues, each in a file of its own."""
