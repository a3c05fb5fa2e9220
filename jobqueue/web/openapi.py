"""The OpenAPI document, which is made from the same table as the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from jobqueue import __version__
from jobqueue.records import LARGEST_ID
from jobqueue.web.models import ProblemAnswer
from jobqueue.web.operations import Operation

REFERENCE = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "id": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID},
    "key": {"type": "string", "pattern": r"^[A-Za-z0-9_.:\-]{1,100}$"},
    "schedule": {"type": "string", "minLength": 1},
    "limit": {"type": "string", "minLength": 1},
    "name": {"type": "string", "pattern": r"^[A-Za-z0-9_.:\-]{1,128}$"},
}
ABOUT = (
    "Jobs of jobqueue. What is said of `/api/job/{id}` holds of `/api/jobs/{id}` too, and "
    "`POST /api/jobs` is `POST /api/job`. Everything that goes wrong is answered with "
    "`application/problem+json`."
)

Schemas = Mapping[Any, dict[str, Any]]


def document(operations: Iterable[Operation], root_path: str = "") -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        operations: the operations that it describes.
        root_path: the path that the API is mounted at.
    """
    operations = list(operations)
    schemas, components = _schemas_of(operations)
    paths: dict[str, Any] = {}
    for operation in operations:
        path = re.sub(r":\w+}", "}", operation.path)
        described = _operation(operation, schemas)
        paths.setdefault(path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobqueue", "version": __version__, "description": ABOUT},
        "servers": [{"url": root_path or "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `jobqueue token create`, where the API is served "
                    "with them; whatever its hook asks for, where it has another.",
                }
            },
        },
    }


def _schemas_of(operations: Iterable[Operation]) -> tuple[Schemas, dict[str, Any]]:
    """Return the schema of each model for each use, and the components that they refer to."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (ProblemAnswer, "serialization"): None
    }
    for operation in operations:
        if _is_model(operation.body):
            models[operation.body, "validation"] = None
        if operation.query is not None:
            models[operation.query, "validation"] = None
        for answer in operation.answers.values():
            if answer is not None:
                models[answer, "serialization"] = None
    return models_json_schema(list(models), ref_template=REFERENCE, schema_generator=_Schema)


class _Schema(GenerateJsonSchema):
    """Schemas without the titles that pydantic makes of names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - of none
        return False


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "_", operation.summary.lower()),
        "responses": _responses(operation, schemas),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _request_body(operation, schemas)
    if operation.scope is None:
        described["security"] = []
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)", operation.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": PARAMETERS[name]} for name in names
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = TypeAdapter(operation.query).json_schema(
        ref_template=REFERENCE, schema_generator=_Schema
    )
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": described.pop("description", ""),
            "schema": _without_null(described),
        }
        for name, described in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without null, which no query string can have."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    default = {} if schema.get("default") is None else {"default": schema["default"]}
    return {**rest, **(kinds[0] if kinds else {}), **default}


def _headers(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        for name, description in operation.headers.items()
    ]


def _request_body(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    if _is_model(operation.body):
        schema: Any = schemas[operation.body, "validation"]
    else:
        schema = TypeAdapter(operation.body).json_schema()
    return {
        "required": operation.needs_body,
        "content": {"application/json": {"schema": schema}},
    }


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    answers = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {operation.media_type: {"schema": _answer_schema(model, schemas)}},
        }
        for status, model in operation.answers.items()
    }
    problem = {PROBLEM: {"schema": schemas[ProblemAnswer, "serialization"]}}
    problems = {
        str(status): {"description": HTTPStatus(status).phrase, "content": problem}
        for status in sorted(_problem_statuses(operation))
    }
    return answers | problems


def _answer_schema(model: type[BaseModel] | None, schemas: Schemas) -> Any:
    return {"type": "string"} if model is None else schemas[model, "serialization"]


def _problem_statuses(operation: Operation) -> set[int]:
    statuses = {403, 421, 503, *operation.problems}
    if operation.scope is not None:
        statuses |= {401}
    if operation.query is not None or "{name}" in operation.path:
        statuses |= {422}
    if operation.method != "GET":
        statuses |= {408, 413, 415}
    if operation.body is not None:
        statuses |= {422}
    return statuses
