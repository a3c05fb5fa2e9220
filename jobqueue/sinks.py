"""The logger and the hooks of a process, for events that nothing directs elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from jobqueue.hooks import NO_OBSERVERS, Hooks, Observers

DEFAULT_LOGGER = logging.getLogger("jobqueue")


class EventSinks:
    """A logger, and the hooks for all jobs. Both can be replaced at any time."""

    logger: logging.Logger
    observers: Observers

    def __init__(self) -> None:
        self.reset()

    def replace(
        self, *, logger: logging.Logger | None = None, hooks: Iterable[Hooks] | None = None
    ) -> None:
        """Replace what is given.

        Raises:
            ConfigurationError: something in `hooks` is no `Hooks`.
        """
        self.observers = self.observers if hooks is None else Observers(hooks)
        self.logger = logger or self.logger

    def reset(self) -> None:
        """Go back to the logger `jobqueue`, and no hooks."""
        self.logger = DEFAULT_LOGGER
        self.observers = NO_OBSERVERS


default_sinks = EventSinks()
"""The logger and the hooks that are configured."""
