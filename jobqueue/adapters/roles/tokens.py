"""Bearer tokens for the API."""

from __future__ import annotations

from typing import Protocol

from jobqueue.records import TokenRecord


class TokensRole(Protocol):
    """Keeps bearer tokens for the API."""

    def store_token(self, token: TokenRecord) -> None:
        """Store a bearer token under an id that no other has."""
        ...

    def find_token(self, token_id: str) -> TokenRecord | None:
        """A token, revoked or expired ones too; None when there is none of that id."""
        ...

    def tokens(self) -> list[TokenRecord]:
        """All tokens, the oldest first."""
        ...

    def revoke_token(self, token_id: str) -> bool:
        """Let a token be of no use any more; return whether there was one that was."""
        ...
