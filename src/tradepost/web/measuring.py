"""What is counted of visits, said to visitors, and their decision about it."""

from typing import Any

from litestar import Response, get, post
from litestar.response import Redirect

from tradepost.web.forms import read_form
from tradepost.web.pages import go, page
from tradepost.web.security import cookie
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import CHOICE_COOKIE, may_tell_who


@get("/measuring", include_in_schema=False)
async def measuring_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Say what is counted, and let the visitor decide."""
    return await page(
        request, store, caller, "measuring", collect=store.installation.analytics.collect,
        is_told=may_tell_who(request, store), months=store.installation.analytics.keep_months,
    )  # fmt: skip


@post("/measuring", include_in_schema=False)
async def decide(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:  # noqa: ARG001  # the caller's CSRF check
    """Keep what the visitor decided, for a year."""
    form = await read_form(request)
    choice = "yes" if form.get("choice") == "yes" else "no"
    kept = cookie(CHOICE_COOKIE, choice, secure=request.url.scheme == "https", max_age=365 * 24 * 3600)
    say = "Thank you." if choice == "yes" else "You are counted, and nobody can tell that it was you."
    return go(request, form.get("next") or "/measuring", say=say, tone="info", cookies=(kept,))


measuring_routes: list[Any] = [measuring_page, decide]
