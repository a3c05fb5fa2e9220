"""`jobqueue token`: bearer tokens for the REST API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from jobqueue.cli.command_group import command_group
from jobqueue.cli.errors import say
from jobqueue.cli.options import AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import Column, print_json, print_table
from jobqueue.cli.session import opened, refuse_memory
from jobqueue.cli.who import note_action
from jobqueue.durations import from_now
from jobqueue.errors import ConfigurationError
from jobqueue.records import ActionKind, TokenRecord
from jobqueue.web.access import Scope

LONGEST_DAYS = 36_500
COLUMNS = tuple(Column(name) for name in ("ID", "NAME", "SCOPES", "STATE", "CREATED", "EXPIRES"))


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="What it allows: read, enqueue, operate; commas, or the option again, for more.",
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="DAYS", help="How long it is valid; for ever."),
    ] = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Make a token, and show it once.

    Only its hash is stored. Without --scope it allows reading.

    \b
    Examples:
      jobs token create billing --scope enqueue
      jobs token create grafana
      jobs token create ops --scope read,enqueue,operate --days 90
    """
    from jobqueue.web.tokens import create_token

    scopes = _scopes(scope)
    lifetime = None if days is None else _lifetime(days)
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        refuse_memory(session.adapter)
        record, token = create_token(session.adapter, name, scopes, lifetime)
        target = {"token": record.id, "name": name, "scopes": list(record.scopes)}
        note_action(session.adapter, ActionKind.CREATE_TOKEN, target)
    if json_:
        print_json({**_as_json(record, record.created_at), "token": token})
        return
    typer.echo(token)
    say(f"This is the token {record.id} ({', '.join(record.scopes)}). It is not shown again.")


def _lifetime(days: float) -> timedelta:
    if not days <= LONGEST_DAYS:  # NaN is not, either
        raise ConfigurationError(
            f"--days {days:g} is no time that a token can be valid; expected up to "
            f"{LONGEST_DAYS:,}, or no --days for a token that does not end"
        )
    return timedelta(days=days)


def list_tokens(
    database_url: DatabaseUrl = None, schema: Schema = None, json_: AsJson = False
) -> None:
    """List the tokens, without their secrets.

    \b
    Examples:
      jobs token list
      jobs token list --json
    """
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        tokens, now = session.adapter.tokens(), session.adapter.now()
    if json_:
        print_json([_as_json(token, now) for token in tokens])
    elif tokens:
        print_table(COLUMNS, [_row(token, now) for token in tokens])
    else:
        typer.echo("No tokens.")


def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Revoke a token: it is refused from now on.

    \b
    Examples:
      jobs token revoke 3f9a0c1d2e4b
    """
    with opened({"database_url": database_url, "schema": schema}, app="unwanted") as session:
        revoked = session.adapter.revoke_token(token_id)
        if revoked:
            note_action(session.adapter, ActionKind.REVOKE_TOKEN, {"token": token_id})
    if not revoked:
        raise ConfigurationError(
            f"no token {token_id!r} is there to be revoked; `jobqueue token list` shows them"
        )
    typer.echo(f"Token {token_id} is revoked.")


HELP = """Make, list and revoke bearer tokens for the REST API.

\b
Examples:
  jobs token create billing --scope enqueue
  jobs token list
  jobs token revoke 3f9a0c1d2e4b
"""

COMMANDS: dict[str, Callable[..., None]] = {
    "create": create,
    "list": list_tokens,
    "revoke": revoke,
}
token = command_group("token", HELP, COMMANDS, no_args_is_help=True)


def _scopes(given: list[str] | None) -> set[Scope]:
    words = [word.strip() for text in given or (Scope.READ,) for word in text.split(",")]
    for word in words:
        if word not in set(Scope):
            raise ConfigurationError(
                f"--scope is {word!r}; expected one of {', '.join(Scope)}, or several with commas"
            )
    return {Scope(word) for word in words}


def _as_json(record: TokenRecord, now: datetime) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "scopes": record.scopes,
        "state": _state(record, now),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
    }


def _row(record: TokenRecord, now: datetime) -> list[str]:
    expires = "never" if record.expires_at is None else from_now(record.expires_at, now)
    scopes = ",".join(record.scopes)
    state = _state(record, now)
    return [record.id, record.name, scopes, state, from_now(record.created_at, now), expires]


def _state(record: TokenRecord, now: datetime) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "valid" if record.expires_at is None or now < record.expires_at else "expired"
