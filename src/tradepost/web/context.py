"""What handlers are given: the store by host name, and the caller by cookie or bearer token."""

from litestar.exceptions import NotFoundException

from tradepost.accounts.types import Caller
from tradepost.core.ids import token_hash
from tradepost.flows.sign_in import load_caller, load_caller_by_token
from tradepost.flows.store import Store
from tradepost.web.security import SESSION_COOKIE, check_csrf, form_secret
from tradepost.web.typing import GivenStore, HttpRequest


def provide_store(request: HttpRequest) -> Store:
    """Return the store that the request's host names. Raises a 404 for a host that is none."""
    store = request.scope.get("tradepost_store")
    if not isinstance(store, Store):
        raise NotFoundException("There is no store at this address.")
    return store


async def provide_caller(request: HttpRequest, store: GivenStore) -> Caller:
    """Return who makes the request. A bearer token wins over the cookie; a cookie's post must carry the CSRF token.

    Raises `StaleForm`, `TokenInvalid`.
    """
    address = request.client.host if request.client else ""
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        caller = await load_caller_by_token(store, authorization[7:].strip(), address)
    else:
        token = request.cookies.get(SESSION_COOKIE)
        caller = await load_caller(store, token, address) if token else Caller(address=address)
        request.state["caller"] = caller  # also for the page that says why a form was refused
        await check_csrf(form_secret(store.keys), request, caller)
    request.state["caller"] = caller
    return caller


def session_hash(request: HttpRequest) -> bytes | None:
    """Return the hash of the browser's session token, if it has one."""
    token = request.cookies.get(SESSION_COOKIE)
    return token_hash(token) if token else None
