"""The API's own documentation: the OpenAPI document and a page drawn from it on the server, without a script."""

from functools import lru_cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get

from tradepost.web.pages import page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_METHODS = ("get", "post", "put", "patch", "delete")


@get("/api", include_in_schema=False)
async def documentation(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show every operation of the API with its parameters, bodies and answers."""
    groups, schemas = _described(request.app)
    return await page(request, store, caller, "api_docs", groups=groups, schemas=schemas)


@get("/api/openapi.json", include_in_schema=False, sync_to_thread=False)
def document(request: HttpRequest) -> Response[bytes]:
    """Send the whole description as OpenAPI 3.1."""
    return Response(
        _document(request.app), media_type="application/json", headers={"cache-control": "public, max-age=300"}
    )


@lru_cache(maxsize=4)
def _document(app: Litestar) -> bytes:
    return msgspec.json.encode(app.openapi_schema.to_schema())


@lru_cache(maxsize=4)
def _described(
    app: Litestar,
) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, str, list[tuple[str, str, bool, str]]]]]:
    """Return the operations by group, and the schemas; drawn up once, because that takes a while."""
    schema = app.openapi_schema.to_schema()
    return _groups(schema), _schemas(schema)


def _groups(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in schema["paths"].items():
        for method in _METHODS:
            if method in operations:
                groups.setdefault((operations[method].get("tags") or ["Other"])[0], []).append(
                    _operation(path, method, operations[method])
                )
    return dict(sorted(groups.items()))


def _operation(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    bodies = operation.get("requestBody", {}).get("content", {})
    answers = {code: a.get("content", {}) for code, a in operation.get("responses", {}).items()}
    return {
        "id": operation.get("operationId", f"{method}-{path}"), "method": method.upper(), "path": path,
        "summary": operation.get("description") or operation.get("summary", ""),
        "parameters": [
            {"name": p["name"], "in": p["in"], "type": _type(p.get("schema", {})), "required": p.get("required", False),
             "text": p.get("description") or p.get("schema", {}).get("description", "")}
            for p in operation.get("parameters", [])
        ],
        "body": next((_type(b.get("schema", {})) for b in bodies.values()), ""),
        "answers": [(code, next((_type(c.get("schema", {})) for c in content.values()), "")) for code, content in answers.items()],
    }  # fmt: skip


def _schemas(schema: dict[str, Any]) -> list[tuple[str, str, list[tuple[str, str, bool, str]]]]:
    found = []
    for name, body in sorted(schema.get("components", {}).get("schemas", {}).items()):
        required = set(body.get("required", ()))
        fields = [(f, _type(s), f in required, s.get("description", "")) for f, s in body.get("properties", {}).items()]
        found.append((name, body.get("description", ""), fields))
    return found


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(s) for s in schema.get("oneOf") or schema.get("anyOf", [])))
    if "enum" in schema:
        return " or ".join(f"“{v}”" for v in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    return f"{kind} ({schema['format']})" if schema.get("format") else str(kind)


docs_routes = [documentation, document]
