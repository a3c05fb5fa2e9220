"""The projects of these tests, in which commands start quickly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import JOBS, Project, Run, plain_environment


@dataclass(frozen=True)
class QuickProject(Project):
    """A project whose commands are forked off a Python that has the imports behind it."""

    server: subprocess.Popen[str]
    streams: Path

    def jobs(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Run:
        """Run `jobs` in the folder, without a terminal."""
        files = [self.streams / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(stdin)
        request = {
            "folder": str(self.folder),
            "environment": {**self.environment, **(env or {})},
            "arguments": arguments,
            "files": [str(path) for path in files],
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        exit_code = int(self.server.stdout.readline())
        return Run(exit_code, files[1].read_text(), files[2].read_text())


@pytest.fixture(scope="session")
def fork_server() -> Iterator[subprocess.Popen[str]]:
    """One for all tests of this process."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("forkserver.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=plain_environment(),
    ) as server:
        yield server
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture
def empty_project(tmp_path: Path, fork_server: subprocess.Popen[str]) -> QuickProject:
    """An empty folder, where nothing is set up."""
    folder, streams = tmp_path / "project", tmp_path / "streams"
    folder.mkdir()
    streams.mkdir()
    return QuickProject(folder, plain_environment(), fork_server, streams)


@pytest.fixture
def project(empty_project: QuickProject, database_url: str) -> QuickProject:
    """A folder with a small `jobs.py`, on a migrated database: SQLite, then PostgreSQL."""
    empty_project.write("jobs.py", JOBS)
    environment = {**empty_project.environment, "JOBS_DATABASE_URL": database_url}
    return QuickProject(
        empty_project.folder, environment, empty_project.server, empty_project.streams
    )
