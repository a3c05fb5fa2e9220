"""A rolling restart to another release of jobqueue: its supervisor goes on, its workers are new."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Project
from tests.process.conftest import WaitFor, enqueue, exists, show

EARLIER = "3779f8a"
"""The last commit before the messages between supervisors and workers had a protocol."""
MUCH_EARLIER = "a3dd658"
"""A commit of some days before, with another layout of modules."""
JOBS = """
    import sys
    import time
    from pathlib import Path

    import jobqueue
    from jobqueue import Cron, Job

    RELEASE = Path(jobqueue.__file__).resolve().parents[1].name


    class Slow(Job):
        def perform(self) -> None:
            Path("slow.started").touch()
            while not Path("slow.go").exists():
                time.sleep(0.01)
            Path("slow.done").write_text(RELEASE)


    class Quick(Job):
        def perform(self) -> None:
            Path("quick.done").write_text(RELEASE)


    class Nightly(Job):
        schedule = Cron("0 3 * * *")

        def perform(self) -> None:
            pass
"""
# What a later release may add to each message between supervisor and worker.
ADDED = {
    "runner/messages.py": {
        "PROTOCOL = 1\n": "PROTOCOL = 2\n",
        "    exit_code: int = 0\n": "    exit_code: int = 0\n    added: int = 1\n",
        '    READY = "ready"\n': '    READY = "ready"\n    ADDED = "added"\n',
    },
    "runner/process.py": {
        "    max_jobs: int | None = None\n": (
            "    max_jobs: int | None = None\n    added: int = 1\n"
        ),
    },
    "runner/relay.py": {
        "        wanted = (resting, alone)\n": "        wanted = (resting, alone, 1)\n",
    },
    "records/schedules.py": {
        "    max_attempts: int\n\n": "    max_attempts: int\n    added: int = 1\n\n",
    },
    "cli/worker_process.py": {
        "    line.say(WorkerMessage(Stage.STARTED))\n": (
            "    line.say(WorkerMessage(Stage.STARTED))\n    line.say(WorkerMessage(Stage.ADDED))\n"
        ),
    },
}


def present(folder: Path) -> None:
    shutil.copytree(PROJECT / "jobqueue", folder / "jobqueue")


def later(folder: Path) -> None:
    present(folder)
    for name, changes in ADDED.items():
        path = folder / "jobqueue" / name
        text = path.read_text()
        for old, new in changes.items():
            assert old in text, f"{name} has changed: {old}"
            text = text.replace(old, new, 1)
        path.write_text(text)


def of_commit(commit: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        archive = ["git", "-C", str(PROJECT), "archive", commit, "jobqueue"]
        packed = subprocess.run(archive, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)

    return make


RELEASES = {
    "present": present,
    "later": later,
    "earlier": of_commit(EARLIER),
    "much earlier": of_commit(MUCH_EARLIER),
}


@contextmanager
def supervisor_of(
    project: Project, installed: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobqueue", "work", "--poll-interval", "0.05"],
            cwd=project.folder,
            env={**project.environment, "PYTHONPATH": str(installed)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def install(installed: Path, release: Path) -> None:
    """Put another release in the place of the one that is installed, in one step."""
    fresh = installed.with_name("fresh")
    fresh.symlink_to(release)
    os.replace(fresh, installed)


@pytest.mark.needs("history")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("earlier", "present"),
        ("much earlier", "present"),
        ("present", "later"),
        ("present", "earlier"),
        ("later", "present"),
    ],
    ids=lambda name: name.replace(" ", "_"),
)
def test_a_supervisor_goes_on_with_workers_of_another_release(
    project: Project, tmp_path: Path, wait_for: WaitFor, before: str, after: str
) -> None:
    """Up or down: the old worker finishes its job, and the new one performs the next ones."""
    project.write("jobs.py", JOBS)
    installed, log = tmp_path / "installed", tmp_path / "log"
    for name in (before, after):
        (tmp_path / name).mkdir()
        RELEASES[name](tmp_path / name)
    install(installed, tmp_path / before)
    slow = enqueue(project, "Slow")
    with supervisor_of(project, installed, log) as supervisor:
        wait_for(exists(project, "slow.started"), "the job to start")
        install(installed, tmp_path / after)
        supervisor.send_signal(signal.SIGHUP)
        wait_for(lambda: log.read_text().count("works on") == 2, "the new worker")
        quick = enqueue(project, "Quick")
        wait_for(lambda: show(project, quick) is None, "a job of the new one")
        (project.folder / "slow.go").touch()
        wait_for(lambda: show(project, slow) is None, "the job of the old one")
        assert (project.folder / "quick.done").read_text() == after
        assert (project.folder / "slow.done").read_text() == before
        wait_for(lambda: log.read_text().count("stopped after") == 1, "the old one to end")
        supervisor.send_signal(signal.SIGTSTP)
        supervisor.send_signal(signal.SIGCONT)
        last = enqueue(project, "Quick")
        wait_for(lambda: show(project, last) is None, "a job after a rest")
        supervisor.terminate()
        assert supervisor.wait(60) == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert "died" not in said
