"""Supervisors that run detached: their files, finding them, and stopping them.

Each holds a lock for as long as it lives. So files that a crash left behind are recognised, and two
that start at once do not both run. A signal is sent to a process only when its pid, its identity
and its lock all show that it is ours. A pidfd keeps the signal from another process that got the
pid since.

The identity is in the lock's file. Former releases can read the state file, so that a release can
be taken back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from jobqueue.errors import StateConflict
from jobqueue.process_identity import identity_of
from jobqueue.runner.groups import SUPERVISOR_TITLE, SUSPENDED
from jobqueue.runner.private_folder import PrivateFolder

FOLDER = ".jobs"
LOCK_ENDING = ".lock"
ALREADY_RUNNING = (
    "these workers run already; `jobqueue status` shows them and `jobqueue restart` renews them"
)
LONGEST_NAME = 200
DIGEST_LENGTH = 16
POLL_SECONDS = 0.05
LOCK_SECONDS = 0.5
TRANSITION_SECONDS = 5.0
START_TIME_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DaemonState:
    """The state of a detached supervisor, as it writes it to its file.

    Args:
        spec: its `-n`; empty for the groups of the configuration.
        pid: its process id.
        process_started_at: the process's start time as the system had it, in seconds of its epoch.
            It counts where a former release has noted no identity.
        grace_seconds: how long its workers may take to finish what runs, when it is stopped.
        generation: how many rolling restarts it has completed.
        restarting: whether one is under way.
        restart_error: why the last one failed, if it did.
        workers: the names and process ids of its workers.
    """

    spec: str
    pid: int
    process_started_at: float
    grace_seconds: float
    generation: int = 0
    restarting: bool = False
    restart_error: str | None = None
    workers: tuple[tuple[str, int], ...] = ()


class DaemonFiles:
    """The files of one detached supervisor, in `.jobs` of its working directory.

    Args:
        directory: the working directory.
        spec: its `-n`; supervisors of one folder are told apart by it.
    """

    def __init__(self, directory: Path, spec: str) -> None:
        name = _file_name(spec) or "workers"
        self.folder = directory / FOLDER
        self.lock = self.folder / f"{name}{LOCK_ENDING}"
        self.state = self.folder / f"{name}.json"
        self.log = self.folder / f"{name}.log"
        self._private = PrivateFolder(self.folder)

    def prepare(self) -> None:
        """Make the folder, for this user alone.

        Raises:
            ConfigurationError: it is somebody else's, or others can write it.
        """
        self._private.make()

    def open_log(self) -> int:
        """Open the log, to write at its end."""
        return self._private.open(self.log.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hold_lock(self) -> int:
        """Take the lock for the life of this process, and return its file descriptor.

        Raises:
            StateConflict: another process holds it.
        """
        lock = self._private.open(self.lock.name, os.O_RDWR | os.O_CREAT)
        deadline = time.monotonic() + LOCK_SECONDS
        # A process that only asks whether it is held holds it for a moment.
        while not _locks(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(lock)
                raise StateConflict(ALREADY_RUNNING)
            time.sleep(POLL_SECONDS)
        os.ftruncate(lock, 0)
        os.pwrite(lock, _holder(os.getpid()).encode(), 0)
        return lock

    def is_locked(self) -> bool:
        """Whether the supervisor that has these files still lives."""
        try:
            lock = self._private.open(self.lock.name, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _locks(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def write(self, state: DaemonState) -> None:
        """Replace the state in one step, so that no reader sees half of it."""
        fields = {name: getattr(state, name) for name in DaemonState.__slots__}
        fresh = self.state.with_suffix(".new")
        self._private.replace(self.state.name, fresh.name, json.dumps(fields))

    def forget(self) -> None:
        """Remove the state, at the end of the supervisor."""
        with suppress(FileNotFoundError):
            self._private.remove(self.state.name)

    def read(self) -> DaemonState | None:
        """The state of the supervisor that lives, if one does."""
        if not self.is_locked():
            return None
        try:
            found: dict[str, Any] = json.loads(self._private.read(self.state.name))
            fields = {name: found[name] for name in DaemonState.__slots__ if name in found}
            workers = tuple((name, pid) for name, pid in fields.pop("workers"))
            state = DaemonState(workers=workers, **fields)
            return state if self.is_of_same_process(state) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def is_of_same_process(self, state: DaemonState) -> bool:
        """Whether the process that wrote a state still has its process id, and is of this user."""
        if not _is_of_this_user(state.pid):
            return False
        is_holder = self._names_as_holder(state.pid)
        return _started_at_its_time(state) if is_holder is None else is_holder

    def _names_as_holder(self, pid: int) -> bool | None:
        """Whether the process that has an id now is the one that has noted it in its lock.

        None if the lock has no note of that id: a former release has written none.
        """
        noted = self._private.read(self.lock.name)
        return noted == _holder(pid) if noted.startswith(f"{pid} ") else None


def _holder(pid: int) -> str:
    """The note of a lock's holder; empty where the system has no identities of processes."""
    identity = identity_of(pid)
    return f"{pid} {identity}" if identity else ""


def _file_name(spec: str) -> str:
    """A file name for a `-n`: a different one for each, and the same if it is one already."""
    name = re.sub(r"[^\w.,=@~+-]", "-", spec.replace(":", "=").replace("*", "@"), flags=re.ASCII)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(spec.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: LONGEST_NAME - DIGEST_LENGTH - 1]}~{digest}"


def _locks(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Daemon:
    """A detached supervisor that lives."""

    def __init__(self, files: DaemonFiles, state: DaemonState) -> None:
        self.files, self.state = files, state

    def send(self, number: signal.Signals) -> bool:
        """Send the supervisor a signal; return False when it is gone."""
        try:
            pidfd = os.pidfd_open(self.state.pid)
        except OSError:
            return False
        try:
            # Another process may have got the pid since it was read, but none can from here on.
            if not self.files.is_of_same_process(self.state):
                return False
            signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True

    def stop(self) -> bool:
        """Have the supervisor end once its workers have finished, even if it is suspended.

        Returns:
            False when it is gone.
        """
        is_there = self.send(signal.SIGTERM)
        if self.is_suspended:
            self.send(signal.SIGCONT)
        return is_there

    @property
    def is_suspended(self) -> bool:
        """Whether the supervisor is stopped by SIGSTOP or a debugger, and so does nothing."""
        try:
            return psutil.Process(self.state.pid).status() in SUSPENDED
        except (psutil.Error, OSError):
            return False

    def restart(self) -> bool:
        """Have the supervisor replace its workers; return False when it is gone."""
        return self.send(signal.SIGHUP)

    def wait_until_gone(self, timeout_seconds: float) -> bool:
        """Wait until the supervisor has ended; return False when the time is up before."""
        deadline = time.monotonic() + timeout_seconds
        while self.files.is_locked():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def wait_until_restarted(self, timeout_seconds: float) -> DaemonState | None:
        """Wait for the end of a rolling restart; None when it died or the time is up before."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            state = self.files.read()
            if state is None and not self.files.is_locked():
                return None
            if state is not None and state.generation > self.state.generation:
                return state
            time.sleep(POLL_SECONDS)
        return None


def running_daemons(directory: Path, spec: str | None) -> list[Daemon]:
    """The detached supervisors of a working directory; only that of a `-n` when one is given.

    Raises:
        StateConflict: one runs, and its file is gone or cannot be read.
    """
    found = _all_files(directory) if spec is None else [DaemonFiles(directory, spec)]
    daemons = [_running(files) for files in found]
    return [daemon for daemon in daemons if daemon is not None]


def _all_files(directory: Path) -> list[DaemonFiles]:
    locks = PrivateFolder(directory / FOLDER).names(LOCK_ENDING)
    return [DaemonFiles(directory, lock.removesuffix(LOCK_ENDING)) for lock in locks]


def _running(files: DaemonFiles) -> Daemon | None:
    deadline = time.monotonic() + TRANSITION_SECONDS
    # A supervisor that begins or ends has its lock and no file for a moment.
    while files.is_locked():
        state = files.read()
        if state is not None:
            return Daemon(files, state)
        if time.monotonic() > deadline:
            raise StateConflict(
                f"a supervisor runs that holds {files.lock}, and its file {files.state} is gone "
                "or cannot be read; find it by `ps`, where it is called jobs supervisor, and end "
                "it with a TERM"
            )
        time.sleep(POLL_SECONDS)
    return None


def supervisors_elsewhere(directory: Path) -> list[int]:
    """The process ids of supervisors in a working directory that do not run detached.

    Those of this user are found: in a terminal, or run by systemd, a Procfile or a container.
    """
    detached = {daemon.state.pid for daemon in running_daemons(directory, None)}
    found = psutil.process_iter(["pid", "cmdline", "cwd", "uids"])
    return sorted(
        process.info["pid"]
        for process in found
        if process.info["pid"] not in detached and _is_supervisor_in(directory, process.info)
    )


def _is_supervisor_in(directory: Path, facts: dict[str, Any]) -> bool:
    title, folder, uids = (facts["cmdline"] or [""])[0], facts["cwd"], facts["uids"]
    is_own = uids is not None and uids.real == os.getuid()
    return is_own and title.startswith(SUPERVISOR_TITLE) and folder == str(directory)


def own_state(spec: str, grace: timedelta) -> DaemonState:
    """The state of this very process."""
    started_at = psutil.Process().create_time()
    return DaemonState(spec, os.getpid(), started_at, grace.total_seconds())


def _is_of_this_user(pid: int) -> bool:
    try:
        return psutil.Process(pid).uids().real == os.getuid()
    except psutil.Error:
        return False


def _started_at_its_time(state: DaemonState) -> bool:
    try:
        started = psutil.Process(state.pid).create_time()
    except psutil.Error:
        return False
    return abs(started - state.process_started_at) < START_TIME_TOLERANCE_SECONDS


class StateKeeper:
    """A writer of this supervisor's state file: `note` what has changed, and `keep` writes it."""

    def __init__(self, files: DaemonFiles, spec: str, grace: timedelta) -> None:
        self._files = files
        self._state = self._written = own_state(spec, grace)
        self._files.write(self._state)

    def note(self, **changes: Any) -> None:
        """Note what has changed."""
        self._state = replace(self._state, **changes)

    def note_restarted(self, error: str | None) -> None:
        """Note that a rolling restart has ended."""
        self.note(generation=self._state.generation + 1, restarting=False, restart_error=error)

    def keep(self) -> None:
        """Write the state, unless that is what the file has.

        Raises:
            OSError: the disk is full, or no file can be opened. Call it again later.
        """
        if self._state != self._written:
            self._files.write(self._state)
            self._written = self._state

    def remove(self) -> None:
        """Remove the state file, since the supervisor ends."""
        self._files.forget()
