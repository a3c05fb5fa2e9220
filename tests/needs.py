"""What some tests need beside Python, where it is, and how to get it.

A test says `@pytest.mark.needs("pgbouncer")`, a fixture calls `require("pgbouncer")`. Where it is
missing the test is skipped, and the last line of the run says how many were, and how to have them
run. With JOBQUEUE_TEST_SKIP=nothing in the environment, as in CI, a missing program is a failure.

    python -m tests.needs    prints the Debian packages of the programs that are missing
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
AN_EARLY_COMMIT = "a3dd658"
WHERE_ONLY_ROOT_LOOKS = ("/usr/sbin", "/sbin")
SKIP = "JOBQUEUE_TEST_SKIP"


@dataclass(frozen=True)
class Need:
    """Something that a test needs beside Python.

    Args:
        what: it, for a sentence that begins with "needs".
        find: where it is, or None; called each time, and so to be quick.
        how: how to get it.
        package: the Debian package that has it, if one does.
    """

    what: str
    find: Callable[[], str | None]
    how: str
    package: str | None = None


def program(name: str, how: str, *, package: str) -> Need:
    """A program on the PATH, or where Debian keeps what is for root."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *WHERE_ONLY_ROOT_LOOKS))
    return Need(name, lambda: shutil.which(name, path=path), how, package)


def _folder_that_was_mounted() -> str | None:
    """It is tried, since root may not do it in a container."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory(prefix="jobqueue-mount-") as folder:
        command = [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        subprocess.run([umount, folder], capture_output=True, check=True)
    return folder


def _history() -> str | None:
    """The git repository of the project, with its first commits."""
    git = shutil.which("git")
    if git is None or shutil.which("tar") is None:
        return None
    command = [git, "-C", str(PROJECT), "cat-file", "-e", f"{AN_EARLY_COMMIT}^{{commit}}"]
    found = subprocess.run(command, capture_output=True, check=False)
    return None if found.returncode else str(PROJECT)


def _root() -> str | None:
    return "root" if os.geteuid() == 0 else None


NEEDS = {
    "pgbouncer": program(
        "pgbouncer",
        "`apt-get install pgbouncer`, `brew install pgbouncer`, or another on the PATH",
        package="pgbouncer",
    ),
    "curl": program(
        "curl",
        "`apt-get install curl`, `brew install curl`, or another on the PATH, 7.82 or newer",
        package="curl",
    ),
    "chromium": program(
        "chromium",
        "`apt-get install chromium chromium-driver`, or both on the PATH, in the same version",
        package="chromium",
    ),
    "chromedriver": program(
        "chromedriver",
        "`apt-get install chromium chromium-driver`, or both on the PATH, in the same version",
        package="chromium-driver",
    ),
    "history": Need(
        "earlier commits of jobqueue",
        _history,
        "run in a clone of its repository with the whole history, `git fetch --unshallow`",
    ),
    "another user": Need("another user of the machine", _root, "run as root"),
    "mounting": Need(
        "to mount a file system",
        _folder_that_was_mounted,
        "run as root, in a container with `--privileged`",
    ),
}


class Missing(Exception):
    """Something that is needed is not there; the message says how to get it."""


def find(name: str) -> str:
    """Where a need is.

    Raises:
        Missing: it is not there.
    """
    need = NEEDS[name]
    found = need.find()
    if found is None:
        raise Missing(f"needs {need.what}, which is not there: {need.how}")
    return found


def require(name: str) -> str:
    """Where a need is; the test that calls this is skipped, or fails in CI, when it is missing."""
    try:
        return find(name)
    except Missing as missing:
        why = str(missing)
    if NEEDS[name].package and os.environ.get(SKIP) == "nothing":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def missing_packages() -> list[str]:
    """The Debian packages of what is missing."""
    return [need.package for need in NEEDS.values() if need.package and need.find() is None]


# --- what pytest calls ---------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "needs(name): skipped where it is missing, see tests/needs.py"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test before its fixtures are made."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            require(name)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last of all what was skipped."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", ())]
        line = line_of(reasons)
        if line:
            reporter.write_line(line, yellow=True)


def line_of(reasons: Iterable[str]) -> str | None:
    """What was skipped for these reasons, and how to have it run."""
    skipped = Counter(
        name
        for name, need in NEEDS.items()
        for reason in reasons
        if f"needs {need.what}," in reason
    )
    if not skipped:
        return None
    parts = [_skipped(NEEDS[name], count) for name, count in skipped.items()]
    return f"Skipped: {'; '.join(parts)}"


def _skipped(need: Need, count: int) -> str:
    tests = "1 test needs" if count == 1 else f"{count} tests need"
    return f"{tests} {need.what} ({need.how})"


if __name__ == "__main__":
    print(*missing_packages())
