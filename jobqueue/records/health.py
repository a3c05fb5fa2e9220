"""The tables, and what of a database hurts the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What `jobqueue doctor` asks of a database.

    Args:
        server: the name and version of what answers.
        current: the revision that the tables are recorded to have, if one is recorded.
        head: the revision that this release works with.
        missing: the tables of this release that are not there.
        trouble: why no migration can mend the tables, and what does, if that is so.
    """

    server: str
    current: str | None
    head: str
    missing: tuple[str, ...] = ()
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Ailment:
    """Something in a database that hurts its queue.

    Args:
        kind: what it is, in words that do not change: `idle_in_transaction`, `invalid_index`.
        what: it, in a sentence.
        remedy: what to do about it, with the command.
    """

    kind: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a database is.

    Args:
        facts: what was measured, by name; nothing where there is nothing to know.
        ailments: what is to be mended, the worst first.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    ailments: Sequence[Ailment] = ()
