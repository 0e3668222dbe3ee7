"""A listing's page drawn once for all visitors: what stands between head and foot, in parts that the cache keeps.

Promises that nothing of whoever happened to ask first is in it: it is drawn for nobody, and the token of its forms, which every
browser has its own of, is put in each time. Its place is held by a word that only this store's keys can make, so that no text of
a seller's or a reviewer's can stand for it.
"""

import hashlib
from functools import lru_cache, partial
from pathlib import Path

import msgspec
from litestar import Response
from markupsafe import Markup

from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.flows.preset import StoreSettings
from tradepost.flows.product_page import Easel, Facts, Product
from tradepost.flows.store import Store
from tradepost.web.listing_view import shown_to_all
from tradepost.web.pages import page
from tradepost.web.rendering import TEMPLATES, asset_version, template
from tradepost.web.typing import HttpRequest

_NOBODY = Caller()
_looks: dict[int, tuple[StoreSettings, str]] = {}


def easel_of(store: Store) -> Easel:
    """Return how this store's pages are drawn now."""
    return Easel(look_of(store), partial(_draw, store))


def look_of(store: Store) -> str:
    """Return a short mark of all that a page's looks depend on besides what it shows: settings, templates, static files."""
    known = _looks.get(id(store.settings))
    if known is None or known[0] is not store.settings:
        made_of = (store.settings, store.base_url, asset_version(), _newest_template(), _place_of_token(store.keys))
        mark = hashlib.sha256(msgspec.json.encode(made_of)).hexdigest()[:16]
        if len(_looks) > 64:
            _looks.clear()
        known = _looks[id(store.settings)] = (store.settings, mark)
    return known[1]


@lru_cache(maxsize=1)
def _newest_template() -> float:
    return max(path.stat().st_mtime for path in Path(TEMPLATES).rglob("*.html"))


@lru_cache(maxsize=64)
def _place_of_token(keys: Keyring) -> str:
    return "csrf-" + hashlib.sha256(keys.derived_key("kept pages")).hexdigest()[:32]


async def _draw(store: Store, facts: Facts) -> tuple[str, ...]:
    place = _place_of_token(store.keys)
    seam = Markup("<!--{}-->").format(place)
    drawn = template("pages/listing.html").render(
        layout="listing_parts.html", seam=seam, open_store=store, store=store.settings, base_url=store.base_url, person=None,
        caller=_NOBODY, path=facts.listing.path, csrf_token=place, **shown_to_all(store, facts, None), liked_ids=frozenset(),
        is_owner=False, may_review=False, floor=None, form={}, errors={},
    )  # fmt: skip
    return tuple(part.strip() for part in drawn.split(str(seam)))


async def kept_page(request: HttpRequest, store: Store, caller: Caller, product: Product) -> Response[str]:
    """Return a visitor's page of a listing around what was drawn before."""
    kept = tuple(Markup(part) for part in product.drawn)  # noqa: S704 - drawn by the template, and escaped there
    return await page(request, store, caller, "listing_kept", kept=kept, place_of_token=_place_of_token(store.keys))


def is_for_all(caller: Caller) -> bool:
    """Whether somebody sees the page that is drawn for all: a visitor does."""
    return not caller.is_signed_in and caller.behind is None
