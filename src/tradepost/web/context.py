"""What handlers are given: the store by host name, and the caller by cookie or bearer token; the same for WebSockets."""

from uuid import UUID

import msgspec
from litestar.exceptions import NotFoundException

from tradepost.accounts.types import Caller
from tradepost.core.database import OnlyLooking
from tradepost.core.errors import NotFound
from tradepost.core.ids import token_hash
from tradepost.core.limits import check_rate, network_of
from tradepost.flows.editions import look_again
from tradepost.flows.see_as import eyes_of
from tradepost.flows.sign_in import load_caller, load_caller_by_token
from tradepost.flows.store import Store
from tradepost.web.security import SESSION_COOKIE, StaleForm, check_csrf, comes_from_elsewhere, form_secret
from tradepost.web.typing import GivenStore, HttpRequest, HttpSocket

LOOK_COOKIE = "look"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ALLOWED_LOOKING = frozenset({"/office/look/end", "/sign-out", "/scheme"})


class NothingToHear(NotFound):
    """There is nothing to listen to here."""


def provide_store(request: HttpRequest) -> Store:
    """Return the store that the request's host names. Raises a 404 for a host that is none."""
    store = request.scope.get("tradepost_store")
    if not isinstance(store, Store):
        raise NotFoundException("There is no store at this address.")
    return store


async def provide_caller(request: HttpRequest, store: GivenStore) -> Caller:
    """Return who makes the request. A bearer token wins over the cookie; a cookie's post must carry the CSRF token.

    What changes something is counted by address and endpoint first. Raises `StaleForm`, `TokenInvalid`, `TooOften`.
    """
    address = request.client.host if request.client else ""
    await look_again(store)
    await count_change(request, store)
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith("bearer "):
        caller = await load_caller_by_token(store, authorization[7:].strip(), address)
    else:
        token = request.cookies.get(SESSION_COOKIE)
        caller = await load_caller(store, token, address) if token else Caller(address=address)
        request.state["caller"] = caller  # also for the page that says why a form was refused
        await check_csrf(form_secret(store.keys), request, caller)
        caller = await _with_borrowed_eyes(request, store, caller)
    request.state["caller"] = caller
    return caller


class Calling(msgspec.Struct, frozen=True):
    """Who calls by WebSocket, as far as their browser says: kept, so that each thing they say is asked about anew."""

    store: Store
    address: str
    bearer: str | None
    token: str | None
    look: UUID | None
    is_from_elsewhere: bool

    @classmethod
    def by(cls, socket: HttpSocket) -> "Calling":
        """Read a call. Raises `NothingToHear` for a host that is no store."""
        store = socket.scope.get("tradepost_store")
        if not isinstance(store, Store):
            raise NothingToHear
        authorization = socket.headers.get("authorization", "")
        bearer = authorization[7:].strip() if authorization.lower().startswith("bearer ") else None
        return cls(
            store=store, address=socket.client.host if socket.client else "", bearer=bearer,
            token=socket.cookies.get(SESSION_COOKIE), look=as_uuid(socket.cookies.get(LOOK_COOKIE, "")),
            is_from_elsewhere=comes_from_elsewhere(socket),
        )  # fmt: skip

    async def caller(self) -> Caller:
        """Return who calls. A page of another site may call with a person's cookies. Raises `StaleForm`, `TokenInvalid`."""
        if self.bearer is not None:
            return await load_caller_by_token(self.store, self.bearer, self.address)
        if self.is_from_elsewhere:
            raise StaleForm
        caller = await load_caller(self.store, self.token, self.address)
        return await eyes_of(self.store, caller, self.look) if self.look else caller

    async def sayer(self, endpoint: str) -> Caller:
        """Return who says what a post to `endpoint` would say, counted with such posts. Raises also `OnlyLooking`, `TooOften`."""
        await _count(self.store, self.address, f"POST {endpoint}")
        caller = await self.caller()
        if caller.behind:
            raise OnlyLooking
        return caller


async def count_change(request: HttpRequest, store: Store) -> None:
    """Count a request that changes something. Raises `TooOften`."""
    if request.method not in SAFE_METHODS:
        address = request.client.host if request.client else ""
        await _count(store, address, f"{request.method} {request.scope['path_template']}")


async def _count(store: Store, address: str, endpoint: str) -> None:
    most = store.installation.http.most_changes
    if most:
        await check_rate(store.cache, network_of(address), endpoint, most)


async def _with_borrowed_eyes(request: HttpRequest, store: Store, caller: Caller) -> Caller:
    """Return the person whom staff look at the store as, where they do. Raises `OnlyLooking` for whatever would change something."""
    asked = as_uuid(request.cookies.get(LOOK_COOKIE, ""))
    if asked is None:
        return caller
    seen = await eyes_of(store, caller, asked)
    request.state["caller"] = seen
    if seen.behind and request.method not in SAFE_METHODS and request.url.path not in ALLOWED_LOOKING:
        raise OnlyLooking
    return seen


def as_uuid(text: str) -> UUID | None:
    """Return a UUID, or None for any other text."""
    try:
        return UUID(text)
    except ValueError:
        return None


def session_hash(request: HttpRequest) -> bytes | None:
    """Return the hash of the browser's session token, if it has one."""
    token = request.cookies.get(SESSION_COOKIE)
    return token_hash(token) if token else None
