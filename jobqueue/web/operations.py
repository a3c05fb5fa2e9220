"""The operations of the API: one record makes the route and the documentation of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.requests import Request

from jobqueue import log
from jobqueue.adapters.base import Adapter
from jobqueue.app import JobQueue
from jobqueue.records import ActionKind, NewAction
from jobqueue.redaction import clean_error, printable
from jobqueue.web.access import Access, Scope

if TYPE_CHECKING:
    from jobqueue.web.api import Api


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request whose sender may have it answered.

    Args:
        request: the request itself.
        api: the API that answers it.
        access: who sent it, and what they may do.
        path: the values in its path, by name.
        query: its query string, as the model `Operation.query`.
        body: its body, as the model or type `Operation.body`.
    """

    request: Request
    api: Api
    access: Access
    path: Mapping[str, Any]
    query: Any = None
    body: Any = None

    @property
    def queue(self) -> JobQueue:
        """The queue whose jobs are served."""
        return self.api.queue

    @property
    def adapter(self) -> Adapter:
        """The adapter where the jobs are."""
        return self.queue.adapter

    async def on_thread(
        self, work: Callable[..., Any], *args: Any, can_be_left: bool = False
    ) -> Any:
        """Call a function on a thread: `Api.on_thread`."""
        return await self.api.on_thread(work, *args, can_be_left=can_be_left)

    def note(self, action: str, what: str, job_id: int | None = None) -> None:
        """Log that somebody changed something."""
        log.changed_from_outside(self.queue.logger, self.access.who, action, what, job_id)

    @property
    def actor(self) -> str:
        """The sender, as the database remembers them."""
        return clean_error(printable(self.access.who))

    def act(
        self,
        kind: ActionKind,
        target: Mapping[str, Any],
        *,
        reason: str | None = None,
        number: int = 1,
    ) -> None:
        """Remember in the database that somebody changed something."""
        said = clean_error(reason) if reason else None
        self.adapter.note_action(NewAction(kind, self.actor, target, said, number))

    def url(self, path: str) -> str:
        """Return a path of this API as its caller has to write it."""
        return f"{self.request.scope.get('root_path', '')}{path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an operation that succeeded."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the API.

    Args:
        method: the HTTP method.
        path: its path, as Starlette writes it.
        summary: its purpose, in a few words.
        handle: the function that answers; on a thread, or on the event loop if it is `async def`.
        scope: the scope that it needs; None if it needs none.
        answers: the model of each answer, by status.
        problems: the statuses of the problems that only it has.
        query: the model of its query string.
        body: the model, or the type, of its body.
        needs_body: whether a body is required.
        description: more about it.
        headers: descriptions of its request headers, by name.
        aliases: other paths that do the same.
        media_type: the media type of its answers.
    """

    method: str
    path: str
    summary: str
    handle: Callable[[ApiCall], Any]
    scope: Scope | None
    answers: Mapping[int, type[BaseModel] | None]
    problems: Collection[int] = ()
    query: type[BaseModel] | None = None
    body: Any = None
    needs_body: bool = True
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    media_type: str = "application/json"


def plain(value: Any) -> Any:
    """Return a value with its dates and times as texts, as JSON has them."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(plain, value))
    return value.isoformat() if isinstance(value, date) else value
