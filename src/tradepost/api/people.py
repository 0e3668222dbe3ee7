"""Accounts, sessions and API tokens, for programs."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT

from tradepost.accounts.api_tokens import issue_token, revoke_token
from tradepost.accounts.queries import list_tokens
from tradepost.accounts.types import (
    ApiToken,
    AppSignIn,
    Caller,
    EditProfile,
    IssuedToken,
    NewToken,
    OwnProfile,
    RefreshForm,
    SignIn,
    SignUp,
    StartedSession,
    TokenPair,
)
from tradepost.api.repeatable import OWN_KEY
from tradepost.core.pages import Page
from tradepost.flows import app_sign_in
from tradepost.flows.manage_account import edit_profile, own_profile
from tradepost.flows.second_step import sign_in_whole
from tradepost.flows.sign_in import sign_out
from tradepost.flows.sign_up import sign_up
from tradepost.web.context import count_change
from tradepost.web.security import SESSION_COOKIE, cookie, forget
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest


def _answer(request: HttpRequest, started: StartedSession, profile: OwnProfile, status: int) -> Response[OwnProfile]:
    kept = cookie(SESSION_COOKIE, started.token, secure=request.url.scheme == "https")
    return Response(profile, status_code=status, cookies=[kept])


@post("/accounts", tags=["People"])
async def make_account(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, data: JSONBody[SignUp]
) -> Response[OwnProfile]:
    """Make an account and sign it in; the session comes as a cookie."""
    started = await sign_up(store, caller, data, request.headers.get("user-agent", ""))
    return _answer(request, started, await own_profile(store, started.caller), HTTP_201_CREATED)


@post("/sessions", tags=["People"])
async def start_session(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, data: JSONBody[SignIn]
) -> Response[OwnProfile]:
    """Sign in; the session comes as a cookie. Programs better use an API token."""
    started = await sign_in_whole(store, caller, data, request.headers.get("user-agent", ""))
    return _answer(request, started, await own_profile(store, started.caller), HTTP_201_CREATED)


@delete("/sessions/current", tags=["People"], status_code=HTTP_200_OK)
async def end_session(store: GivenStore, caller: GivenCaller) -> Response[None]:
    """Sign out."""
    await sign_out(store, caller)
    return Response(None, cookies=[forget(SESSION_COOKIE)])


@get("/me", tags=["People"])
async def me(store: GivenStore, caller: GivenCaller) -> OwnProfile:
    """Return what the caller has told about themselves."""
    return await own_profile(store, caller)


@patch("/me", tags=["People"])
async def change_me(store: GivenStore, caller: GivenCaller, data: JSONBody[EditProfile]) -> OwnProfile:
    """Change what is sent; the rest stays."""
    return await edit_profile(store, caller, data)


@get("/me/tokens", tags=["People"])
async def tokens(
    store: GivenStore, caller: GivenCaller, after: Annotated[str | None, QueryParameter(max_length=400)] = None
) -> Page[ApiToken]:
    """List the caller's API tokens, without their secrets."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await list_tokens(tx, caller, after=after)


@post("/me/tokens", tags=["People"])
async def make_token(store: GivenStore, caller: GivenCaller, data: JSONBody[NewToken]) -> IssuedToken:
    """Make an API token. Its secret is in this answer and never again."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await issue_token(tx, caller, data)


@delete("/me/tokens/{token_id:uuid}", tags=["People"])
async def drop_token(store: GivenStore, caller: GivenCaller, token_id: FromPath[UUID]) -> None:
    """Revoke an API token at once."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await revoke_token(tx, store.cache, caller, token_id)


def _address(request: HttpRequest) -> str:
    return request.client.host if request.client else ""


@post("/tokens", tags=["People"], opt={OWN_KEY: True})
async def sign_app_in(request: HttpRequest, store: GivenStore, data: JSONBody[AppSignIn]) -> TokenPair:
    """Sign an app in: an access token for a quarter of an hour, and a refresh token for the next pair. No cookie is read or set."""
    await count_change(request, store)
    caller = Caller(address=_address(request))
    return await app_sign_in.sign_in_app(store, caller, data, request.headers.get("user-agent", ""))


@post("/tokens/refresh", tags=["People"], status_code=HTTP_200_OK, opt={OWN_KEY: True})
async def refresh_tokens(request: HttpRequest, store: GivenStore, data: JSONBody[RefreshForm]) -> TokenPair:
    """Return the next pair of tokens. A refresh token is good once; one that comes a second time ends the app's sign-in."""
    await count_change(request, store)
    return await app_sign_in.refresh(store, _address(request), data.refresh_token)


@post("/tokens/revoke", tags=["People"], status_code=HTTP_204_NO_CONTENT, opt={OWN_KEY: True})
async def sign_app_out(request: HttpRequest, store: GivenStore, data: JSONBody[RefreshForm]) -> None:
    """End an app's sign-in, with every token of it."""
    await count_change(request, store)
    await app_sign_in.sign_out_app(store, _address(request), data.refresh_token)


people_routes: list[Any] = [
    sign_app_in,
    refresh_tokens,
    sign_app_out,
    make_account,
    start_session,
    end_session,
    me,
    change_me,
    tokens,
    make_token,
    drop_token,
]
