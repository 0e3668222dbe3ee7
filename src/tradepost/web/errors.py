"""Domain errors as pages."""

from typing import Any
from urllib.parse import quote

import structlog
from litestar import Response
from litestar.exceptions import HTTPException

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.catalog.listing_pages import known_categories
from tradepost.core.database import DatabaseUnreachable
from tradepost.core.errors import DomainError
from tradepost.flows.store import Store
from tradepost.web.pages import framed, go
from tradepost.web.rendering import template
from tradepost.web.typing import HttpRequest

log = structlog.get_logger("tradepost.web")
STATUS = {
    "not_found": 404,
    "refused": 403,
    "conflict": 409,
    "invalid": 422,
    "too_many": 429,
    "unavailable": 503,
    "error": 400,
}
TITLES = {
    400: "That did not work", 403: "Not for you, sorry", 404: "Nothing here", 405: "That is not possible here",
    409: "Somebody was faster", 413: "That is too large", 422: "Please check that again", 429: "A little slower, please",
    500: "Something broke on our side", 503: "Back in a moment",
}  # fmt: skip


def error_page(request: HttpRequest, error: Exception) -> Response[Any]:
    """Return the page for an error: what happened and what to do; a person who must sign in is sent there."""
    if isinstance(error, SignInFirst) and request.method == "GET":
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return go(request, f"/sign-in?next={quote(here)}", say="Please sign in first.", tone="info")
    status, message = describe(request, error)
    store = request.scope.get("tradepost_store")
    if not isinstance(store, Store):
        return Response(f"{TITLES.get(status, 'Error')}: {message}", status_code=status, media_type="text/plain")
    title = TITLES.get(status, TITLES[400])
    if isinstance(error, DatabaseUnreachable):
        # The frame of the page would promise what cannot be had now: say so without it.
        body = template("pages/error_bare.html").render(title=title, message=message, store=store.settings)
        return Response(body, status_code=status, media_type="text/html", headers={"retry-after": "5"})
    return framed(
        request, store, request.state.get("caller") or Caller(), "error", status=status, title=title,
        message=message, request_id=request.scope.get("request_id", ""), categories=known_categories(store.db), cart_count=0,
    )  # fmt: skip


def describe(request: HttpRequest, error: Exception) -> tuple[int, str]:
    """Return the status and the sentence for any error; what is not foreseen is logged with its traceback."""
    if isinstance(error, DomainError):
        if isinstance(error, DatabaseUnreachable):
            log.warning("database_unreachable", path=request.url.path)
        return STATUS[error.kind], error.message
    if isinstance(error, HTTPException) and error.status_code < 500:
        status = error.status_code
        return status, "The address may be mistyped, or the page has moved." if status == 404 else error.detail
    log.error("unforeseen_error", path=request.url.path, request_id=request.scope.get("request_id"), exc_info=error)
    return 500, "We have been told. Nothing you did was lost; please try again in a moment."
