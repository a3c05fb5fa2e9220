"""One worker process, as its supervisor spawns, watches and ends it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil

from jobqueue.records import CrashedJob, NewSchedule, NewWorker
from jobqueue.runner.groups import WorkerGroup
from jobqueue.runner.readiness import is_whole, schedules_in_message
from jobqueue.runner.relay import WakePipe
from jobqueue.worker.slots import SlotEntry, Slots

READY_CHUNK = 65536
STANDARD_INPUT = 0
"""The lifeline of workers whose supervisor is of a release that gave them no other."""
DATABASE_AWAY = 75
"""The exit code of a worker process that ended since the database does not answer."""
DIED = "the worker process {name} died while it performed this job ({how})"
TIMED_OUT = (
    "JobTimeout: ran longer than its max_runtime and did not react, so its process {name} was "
    "killed"
)


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The plan that a supervisor gives to a worker process, as JSON on its command line."""

    worker_id: str
    name: str
    queues: tuple[str, ...] | None
    concurrency: int
    until_idle: bool
    options: Mapping[str, Any]
    slots_fd: int
    ready_fd: int
    wake_fd: int
    max_jobs: int | None = None
    waits_for_database: bool = True
    lifeline_fd: int = STANDARD_INPUT

    def to_json(self) -> str:
        """The plan as text."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> WorkerPlan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        if fields["queues"] is not None:
            fields["queues"] = tuple(fields["queues"])
        return cls(**fields)


class WorkerProcess:
    """A spawned worker process.

    It does not outlive its supervisor: the kernel kills it, or, where the kernel does not do that,
    it ends when the lifeline ends, a pipe of which the supervisor has the other end.

    Args:
        group: the group that it belongs to.
        index: its number in the group.
        command: how `python` runs a worker process, up to the plan.
        options: the settings that were given as options, which it loads again for itself.
        concurrency: how many jobs it performs at a time.
        until_idle: whether it ends when nothing is due.
        max_jobs: how many jobs until it ends and is replaced; None for no limit.
        waits_for_database: whether it waits for a database that does not answer when it starts.
    """

    def __init__(
        self,
        group: WorkerGroup,
        index: int,
        command: tuple[str, ...],
        options: Mapping[str, Any],
        *,
        concurrency: int,
        until_idle: bool,
        max_jobs: int | None,
        waits_for_database: bool = True,
    ) -> None:
        self.group, self.index = group, index
        self.name = f"{group.name}.{index}"
        self.worker_id = f"{socket.gethostname()}:{self.name}:{secrets.token_hex(4)}"
        self.started = time.monotonic()
        self.is_ready = False
        self._said = b""
        self._schedules: tuple[NewSchedule, ...] = ()
        self.asked_to_stop = False
        self.told_to_hurry = False
        self.kill_at = 0.0
        self._forgiven = False
        self._concurrency = concurrency
        self._timed_out: set[tuple[int, int]] = set()
        self.pipe = WakePipe()
        self._slots = Slots.create(concurrency)
        child_lifeline, self._lifeline = os.pipe()
        self._ready, child_ready = os.pipe()
        os.set_blocking(self._ready, False)
        plan = WorkerPlan(
            worker_id=self.worker_id,
            name=self.name,
            queues=group.queues,
            concurrency=concurrency,
            until_idle=until_idle,
            options=options,
            slots_fd=self._slots.fd,
            ready_fd=child_ready,
            wake_fd=self.pipe.child_fd,
            max_jobs=max_jobs,
            waits_for_database=waits_for_database,
            lifeline_fd=child_lifeline,
        )
        passed = (self._slots.fd, child_ready, self.pipe.child_fd, child_lifeline)
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, *command, plan.to_json()],
            # Programs that a job runs inherit it, and some read to its end.
            stdin=subprocess.DEVNULL,
            pass_fds=passed,
            # A group of its own, so that Ctrl-C reaches the supervisor alone.
            process_group=0,
        )
        os.close(child_ready)
        os.close(self.pipe.child_fd)
        os.close(child_lifeline)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it, as in `subprocess`."""
        return self._process.poll()

    @property
    def age_seconds(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self.started

    @property
    def queues(self) -> tuple[str, ...] | None:
        """Where it takes jobs from; None for all queues."""
        return self.group.queues

    @property
    def has_free_slots(self) -> bool:
        """Whether it could perform another job now."""
        if not self.is_ready or self.asked_to_stop:
            return False
        try:
            return len(self._slots.performing()) < self._concurrency
        except ValueError:
            return False  # it has ended, and was closed while another thread asked

    def look_whether_ready(self) -> None:
        """Note if it has said that it is ready."""
        try:
            while not self.is_ready and (read := os.read(self._ready, READY_CHUNK)):
                self._said += read
                if is_whole(self._said):
                    self._schedules = schedules_in_message(self._said)
                    self.is_ready = True
        except BlockingIOError:
            return

    @property
    def schedules(self) -> tuple[NewSchedule, ...]:
        """The recurring jobs that its code has; none before it is ready, or when it is to end."""
        if not self.is_ready or self.asked_to_stop or self.exit_code is not None:
            return ()
        return self._schedules

    def is_beating(self) -> bool:
        """Whether to beat for it: it lives, and is not suspended."""
        if self.exit_code is not None:
            return False
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def memory_bytes(self) -> int:
        """How much memory it uses; 0 when that cannot be known."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ask it to finish what runs and end."""
        self.asked_to_stop = True
        self._slots.ask_to_end()
        self.send(signal.SIGTERM)

    def hurry(self, kill_at: float) -> None:
        """Ask it to give back what it performs and end, and note when to kill it."""
        self.told_to_hurry, self.kill_at = True, kill_at
        self._slots.ask_to_end()
        self.send(signal.SIGQUIT)

    def forgive(self) -> None:
        """Do not charge its jobs with its end: it is killed since the supervisor stops."""
        self._forgiven = True

    @property
    def was_overdue(self) -> bool:
        """Whether it was killed since a job of it had run past its time."""
        return bool(self._timed_out)

    def kill_if_overdue(self) -> bool:
        """Kill it if one of its jobs is over its time and did not react. Return whether it did."""
        if self.was_overdue:
            return False
        now = time.monotonic()
        overdue = [e for e in self._slots.performing() if 0 < e.deadline < now]
        if not overdue or self.exit_code is not None:
            return False
        self._timed_out = {(entry.job_id, entry.token) for entry in overdue}
        self.send(signal.SIGKILL)
        return True

    def crashed_jobs(self) -> tuple[CrashedJob, ...]:
        """The jobs that it was performing when it ended.

        When it was killed for one that was over its time, the others are not charged with that.
        """
        performing = () if self._forgiven else self._slots.performing()
        return tuple(self._crashed(entry) for entry in performing)

    def _crashed(self, entry: SlotEntry) -> CrashedJob:
        if (entry.job_id, entry.token) in self._timed_out:
            return CrashedJob(
                entry.job_id,
                entry.token,
                TIMED_OUT.format(name=self.name),
                delay=timedelta(seconds=max(entry.retry_delay, 0.0)),
                guilty=False,
                final=entry.retry_delay < 0,
            )
        error = DIED.format(name=self.name, how=how_it_ended(self.exit_code))
        return CrashedJob(entry.job_id, entry.token, error, guilty=not self._timed_out)

    def record(self, lease: timedelta) -> NewWorker:
        """The worker as it is registered in the database."""
        return NewWorker(
            id=self.worker_id,
            name=self.name,
            host=socket.gethostname(),
            pid=self.pid,
            queues=self.group.queues,
            concurrency=self._concurrency,
            lease=lease,
        )

    def close(self) -> None:
        """Close the pipes and the memory shared with it, when it has ended."""
        os.close(self._lifeline)
        os.close(self._ready)
        self.pipe.close()
        self._slots.close()


def how_it_ended(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is None:
        return "it still runs"
    if exit_code == DATABASE_AWAY:
        return "the database does not answer"
    if exit_code < 0:
        try:
            return f"signal {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit code {exit_code}"
