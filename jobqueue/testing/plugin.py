"""The pytest plugin: `jobs_inbox`, `jobs_inline`, and the ini option `jobqueue_inbox`.

pytest imports this in every project in which jobqueue is installed, so it imports little.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobqueue.testing.guard import DatabaseGuard
    from jobqueue.testing.inboxes import Inbox

INI_OPTION = "jobqueue_inbox"
REAL_OPTION = "jobqueue_real"
MARKER = "jobs_real"
EVERY_TEST = "jobqueue-inbox-for-every-test"
GUARD = "jobqueue-guard-for-every-test"


@pytest.fixture
def jobs_inbox() -> Iterator[Inbox]:
    """The inbox of the jobs that this test enqueues. They run by `jobs_inbox.perform_all()`."""
    from jobqueue.testing.inboxes import inbox

    with inbox() as box:
        yield box


@pytest.fixture
def jobs_inline() -> Iterator[Inbox]:
    """The inbox of the jobs that this test enqueues. Each runs before `perform_later` returns."""
    from jobqueue.testing.inboxes import inline

    with inline() as box:
        yield box


class InboxForEveryTest:
    """The plugin that the ini option adds, so that other projects do without its fixture."""

    @pytest.fixture(autouse=True)
    def _jobs_go_into_an_inbox(self, request: pytest.FixtureRequest) -> None:
        if request.node.get_closest_marker(MARKER) is None:
            request.getfixturevalue("jobs_inbox")


class GuardForEveryTest:
    """The plugin that has jobs refused which a test would put into the application's database."""

    def __init__(self, guard: DatabaseGuard) -> None:
        self._guard = guard

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Guard the test, and the fixtures that are made for it."""
        if item.get_closest_marker(MARKER) is None:
            self._guard.test = item.nodeid
        try:
            return (yield)
        finally:
            self._guard.test = None

    def pytest_unconfigure(self) -> None:
        """Stop guarding the database when pytest ends."""
        from jobqueue.defaults import default_configuration

        default_configuration.watch(None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini options."""
    parser.addini(
        REAL_OPTION,
        "Let tests without an inbox enqueue in the database that the application is configured "
        "with.",
        type="bool",
        default=False,
    )
    parser.addini(
        INI_OPTION,
        "Put every test in an inbox of jobqueue: what it enqueues is recorded, and nothing runs.",
        type="bool",
        default=False,
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the guard before the fixtures of conftest.py files, which may enqueue jobs."""
    _add_inbox_for_every_test(early_config)
    if not early_config.getini(REAL_OPTION):
        # What conftest.py files set afterwards is for the tests.
        _guard_every_test(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; and the inbox, if a conftest.py was what loaded this plugin."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}: leave this test the application's own adapters and databases, without an "
        f"inbox even where {INI_OPTION} is set",
    )
    _add_inbox_for_every_test(config)
    if not config.getini(REAL_OPTION):
        _guard_every_test(config)


def _add_inbox_for_every_test(config: pytest.Config) -> None:
    plugins = config.pluginmanager
    if config.getini(INI_OPTION) and not plugins.has_plugin(EVERY_TEST):
        plugins.register(InboxForEveryTest(), EVERY_TEST)


def _guard_every_test(config: pytest.Config) -> None:
    from jobqueue.defaults import default_configuration
    from jobqueue.testing.guard import DatabaseGuard

    if not config.pluginmanager.has_plugin(GUARD):
        guard = DatabaseGuard()
        default_configuration.watch(guard.watch)
        config.pluginmanager.register(GuardForEveryTest(guard), GUARD)
