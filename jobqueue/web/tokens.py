"""Bearer tokens: `jq_<id>_<secret>`. Only a hash of the secret is stored.

The secret is 256 random bits, so that it cannot be found from its hash by guessing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from jobqueue.adapters.roles.reads import ReadsRole
from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.app import JobQueue
from jobqueue.records import TokenRecord
from jobqueue.web.access import Access, Scope

if TYPE_CHECKING:
    from starlette.requests import Request

PREFIX = "jq"
ID_BYTES = 6
SECRET_BYTES = 32


class TokenRoles(TokensRole, ReadsRole, Protocol):
    """The roles of an adapter that tokens need: they are kept, and expire by its clock."""


def create_token(
    adapter: TokenRoles,
    name: str,
    scopes: Collection[Scope],
    lifetime: timedelta | None = None,
) -> tuple[TokenRecord, str]:
    """Make and store a token; return its record, and the token, which is not stored."""
    token_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
    now = adapter.now()
    record = TokenRecord(
        id=token_id,
        name=name,
        scopes=tuple(scope.value for scope in Scope if scope in scopes),
        secret_hash=hash_of(secret),
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
    )
    adapter.store_token(record)
    return record, f"{PREFIX}_{token_id}_{secret}"


def hash_of(secret: str) -> str:
    """Return the hash of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def access_by_token(adapter: TokenRoles, token: str) -> Access | None:
    """Return what a token allows; None if it is unknown, expired or revoked."""
    prefix, _, rest = token.partition("_")
    token_id, _, secret = rest.partition("_")
    if prefix != PREFIX or not (token_id.isascii() and token_id.isalnum()):
        return None
    record = adapter.find_token(token_id)
    # Also compared if it is unknown, so that the time it takes tells nothing.
    known_hash = hash_of("") if record is None else record.secret_hash
    is_right = hmac.compare_digest(hash_of(secret), known_hash)
    if record is None or not is_right or not _is_valid(adapter, record):
        return None
    scopes = frozenset(scope for scope in Scope if scope.value in record.scopes)
    return Access(f"token {record.name} ({record.id})", scopes)


def _is_valid(adapter: TokenRoles, record: TokenRecord) -> bool:
    if record.revoked_at is not None:
        return False
    return record.expires_at is None or adapter.now() < record.expires_at


class TokenAuth:
    """A hook that accepts bearer tokens.

    Args:
        queue: the queue in whose database the tokens are; the default one if none is given.
    """

    def __init__(self, queue: JobQueue | None = None) -> None:
        self._queue = queue or JobQueue()

    async def __call__(self, request: Request) -> Access | None:
        """Return the access of a request; None without a valid token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return await asyncio.to_thread(access_by_token, self._queue.adapter, token.strip())
