"""The set-up of the log, which a job may undo for its whole process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from jobqueue.log.emit import is_logged

LEVELS = (logging.INFO, logging.WARNING, logging.ERROR)


@dataclass(frozen=True, slots=True)
class LoggerSetup:
    """The set-up of one logger."""

    logger: logging.Logger
    level: int
    propagate: bool
    handlers: tuple[logging.Handler, ...]
    filters: tuple[object, ...]

    @classmethod
    def of(cls, logger: logging.Logger) -> LoggerSetup:
        handlers, filters = tuple(logger.handlers), tuple(logger.filters)
        return cls(logger, logger.level, logger.propagate, handlers, filters)

    def restore(self) -> None:
        self.logger.setLevel(self.level)
        self.logger.propagate = self.propagate
        self.logger.handlers[:] = self.handlers
        self.logger.filters[:] = self.filters  # type: ignore[assignment]


class LogSetup:
    """The set-up of a logger and of those above it, as it is when this object is made.

    A job may call `logging.disable()`, or `dictConfig`, which disables all loggers that it does not
    name. Then nobody would hear of the jobs that follow.

    Args:
        logger: of a worker.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._level = next((level for level in LEVELS if is_logged(logger, level)), None)
        self._setups = [LoggerSetup.of(each) for each in _chain(logger)]
        self._disabled = {each for each in _all_loggers() if each.disabled}

    def restore_if_silenced(self) -> None:
        """Set the log up again, if records that it showed are not shown any more."""
        if self._level is not None and not is_logged(self._logger, self._level):
            self._restore()

    def _restore(self) -> None:
        logging.disable(logging.NOTSET)
        for logger in _all_loggers():
            logger.disabled = logger in self._disabled
        if not is_logged(self._logger, self._level or logging.INFO):
            for setup in self._setups:
                setup.restore()


def _chain(logger: logging.Logger) -> list[logging.Logger]:
    parent = logger.parent
    return [logger] if parent is None else [logger, *_chain(parent)]


def _all_loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
