"""The numbers of a request are stored with all their digits, or the answer is 422."""

from __future__ import annotations

from decimal import Decimal

import pytest
from starlette.testclient import TestClient

import jobqueue
from jobqueue import Job, JobQueue

LONG = "1234567890123456.78"
JSON = {"content-type": "application/json"}


class Transfer(Job):
    api = True
    name = "web-transfer"

    def perform(self, amount: Decimal, rate: float = 1.0, note: str = "") -> None: ...


def post(client: TestClient, args: str, **headers: str) -> tuple[int, dict[str, object]]:
    body = f'{{"name": "web-transfer", "args": {args}}}'
    answer = client.post("/api/job", content=body, headers=JSON | headers)
    return answer.status_code, answer.json()


def test_every_digit_is_stored(client: TestClient, queue: JobQueue) -> None:
    status, answer = post(client, f'{{"amount": {LONG}, "rate": 0.10}}')
    assert status == 201
    assert answer["args"] == {"amount": LONG, "rate": 0.1}
    [job] = queue.adapter.claim(jobqueue.records.Claim("w", 1, 1, 1))
    assert job.args == f'{{"amount":"{LONG}","rate":0.1}}'


@pytest.mark.parametrize("args", [f'{{"amount": 1, "rate": {LONG}}}', f'{{"note": {LONG}}}'])
def test_or_it_is_refused(client: TestClient, queue: JobQueue, args: str) -> None:
    status, answer = post(client, args)
    assert status == 422
    assert queue.adapter.count_by_state() == {}
    if "rate" in args:
        assert f"{LONG} has more digits than a float" in str(answer)


def test_a_number_too_long_to_read_is_refused(client: TestClient) -> None:
    assert post(client, f'{{"amount": {"9" * 5000}}}')[0] == 422


def test_changed_arguments(client: TestClient) -> None:
    _, made = post(client, '{"amount": 1}')
    path = f"/api/job/{made['id']}"
    answer = client.patch(path, content=f'{{"amount": {LONG}}}', headers=JSON)
    assert (answer.status_code, answer.json()["args"]) == (200, {"amount": LONG})
    answer = client.patch(path, content=f'{{"rate": {LONG}}}', headers=JSON)
    assert answer.status_code == 422
    assert client.get(path).json()["args"] == {"amount": LONG}


def test_another_digit_is_another_body(client: TestClient) -> None:
    key = {"idempotency-key": "k"}
    args = f'{{"amount": {LONG}}}'
    assert post(client, args, **key)[0] == 201
    assert post(client, args, **key)[0] == 200
    assert post(client, '{"amount": 1234567890123456.79}', **key)[0] == 422
