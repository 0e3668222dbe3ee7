"""Pages that belong to no store or to every one: the index of stores, the colour scheme."""

import asyncio
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.response import Redirect

from tradepost.core.errors import NotFound
from tradepost.core.health import readiness
from tradepost.flows.store import Store
from tradepost.web.forms import read_form
from tradepost.web.pages import SCHEME_COOKIE
from tradepost.web.rendering import template
from tradepost.web.security import cookie, local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest


class StoreOnIndex(msgspec.Struct, frozen=True):
    """A store as the index shows it."""

    code: str
    name: str
    tagline: str
    description: str
    url: str
    sign_ins: tuple[Any, ...]


@get("/stores", include_in_schema=False, sync_to_thread=False)
def index_page(request: HttpRequest) -> Response[str]:
    """Show the stores of this installation; `Hosting` sends here who asks for the front page of an address without a store."""
    if not request.scope.get("tradepost_is_index"):
        raise NotFound
    stores: dict[str, Store] = request.scope["tradepost_stores"]  # type: ignore[typeddict-item]  # our own key
    shown = []
    for store in stores.values():
        known = store.settings.store
        sign_ins = store.settings.sample.sign_ins if store.is_demo else ()
        shown.append(StoreOnIndex(known.code, known.name, known.tagline, known.description, store.base_url, sign_ins))
    body = template("pages/index.html").render(stores=shown, scheme=request.cookies.get(SCHEME_COOKIE, ""))
    return Response(body, media_type="text/html")


@post("/scheme", include_in_schema=False)
async def set_scheme(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:  # noqa: ARG001  # the caller's CSRF check
    """Keep the visitor's choice of light or dark."""
    form = await read_form(request)
    scheme = form.get("scheme")
    kept = cookie(
        SCHEME_COOKIE,
        scheme if scheme in {"light", "dark"} else "",
        secure=request.url.scheme == "https",
        max_age=31_536_000,
    )
    return Redirect(local_path(form.get("next")), status_code=303, cookies=[kept])


@get("/healthz", include_in_schema=False, sync_to_thread=False)
def alive() -> dict[str, str]:
    """Say that the process serves."""
    return {"status": "ok"}


@get("/readyz", include_in_schema=False)
async def ready(request: HttpRequest) -> Response[dict[str, str]]:
    """Say whether requests should be sent here: for each store up, degraded or down, and 503 where one is down."""
    stores: dict[str, Store] = request.scope["tradepost_stores"]  # type: ignore[typeddict-item]  # our own key
    found = await asyncio.gather(*(readiness(store.db, store.cache) for store in stores.values()))
    states: dict[str, str] = {code: health.state for code, health in zip(stores, found, strict=True)}
    is_ready = all(health.is_ready for health in found)
    return Response(states, status_code=200 if is_ready else 503, headers={"cache-control": "no-store"})


site_routes = [index_page, set_scheme, alive, ready]
