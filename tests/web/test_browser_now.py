"""Why late, Now and the database in a real browser: each trouble is found, and mended from Now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    Ailment,
    Health,
    Histogram,
    JobFilter,
    NewErrors,
    NewJob,
    NewSchedule,
    Pause,
    Stack,
    Stat,
    TableSize,
)
from jobqueue.testing.contract.base import a_claim, new_worker
from tests.web.browser import PATIENCE_SECONDS, SIZES, browser, look, messages, wait_for
from tests.web.conftest import served

__all__ = ["browser"]
pytestmark = [
    pytest.mark.needs("chromium", "chromedriver"),
    pytest.mark.timeout(300),
]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => done(found.violations.map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 200))])),
  (error) => done([["axe failed", String(error)]]),
);
"""
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WORKER = "web-1:4711:8f"
TERMINATE = "SELECT pg_terminate_backend(4711);"
SEEN = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> MemoryAdapter:
    """A queue system in which each kind of trouble was set up."""
    clock = ManualClock(datetime.now(UTC) - 70 * MINUTE)
    made = MemoryAdapter(clock=clock)
    queues = ("payments", "email", "default")
    made.register_worker(replace(new_worker(WORKER), queues=queues, lease=1000 * MINUTE))
    rule = {"every_seconds": 3600.0}
    nightly = NewSchedule("nightly", "Report", "{}", rule, False, "default", 50, 5)
    made.declare_schedules("shop", [nightly])
    made.enqueue([NewJob("Charge", "{}", "payments", 50, 5)])
    made.claim(a_claim(WORKER))
    ran = Histogram.of([SECOND] * 20)
    made.add_stats(WORKER, [Stat("Charge", "payments", 20, longest=SECOND, ran=ran, waited=ran)])
    made.enqueue([NewJob("Mail", "{}", "email", 50, 5)] * 3)
    made.enqueue([NewJob("Text", "{}", "sms", 50, 5)] * 2)
    made.pause_queues(["email"], Pause(None, "ben", "the mail server is down"))
    group = group_of("Charge", "bank.Declined", "jobs.py:perform", "declined")
    made.add_errors([NewErrors(group, 12, "bank.Declined: declined", 1)], "2.0")
    clock.advance(70 * MINUTE)
    made.renew_schedules("shop", ["nightly"])
    snapshot = Ailment(
        "old_snapshot",
        "session 4711 (psql, role shop) holds the oldest snapshot",
        TERMINATE,
        clock.now() - 2 * MINUTE,
    )
    facts = {
        "oldest_snapshot": {"held_by": "session 4711", "seconds": 120.0, "pid": 4711},
        "live_rows": 7,
        "dead_rows": 0,
        "bytes": 90_000,
        "last_autovacuum": None,
    }
    tables = [TableSize("background_jobs", 7, 0, 90_000, None)]
    monkeypatch.setattr(made, "health", lambda: Health(facts, [snapshot], tables))
    return made


@pytest.fixture
def place(browser: webdriver.Chrome, adapter: MemoryAdapter) -> Iterator[str]:
    application = jobqueue.web.app(lambda _: ("ann", "admin"), queue=JobQueue(adapter))
    with served(application) as url:
        yield url.replace("127.0.0.1", "localhost")
        browser.get("about:blank")  # or its connections would keep the server


def trouble(browser: webdriver.Chrome, words: str) -> webdriver.remote.webelement.WebElement:
    """The one trouble on Now that has some words in it."""
    found = browser.find_elements(By.CSS_SELECTOR, ".trouble")
    [one] = [element for element in found if words in element.text]
    return one


def press(browser: webdriver.Chrome, words: str, button: str) -> None:
    """Press a button of a trouble, and wait for the page that comes then."""
    one = button_of(browser, words, button)
    one.click()
    WebDriverWait(browser, PATIENCE_SECONDS, 0.05).until(staleness_of(one))


def button_of(
    browser: webdriver.Chrome, words: str, button: str
) -> webdriver.remote.webelement.WebElement:
    found = trouble(browser, words).find_elements(By.CSS_SELECTOR, "button, .button")
    [one] = [element for element in found if element.text == button]
    return one


def text_of(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "main").text


def mend_all(browser: webdriver.Chrome, place: str, adapter: MemoryAdapter) -> None:
    """Find each trouble from Now alone, and mend it from there."""
    browser.get(place)
    assert "6 things need your attention" in text_of(browser)

    assert "by ben: the mail server is down" in trouble(browser, "queue email is paused").text
    press(browser, "queue email is paused", "Resume it")
    assert adapter.paused_queues() == set()
    assert "The queue email is resumed." in text_of(browser)

    assert "jobqueue work -n sms:1" in trouble(browser, "takes from the queue sms").text
    adapter.register_worker(replace(new_worker("w2"), queues=("sms",), lease=1000 * MINUTE))

    assert "did not run" in trouble(browser, "nightly").text
    press(browser, "nightly", "Run it now")
    assert len(adapter.list_jobs(JobFilter(handlers=("Report",)), 10)) == 1

    assert "new with release 2.0" in trouble(browser, "bank.Declined").text
    press(browser, "bank.Declined", "Mute it")
    assert ".Declined" not in browser.find_element(By.CSS_SELECTOR, ".troubles").text

    assert TERMINATE in trouble(browser, "holds the oldest snapshot").text

    press(browser, "Charge #1 has run", "Ask where it is")
    assert "there is no answer yet" in trouble(browser, "Charge #1 has run").text
    adapter.answer_with_stacks(WORKER, [Stack("t", ("jobs.py:41 in pay",), 1, "Charge")])


def test_each_trouble_is_found_and_mended_from_now(
    browser: webdriver.Chrome, place: str, adapter: MemoryAdapter
) -> None:
    look(browser, "light")
    mend_all(browser, place, adapter)
    wait_for(browser, "!!window.htmx")
    browser.execute_script(SEEN)  # as after five seconds
    wait_for(browser, "document.querySelector('.stuck pre')?.textContent === 'jobs.py:41 in pay'")
    button_of(browser, "Charge #1 has run", "Cancel it…").click()
    browser.find_element(By.ID, "cancel-reason-1").send_keys("it hangs", Keys.ENTER)
    wait_for(browser, "!!document.querySelector('.said')")
    job = adapter.get(1)
    assert job is not None
    assert job.cancel_requested_at is not None
    assert messages(browser) == []


def test_the_same_without_javascript(
    browser: webdriver.Chrome, place: str, adapter: MemoryAdapter
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        mend_all(browser, place, adapter)
        browser.refresh()
        assert "jobs.py:41 in pay" in trouble(browser, "Charge #1 has run").text
        press(browser, "holds the oldest snapshot", "See the database")
        assert TERMINATE in text_of(browser)
        assert "background_jobs" in text_of(browser)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_why_a_queue_is_late_by_keyboard(
    browser: webdriver.Chrome, place: str, adapter: MemoryAdapter
) -> None:
    look(browser, "light")
    browser.get(f"{place}/queues/email")
    why = browser.find_element(By.CSS_SELECTOR, ".why")
    assert "The queue email is paused by ben: the mail server is down" in why.text
    assert "The database is ill" in why.text
    others = why.find_element(By.CSS_SELECTOR, "#why-others summary")
    others.send_keys(Keys.ENTER)
    assert "1 living worker takes from email." in why.text
    browser.find_element(By.ID, "resume-reason").send_keys("it is back", Keys.ENTER)
    wait_for(browser, "!!document.querySelector('.said')")
    assert adapter.paused_queues() == set()
    assert "is paused" not in browser.find_element(By.CSS_SELECTOR, ".why").text
    browser.find_element(By.TAG_NAME, "body").send_keys("g", "d")
    wait_for(browser, "location.pathname === '/database'")
    assert messages(browser) == []


def test_axe_and_the_console_have_nothing_to_say(
    browser: webdriver.Chrome, place: str, adapter: MemoryAdapter
) -> None:
    adapter.ask_for_stacks(WORKER, "ann")
    adapter.answer_with_stacks(WORKER, [Stack("t", ("jobs.py:41 in pay",), 1, "Charge")])
    axe, wrong = AXE.read_text(), []
    for path in ("/", "/queues/email", "/queues/payments", "/jobs/2", "/database"):
        browser.get(place + path)
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        browser.execute_script(axe)
        for size in SIZES:
            look(browser, size)
            wrong += [(path, size, found) for found in browser.execute_async_script(RUN_AXE)]
            if browser.execute_script("return document.body.scrollWidth > innerWidth"):
                wrong.append((path, size, "it is wider than the screen"))
        wrong += [(path, "console", text) for text in messages(browser)]
    assert not wrong, json.dumps(wrong, indent=1)
