"""The page of a job in a real browser: it follows the job, and leads to its copies and changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.clock import ManualClock
from jobqueue.records import JobState
from tests.web.browser import browser, look, messages, wait_for, wait_for_text
from tests.web.conftest import served
from tests.web.shop import Shop, shop

__all__ = ["browser"]
pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.timeout(300)]


@pytest.fixture
def shown() -> Shop:
    return shop(ManualClock(datetime.now(UTC)))


@pytest.fixture
def place(browser: webdriver.Chrome, shown: Shop) -> Iterator[str]:
    application: Any = jobqueue.web.app(lambda _: ("ann", "admin"), queue=JobQueue(shown.adapter))
    with served(application) as url:
        look(browser, "light")
        yield url.replace("127.0.0.1", "localhost")
        browser.get("about:blank")


def test_the_page_follows_the_progress_of_its_job(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    # The timer that refreshes every page is not waited for.
    no_timer = {"source": "window.setInterval = () => 0"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", no_timer)
    browser.get(f"{place}/jobs/{shown.running}")
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    wait_for(browser, "!!window.htmx && document.querySelector('progress').value === 0.4")
    job = shown.adapter.get(shown.running)
    assert job is not None
    job.set_progress(0.9, "nearly there")
    wait_for(browser, "document.querySelector('progress').value === 0.9")
    assert "nearly there" in browser.find_element(By.TAG_NAME, "main").text
    assert messages(browser) == []


def test_arguments_are_changed_without_javascript(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{place}/jobs/{shown.editable}")
        browser.find_element(By.LINK_TEXT, "Retry with other arguments…").click()
        wait_for_text(browser, "until you have seen")
        field = browser.find_element(By.ID, "arg.why")
        field.clear()
        field.send_keys("the parcel was lost")
        browser.find_element(By.CSS_SELECTOR, "#edit button").click()
        wait_for_text(browser, "the parcel was lost")
        assert "card declined" in browser.find_element(By.TAG_NAME, "main").text
        browser.find_element(By.CSS_SELECTOR, "#confirm button").click()
        wait_for_text(browser, "has its new arguments")
        job = shown.adapter.get(shown.editable)
        assert job is not None
        assert (job.state, job.args) == (JobState.READY, {"why": "the parcel was lost"})
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
