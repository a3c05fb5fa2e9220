"""What is taken away from workers, and what they say meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from tests import needs
from tests.pgbouncer import PgBouncer


class Said:
    """The events that were logged, in order."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def events(self) -> list[str]:
        """Their names, without those of jobs that succeeded."""
        found = [record.__dict__.get("event") for record in self._caplog.records]
        return [event for event in found if event and event != "job_succeeded"]

    def count(self, event: str) -> int:
        """How often one was said."""
        return self.events().count(event)

    def records(self, event: str) -> list[logging.LogRecord]:
        """The records of an event."""
        return [r for r in self._caplog.records if r.__dict__.get("event") == event]

    def text_of(self, event: str) -> str:
        """What was said at the first."""
        return next((record.getMessage() for record in self.records(event)), "")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    caplog.set_level(logging.INFO, "jobqueue")
    return Said(caplog)


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: str) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode, with fewer connections to the server than it has clients."""
    needs.require("pgbouncer")
    with PgBouncer(postgres_server, pool_size=2) as bouncer:
        yield bouncer


@pytest.fixture
def bouncer_url(pgbouncer: PgBouncer, postgres_url: str) -> str:
    """A database with the tables and nothing in them, through PgBouncer."""
    return pgbouncer.url(make_url(postgres_url).database)
