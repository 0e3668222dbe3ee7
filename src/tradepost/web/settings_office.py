"""The store's words, switches and colours in the back office: tried in a draft, put in force, brought back."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError
from tradepost.flows.editions import (
    RULES,
    WORDS,
    bring_back,
    drop_draft,
    get_look,
    publish_changes,
    publish_draft,
    try_changes,
)
from tradepost.flows.look import COLOURS, CORNERS
from tradepost.flows.store import Store
from tradepost.flows.typefaces import PLACES, typefaces
from tradepost.web.forms import first_problem, problems_of, read_form
from tradepost.web.pages import PREVIEW_COOKIE, go, page
from tradepost.web.security import cookie, forget
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

SETTINGS = "/office/settings"
_LONGEST_PREVIEW_S = 4 * 3600


@get(SETTINGS, include_in_schema=False)
async def settings_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the editor and the history."""
    return await _editor(request, store, caller, {}, {})


async def _editor(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    look = await get_look(store, caller)
    return await page(
        request, store, caller, "office_settings", status=422 if errors else 200, look=look, words=WORDS, rules=RULES, colours=COLOURS,
        corners=tuple(CORNERS), faces=PLACES, families=tuple((family, family) for family in typefaces()), form=form, errors=errors, tab="settings",
    )  # fmt: skip


@post(SETTINGS, include_in_schema=False)
async def change(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Try the form as a draft, or put it in force."""
    caller.check_can("manage_store")
    form = await read_form(request)
    try:
        if form.get("action") == "try":
            await try_changes(store, caller, form.texts)
            return go(request, "/", cookies=(_preview(request),))
        await publish_changes(store, caller, form.texts, form.whole("after", 0) or 0, form.get("note"))
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _editor(request, store, caller, form.texts, problems_of(error))
    return go(request, SETTINGS, say="Everybody sees it now.", cookies=(forget(PREVIEW_COOKIE),))


def _preview(request: HttpRequest) -> Any:
    return cookie(PREVIEW_COOKIE, "1", secure=request.url.scheme == "https", max_age=_LONGEST_PREVIEW_S)


@post(f"{SETTINGS}/draft", include_in_schema=False)
async def draft(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Put the draft in force, or forget it."""
    caller.check_can("manage_store")
    form = await read_form(request)
    try:
        if form.get("action") == "publish":
            await publish_draft(store, caller)
            said = "Everybody sees it now."
        else:
            await drop_draft(store, caller)
            said = "The draft is gone; the store is as it was."
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return go(request, SETTINGS, say=first_problem(error), tone="bad")
    return go(request, SETTINGS, say=said, cookies=(forget(PREVIEW_COOKIE),))


@post(SETTINGS + "/editions/{number:int}", include_in_schema=False)
async def undo(request: HttpRequest, store: GivenStore, caller: GivenCaller, number: FromPath[int]) -> Redirect:
    """Bring an earlier edition back; 0 is the preset."""
    try:
        await bring_back(store, caller, number if 0 <= number < 2**31 else 2**31 - 1)
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return go(request, SETTINGS, say=first_problem(error), tone="bad")
    return go(request, SETTINGS, say="It is as it was then.", cookies=(forget(PREVIEW_COOKIE),))


settings_routes: list[Any] = [settings_page, change, draft, undo]
