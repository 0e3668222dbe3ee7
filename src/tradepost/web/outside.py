"""Signing in through another provider: there and back again.

A provider may send its answer as a form from its own page, which carries no token of ours and does not bring the session along:
that form does nothing but turn into a link, and the link is good in the browser that set out only.
"""

from typing import Any
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import SecondStepNeeded, StartedSession
from tradepost.core.errors import DomainError
from tradepost.flows import sign_in_outside
from tradepost.flows.sign_in_outside import NAMES, Answer
from tradepost.web.pages import go
from tradepost.web.recovery import second_step_page, welcome
from tradepost.web.security import StaleForm, cookie, forget, form_secret, is_form_token
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

JOURNEY_COOKIE = "outside"
_SECONDS = 600


@get("/sign-in/with/{provider:str}", include_in_schema=False)
async def leave(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    provider: FromPath[str],
    next: FromQuery[str] = "",  # noqa: A002  # the parameter's name
    link: FromQuery[str] = "",
) -> Redirect:
    """Send the visitor to the provider; `link`, a form's token, adds its sign-in to the account they are in.

    Without the token another site could send somebody here who is signed in there as its owner, and have that one let in.
    """
    if link and not is_form_token(form_secret(store.keys), request, caller, link):
        raise StaleForm
    address, journey = await sign_in_outside.begin(store, caller, provider, next, is_link=bool(link))
    kept = cookie(JOURNEY_COOKIE, journey, secure=request.url.scheme == "https", max_age=_SECONDS)
    return Redirect(address, status_code=303, cookies=[kept], headers={"cache-control": "no-store"})


@get("/sign-in/with/{provider:str}/back", include_in_schema=False)
async def come_back(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    provider: FromPath[str],
) -> Response[Any]:
    """Take what the provider says of the visitor, if this browser set out to ask it."""
    over = (forget(JOURNEY_COOKIE),)
    brought = request.query_params
    answer = Answer(*(brought.get(name, "")[:4000] for name in ("code", "state", "error", "iss")))
    journey, agent = request.cookies.get(JOURNEY_COOKIE, ""), request.headers.get("user-agent", "")
    try:
        found, target = await sign_in_outside.finish(store, caller, provider, journey, answer, agent)
    except DomainError as problem:
        if problem.kind in {"unavailable", "too_many", "not_found"}:
            raise
        here = "/me/security" if caller.is_signed_in else "/sign-in"
        return go(request, here, say=problem.message, tone="warn", cookies=over)
    if isinstance(found, SecondStepNeeded):
        return await second_step_page(request, store, caller, found.step, target, {})
    if isinstance(found, StartedSession):
        kept = welcome(request, found, target)
        kept.cookies = [*kept.cookies, *over]
        return kept
    return go(request, "/me/security", say=f"You can sign in with {NAMES[provider]} from now on.", cookies=over)


@post("/sign-in/with/{provider:str}/back", include_in_schema=False)
async def come_back_by_form(request: HttpRequest, provider: FromPath[str]) -> Redirect:
    """Turn a provider's form (Apple's) into the address above: cookies come along with that, and nothing is done here."""
    form = await request.form()
    kept = {
        name: str(form[name])[:4000] for name in ("code", "state", "error", "iss") if isinstance(form.get(name), str)
    }
    return Redirect(f"/sign-in/with/{provider}/back?{urlencode(kept)}", status_code=303)


@post("/me/security/with/{provider:str}/remove", include_in_schema=False)
async def remove_provider(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, provider: FromPath[str]
) -> Redirect:
    """Accept a provider's word for the person no longer."""
    removed = await sign_in_outside.unlink(store, caller, provider)
    name = NAMES.get(provider, "That service")
    say = f"{name} opens your account no longer." if removed else f"{name} is not one of your ways in."
    return go(request, "/me/security", say=say, tone="info")


outside_routes = [leave, come_back, come_back_by_form, remove_provider]
