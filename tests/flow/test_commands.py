"""What the command line says of jobs with flow control, and how limits are set there."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project

JOBS = """
from jobqueue import Job, Limit, Ordered, Rate, Unique

class Charge(Job):
    limits = (Limit(3, key="account"), Rate(2, per=0.5, name="the bank"))
    def perform(self, account: int) -> None: ...

class Bill(Job):
    unique = Unique(by="number")
    max_attempts = 1
    def perform(self, number: int, fails: bool = False) -> None:
        assert not fails

class Step(Job):
    ordered = Ordered()
    max_attempts = 1
    def perform(self, fails: bool = False) -> None:
        assert not fails
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("jobs.py", JOBS)
    return project


def test_a_duplicate_is_called_so(shop: Project) -> None:
    shop.jobs("enqueue", "Bill", '{"number": 1}')
    run = shop.jobs("enqueue", "Bill", '{"number": 1}')
    assert run.exit_code == 0
    assert run.out == (
        "Nothing was enqueued: job 1 of jobs.Bill is there already and means the same; it is "
        "ready.\n"
    )
    assert len(json.loads(shop.jobs("list", "--json").out)) == 1


def test_a_retry_of_a_duplicate_names_the_reason(shop: Project) -> None:
    shop.jobs("enqueue", "Bill", '{"number": 1, "fails": true}')
    shop.jobs("workoff")
    shop.jobs("enqueue", "Bill", '{"number": 1}')
    run = shop.jobs("retry", "1")
    assert run.exit_code != 0
    assert "another one with the same key is on its way" in run.err


def test_it_says_what_is_left_behind_an_order(shop: Project) -> None:
    shop.jobs("enqueue", "Step", '{"fails": true}')
    shop.jobs("enqueue", "Step")
    shop.jobs("enqueue", "Step", "--wait", "60")
    run = shop.jobs("workoff")
    said = run.out + run.err
    assert "1 job behind a limit or an order; `jobs list --state gated` lists them" in said
    assert "1 job for later; `jobs list --state gated` shows when." in said


def test_what_a_limit_is_shown_as(shop: Project) -> None:
    assert "No worker has declared a limit" in (said := shop.jobs("limits")).out + said.err
    shop.jobs("workoff")
    rows = [line.split("  ") for line in shop.jobs("limits").out.splitlines()]
    assert any("0.5 s" in row for row in rows)
    for wrong in ("-1", "a", "1.5", "99999999999"):
        assert shop.jobs("limits", "set", "the bank", wrong).exit_code == 2
    run = shop.jobs("limits", "set", "account", "0", "--reason", "the bank asked")
    assert run.out == "jobs.Charge/account: 0 at once; it was 3.\n"
    shop.jobs("enqueue", "Charge", '{"account": 7}')
    why = shop.jobs("why", "1").out
    assert "lets 0 run at once for 7: 0 run" in why
    assert "jobs limits set jobs.Charge/account NUMBER" in why
    unknown = shop.jobs("limits", "set", "acount", "1")
    assert unknown.exit_code != 0
    assert "there is no limit 'acount'" in unknown.err


def test_the_terms_of_a_job_are_shown_as_people_read_them(shop: Project) -> None:
    shop.jobs("enqueue", "Charge", '{"account": 7}')
    out = shop.jobs("show", "1").out
    assert "Terms(" not in out
    assert "3 at once" in out
    values = json.loads(shop.jobs("show", "1", "--json").out)
    assert values["line"] == "jobs.Charge/account=7 & the bank"
