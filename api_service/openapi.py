"""Swagger UI and the document behind it, made fresh with an example for each type that workers have announced."""

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api_service.dependencies import ServicesDep
from api_service.problems import ProblemView
from api_service.report_views import DummyReportBody, HeavyReportBody
from api_service.scopes import is_public, scopes_for
from api_service.services import Services
from shared import jsontext
from shared.accepting.envelope import BatchSubmission, TaskSubmission
from shared.domain.task_type import TaskTypeInfo
from shared.errors import DatabaseUnavailableError

log = structlog.get_logger(__name__)
router: Final = APIRouter(include_in_schema=False)

_STATIC: Final = Path(__file__).parent / "dashboard" / "static"

# Everything comes from here. Swagger UI sets styles on its elements, which only 'unsafe-inline' allows.
_PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_BODIES: Final[Mapping[str, type[BaseModel]]] = {
    "/tasks": TaskSubmission,
    "/tasks/batch": BatchSubmission,
    "/reports/heavy": HeavyReportBody,
    "/reports/dummy": DummyReportBody,
}

_SECURITY_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, where keys are on"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header"},
}

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and the same body within 24 hours give the first task again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def install(app: FastAPI) -> None:
    """Serve the pages and the files they load."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")


@router.get("/docs")
async def swagger_ui() -> Response:
    """The page on which every route can be tried."""
    return Response(_page(), headers=_PAGE_HEADERS, media_type="text/html")


@router.get("/openapi.json")
async def openapi_document(request: Request, services: ServicesDep) -> Response:
    """The API as OpenAPI describes it."""
    document = describe(request.app, await _known_types(services))
    return Response(jsontext.dumps(document), media_type="application/json")


def describe(app: FastAPI, types: Mapping[str, TaskTypeInfo]) -> dict[str, Any]:
    """The OpenAPI document, with an example of a submission for each of `types`."""
    document = deepcopy(app.openapi())
    _add_schemas(document)
    document["components"]["securitySchemes"] = _SECURITY_SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _document_problems(operation)
            operation["security"] = _security(method.upper(), path)
        if model := _BODIES.get(path):
            _document_body(operations["post"], model)
    if types:
        content = document["paths"]["/tasks"]["post"]["requestBody"]["content"]["application/json"]
        content["examples"] = {name: _example(info) for name, info in types.items()}
    return document


async def _known_types(services: Services) -> Mapping[str, TaskTypeInfo]:
    try:
        return await services.store.task_types.all()
    except DatabaseUnavailableError as error:
        log.warning("docs_without_examples", reason=str(error))
        return {}


def _example(info: TaskTypeInfo) -> dict[str, Any]:
    return {"summary": info.summary or info.name, "value": {"type": info.name, "payload": info.example}}


@cache
def _page() -> bytes:
    return (_STATIC / "docs.html").read_bytes()


def _add_schemas(document: dict[str, Any]) -> None:
    _, schemas = models_json_schema(
        [*((model, "validation") for model in _BODIES.values()), (ProblemView, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    known = document["components"]["schemas"]
    known |= schemas["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        known.pop(unused, None)


def _document_problems(operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "What is wrong",
        "content": {"application/problem+json": {"schema": _reference(ProblemView)}},
    }


def _security(method: str, path: str) -> list[dict[str, list[str]]]:
    """Which key opens a route: any of these ways, each with the scope that it takes."""
    if is_public(method, path):
        return []
    return [{scheme: [scope]} for scope in sorted(scopes_for(method, path)) for scheme in _SECURITY_SCHEMES]


def _document_body(operation: dict[str, Any], model: type[BaseModel]) -> None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})  # examples of a route
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _reference(model), **content}},
    }
    operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
