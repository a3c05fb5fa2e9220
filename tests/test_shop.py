"""`examples/shop/`, run as `make demo-web` runs it, on a copy of the folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from jobqueue.adapters import connect
from jobqueue.records import JobFilter
from tests.conftest import PATIENCE_SECONDS, PROJECT, plain_environment

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy as it is out of the box."""
    ignored = shutil.ignore_patterns("*.sqlite3*", "__pycache__")
    return Path(shutil.copytree(PROJECT / "examples" / "shop", tmp_path / "shop", ignore=ignored))


@pytest.fixture
def demo(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**plain_environment(), "PORT": "0", "RELEASE_AFTER": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(folder / "demo.py")],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield process
        process.kill()
        process.wait()


def until(holds: Callable[[], bool], log: Path) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def test_it_has_something_to_find_and_ends_without_a_trace(
    demo: subprocess.Popen[bytes], folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    until(lambda: "Serving http://" in log.read_text(), log)
    address = log.read_text().partition("Serving ")[2].split()[0]
    until(lambda: "from the queue printer" in page_of(address), log)
    until(lambda: "The queue newsletter is paused" in page_of(address), log)
    until(lambda: releases_of(folder) == {"2.0"}, log)
    until(lambda: any("ValueError" in error for error in errors_of(folder, "jobs.SyncStock")), log)
    processes = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE_SECONDS) == 0
    gone, alive = psutil.wait_procs(processes, PATIENCE_SECONDS)
    assert gone
    assert not alive


def page_of(address: str) -> str:
    request = urllib.request.Request(address, headers={"accept": "text/html"})
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


def releases_of(folder: Path) -> set[str | None]:
    with closing(connect(f"sqlite:///{folder / 'shop.sqlite3'}")) as adapter:
        return {worker.release for worker in adapter.workers()}


def errors_of(folder: Path, handler: str) -> list[str]:
    with closing(connect(f"sqlite:///{folder / 'shop.sqlite3'}")) as adapter:
        jobs = adapter.list_jobs(JobFilter(handlers=(handler,)), 100)
        return [job.last_error for job in jobs if job.last_error is not None]
