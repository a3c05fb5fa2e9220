"""Bearer tokens for the API."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    TokenRecord,
)
from jobqueue.testing.contract.base import (
    ContractBase,
)


class TokensContract(ContractBase):
    """Tests `store_token`, `find_token`, `tokens` and `revoke_token`."""

    def test_tokens(self, adapter: Adapter, clock: ManualClock) -> None:
        now, hour = clock.now(), timedelta(hours=1)
        first = TokenRecord("aa", "one", ("read", "operate"), "hash", now)
        second = TokenRecord("bb", "two", ("enqueue",), "hash", now + hour, now + 2 * hour)
        adapter.store_token(second)
        adapter.store_token(first)
        assert adapter.tokens() == [first, second]
        assert adapter.find_token("bb") == second
        assert adapter.find_token("cc") is None
        assert adapter.revoke_token("bb")
        revoked = adapter.find_token("bb")
        assert revoked is not None
        assert revoked.revoked_at == now
        assert not adapter.revoke_token("bb")
        assert not adapter.revoke_token("cc")
        assert adapter.find_token("aa") == first
