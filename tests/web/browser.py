"""A browser for the tests of pages, and what they ask of it. One serves all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.needs import require

PATIENCE_SECONDS = 20
SIZES = {"light": (1280, 900, "light"), "dark": (1280, 900, "dark"), "phone": (390, 844, "light")}


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = require("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=require("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def messages(browser: webdriver.Chrome) -> list[str]:
    """What is on the console since the last call, but for that a page was not found."""
    found = [entry["message"] for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    return [text for text in found if "404 (Not Found)" not in text]


def look(browser: webdriver.Chrome, size: str) -> None:
    width, height, scheme = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def wait_for(browser: webdriver.Chrome, script: str) -> None:
    WebDriverWait(browser, PATIENCE_SECONDS, 0.05).until(
        lambda driver: driver.execute_script(f"return {script}"), f"until {script}"
    )


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    """Wait for a page that says something; without JavaScript too."""
    WebDriverWait(
        browser,
        PATIENCE_SECONDS,
        0.05,
        (NoSuchElementException, StaleElementReferenceException),
    ).until(lambda driver: text in driver.find_element(By.TAG_NAME, "main").text, text)
