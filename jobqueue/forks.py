"""Locks and the process id, renewed in a forked child.

While a process forks, another of its threads may hold a lock. The child has a copy of the lock and
not the thread, and would wait for ever. And what a process holds is not its child's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

pid = os.getpid()
"""As `os.getpid` says, without a call of the system."""

_renewals: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def renewed_in_children(owner: T, renew: Callable[[T], object]) -> None:
    """Call `renew(owner)` in each child that is forked, before anything else happens there.

    Args:
        owner: what has the locks; this does not keep it alive.
        renew: gives it new ones.
    """
    _renewals[owner] = renew


def _begin_as_a_child() -> None:
    global pid  # noqa: PLW0603 - it is a fact of the process
    pid = os.getpid()
    for owner, renew in list(_renewals.items()):
        renew(owner)


os.register_at_fork(after_in_child=_begin_as_a_child)
