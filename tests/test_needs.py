"""Tests that need what is missing are skipped, which is said, or fail in CI."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import needs
from tests.conftest import PROJECT

pytest_plugins = ["pytester"]

CONFTEST = """
    from tests import needs

    HOW = "`apt-get install no-such-program`"
    needs.NEEDS["program"] = needs.program("no-such-program", HOW, package="no-such-package")
    needs.NEEDS["moon"] = needs.Need("a full moon", lambda: None, "wait for it")
    needs.NEEDS["python"] = needs.program("python3", "look around you", package="python3")

    def pytest_configure(config):
        config.pluginmanager.register(needs)
"""
TESTS = """
    import pytest
    from tests import needs

    @pytest.fixture(scope="session")
    def made():
        return needs.require("program")

    @pytest.mark.needs("program")
    def test_by_marker():
        raise AssertionError

    def test_by_fixture(made):
        raise AssertionError

    @pytest.mark.needs("moon")
    def test_by_night():
        raise AssertionError

    @pytest.mark.needs("python")
    def test_of_what_is_there():
        pass

    @pytest.mark.skip(reason="of another reason")
    def test_of_another_reason():
        raise AssertionError
"""
KNOWN_TO_BE_MISSING = needs.missing_packages()
SKIPPED = (
    "Skipped: 2 tests need no-such-program (`apt-get install no-such-program`);"
    " 1 test needs a full moon (wait for it)"
)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.delenv(needs.SKIP, raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    return pytester


@pytest.mark.parametrize("options", [("-q",), ("-n", "1")], ids=" ".join)
def test_the_last_line_says_what_was_skipped(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    run = suite.runpytest_subprocess(*options)
    run.assert_outcomes(passed=1, skipped=4)
    assert run.outlines[-1] == SKIPPED


def test_where_nothing_is_to_be_skipped_a_missing_program_is_a_failure(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be installed is skipped all the same."""
    monkeypatch.setenv(needs.SKIP, "nothing")
    run = suite.runpytest_subprocess()
    run.assert_outcomes(passed=1, errors=2, skipped=2)
    run.stdout.fnmatch_lines(["*needs no-such-program, which is not there: `apt-get install *"])
    assert run.outlines[-1] == "Skipped: 1 test needs a full moon (wait for it)"


def test_nothing_is_said_where_nothing_is_missing(suite: pytest.Pytester) -> None:
    run = suite.runpytest_subprocess("-k", "of_what_is_there or of_another_reason")
    run.assert_outcomes(passed=1, skipped=1)
    assert "Skipped:" not in run.outlines[-1]


def test_ci_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    there = needs.program("python3", "", package="python3")
    absent = needs.program("no-such-program", "", package="no-such-package")
    monkeypatch.setattr(needs, "NEEDS", {"there": there, "absent": absent})
    assert needs.missing_packages() == ["no-such-package"]
    printed = subprocess.run(
        [sys.executable, "-m", "tests.needs"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split() == KNOWN_TO_BE_MISSING
