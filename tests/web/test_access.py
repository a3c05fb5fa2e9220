"""Who may do what: every route for every role, hooks, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

import jobqueue.web
from jobqueue import JobQueue, MemoryAdapter
from jobqueue.adapters import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import NewJob
from jobqueue.web import Access, Role, Scope
from jobqueue.web.application import ALL_OPERATIONS
from jobqueue.web.dashboard.table import FORM_ACTIONS, PAGES
from jobqueue.web.operations import Operation
from jobqueue.web.tokens import create_token
from tests.web.conftest import by_header, client_of

READ, ENQUEUE, OPERATE = {Scope.READ}, {Scope.ENQUEUE}, {Scope.OPERATE}
WHO: dict[str, set[Scope]] = {
    "none": set(),
    "read": READ,
    "operate": READ | ENQUEUE | OPERATE,
    "admin": READ | ENQUEUE | OPERATE,
    "only read": READ,
    "only enqueue": ENQUEUE,
    "only operate": OPERATE,
}
PLACES = [
    (operation, path)
    for operation in ALL_OPERATIONS
    for path in (operation.path, *operation.aliases)
]
IDS = [f"{operation.method} {path}" for operation, path in PLACES]


@pytest.fixture(scope="module")
def queue() -> JobQueue:
    adapter = MemoryAdapter()
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5)])
    return JobQueue(adapter)


@pytest.fixture(scope="module")
def everybody(queue: JobQueue) -> Iterator[TestClient]:
    with TestClient(jobqueue.web.app(by_header, queue=queue)) as made:
        yield made


def ask(client: TestClient, operation: Operation, path: str, **headers: str) -> Any:
    """Ask for a job that is not there, which nobody who is let in is told before."""
    path = path.replace("{id:job_id}", "999").replace("{name}", "default")
    return client.request(operation.method, path, headers=headers)


def test_the_router_has_the_operations_and_nothing_else() -> None:
    application: Any = jobqueue.web.app(by_header)
    routed = {
        (method, route.path)
        for route in application.inner.routes
        for method in route.methods - {"HEAD"}
    }
    pages = {("GET", page.path) for page in PAGES} | {("POST", form.path) for form in FORM_ACTIONS}
    login = {("GET", "/static/{name}"), ("GET", "/login"), ("POST", "/login"), ("POST", "/logout")}
    follow = {("GET", "/jobs/{id:job_id}/events")}
    operations = {(operation.method, path) for operation, path in PLACES}
    assert routed == operations | pages | login | follow


@pytest.mark.parametrize("who", [*WHO, None])
@pytest.mark.parametrize(("operation", "path"), PLACES, ids=IDS)
def test_every_route_for_every_role(
    everybody: TestClient, operation: Operation, path: str, who: str | None
) -> None:
    answer = ask(everybody, operation, path, **({} if who is None else {"x-role": who}))
    allowed = operation.scope is None or operation.scope in WHO.get(who or "none", set())
    if allowed:
        assert answer.status_code in {200, 404, 422}, answer.text
    else:
        assert answer.status_code == (401 if who is None else 403)
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (who is None)


@pytest.mark.parametrize(("operation", "path"), PLACES, ids=IDS)
def test_without_a_hook_everything_is_denied(
    queue: JobQueue, operation: Operation, path: str
) -> None:
    client = TestClient(jobqueue.web.app(queue=queue), headers={"x-role": "admin"})
    assert ask(client, operation, path).status_code == 403


def test_what_may_be_done_without_a_login_is_health_alone() -> None:
    free = {operation.path for operation in ALL_OPERATIONS if operation.scope is None}
    assert free == {"/healthz", "/readyz"}


def test_reading_is_by_get_and_changing_is_not() -> None:
    for operation in ALL_OPERATIONS:
        assert (operation.method == "GET") == (operation.scope in {Scope.READ, None})


# --- hooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (("ann", "read"), 200),
        (("ann", Role.ADMIN), 200),
        (["ann", "read"], 200),
        (Access("ann", frozenset({Scope.READ})), 200),
        (Access("ann", frozenset({Scope.ENQUEUE})), 403),
        (("ann", "none"), 403),
        (None, 401),
        (("", "none"), 401),
        (("ann", "owner"), 500),
        ("ann", 500),
        (True, 500),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_hooks_can_answer(queue: JobQueue, answer: Any, status: int, kind: str) -> None:
    def hook(_: Any) -> Any:
        return answer

    async def async_hook(_: Any) -> Any:
        await asyncio.sleep(0)
        return answer

    with client_of(queue, hook if kind == "sync" else async_hook) as client:
        found = client.get("/api/queues")
        assert found.status_code == status
        assert client.get("/healthz").status_code == 200


def test_a_hook_that_fails_lets_nobody_in(
    queue: JobQueue, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(_: Any) -> Any:
        raise RuntimeError("the secret of the session")

    with client_of(queue, hook) as client:
        answer = client.get("/api/queues")
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "secret" not in answer.text
    assert "the secret of the session" in caplog.text


# --- tokens --------------------------------------------------------------------------------------


@pytest.fixture
def tokens(clocked_adapter: Adapter) -> Iterator[TestClient]:
    queue = JobQueue(clocked_adapter)
    with TestClient(jobqueue.web.app(jobqueue.web.bearer_tokens(queue), queue=queue)) as made:
        yield made


def status(client: TestClient, method: str, path: str, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return client.request(method, path, headers=headers).status_code


def test_tokens_let_in_by_scope(
    tokens: TestClient, clocked_adapter: Adapter, clock: ManualClock
) -> None:
    read, token = create_token(clocked_adapter, "grafana", [Scope.READ])
    _, enqueue = create_token(clocked_adapter, "billing", [Scope.ENQUEUE])
    _, short = create_token(clocked_adapter, "today", [Scope.READ], timedelta(hours=1))
    assert status(tokens, "GET", "/api/queues", token) == 200
    assert status(tokens, "POST", "/api/queues/a/pause", token) == 403
    assert status(tokens, "POST", "/api/job", enqueue) == 422
    assert status(tokens, "GET", "/api/queues", enqueue) == 403
    assert status(tokens, "GET", "/api/queues", short) == 200
    clock.advance(3600)
    assert status(tokens, "GET", "/api/queues", short) == 401
    assert clocked_adapter.revoke_token(read.id)
    assert status(tokens, "GET", "/api/queues", token) == 401
    headers = {"authorization": f"bEaReR  {enqueue} "}
    assert tokens.post("/api/job", headers=headers).status_code == 422


def test_what_is_no_token(tokens: TestClient, clocked_adapter: Adapter) -> None:
    record, token = create_token(clocked_adapter, "grafana", [Scope.READ])
    secret = token.rpartition("_")[2]
    for wrong in (
        "",
        "x",
        "jq",
        "jq__",
        f"jq_{record.id}",
        f"jq_{record.id}_",
        f"jq_{record.id}_{record.secret_hash}",
        f"jq_{record.id}_{secret[:-1]}",
        f"jq_{record.id}_{secret}x",
        f"jq_000000000000_{secret}",
        f"xx_{record.id}_{secret}",
        f"jq_%00_{secret}",
        f"jq_{record.id}_{'x' * 10_000}",
    ):
        assert status(tokens, "GET", "/api/queues", wrong) == 401, wrong
    for header in (token, f"Basic {token}", f"Bearer{token}"):
        answer = tokens.get("/api/queues", headers={"authorization": header})
        assert answer.status_code == 401


def test_the_secret_of_a_token_is_not_stored(clocked_adapter: Adapter) -> None:
    record, token = create_token(clocked_adapter, "grafana", [Scope.READ])
    secret = token.rpartition("_")[2]
    assert len(secret) == 64
    assert clocked_adapter.find_token(record.id) == record
    assert secret not in repr(record)
