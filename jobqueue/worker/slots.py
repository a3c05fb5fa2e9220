"""The jobs that a process performs right now, in memory that it shares with its supervisor.

The supervisor reads it when the process has died, to tell jobs that were being performed from jobs
that were only prefetched, and while it lives, to see jobs that are over their time. Nothing here
waits: there is one writer, and a reader sees a job completely or not at all. One byte goes the
other way: the supervisor writes whether it has asked the process to end.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from jobqueue.records import ClaimedJob

JOB_ID = struct.Struct("=q")
DETAILS = struct.Struct("=qdd")
ENTRY_BYTES = JOB_ID.size + DETAILS.size
NO_JOB = 0
ASKED_BYTES = 1
PAIR = struct.Struct("=qq")
NUMBER = struct.Struct("=q")
MOST_UNSETTLED = 4096
UNSETTLED_BYTES = NUMBER.size + MOST_UNSETTLED * PAIR.size
CLOSED = -1


@dataclass(frozen=True, slots=True)
class SlotEntry:
    """A job that is being performed.

    Args:
        index: the slot, from 0.
        job_id: the job's id.
        token: of the claim under which it is performed.
        deadline: when its process is to be killed, in seconds of CLOCK_MONOTONIC; 0 for never.
        retry_delay: seconds until it is due again if it is killed for that; negative when its
            retry policy does not want it to be tried again.
    """

    index: int
    job_id: int
    token: int
    deadline: float
    retry_delay: float


class Slots:
    """One record for each job that a process can perform at a time.

    Args:
        fd: of a file that both processes have open; `create` makes one.
        count: how many records it has room for.
    """

    def __init__(self, fd: int, count: int) -> None:
        self.fd = fd
        self.count = count
        self._asked_at = count * ENTRY_BYTES
        self._unsettled_at = self._asked_at + ASKED_BYTES
        self._memory: mmap.mmap | bytearray = mmap.mmap(fd, os.fstat(fd).st_size)

    @classmethod
    def create(cls, count: int) -> Slots:
        """Empty slots, in memory where the system has anonymous files, else in a nameless one."""
        fd = _anonymous_file()
        try:
            os.ftruncate(fd, count * ENTRY_BYTES + ASKED_BYTES + UNSETTLED_BYTES)
            return cls(fd, count)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int, count: int) -> Slots:
        """The slots that another process has created with this `count`."""
        slots = cls(fd, count)
        detach_in_forked_processes(slots)
        return slots

    def publish(self, index: int, claimed: ClaimedJob, deadline: float, retry_delay: float) -> None:
        """Note that a job is being performed. The units are those of `SlotEntry`."""
        start = index * ENTRY_BYTES
        JOB_ID.pack_into(self._memory, start, NO_JOB)
        DETAILS.pack_into(self._memory, start + JOB_ID.size, claimed.token, deadline, retry_delay)
        JOB_ID.pack_into(self._memory, start, claimed.id)

    def clear(self, index: int) -> None:
        """Note that the job of a slot is no longer performed."""
        JOB_ID.pack_into(self._memory, index * ENTRY_BYTES, NO_JOB)

    def detach(self) -> None:
        """Share the memory no more: from now on, this process alone sees what is published."""
        self._memory = bytearray(self._memory)

    def publish_unsettled(self, jobs: Sequence[ClaimedJob]) -> None:
        """Note jobs that were performed, and whose outcomes this process cannot store any more."""
        if self._unsettled_at >= len(self._memory):
            return  # the supervisor is of a release that does not read it
        latest = jobs[-MOST_UNSETTLED:]
        for index, job in enumerate(latest):
            at = self._unsettled_at + NUMBER.size + index * PAIR.size
            PAIR.pack_into(self._memory, at, job.id, job.token)
        NUMBER.pack_into(self._memory, self._unsettled_at, len(latest))

    def unsettled(self) -> list[tuple[int, int]]:
        """The (id, token) of the jobs that were noted so."""
        (number,) = NUMBER.unpack_from(self._memory, self._unsettled_at)
        first = self._unsettled_at + NUMBER.size
        places = range(first, first + number * PAIR.size, PAIR.size)
        return [PAIR.unpack_from(self._memory, at) for at in places]

    def ask_to_end(self) -> None:
        """Note that the process is asked to end. Called by its supervisor, before its signal."""
        self._memory[self._asked_at] = 1

    @property
    def is_asked_to_end(self) -> bool | None:
        """Whether the supervisor has asked the process to end.

        None where the supervisor is of a release that does not say so.
        """
        return self._memory[self._asked_at] > 0 if self._asked_at < len(self._memory) else None

    def performing(self) -> list[SlotEntry]:
        """The jobs that are being performed."""
        entries = (self._read(index) for index in range(self.count))
        return [entry for entry in entries if entry is not None]

    def close_file(self) -> None:
        """Close the file, when whoever shares the memory has it open. The memory stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = CLOSED

    def close(self) -> None:
        """Unmap the memory and close the file. Other processes keep theirs."""
        if isinstance(self._memory, mmap.mmap):
            self._memory.close()
        self.close_file()

    def _read(self, index: int) -> SlotEntry | None:
        start = index * ENTRY_BYTES
        (job_id,) = JOB_ID.unpack_from(self._memory, start)
        token, deadline, retry_delay = DETAILS.unpack_from(self._memory, start + JOB_ID.size)
        (job_id_after,) = JOB_ID.unpack_from(self._memory, start)
        if job_id == NO_JOB or job_id != job_id_after:
            return None
        return SlotEntry(index, job_id, token, deadline, retry_delay)


def detach_in_forked_processes(slots: Slots) -> None:
    """Keep processes that jobs fork from writing into the slots of this process."""
    reference = weakref.ref(slots)

    def detach() -> None:
        living = reference()
        if living is not None:
            living.detach()

    os.register_at_fork(after_in_child=detach)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jobqueue-slots")
    import tempfile

    fd, path = tempfile.mkstemp(prefix="jobqueue-slots")
    os.unlink(path)
    return fd
