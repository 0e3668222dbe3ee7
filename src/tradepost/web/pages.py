"""Rendering a page: the context every template expects, flashes, and answers to posts."""

import base64
from typing import Any, Literal

import msgspec
from litestar import Response
from litestar.datastructures import Cookie
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import category_tree
from tradepost.flows.editions import as_drafted
from tradepost.flows.head import read_head
from tradepost.flows.store import Store
from tradepost.web.rendering import template
from tradepost.web.security import cookie, csrf_token, forget, form_secret, local_path
from tradepost.web.typing import HttpRequest
from tradepost.web.visits import is_asked

FLASH_COOKIE, SCHEME_COOKIE, PREVIEW_COOKIE = "flash", "scheme", "preview"
Tone = Literal["good", "info", "warn", "bad"]


class Flash(msgspec.Struct, frozen=True):
    """A message shown once, on the next page."""

    tone: str
    text: str


async def page(
    request: HttpRequest, store: Store, caller: Caller, name: str, *, status: int = 200, cookies: tuple[Cookie, ...] = (),
    **context: Any,
) -> Response[str]:  # fmt: skip
    """Render `pages/<name>.html` with what every page needs besides `context`."""
    store = await previewed(request, store, caller)
    tree, head = await category_tree(store.db), await read_head(store, caller)
    return framed(
        request, store, caller, name, status=status, cookies=cookies, categories=tree.top, cart_count=head.cart,
        unread_count=head.unread, live_count=head.live, notice_count=head.notices, **context,
    )  # fmt: skip


async def previewed(request: HttpRequest, store: Store, caller: Caller) -> Store:
    """Return the store as whoever asks is trying it out, if they are: their draft, for their own eyes."""
    if PREVIEW_COOKIE not in request.cookies or store.edition < 0:
        return store
    return await as_drafted(store, caller) or store


def framed(
    request: HttpRequest,
    store: Store,
    caller: Caller,
    name: str,
    *,
    status: int,
    cookies: tuple[Cookie, ...] = (),
    unread_count: int | None = None,
    live_count: int = 0,
    place_of_token: str = "",
    notice_count: int = 0,
    **context: Any,
) -> Response[str]:
    """Render a page whose categories and cart count are known already; asks nobody anything.

    `place_of_token` stands in what was drawn before where the token of this browser's forms belongs.
    """
    token, fresh = csrf_token(form_secret(store.keys), request, caller)
    flashes = _read_flashes(request)
    body = template(f"pages/{name}.html").render(
        open_store=store, store=store.settings, style_path=store.style_path, is_draft=store.edition < 0, base_url=store.base_url, person=caller if caller.is_signed_in else None,
        caller=caller, unread_count=unread_count, live_count=live_count, notice_count=notice_count, scheme=request.cookies.get(SCHEME_COOKIE, ""), path=request.url.path,
        csrf_token=token, messages=flashes, status=status, is_asked_to_count=is_asked(request, store), **context,
    )  # fmt: skip
    if place_of_token:
        body = body.replace(place_of_token, token)
    set_cookies = [*cookies, *([fresh] if fresh else []), *([forget(FLASH_COOKIE)] if flashes else [])]
    keep = "no-store" if caller.is_signed_in or flashes else "private, no-cache"
    return Response(
        body,
        media_type="text/html",
        status_code=status,
        cookies=set_cookies,
        headers={"cache-control": keep},
    )


def go(
    request: HttpRequest, target: str, *, say: str = "", tone: Tone = "good", cookies: tuple[Cookie, ...] = ()
) -> Redirect:
    """Answer a post with a redirect (303) to a page of this store, with a message to show there."""
    flash = [_flash_cookie(request, Flash(tone, say))] if say else []
    return Redirect(local_path(target), status_code=303, cookies=[*cookies, *flash])


def _flash_cookie(request: HttpRequest, flash: Flash) -> Cookie:
    value = base64.urlsafe_b64encode(msgspec.json.encode([flash])).decode()
    return cookie(FLASH_COOKIE, value, secure=request.url.scheme == "https", max_age=60)


def _read_flashes(request: HttpRequest) -> list[Flash]:
    raw = request.cookies.get(FLASH_COOKIE)
    if not raw:
        return []
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(raw), type=list[Flash])[:5]
    except (ValueError, msgspec.MsgspecError):
        return []
