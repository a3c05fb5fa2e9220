"""A check whether an event loop runs on this thread."""

from __future__ import annotations


def loop_is_running() -> bool:
    """Whether the calling code is within a running event loop."""
    # asyncio takes long to import, and `import jobqueue` does without it.
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
