"""Bearer tokens for the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A bearer token as its row in `background_tokens` has it. Its secret is not stored.

    Args:
        id: the part of the token that is no secret.
        name: what the token is for.
        scopes: what the token allows.
        secret_hash: SHA-256 of its secret part, in hexadecimal digits.
        created_at: when it was made.
        expires_at: when it expires; None for never.
        revoked_at: when it was revoked; None when it was not.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    secret_hash: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
