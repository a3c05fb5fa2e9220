"""The package broken in small ways, each of which the tests have to notice.

`make apart` tries a few, those that are quick to tell; with MUTANTS=all in the environment, as
`make mutants` sets it, all of them, and the package as it is, which has to pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, plain_environment
from tests.mutations import MUTATIONS, Mutation

ALL = os.environ.get("MUTANTS") == "all"
CHOSEN = [mutation for mutation in MUTATIONS if ALL or mutation.cheap]
COPIED = ("jobqueue", "migrations", "tests", "pyproject.toml", "alembic.ini")
TESTS_FAILED = 1


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project, to be broken."""
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source, tmp_path / name, ignore=leave_out)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


@pytest.mark.apart
@pytest.mark.parametrize("mutation", CHOSEN, ids=lambda mutation: mutation.name)
def test_without(mutation: Mutation, copy: Path, postgres_server: str) -> None:
    mutation.apply(copy / "jobqueue")
    run = run_tests(copy, mutation.tests, postgres_server)
    assert run.returncode == TESTS_FAILED, f"nobody notices:\n{run.stdout}\n{run.stderr}"
    assert " failed" in run.stdout, run.stdout
    assert " error" not in run.stdout.splitlines()[-1], run.stdout


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_can_still_be_taken_out(mutation: Mutation) -> None:
    mutation.find(PROJECT / "jobqueue")


@pytest.mark.apart
@pytest.mark.parametrize("tests", sorted({m.tests for m in CHOSEN}) if ALL else [], ids=" ".join)
def test_with_nothing_missing(tests: tuple[str, str], copy: Path, postgres_server: str) -> None:
    run = run_tests(copy, tests, postgres_server)
    assert run.returncode == 0, run.stdout


def run_tests(
    folder: Path, tests: tuple[str, str], postgres_server: str
) -> subprocess.CompletedProcess[str]:
    """Run some of the tests of a copy against the package of that copy."""
    path, which = tests
    plugins = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.unshrunk")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *plugins, path, "-k", which],
        cwd=folder,
        env={
            **plain_environment(),
            "PYTHONPATH": str(folder),
            "PYTEST_ADDOPTS": "",
            "TEST_DATABASE_URL": postgres_server,
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
