"""Links in letters, and the second step of a sign-in: pages for people who are not signed in."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.one_time import Kind
from tradepost.accounts.passkeys import options_to_sign_in
from tradepost.accounts.types import Caller, LinkSpent, SecondStepNeeded, StartedSession
from tradepost.core.errors import DomainError
from tradepost.flows import account_links
from tradepost.flows.account_links import ask_link, look_at_link
from tradepost.flows.second_step import ask_second_step, finish_by_code, sign_in_by_passkey, site_of
from tradepost.flows.store import Store
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.security import SESSION_COOKIE, cookie, forget
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

KINDS: dict[str, Kind] = {
    "email": "email", "reset": "reset", "sign-in": "sign_in", "change-old": "change_old", "change-new": "change_new",
    "reopen": "reopen",
}  # fmt: skip
_SENT = "If there is such an account, a letter is on its way to it. It may take a minute."


def session_cookie(request: HttpRequest, started: StartedSession) -> Any:
    """Return the cookie of a new session."""
    return cookie(SESSION_COOKIE, started.token, secure=request.url.scheme == "https")


def welcome(request: HttpRequest, started: StartedSession, target: str) -> Redirect:
    """Send somebody who is signed in now where they wanted to go; staff who must add a second step first, there."""
    kept = (session_cookie(request, started),)
    if started.caller.lacks_second_step:
        say = "This store asks its staff for a second step. Please add one: an app or a passkey."
        return go(request, "/me/security", say=say, tone="warn", cookies=kept)
    return go(request, target or "/", say=f"Welcome back, {started.caller.display_name}.", cookies=kept)


@get("/forgot", include_in_schema=False)
async def forgot_form(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Ask who needs a link: for a new password, or to sign in without one."""
    return await page(request, store, caller, "forgot", form={}, errors={})


@post("/forgot", include_in_schema=False)
async def forgot_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Have a link sent; the answer is the same whether there is an account or not."""
    form = await read_form(request)
    kind: Kind = "sign_in" if form.get("what") == "sign_in" else "reset"
    try:
        await ask_link(store, caller, form.get("login"), kind)
    except DomainError as error:
        status = 429 if error.kind == "too_many" else 422
        return await page(request, store, caller, "forgot", status=status, form=form.texts, errors=problems_of(error))
    return go(request, "/forgot", say=_SENT, tone="info")


@get("/link/{kind:str}", include_in_schema=False)
async def link_form(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str], token: FromQuery[str] = ""
) -> Response[str]:
    """Say what a letter's link will do, with a button: programs that look into mail press none."""
    return await _link_page(request, store, caller, kind, token, {})


async def _link_page(
    request: HttpRequest, store: Store, caller: Caller, kind: str, token: str, errors: dict[str, str]
) -> Response[str]:
    if kind not in KINDS:
        raise LinkSpent
    pending = await look_at_link(store, caller, token, KINDS[kind])
    answer = await page(
        request, store, caller, "link", status=422 if errors else 200, kind=kind, token=token, pending=pending, errors=errors
    )  # fmt: skip
    answer.headers["cache-control"] = "no-store"
    answer.headers["referrer-policy"] = "no-referrer"
    return answer


@post("/link/{kind:str}", include_in_schema=False)
async def link_now(request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str]) -> Response[Any]:
    """Do what the link is for."""
    form = await read_form(request)
    token = form.get("token")
    if kind == "sign-in":
        return await _sign_in_by_link(request, store, caller, token)
    if kind not in KINDS:
        raise LinkSpent
    try:
        return await _follow(request, store, caller, kind, form)
    except DomainError as error:
        if error.kind != "invalid":
            raise
        return await _link_page(request, store, caller, kind, token, problems_of(error))


async def _follow(request: HttpRequest, store: Store, caller: Caller, kind: str, form: Form) -> Response[Any]:
    token = form.get("token")
    if kind == "email":
        await account_links.confirm_email(store, caller, token)
        return go(request, "/me" if caller.is_signed_in else "/sign-in", say="Thank you, your address is confirmed.")
    if kind == "reset":
        await account_links.reset_password(store, caller, token, form.texts.get("new", ""))
        say = "Your new password is set. Please sign in with it."
        return go(request, "/sign-in", say=say, cookies=(forget(SESSION_COOKIE),))
    if kind == "reopen":
        await account_links.reopen_account(store, caller, token)
        return go(request, "/sign-in", say="Your account is open again. Please sign in.")
    is_done = await account_links.agree_to_change(store, caller, token)
    say = (
        "Your letters go to the new address now." if is_done else "Thank you. Now the other address has to agree, too."
    )
    return go(request, "/me/security" if caller.is_signed_in else "/", say=say, tone="good" if is_done else "info")


async def _sign_in_by_link(request: HttpRequest, store: Store, caller: Caller, token: str) -> Response[Any]:
    try:
        started = await account_links.sign_in_by_link(store, caller, token, request.headers.get("user-agent", ""))
    except SecondStepNeeded as needed:
        return await second_step_page(request, store, caller, needed.step, "", {})
    return welcome(request, started, "/")


async def second_step_page(
    request: HttpRequest,
    store: Store,
    caller: Caller,
    step: str,
    target: str,
    errors: dict[str, str],
    status: int = 200,
) -> Response[str]:
    """Ask for the second step of somebody whose first was right."""
    steps = await ask_second_step(store, step)
    options = options_to_sign_in(site_of(store)) if steps.passkeys else ""
    answer = await page(
        request, store, caller, "second_step", status=status, step=step, next=target, steps=steps, errors=errors,
        passkey_options=options,
    )  # fmt: skip
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/sign-in/second-step", include_in_schema=False)
async def second_step_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign in who shows a code of their app, or a recovery code."""
    form = await read_form(request)
    step, target = form.get("step"), form.get("next")
    try:
        started = await finish_by_code(store, caller, step, form.get("code"), request.headers.get("user-agent", ""))
    except DomainError as error:
        if error.kind not in {"invalid", "too_many"}:
            raise
        status = 429 if error.kind == "too_many" else 422
        return await second_step_page(request, store, caller, step, target, problems_of(error), status)
    return welcome(request, started, target)


@post("/sign-in/passkey", include_in_schema=False)
async def passkey_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign in whose passkey answers, alone or as a second step."""
    form = await read_form(request)
    agent = request.headers.get("user-agent", "")
    started = await sign_in_by_passkey(store, caller, form.get("credential"), agent, step=form.get("step"))
    return welcome(request, started, form.get("next"))


recovery_routes = [forgot_form, forgot_now, link_form, link_now, second_step_now, passkey_now]
