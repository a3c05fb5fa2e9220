"""The text of an error as it is stored: its traceback from the job's own code on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from jobqueue import hook_calls, transactions
from jobqueue.errors import JobTimeout
from jobqueue.redaction import clean_error, mask_values

PACKAGE = Path(__file__).parents[1]


def _within(folder: Path) -> str:
    return str(folder) + os.sep


INTERRUPTING = (
    *(str(module.__file__) for module in (hook_calls, transactions)),
    *(_within(PACKAGE / name) for name in ("perform", "worker", "runner")),
)
"""Files whose frames may come after those of the job, when it is interrupted."""
CALLING = (
    *INTERRUPTING,
    _within(PACKAGE / "job"),
    contextlib.__file__,
    _within(Path(asyncio.__file__).parent),
)
"""Files whose frames come before those of the job."""


def error_text(error: BaseException, secrets: Mapping[str, Any]) -> str:
    """The traceback from the job's own code on, with the secrets masked."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next and _is_in(frames, CALLING):
        frames = frames.tb_next
    if frames is not None and isinstance(error, JobTimeout):
        _cut_off_interruption(frames)
    text = "".join(traceback.format_exception(type(error), error, frames))
    return clean_error(mask_values(text.rstrip(), secrets))


def _cut_off_interruption(frames: TracebackType) -> None:
    """End the traceback where the job was, without what raised the `JobTimeout` there."""
    while frames.tb_next is not None:
        if _is_in(frames.tb_next, INTERRUPTING):
            frames.tb_next = None
            return
        frames = frames.tb_next


def _is_in(frames: TracebackType, places: tuple[str, ...]) -> bool:
    return frames.tb_frame.f_code.co_filename.startswith(places)
