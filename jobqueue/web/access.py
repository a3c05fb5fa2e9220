"""Access: who sends a request, and what they may do."""

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
    """A kind of operation that somebody may be allowed."""

    READ = "read"
    """See jobs, errors, queues, workers, schedules and stats."""
    ENQUEUE = "enqueue"
    """Enqueue jobs of the classes that are open to it."""
    OPERATE = "operate"
    """Change, retry, cancel and delete jobs, set their progress, pause and resume queues, set the
    state of errors."""


class Role(StrEnum):
    """A set of scopes with a name."""

    NONE = "none"
    """Nothing."""
    READ = "read"
    """See everything."""
    OPERATE = "operate"
    """See, enqueue and change everything."""
    ADMIN = "admin"
    """Everything, including what later releases add."""


SCOPES_OF_ROLE = {
    Role.NONE: frozenset[Scope](),
    Role.READ: frozenset({Scope.READ}),
    Role.OPERATE: frozenset(Scope),
    Role.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody who sends requests, and what they may do.

    Args:
        who: a name for the log; each has idempotency keys of their own.
        scopes: what they may do.
    """

    who: str
    scopes: frozenset[Scope]

    @classmethod
    def of_role(cls, who: str, role: Role | str) -> Access:
        """Return the access of somebody with a role.

        Raises:
            ValueError: there is no such role.
        """
        return cls(who, SCOPES_OF_ROLE[Role(role)])


NOBODY = Access("", frozenset())

HookAnswer: TypeAlias = "Access | tuple[str, Role | str] | None"
Auth: TypeAlias = "Callable[[Request], HookAnswer | Awaitable[HookAnswer]]"
TokenHook: TypeAlias = "Callable[[Request], Awaitable[Access | None]]"


async def access_of(auth: Auth, request: Request) -> Access:
    """Call a hook, and return its answer as an `Access`.

    Raises:
        ConfigurationError: it returned something else.
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
