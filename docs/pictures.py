"""Takes the pictures in docs/pictures from the running demo, in four minutes: `make pictures`.

It needs chromium and chromium-driver, in the same version.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.needs import find

PROJECT = Path(__file__).resolve().parents[1]
PICTURES = PROJECT / "docs" / "pictures"
SECONDS_OF_HISTORY = 200
WIDTH, HEIGHT, TALLEST = 1200, 800, 1700
PHONE_WIDTH = 390
PAGES = {
    "now": "/",
    "jobs": "/jobs?q=state:ready+queue:payments",
    "queue": "/queues/printer",
    "errors": "/errors",
    "class": "/class?name=jobs.ChargeCard",
    "workers": "/workers",
    "schedules": "/schedules",
    "database": "/database",
    "activity": "/activity",
    "enqueue": "/enqueue?name=jobs.ImportCatalogue",
}


def main() -> None:
    """Run the demo for a while, and take a picture of each page."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        _demo(Path(folder)) as place,
        _browser() as browser,
    ):
        time.sleep(SECONDS_OF_HISTORY)
        pages = {**PAGES, "job": _path_of_a_failed_job(place), "error": _path_of_an_error(place)}
        for name, path in sorted(pages.items()):
            _take(browser, place + path, name, WIDTH, "light")
        _take(browser, place, "now-dark", WIDTH, "dark")
        _take(browser, place, "now-phone", PHONE_WIDTH, "light")


@contextmanager
def _demo(folder: Path) -> Iterator[str]:
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder / 'shop.sqlite3'}",
        "PORT": "0",
        "BROWSER": "none",
    }
    log = folder / "log"
    # A copy, so that no traceback in a picture has a path of whoever took it.
    shop = shutil.copytree(PROJECT / "examples" / "shop", folder / "shop")
    demo = shop / "demo.py"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(demo)], env=environment, stdout=out, stderr=out
        )
    try:
        while not (found := re.search(r"Serving (\S+)", log.read_text())):
            time.sleep(0.2)
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@contextmanager
def _browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = find("chromium")
    service = webdriver.ChromeService(executable_path=find("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


def _take(browser: webdriver.Chrome, url: str, name: str, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < WIDTH}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(url)
    time.sleep(1)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    metrics["height"] = min(height, TALLEST)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.save_screenshot(str(PICTURES / f"{name}.png"))
    print(f"docs/pictures/{name}.png")


def _path_of_a_failed_job(place: str) -> str:
    query = urllib.parse.urlencode({"q": "job:SyncStock attempts:1", "limit": 1})
    return f"/jobs/{_answer(f'{place}/api/jobs?{query}')['jobs'][0]['id']}"


def _path_of_an_error(place: str) -> str:
    errors = _answer(f"{place}/api/errors")["errors"]
    return f"/errors/{next(e['key'] for e in errors if 'SyncStock' in e['name'])}"


def _answer(url: str) -> dict[str, list[dict[str, str]]]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: dict[str, list[dict[str, str]]] = json.load(answer)
        return found


if __name__ == "__main__":
    main()
