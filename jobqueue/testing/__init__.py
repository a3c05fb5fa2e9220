"""The means to test applications and adapters.

    with jobqueue.testing.inbox() as inbox:
        sign_up("ann@example.com")
        inbox.assert_enqueued(SendWelcomeEmail, user_id=42)

With pytest these are the fixtures `jobs_inbox` and `jobs_inline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobqueue.testing.contract import AdapterContract
    from jobqueue.testing.inboxes import Inbox, inbox, inline

__all__ = ["AdapterContract", "Inbox", "inbox", "inline"]


def __getattr__(name: str) -> Any:
    # pytest imports this package, for its plugin, in every project.
    if name == "AdapterContract":
        return _contract()
    if name not in __all__:
        raise AttributeError(f"module 'jobqueue.testing' has no attribute {name!r}")
    from jobqueue.testing import inboxes

    return getattr(inboxes, name)


def _contract() -> type[AdapterContract]:
    import pytest

    pytest.register_assert_rewrite("jobqueue.testing.contract")
    from jobqueue.testing.contract import AdapterContract

    globals()["AdapterContract"] = AdapterContract
    return AdapterContract
