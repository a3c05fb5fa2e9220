"""The release of the application: what is set, or else what git has checked out.

Git is not started: its files are read, and nothing in them is trusted. What is there may be half
written, or no repository at all, and then the release is not known.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

SHORT_HASH = 7
MOST_FOLDERS = 64
MOST_BYTES, MOST_PACKED_BYTES = 4096, 4_000_000
HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
BRANCH = re.compile(r"refs/[^\s\\\0]{1,1000}")


@cache
def release_of_this_process(app_version: str | None) -> str | None:
    """Return the release as it was when this process asked first, whatever is checked out later."""
    return application_release(app_version)


def application_release(app_version: str | None, folder: Path | None = None) -> str | None:
    """Return the release of the application.

    Args:
        app_version: what the setting of this name says.
        folder: where the application is; the working directory by default.

    Returns:
        The setting; without one git's short hash, where the folder is in a repository; else None.
    """
    if app_version is not None:
        return app_version
    with suppress(OSError, ValueError):
        return _checked_out_in((folder or Path.cwd()).resolve())
    return None


def _checked_out_in(folder: Path) -> str | None:
    for place in [folder, *folder.parents][:MOST_FOLDERS]:
        git = _git_folder(place / ".git")
        if git is not None:
            found = _hash_at(git)
            return found and found[:SHORT_HASH]
    return None


def _git_folder(path: Path) -> Path | None:
    """Return the folder of a repository; a worktree and a submodule have a file that names it."""
    if path.is_dir():
        return path
    prefix, _, named = _first_line(path).partition(":")
    return path.parent / named.strip() if prefix == "gitdir" and named.strip() else None


def _hash_at(git: Path) -> str | None:
    head = _first_line(git / "HEAD")
    prefix, _, named = head.partition(":")
    branch = named.strip()
    if prefix != "ref":
        return _as_hash(head)
    if not BRANCH.fullmatch(branch) or ".." in branch:
        return None
    common = _first_line(git / "commondir")
    folders = [git, git / common] if common else [git]
    loose = (_as_hash(_first_line(folder / branch)) for folder in folders)
    return next(filter(None, loose), None) or _packed_hash(folders[-1], branch)


def _packed_hash(git: Path, branch: str) -> str | None:
    for line in _text(git / "packed-refs", MOST_PACKED_BYTES).splitlines():
        found, _, name = line.partition(" ")
        if name == branch:
            return _as_hash(found)
    return None


def _as_hash(text: str) -> str | None:
    return text if HASH.fullmatch(text) else None


def _first_line(path: Path) -> str:
    return next(iter(_text(path, MOST_BYTES).splitlines()), "").strip()


def _text(path: Path, most_bytes: int) -> str:
    """Return the text of a file; none where it is no plain file, which opening might wait for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return file.read(most_bytes).decode(errors="replace")
