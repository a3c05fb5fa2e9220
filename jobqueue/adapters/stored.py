"""The old place of `StoredJob`, which is in `jobqueue.stored` now.

A pickled `StoredJob` names the module of its class. Those that a release before pickled name this
one, so it stays for a release.
"""

from __future__ import annotations

from jobqueue.stored import StoredJob, kept_by, not_found

__all__ = ["StoredJob", "kept_by", "not_found"]
