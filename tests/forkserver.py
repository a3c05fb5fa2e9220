"""A Python that has imported what `jobs` needs, and forks a process for every command.

Starting Python and importing SQLAlchemy takes most of the time of a short command. Each command is
a process of its own all the same, with its own folder, environment and streams. What depends on
how Python starts, and on what it imports, is tested with `Project.python` instead.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

LOOK_SECONDS = 0.02


def serve() -> None:
    """Answer each request, a line of JSON on standard input, with a line of JSON."""
    import alembic.command  # noqa: F401
    import psycopg  # noqa: F401
    import pydantic  # noqa: F401
    import setproctitle

    import jobqueue.adapters.postgres.adapter
    import jobqueue.adapters.sql.schema
    import jobqueue.adapters.sqlite.adapter
    import jobqueue.cli
    import jobqueue.runner.attached
    import jobqueue.runner.supervisor
    import jobqueue.worker.worker

    setproctitle.getproctitle()  # looks for where the title goes, which `become` would hide
    gc.freeze()
    ended: dict[int, int] = {}
    while line := read_line(ended):
        request = json.loads(line)
        if "wait_for" in request:
            answer = wait_for(request["wait_for"], request["timeout"], ended)
        else:
            # Opened here, so that they are there when the answer is.
            streams = [open_stream(*stream) for stream in enumerate(request["files"])]
            answer = os.fork()
            if answer == 0:
                become(request, streams)
                perform(jobqueue.cli.main)
            # A former child may have had the same number: a system gives them out again and again.
            ended.pop(answer, None)
            for stream in streams:
                os.close(stream)
        os.write(1, f"{json.dumps(answer)}\n".encode())


def read_line(ended: dict[int, int]) -> bytes:
    """A line of standard input, past Python's own buffer, which the children would inherit."""
    line = b""
    while not line.endswith(b"\n"):
        while not select.select([0], [], [], LOOK_SECONDS)[0]:
            reap(ended)
        chunk = os.read(0, 65536)
        if not chunk:
            return b""
        line += chunk
    return line


def wait_for(pid: int, timeout_seconds: float, ended: dict[int, int]) -> int | None:
    """A child's exit code; None when it still runs."""
    deadline = time.monotonic() + timeout_seconds
    while pid not in ended:
        if not reap(ended):
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.002)
    return ended[pid]


def reap(ended: dict[int, int]) -> bool:
    """Note that a child has ended, so that nobody sees a zombie; False when none has."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    if pid:
        ended[pid] = os.waitstatus_to_exitcode(status)
    return pid > 0


def perform(main: Callable[[], None]) -> NoReturn:
    """Run the command and end, without taking all the imported modules down one by one."""
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code or 0
    except Exception:  # noqa: BLE001 - shown, as Python itself would
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def open_stream(number: int, path: str) -> int:
    """A file to be standard input, output or error."""
    return os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Turn this process into the one that was asked for."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = ["jobs", *request["arguments"]]
    sys.path[0] = request["folder"]


if __name__ == "__main__":
    serve()
