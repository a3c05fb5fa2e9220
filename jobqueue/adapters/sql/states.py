"""Comparisons with the state of a job, by literals.

The indexes are partial, each for a state or two. SQLite uses one only where the statement says that
state itself: with a parameter it would walk over all jobs instead.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, literal_column

from jobqueue.records import JobState

HAS_NOT_SUCCEEDED: ColumnElement[bool] = literal_column(
    "(background_jobs.flow_id IS NOT NULL AND background_jobs.state <> 'succeeded')"
)
"""The condition that a job of a flow has not succeeded, as the index of these jobs has it."""


def is_in(state: ColumnElement[Any], *states: JobState) -> ColumnElement[bool]:
    """Return the condition that a column of states has one of these.

    SQLite does not see that `IN` with one value is as good as `=`.
    """
    values = [str(JobState(each)) for each in states]
    if len(values) == 1:
        return state == bindparam(None, values[0], type_=Text(), literal_execute=True)
    return state.in_(bindparam(None, values, type_=Text(), expanding=True, literal_execute=True))
