"""The pages in a real browser: nothing on its console, nothing for axe, keys, and no JavaScript.

One browser serves all tests of a process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.clock import ManualClock
from jobqueue.records import JobState, NewJob
from tests.web.browser import SIZES, browser, look, messages, wait_for, wait_for_text
from tests.web.conftest import served
from tests.web.shop import Shop, shop
from tests.web.test_dashboard import HOSTILE, paths_of

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


@pytest.fixture
def place(browser: webdriver.Chrome, shown: Shop) -> Iterator[str]:
    with served(application(shown)) as url:
        yield url.replace("127.0.0.1", "localhost")
        browser.get("about:blank")  # or its connections would keep the server


@pytest.fixture
def shown() -> Shop:
    return shop(ManualClock(datetime.now(UTC)))


def application(seen: Shop) -> Any:
    return jobqueue.web.app(lambda _: ("ann", "admin"), queue=JobQueue(seen.adapter))


def test_axe_and_the_console_have_nothing_to_say_in_light_dark_and_on_a_phone(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    axe, wrong = AXE.read_text(), []
    for path in paths_of(shown):
        browser.get(place + path)
        browser.execute_script(axe)
        for size in SIZES:
            look(browser, size)
            wrong += [(path, size, found) for found in browser.execute_async_script(RUN_AXE)]
            if browser.execute_script("return document.body.scrollWidth > innerWidth"):
                wrong.append((path, size, "it is wider than the screen"))
        wrong += [(path, "console", text) for text in messages(browser)]
    assert not wrong, json.dumps(wrong, indent=1)


def test_hostile_texts_run_nothing(browser: webdriver.Chrome) -> None:
    hostile = shop(ManualClock(datetime.now(UTC)), HOSTILE, name=HOSTILE[:200])
    with served(application(hostile)) as url:
        look(browser, "phone")
        for path in paths_of(hostile):
            browser.get(url + path)  # an alert would make this, or what follows, fail
            assert messages(browser) == [], path
            assert browser.find_elements(By.CSS_SELECTOR, "img, main script, iframe") == []
            assert not browser.execute_script("return document.body.scrollWidth > innerWidth"), path
        assert browser.execute_script("return sessionStorage.length") == 0
        browser.get("about:blank")


def test_a_change_shows_by_itself_and_what_was_opened_stays_open(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    look(browser, "light")
    browser.get(f"{place}/queues/payments")
    wait_for(browser, "!!window.htmx")
    browser.execute_script("document.querySelector('#h-depth ~ figure details').open = true")
    browser.execute_script("window.isTheSamePage = true")
    shown.adapter.enqueue([NewJob("Late", "{}", "payments", 50, 5)] * 41)
    # What the timer does every five seconds is done too when the tab becomes visible.
    browser.execute_script("document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(browser, "document.querySelector('.numbers dd').textContent === '42'")
    assert browser.execute_script("return window.isTheSamePage")
    assert browser.execute_script("return document.querySelector('#h-depth ~ figure details').open")
    times = browser.execute_script("return document.querySelector('figcaption time').textContent")
    assert "UTC" in times or "GMT" in times
    assert messages(browser) == []


def test_nothing_is_refreshed_while_somebody_is_at_it(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/queues/payments")
    wait_for(browser, "!!window.htmx")
    requests = "performance.getEntriesByType('resource').map(e => e.initiatorType)"
    count = f"{requests}.filter(t => t === 'xmlhttprequest').length"
    seen = "document.dispatchEvent(new Event('visibilitychange'))"
    browser.find_element(By.CSS_SELECTOR, "#pause summary").click()
    browser.find_element(By.ID, "pause-reason").send_keys("because")
    browser.execute_script(seen)
    assert browser.execute_script(f"return {count}") == 0
    assert browser.find_element(By.ID, "pause-reason").get_attribute("value") == "because"
    browser.find_element(By.CSS_SELECTOR, "#pause button").click()
    wait_for(browser, "!!document.querySelector('.said')")
    assert shown.adapter.paused_queues() == {"email", "payments"}
    assert "said=" not in browser.current_url


def test_keys(browser: webdriver.Chrome, place: str) -> None:
    browser.get(place)
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("?")
    assert browser.find_element(By.ID, "keys").is_displayed()
    browser.find_element(By.CSS_SELECTOR, "#keys button").send_keys(Keys.ENTER)
    assert not browser.find_element(By.ID, "keys").is_displayed()
    for key, path in (("e", "/errors"), ("s", "/schedules"), ("q", "/queues"), ("n", "/")):
        browser.find_element(By.TAG_NAME, "body").send_keys("g", key)
        wait_for(browser, f"location.pathname === '{path}' && document.readyState === 'complete'")
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    wait_for(browser, "document.activeElement?.id === 'q'")
    browser.switch_to.active_element.send_keys("state:failed", Keys.ENTER)
    wait_for(browser, "location.search.includes('state')")


def test_light_and_dark_and_the_zone_are_chosen(browser: webdriver.Chrome, place: str) -> None:
    look(browser, "light")
    browser.get(place)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(f"return {ground}")
    button = browser.find_element(By.ID, "theme")
    button.click()
    assert browser.execute_script(f"return {ground}") == light
    button.click()
    dark = browser.execute_script(f"return {ground}")
    assert dark != light
    browser.get(f"{place}/jobs")
    assert browser.execute_script(f"return {ground}") == dark
    browser.find_element(By.ID, "zone").click()
    assert browser.find_element(By.ID, "zone").text == "UTC"
    browser.execute_script("localStorage.clear()")


def test_without_javascript(browser: webdriver.Chrome, place: str, shown: Shop) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(place)
        browser.find_element(By.LINK_TEXT, "Jobs").click()
        wait_for_text(browser, "Failed")
        browser.find_element(By.LINK_TEXT, "Failed").click()
        wait_for_text(browser, f"#{shown.failed}")
        browser.find_element(By.LINK_TEXT, f"#{shown.failed}").click()
        wait_for_text(browser, "Timeline")
        browser.find_element(By.CSS_SELECTOR, "form[action$='/retry'] button").click()
        wait_for_text(browser, f"Job {shown.failed} is due now.")
        browser.find_element(By.CSS_SELECTOR, "#cancel summary").click()
        browser.find_element(By.ID, "cancel-reason").send_keys("not needed")
        browser.find_element(By.CSS_SELECTOR, "#cancel button").click()
        wait_for_text(browser, "is cancelled, or asked to end")
        job = shown.adapter.get(shown.failed)
        assert job is not None
        assert (job.state, job.last_error) == (JobState.CANCELLED, "not needed")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
