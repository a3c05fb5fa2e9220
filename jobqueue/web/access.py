"""Who asks, and what they may do."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from jobqueue.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.requests import Request


class Scope(StrEnum):
    """A kind of thing that one may do."""

    READ = "read"
    """See jobs, queues, workers, schedules and stats."""
    ENQUEUE = "enqueue"
    """Enqueue jobs of the classes that are open to it."""
    OPERATE = "operate"
    """Change, retry, cancel and delete jobs, set their progress, pause and resume queues."""


class Role(StrEnum):
    """What somebody is, who may do several kinds of things."""

    NONE = "none"
    """Nothing."""
    READ = "read"
    """Look at everything."""
    OPERATE = "operate"
    """Look, enqueue, and steer."""
    ADMIN = "admin"
    """Everything there is, also what later releases add."""


SCOPES_OF_ROLE = {
    Role.NONE: frozenset[Scope](),
    Role.READ: frozenset({Scope.READ}),
    Role.OPERATE: frozenset(Scope),
    Role.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks, and what they may do.

    Args:
        who: a name for the log, and for telling one's idempotency keys from those of others.
        scopes: what they may do.
    """

    who: str
    scopes: frozenset[Scope]

    @classmethod
    def of_role(cls, who: str, role: Role | str) -> Access:
        """What somebody may do who is of a role.

        Raises:
            ValueError: there is no such role.
        """
        return cls(who, SCOPES_OF_ROLE[Role(role)])


NOBODY = Access("", frozenset())

Answer: TypeAlias = "Access | tuple[str, Role | str] | None"
Auth: TypeAlias = "Callable[[Request], Answer | Awaitable[Answer]]"
TokenHook: TypeAlias = "Callable[[Request], Awaitable[Access | None]]"


async def access_of(auth: Auth, request: Request) -> Access:
    """Ask a hook, and understand its answer.

    Raises:
        ConfigurationError: its answer is none.
    """
    answer: Any = auth(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is None:
        return NOBODY
    if isinstance(answer, Access):
        return answer
    try:
        who, role = answer
        return Access.of_role(str(who), role)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"auth= answered {answer!r}; expected (who, role) with a role of "
            f"{', '.join(Role)}, an Access, or None"
        ) from None
