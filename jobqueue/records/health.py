"""The state of the tables, and the troubles of a database that hurt a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The state of the tables, for `jobqueue doctor`.

    Args:
        server: the name and version of the database server.
        current: the revision that the tables are recorded to have, if one is recorded.
        head: the revision that this release works with.
        missing: the tables of this release that are not there.
        trouble: why no migration can mend the tables, and how to mend them; None when one can.
        schema: the schema that they are in, or are to be made in; None where there are no schemas.
    """

    server: str
    current: str | None
    head: str
    missing: tuple[str, ...] = ()
    trouble: str | None = None
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Ailment:
    """A trouble of a database that hurts its queue.

    Args:
        kind: a word for it that does not change: `idle_in_transaction`, `invalid_index`.
        what: a sentence that describes it.
        remedy: what to do about it, with the command.
        since: since when it is so, if that is known.
    """

    kind: str
    what: str
    remedy: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TableSize:
    """The size of a table, as the server estimates it.

    Args:
        name: its name.
        live_rows: the rows that are there.
        dead_rows: rows that were changed or removed, and that take space until a vacuum.
        size_bytes: what it takes on the disk, with its indexes.
        last_vacuum: when it was vacuumed last, by whomever.
    """

    name: str
    live_rows: int
    dead_rows: int
    size_bytes: int
    last_vacuum: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """The measurements of a database, and its troubles.

    Args:
        facts: the measurements by name; empty where a database has none.
        ailments: the troubles to mend, the worst first.
        tables: the sizes of the tables, the largest first; empty where they are not known.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    ailments: Sequence[Ailment] = ()
    tables: Sequence[TableSize] = ()
