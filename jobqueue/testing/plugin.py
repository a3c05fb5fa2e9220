"""The pytest plugin: `jobs_inbox`, `jobs_inline`, and the ini option `jobqueue_inbox`.

pytest imports this in every project in which jobqueue is installed, so it imports little.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobqueue.testing.inboxes import Inbox

INI_OPTION = "jobqueue_inbox"
MARKER = "jobs_real"
EVERY_TEST = "jobqueue-inbox-for-every-test"


@pytest.fixture
def jobs_inbox() -> Iterator[Inbox]:
    """The jobs that this test enqueues. Nothing runs before `jobs_inbox.perform_all()`."""
    from jobqueue.testing.inboxes import inbox

    with inbox() as box:
        yield box


@pytest.fixture
def jobs_inline() -> Iterator[Inbox]:
    """Every job that this test enqueues runs at once, before `perform_later` returns."""
    from jobqueue.testing.inboxes import inline

    with inline() as box:
        yield box


class InboxForEveryTest:
    """The plugin that the ini option adds, so that other projects do without its fixture."""

    @pytest.fixture(autouse=True)
    def _jobs_go_into_an_inbox(self, request: pytest.FixtureRequest) -> None:
        if request.node.get_closest_marker(MARKER) is None:
            request.getfixturevalue("jobs_inbox")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini(
        INI_OPTION,
        "Put every test in an inbox of jobqueue: what it enqueues is recorded, and nothing runs.",
        type="bool",
        default=False,
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Be there before the fixtures of conftest.py files, which may enqueue jobs themselves."""
    _add_inbox_for_every_test(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; and the inbox, if a conftest.py was what loaded this plugin."""
    config.addinivalue_line(
        "markers", f"{MARKER}: where {INI_OPTION} is set, leave this test its own adapters"
    )
    _add_inbox_for_every_test(config)


def _add_inbox_for_every_test(config: pytest.Config) -> None:
    plugins = config.pluginmanager
    if config.getini(INI_OPTION) and not plugins.has_plugin(EVERY_TEST):
        plugins.register(InboxForEveryTest(), EVERY_TEST)
