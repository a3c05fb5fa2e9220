"""A Python that has imported what `jobs` needs, and forks a process for every command.

Starting Python and importing SQLAlchemy takes most of the time of a short command. Each command is
a process of its own all the same, with its own folder, environment and streams. What depends on
how Python starts, and on what it imports, is tested with `Project.python` instead.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn


def serve() -> None:
    """Answer each request, a line of JSON on standard input, with its process's exit code."""
    import alembic.command  # noqa: F401
    import psycopg  # noqa: F401
    import pydantic  # noqa: F401

    import jobqueue.adapters.sql.postgres
    import jobqueue.adapters.sql.schema
    import jobqueue.adapters.sql.sqlite
    import jobqueue.cli
    import jobqueue.execution

    gc.freeze()
    while request := read_line():
        pid = os.fork()
        if pid == 0:
            become(json.loads(request))
            perform(jobqueue.cli.main)
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def read_line() -> bytes:
    """A line of standard input, past Python's own buffer, which the children would inherit."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(0, 65536)
        if not chunk:
            return b""
        line += chunk
    return line


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


def become(request: dict[str, object]) -> None:
    """Turn this process into the one that was asked for."""
    arguments, environment, streams = request["arguments"], request["environment"], request["files"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    assert isinstance(streams, list)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), number)
    sys.argv = ["jobs", *arguments]
    sys.path[0] = str(request["folder"])


if __name__ == "__main__":
    serve()
