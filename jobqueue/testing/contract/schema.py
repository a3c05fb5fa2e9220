"""The tables, and the state of the database."""

from __future__ import annotations

from jobqueue.adapters.base import Adapter
from jobqueue.testing.contract.base import (
    ContractBase,
)


class SchemaContract(ContractBase):
    """Tests `ping` and `schema_status`. Migrations are for the tests of each adapter."""

    def test_ping_and_status(self, adapter: Adapter) -> None:
        adapter.ping()
        status = adapter.schema_status()
        assert status.server
        assert (status.current or "") == status.head
