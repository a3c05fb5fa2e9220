"""The group of an error that a job has raised."""

from __future__ import annotations

import functools
import os
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, cast

from jobqueue.fingerprints import group_of
from jobqueue.job import Job
from jobqueue.records import ErrorGroup
from jobqueue.redaction import MASK, Secrets, kind_of, message_of

PACKAGE = Path(__file__).parents[1]
INSTALLED = ("site-packages", "dist-packages")
MOST_MEMBERS = 3
"""How many types of the members of an exception group are part of its type."""
UNREADABLE = "(its text could not be read)"


def group_of_error(
    handler: str, job_class: type[Job] | None, error: BaseException, secrets: Mapping[str, Any]
) -> ErrorGroup:
    """Return the group of an error, whatever the error does when it is asked.

    It raises nothing. Secrets are masked before anything is compared, so that the key of a group
    tells nothing of them either.

    Args:
        handler: the name in the job's row.
        job_class: its class, if that is known: code of the package that it is in is the
            application's own, wherever it is installed.
        error: what was raised.
        secrets: the values that must not be shown.
    """
    try:
        place = place_of(error, job_class)
    except BaseException:  # noqa: BLE001 - a frame belongs to somebody's code
        place = None
    try:
        return _masked_group(handler, _kind_of(error), place, message_of(error), secrets)
    except BaseException:  # noqa: BLE001 - what a job raises may raise anything itself
        return group_of(handler, kind_of(error), place, UNREADABLE)


def _masked_group(
    handler: str, kind: str, place: str | None, message: str, secrets: Mapping[str, Any]
) -> ErrorGroup:
    if not secrets:
        return group_of(handler, kind, place, message)
    looked_for = Secrets(secrets)
    kind, message = looked_for.mask(kind), looked_for.mask(message)
    if looked_for.were_too_many:
        return group_of(handler, MASK, place, MASK)
    return group_of(handler, kind, place, message)


def _kind_of(error: BaseException) -> str:
    """The type of an error; of an exception group, with the types of its members."""
    if not issubclass(type(error), BaseExceptionGroup):
        return kind_of(error)
    members = sorted({kind_of(member) for member in _MEMBERS(error)})
    more = ["…"] if len(members) > MOST_MEMBERS else []
    return f"{kind_of(error)}[{', '.join([*members[:MOST_MEMBERS], *more])}]"


# The error itself is not asked: its class may answer anything.
_MEMBERS = vars(BaseExceptionGroup)["exceptions"].__get__
_TRACEBACK = vars(BaseException)["__traceback__"].__get__


def place_of(error: BaseException, job_class: type[Job] | None = None) -> str | None:
    """Return the innermost frame of the application's own code, as `file.py:function`.

    It has no line, which changes with every edit, and a path that is the same on every machine.
    """
    package = None if job_class is None else _package_of(job_class.__module__)
    found = None
    for frame in _frames_of(error):
        if _is_own(frame, package):
            found = frame
    if found is None:
        return None
    return f"{_path_of(found)}:{found.f_code.co_qualname}"


def _frames_of(error: BaseException) -> Iterator[FrameType]:
    step = cast("TracebackType | None", _TRACEBACK(error))
    while step is not None:
        yield step.tb_frame
        step = step.tb_next


def _is_own(frame: FrameType, package: str | None) -> bool:
    file = frame.f_code.co_filename
    if file.startswith("<") or _is_ours(file):
        return False
    if not _is_of_library(file):
        return True
    module = frame.f_globals.get("__name__")
    return package is not None and type(module) is str and _package_of(module) == package


def _package_of(module: str) -> str:
    return module.partition(".")[0]


def _path_of(frame: FrameType) -> str:
    """The path of a frame's file from where its top package is, or its name alone."""
    module = frame.f_globals.get("__name__")
    return _path_in_package(frame.f_code.co_filename, module if type(module) is str else "")


@functools.lru_cache(maxsize=5_000)
def _path_in_package(file: str, module: str) -> str:
    """The path of a module's file: its name says where that begins, wherever the project is."""
    path, names = Path(file), module.split(".")
    for parts in ((*names[:-1], f"{names[-1]}.py"), (*names, "__init__.py")):
        if path.parts[-len(parts) :] == parts:
            return "/".join(parts)
    return path.name


@functools.lru_cache(maxsize=5_000)
def _is_ours(file: str) -> bool:
    return file.startswith(str(PACKAGE) + os.sep)


@functools.lru_cache(maxsize=5_000)
def _is_of_library(file: str) -> bool:
    """Whether a file is part of Python, or of a package that was installed."""
    if any(name in Path(file).parts for name in INSTALLED):
        return True
    return file.startswith(_libraries())


@functools.cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {os.path.realpath(folder) for folder in folders}
    return tuple(f"{folder}{os.sep}" for folder in folders)
