"""The contract that ships in `jobqueue.testing`, on every adapter that ships with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.testing import AdapterContract
from tests.conftest import build_adapter


class TestMemoryAdapter(AdapterContract):
    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Adapter:
        return build_adapter(request, "memory", clock)


class TestSqliteAdapter(AdapterContract):
    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
        adapter = build_adapter(request, "sqlite", clock)
        yield adapter
        adapter.close()


class TestPostgresAdapter(AdapterContract):
    @pytest.fixture
    def adapter(self, request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Adapter]:
        adapter = build_adapter(request, "postgresql", clock)
        yield adapter
        adapter.close()
