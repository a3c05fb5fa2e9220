"""The contract of adapters, as tests: subclass `AdapterContract` and run pytest.

Each role of an adapter has its tests in the file of the same name. `announcements.py` and
`any_order.py` test all roles together; `base.py` has what the tests share.
"""

from __future__ import annotations

from jobqueue.testing.contract.actions import ActionsContract
from jobqueue.testing.contract.announcements import AnnouncementsContract
from jobqueue.testing.contract.any_order import AnyOrderContract
from jobqueue.testing.contract.attempts import AttemptsContract
from jobqueue.testing.contract.control import ControlContract
from jobqueue.testing.contract.errors import ErrorsContract
from jobqueue.testing.contract.flows import FlowsContract
from jobqueue.testing.contract.keys import KeysContract
from jobqueue.testing.contract.leases import LeasesContract
from jobqueue.testing.contract.limits import LimitsContract
from jobqueue.testing.contract.path import PathContract
from jobqueue.testing.contract.reads import ReadsContract
from jobqueue.testing.contract.retention import RetentionContract
from jobqueue.testing.contract.roster import RosterContract
from jobqueue.testing.contract.samples import SamplesContract
from jobqueue.testing.contract.schedules import SchedulesContract
from jobqueue.testing.contract.schema import SchemaContract
from jobqueue.testing.contract.stacks import StacksContract
from jobqueue.testing.contract.stats import StatsContract
from jobqueue.testing.contract.tokens import TokensContract
from jobqueue.testing.contract.transactions import TransactionContract
from jobqueue.testing.contract.wakeups import WakeupsContract

__all__ = [
    "ActionsContract",
    "AdapterContract",
    "AnnouncementsContract",
    "AnyOrderContract",
    "AttemptsContract",
    "ControlContract",
    "ErrorsContract",
    "FlowsContract",
    "KeysContract",
    "LeasesContract",
    "LimitsContract",
    "PathContract",
    "ReadsContract",
    "RetentionContract",
    "RosterContract",
    "SamplesContract",
    "SchedulesContract",
    "SchemaContract",
    "StacksContract",
    "StatsContract",
    "TokensContract",
    "TransactionContract",
    "WakeupsContract",
]


class AdapterContract(
    PathContract,
    WakeupsContract,
    LeasesContract,
    RosterContract,
    StacksContract,
    ReadsContract,
    AttemptsContract,
    ControlContract,
    ActionsContract,
    RetentionContract,
    SchedulesContract,
    StatsContract,
    ErrorsContract,
    SamplesContract,
    TokensContract,
    KeysContract,
    LimitsContract,
    FlowsContract,
    SchemaContract,
    AnnouncementsContract,
    AnyOrderContract,
):
    """The tests that an adapter keeps to `jobqueue.adapters.base.Adapter`, some hundred of them.

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

    It needs pytest. Where the package `hypothesis` is installed, it also makes any calls in any
    order, and compares the adapter with a plain model. What a database adds of its own (sessions
    to join, query plans, migrations, outages) is for the adapter's own tests.

    An adapter that lets jobs write in its transactions (`self.transaction()`) inherits from
    `TransactionContract` as well.

    An adapter in the making can inherit the tests of one role at a time: `PathContract`,
    `WakeupsContract`, `LeasesContract` and so on.
    """
