"""The rows of the tables of the dashboard: a page, and what a form does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from jobqueue.web.access import Scope
from jobqueue.web.operations import ApiCall

Shown = Mapping[str, Any]
"""What a template is given."""


@dataclass(frozen=True, slots=True)
class ShownInstead:
    """A page that is shown at once in the place of another.

    A form leads to its preview, or to itself once more with what is wrong.

    Args:
        template: the name of the template.
        tab: the tab that it belongs to.
        shown: what the template is given.
        status: the status of the answer.
    """

    template: str
    tab: str
    shown: Shown
    status: int = 200


class LinkFor(Enum):
    """The link of a page that means the same tomorrow."""

    MOMENT = "the page as it is at a moment"
    JOBS = "the jobs that changed shortly before, since the page shows only how things are"
    ITSELF = "the address of the page, which is about something that is over or has an id"


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """A page that shows something.

    Args:
        path: its path, as Starlette writes it.
        tab: the tab that it belongs to.
        template: the name of its template.
        read: returns what it shows; on a thread.
        scope: the scope that it needs.
        missing: returns what is shown instead where the job of its path is not there.
        tomorrow: the link by which somebody can look at it tomorrow.
    """

    path: str
    tab: str
    template: str
    read: Callable[[ApiCall], Shown]
    scope: Scope = Scope.READ
    missing: Callable[[ApiCall], ShownInstead] | None = None
    tomorrow: LinkFor = LinkFor.JOBS


@dataclass(frozen=True, slots=True)
class FormAction:
    """A change that a form of a page asks for.

    Args:
        path: the path that the form is sent to.
        handle: does it, on a thread; most are those of the API. A mapping that it returns has more
            values for `back`; a `ShownInstead` is shown at once.
        said: a sentence that says on the next page what was done.
        back: the path of the next page, with the values of `path`.
        body: the model of the form.
        scope: the scope that it needs.
        takes_fields: whether its body is all fields of the form by name, as they were typed.
    """

    path: str
    handle: Callable[[ApiCall], Any]
    said: str
    back: str
    body: type[BaseModel] | None = None
    scope: Scope = Scope.OPERATE
    takes_fields: bool = False

    @property
    def word(self) -> str:
        """The word that stands for it in the URL of the next page."""
        return "-".join(part for part in self.path.split("/") if part and "{" not in part)
