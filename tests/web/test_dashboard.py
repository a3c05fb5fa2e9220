"""The pages of the dashboard: what they show, to whom, and how safely."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import jobqueue.web
from jobqueue import JobQueue
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.fingerprints import group_of
from jobqueue.records import (
    ActionFilter,
    ActionKind,
    DeclaredLimit,
    ErrorState,
    FlowKind,
    JobFilter,
    JobState,
    NewErrors,
    NewFlow,
    NewJob,
    NewSchedule,
    NewStep,
    NewWorker,
    Stat,
)
from jobqueue.web import Role, bearer_tokens
from jobqueue.web.access import Scope
from jobqueue.web.dashboard.dashboard import POLICY
from jobqueue.web.dashboard.login import COOKIE
from jobqueue.web.dashboard.rows import DashboardPage
from jobqueue.web.dashboard.static_files import FILES, hashed_name
from jobqueue.web.dashboard.table import FORM_ACTIONS, PAGES
from jobqueue.web.tokens import create_token
from tests.web.conftest import by_header, client_of
from tests.web.shop import CHARGE, WORKER, Refund, Shop, shop

HOSTILE = ("\"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}\u202e\x07&amp;'" * 40)[
    :2000
]
HTML = {"accept": "text/html,application/xhtml+xml"}
OWN = {**HTML, "sec-fetch-site": "same-origin"}
ROOTS = ["", "/ops/jobs"]
ASKED = {
    "schedule": "?app=shop&name=daily",
    "class": "?name={}",
    "limit": "?name=charges",
    "change": "?do=retry&of=all&q=state:failed",
}
"""What pages have to be asked, by the ends of their paths."""
URL = re.compile(r'(?:href|src|action|hx-get)="([^"]*)"')


def a_clock() -> ManualClock:
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def shown() -> Shop:
    return shop(a_clock())


@pytest.fixture
def hostile() -> Shop:
    return shop(a_clock(), HOSTILE, name=HOSTILE[:200])


@pytest.fixture
def client(shown: Shop) -> Iterator[TestClient]:
    with client_of(JobQueue(shown.adapter)) as made:
        made.headers.update(OWN)
        yield made


def paths_of(seen: Shop) -> list[str]:
    """The path of each page, and of some of its variants."""
    filled = [path_of(page, seen) for page in PAGES]
    more = ["/jobs?q=state:failed", "/jobs?q=nonsense:1", "/errors?state=all", "/login", "/nope"]
    jobs = [f"/jobs/{id_}" for id_ in (seen.succeeded, seen.running, seen.ready)]
    windows = [
        "/queues/payments?period=7d",
        "/classes?window=hour",
        "/queues/email",
        "/queues/none",
    ]
    return [*filled, *more, *jobs, *windows]


def path_of(page: DashboardPage, seen: Shop) -> str:
    """The path of a page, of something that is there."""
    return _filled(page.path, seen)


def _filled(path: str, seen: Shop) -> str:
    path = path.replace("/activity/{id:job_id}", f"/activity/{seen.action}")
    path = path.replace("/flows/{id:job_id}", f"/flows/{seen.flow}")
    path = path.replace("{id:job_id}/edit", f"{seen.editable}/edit")
    path = path.replace("{id:job_id}", str(seen.failed)).replace("{key}", seen.error_key)
    path = path.replace("{name}", "payments").replace("{id}", WORKER)
    return path + ASKED.get(path.rpartition("/")[2], "").format(CHARGE)


def form_path(action: Any, seen: Shop) -> str:
    path = _filled(action.path, seen).partition("?")[0]
    if "/limit/" in path:
        return f"{path}?name=charges"
    return f"{path}?app=shop&name=daily" if "/schedule" in path else path


def form_fields(action: Any, seen: Shop) -> dict[str, str]:
    """What a form has to say at least."""
    fields = {
        "/jobs/change": {"do": "retry", "ids": str(seen.failed)},
        "/enqueue": {"name": Refund.name, "arg.why": "late"},
        "/limit/set": {"number": "7", "reason": "more"},
    }
    return fields.get(action.path, {})


# --- what they show ------------------------------------------------------------------------------


def test_every_page_is_answered_with_the_headers_that_keep_it_safe(
    client: TestClient, shown: Shop
) -> None:
    for path in paths_of(shown):
        page = client.get(path)
        assert page.status_code in {200, 404}, (path, page.text)
        assert (page.status_code == 404) == (path == "/nope"), path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"] == POLICY
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "same-origin"
        assert "<h1" in page.text


def test_every_page_is_read_from_every_adapter(adapter: Adapter) -> None:
    adapter.register_worker(NewWorker(WORKER, "w", "web-1", 1, None, 4, timedelta(minutes=9), "1"))
    group = group_of("Work", "ValueError", "a.py:f", "no")
    adapter.add_errors([NewErrors(group, 2, "Traceback\nValueError: no", 1)], "1")
    adapter.add_stats(WORKER, [Stat("Work", "payments", 3, longest=timedelta(seconds=1))])
    [first, *_] = adapter.enqueue([NewJob("Work", '{"a": 1}', "payments", 50, 5)] * 3)
    rule = {"every_seconds": 60.0}
    adapter.declare_schedules("a", [NewSchedule("Work", "R", "{}", rule, False, "default", 50, 5)])
    [known] = adapter.enqueue([NewJob(Refund.name, "{}", "refunds", 50, 5)])
    adapter.cancel(JobFilter(ids=(known.id,)), "no")
    adapter.declare_limits([DeclaredLimit("Work", 1)])
    flow_id, _ = adapter.start_flow(
        NewFlow(FlowKind.CHAIN), [NewStep(NewJob("Work", "{}", "later", 50, 5))]
    )
    with client_of(JobQueue(adapter)) as client:
        client.headers.update(OWN)
        assert client.post("/queues/payments/pause", data={"reason": "x"}).status_code == 200
        [paused] = adapter.actions(ActionFilter(), 1)
        for page in PAGES:
            path = page.path.replace("/flows/{id:job_id}", f"/flows/{flow_id}")
            path = path.replace("{id:job_id}/edit", f"{known.id}/edit")
            path = path.replace("{id:job_id}", str(first.id)).replace("{key}", group.key)
            path = path.replace("{name}", "payments").replace("{id}", WORKER)
            path = re.sub(r"/activity/\d+", f"/activity/{paused.id}", path)
            name = "" if path == "/enqueue" else "Work"
            answer = client.get(f"{path}?name={name}&q=state:ready&do=retry&of=all")
            assert answer.status_code == 200, (path, answer.text)
        assert "paused by ann: x. 3 jobs are due." in plain(client.get("/").text)
        assert client.post(f"/jobs/{first.id}/delete").status_code == 200
    assert adapter.get(first.id) is None


def test_the_policy_is_the_one_that_was_promised() -> None:
    assert POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def test_now_says_what_is_wrong_in_sentences(client: TestClient, shown: Shop) -> None:
    text = plain(client.get("/").text)
    assert "The queue email is paused by card declined: card declined. 12 jobs are due." in text
    assert f"{CHARGE} fails with bank.Declined (new with release card declined): 12 times" in text
    assert f"{CHARGE} #{shown.running} has run for 30 min; 95 % of its class take at most" in text
    assert "The worker card declined is lost: it has been silent for 30 min." in text
    assert "6 things need your attention" in text


def test_schedules_show_their_next_ticks(client: TestClient) -> None:
    text = plain(client.get("/schedules").text)
    assert "0 3 * * * Europe/Berlin" in text
    assert "inactive" in text


def test_now_says_that_all_is_well() -> None:
    empty = jobqueue.MemoryAdapter()
    with client_of(JobQueue(empty)) as client:
        assert "All is well" in client.get("/", headers=HTML).text


def test_a_job_shows_its_timeline_its_error_and_its_own_frames_first(
    client: TestClient, shown: Shop
) -> None:
    page = client.get(f"/jobs/{shown.failed}").text
    text = plain(page)
    assert "Attempt 1 failed" in text
    assert "Attempt 2 failed" in text
    assert text.index("/srv/shop/jobs.py:41") < text.index("site-packages/bank/client.py:7")
    assert "In your code" in text
    assert "card declined" in text
    running = client.get(f"/jobs/{shown.running}").text
    assert 'value="0.4"' in running


def test_arguments_of_classes_that_are_not_known_are_masked(
    client: TestClient, shown: Shop
) -> None:
    page = plain(client.get(f"/jobs/{shown.ready}").text)
    assert "***" in page
    assert "card declined" not in page.partition("Arguments")[2].partition("Meta")[0]


def test_jobs_are_asked_for_in_one_line(client: TestClient, shown: Shop) -> None:
    failed = client.get("/jobs", params={"q": "state:failed"}).text
    assert f"/jobs/{shown.failed}" in failed
    assert f'/jobs/{shown.succeeded}"' not in failed
    wrong = client.get("/jobs", params={"q": "stat:failed"})
    assert wrong.status_code == 200
    assert "did you mean" in plain(wrong.text).lower()
    long = client.get("/jobs", params={"q": "x" * 2001})
    assert "2,000 characters at most" in plain(long.text)


def test_a_window_of_jobs_says_how_far_it_has_searched(client: TestClient, shown: Shop) -> None:
    shown.adapter.enqueue([NewJob("Many", "{}", "many", 50, 5)] * 120)
    page = client.get("/jobs", params={"q": "queue:many"}).text
    seen = re.search(r"50 shown, searched down to id (\d+)", page)
    assert seen is not None
    following = client.get("/jobs", params={"q": "queue:many", "before": seen[1]}).text
    assert re.search(r"50 shown, searched down to id", following)
    assert not set(ids_in(page)) & set(ids_in(following))


@pytest.mark.parametrize(
    "path",
    ["/jobs?before=x", "/jobs?before=0", "/errors?before=x", "/errors?state=x"],
)
def test_what_cannot_be_understood_is_said(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 422


def test_pages_and_the_api_agree(client: TestClient, shown: Shop) -> None:
    for queue in client.get("/api/queues").json()["queues"]:
        page = plain(client.get(f"/queues/{queue['name']}").text)
        assert f"Due {queue['due']} " in page
    for error in client.get("/api/errors").json()["errors"]:
        assert f"{error['number_of_day']} in the last 24 hours" in plain(
            client.get(f"/errors/{error['key']}").text
        )


def test_who_does_not_ask_for_a_page_gets_json(client: TestClient) -> None:
    for accept in ("*/*", "application/json"):
        assert client.get("/", headers={"accept": accept}).json()["jobs"] == "/api/jobs"
        missing = client.get("/nope", headers={"accept": accept})
        assert missing.headers["content-type"] == "application/problem+json"
    assert client.get("/api/nope").headers["content-type"].startswith("text/html")


def test_a_fragment_is_the_live_part_of_a_page(client: TestClient, shown: Shop) -> None:
    for page in PAGES:
        path = _filled(page.path, shown)
        whole = client.get(path).text
        part = client.get(path, headers={"hx-request": "true"}).text
        assert "<html" not in part
        assert tags(part), path
        assert tags(part) in tags(whole), path


def test_many_tabs_have_a_fragment_made_once_a_second(
    client: TestClient, shown: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    depths = shown.adapter.queue_depths

    def counted(most: int | None = None) -> Any:
        asked.append(most)
        return depths(most)

    monkeypatch.setattr(shown.adapter, "queue_depths", counted)
    moment = [0.0]
    monkeypatch.setattr("jobqueue.web.dashboard.fragments.time.monotonic", lambda: moment[0])
    for _ in range(5):
        client.get("/queues", headers={"hx-request": "true"})
    assert len(asked) == 1
    moment[0] = 1.5
    client.get("/queues", headers={"hx-request": "true"})
    assert len(asked) == 2
    client.post("/queues/payments/pause", data={"reason": "x"})
    client.get("/queues", headers={"hx-request": "true"})
    assert len(asked) > 2


# --- texts of others -----------------------------------------------------------------------------


@pytest.mark.parametrize("root", ROOTS)
def test_hostile_texts_stay_texts(hostile: Shop, root: str) -> None:
    """There is no tag, no attribute and no URL that a text has made; and texts are all there."""
    with client_at(root, hostile) as client:
        paths = [path for path in paths_of(hostile) if not path.startswith("/class?")]
        named = f"{root}/class"
        pages = [client.get(root + path).text for path in paths]
        pages.append(client.get(named, params={"name": HOSTILE[:200]}).text)
        pages.append(client.get(f"{root}/jobs", params={"q": HOSTILE}).text)
        pages.append(client.get(f"{root}/jobs", params={"q": 'x"><script>alert(3)</script>'}).text)
        pages.append(client.get(f"{root}/?said=jobs-retry&id=<script>alert(4)</script>").text)
    for page in pages:
        assert not re.search(r"<script>alert|<img", page)
        # What a field has to have is what was written.
        shown = re.sub(
            r'<input id="(q|arg\.)[^>]*>|<textarea.*?</textarea>', "", page, flags=re.DOTALL
        )
        assert "\u202e" not in shown
        assert "\x07" not in shown
        for url in URL.findall(page):
            assert not url or url.startswith(("/", "#")), url
    assert sum("{{7*7}}" in page for page in pages) >= 10
    assert sum("&lt;script&gt;" in page for page in pages) >= 10


# --- where it is mounted -------------------------------------------------------------------------


def client_at(root: str, seen: Shop, role: str = Role.ADMIN) -> TestClient:
    application: Any = jobqueue.web.app(by_header, queue=JobQueue(seen.adapter))
    if root:
        application = Starlette(routes=[Mount(root, application)])
    return TestClient(application, headers={**OWN, "x-role": role})


def test_no_url_leads_out_of_the_mount(shown: Shop) -> None:
    with client_at("/ops/jobs", shown) as client:
        for path in paths_of(shown):
            page = client.get(f"/ops/jobs{path}")
            assert page.status_code in {200, 404}, path
            urls = [url for url in URL.findall(page.text) if url.startswith("/")]
            assert len(urls) > 3
            assert all(url.startswith("/ops/jobs/") for url in urls), urls
        done = client.post(f"/ops/jobs/jobs/{shown.failed}/retry", follow_redirects=False)
        assert done.headers["location"].startswith(f"/ops/jobs/jobs/{shown.failed}?said=")


def test_in_wsgi_below_a_path(shown: Shop) -> None:
    import httpx2 as httpx
    from a2wsgi import ASGIMiddleware

    application: Any = jobqueue.web.app(by_header, queue=JobQueue(shown.adapter))
    wsgi: Any = ASGIMiddleware(application)
    transport = httpx.WSGITransport(app=wsgi, script_name="/ops/jobs")
    headers = {**OWN, "x-role": "admin"}
    with httpx.Client(transport=transport, base_url="http://here", headers=headers) as client:
        page = client.get("/queues")
        assert page.status_code == 200
        assert 'href="/ops/jobs/queues/email"' in page.text


def test_static_files_have_a_hash_in_their_names_and_are_kept_for_a_year(
    client: TestClient,
) -> None:
    page = client.get("/").text
    for name in FILES:
        path = f"/static/{hashed_name(name)}"
        assert path in page
        file = client.get(path, headers={"x-role": "none"})
        assert file.status_code == 200
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/static/app.000000000000.css").status_code == 404
    assert client.get("/static/..%2fapp.css").status_code == 404


def test_there_is_no_inline_script_or_style(client: TestClient, shown: Shop) -> None:
    for path in paths_of(shown):
        page = client.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", page), path


# --- who may do what -----------------------------------------------------------------------------

SCOPES: dict[str, set[Scope]] = {
    "none": set(),
    "read": {Scope.READ},
    "operate": set(Scope),
    "admin": set(Scope),
    "only read": {Scope.READ},
    "only enqueue": {Scope.ENQUEUE},
    "only operate": {Scope.OPERATE},
}


def test_a_page_that_one_may_not_see_has_no_tab(shown: Shop) -> None:
    with client_of(JobQueue(shown.adapter)) as client:
        for role, may in (("read", False), ("operate", True), ("only enqueue", True)):
            page = client.get("/jobs", headers={**OWN, "x-role": role}).text
            assert ('href="/enqueue"' in page) == may, role
        page = client.get("/enqueue", headers={**OWN, "x-role": "only enqueue"}).text
        assert 'href="/errors"' not in page


@pytest.mark.parametrize("who", [*SCOPES, None])
def test_every_page_and_every_form_for_every_role(shown: Shop, who: str | None) -> None:
    scopes = SCOPES.get(who or "none", set())
    refused = 401 if who is None else 403
    with client_at("", shown) as client:
        del client.headers["x-role"]
        headers = {} if who is None else {"x-role": who}
        for page in PAGES:
            answer = client.get(_filled(page.path, shown), headers=headers)
            assert answer.status_code == (200 if page.scope in scopes else refused), page.path
            if page.scope not in scopes:
                assert "declined" not in answer.text
        for action in FORM_ACTIONS:
            path = form_path(action, shown)
            fields = form_fields(action, shown)
            answer = client.post(path, headers=headers, data=fields, follow_redirects=False)
            if action.scope in scopes:
                assert answer.status_code in {200, 303, 404, 409, 422}, action.path
            else:
                assert answer.status_code == refused, action.path
    nothing_was_done = len(shown.adapter.actions(ActionFilter(), 10)) == 1
    assert nothing_was_done == (Scope.OPERATE not in scopes)


def test_what_one_may_not_do_is_not_shown(client: TestClient, shown: Shop) -> None:
    for path in paths_of(shown):
        page = client.get(path, headers={"x-role": "read"}).text
        assert not re.search(r'method="post" action="/(?!logout|login)', page), path
    assert 'method="post"' in client.get(f"/jobs/{shown.failed}").text


def test_without_a_hook_everything_is_denied(shown: Shop) -> None:
    with client_of(JobQueue(shown.adapter), auth=None) as client:
        assert client.get("/", headers=HTML).status_code == 403
        assert client.post("/login", headers=OWN, data={"token": "x"}).status_code == 403


@pytest.mark.parametrize("action", FORM_ACTIONS, ids=lambda action: action.path)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(
    shown: Shop, action: Any, headers: dict[str, str]
) -> None:
    with client_of(JobQueue(shown.adapter)) as client:
        answer = client.post(form_path(action, shown), headers={**HTML, **headers})
        assert answer.status_code == 403
        own = {**HTML, "origin": "http://testserver"}
        path, fields = form_path(action, shown), form_fields(action, shown)
        done = client.post(path, headers=own, data=fields, follow_redirects=False)
        assert done.status_code in {200, 303, 409}


# --- the login -----------------------------------------------------------------------------------


@pytest.fixture
def by_token(shown: Shop) -> Iterator[TestClient]:
    queue = JobQueue(shown.adapter)
    with TestClient(jobqueue.web.app(bearer_tokens(queue), queue=queue), headers=OWN) as made:
        yield made


def a_token(seen: Shop, *scopes: Scope) -> str:
    return create_token(seen.adapter, "ann", scopes or tuple(Scope))[1]


def test_a_token_logs_in_and_out(by_token: TestClient, shown: Shop) -> None:
    asked = by_token.get("/jobs?q=state:failed")
    assert (asked.status_code, 'name="token"' in asked.text) == (401, True)
    assert 'name="next" value="/jobs?q=state:failed"' in asked.text
    answer = by_token.post(
        "/login",
        data={"token": a_token(shown), "next": "/jobs?q=state:failed"},
        follow_redirects=False,
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?q=state:failed")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert "token ann" in by_token.get("/").text
    assert by_token.post(f"/jobs/{shown.failed}/retry", follow_redirects=False).status_code == 303
    by_token.post("/logout")
    assert by_token.get("/").status_code == 401


def test_the_cookie_is_for_the_mount_and_stays_on_https(shown: Shop) -> None:
    queue = JobQueue(shown.adapter)
    inner: Any = jobqueue.web.app(bearer_tokens(queue), queue=queue)
    application = Starlette(routes=[Mount("/ops/jobs", inner)])
    with TestClient(application, base_url="https://here", headers=OWN) as client:
        answer = client.post(
            "/ops/jobs/login", data={"token": a_token(shown)}, follow_redirects=False
        )
        assert answer.headers["location"] == "/ops/jobs/"
        assert {"Path=/ops/jobs", "Secure"} <= set(answer.headers["set-cookie"].split("; "))


@pytest.mark.parametrize("token", ["", "x", "jq_00_00", "a b", "é", "x" * 5000, 'a";b'])
def test_a_token_that_is_none_is_refused(by_token: TestClient, token: str) -> None:
    answer = by_token.post("/login", data={"token": token}, follow_redirects=False)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "unknown, expired or revoked" in answer.text


def test_a_revoked_token_ends_the_login(by_token: TestClient, shown: Shop) -> None:
    record, token = create_token(shown.adapter, "ann", tuple(Scope))
    by_token.post("/login", data={"token": token})
    assert by_token.get("/").status_code == 200
    shown.adapter.revoke_token(record.id)
    assert by_token.get("/").status_code == 401
    fragment = by_token.get("/", headers={"hx-request": "true"})
    assert (fragment.status_code, fragment.headers["hx-refresh"]) == (401, "true")


@pytest.mark.parametrize("path", ["//evil.example.com", "https://evil.example.com", "/\\evil", ""])
def test_the_login_leads_nowhere_else(by_token: TestClient, shown: Shop, path: str) -> None:
    fields = {"token": a_token(shown), "next": path}
    answer = by_token.post("/login", data=fields, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_the_cookie_lets_nobody_into_the_api(by_token: TestClient, shown: Shop) -> None:
    by_token.post("/login", data={"token": a_token(shown)})
    assert COOKIE in by_token.cookies
    assert by_token.get("/api/jobs").status_code == 401


def test_a_link_of_another_site_loads_the_page_once_more(by_token: TestClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert '<meta http-equiv="refresh"' in by_token.get("/jobs", headers=link).text
    assert '<meta http-equiv="refresh"' not in by_token.get("/jobs").text


def test_an_application_has_a_login_of_its_own(shown: Shop) -> None:
    queue = JobQueue(shown.adapter)
    application = jobqueue.web.app(by_header, queue=queue, login_url="/accounts/login")
    with TestClient(application, headers=OWN) as client:
        answer = client.get("/jobs?q=state:failed", follow_redirects=False)
        assert answer.status_code == 303
        location = answer.headers["location"]
        assert location == "/accounts/login?next=%2Fjobs%3Fq%3Dstate%3Afailed"
        assert client.get("/api/jobs").status_code == 401


# --- what forms do -------------------------------------------------------------------------------


def done(client: TestClient, path: str, **fields: str) -> str:
    """The next page after a form."""
    answer = client.post(path, data=fields)
    assert answer.status_code == 200, answer.text
    return plain(answer.text)


def test_a_job_is_retried_cancelled_and_deleted(client: TestClient, shown: Shop) -> None:
    adapter = shown.adapter
    assert f"Job {shown.failed} is due now." in done(client, f"/jobs/{shown.failed}/retry")
    assert state_of(shown, shown.failed) is JobState.READY
    done(client, f"/jobs/{shown.failed}/cancel", reason="not needed")
    assert state_of(shown, shown.failed) is JobState.CANCELLED
    assert "not needed" in plain(client.get(f"/jobs/{shown.failed}").text)
    assert f"Job {shown.failed} is deleted." in done(client, f"/jobs/{shown.failed}/delete")
    assert adapter.get(shown.failed) is None
    gone = client.post(f"/jobs/{shown.failed}/retry")
    assert gone.status_code == 404
    kinds = [(action.kind, action.done_by) for action in adapter.actions(ActionFilter(), 3)]
    assert kinds == [
        (kind, "ann") for kind in (ActionKind.DELETE, ActionKind.CANCEL, ActionKind.RETRY)
    ]


def test_a_running_job_is_not_deleted(client: TestClient, shown: Shop) -> None:
    answer = client.post(f"/jobs/{shown.running}/delete")
    assert (answer.status_code, "was not deleted" in answer.text) == (409, True)
    assert shown.adapter.get(shown.running) is not None


def test_a_queue_is_paused_with_a_reason_and_resumed(client: TestClient, shown: Shop) -> None:
    page = done(client, "/queues/payments/pause", reason="the bank is away", until="2h")
    assert "The queue payments is paused." in page
    assert "the bank is away" in page
    paused = {pause.name: pause.pause for pause in shown.adapter.pauses()}["payments"]
    assert (paused.reason, paused.by) == ("the bank is away", "ann")
    assert paused.until is not None
    assert "is resumed" in done(client, "/queues/payments/resume")
    assert "payments" not in shown.adapter.paused_queues()
    wrong = client.post("/queues/payments/pause", data={"until": "whenever"})
    assert (wrong.status_code, "until" in wrong.text) == (422, True)
    assert client.post("/queues/no queue/pause").status_code == 422


@pytest.mark.parametrize(
    ("word", "state"),
    [("mute", ErrorState.MUTED), ("resolve", ErrorState.RESOLVED), ("reopen", ErrorState.OPEN)],
)
def test_errors_are_muted_resolved_and_reopened(
    client: TestClient, shown: Shop, word: str, state: ErrorState
) -> None:
    done(client, f"/errors/{shown.error_key}/{word}")
    record = shown.adapter.error_group(shown.error_key)
    assert record is not None
    assert (record.state, record.changed_by) == (state, "ann")


def test_a_worker_is_asked_for_its_stacks(client: TestClient, shown: Shop) -> None:
    assert "there is no answer yet" in done(client, f"/workers/{WORKER}/stacks")
    assert shown.adapter.workers_asked_for_stacks([WORKER]) == {WORKER}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"\xff=1", "application/x-www-form-urlencoded", 422),
        (b"a=%ff", "application/x-www-form-urlencoded", 422),
        (b"&".join(b"a=1" for _ in range(60)), "application/x-www-form-urlencoded", 422),
        (b"x" * 2_000_000, "application/x-www-form-urlencoded", 413),
        (b"reason=" + b"x" * 501, "application/x-www-form-urlencoded", 422),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    answer = client.post("/queues/payments/pause", content=content, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert "<h1>" in answer.text


def state_of(seen: Shop, job_id: int) -> JobState | None:
    record = seen.adapter.get(job_id)
    return None if record is None else record.state


# --- reading pages -------------------------------------------------------------------------------


def plain(page: str) -> str:
    """The text of a page, with single spaces."""
    main = re.sub(r"</?(?:bdi|b|code)>", "", page.partition("<main")[2])
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def tags(page: str) -> str:
    """The tags of a page, without what differs from one moment to the next."""
    return "".join(re.findall(r"<(/?[a-z0-9]+)", page))


def ids_in(page: str) -> list[str]:
    return re.findall(r'id="job-(\d+)"', page)
