"""The statements by which PostgreSQL stores flows in the transaction of a caller."""

from __future__ import annotations

from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.adapters.sql.flow_statements import FlowStatements

INSERT_FLOW = """
INSERT INTO {schema}.background_flows
    (kind, name, created_at, closed_at, finished_at, succeeded_at)
VALUES (%(kind)s::text, %(name)s::text, {now}, CASE WHEN NOT %(is_open)s::bool THEN {now} END,
        CASE WHEN %(is_over)s::bool THEN {now} END, CASE WHEN %(is_over)s::bool THEN {now} END)
RETURNING id
"""
INSERT_EDGES = """
INSERT INTO {schema}.background_edges (flow_id, child_id, parent_id, runs_anyway)
SELECT %(flow_id)s::bigint, (edge ->> 0)::bigint, (edge ->> 1)::bigint, (edge ->> 2)::bool
FROM json_array_elements(%(edges)s::json) AS each (edge)
"""
CLOSE_FLOW = """
UPDATE {schema}.background_flows SET closed_at = {now}
WHERE id = %(flow_id)s::bigint AND closed_at IS NULL
RETURNING id
"""


def flow_statements(schema: SchemaName, now: str) -> FlowStatements:
    """The statements, with an expression for the time."""
    return FlowStatements(
        insert_flow=schema.written_into(INSERT_FLOW, now=now),
        insert_edges=schema.written_into(INSERT_EDGES),
        close_flow=schema.written_into(CLOSE_FLOW, now=now),
    )
