"""Domain errors as pages."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import structlog
from litestar import Response
from litestar.exceptions import HTTPException

from tradepost.accounts.types import Caller, ProveItAgain, SignInFirst
from tradepost.catalog.listing_pages import known_categories
from tradepost.core.database import DatabaseUnreachable
from tradepost.core.errors import DomainError
from tradepost.flows.sign_in import load_caller
from tradepost.flows.store import Store
from tradepost.web.pages import framed, go
from tradepost.web.rendering import template
from tradepost.web.security import SESSION_COOKIE
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
    408: "That took too long", 409: "Somebody was faster", 413: "That is too large", 422: "Please check that again", 429: "A little slower, please",
    500: "Something broke on our side", 503: "Back in a moment",
}  # fmt: skip
NO_STORE = "There is no store at this address; it may be mistyped."


def error_page(request: HttpRequest, error: Exception) -> Response[Any]:
    """Return the page for an error: what happened and what to do; a person who must sign in is sent there."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if isinstance(error, SignInFirst) and request.method == "GET":
        return go(request, f"/sign-in?next={quote(here)}", say="Please sign in first.", tone="info")
    if isinstance(error, ProveItAgain):
        target = quote(here) if request.method == "GET" else "/me/security"
        return go(request, f"/me/confirm?next={target}", say="Please show that it is you, then try again.", tone="info")
    status, message = describe(request, error)
    store = request.scope.get("tradepost_store")
    title = TITLES.get(status, TITLES[400])
    if not isinstance(store, Store):
        return _no_store_page(request, status, title, NO_STORE if status == 404 else message)
    if isinstance(error, DatabaseUnreachable):
        # The frame of the page would promise what cannot be had now: say so without it.
        body = template("pages/error_bare.html").render(title=title, message=message, store=store.settings)
        return Response(body, status_code=status, media_type="text/html", headers={"retry-after": "5"})

    def drawn(caller: Caller) -> Response[str]:
        answer = framed(
            request, store, caller, "error", status=status, title=title, message=message,
            request_id=request.scope.get("request_id", ""), categories=known_categories(store.db), cart_count=0,
        )  # fmt: skip
        if status == 429:
            answer.headers["retry-after"] = str(getattr(error, "retry_after_s", 60))
        return answer

    known = request.state.get("caller")
    return drawn(known) if known else _AskWhoItIs(request, store, drawn)


class _AskWhoItIs(Response[Any]):
    """An error page of an address that no handler answers, so nobody has asked who came: that takes the database.

    Exception handlers cannot wait for anything; what they return may.
    """

    def __init__(self, request: HttpRequest, store: Store, drawn: Callable[[Caller], Response[str]]) -> None:
        super().__init__(None)
        self._known = (request, store, drawn)

    def to_asgi_response(self, app: Any, request: Any, **options: Any) -> Any:
        """Return what answers once it is known who asks."""
        asked, store, drawn = self._known

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            page = drawn(await _caller_of(asked, store))
            await page.to_asgi_response(app, request, **options)(scope, receive, send)

        return answer


async def _caller_of(request: HttpRequest, store: Store) -> Caller:
    address = request.client.host if request.client else ""
    try:
        return await load_caller(store, request.cookies.get(SESSION_COOKIE), address)
    except DomainError:
        return Caller(address=address)


def _no_store_page(request: HttpRequest, status: int, title: str, message: str) -> Response[str]:
    """Say that there is no store at this address; in a demo, where the list of stores is."""
    stores: dict[str, Store] = request.scope["tradepost_stores"]  # type: ignore[typeddict-item]  # our own key
    shown = next((store for store in stores.values() if store.is_demo), None)
    index = shown.base_url.replace(f"://{shown.code}.", "://", 1) if shown else ""
    body = template("pages/error_no_store.html").render(title=title, message=message, index=index)
    return Response(body, status_code=status, media_type="text/html")


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
