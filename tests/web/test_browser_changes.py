"""Changes to many jobs in a real browser: by mouse, keys, without JavaScript, and in two tabs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from jobqueue import JobQueue
from jobqueue.bulk import run_action
from jobqueue.canary import canary_of
from jobqueue.records import ActionFilter, ActionRecord, ActionState, ErrorState, JobState
from tests.web.browser import PATIENCE_SECONDS, browser, messages, wait_for, wait_for_text
from tests.web.shop import Shop
from tests.web.test_browser import place, shown

__all__ = ["browser", "place", "shown"]
pytestmark = [
    pytest.mark.needs("chromium", "chromedriver"),
    pytest.mark.timeout(300),
]
SEEN = "document.dispatchEvent(new Event('visibilitychange'))"
"""What the timer does every five seconds is done too when the tab becomes visible."""


@pytest.fixture
def without_scripts(browser: webdriver.Chrome) -> Iterator[None]:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.fixture(autouse=True)
def on_a_tall_desk(browser: webdriver.Chrome) -> None:
    """Nothing is below the bar of buttons, to which one would have to scroll."""
    metrics = {"width": 1280, "height": 1800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def click(browser: webdriver.Chrome, selector: str) -> None:
    find(browser, selector).click()


def find(browser: webdriver.Chrome, selector: str) -> WebElement:
    """An element, which may be on a page that is on its way."""
    wait = WebDriverWait(browser, PATIENCE_SECONDS, 0.05)
    return wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, selector))


def until(browser: webdriver.Chrome, holds: Callable[[], bool]) -> None:
    """Wait until something holds that a form brings about: a browser does not wait for it."""
    WebDriverWait(browser, PATIENCE_SECONDS, 0.05).until(lambda _: holds())


def keys(browser: webdriver.Chrome, *pressed: str) -> None:
    browser.switch_to.active_element.send_keys(*pressed)


def box(job_id: int) -> str:
    return f'.pick input[value="{job_id}"]'


def last_action(seen: Shop) -> ActionRecord:
    return seen.adapter.actions(ActionFilter(), 1)[0]


def carry_out(seen: Shop) -> None:
    """Carry out all actions that wait, as a worker does."""
    while (action := seen.adapter.take_over_action("w")) is not None:
        run_action(seen.adapter, action, JobQueue(seen.adapter).ends)


def state_of(seen: Shop, job_id: int) -> JobState | None:
    record = seen.adapter.get(job_id)
    return None if record is None else record.state


# --- jobs -----------------------------------------------------------------------------------------


def test_jobs_are_selected_and_deleted_by_mouse(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs")
    click(browser, box(shown.failed))
    click(browser, box(shown.succeeded))
    assert browser.find_element(By.ID, "selected").text == "The 2 selected"
    click(browser, '#change [value="delete"]')
    wait_for_text(browser, "Delete 2 jobs?")
    assert state_of(shown, shown.failed) is JobState.FAILED
    browser.find_element(By.ID, "reason").send_keys("tests of yesterday")
    click(browser, "#confirm button")
    wait_for_text(browser, "has begun")
    assert last_action(shown).reason == "tests of yesterday"
    carry_out(shown)
    assert (state_of(shown, shown.failed), state_of(shown, shown.succeeded)) == (None, None)
    assert messages(browser) == []


def test_jobs_are_selected_and_retried_by_keys(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs?q=state:failed,cancelled,ready")
    wait_for(browser, "document.getElementById('select-page')?.hidden === false")
    browser.find_element(By.TAG_NAME, "body").send_keys("j", "j", "j", "k")
    second = browser.execute_script("return document.querySelectorAll('#live tbody tr')[1].id")
    assert browser.execute_script("return document.activeElement.closest('tr').id") == second
    keys(browser, "x")
    assert browser.find_element(By.ID, "selected").text == "The 1 selected"
    keys(browser, "x", "j", "x", "k", "k", "x")
    assert browser.find_element(By.ID, "selected").text == "The 2 selected"
    keys(browser, "r")
    wait_for(browser, "location.pathname === '/jobs/change'")
    wait_for_text(browser, "Retry 2 jobs?")
    browser.find_element(By.ID, "reason").send_keys("again", Keys.ENTER)
    wait_for(browser, "location.pathname.startsWith('/activity/')")
    assert (last_action(shown).kind, last_action(shown).reason) == ("retry", "again")
    assert messages(browser) == []


def test_the_row_at_hand_is_meant_if_none_is_selected(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs?q=state:failed")
    browser.find_element(By.TAG_NAME, "body").send_keys("j", "r")
    wait_for(browser, "location.pathname === '/jobs/change'")
    wait_for_text(browser, "Retry 1 job?")


def test_all_of_a_page_are_selected_at_once(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs?q=queue:email")
    click(browser, "#select-page")
    assert browser.find_element(By.ID, "selected").text == "The 12 selected"
    click(browser, ".pick input[name=id]")
    assert not browser.find_element(By.ID, "select-page").is_selected()
    assert browser.find_element(By.ID, "selected").text == "The 11 selected"


def test_nothing_is_refreshed_while_jobs_are_selected(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs")
    wait_for(browser, "!!window.htmx")
    requests = "performance.getEntriesByType('resource').map(e => e.initiatorType)"
    count = f"{requests}.filter(t => t === 'xmlhttprequest').length"
    click(browser, box(shown.failed))
    browser.execute_script(SEEN)
    assert browser.execute_script(f"return {count}") == 0
    click(browser, box(shown.failed))
    browser.execute_script(SEEN)
    wait_for(browser, f"{count} === 1")


def test_all_that_match_are_cancelled_without_javascript(
    browser: webdriver.Chrome, place: str, shown: Shop, without_scripts: None
) -> None:
    browser.get(f"{place}/jobs")
    assert not browser.find_element(By.CSS_SELECTOR, '[name="of"][value="all"]').is_enabled()
    browser.find_element(By.ID, "q").send_keys("queue:email", Keys.ENTER)
    find(browser, ".words a")
    click(browser, '[name="of"][value="all"]')
    click(browser, '#change [value="cancel"]')
    wait_for_text(browser, "Cancel 12 jobs?")
    browser.find_element(By.ID, "reason").send_keys("the campaign is over")
    click(browser, "#confirm button")
    wait_for_text(browser, "0 changed, 12 left.")
    click(browser, "form[action$='/stop'] button")
    wait_for_text(browser, "stopped")
    assert last_action(shown).state is ActionState.STOPPED
    click(browser, "form[action$='/resume'] button")
    until(browser, lambda: last_action(shown).state is ActionState.RUNNING)
    carry_out(shown)
    browser.refresh()
    wait_for_text(browser, "12 jobs were changed")


def test_selected_jobs_are_retried_without_javascript(
    browser: webdriver.Chrome, place: str, shown: Shop, without_scripts: None
) -> None:
    browser.get(f"{place}/jobs?q=state:failed+queue:payments")
    click(browser, box(shown.failed))
    click(browser, '#change [value="retry"]')
    click(browser, "#confirm button")
    wait_for_text(browser, "has begun")
    carry_out(shown)
    assert state_of(shown, shown.failed) is JobState.READY
    browser.get(f"{place}/jobs?q=state:failed+queue:payments")
    click(browser, ".words a")  # of state:failed
    assert browser.find_element(By.ID, "q").get_attribute("value") == "queue:payments"


def test_nothing_is_changed_by_going_back(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    before = len(shown.adapter.actions(ActionFilter(), 10))
    browser.get(f"{place}/jobs/change?do=delete&of=all&q=state:failed")
    browser.find_element(By.LINK_TEXT, "Change nothing").click()
    wait_for(browser, "location.pathname === '/jobs'")
    assert browser.find_element(By.ID, "q").get_attribute("value") == "state:failed"
    assert len(shown.adapter.actions(ActionFilter(), 10)) == before


# --- errors ---------------------------------------------------------------------------------------


def test_all_jobs_of_a_group_are_retried_by_mouse(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/errors")
    click(browser, f"#error-{shown.error_key} a")
    wait_for_text(browser, "Retry all…")
    browser.find_element(By.LINK_TEXT, "Retry all…").click()
    wait_for_text(browser, "Retry 1 job?")
    click(browser, "#confirm button")
    wait_for_text(browser, "has begun")
    carry_out(shown)
    assert state_of(shown, shown.failed) is JobState.READY
    assert messages(browser) == []


@pytest.mark.parametrize(
    ("word", "state"), [("resolve", ErrorState.RESOLVED), ("mute", ErrorState.MUTED)]
)
def test_errors_are_resolved_and_muted_with_a_reason_by_keys(
    browser: webdriver.Chrome, place: str, shown: Shop, word: str, state: ErrorState
) -> None:
    browser.get(f"{place}/errors")
    browser.find_element(By.TAG_NAME, "body").send_keys("j", Keys.ENTER)
    wait_for(browser, f"!!document.getElementById('{word}')")
    browser.find_element(By.CSS_SELECTOR, f"#{word} summary").send_keys(Keys.ENTER)
    browser.find_element(By.ID, f"{word}-reason").send_keys("see 4711", Keys.ENTER)
    wait_for(browser, "!!document.querySelector('.said')")
    record = shown.adapter.error_group(shown.error_key)
    assert record is not None
    assert (record.state, last_action(shown).reason) == (state, "see 4711")


def test_errors_are_resolved_and_their_jobs_retried_without_javascript(
    browser: webdriver.Chrome, place: str, shown: Shop, without_scripts: None
) -> None:
    browser.get(f"{place}/errors/{shown.error_key}")
    browser.find_element(By.LINK_TEXT, "Retry all…").click()
    find(browser, "#reason").send_keys("mended")
    click(browser, "#confirm button")
    wait_for_text(browser, "has begun")
    assert last_action(shown).reason == "mended"
    browser.get(f"{place}/errors/{shown.error_key}")
    click(browser, "#resolve summary")
    click(browser, "#resolve button")
    wait_for_text(browser, "resolved")


def test_a_canary_is_begun_by_mouse(browser: webdriver.Chrome, place: str, shown: Shop) -> None:
    browser.get(f"{place}/errors/{shown.error_key}/change?do=retry")
    click(browser, '[name="how"][value="canary"]')
    browser.find_element(By.ID, "first").clear()
    browser.find_element(By.ID, "first").send_keys("1")
    click(browser, "#confirm button")
    wait_for_text(browser, "First 1 job is retried.")
    assert last_action(shown).kind == "canary retry"
    assert messages(browser) == []


def test_a_canary_is_begun_by_keys_without_javascript(
    browser: webdriver.Chrome, place: str, shown: Shop, without_scripts: None
) -> None:
    browser.get(f"{place}/errors/{shown.error_key}/change?do=retry")
    all_at_once = browser.find_element(By.CSS_SELECTOR, '[name="how"][value="all"]')
    all_at_once.send_keys(Keys.ARROW_DOWN, Keys.TAB, Keys.TAB, "5", Keys.ENTER)
    wait_for_text(browser, "First 10 jobs are retried.")
    canary = canary_of(last_action(shown).target)
    assert canary is not None
    assert (canary.number, canary.spread_seconds) == (10, 300)


# --- two tabs -------------------------------------------------------------------------------------


def test_a_second_tab_changes_what_the_first_one_shows(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/activity/{shown.action}")
    wait_for(browser, "!!window.htmx")
    browser.execute_script("window.isTheSamePage = true")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        browser.get(f"{place}/activity/{shown.action}")
        click(browser, "form[action$='/stop'] button")
        wait_for(browser, "!!document.querySelector('.said')")
    finally:
        browser.close()
        browser.switch_to.window(first)
    browser.execute_script(SEEN)
    wait_for(browser, "document.querySelector('h1 .state').textContent === 'stopped'")
    assert browser.execute_script("return window.isTheSamePage")
    click(browser, "form[action$='/resume'] button")
    wait_for(browser, "!!document.querySelector('.said')")
    carry_out(shown)
    browser.execute_script(SEEN)
    wait_for(browser, "document.querySelector('h1 .state').textContent === 'done'")
    wait_for_text(browser, "1 job was changed")
    assert messages(browser) == []


def test_a_list_of_jobs_follows_a_second_tab(
    browser: webdriver.Chrome, place: str, shown: Shop
) -> None:
    browser.get(f"{place}/jobs?q=state:failed+queue:payments")
    wait_for(browser, "!!window.htmx")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        browser.get(f"{place}/jobs/{shown.failed}")
        click(browser, "form[action$='/retry'] button")
        wait_for(browser, "!!document.querySelector('.said')")
    finally:
        browser.close()
        browser.switch_to.window(first)
    browser.execute_script(SEEN)
    wait_for(browser, f"!document.getElementById('job-{shown.failed}')")
    assert messages(browser) == []
