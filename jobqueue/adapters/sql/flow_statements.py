"""The statements that store flows; each database has its own, in its driver's style."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowStatements:
    """The statements of a database.

    Args:
        insert_flow: stores a flow; returns its id.
        insert_edges: stores who waits for whom: a JSON array of child, parent, and whether the
            child runs however the parent ends.
        close_flow: closes a flow that is open; returns its id.
    """

    insert_flow: str
    insert_edges: str
    close_flow: str
