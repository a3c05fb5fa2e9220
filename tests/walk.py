"""Performs one job, and prints which of the functions named on the command line it entered.

It has a process of its own: a profile function slows all else down, and meets other tests' threads.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import sys
import threading
from types import CodeType, FrameType
from typing import Any

from jobqueue import JobQueue
from jobqueue.defaults import default_configuration
from tests.sample_jobs import Note


def main(url: str, names: list[str]) -> None:
    codes = {code_of(pkgutil.resolve_name(name)): name for name in names}
    entered = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in codes:
            entered.add(codes[frame.f_code])

    queue = JobQueue(database_url=url)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        with default_configuration.substituted(queue.adapter):
            Note.perform_later("a walk")
            assert queue.work_off().succeeded == 1
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        queue.adapter.close()
    print(json.dumps(sorted(entered)))


def code_of(function: Any) -> CodeType:
    """The code of a function, or of a descriptor's `__get__`."""
    code: CodeType = inspect.unwrap(
        vars(function)["__get__"] if isinstance(function, type) else function
    ).__code__
    return code


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
