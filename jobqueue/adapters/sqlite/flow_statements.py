"""The statements by which SQLite stores flows in the transaction of a caller."""

from __future__ import annotations

from jobqueue.adapters.sql.flow_statements import FlowStatements
from jobqueue.adapters.sqlite.time import SqliteTime

INSERT_FLOW = """
INSERT INTO background_flows (kind, name, created_at, closed_at, finished_at, succeeded_at)
VALUES (:kind, :name, {now}, CASE WHEN NOT :is_open THEN {now} END,
        CASE WHEN :is_over THEN {now} END, CASE WHEN :is_over THEN {now} END)
RETURNING id
"""
INSERT_EDGES = """
INSERT INTO background_edges (flow_id, child_id, parent_id, runs_anyway)
SELECT :flow_id, value ->> 0, value ->> 1, value ->> 2 FROM json_each(:edges)
"""
CLOSE_FLOW = """
UPDATE background_flows SET closed_at = {now} WHERE id = :flow_id AND closed_at IS NULL
RETURNING id
"""


def flow_statements(time: SqliteTime) -> FlowStatements:
    """The statements, with the expressions for the time."""
    return FlowStatements(
        insert_flow=INSERT_FLOW.format(now=time.now_sql),
        insert_edges=INSERT_EDGES,
        close_flow=CLOSE_FLOW.format(now=time.now_sql),
    )
