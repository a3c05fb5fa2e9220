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
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil

from jobqueue.process_identity import memory_of
from jobqueue.records import CrashedJob, NewSchedule, NewWorker
from jobqueue.runner.command_line import (
    environment_for,
    options_from_command_line,
    options_on_command_line,
)
from jobqueue.runner.groups import SUSPENDED, WorkerGroup
from jobqueue.runner.messages import PROTOCOL, Stage, WorkerLine, WorkerMessage, known_fields
from jobqueue.runner.relay import WakePipe
from jobqueue.worker.own_process import DESCRIPTORS_CLOSED
from jobqueue.worker.slots import SlotEntry, Slots

DATABASE_AWAY = 75
"""The exit code of a worker process that ended since the database does not answer."""
DIED = "the worker process {name} died while it performed this job ({how})"
UNSETTLED = "the worker process {name} died before the end of this job could be stored ({how})"
ASKED_BY_SUPERVISOR = "its supervisor asked it to"
SETTLE_SECONDS = 60.0
"""How long a worker that was asked to end may take for what follows its last job."""
TIMED_OUT = (
    "JobTimeout: ran longer than its max_runtime and did not react, so its process {name} was "
    "killed"
)


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The plan that a supervisor gives to a worker process, as JSON on its command line.

    The URLs among its options are in the environment of the process (`command_line.py`).

    A field that is added later needs a default, for supervisors that do not send it.
    """

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

    def to_json(self) -> str:
        """The plan as text, without what other users must not see."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["options"] = options_on_command_line(self.options)
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> WorkerPlan:
        """The plan that `to_json` wrote, perhaps of another release."""
        fields = known_fields(cls, json.loads(text))
        fields["options"] = options_from_command_line(fields["options"])
        if fields["queues"] is not None:
            fields["queues"] = tuple(fields["queues"])
        return cls(**fields)


class WorkerProcess:
    """A spawned worker process.

    It does not outlive its supervisor: the kernel kills it, or, where the kernel does not do that,
    it ends when its standard input ends, a pipe of which the supervisor has the other end.

    Args:
        group: the group that it belongs to.
        index: its number in the group.
        command: how `python` runs a worker process, up to the plan.
        options: the settings that were given as options, which it loads again for itself.
        concurrency: how many jobs it performs at a time.
        release: the release of the application that it runs; None if that is not known.
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
        release: str | None = None,
    ) -> None:
        self.group, self.index = group, index
        self.name = f"{group.name}.{index}"
        self.worker_id = f"{socket.gethostname()}:{self.name}:{secrets.token_hex(4)}"
        self.started = time.monotonic()
        self.is_ready = False
        self._handles_signals = False
        self._finished: WorkerMessage | None = None
        self._schedules: tuple[NewSchedule, ...] = ()
        self.asked_to_stop = False
        self.told_to_hurry = False
        self.kill_at = 0.0
        self._forgiven = False
        self._why_killed: str | None = None
        self._idle_since: float | None = None
        self._suspended_since: float | None = None
        self._concurrency, self.release = concurrency, release
        self.why_let_go: str | None = None
        self._timed_out: set[tuple[int, int]] = set()
        # Whatever fails here, nothing stays open.
        with ExitStack() as opened, ExitStack() as given_away:
            self.pipe = WakePipe()
            opened.callback(self.pipe.close)
            given_away.callback(os.close, self.pipe.child_fd)
            self._slots = Slots.create(concurrency)
            opened.callback(self._slots.close)
            ready, child_ready = os.pipe()
            given_away.callback(os.close, child_ready)
            self._line = WorkerLine(ready)
            opened.callback(self._line.close)
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
            )
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [sys.executable, *command, plan.to_json(), str(PROTOCOL)],
                env=environment_for(options),
                stdin=subprocess.PIPE,
                pass_fds=(self._slots.fd, child_ready, self.pipe.child_fd),
                # A group of its own, so that Ctrl-C reaches the supervisor alone.
                process_group=0,
            )
            self._slots.close_file()
            opened.pop_all()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code: None while the process runs, negative when a signal ended it."""
        return self._process.poll()

    @property
    def age_seconds(self) -> float:
        """The time since the process was started, in seconds."""
        return time.monotonic() - self.started

    @property
    def queues(self) -> tuple[str, ...] | None:
        """The queues that the worker claims from; None for all queues."""
        return self.group.queues

    @property
    def has_free_slots(self) -> bool:
        """Whether the worker could perform another job now."""
        if not self.is_ready or self.asked_to_stop or self._finished is not None:
            return False
        try:
            return len(self._slots.performing()) < self._concurrency
        except ValueError:
            return False  # it has ended, and was closed while another thread asked

    def note_messages(self) -> None:
        """Note the messages that the process has sent since the last time.

        Raises:
            ValueError, TypeError: something of it cannot be understood.
        """
        for message in self._line.messages():
            self._handles_signals = True
            if message.stage is Stage.READY:
                self._schedules, self.is_ready = message.schedules, True
            elif message.stage is Stage.FINISHED:
                self._finished = message

    def was_ready(self) -> bool:
        """Whether the process, which has ended, had said that it was ready."""
        self.note_messages()
        return self.is_ready

    @property
    def has_finished(self) -> bool:
        """Whether the worker performs nothing any more, though the process may go on."""
        return self._finished is not None or self.exit_code is not None

    @property
    def final_code(self) -> int | None:
        """The exit code of the process, or the one that it has announced for its end."""
        return self.exit_code if self._finished is None else self._finished.exit_code

    @property
    def schedules(self) -> tuple[NewSchedule, ...]:
        """The recurring jobs in the worker's code; none before it is ready or once it is to end."""
        if not self.is_ready or self.asked_to_stop or self.has_finished:
            return ()
        return self._schedules

    def is_beating(self) -> bool:
        """Whether to beat for the worker: it has not finished, and is not suspended."""
        return not self.has_finished and not self.is_suspended

    @property
    def is_suspended(self) -> bool:
        """Whether the process is stopped, by SIGSTOP, SIGTTIN or a debugger; False if unknown."""
        try:
            return psutil.Process(self.pid).status() in SUSPENDED
        except (psutil.Error, OSError):
            return False

    def is_suspended_longer_than(self, seconds: float) -> bool:
        """Whether the process was suspended each time that this was asked, for so many seconds."""
        if not self.is_suspended:
            self._suspended_since = None
            return False
        now = time.monotonic()
        self._suspended_since = self._suspended_since or now
        return now - self._suspended_since > seconds

    def memory_bytes(self) -> int:
        """The memory that the process uses, in bytes; 0 when that cannot be known."""
        return memory_of(self.pid) or 0

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, if it still runs."""
        if self.exit_code is None:
            self._process.send_signal(number)

    def show_stacks(self) -> None:
        """Have the process write its stacks to its standard error. While it starts, do nothing."""
        if self._handles_signals:
            self.send(signal.SIGUSR2)

    def kill(self, why: str) -> None:
        """Kill the process, and remember why."""
        self._why_killed = why
        self.send(signal.SIGKILL)

    def stop(self) -> None:
        """Ask the process to end when it has finished the jobs that run."""
        self.asked_to_stop = True
        self._slots.ask_to_end()
        self.send(signal.SIGTERM)

    def hurry(self, kill_at: float) -> None:
        """Ask the process to give back the jobs that run, and end. Note when to kill it."""
        self.told_to_hurry, self.kill_at = True, kill_at
        self._slots.ask_to_end()
        self.send(signal.SIGQUIT)

    def forgive(self) -> None:
        """Charge no job with the end of the process: it is killed because the supervisor stops."""
        self._forgiven = True

    @property
    def was_overdue(self) -> bool:
        """Whether the process was killed because a job had run past its time."""
        return bool(self._timed_out)

    def kill_if_overdue(self) -> bool:
        """Kill the process if a job is over its time and does not react; return whether it was."""
        if self.was_overdue:
            return False
        now = time.monotonic()
        overdue = [e for e in self._slots.performing() if 0 < e.deadline < now]
        if not overdue or self.exit_code is not None:
            return False
        self._timed_out = {(entry.job_id, entry.token) for entry in overdue}
        self.send(signal.SIGKILL)
        return True

    def kill_if_it_does_not_end(self, grace_seconds: float) -> bool:
        """Kill the process if it has nothing left to do and does not end; return whether it was.

        A thread that a job has left behind can keep a process alive for ever.
        """
        if self._why_killed or not self._is_idle_longer_than(grace_seconds):
            return False
        self.forgive()
        self.kill("it had nothing to do any more, and did not end")
        return True

    def _is_idle_longer_than(self, grace_seconds: float) -> bool:
        """Whether the process, having finished or been told to stop, was idle for so long."""
        is_done = self._finished is not None
        if not is_done and (not self.asked_to_stop or self._slots.performing()):
            self._idle_since = None
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        return now - self._idle_since > grace_seconds + (0.0 if is_done else SETTLE_SECONDS)

    @property
    def how_it_ended(self) -> str:
        """Why the process was killed, or else its exit code in words."""
        return self._why_killed or how_it_ended(self.exit_code)

    @property
    def why_it_ended(self) -> str | None:
        """The reason of its end for people; None if the worker has given a better one itself."""
        if self._why_killed is not None:
            return f"it was killed: {self._why_killed}"
        if self.was_overdue:
            return "it was killed: a job ignored its max_runtime"
        if self._died_of_being_asked:
            return self.why_let_go or ASKED_BY_SUPERVISOR
        if self._finished is None and self.exit_code != 0:
            return f"its process died: {how_it_ended(self.exit_code)}"
        return self.why_let_go

    def crashed_jobs(self) -> tuple[CrashedJob, ...]:
        """The jobs that the process was performing when it ended, and that lose their attempt.

        There are none if the supervisor has forgiven the process, or if it died of a signal that it
        was asked with, since a job had taken the handler. After a kill for `max_runtime`, no job is
        charged with a crash.
        """
        if self._forgiven or self._died_of_being_asked:
            return ()
        performing = self._slots.performing()
        known = {(entry.job_id, entry.token) for entry in performing}
        unsettled = [pair for pair in self._slots.unsettled() if pair not in known]
        return (*map(self._crashed, performing), *map(self._crashed_unsettled, unsettled))

    @property
    def _died_of_being_asked(self) -> bool:
        asked_with = {
            -signal.SIGTERM: self.asked_to_stop,
            -signal.SIGQUIT: self.told_to_hurry,
        }
        return self.exit_code is not None and asked_with.get(self.exit_code, False)

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

    def _crashed_unsettled(self, pair: tuple[int, int]) -> CrashedJob:
        error = UNSETTLED.format(name=self.name, how=how_it_ended(self.exit_code))
        return CrashedJob(*pair, error)

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
            release=self.release,
        )

    def close(self) -> None:
        """Close the pipes and the memory shared with it, when it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._line.close()
        self.pipe.close()
        self._slots.close()


def how_it_ended(exit_code: int | None) -> str:
    """The words for an exit code."""
    if exit_code is None:
        return "it still runs"
    if exit_code == DATABASE_AWAY:
        return "the database does not answer"
    if exit_code == DESCRIPTORS_CLOSED:
        return "a job has closed file descriptors of the process"
    if exit_code < 0:
        try:
            return f"signal {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit code {exit_code}"
