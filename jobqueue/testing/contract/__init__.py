"""What every adapter has to do, as tests: subclass `AdapterContract` and run pytest."""

from __future__ import annotations

from jobqueue.testing.contract.announcing import AnnounceContract
from jobqueue.testing.contract.any_order import AnyOrderContract
from jobqueue.testing.contract.cancelling import CancelContract, ProgressContract
from jobqueue.testing.contract.claiming import ClaimContract
from jobqueue.testing.contract.enqueueing import EnqueueContract
from jobqueue.testing.contract.outside import OutsideContract
from jobqueue.testing.contract.pausing import PauseContract
from jobqueue.testing.contract.pruning import PruneContract
from jobqueue.testing.contract.reading import ReadContract
from jobqueue.testing.contract.recurring import RecurringContract
from jobqueue.testing.contract.settling import SettleContract
from jobqueue.testing.contract.steering import SteeringContract
from jobqueue.testing.contract.transactions import TransactionContract
from jobqueue.testing.contract.waking import WakeContract
from jobqueue.testing.contract.workers import WorkerContract

__all__ = [
    "AdapterContract",
    "AnnounceContract",
    "AnyOrderContract",
    "CancelContract",
    "ClaimContract",
    "EnqueueContract",
    "OutsideContract",
    "PauseContract",
    "ProgressContract",
    "PruneContract",
    "ReadContract",
    "RecurringContract",
    "SettleContract",
    "SteeringContract",
    "TransactionContract",
    "WakeContract",
    "WorkerContract",
]


class AdapterContract(
    EnqueueContract,
    ClaimContract,
    SettleContract,
    WorkerContract,
    SteeringContract,
    CancelContract,
    ProgressContract,
    WakeContract,
    AnnounceContract,
    PauseContract,
    ReadContract,
    RecurringContract,
    PruneContract,
    AnyOrderContract,
    OutsideContract,
):
    """Holds an adapter to all of `jobqueue.adapters.base.Adapter`, in some hundred tests.

    Subclass it in a test module, under a name that begins with `Test`, and override the fixture
    `adapter`. It gives an adapter that is empty, has its tables, and takes its time from `clock`,
    a clock that the tests move by hand:

        from collections.abc import Iterator

        import pytest

        from jobqueue.clock import ManualClock
        from jobqueue.testing import AdapterContract


        class TestMyAdapter(AdapterContract):
            @pytest.fixture
            def adapter(self, clock: ManualClock) -> Iterator[MyAdapter]:
                adapter = MyAdapter("my://database", clock=clock)
                adapter.migrate()
                adapter.delete(JobFilter(), include_running=True)
                yield adapter
                adapter.close()

    It needs pytest; with the package `hypothesis` there, any calls are made in any order as well,
    beside a plain model. What a database adds of its own (sessions to join, query
    plans, migrations, what it does when it is away) is for the adapter's own tests.

    An adapter that lets jobs write in its transactions (`self.transaction()`) inherits from
    `TransactionContract` as well.

    The steps can also be had one by one, for an adapter in the making: `EnqueueContract`,
    `ClaimContract`, `SettleContract`, `WorkerContract`, `SteeringContract`, `WakeContract`,
    `AnnounceContract`, `PauseContract`, `ReadContract`, `RecurringContract`, `PruneContract`,
    `AnyOrderContract` and `OutsideContract`.
    """
