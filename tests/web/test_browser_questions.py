"""The question of each page, as somebody asks it: by the tabs and links of a browser."""

from __future__ import annotations

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.web.browser import browser, messages, wait_for_text
from tests.web.shop import CHARGE, WORKER, Shop
from tests.web.test_browser import place, shown
from tests.web.test_browser_changes import find, on_a_tall_desk

__all__ = ["browser", "on_a_tall_desk", "place", "shown"]
pytestmark = [
    pytest.mark.needs("chromium", "chromedriver"),
    pytest.mark.timeout(300),
]
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Is anything wrong, since when?": (
        ("Now",),
        ("things need your attention", "is lost: it has been silent for", "Began 30 min ago"),
    ),
    "Why is it late, when will it be empty?": (
        ("Queues", "email"),
        ("Why is it late?", "Paused", "Empty:", "Who occupies the slots"),
    ),
    "Where are this customer's jobs?": (("Jobs",), ("#1", CHARGE, "payments")),
    "What did 123 do?": (
        ("Jobs", "#2"),
        ("Timeline", "Attempt 1", "In your code", "card declined"),
    ),
    "What fails most, since which release?": (
        ("Errors",),
        ("bank.Declined", "card declined", "12"),
    ),
    "Did it get slower?": (
        ("Classes", CHARGE),
        ("Did it get slower?", "Run p95", "in each of the last 12 hours", "of the last 7 days"),
    ),
    "Which one is stuck?": (
        ("Workers", "payments.0"),
        ("possibly stuck", "p95 of its class", "Where it is in its code", "jobs.py:41"),
    ),
    "Did the nightly run?": (("Schedules", "daily"), ("The last ticks", "The next ticks")),
    "Is it the database?": (("Database",), ("The database is well",)),
    "Who paused this?": (("Activity",), ("card declined", "retry")),
    "A form from the types of perform": (("Enqueue", "shop.Refund"), ("why", "Enqueue it")),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_question_of_a_page(browser: webdriver.Chrome, place: str, question: str) -> None:
    clicks, answers = QUESTIONS[question]
    tab, *links = clicks
    browser.get(f"{place}/queues" if tab == "Now" else place)
    tabs = f"//header//nav//a[normalize-space()='{tab}']"
    browser.find_element(By.XPATH, tabs).click()
    for link in links:
        wait_for_text(browser, link)
        browser.find_element(By.CSS_SELECTOR, "main").find_element(By.LINK_TEXT, link).click()
    for answer in answers:
        wait_for_text(browser, answer)
    assert messages(browser) == []


def test_a_chart_is_a_table_too(browser: webdriver.Chrome, place: str) -> None:
    browser.get(f"{place}/class?name={CHARGE}")
    for summary in browser.find_elements(By.XPATH, "//figure//summary[.='As a table']"):
        summary.click()
    tables = browser.find_elements(By.CSS_SELECTOR, "figure details[open] table")
    captions = [
        table.find_element(By.TAG_NAME, "caption").get_attribute("textContent") for table in tables
    ]
    assert "Run times by hour" in captions
    assert "Run times by day" in captions
    assert all(table.is_displayed() for table in tables)
    by_day = tables[captions.index("Run times by day")].text
    assert " 20 " in by_day.replace("\n", " ")


def test_a_job_that_is_gone(browser: webdriver.Chrome, place: str, shown: Shop) -> None:
    shown.adapter.enqueue([])
    browser.get(f"{place}/jobs/4711")
    wait_for_text(browser, "Job 4711 is not there")
    find(browser, "a.button").click()
    wait_for_text(browser, CHARGE)


def test_what_is_missing_is_said_where_it_is_missing(
    browser: webdriver.Chrome, place: str, shown: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of which the database has not answered a part."""
    from jobqueue.errors import DatabaseUnavailable

    def too_late(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("it took too long")

    monkeypatch.setattr(shown.adapter, "samples", too_late, raising=False)
    browser.get(f"{place}/queues/payments")
    note = find(browser, "#unanswered")
    assert note.get_attribute("role") == "alert"
    assert "depths of queues over time" in note.text
    assert "Who occupies the slots" in find(browser, "main").text


def test_the_same_tomorrow(browser: webdriver.Chrome, place: str) -> None:
    browser.get(f"{place}/queues/payments")
    browser.find_element(By.CSS_SELECTOR, ".copies summary").click()
    browser.find_element(By.LINK_TEXT, "A link that means the same tomorrow").click()
    wait_for_text(browser, "Queue payments")
    assert "at=20" in browser.current_url
    assert messages(browser) == []


FOCUSABLE = """
return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, select')]
  .filter(e => e.checkVisibility() && !e.disabled && !e.closest('dialog')).length
"""
# A refresh keeps the elements, but not what was written on them.
FOCUSED = """
const element = document.activeElement;
(window.seen ??= new Set()).add(element);
return element === document.body
"""
SEEN = "return [...window.seen].filter(e => e.isConnected && e !== document.body).length"


@pytest.mark.parametrize("path", ["/", "/jobs/{failed}", "/queues/email", "/workers/{worker}"])
def test_all_that_can_be_pressed_is_reached_by_tab(
    browser: webdriver.Chrome, place: str, shown: Shop, path: str
) -> None:
    browser.get(place + path.format(failed=shown.failed, worker=WORKER))
    wanted = browser.execute_script(FOCUSABLE)
    for number in range(wanted + 20):
        if number % 10 == 5:  # as by itself every few seconds
            browser.execute_script("htmx.trigger(document.getElementById('live'), 'refresh')")
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.execute_script(FOCUSED):
            break
    assert browser.execute_script(SEEN) >= wanted > 10


def test_nothing_moves_by_itself(browser: webdriver.Chrome, place: str) -> None:
    """So nobody has to ask for less motion."""
    for path in ("/", "/jobs", "/queues/payments", f"/class?name={CHARGE}"):
        browser.get(place + path)
        assert browser.execute_script("return document.getAnimations().length") == 0
        moving = (
            "[...document.querySelectorAll('*')].map(e => getComputedStyle(e).transitionDuration)"
        )
        assert browser.execute_script(f"return {moving}.every(d => d === '0s')"), path
