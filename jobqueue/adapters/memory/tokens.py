"""Bearer tokens, in memory."""

from __future__ import annotations

from dataclasses import replace

from jobqueue.adapters.memory.store import MemoryRole, MemoryStore
from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.records import TokenRecord


class MemoryTokens(MemoryRole, TokensRole):
    """The bearer tokens in memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._tokens: dict[str, TokenRecord] = {}

    def store_token(self, token: TokenRecord) -> None:
        with self._store.lock:
            self._tokens[token.id] = token

    def find_token(self, token_id: str) -> TokenRecord | None:
        return self._tokens.get(token_id)

    def tokens(self) -> list[TokenRecord]:
        with self._store.lock:
            return sorted(self._tokens.values(), key=lambda token: (token.created_at, token.id))

    def revoke_token(self, token_id: str) -> bool:
        with self._store.lock:
            token = self._tokens.get(token_id)
            if token is None or token.revoked_at is not None:
                return False
            self._tokens[token_id] = replace(token, revoked_at=self._store.now())
            return True
