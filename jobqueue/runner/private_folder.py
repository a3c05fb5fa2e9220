"""A folder that is this user's alone, and its files.

In a folder that others may write, anybody can put a `.jobs` before we do: with a state file that
names any process to be ended, a FIFO on which a reader hangs, or a link by which we write into a
file of our own. So nothing is believed but what belongs to this user and nobody else can write.
Every file is opened by way of the folder, once that has been looked at: what is put in its place
meanwhile is not used.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobqueue.errors import ConfigurationError

FOR_OTHERS_TO_WRITE = stat.S_IWGRP | stat.S_IWOTH
ONLY_OURS = "only what is a user's own, and nobody else can write, is used"
SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Follow no link, and do not wait for the other end of a FIFO."""


class PrivateFolder:
    """A folder that belongs to this user, and that no other user can write.

    Every method raises `ConfigurationError` if the folder, or the file in question, is anything
    else, and `FileNotFoundError` if it is not there.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, for this user alone, unless it is there."""
        with suppress(FileExistsError):  # whatever it is, it is looked at next
            self.path.mkdir(mode=0o700)
        with self._opened() as folder:
            os.fchmod(folder, 0o700)

    def names(self, ending: str) -> list[str]:
        """The names of the files that end so, in order; none if there is no folder."""
        try:
            with self._opened() as folder:
                return sorted(name for name in os.listdir(folder) if name.endswith(ending))
        except FileNotFoundError:
            return []

    def open(self, name: str, flags: int) -> int:
        """Open a file, and make one for this user alone if the flags say so."""
        with self._opened() as folder:
            return self._open_file(folder, name, flags)

    def read(self, name: str) -> str:
        """The text of a file."""
        with open(self.open(name, os.O_RDONLY), encoding="utf-8") as file:
            return file.read()

    def replace(self, name: str, fresh_name: str, text: str) -> None:
        """Replace the text of a file in one step, so that no reader sees half of it."""
        with self._opened() as folder:
            fresh = self._open_file(folder, fresh_name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with open(fresh, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(fresh_name, name, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._opened() as folder:
            os.unlink(name, dir_fd=folder)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The descriptor of the folder, during a block."""
        self._refuse_what_is_no_folder()
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | SAFELY)
        try:
            status = os.fstat(folder)
            _refuse_what_is_not_ours(self.path, status)
            _refuse_what_others_can_write(self.path, status)
            yield folder
        finally:
            os.close(folder)

    def _refuse_what_is_no_folder(self) -> None:
        mode = os.lstat(self.path).st_mode
        if not stat.S_ISDIR(mode):
            raise ConfigurationError(
                f"{self.path} is {_kind(mode)}, and not a folder; see who has put it there, and "
                "remove it"
            )

    def _open_file(self, folder: int, name: str, flags: int) -> int:
        _refuse_what_is_no_file(self.path / name, folder)
        file = os.open(name, flags | SAFELY, 0o600, dir_fd=folder)
        try:
            _refuse_what_is_not_ours(self.path / name, os.fstat(file))
            os.set_blocking(file, True)
        except BaseException:
            os.close(file)
            raise
        return file


def _refuse_what_is_no_file(path: Path, folder: int) -> None:
    try:
        mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise ConfigurationError(
            f"{path} is {_kind(mode)}, and not a file; see who has put it there, and remove it"
        )


def _refuse_what_is_not_ours(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        owner, us = _user(status.st_uid), _user(os.geteuid())
        raise ConfigurationError(
            f"{path} belongs to {owner}, and this is {us}: {ONLY_OURS}; run this as {owner}, or "
            "remove it if it is not meant to be there"
        )


def _refuse_what_others_can_write(path: Path, status: os.stat_result) -> None:
    if status.st_mode & FOR_OTHERS_TO_WRITE:
        raise ConfigurationError(
            f"{path} can be written by other users (its mode is {status.st_mode & 0o777:o}): "
            f"{ONLY_OURS}; remove it, or run `chmod go-w` on it if you know what is in it"
        )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
