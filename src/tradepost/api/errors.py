"""Domain errors as problem+json: one table from kind to status."""

from typing import Any

import msgspec
from litestar import Response
from litestar.exceptions import ValidationException

from tradepost.accounts.types import SignInFirst
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.web.errors import describe
from tradepost.web.typing import HttpRequest


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, as RFC 9457 has it. `code` is stable; `errors` names fields."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    errors: dict[str, str] | None = None
    request_id: str | None = None


def problem(request: HttpRequest, error: Exception) -> Response[Any]:
    """Return the answer for any error."""
    status, detail = describe(request, error)
    if isinstance(error, SignInFirst):
        status = 401
    code = error.code if isinstance(error, DomainError) else _CODES.get(status, "BadRequest")
    body = Problem(
        type=f"/api/problems#{code}", title=code, status=status, code=code, detail=detail, field=getattr(error, "field", None),
        errors=_field_errors(error), request_id=request.scope.get("request_id"),  # type: ignore[arg-type]  # our own key
    )  # fmt: skip
    headers = {"retry-after": str(getattr(error, "retry_after_s", 60))} if status == 429 else None
    return Response(body, status_code=status, media_type="application/problem+json", headers=headers)


_CODES = {400: "BadRequest", 401: "SignInFirst", 404: "NotFound", 405: "MethodNotAllowed", 408: "TooSlow", 413: "BodyTooLarge",
          415: "UnsupportedMediaType", 500: "InternalError"}  # fmt: skip


def _field_errors(error: Exception) -> dict[str, str] | None:
    if isinstance(error, FieldErrors):
        return error.errors
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        return {str(e.get("key", "body")): str(e.get("message", "")) for e in error.extra if isinstance(e, dict)}
    return None
