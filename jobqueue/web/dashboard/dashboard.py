"""The dashboard: it checks access, answers pages, and does what their forms ask for."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobqueue import log
from jobqueue.errors import DatabaseUnavailable, JobNotFound
from jobqueue.read_budget import reads_within
from jobqueue.web.access import NOBODY, Access, Auth, Scope, access_of
from jobqueue.web.api import DENIED, Api
from jobqueue.web.dashboard import login
from jobqueue.web.dashboard.copies import copies_of
from jobqueue.web.dashboard.forms import (
    MEDIA_TYPE,
    fields_of,
    parsed_form,
    sent_by_own_page,
    typed_fields,
)
from jobqueue.web.dashboard.fragments import Fragments
from jobqueue.web.dashboard.moments import IncidentLink, at_present, of_changed_jobs, of_this_page
from jobqueue.web.dashboard.page_reads import PAGE_SECONDS, PageCall, PageReads
from jobqueue.web.dashboard.pages.workers import takes
from jobqueue.web.dashboard.renderer import Urls, render
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, LinkFor, Shown, ShownInstead
from jobqueue.web.dashboard.static_files import answer_static
from jobqueue.web.dashboard.table import FORM_ACTIONS, PAGES, TABS
from jobqueue.web.events import events
from jobqueue.web.operations import ApiCall
from jobqueue.web.problems import CRASHED, Problem, problem_of

Answering = Callable[[Request], Awaitable[Response]]

POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "img", "connect")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    # With no-referrer a browser would not say of a form either which site it comes from.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, HX-Request",
}
FRAGMENT = "live"
NOT_FROM_HERE = "only a page of this dashboard can send its forms; programs use the API"
UNKNOWN_TOKEN = "this token is unknown, expired or revoked"  # noqa: S105 - a message
TAB_SCOPES = {page.path: page.scope for page in PAGES}
BY_WORD = {action.word: action for action in FORM_ACTIONS}


class Dashboard:
    """The pages, and the changes that their forms ask for.

    Args:
        api: the API beside it, whose queue it shows.
        auth: the hook that returns who sent a request; None denies everything.
        login_url: where somebody unknown is sent to; None for a form that takes a token.
    """

    def __init__(self, api: Api, auth: Auth | None, login_url: str | None) -> None:
        self._api = api
        self._auth = auth
        self._login_url = login_url
        self._fragments = Fragments()

    def routes(self, api_home: Answering) -> list[Route]:
        """Return the routes of all pages and forms.

        Args:
            api_home: answers `/` to whoever does not ask for a page.
        """
        home, *others = PAGES

        async def answer_home(request: Request) -> Response:
            if not wants_page(request):
                return await api_home(request)
            return await self._answer_page(home, request)

        return [
            Route("/", answer_home, methods=["GET"]),
            Route("/static/{name}", answer_static, methods=["GET"]),
            Route("/login", self._guarded(self._ask_for_token), methods=["GET"]),
            Route("/login", self._guarded(self._login), methods=["POST"]),
            Route("/logout", self._guarded(self._logout), methods=["POST"]),
            Route("/jobs/{id:job_id}/events", self._guarded(self._follow), methods=["GET"]),
            *(_route(page.path, self._answer_page, page, "GET") for page in others),
            *(_route(action.path, self._answer_form, action, "POST") for action in FORM_ACTIONS),
        ]

    async def answer_nothing_here(self, request: Request) -> Response:
        """Answer that there is no page at a path."""
        detail = "there is no page at this address"
        return await self._answer_error(Problem(404, detail), request)

    # --- pages -----------------------------------------------------------------------------------

    async def _answer_page(self, page: DashboardPage, request: Request) -> Response:
        try:
            access = await self._access_of(request)
            if page.scope not in access.scopes:
                return self._refusal(request, access, page.scope)
            call = ApiCall(request, self._api, access, request.path_params)
            answer: Response = await self._api.on_thread(self._page_of, page, call)
        except Exception as error:  # noqa: BLE001 - every error is answered
            return await self._answer_error(error, request)
        return answer

    def _page_of(self, page: DashboardPage, call: ApiCall) -> Response:
        try:
            return _html(self._content(page, call))
        except JobNotFound:
            if page.missing is None:
                raise
            return self._shown(page.missing(call), call.request, call.access)

    def _shown(self, instead: ShownInstead, request: Request, access: Access) -> Response:
        context = self._context(request, access, instead.tab)
        return _html(render(instead.template, {**context, **instead.shown}), instead.status)

    def _content(self, page: DashboardPage, call: ApiCall) -> bytes:
        if call.request.headers.get("hx-request") != "true":
            return self._rendered(page, call)
        urls = _urls(call.request)
        key = (urls.root, call.request.url.path, call.request.url.query, call.access.scopes)
        return self._fragments.get(key, lambda: self._rendered(page, call, block=FRAGMENT))

    def _rendered(self, page: DashboardPage, call: ApiCall, *, block: str | None = None) -> bytes:
        begun = time.perf_counter()
        with reads_within(PAGE_SECONDS) as budget:
            reads = PageReads(call.adapter, budget)
            shown = _read(page, call, reads)
        seconds = time.perf_counter() - begun
        context = self._context(call.request, call.access, page.tab)
        context |= {"read_seconds": seconds, "read_rows": budget.rows}
        context["unanswered"] = reads.unanswered
        shown = {**context, **shown}
        if block is not None:
            note = render("unanswered.html", shown) if reads.unanswered else b""
            return note + render(page.template, shown, block=block)
        shown["copies"] = copies_of(page.path, call.request, context["url"])
        shown["lasting"] = shown["lasting"] or _link_for_tomorrow(page, call, context["made_at"])
        return render(page.template, shown)

    def _context(self, request: Request, access: Access, tab: str = "") -> dict[str, Any]:
        """Return what all templates need."""
        query = request.url.query
        return {
            "url": _urls(request),
            "tab": tab,
            "tabs": [shown for shown in TABS if TAB_SCOPES[shown[1]] in access.scopes],
            "access": access,
            "may_operate": Scope.OPERATE in access.scopes,
            "is_logged_in": login.COOKIE in request.cookies,
            "said": _said(request.query_params),
            "here": _urls(request)(_route_path(request)) + (f"?{query}" if query else ""),
            "read_seconds": None,
            "read_rows": 0,
            "unanswered": (),
            "page_seconds": PAGE_SECONDS,
            "copies": None,
            "lasting": None,
            "can_retry": False,
            "moment": None,
            "here_now": at_present(_route_path(request), request),
            "takes": takes,
            "made_at": datetime.now(UTC),
        }

    async def _follow(self, request: Request) -> Response:
        """Answer the events of a job to its own page, which refreshes itself at each."""
        access = await self._access_of(request)
        if Scope.READ not in access.scopes:
            raise Problem(403, f"{access.who or 'who is not logged in'} may not read")
        asking = login.with_login(request)
        return await events(ApiCall(asking, self._api, access, request.path_params))

    # --- forms -----------------------------------------------------------------------------------

    async def _answer_form(self, action: FormAction, request: Request) -> Response:
        try:
            if not sent_by_own_page(request):
                raise Problem(403, NOT_FROM_HERE)
            access = await self._access_of(request)
            if action.scope not in access.scopes:
                return self._refusal(request, access, action.scope)
            sent = await self._api.body_of(request, MEDIA_TYPE)
            body = (
                typed_fields(sent) if action.takes_fields else parsed_form(action, fields_of(sent))
            )
            call = ApiCall(request, self._api, access, request.path_params, body=body)
            done = await self._api.on_thread(action.handle, call)
            if isinstance(done, ShownInstead):
                return self._shown(done, request, access)
        except Exception as error:  # noqa: BLE001 - every error is answered
            return await self._answer_error(error, request)
        self._fragments.forget()
        names = {**request.path_params, **(done if isinstance(done, Mapping) else {})}
        back = action.back.format_map(names)
        asked = {"said": action.word, **{k: str(v) for k, v in names.items()}}
        return _see(f"{_urls(request)(back)}?{urlencode(asked)}")

    # --- who asks --------------------------------------------------------------------------------

    async def _access_of(self, request: Request) -> Access:
        if self._auth is None:
            raise Problem(403, DENIED)
        return await access_of(self._auth, login.with_login(request))

    def _refusal(self, request: Request, access: Access, scope: Scope) -> Response:
        """Answer somebody who may not do something: they are asked who they are, or refused."""
        if access.who:
            detail = f"{access.who} may not {scope}"
            return self._error_page(request, access, Problem(403, detail))
        if request.headers.get("hx-request") == "true":
            return Response(status_code=401, headers={**PAGE_HEADERS, "HX-Refresh": "true"})
        here = self._context(request, access)["here"] if request.method == "GET" else ""
        if self._login_url is not None:
            joint = "&" if "?" in self._login_url else "?"
            return _see(f"{self._login_url}{joint}{urlencode({'next': here or '/'})}")
        # A cookie that is SameSite=Strict is not sent when somebody follows a link of another
        # site. Loading the page once more sends it.
        again = request.headers.get("sec-fetch-site") == "cross-site" and bool(here)
        return self._login_page(request, again=again)

    def _login_page(self, request: Request, wrong: str = "", *, again: bool = False) -> Response:
        root, context = _urls(request).root, self._context(request, NOBODY)
        was_asked_for = request.method == "GET" and _route_path(request) == "/login"
        shown = {"wrong": wrong, "again": again, "next": context["here"].removeprefix(root)}
        if request.method != "GET" or was_asked_for:
            shown["next"] = "/"
        content = render("login.html", {**context, **shown})
        if was_asked_for:
            return _html(content)
        return _html(content, 401, {"WWW-Authenticate": "Bearer"})

    async def _ask_for_token(self, request: Request) -> Response:
        return self._login_page(request)

    async def _login(self, request: Request) -> Response:
        if not sent_by_own_page(request):
            raise Problem(403, NOT_FROM_HERE)
        if self._auth is None:
            raise Problem(403, DENIED)
        fields = fields_of(await self._api.body_of(request, MEDIA_TYPE))
        token = login.token_in(fields)
        known = token and await access_of(self._auth, login.with_token(request, token))
        if not token or not known or not known.who:
            return self._login_page(request, UNKNOWN_TOKEN)
        urls = _urls(request)
        answer = _see(urls.root + login.next_path(fields.get("next", "/")))
        login.remember(answer, request, token, urls.root)
        return answer

    async def _logout(self, request: Request) -> Response:
        if not sent_by_own_page(request):
            raise Problem(403, NOT_FROM_HERE)
        urls = _urls(request)
        answer = _see(urls("/"))
        login.forget(answer, request, urls.root)
        return answer

    # --- errors ----------------------------------------------------------------------------------

    def _guarded(self, answer: Answering) -> Answering:
        async def guarded(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:  # noqa: BLE001 - every error is answered
                return await self._answer_error(error, request)

        return guarded

    async def _answer_error(self, error: Exception, request: Request) -> Response:
        """Answer an error by a page, and log it if the fault is here."""
        problem, logger = problem_of(error), self._api.queue.logger
        method, path = request.method, request.url.path
        if problem is None:
            log.request_crashed(logger, method, path, error)
            problem = Problem(500, CRASHED)
        elif problem.status == 503:
            log.request_unanswered(logger, method, path, error)
        try:
            access = await self._access_of(request)
        except Exception:  # noqa: BLE001 - it may be what has failed
            access = NOBODY
        return self._error_page(request, access, problem)

    def _error_page(self, request: Request, access: Access, problem: Problem) -> Response:
        title = HTTPStatus(problem.status).phrase
        shown = {"title": title, "status": problem.status, "detail": problem.detail}
        content = render("problem.html", {**self._context(request, access), **shown})
        return _html(content, problem.status, problem.headers)


def wants_page(request: Request) -> bool:
    """Return whether a request asks for a page, as browsers do, rather than for JSON.

    A page that refreshes itself says so, and takes whatever comes.
    """
    is_refresh = request.headers.get("hx-request") == "true"
    return is_refresh or "text/html" in request.headers.get("accept", "")


def _link_for_tomorrow(page: DashboardPage, call: ApiCall, at: datetime) -> IncidentLink | None:
    """Return the link that shows tomorrow what can be known then; None where the page is it."""
    match page.tomorrow:
        case LinkFor.ITSELF:
            return None
        case LinkFor.MOMENT:
            return of_this_page(_route_path(call.request), call, at)
    return of_changed_jobs(at)


def _read(page: DashboardPage, call: ApiCall, reads: PageReads) -> Shown:
    """Return what a page shows.

    Raises:
        DatabaseUnavailable: without what was not answered the page cannot be.
    """
    named = {each.name: getattr(call, each.name) for each in fields(ApiCall)}
    try:
        return page.read(PageCall(**named, reads=reads))
    except (LookupError, Problem) as error:
        if not reads.unanswered:
            raise
        raise DatabaseUnavailable(
            f"the database did not answer what this page is about ({', '.join(reads.unanswered)}) "
            f"within {PAGE_SECONDS:g} s; load it again"
        ) from error


def _route(path: str, answer: Callable[[Any, Request], Any], what: Any, method: str) -> Route:
    return Route(path, functools.partial(answer, what), methods=[method])


def _urls(request: Request) -> Urls:
    return Urls(request.scope.get("root_path", ""))


def _route_path(request: Request) -> str:
    path, root = request.scope["path"], request.scope.get("root_path", "").rstrip("/")
    inside = path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path
    return str(inside) or "/"


def _said(query: Mapping[str, str]) -> str | None:
    """Return the sentence that says what a form has done. The URL has only a word for it."""
    action = BY_WORD.get(query.get("said", ""))
    if action is None:
        return None
    names = {name: query.get(name, "")[:100] for name in ("id", "name", "key")}
    return action.said.format_map(names)


def _see(url: str) -> Response:
    """Send a browser on to another page, after a form."""
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})


def _html(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    answer = Response(content, status, media_type="text/html; charset=utf-8")
    answer.headers.update({**PAGE_HEADERS, **(headers or {})})
    return answer
