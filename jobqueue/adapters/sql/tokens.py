"""Bearer tokens: portable SQLAlchemy Core."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select, update

from jobqueue.adapters.roles.tokens import TokensRole
from jobqueue.adapters.sql.readings import names
from jobqueue.adapters.sql.role import SqlRole
from jobqueue.adapters.sql.tables import TOKENS, to_name, to_utc
from jobqueue.records import TokenRecord


class SqlTokens(SqlRole, TokensRole):
    """The bearer tokens in a SQL database."""

    def store_token(self, token: TokenRecord) -> None:
        values = {name: getattr(token, name) for name in TOKENS.c.keys()}  # noqa: SIM118 - no dict
        self._execute(insert(TOKENS).values(values | {"scopes": list(token.scopes)}))

    def find_token(self, token_id: str) -> TokenRecord | None:
        query = select(TOKENS).where(TOKENS.c.id == token_id)
        row = self.database.read(lambda connection: connection.execute(query).first())
        return None if row is None else _token(row)

    def tokens(self) -> list[TokenRecord]:
        query = select(TOKENS).order_by(TOKENS.c.created_at, TOKENS.c.id)
        return [_token(row) for row in self.database.read(lambda c: c.execute(query).all())]

    def revoke_token(self, token_id: str) -> bool:
        revoke = update(TOKENS).where(TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None))
        return bool(self._execute(revoke.values(revoked_at=self.time.now())))


def _token(row: Row[Any]) -> TokenRecord:
    return TokenRecord(
        id=to_name(row.id),
        name=to_name(row.name),
        scopes=names(row.scopes),
        secret_hash=to_name(row.secret_hash),
        created_at=to_utc(row.created_at),
        expires_at=None if row.expires_at is None else to_utc(row.expires_at),
        revoked_at=None if row.revoked_at is None else to_utc(row.revoked_at),
    )
