"""The text of an error as it is stored: its traceback from the job's own code on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, cast

from jobqueue import hook_calls, transactions
from jobqueue.errors import JobTimeout
from jobqueue.redaction import MASK, Secrets, clean_error_of, error_line, kind_of, message_of

PACKAGE = Path(__file__).parents[1]
TITLE = "Traceback (most recent call last):\n"
MOST_KNOWN, MOST_FRAMES_KNOWN = 200, 30
"""How many tracebacks are remembered, and of how many frames at most."""
_KNOWN: dict[tuple[tuple[str, CodeType, int], ...], list[str]] = {}


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
    """The traceback from the job's own code on, with the secrets masked.

    It raises nothing. An error may do anything when it is asked for its text, its cause or its
    class. Then its own traceback and message are what is written, or at the least what it is.
    """
    try:
        return _masked(_in_full(error), secrets, error)
    except BaseException as failure:  # noqa: BLE001 - what a job raises may raise anything itself
        why = error_line(failure)
    try:
        return _masked(_in_short(error, why), secrets, error)
    except BaseException:  # noqa: BLE001 - without its message, which may have a secret in it
        return clean_error_of([f"{kind_of(error)} (its text could not be written)"])


def _masked(pieces: Iterable[str], secrets: Mapping[str, Any], error: BaseException) -> str:
    if not secrets:
        return clean_error_of(pieces).rstrip()
    looked_for = Secrets(secrets)
    text = clean_error_of(map(looked_for.mask, pieces)).rstrip()
    return f"{kind_of(error)}: {MASK}" if looked_for.were_too_many else text


def _in_full(error: BaseException) -> Iterable[str]:
    frames = _frames_of(error)
    if frames is not None and issubclass(type(error), JobTimeout):
        _cut_off_interruption(frames)
    if frames is None or not _is_alone(error):
        return traceback.TracebackException(type(error), error, frames, compact=True).format()
    said = traceback.TracebackException(type(error), error, frames, limit=0, compact=True)
    return [TITLE, *_text_of(frames), *said.format_exception_only()]


def _is_alone(error: BaseException) -> bool:
    """Whether no other error belongs to it, which would have a traceback of its own."""
    if _CAUSE(error) is not None or _CONTEXT(error) is not None:
        return False
    return not issubclass(type(error), BaseExceptionGroup)


def _text_of(frames: TracebackType) -> list[str]:
    """The text of a traceback's frames.

    Jobs that fail in great numbers mostly fail in the same place, and Python reads the source of
    each frame again to mark where.
    """
    places, step = list[tuple[str, CodeType, int]](), cast("TracebackType | None", frames)
    while step is not None:
        code = step.tb_frame.f_code
        places.append((code.co_filename, code, step.tb_lasti))
        if len(places) > MOST_FRAMES_KNOWN:
            return traceback.format_tb(frames)
        step = step.tb_next
    key = tuple(places)
    text = _KNOWN.get(key)
    if text is None:
        if len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        text = _KNOWN[key] = traceback.format_tb(frames)
    return text


def _in_short(error: BaseException, why: str) -> Iterable[str]:
    """The frames and the message, without its cause, its notes and the members of a group."""
    yield TITLE
    yield from traceback.format_tb(_frames_of(error))
    yield f"{kind_of(error)}: {message_of(error)}\n"
    yield f"(the rest could not be written, since that raised {why})\n"


def _frames_of(error: BaseException) -> TracebackType | None:
    """The traceback, from the job's own code on."""
    frames = cast("TracebackType | None", _TRACEBACK(error))
    while frames is not None and frames.tb_next and _is_in(frames, CALLING):
        frames = frames.tb_next
    return frames


# The error itself is not asked: its class may answer anything.
_TRACEBACK = vars(BaseException)["__traceback__"].__get__
_CAUSE = vars(BaseException)["__cause__"].__get__
_CONTEXT = vars(BaseException)["__context__"].__get__


def _cut_off_interruption(frames: TracebackType) -> None:
    """End the traceback where the job was, without what raised the `JobTimeout` there."""
    while frames.tb_next is not None:
        if _is_in(frames.tb_next, INTERRUPTING):
            frames.tb_next = None
            return
        frames = frames.tb_next


def _is_in(frames: TracebackType, places: tuple[str, ...]) -> bool:
    return frames.tb_frame.f_code.co_filename.startswith(places)
