"""The terms of jobs, as rows have them."""

from __future__ import annotations

from typing import Any

from jobqueue.adapters.sql.tables import to_name
from jobqueue.records import Terms


def terms_in(text: Any) -> Terms | None:
    """The terms of a row; None where somebody has written something else."""
    try:
        return Terms.from_json(None if text is None else to_name(text))
    except ValueError:
        return None
