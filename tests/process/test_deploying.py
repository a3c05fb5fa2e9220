"""Releases of a small application, deployed as `docs/operating.md` says, and in other ways."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from jobqueue import JobRecord, JobState
from jobqueue.records import Claim, JobFilter, Released
from tests.conftest import Project
from tests.process.conftest import Running, WaitFor, database_of

NOTE = """
    from pathlib import Path

    from jobqueue import Constant, Job


    def note(what: str) -> None:
        release = Path(__file__).with_name("release.txt").read_text()
        with Path("../done.txt").open("a") as file:
            file.write(f"{release}: {what}\\n")
"""

# What a web process of a release does is `visit`.
FIRST = (
    NOTE
    + """

    class Welcome(Job):
        def perform(self, who: str) -> None:
            note(f"welcome {who}")


    class Bill(Job):
        def perform(self, order_id: int) -> None:
            note(f"bill {order_id}")


    class Ship(Job):
        def perform(self, order_id: int, express: bool) -> None:
            note(f"ship {order_id}" + " by express" * express)


    class Thank(Job):
        def perform(self, who: str) -> None:
            note(f"thank {who}")


    class Coupon(Job):
        def perform(self, code: str) -> None:
            note(f"coupon {code}")


    class Remit(Job):
        queue = "money"
        priority = 10
        max_attempts = 2
        retry = Constant(3600)

        def perform(self) -> None:
            raise ConnectionError("the bank is closed")


    def visit() -> None:
        Welcome.perform_later("Ann")
        Bill.perform_later(1)
        Ship.perform_later(1, express=True)
        Thank.perform_later("Ann")
        Coupon.perform_later("A1")
"""
)

# Changed as the page recommends: `Welcome` takes a parameter more, `Bill` is called `Invoice`, and
# `Remind` is new. A parameter of `Thank` is about to be renamed. `express` has a default now, and
# neither it nor `Coupon` is used any more.
SECOND = (
    NOTE
    + """

    class Welcome(Job):
        def perform(self, who: str, language: str = "en") -> None:
            note(f"welcome {who} ({language})")


    class Invoice(Job):
        aliases = ("shop.Bill",)

        def perform(self, order_id: int) -> None:
            note(f"invoice {order_id}")


    class Ship(Job):
        def perform(self, order_id: int, express: bool = False) -> None:
            note(f"ship {order_id}" + " by express" * express)


    class Thank(Job):
        def perform(self, who: str = "", name: str = "") -> None:
            note(f"thank {name or who}")


    class Coupon(Job):
        def perform(self, code: str) -> None:
            note(f"coupon {code}")


    class Remind(Job):
        def perform(self, who: str) -> None:
            note(f"remind {who}")


    def visit() -> None:
        Welcome.perform_later("Bob", language="de")
        Invoice.perform_later(2)
        Ship.perform_later(2)
        Thank.perform_later(name="Bob")
        Remind.perform_later("Bob")
"""
)

# What was not used any more is gone, and the new parameters are required. `Survey` is new.
THIRD = (
    NOTE
    + """

    class Welcome(Job):
        def perform(self, who: str, language: str) -> None:
            note(f"welcome {who} ({language})")


    class Invoice(Job):
        def perform(self, order_id: int) -> None:
            note(f"invoice {order_id}")


    class Ship(Job):
        def perform(self, order_id: int) -> None:
            note(f"ship {order_id}")


    class Thank(Job):
        def perform(self, name: str) -> None:
            note(f"thank {name}")


    class Remind(Job):
        def perform(self, who: str) -> None:
            note(f"remind {who}")


    class Survey(Job):
        def perform(self, who: str) -> None:
            note(f"survey {who}")


    def visit() -> None:
        Welcome.perform_later("Cid", language="fr")
        Invoice.perform_later(3)
        Ship.perform_later(3)
        Thank.perform_later("Cid")
        Survey.perform_later("Cid")
"""
)

# Everything at once, against the advice of the page.
CARELESS = (
    NOTE
    + """

    class Welcome(Job):
        def perform(self, who: str, language: str) -> None:
            note(f"welcome {who} ({language})")


    class Bill(Job):
        def perform(self, order_id: str) -> None:
            note(f"bill {order_id}")


    class Ship(Job):
        def perform(self, order_id: int) -> None:
            note(f"ship {order_id}")


    class Thank(Job):
        def perform(self, name: str) -> None:
            note(f"thank {name}")


    class Remit(Job):
        queue = "later"
        priority = 90
        max_attempts = 9
        retry = Constant(0)

        def perform(self) -> None:
            raise ConnectionError("the bank is closed")
"""
)


@dataclass
class Releases:
    """Releases on the same database, each in a folder of its own."""

    project: Project
    done: Path

    def release(self, name: str, code: str) -> Project:
        """The folder of a release."""
        folder = self.done.with_name(name)
        folder.mkdir()
        environment = {**self.project.environment, "JOBS_APP": "shop"}
        made = replace(self.project, folder=folder, environment=environment)
        self.put(name, code, made)
        return made

    def put(self, name: str, code: str, folder: Project) -> None:
        """Replace the code in a folder by that of a release."""
        folder.write("shop.py", code)
        folder.write("release.txt", name)

    def work(self, release: Project) -> Running:
        log = self.done.with_name(f"{release.folder.name}.log")
        return Running(release, log, "work", "-n", "1", "--poll-interval", "0.5")

    def performed(self) -> list[str]:
        return self.done.read_text().splitlines() if self.done.exists() else []


@pytest.fixture
def releases(project: Project, tmp_path: Path) -> Releases:
    return Releases(project, tmp_path / "done.txt")


@pytest.fixture
def first(releases: Releases) -> Project:
    return releases.release("first", FIRST)


@pytest.fixture
def second(releases: Releases) -> Project:
    return releases.release("second", SECOND)


@pytest.fixture
def old_worker(releases: Releases, first: Project, wait_for: WaitFor) -> Iterator[Running]:
    worker = releases.work(first)
    wait_for(lambda: "works on" in worker.log, "the old worker is ready")
    yield worker
    worker.kill()


# --- the order of the page -----------------------------------------------------------------------


def test_in_the_order_of_the_page_no_job_waits(
    releases: Releases, first: Project, second: Project, old_worker: Running, wait_for: WaitFor
) -> None:
    """Twice forward, and back."""
    third, servers, deployed = releases.release("third", THIRD), first, 1

    def visited(web: Project) -> list[str]:
        """What the workers do for one visit: as soon as it is in the database."""
        before = len(releases.performed())
        run = web.python("-c", "import shop; shop.visit()")
        assert run.exit_code == 0, run.err
        wait_for(lambda: len(releases.performed()) == before + 5, "the jobs")
        return sorted(releases.performed()[before:])

    def deploy_workers(name: str, code: str) -> None:
        nonlocal deployed
        releases.put(name, code, servers)
        old_worker.send(signal.SIGHUP)
        deployed += 1
        wait_for(lambda: old_worker.log.count("works on") == deployed, "the new worker")
        wait_for(lambda: old_worker.log.count("stopped after") == deployed - 1, "the old one ends")

    web_of_first = releases.release("web of first", FIRST)
    assert second.jobs("migrate").exit_code == 0
    deploy_workers("second", SECOND)
    assert visited(web_of_first) == [
        "second: coupon A1",
        "second: invoice 1",
        "second: ship 1 by express",
        "second: thank Ann",
        "second: welcome Ann (en)",
    ]
    by_second = [
        "second: invoice 2",
        "second: remind Bob",
        "second: ship 2",
        "second: thank Bob",
        "second: welcome Bob (de)",
    ]
    assert visited(second) == by_second

    deploy_workers("third", THIRD)
    by_third = [line.replace("second", "third") for line in by_second]
    assert visited(second) == by_third
    assert visited(third) == [
        "third: invoice 3",
        "third: ship 3",
        "third: survey Cid",
        "third: thank Cid",
        "third: welcome Cid (fr)",
    ]

    # Back: the web processes were first. That the newer workers perform their jobs was seen above.
    deploy_workers("second", SECOND)
    assert visited(second) == by_second
    old_worker.send(signal.SIGTERM)
    assert old_worker.ended()[0] == 0
    assert "given back" not in old_worker.log
    with database_of(first) as adapter:
        assert not any(adapter.count_by_state().values())


# --- another order -------------------------------------------------------------------------------


def test_in_another_order_no_job_is_lost(
    releases: Releases, first: Project, second: Project, old_worker: Running, wait_for: WaitFor
) -> None:
    def has_performed(number: int) -> bool:
        return len(releases.performed()) == number

    # The new web processes come first.
    enqueued = {
        "Remind": '{"who": "Ann"}',
        "Welcome": '{"who": "Bob", "language": "de"}',
        "Invoice": '{"order_id": 1}',
    }
    for job, args in enqueued.items():
        run = second.jobs("enqueue", job, args)
        assert run.exit_code == 0, run.err
    wait_for(lambda: old_worker.log.count("given back") >= 3, "the old worker gives them back")
    assert releases.performed() == []
    assert "do not fit perform(who: str)" in old_worker.log

    new_worker = releases.work(second)
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
            assert second.jobs("enqueue", "Remind", '{"who": "Cid"}').exit_code == 0
            wait_for(partial(has_performed, 4 + number), "it is performed")
            assert time.monotonic() - begun < 5

        # What the old web processes still enqueue is performed by either.
        for job, args in (("Welcome", '{"who": "Dan"}'), ("Bill", '{"order_id": 2}')):
            assert first.jobs("enqueue", job, args).exit_code == 0
        wait_for(lambda: len(releases.performed()) == 10, "both are performed")

        # The old workers end; what is left of their release is performed under its old name.
        old_worker.send(signal.SIGTERM)
        assert old_worker.ended()[0] == 0
        assert first.jobs("enqueue", "Bill", '{"order_id": 3}').exit_code == 0
        wait_for(lambda: "second: invoice 3" in releases.performed(), "under its old name")
        new_worker.send(signal.SIGTERM)
        assert new_worker.ended()[0] == 0
    finally:
        new_worker.kill()
    with database_of(first) as adapter:
        assert not any(adapter.count_by_state().values())


# --- against the advice of the page --------------------------------------------------------------


def test_what_a_careless_release_cannot_perform(releases: Releases, first: Project) -> None:
    """It waits for the release before, which comes back; the workers are those of `workoff`."""
    careless = releases.release("careless", CARELESS)
    assert first.python("-c", "import shop; shop.visit(); shop.Remit.perform_later()").err == ""
    assert careless.jobs("workoff").exit_code == 1
    assert releases.performed() == []
    met = jobs_of(first)
    # A parameter that is required now, or removed, or renamed, and a class that is removed.
    reasons = {
        "Welcome": "(who) do not fit perform(who: str, language: str): missing a required argument",
        "Ship": "(order_id, express) do not fit perform(order_id: int): got an unexpected keyword",
        "Thank": "(who) do not fit perform(name: str): missing a required argument: 'name'",
        "Coupon": "no job named 'shop.Coupon' is known to this worker",
    }
    for name, reason in reasons.items():
        assert reason in str(met[name].last_error)
        assert (met[name].state, met[name].attempts) == (JobState.READY, 0)
    for name in ("Welcome", "Ship", "Thank"):
        assert "Given back since 2" in str(met[name].last_error)
    # `workoff` puts off what it does not know, for all workers.
    assert met["Coupon"].run_at - met["Coupon"].updated_at >= timedelta(seconds=4.9)
    # A type that is another.
    assert (met["Bill"].state, met["Bill"].attempts) == (JobState.FAILED, 1)
    assert "order_id: Input should be a valid string" in str(met["Bill"].last_error)
    # Queue, priority and attempts are of the release that enqueued, the pauses of the other.
    remit = met["Remit"]
    assert (remit.queue, remit.priority, remit.max_attempts) == ("money", 10, 2)
    assert (remit.state, remit.attempts) == (JobState.FAILED, 2)

    # An hour later: what does not fit has failed, and can be retried. What is unknown waits.
    let_an_hour_pass(first)
    assert careless.jobs("workoff").exit_code == 1
    met = jobs_of(first)
    misfits = [met[name] for name in ("Welcome", "Ship", "Thank")]
    for job in misfits:
        assert job.state is JobState.FAILED
        assert "No worker came by within 1:00:00 whose release takes them" in str(job.last_error)
    assert met["Coupon"].state is JobState.READY
    assert careless.jobs("retry", *(str(job.id) for job in misfits)).exit_code == 0
    careless.jobs("workoff")
    assert {jobs_of(first)[name].state for name in reasons} == {JobState.READY}

    # Rolled back.
    left = [str(job.id) for name, job in met.items() if name != "Remit"]
    assert first.jobs("retry", *left).exit_code == 0
    assert first.jobs("workoff").exit_code == 0
    assert sorted(releases.performed()) == [
        "first: bill 1",
        "first: coupon A1",
        "first: ship 1 by express",
        "first: thank Ann",
        "first: welcome Ann",
    ]


def test_jobs_of_a_removed_class_can_be_found_and_cleared(
    releases: Releases, first: Project
) -> None:
    third = releases.release("third", THIRD)
    assert first.jobs("enqueue", "Coupon", '{"code": "A1"}').exit_code == 0
    assert third.jobs("workoff").exit_code == 0
    assert "shop.Coupon" in third.jobs("list", "--job", "shop.Coupon").out
    assert third.jobs("clear", "--job", "shop.Coupon").out == "Removed 1 job.\n"
    assert jobs_of(first) == {}


def jobs_of(release: Project) -> dict[str, JobRecord]:
    """The jobs in the database, by the names of their classes."""
    with database_of(release) as adapter:
        found = adapter.list_jobs(JobFilter(), 100)
    return {job.handler.removeprefix("shop."): job for job in found}


def let_an_hour_pass(release: Project) -> None:
    """The jobs that wait are due, as if they had been given back an hour earlier."""
    with database_of(release) as adapter:
        waiting = {job.id: job for job in adapter.list_jobs(JobFilter(states=(JobState.READY,)), 9)}
        adapter.retry(JobFilter(ids=tuple(waiting)))
        claimed = adapter.claim(Claim("w", 1, len(waiting), len(waiting)))
        assert len(claimed) == len(waiting)
        errors = [_an_hour_earlier(str(waiting[job.id].last_error)) for job in claimed]
        released = [Released(job, error=error) for job, error in zip(claimed, errors, strict=True)]
        assert adapter.settle(released) == []


def _an_hour_earlier(error: str) -> str:
    """What a job would say that was first given back an hour before."""

    def earlier(found: re.Match[str]) -> str:
        return (datetime.fromisoformat(found[0]) - timedelta(hours=1)).isoformat()

    return re.sub(r"(?<=Given back since )\S+(?=: )", earlier, error)
