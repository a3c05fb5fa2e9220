"""Bearer tokens for the API."""

from __future__ import annotations

from typing import Protocol

from jobqueue.records import TokenRecord


class TokensRole(Protocol):
    """The role that keeps bearer tokens for the API."""

    def store_token(self, token: TokenRecord) -> None:
        """Store a bearer token under an id that no other has."""
        ...

    def find_token(self, token_id: str) -> TokenRecord | None:
        """The token of an id, even if it is revoked or expired; None when there is none."""
        ...

    def tokens(self) -> list[TokenRecord]:
        """All tokens, the oldest first."""
        ...

    def revoke_token(self, token_id: str) -> bool:
        """Revoke a token; return whether there was one that was not revoked."""
        ...
