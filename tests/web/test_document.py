"""The OpenAPI document says what the API does: schemathesis tries to show otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from jsonschema_rs import validator_for
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

import jobqueue.web
from jobqueue import JobQueue, MemoryAdapter
from jobqueue.records import NewJob
from jobqueue.web import Scope
from jobqueue.web.application import ALL_OPERATIONS
from jobqueue.web.openapi import document
from jobqueue.web.operations import Operation
from jobqueue.web.request_reader import LONGEST_BODY
from jobqueue.web.table import OPERATIONS
from jobqueue.web.tokens import create_token
from tests.web.conftest import client_of

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def filled() -> JobQueue:
    adapter = MemoryAdapter()
    adapter.enqueue([NewJob("websample.Hello", '{"who": "Ann"}', "default", 50, 5)] * 50)
    return JobQueue(adapter)


attacked = filled()
_, TOKEN = create_token(attacked.adapter, "tests", list(Scope))
application: Any = jobqueue.web.app(jobqueue.web.bearer_tokens(attacked), queue=attacked)
loaded = schemathesis.openapi.from_asgi(
    "/api/openapi.json", application, headers={"Authorization": f"Bearer {TOKEN}"}
)
schema: Any = loaded.exclude(path_regex="/events$")


@schema.auth()
class Login:
    def get(self, case: Any, context: Any) -> str:
        return TOKEN

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_the_document_allows_is_answered_as_it_says(case: Any) -> None:
    case.call_and_validate(checks=CHECKS)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(filled()) as made:
        yield made


def documented(path: str) -> str:
    """A path as the document writes it."""
    return re.sub(r":\w+}", "}", path)


def test_it_has_every_operation(client: TestClient) -> None:
    found = client.get("/api/openapi.json").json()
    assert found == document(OPERATIONS)
    assert found["openapi"] == "3.1.0"
    described = {(m.upper(), p) for p, item in found["paths"].items() for m in item}
    wanted = {(o.method, documented(o.path)) for o in ALL_OPERATIONS}
    assert described == wanted - {("GET", "/api/openapi.json")}
    names = [
        operation["operationId"] for item in found["paths"].values() for operation in item.values()
    ]
    assert len(set(names)) == len(names)


def test_every_model_that_has_an_example_takes_it(client: TestClient) -> None:
    found = client.get("/api/openapi.json").json()
    schemas = found["components"]["schemas"]
    with_examples = {name: s for name, s in schemas.items() if "examples" in s}
    assert set(with_examples) >= {"NewJobBody", "JobAnswer", "BulkBody", "ProblemAnswer"}
    for name, one in with_examples.items():
        whole = {"components": found["components"], "$ref": f"#/components/schemas/{name}"}
        for example in one["examples"]:
            validator_for(whole).validate(example)


def test_the_example_is_a_job_as_it_is_answered(client: TestClient) -> None:
    found = client.get("/api/openapi.json").json()
    [example] = found["components"]["schemas"]["JobAnswer"]["examples"]
    assert set(example) == set(client.get("/api/job/50").json())


def test_it_is_json_that_others_can_read(client: TestClient) -> None:
    text = client.get("/api/openapi.json").text
    assert "$defs" not in json.loads(text)["components"]["schemas"]
    assert "#/$defs" not in text


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.summary)
def test_every_way_of_being_refused_is_in_it(operation: Operation) -> None:
    """Also those that no generated request comes upon."""
    path = documented(operation.path)
    described = document(OPERATIONS)["paths"][path][operation.method.lower()]["responses"]
    asked = path.replace("{id}", "50").replace("{name}", "default")
    kind, too_much = {"content-type": "text/plain"}, b" " * (LONGEST_BODY + 1)
    with client_of(filled(), allowed_hosts=["here"]) as client:
        statuses = {client.request(operation.method, asked).status_code}
    with client_of(filled()) as client:
        if operation.method != "GET":
            statuses |= {
                client.request(operation.method, asked, content=b"x", headers=kind).status_code,
                client.request(operation.method, asked, content=too_much).status_code,
            }
        cross = {"sec-fetch-site": "cross-site"}
        statuses |= {client.request(operation.method, asked, headers=cross).status_code}
    if operation.scope is not None:
        with client_of(filled(), lambda _: None) as client:
            statuses |= {client.request(operation.method, asked).status_code}
    assert {str(status) for status in statuses} <= set(described)
    assert statuses >= {421, 403}
    assert (statuses >= {413, 415}) == (operation.method != "GET")
