"""The stacks of a worker: where its threads are, and the tasks that perform jobs.

They are read from another thread, so that it does not matter what a job does, unless it keeps the
interpreter for itself. There are places in the code in them, and no values.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import CodeType, FrameType
from typing import Any

from jobqueue import log
from jobqueue.adapters.roles.stacks import StacksRole
from jobqueue.background import Service
from jobqueue.records import ClaimedJob, Stack
from jobqueue.redaction import printable

MOST_STACKS = 100
MOST_OUTER_FRAMES, MOST_INNER_FRAMES = 10, 50
MOST_WALKED = 10_000
LONGEST_FRAME, LONGEST_NAME = 300, 100
MOST_CHARACTERS = 200_000
STOP_SECONDS = 5.0

Place = tuple[CodeType, int | None]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A job that is being performed, and the thread or the task that performs it."""

    job: ClaimedJob
    thread_id: int | None = None
    task: asyncio.Task[Any] | None = None


def stacks_of_this_process(performing: Iterable[Whereabouts]) -> list[Stack]:
    """Return the stacks of all tasks and threads that perform jobs, and then of other threads.

    Both the number of stacks and their size are limited.
    """
    frames, names = sys._current_frames(), _names_of_threads()  # noqa: SLF001 - for debuggers
    frames.pop(threading.get_ident(), None)
    found: list[Stack] = []
    for where in performing:
        if where.task is not None:
            found.append(_stack_of_task(where.task, where.job))
        elif where.thread_id in frames:
            frame = frames.pop(where.thread_id)
            found.append(_stack(names.get(where.thread_id), _places_of(frame), where.job))
    others = (_stack(names.get(ident), _places_of(frame)) for ident, frame in frames.items())
    found += sorted(others, key=lambda stack: stack.name)
    return _limited(found[:MOST_STACKS])


def _names_of_threads() -> dict[int | None, str]:
    return {thread.ident: thread.name for thread in threading.enumerate()}


def _stack_of_task(task: asyncio.Task[Any], job: ClaimedJob) -> Stack:
    """Return the stack of a task, as far as it can be told: it may await objects of any class.

    What such an object raises when it is looked at is said by its type alone, without its text.
    """
    name: object = "a task"
    places: list[Place] = []
    told: tuple[str, ...] = ()
    try:
        name = task.get_name()
        for place in _places_of_task(task):
            places.append(place)  # noqa: PERF402 - those before an error count as well
    except BaseException as error:  # noqa: BLE001 - it is the application's own, and harms no other
        told = (f"(what it awaits cannot be told, since that raises {type(error).__name__})",)
    return _stack(name, places, job, told)


def _stack(
    name: object,
    places: Iterable[Place],
    job: ClaimedJob | None = None,
    told: Iterable[str] = (),
) -> Stack:
    known = name if type(name) is str else "a thread"
    frames = (*_cut(places), *(_clean(line, LONGEST_FRAME) for line in told))
    if job is None:
        return Stack(_clean(known, LONGEST_NAME), frames)
    return Stack(_clean(known, LONGEST_NAME), frames, job.id, job.handler)


def _places_of(frame: FrameType | None) -> list[Place]:
    """Return the places of a frame and of those that have called it, the outermost first."""
    places: deque[Place] = deque()
    while frame is not None and len(places) < MOST_WALKED:
        places.appendleft((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return list(places)


def _places_of_task(task: asyncio.Task[Any]) -> Iterator[Place]:
    """Yield the places of a task's coroutine and of those that it awaits, the outermost first."""
    awaited: Any = task.get_coro()
    for _ in range(MOST_WALKED):
        frame = _attribute(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        if type(frame) is not FrameType:  # what a proxy calls its frame may be anything
            raise TypeError
        yield frame.f_code, frame.f_lineno
        awaited = _attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _attribute(owner: object, *names: str) -> Any:
    return next((getattr(owner, name) for name in names if hasattr(owner, name)), None)


def _cut(places: Iterable[Place]) -> Iterator[str]:
    """Yield the frames of a stack, without those in the middle of a long one."""
    known = list(places)
    left_out = len(known) - MOST_OUTER_FRAMES - MOST_INNER_FRAMES
    if left_out <= 0:
        yield from map(_frame, known)
        return
    yield from map(_frame, known[:MOST_OUTER_FRAMES])
    yield f"({left_out:,} frames are left out)"
    yield from map(_frame, known[-MOST_INNER_FRAMES:])


def _frame(place: Place) -> str:
    code, line = place
    where = f"{code.co_filename}:{code.co_firstlineno if line is None else line}"
    return _clean(f"{where} in {code.co_qualname}", LONGEST_FRAME)


def _clean(text: str, longest: int) -> str:
    """Return the end of a text, which tells most of a path, as something that can be stored."""
    text = text if len(text) <= longest else f"…{text[1 - longest :]}"
    return printable(text.encode(errors="backslashreplace").decode())


def _limited(stacks: Sequence[Stack]) -> list[Stack]:
    """Return the first stacks, which are as large together as an answer may be."""
    characters, kept = 0, list[Stack]()
    for stack in stacks:
        characters += len(stack.name) + sum(map(len, stack.frames))
        if characters > MOST_CHARACTERS:
            break
        kept.append(stack)
    return kept


class StacksAnswerer:
    """An answerer of questions for the stacks of one worker, on a thread of its own.

    The thread is started when somebody asks for the first time.

    Args:
        adapter: where the answers go.
        worker_id: the worker.
        performing: the jobs that it performs, and where.
        logger: where it is logged that the database refuses an answer.
    """

    def __init__(
        self,
        adapter: StacksRole,
        worker_id: str,
        performing: Callable[[], Iterable[Whereabouts]],
        logger: logging.Logger,
    ) -> None:
        self._adapter = adapter
        self._worker_id = worker_id
        self._performing = performing
        self._service = Service(
            "jobqueue-stacks",
            self._step,
            logger,
            on_trouble=partial(log.stacks_troubled, logger, worker_id),
        )

    def answer(self) -> None:
        """Answer soon. From any thread; it waits for nothing."""
        with suppress(RuntimeError):  # no thread is to be had; who asks looks in vain
            self._service.start()
        self._service.wake()

    def stop(self) -> None:
        """End the thread, if there is one. A database that does not answer is not waited for."""
        self._service.stop(STOP_SECONDS)

    def _step(self) -> None:
        stacks = stacks_of_this_process(self._performing())
        self._adapter.answer_with_stacks(self._worker_id, stacks)
