"""The default configuration of a process, for jobs that do not bring their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from jobqueue.adapters.base import Adapter
from jobqueue.config import Settings, load_settings
from jobqueue.forks import renewed_in_children
from jobqueue.hooks import Hooks, Observers
from jobqueue.sinks import EventSinks, default_sinks


class DefaultConfiguration:
    """The settings and the adapter of jobs that do not bring their own; and `EventSinks`.

    Settings and adapter are made when they are first needed, so that importing an application opens
    no database.

    Args:
        sinks: the logger and the hooks.
    """

    def __init__(self, sinks: EventSinks) -> None:
        self._sinks = sinks
        self._renew_lock()
        renewed_in_children(self, DefaultConfiguration._renew_lock)
        self._settings: Settings | None = None
        self._adapter: Adapter | None = None
        self._substitute: Adapter | None = None
        self._connect: Callable[[Settings], Adapter] | None = None
        self._watch: Callable[[Adapter, Settings], None] | None = None

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    def install(self, connect: Callable[[Settings], Adapter]) -> None:
        """Set how settings become an adapter. `jobqueue.app` does it on import."""
        self._connect = connect

    def watch(self, watch: Callable[[Adapter, Settings], None] | None) -> None:
        """Call `watch` with each adapter that is made from settings: for tests."""
        self._watch = watch

    def configure(
        self,
        *,
        settings: Settings | None = None,
        adapter: Adapter | None = None,
        logger: logging.Logger | None = None,
        hooks: Iterable[Hooks] | None = None,
    ) -> None:
        """Replace what is given. New settings without an adapter also give a new adapter."""
        with self._lock:
            self._sinks.replace(logger=logger, hooks=hooks)
            if settings is not None:
                self._settings, self._adapter = settings, None
            self._adapter = adapter or self._adapter

    @contextmanager
    def substituted(self, adapter: Adapter) -> Iterator[None]:
        """Put an adapter in the place of all others for a while: for tests.

        An adapter that is configured meanwhile is used afterwards.
        """
        with self._lock:
            before, self._substitute = self._substitute, adapter
        try:
            yield
        finally:
            with self._lock:
                self._substitute = before

    @property
    def substitute(self) -> Adapter | None:
        """The adapter that stands in for all others, if there is one."""
        return self._substitute

    def reset(self) -> None:
        """Forget everything, so that it is made anew when it is next needed: for tests."""
        with self._lock:
            self._settings = self._adapter = None
            self._sinks.reset()

    @property
    def settings(self) -> Settings:
        """The settings, read from the environment and the working directory if none were given."""
        with self._lock:
            if self._settings is None:
                self._settings = load_settings()
            return self._settings

    @property
    def adapter(self) -> Adapter:
        """The adapter, made from the settings if none was given."""
        with self._lock:
            return self._substitute or self.own_adapter

    @property
    def own_adapter(self) -> Adapter:
        """The adapter without a substitute, made from the settings if none was given."""
        with self._lock:
            if self._adapter is None:
                assert self._connect is not None, "jobqueue/__init__.py imports jobqueue.app"  # noqa: S101
                self._adapter = self._connect(self.settings)
                if self._watch is not None:
                    self._watch(self._adapter, self.settings)
            return self._adapter

    @property
    def logger(self) -> logging.Logger:
        """The logger: `jobqueue` if none was given."""
        return self._sinks.logger

    @property
    def observers(self) -> Observers:
        """The hooks for all jobs."""
        return self._sinks.observers


default_configuration = DefaultConfiguration(default_sinks)


class DefaultAdapter:
    """A class attribute that is the default adapter, for classes that do not set their own."""

    def __get__(self, instance: Any, owner: Any) -> Adapter:
        return default_configuration.adapter


class DefaultLogger:
    """A class attribute that is the default logger, for classes that do not set their own."""

    def __get__(self, instance: Any, owner: Any) -> logging.Logger:
        return default_configuration.logger
