"""The contract that ships in `jobqueue.testing`, on every adapter that ships with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from jobqueue.adapters import Adapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.low_water import LowWater, LowWaterMarks
from jobqueue.clock import ManualClock
from jobqueue.testing import AdapterContract
from jobqueue.testing.contract import TransactionContract
from tests.conftest import build_adapter


class TestMemoryAdapter(AdapterContract):
    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Adapter:
        return build_adapter(request, "memory", clock)


class TestSqliteAdapter(AdapterContract, TransactionContract):
    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
        adapter = build_adapter(request, "sqlite", clock)
        yield adapter
        adapter.close()


class TestPostgresAdapter(AdapterContract, TransactionContract):
    examples = 60
    lateness = timedelta(seconds=1)

    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
        adapter = build_adapter(request, "postgresql", clock)
        assert isinstance(adapter, PostgresAdapter)
        adapter.path.low_water_marks = LowWaterMarks(
            new=lambda queues: LowWater(queues, partial(seconds, clock))
        )
        yield adapter
        adapter.close()


def seconds(clock: ManualClock) -> float:
    """The time by which it is decided when to look: the test's own, and looking takes none."""
    return clock.now().timestamp()
