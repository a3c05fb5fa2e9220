"""A process that is a worker's own: what a job may break of it, for all jobs that follow."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import NoReturn

from jobqueue import log
from jobqueue.descriptors import Descriptor
from jobqueue.records import ClaimedJob, Outcome, Released
from jobqueue.worker.slots import Slots

DESCRIPTORS_CLOSED = 74
"""The exit code of a worker process whose file descriptors a job has closed."""
OUTPUT = (1, 2)


class OwnProcess:
    """A process of the worker's own. Damage by jobs is mended, or else the process ends.

    Args:
        name: the worker's, for the log.
        logger: where its events go.
        slots: where the supervisor reads which jobs are charged; None without one.
    """

    def __init__(self, name: str, logger: logging.Logger, slots: Slots | None) -> None:
        self._name, self._logger, self._slots = name, logger, slots
        self._log_setup = log.LogSetup(logger)
        # No other file is like a pipe that nobody has the other end of.
        sentinel, other_end = os.pipe()
        os.close(other_end)
        self._sentinel = Descriptor(sentinel)
        self._output = [fd for fd in OUTPUT if _is_open(fd)]

    def restore_log(self) -> None:
        """Set up the log again, if a job has silenced it."""
        self._log_setup.restore_if_silenced()

    @property
    def is_broken(self) -> bool:
        """Whether a job has closed its file descriptors, which may be those of others by now."""
        return not (self._sentinel.is_intact and all(map(_is_open, self._output)))

    def end(self, suspects: Sequence[ClaimedJob]) -> NoReturn:
        """End this process at once, and have the suspects charged with the crash."""
        try:
            if self._slots is not None:
                self._slots.publish_unsettled(suspects)
            why = RuntimeError("a job has closed file descriptors that are not its own")
            log.worker_failed(self._logger, self._name, why)
        finally:
            os._exit(DESCRIPTORS_CLOSED)


def suspects_among(
    unsettled: Sequence[Outcome], performing: Sequence[ClaimedJob]
) -> Sequence[ClaimedJob]:
    """The jobs of which one must have broken the process, as far as that can be known.

    A job that has crashed before is performed alone, so that it was that one.
    """
    jobs = [*(outcome.job for outcome in unsettled if _was_performed(outcome)), *performing]
    return [job for job in jobs if job.crashes] or jobs


def _was_performed(outcome: Outcome) -> bool:
    return not isinstance(outcome, Released) or bool(outcome.run_time)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
