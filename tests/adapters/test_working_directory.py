"""A SQLite file that is named relatively, and a process that goes to another folder."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.config import Settings, load_settings
from jobqueue.defaults import default_configuration
from jobqueue.records import JobFilter, NewJob

URL = "sqlite:///jobs.sqlite3"
JOB = NewJob("Work", "{}", "default", 50, 5)

pytestmark = pytest.mark.usefixtures("forget_jobs")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder than the one in which the process is."""
    home, other = tmp_path / "home?", tmp_path / "other"
    for folder in (home, other):
        folder.mkdir()
    monkeypatch.chdir(home)
    return other


@pytest.fixture
def default_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("JOBS_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return load_settings()


def number_in(folder: Path) -> int:
    adapter = connect(f"sqlite:///{folder}/jobs.sqlite3".replace("?", "%3F"))
    try:
        return adapter.count_jobs(JobFilter())
    finally:
        adapter.close()


def test_an_adapter_stays_with_its_file(elsewhere: Path) -> None:
    home = Path.cwd()
    adapter = connect(URL)
    os.chdir(elsewhere)
    adapter.migrate()
    adapter.enqueue([JOB])
    adapter.close()
    adapter.enqueue([JOB])
    adapter.close()
    assert number_in(home) == 2
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "passed_on",
    [
        lambda settings: settings,
        lambda settings: replace(settings, lease=settings.lease),
        lambda settings: pickle.loads(pickle.dumps(settings)),
    ],
    ids=["", "replaced", "pickled"],
)
def test_a_setting_means_the_folder_in_which_it_was_read(
    elsewhere: Path, default_settings: Settings, passed_on: Callable[[Settings], Settings]
) -> None:
    home = Path.cwd()
    os.chdir(elsewhere)
    adapter = connect(passed_on(default_settings).database_url)
    adapter.migrate()
    adapter.close()
    assert number_in(home) == 0
    assert default_settings.database_url == URL, "it is shown as it was given"


def test_what_is_configured_by_default_stays_with_its_file(
    elsewhere: Path, default_settings: Settings
) -> None:
    connect(URL).migrate()
    home = Path.cwd()
    default_configuration.reset()
    assert default_configuration.settings == default_settings
    os.chdir(elsewhere)
    try:
        default_configuration.adapter.enqueue([JOB])
        default_configuration.adapter.close()
    finally:
        default_configuration.reset()
    assert number_in(home) == 1


class Moves(Job):
    """Goes to another folder, as some libraries do."""

    to: ClassVar[Path]
    moved: ClassVar[list[int | None]]

    def perform(self) -> None:
        os.chdir(self.to)
        with self.transaction():
            self.moved.append(self.context.job_id)


def test_a_job_that_goes_elsewhere_ends_in_the_same_file(
    elsewhere: Path, wait_for: Callable[[Callable[[], bool], str], None]
) -> None:
    home = Path.cwd()
    connect(URL).migrate()
    Moves.to, Moves.moved = elsewhere, []
    with JobQueue(database_url=URL, poll_interval=0.05).running() as queue:
        for number in (1, 2):
            queue.enqueue(Moves)
            wait_for(lambda number=number: len(Moves.moved) == number, "the job")  # type: ignore[misc]
    assert number_in(home) == 0
    assert list(elsewhere.iterdir()) == []
