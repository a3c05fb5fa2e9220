"""Jobs over HTTP, on every adapter: enqueueing, seeing, changing, listing, in bulk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

import jobqueue
from jobqueue import Hooks, Job, JobQueue, JobRecord
from jobqueue.adapters import Adapter
from jobqueue.errors import DatabaseUnavailable
from jobqueue.records import ActionFilter, ActionState, Claim, JobFilter, JobState, NewJob
from jobqueue.web import Access, Scope
from tests.web import sample
from tests.web.conftest import HEADER, client_of

HELLO = {"name": "Hello", "args": {"who": "Ann"}}


def enqueue(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/job", json={**HELLO, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def get(client: TestClient, job_id: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/job/{job_id}").json()
    return found


def claim(adapter: Adapter, limit: int = 100) -> list[Any]:
    return adapter.claim(Claim("worker-1", 7, limit, limit))


# --- enqueueing ----------------------------------------------------------------------------------


def test_a_job_is_enqueued_performed_and_seen_to_be_done(
    client: TestClient, queue: JobQueue
) -> None:
    made = enqueue(client)
    assert (made["name"], made["handler"]) == ("websample.Hello", "websample.Hello")
    assert (made["state"], made["finished_at"], made["args"]) == ("ready", None, {"who": "Ann"})
    assert get(client, made["id"]) == made
    queue.work_off()
    done = get(client, made["id"])
    assert (done["state"], done["result"], done["attempts"]) == ("succeeded", "hello Ann", 1)
    assert datetime.fromisoformat(done["finished_at"]).tzinfo is not None
    assert done["progress"] == {"fraction": 0.5, "message": "greeting"}


def test_a_duplicate_is_no_new_job(client: TestClient, queue: JobQueue) -> None:
    body = {"name": "Once", "args": {"number": 1, "note": "hers"}}
    first = client.post("/api/job", json=body)
    assert first.status_code == 201
    again = client.post("/api/job", json={"name": "Once", "args": {"number": 1}})
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["location"] == first.headers["location"]
    key = {"idempotency-key": "its own"}
    assert client.post("/api/job", json=body, headers=key).status_code == 200
    assert queue.adapter.count_by_state() == {JobState.READY: 1}


def test_who_may_not_read_learns_of_a_duplicate_what_they_have_sent(
    client: TestClient,
) -> None:
    body = {"name": "Once", "args": {"number": 1, "note": "hers"}}
    first = client.post("/api/job", json=body).json()
    sent = {"name": "Once", "args": {"number": 1, "note": "mine"}}
    answer = client.post("/api/job", json=sent, headers={HEADER: "only enqueue"})
    assert (answer.status_code, answer.json()["id"]) == (200, first["id"])
    assert answer.json()["args"] == {"number": 1, "note": "mine"}


def test_the_answer_says_where_the_job_is(client: TestClient) -> None:
    answer = client.post("/api/job", json=HELLO)
    assert client.get(answer.headers["location"]).json() == answer.json()
    assert client.post("/api/jobs", json=HELLO).status_code == 201


def test_queue_priority_and_time(client: TestClient) -> None:
    before = datetime.now(UTC)
    made = enqueue(client, queue="email", priority=-3, wait=60)
    assert (made["queue"], made["priority"]) == ("email", -3)
    waits = datetime.fromisoformat(made["run_at"]) - before
    assert timedelta(seconds=55) < waits < timedelta(seconds=65)
    moment = "2040-01-31T12:00:00+01:00"
    made = enqueue(client, run_at=moment)
    assert datetime.fromisoformat(made["run_at"]) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "Hello"},
        {"name": "Hello", "args": {"who": 1}},
        {"name": "Hello", "args": {"who": "Ann", "more": 1}},
        {"name": "Hello", "args": ["Ann"]},
        {"name": "Hello", "args": {"who": "a\0b"}},
        {"name": "No\0thing"},
        {"name": "Nothing"},
        {"name": "Closed"},
        {"name": "websample.Closed"},
        {**HELLO, "wait": -1},
        {**HELLO, "wait": "60"},
        {**HELLO, "wait": 1e300},
        {**HELLO, "wait": 1, "run_at": "2040-01-31T12:00:00Z"},
        {**HELLO, "run_at": "2040-01-31T12:00:00"},
        {**HELLO, "run_at": "tomorrow"},
        {**HELLO, "queue": "not a queue"},
        {**HELLO, "priority": 2**31},
        {**HELLO, "priority": True},
        {**HELLO, "unknown": 1},
        [],
        "text",
        None,
    ],
    ids=str,
)
def test_what_cannot_be_enqueued(client: TestClient, adapter: Adapter, body: Any) -> None:
    answer = client.post("/api/job", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]
    assert adapter.count_jobs(JobFilter()) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"name": "Hello", "args": {"who": NaN}}',
        '{"name": "Merged", "args": {"n": NaN}}',
        '{"name": "Merged", "args": {"n": -Infinity}}',
        '{"name": "Hello", "args": {"who": "\\ud800"}}',
        '{"name": "Merged", "args": {"n": ' + "[" * 5_000 + "]" * 5_000 + "}}",
        '{"name": "Merged", "args": {"n": "' + "x" * (1024 * 1024) + '"}}',
        b'{"name": "Hello", "args": {"who": "\xff"}}',
    ],
    ids=range(9),
)
def test_texts_that_are_refused(client: TestClient, adapter: Adapter, text: str | bytes) -> None:
    answer = client.post("/api/job", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert adapter.count_jobs(JobFilter()) == 0


def test_hooks_hear_of_what_was_enqueued(adapter: Adapter) -> None:
    heard: list[JobRecord] = []

    class Listening(Hooks):
        def job_enqueued(self, job: JobRecord) -> None:
            heard.append(job)

    with client_of(JobQueue(adapter, hooks=[Listening()])) as client:
        first = enqueue(client)
        second = client.post("/api/job", json=HELLO, headers={"idempotency-key": "k"}).json()
        client.post("/api/job", json=HELLO, headers={"idempotency-key": "k"})
    assert [job.id for job in heard] == [first["id"], second["id"]]


# --- idempotency ---------------------------------------------------------------------------------


def test_a_repeated_key_makes_no_second_job(
    client: TestClient, adapter: Adapter, queue: JobQueue
) -> None:
    key = {"idempotency-key": "order-17"}
    first = client.post("/api/job", json=HELLO, headers=key)
    again = client.post("/api/job", json=HELLO, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert client.post("/api/job", json={**HELLO, "wait": 1}, headers=key).status_code == 422
    queue.work_off()
    done = client.post("/api/job", json=HELLO, headers=key).json()
    assert (done["id"], done["state"]) == (first.json()["id"], "succeeded")
    adapter.delete(JobFilter())
    gone = client.post("/api/job", json=HELLO, headers=key)
    assert (gone.status_code, gone.json()) == (200, first.json())
    assert adapter.count_jobs(JobFilter()) == 0


def test_a_repeated_key_tells_no_more_than_its_user_may_read(queue: JobQueue) -> None:
    headers = {"idempotency-key": "k", "x-role": "only enqueue"}
    with client_of(queue) as client:
        first = client.post("/api/job", json=HELLO, headers=headers)
        queue.work_off()
        again = client.post("/api/job", json=HELLO, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())


def test_keys_of_different_callers_are_different_keys(queue: JobQueue) -> None:
    def login(request: Any) -> tuple[str, str]:
        return (request.headers["who"], "operate")

    with client_of(queue, login) as client:
        ids = {
            client.post(
                "/api/job", json=HELLO, headers={"idempotency-key": "1", "who": who}
            ).json()["id"]
            for who in ("ann", "ben", "ann")
        }
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_keys_that_are_none(client: TestClient, key: str) -> None:
    answer = client.post("/api/job", json=HELLO, headers={"idempotency-key": key})
    assert answer.status_code == 422


# --- one that is there ---------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/api/job", "/api/jobs"])
def test_jobs_that_are_not_there(client: TestClient, prefix: str) -> None:
    for method, path in [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("PUT", "/progress"),
        ("POST", "/retry"),
        ("POST", "/cancel"),
        ("GET", "/events"),
    ]:
        for job_id in ("999", "0", "9" * 19, "9" * 5_000, "x", "-1"):
            body: Any = None if method in {"GET", "DELETE"} else {}
            answer = client.request(method, f"{prefix}/{job_id}{path}", json=body)
            assert answer.status_code == 404, (method, path, job_id, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("prefix", ["/api/job", "/api/jobs"])
def test_the_body_is_merged_into_the_arguments(
    client: TestClient, queue: JobQueue, prefix: str
) -> None:
    made = enqueue(client, wait=0)
    answer = client.patch(f"{prefix}/{made['id']}", json={"times": 2})
    assert (answer.status_code, answer.json()["args"]) == (200, {"who": "Ann", "times": 2})
    client.patch(f"{prefix}/{made['id']}", json={"who": "Ben"})
    queue.work_off()
    assert get(client, made["id"])["result"] == "hello Benhello Ben"


@pytest.mark.parametrize("body", [{"who": 1}, {"more": 1}, [], "x", {"who": None}])
def test_arguments_that_do_not_fit_change_nothing(client: TestClient, body: Any) -> None:
    made = enqueue(client)
    assert client.patch(f"/api/job/{made['id']}", json=body).status_code == 422
    assert get(client, made["id"]) == made


def test_a_failed_job_is_retried_with_other_arguments(
    client: TestClient, adapter: Adapter, queue: JobQueue
) -> None:
    job_id = enqueue(client, args={"who": "nobody"})["id"]
    for _ in range(2):
        adapter.retry(JobFilter())
        queue.work_off()
    assert get(client, job_id)["state"] == "failed"
    path = f"/api/job/{job_id}/retry"
    odd: Any
    for odd in ({"who": 1}, {"more": 1}, [], "x"):
        assert client.post(path, json={"args": odd}).status_code == 422
    assert get(client, job_id)["state"] == "failed"
    answer = client.post(path, json={"args": {"who": "Ann"}, "reason": "a typo"})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (job["state"], job["args"]) == ("ready", {"who": "Ann"})
    queue.work_off()
    assert get(client, job_id)["result"] == "hello Ann"
    [action] = adapter.actions(ActionFilter(), 1)
    assert (action.kind, action.reason) == ("retry", "a typo")
    assert action.target == {"ids": [job_id], "args": ["who"]}
    assert client.post(path, json={"args": {"who": "Ben"}}).status_code == 409


def test_secrets_are_not_replaced_by_their_masks_in_a_retry(client: TestClient) -> None:
    args = {"user": "ann", "password": "hunter2"}
    job_id = client.post("/api/job", json={"name": "Login", "args": args}).json()["id"]
    path = f"/api/job/{job_id}/retry"
    assert client.post(path, json={"args": {"password": "***"}}).status_code == 422
    answer = client.post(path, json={"args": {"user": "ben"}})
    assert answer.json()["args"] == {"user": "ben", "password": "***"}
    assert jobqueue.get(job_id).args == {"user": "ben", "password": "hunter2"}


def test_arguments_of_classes_that_are_not_open_are_not_changed_by_a_retry(
    client: TestClient, adapter: Adapter
) -> None:
    closed = sample.Closed.perform_later().id
    [unknown] = adapter.enqueue([NewJob("Elsewhere", "{}", "default", 50, 5)])
    for job_id in (closed, unknown.id):
        answer = client.post(f"/api/job/{job_id}/retry", json={"args": {}})
        assert answer.status_code == 422
        assert client.post(f"/api/job/{job_id}/retry").status_code == 200


def test_what_has_started_is_neither_changed_nor_deleted(
    client: TestClient, adapter: Adapter, queue: JobQueue
) -> None:
    running = enqueue(client)["id"]
    claim(adapter)
    for job_id in (running,):
        assert client.patch(f"/api/job/{job_id}", json={"times": 2}).status_code == 409
        assert client.delete(f"/api/job/{job_id}").status_code == 409
        assert client.post(f"/api/job/{job_id}/retry").status_code == 409
    done = enqueue(client)["id"]
    queue.work_off()
    for answer in (
        client.patch(f"/api/job/{done}", json={"times": 2}),
        client.delete(f"/api/job/{done}"),
        client.put(f"/api/job/{done}/progress", json=1),
        client.post(f"/api/job/{done}/retry"),
        client.post(f"/api/job/{done}/cancel"),
    ):
        assert (answer.status_code, answer.json()["title"]) == (409, "Conflict"), answer.text
    assert get(client, done)["state"] == "succeeded"


def test_jobs_whose_class_is_not_known_are_masked_and_not_changed(
    client: TestClient, adapter: Adapter
) -> None:
    [job] = adapter.enqueue([NewJob("Elsewhere", '{"a": 1}', "default", 50, 5)])
    assert get(client, job.id)["args"] == {"a": "***"}
    assert client.patch(f"/api/job/{job.id}", json={"a": 2}).status_code == 422
    assert client.delete(f"/api/job/{job.id}").json()["id"] == job.id
    assert adapter.get(job.id) is None


def test_what_a_job_says_of_its_secrets_is_masked(client: TestClient, queue: JobQueue) -> None:
    job = sample.Babbles.perform_later("ann", "hunter2")
    queue.work_off()
    answer = client.get(f"/api/job/{job.id}").json()
    assert answer["progress"] == {"fraction": 0.5, "message": "trying ***"}
    assert answer["result"] == {"tried": ["ann", "***"]}
    assert job.refresh().result == {"tried": ["ann", "hunter2"]}


def test_what_is_redacted_stays_so(client: TestClient) -> None:
    args = {"user": "ann", "password": "hunter2"}
    answers = [client.post("/api/job", json={"name": "Login", "args": args})]
    job_id = answers[0].json()["id"]
    answers += [
        client.get(f"/api/job/{job_id}"),
        client.get("/api/jobs"),
        client.patch(f"/api/job/{job_id}", json={"user": "ben"}),
        client.patch(f"/api/job/{job_id}", json={"password": 5}),
        client.post(f"/api/job/{job_id}/cancel"),
        client.post("/api/job", json={"name": "Login", "args": {"password": "hunter2"}}),
        client.delete(f"/api/job/{job_id}"),
    ]
    assert answers[1].json()["args"] == {"user": "ann", "password": "***"}
    assert not [answer.text for answer in answers if "hunter2" in answer.text]


def test_a_redacted_value_that_no_longer_fits_is_not_answered(
    client: TestClient, adapter: Adapter
) -> None:
    args = json.dumps({"user": "ann", "password": {"hunter2": "hunter2"}})
    [job] = adapter.enqueue([NewJob("websample.Login", args, "default", 50, 5)])
    answer = client.patch(f"/api/job/{job.id}", json={"user": "ben"})
    assert answer.status_code == 422
    assert "password" in answer.text
    assert "hunter2" not in answer.text


def test_no_progress_from_outside_shows_which_guess_of_a_secret_is_right(
    client: TestClient, adapter: Adapter
) -> None:
    job_id = enqueue(client, name="Login", args={"user": "ann", "password": "7171"})["id"]
    [unknown] = adapter.enqueue([NewJob("Elsewhere", '{"pin": 7171}', "default", 50, 5)])
    for number, why in ((job_id, "redacts arguments"), (unknown.id, "is not known here")):
        answer = client.put(f"/api/job/{number}/progress", json=["7170", "7171"])
        assert (answer.status_code, why in answer.json()["detail"]) == (422, True), answer.text
        assert get(client, number)["progress"] is None


def test_who_may_not_read_gets_the_id_and_the_state_alone(
    client: TestClient, queue: JobQueue
) -> None:
    job_id = enqueue(client)["id"]
    operator = Access("the operator", frozenset({Scope.OPERATE}))
    path = f"/api/job/{job_id}"
    with client_of(queue, lambda _: operator) as blind:
        assert blind.get(path).status_code == 403
        answers = [
            blind.patch(path, json={"times": 2}),
            blind.put(f"{path}/progress", json="half"),
            blind.post(f"{path}/cancel"),
            blind.post(f"{path}/retry"),
            blind.delete(path),
        ]
    states = ["ready", "ready", "cancelled", "ready", "ready"]
    assert [answer.json() for answer in answers] == [{"id": job_id, "state": s} for s in states]


def test_arguments_of_a_class_that_is_not_open_are_not_changed(
    client: TestClient, adapter: Adapter
) -> None:
    [job] = adapter.enqueue([NewJob("websample.Closed", "{}", "default", 50, 5)])
    answer = client.patch(f"/api/job/{job.id}", json={"path": "/etc"})
    assert (answer.status_code, "api = True" in answer.json()["detail"]) == (422, True)


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize("handler", ["websample.Hello", "websample.Login", "Elsewhere"])
@pytest.mark.parametrize("args", ['{"who": 1e999}', f'{{"who": {DEEP}, "password": {DEEP}}}'])
def test_a_row_that_json_cannot_write_is_answered_beside_the_others(
    client: TestClient, adapter: Adapter, handler: str, args: str
) -> None:
    [odd] = adapter.enqueue([NewJob(handler, args, "default", 50, 5)])
    adapter.set_progress(odd.id, DEEP)
    made = enqueue(client)
    listed = client.get("/api/jobs")
    assert listed.status_code == 200
    shown, hidden = listed.json()["jobs"]
    assert (shown, hidden["id"]) == (made, odd.id)
    for answer in (
        client.get(f"/api/job/{odd.id}"),
        client.post(f"/api/job/{odd.id}/retry"),
        client.post(f"/api/job/{odd.id}/cancel"),
        client.delete(f"/api/job/{odd.id}"),
    ):
        assert answer.status_code in {200, 409}, answer.text


def test_a_page_of_large_jobs_is_cut_and_goes_on(client: TestClient) -> None:
    who = "x" * 900_000
    made = [enqueue(client, args={"who": who})["id"] for _ in range(8)]
    found: list[int] = []
    before = None
    while before is not None or not found:
        where = {"limit": 200} | ({} if before is None else {"before": before})
        answer = client.get("/api/jobs", params=where)
        assert len(answer.content) < 6_000_000
        page = answer.json()
        found += [job["id"] for job in page["jobs"]]
        before = page["next"]
    assert found == made[::-1]


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ("started", "started"),
        (0.25, 0.25),
        (None, None),
        ([1, {"a": None}], [1, {"a": None}]),
        ({"page": 3}, {"page": 3}),
        ({"progress": 0.5}, 0.5),
        ({"progress": 0.5, "message": "half"}, {"fraction": 0.5, "message": "half"}),
        ({"progress": 0.5, "page": 3}, {"progress": 0.5, "page": 3}),
    ],
)
def test_progress_from_outside(client: TestClient, body: Any, stored: Any) -> None:
    made = enqueue(client)
    kind = {"content-type": "application/json"}
    path = f"/api/job/{made['id']}/progress"
    answer = client.put(path, content=json.dumps(body), headers=kind)
    assert (answer.status_code, answer.json()["progress"]) == (200, stored)
    assert get(client, made["id"])["progress"] == stored


def test_progress_that_json_cannot_carry(client: TestClient) -> None:
    made = enqueue(client)
    path, kind = f"/api/job/{made['id']}/progress", {"content-type": "application/json"}
    for text in ("NaN", '{"progress": 1, "message": 2}', '"\\ud800"', '"a\\u0000b"', ""):
        assert client.put(path, content=text, headers=kind).status_code == 422, text


def test_retry_and_cancel(client: TestClient, adapter: Adapter) -> None:
    made = enqueue(client, wait=3600)
    retried = client.post(f"/api/job/{made['id']}/retry").json()
    assert datetime.fromisoformat(retried["run_at"]) < datetime.fromisoformat(made["run_at"])
    cancelled = client.post(f"/api/job/{made['id']}/cancel", json={"reason": "no\0 more"}).json()
    assert (cancelled["state"], cancelled["last_error"]) == ("cancelled", "no\\x00 more")
    assert client.post(f"/api/job/{made['id']}/retry").json()["state"] == "ready"
    claim(adapter)
    running = client.post(f"/api/job/{made['id']}/cancel").json()
    assert (running["state"], running["last_error"]) == ("running", "cancelled by ann")
    assert running["cancel_requested_at"]


# --- lists ---------------------------------------------------------------------------------------


def test_pages_and_filters(client: TestClient) -> None:
    names = [("Hello", "a"), ("Merged", "a"), ("Hello", "b")] * 3
    args = {"who": "Ann"}
    made = [enqueue(client, name=n, queue=q, args=args)["id"] for n, q in names]
    client.post(f"/api/job/{made[0]}/cancel")

    def pages(**query: Any) -> list[list[int]]:
        found, before = [], None
        while True:
            given = query if before is None else {**query, "before": before}
            page = client.get("/api/jobs", params=given).json()
            found.append([job["id"] for job in page["jobs"]])
            before = page["next"]
            if before is None:
                return found

    assert pages() == [made[::-1]]
    assert pages(limit=4) == [made[:4:-1], made[4:0:-1], made[0:1]]
    assert pages(state="cancelled") == [[made[0]]]
    assert pages(state="cancelled,ready", limit=200) == [made[::-1]]
    assert pages(state=["cancelled", "ready"]) == [made[::-1]]
    assert pages(queue="b", name="Hello") == [made[2::3][::-1]]
    assert pages(name="websample.Merged") == [made[1::3][::-1]]
    assert pages(name="Nothing") == [[]]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=1&limit=2",
        "limit=" + "9" * 5_000,
        "before=0",
        "before=-1",
        "state=done",
        "state=",
        "queue=not%20a%20queue",
        "name=",
        "name=%00",
        "unknown=1",
        "state=" + ",".join(["ready"] * 51),
    ],
)
def test_queries_that_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/api/jobs?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


def test_the_mask_of_an_answer_does_not_replace_the_secret(
    client: TestClient, adapter: Adapter
) -> None:
    made = sample.Login.perform_later("ann", "hunter2")
    seen = client.get(f"/api/job/{made.id}").json()["args"]
    answer = client.patch(f"/api/job/{made.id}", json={**seen, "user": "ben"})
    assert (answer.status_code, "password is redacted" in answer.json()["detail"]) == (422, True)
    kept = adapter.get(made.id)
    assert kept is not None
    assert kept.args == {"user": "ann", "password": "hunter2"}


# --- in bulk -------------------------------------------------------------------------------------


def bulk(client: TestClient, what: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/jobs/{what}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_bulk_counts_first_and_then_does_it(
    client: TestClient, adapter: Adapter, queue: JobQueue
) -> None:
    for number in range(6):
        enqueue(client, queue="ab"[number % 2], args={"who": "nobody"})
    for _ in range(2):
        adapter.retry(JobFilter())
        queue.work_off()
    assert adapter.count_by_state() == {JobState.FAILED: 6}
    of_a = {"queue": ["a"]}
    dry = bulk(client, "retry", filter=of_a, dry_run=True)
    assert dry == {"dry_run": True, "count": 3, "more": False, "next": None, "action": None}
    assert adapter.count_by_state() == {JobState.FAILED: 6}
    assert bulk(client, "retry", filter=of_a)["count"] == 3
    assert bulk(client, "cancel", filter=of_a, reason="enough")["count"] == 3
    assert adapter.count_by_state() == {JobState.FAILED: 3, JobState.CANCELLED: 3}
    assert {job.last_error for job in adapter.list_jobs(JobFilter(queues=("a",)), 9)} == {"enough"}
    assert bulk(client, "delete", filter={"state": ["failed"]})["count"] == 3
    assert adapter.count_by_state() == {JobState.CANCELLED: 3}
    assert bulk(client, "delete", filter={"name": ["Hello"]}, dry_run=True)["count"] == 3


def test_bulk_cancel_asks_running_jobs_to_end(client: TestClient, adapter: Adapter) -> None:
    made = [enqueue(client)["id"] for _ in range(3)]
    claim(adapter, 1)
    assert bulk(client, "cancel", filter={"ids": made})["count"] == 3
    states = [get(client, job_id)["state"] for job_id in made]
    assert sorted(states) == ["cancelled", "cancelled", "running"]
    assert adapter.cancel_requests("worker-1")
    assert bulk(client, "delete", filter={"ids": made})["count"] == 2


def test_bulk_goes_on_where_one_request_ends(
    client: TestClient, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.bulk.BATCH", 3)
    monkeypatch.setattr("jobqueue.web.bulk.MOST_CHANGED", 5)
    adapter.enqueue([NewJob("Work", "{}", "default", 50, 5) for _ in range(8)])
    waiting = {"state": ["ready"]}
    first = bulk(client, "delete", filter=waiting)
    assert (first["count"], first["more"]) == (6, True)
    second = bulk(client, "delete", filter=waiting, before=first["next"])
    [last, before] = adapter.actions(ActionFilter(), 9)
    wanted = {"dry_run": False, "count": 2, "more": False, "next": None, "action": last.id}
    assert second == wanted
    assert [(a.number, a.state, a.before_id) for a in (before, last)] == [
        (6, ActionState.DONE, first["next"]),
        (2, ActionState.DONE, None),
    ]


@pytest.mark.parametrize("what", ["retry", "cancel", "delete"])
def test_bulk_needs_a_filter(client: TestClient, adapter: Adapter, what: str) -> None:
    enqueue(client)
    bodies: list[dict[str, Any]] = [
        {},
        {"filter": {}},
        {"filter": {"state": None}},
        {"filter": {"unknown": 1}},
        {"filter": {"state": ["succeeded" if what == "cancel" else "running"], "queue": 1}},
        {"filter": {"ids": ["1"]}},
        {"filter": {"queue": ["default"]}, "dry_run": "yes"},
    ]
    for body in bodies:
        answer = client.post(f"/api/jobs/{what}", json=body)
        assert answer.status_code == 422, (body, answer.text)
    assert adapter.count_by_state() == {JobState.READY: 1}


@pytest.mark.parametrize("what", ["retry", "cancel", "delete"])
@pytest.mark.parametrize("field", ["ids", "state", "queue", "name"])
def test_an_empty_list_does_not_mean_every_job(
    client: TestClient, adapter: Adapter, what: str, field: str
) -> None:
    sample.Hello.perform_later("Ann")
    answer = client.post(f"/api/jobs/{what}", json={"filter": {field: []}})
    assert (answer.status_code, field in answer.json()["detail"]) == (422, True)
    assert adapter.count_up_to(JobFilter(states=(JobState.READY,)), 9).number == 1


def test_what_a_broken_off_bulk_change_did_is_in_the_log(
    client: TestClient,
    adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "jobqueue")
    monkeypatch.setattr("jobqueue.bulk.BATCH", 2)
    for _ in range(3):
        sample.Hello.perform_later("Ann")
    page_jobs, asked = adapter.page_jobs, iter([True, False])

    def once(where: JobFilter, limit: int) -> Any:
        if not next(asked):
            raise DatabaseUnavailable("gone")
        return page_jobs(where, limit)

    monkeypatch.setattr(adapter, "page_jobs", once)
    answer = client.post("/api/jobs/delete", json={"filter": {"state": ["ready"]}})
    assert answer.status_code == 503
    assert "ann: deleted 2 jobs: state:ready" in caplog.text
    [action] = adapter.actions(ActionFilter(), 9)
    assert (action.state, action.number) == (ActionState.RUNNING, 2), "a worker goes on with it"


def test_running_jobs_are_not_deleted_in_bulk(client: TestClient, adapter: Adapter) -> None:
    enqueue(client)
    claim(adapter)
    answer = client.post("/api/jobs/delete", json={"filter": {"state": ["running"]}})
    assert answer.status_code == 422
    assert bulk(client, "delete", filter={"queue": ["default"]})["count"] == 0


# --- the log -------------------------------------------------------------------------------------


def test_every_change_is_in_the_log_with_who_did_it(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobqueue")
    job_id = enqueue(client, wait=60)["id"]
    path = f"/api/job/{job_id}"
    client.patch(path, json={"times": 2})
    client.put(f"{path}/progress", json=1)
    client.post(f"{path}/cancel")
    client.post(f"{path}/retry")
    client.delete(path)
    client.post("/api/queues/a/pause")
    client.post("/api/queues/a/resume")
    client.post("/api/jobs/cancel", json={"filter": {"queue": ["a"]}})
    client.post("/api/jobs/cancel", json={"filter": {"queue": ["a"]}, "dry_run": True})
    client.get(path)
    told = [r for r in caplog.records if getattr(r, "event", "") == "changed_from_outside"]
    assert {getattr(record, "who", None) for record in told} == {"ann"}
    title = f"websample.Hello #{job_id}"
    assert [record.getMessage() for record in told] == [
        f"ann: enqueued {title}",
        f"ann: changed the arguments of {title}",
        f"ann: set the progress of {title}",
        f"ann: cancelled {title}",
        f"ann: retried {title}",
        f"ann: deleted {title}",
        "ann: paused queue a",
        "ann: resumed queue a",
        "ann: cancelled 0 jobs: state:ready,gated,blocked,running queue:a",
    ]
    assert {getattr(record, "job_id", job_id) for record in told} == {job_id}


def test_classes_of_one_short_name(client: TestClient) -> None:
    class Twin(Job):
        name = "one.Twin"
        api = True

        def perform(self) -> None: ...

    class Other(Twin):
        name = "two.Twin"

        def perform(self) -> None: ...

    answer = client.post("/api/job", json={"name": "Twin"})
    assert answer.status_code == 422
    assert "one.Twin, two.Twin" in answer.json()["detail"]
    assert client.post("/api/job", json={"name": "two.Twin"}).json()["name"] == "two.Twin"


def test_text_of_any_kind_comes_back(client: TestClient) -> None:
    values = {"a": "Zo\u00eb \U0001f600", "b": [1.5, None, {"c": "\u2028"}], "n": 10**30}
    made = enqueue(client, name="Merged", args=values)
    assert get(client, made["id"])["args"] == values
    assert json.loads(json.dumps(made))["queue"] == sample.Merged.queue


# --- queries -------------------------------------------------------------------------------------


def test_a_query_asks_in_the_words_of_the_command_line(
    client: TestClient, adapter: Adapter
) -> None:
    for number in range(3):
        enqueue(client, queue=f"q{number}", meta={"tenant": number}, args={"who": f"Ann {number}"})

    def found(query: str) -> list[str]:
        answer = client.get("/api/jobs", params={"q": query})
        assert answer.status_code == 200, answer.text
        return [job["queue"] for job in answer.json()["jobs"]]

    assert found("meta.tenant:1 state:ready") == ["q1"]
    assert found('job:Hello args.who:"Ann 2"') == ["q2"]
    assert found("created:1h") == ["q2", "q1", "q0"]
    deleted = client.post("/api/jobs/delete", json={"filter": {"q": "meta.tenant:0"}})
    assert deleted.json()["count"] == 1
    assert adapter.count_jobs(JobFilter()) == 2


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("job:Login args.password:1234", "websample.Login keeps password secret"),
        ("args.who:Ann", "args. needs job: with a class that this server knows"),
        ("job:Nobody args.who:Ann", "args. needs job: with a class that this server knows"),
        ("stat:ready", "did you mean 'state'?"),
        (" ", "the query is empty"),
    ],
)
def test_a_query_that_is_refused(client: TestClient, query: str, said: str) -> None:
    """What is masked cannot be found out by asking, and nothing is guessed."""
    enqueue(client)
    for refused in (
        client.get("/api/jobs", params={"q": query}),
        client.post("/api/jobs/delete", json={"filter": {"q": query}}),
    ):
        assert refused.status_code == 422
        assert said in refused.json()["detail"]
