"""Errors in groups: those of a class that are alike, whatever their ids and numbers."""

from __future__ import annotations

from jobqueue.records.base import record


@record
class ErrorGroup:
    """A group of errors that are alike.

    Args:
        key: the same for all errors of the group, in every release and on every adapter.
        handler: the job class, by the name in its rows.
        kind: the type of the exception.
        place: the innermost frame of the application's own code, as `file.py:function`; None where
            the error has none.
        message: the message, with numbers, ids, quoted text and addresses replaced.
    """

    key: str
    handler: str
    kind: str
    place: str | None
    message: str
