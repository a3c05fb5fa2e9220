"""Two releases of a small application side by side, as `docs/operating.md` says how to deploy."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.process.conftest import Running, WaitFor, database_of

FIRST = """
    from pathlib import Path

    from jobqueue import Job


    def note(what: str) -> None:
        with Path("../done.txt").open("a") as file:
            file.write(f"first: {what}\\n")


    class Welcome(Job):
        def perform(self, who: str) -> None:
            note(f"welcome {who}")


    class Bill(Job):
        def perform(self, order_id: int) -> None:
            note(f"bill {order_id}")
"""

# `Welcome` takes a parameter more, `Bill` is called `Invoice`, and `Remind` is new.
SECOND = """
    from pathlib import Path

    from jobqueue import Job


    def note(what: str) -> None:
        with Path("../done.txt").open("a") as file:
            file.write(f"second: {what}\\n")


    class Welcome(Job):
        def perform(self, who: str, language: str = "en") -> None:
            note(f"welcome {who} ({language})")


    class Invoice(Job):
        aliases = ("shop.Bill",)

        def perform(self, order_id: int) -> None:
            note(f"invoice {order_id}")


    class Remind(Job):
        def perform(self, who: str) -> None:
            note(f"remind {who}")
"""


@dataclass
class Releases:
    first: Project
    second: Project
    done: Path
    logs: Path

    def work(self, release: Project) -> Running:
        log = self.logs / f"{release.folder.name}.log"
        return Running(release, log, "work", "-n", "1", "--poll-interval", "0.5")

    def performed(self) -> list[str]:
        return self.done.read_text().splitlines() if self.done.exists() else []


@pytest.fixture
def releases(project: Project, tmp_path: Path) -> Releases:
    """The folders of two releases, on the same database."""

    def release(name: str, code: str) -> Project:
        folder = tmp_path / name
        folder.mkdir()
        made = replace(
            project, folder=folder, environment={**project.environment, "JOBS_APP": "shop"}
        )
        made.write("shop.py", code)
        return made

    first, second = release("first", FIRST), release("second", SECOND)
    return Releases(first, second, tmp_path / "done.txt", tmp_path)


@pytest.fixture
def old_worker(releases: Releases, wait_for: WaitFor) -> Iterator[Running]:
    worker = releases.work(releases.first)
    wait_for(lambda: "works on" in worker.log, "the old worker is ready")
    yield worker
    worker.kill()


def test_a_release_is_rolled_out(
    releases: Releases, old_worker: Running, wait_for: WaitFor
) -> None:
    def has_performed(number: int) -> bool:
        return len(releases.performed()) == number

    # The new web processes come first here, which is the wrong order: nothing is lost by it.
    enqueued = {
        "Remind": '{"who": "Ann"}',
        "Welcome": '{"who": "Bob", "language": "de"}',
        "Invoice": '{"order_id": 1}',
    }
    for job, args in enqueued.items():
        run = releases.second.jobs("enqueue", job, args)
        assert run.exit_code == 0, run.err
    wait_for(lambda: old_worker.log.count("given back") >= 3, "the old worker gives them back")
    assert releases.performed() == []
    assert "do not fit perform(who: str)" in old_worker.log

    new_worker = releases.work(releases.second)
    try:
        wait_for(lambda: "works on" in new_worker.log, "the new worker is ready")
        wait_for(lambda: len(releases.performed()) == 3, "the new worker performs them")
        assert sorted(releases.performed()) == [
            "second: invoice 1",
            "second: remind Ann",
            "second: welcome Bob (de)",
        ]

        # Side by side: each of the new ones is performed in a moment, whoever sees it first.
        for number in range(5):
            begun = time.monotonic()
            assert releases.second.jobs("enqueue", "Remind", '{"who": "Cid"}').exit_code == 0
            wait_for(partial(has_performed, 4 + number), "it is performed")
            assert time.monotonic() - begun < 5

        # What the old web processes still enqueue is performed by either.
        for job, args in (("Welcome", '{"who": "Dan"}'), ("Bill", '{"order_id": 2}')):
            assert releases.first.jobs("enqueue", job, args).exit_code == 0
        wait_for(lambda: len(releases.performed()) == 10, "both are performed")

        # The old workers end; what is left of their release is performed under its old name.
        old_worker.send(signal.SIGTERM)
        assert old_worker.ended()[0] == 0
        assert releases.first.jobs("enqueue", "Bill", '{"order_id": 3}').exit_code == 0
        wait_for(lambda: "second: invoice 3" in releases.performed(), "under its old name")
        new_worker.send(signal.SIGTERM)
        assert new_worker.ended()[0] == 0
    finally:
        new_worker.kill()
    with database_of(releases.first) as adapter:
        assert not any(adapter.count_by_state().values())
