"""The end of a process that a job has forked, and that came out of `perform`.

The job goes on in the process that began it. The other one has a copy of all that this process
holds: slots, connections, jobs that wait. If it went on, it would be a worker that nobody knows of.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from jobqueue import log
from jobqueue.perform.tracebacks import error_text
from jobqueue.records import ClaimedJob

SAYING_SECONDS = 2.0


def end_forked_process(
    logger: logging.Logger,
    claimed: ClaimedJob,
    secrets: Callable[[], Mapping[str, Any]],
    error: BaseException | None = None,
) -> NoReturn:
    """Say that this process ends, and end it, without anything that is done at its end.

    Its exit code is 0, that of a `sys.exit`, or 1 after another error.

    Args:
        logger: where it is said.
        claimed: the job that has forked it.
        secrets: returns the values that the error's text must not show.
        error: what `perform` raised here, if it did.
    """
    try:
        # On a thread of its own: a lock of the log may be held by a thread that was not forked.
        saying = threading.Thread(
            target=partial(_say, logger, claimed, secrets, error), daemon=True
        )
        saying.start()
        saying.join(SAYING_SECONDS)
    finally:
        os._exit(_exit_code(error))


def _say(
    logger: logging.Logger,
    claimed: ClaimedJob,
    secrets: Callable[[], Mapping[str, Any]],
    error: BaseException | None,
) -> None:
    text = None if error is None else error_text(error, secrets())
    log.forked_process_ended(logger, claimed, os.getpid(), text)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    is_exit = issubclass(type(error), SystemExit)
    code = vars(SystemExit)["code"].__get__(error) if is_exit else 1
    return 0 if code is None else code & 0xFF if type(code) is int else 1
