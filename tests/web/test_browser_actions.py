"""Every action of the pages in a browser: by mouse, by the keyboard, and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from jobqueue.clock import ManualClock
from jobqueue.records import (
    ActionFilter,
    ActionKind,
    ActionRecord,
    ActionState,
    ErrorState,
    JobFilter,
    JobState,
    NewJob,
    member_of,
)
from jobqueue.web.dashboard.table import FORM_ACTIONS
from tests.web.browser import browser, messages, wait_for_text
from tests.web.shop import WORKER, Refund, Shop, shop
from tests.web.test_browser import place
from tests.web.test_browser_changes import find, on_a_tall_desk, until

__all__ = ["browser", "on_a_tall_desk", "place"]
pytestmark = [
    pytest.mark.needs("chromium", "chromedriver"),
    pytest.mark.timeout(300),
]
WHY = "the bank is back"
SCHEDULE = "?app=shop&name=daily"


@dataclass(frozen=True)
class Scene:
    """An action: where its form is, and what is true when it was sent.

    Args:
        page: the path of its page, with the names of the shop's things in braces.
        is_done: whether the action has happened.
        prepare: what has to be so before.
        form: the path that its form is sent to; by default that of the action.
        first: the path of another form on that page, which leads to it.
    """

    page: str
    is_done: Callable[[Shop], bool]
    prepare: Callable[[Shop], object] = lambda _: None
    form: str | None = None
    first: str | None = None


def state_is(which: str, state: JobState | None) -> Callable[[Shop], bool]:
    def is_so(seen: Shop) -> bool:
        job = seen.adapter.get(getattr(seen, which))
        return (None if job is None else job.state) == state

    return is_so


def is_asked_to_end(seen: Shop) -> bool:
    job = seen.adapter.get(seen.running)
    return job is not None and job.cancel_requested_at is not None


def errors_are(state: ErrorState) -> Callable[[Shop], bool]:
    def is_so(seen: Shop) -> bool:
        group = seen.adapter.error_group(seen.error_key)
        return group is not None and group.state is state

    return is_so


def is_paused(queue: str, paused: bool) -> Callable[[Shop], bool]:
    return lambda seen: (queue in seen.adapter.paused_queues()) is paused


def action_is(state: ActionState) -> Callable[[Shop], bool]:
    def is_so(seen: Shop) -> bool:
        action = seen.adapter.action(seen.action)
        return action is not None and action.state is state

    return is_so


def last(seen: Shop) -> ActionRecord:
    return seen.adapter.actions(ActionFilter(), 1)[0]


def last_is(kind: ActionKind) -> Callable[[Shop], bool]:
    return lambda seen: last(seen).kind == kind and last(seen).id != seen.action


def schedule_is_paused(paused: bool) -> Callable[[Shop], bool]:
    def is_so(seen: Shop) -> bool:
        [daily] = [one for one in seen.adapter.schedules("shop") if one.name == "daily"]
        return (daily.paused_at is not None) is paused

    return is_so


def pause_schedule(seen: Shop) -> None:
    seen.adapter.pause_schedule("shop", "daily")


def ran(seen: Shop) -> bool:
    return bool(seen.adapter.count_jobs(JobFilter(queues=("reports",))))


def let_days_pass(seen: Shop) -> None:
    """The daily schedule has not run since."""
    seen.clock.advance(timedelta(days=3).total_seconds())
    seen.adapter.renew_schedules("shop", ["daily"])


def was_asked_again(seen: Shop) -> bool:
    stacks = seen.adapter.stacks_of(WORKER)
    return stacks is not None and stacks.asked_by == "ann"


def has_new_arguments(seen: Shop) -> bool:
    job = seen.adapter.get(seen.editable)
    return job is not None and job.args == {"why": WHY}


def is_as_before(seen: Shop) -> bool:
    job = seen.adapter.get(seen.editable)
    return job is not None and job.args == {"why": "card declined"}


def is_enqueued(seen: Shop) -> bool:
    refunds = JobFilter(handlers=(Refund.name,), states=(JobState.READY,))
    return bool(seen.adapter.count_jobs(refunds))


def mute(seen: Shop) -> None:
    seen.adapter.set_error_state(seen.error_key, ErrorState.MUTED, "bob")


def stop(seen: Shop) -> None:
    seen.adapter.stop_action(seen.action)


def add_to_flow(seen: Shop) -> None:
    seen.adapter.enqueue([member_of(NewJob("Work", "{}", "later", 50, 5), seen.flow)])


def add_cancelled_to_flow(seen: Shop) -> None:
    add_to_flow(seen)
    seen.adapter.cancel(JobFilter(flows=(seen.flow,)), "no")


def flow_is_cancelled(seen: Shop) -> bool:
    flow = seen.adapter.flow(seen.flow)
    return flow is not None and flow.cancelled_at is not None


def flow_waits_again(seen: Shop) -> bool:
    flow = seen.adapter.flow(seen.flow)
    return flow is not None and flow.jobs == {JobState.GATED: 1}


def limit_is_set(seen: Shop) -> bool:
    return [limit.reason for limit in seen.adapter.limits()] == [WHY]


CHANGE = "/errors/{error_key}/change?do="
SCENES = {
    "now-queues-resume": Scene("/", is_paused("email", False), form="/now/queues/email/resume"),
    "now-workers-stacks": Scene("/", was_asked_again, form="/now/workers/{worker}/stacks"),
    "now-jobs-cancel": Scene("/", is_asked_to_end, form="/now/jobs/{running}/cancel"),
    "now-errors-mute": Scene(
        "/", errors_are(ErrorState.MUTED), form="/now/errors/{error_key}/mute"
    ),
    "now-schedules-run": Scene("/", ran, let_days_pass, form="/now/schedules/run"),
    "jobs-retry": Scene("/jobs/{failed}", state_is("failed", JobState.READY)),
    "jobs-cancel": Scene("/jobs/{ready}", state_is("ready", JobState.CANCELLED)),
    "jobs-delete": Scene("/jobs/{failed}", state_is("failed", None)),
    "jobs-edit": Scene("/jobs/{editable}/edit", is_as_before, form="/jobs/{editable}/edit"),
    "jobs-edit-retry": Scene(
        "/jobs/{editable}/edit",
        has_new_arguments,
        form="/jobs/{editable}/edit/retry",
        first="/jobs/{editable}/edit",
    ),
    "enqueue": Scene(f"/enqueue?name={Refund.name}", is_enqueued),
    "jobs-change": Scene("/jobs/change?do=retry&id={failed}", last_is(ActionKind.RETRY)),
    "errors-retry": Scene(f"{CHANGE}retry", last_is(ActionKind.RETRY)),
    "errors-cancel": Scene(
        f"{CHANGE}cancel",
        last_is(ActionKind.CANCEL),
        lambda seen: seen.adapter.retry(JobFilter(ids=(seen.failed,))),
    ),
    "activity-stop": Scene("/activity/{action}", action_is(ActionState.STOPPED)),
    "activity-resume": Scene("/activity/{action}", action_is(ActionState.RUNNING), stop),
    "queues-pause": Scene("/queues/payments", is_paused("payments", True)),
    "queues-resume": Scene("/queues/email", is_paused("email", False)),
    "errors-mute": Scene("/errors/{error_key}", errors_are(ErrorState.MUTED)),
    "errors-resolve": Scene("/errors/{error_key}", errors_are(ErrorState.RESOLVED)),
    "errors-reopen": Scene("/errors/{error_key}", errors_are(ErrorState.OPEN), mute),
    "workers-stacks": Scene("/workers/{worker}", was_asked_again),
    "schedule-pause": Scene(f"/schedule{SCHEDULE}", schedule_is_paused(True)),
    "schedule-resume": Scene(f"/schedule{SCHEDULE}", schedule_is_paused(False), pause_schedule),
    "schedule-run": Scene(f"/schedule{SCHEDULE}", ran),
    "flows-cancel": Scene("/flows/{flow}", flow_is_cancelled, add_to_flow),
    "flows-retry": Scene("/flows/{flow}", flow_waits_again, add_cancelled_to_flow),
    "limit-set": Scene("/limit?name=charges", limit_is_set),
}
WAYS = ("mouse", "keyboard", "without JavaScript")


@pytest.fixture
def shown() -> Shop:
    return shop(ManualClock(datetime.now(UTC)))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, browser: webdriver.Chrome) -> Iterator[str]:
    is_off = request.param == "without JavaScript"
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": is_off})
    yield request.param
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def filled(path: str, seen: Shop) -> str:
    names = ("failed", "running", "ready", "editable", "error_key", "action", "flow")
    return path.format(worker=WORKER, **{name: getattr(seen, name) for name in names})


def press(element: WebElement, way: str) -> None:
    if way == "keyboard":
        assert element.get_attribute("tabindex") != "-1", "nobody comes to it by Tab"
        element.send_keys(Keys.ENTER)
    else:
        element.click()


def send(browser: webdriver.Chrome, path: str, way: str) -> None:
    """Fill the form that is sent to a path, and send it."""
    form = find(browser, f'form[action$="{path}"], form[action*="{path}?"]')
    for details in form.find_elements(By.XPATH, "ancestor::details[not(@open)]"):
        press(details.find_element(By.TAG_NAME, "summary"), way)
    for field in form.find_elements(By.CSS_SELECTOR, "input[name='reason'], [name^='arg.']"):
        if field.is_displayed():
            field.clear()
            field.send_keys(WHY)
    press(form.find_element(By.CSS_SELECTOR, "button:not([type='button'])"), way)


def test_every_action_has_a_scene() -> None:
    assert list(SCENES) == [action.word for action in FORM_ACTIONS]


@pytest.mark.parametrize("word", SCENES)
def test_an_action(browser: webdriver.Chrome, place: str, shown: Shop, way: str, word: str) -> None:
    scene = SCENES[word]
    [action] = [one for one in FORM_ACTIONS if one.word == word]
    scene.prepare(shown)
    browser.get(place + filled(scene.page, shown))
    if scene.first is not None:
        send(browser, filled(scene.first, shown), way)
        wait_for_text(browser, WHY)
    form = scene.form or _path_of(action.path)
    send(browser, filled(form, shown), way)
    until(browser, lambda: scene.is_done(shown))
    said = action.said.partition("{")[0] or "Nothing is changed yet"
    wait_for_text(browser, said)
    if scene.is_done(shown) and "reason" in (action.body.model_fields if action.body else {}):
        reason = last(shown).reason
        assert reason == WHY or word.startswith("now-")
    assert messages(browser) == []


def _path_of(path: str) -> str:
    """The path of a form, without what names a thing: its page has no other form for the same."""
    return "/" + path.rpartition("/")[2] if "{" in path else path
