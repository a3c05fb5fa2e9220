"""The identity of a process, and its memory.

The id of a process is no identity: the system gives it to others later.

The start time of a process does not tell: the system reckons it from the machine's clock, so that
it moves when the clock is set (NTP after the boot, a resumed virtual machine).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

PROCESSES = Path("/proc")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Counted behind the name of the program, which may have blanks and brackets in it.
START_PLACE = 19


def identity_of(pid: int) -> str | None:
    """The identity of a process, which no other process with the same id has had or will have.

    It is made of the boot of the machine and the ticks from there to the start of the process, and
    stays the same for as long as the process lives.

    Args:
        pid: its process id.

    Returns:
        None if there is no such process, or if this system does not tell (it has no `/proc`).
    """
    try:
        boot, stat = _boot_id(), (PROCESSES / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return f"{boot}:{stat.rpartition(')')[2].split()[START_PLACE]}"


@cache
def _boot_id() -> str:
    return BOOT_ID.read_text().strip()


def memory_of(pid: int) -> int | None:
    """The memory of a process in bytes; None if that cannot be known."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss) or None
    except (psutil.Error, OSError):
        return None
