"""Bearer tokens for the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A bearer token as its row in `background_tokens` has it. Its secret is nowhere stored.

    Args:
        id: the part of it that is no secret.
        name: what it is for.
        scopes: what it allows.
        secret_hash: SHA-256 of its secret part, in hexadecimal digits.
        created_at: when it was made.
        expires_at: from when on it is of no use; None for never.
        revoked_at: when it was revoked; None when it was not.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    secret_hash: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
