"""A person's kept searches, for programs."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from tradepost.alerts.queries import access_alert
from tradepost.alerts.service import check_off, keep_search, remove_alert, rename_alert, restore_alert
from tradepost.alerts.types import Alert, AlertName
from tradepost.api.catalog import Created
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.errors import FieldErrors
from tradepost.flows.saved_searches import SavedSearch, saved_searches
from tradepost.search.types import SearchRequest
from tradepost.web.typing import GivenCaller, GivenStore

Text = Annotated[str, Meta(min_length=1, max_length=100)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=20)]
Key = Annotated[str, Meta(min_length=1, max_length=60)]
Bound = Annotated[float, Meta(ge=-1e12, le=1e12)]
Minor = Annotated[int, Meta(ge=0, le=10**15)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]


class Criteria(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a kept search asks for; as the parameters of `GET /search`, prices in minor units, distances in metres."""

    query: Annotated[str, Meta(max_length=200)] = ""
    category: Text | None = None
    kind: Text | None = None
    feed: Text | None = None
    conditions: Texts = ()
    brands: Texts = ()
    attributes: Annotated[dict[Key, Texts], Meta(max_length=20)] = {}
    ranges: Annotated[dict[Key, tuple[Bound | None, Bound | None]], Meta(max_length=8)] = {}
    min_minor: Minor | None = None
    max_minor: Minor | None = None
    in_stock: bool = False
    seller_id: UUID | None = None
    verified_seller: bool = False
    near: tuple[Latitude, Longitude] | None = None
    radius_m: Annotated[float, Meta(ge=1, le=20_100_000)] | None = None
    max_age_days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class NewAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search to keep, and what to call it."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    criteria: Criteria


class CheckedAlert(msgspec.Struct, frozen=True):
    """When the person looked."""

    last_checked_at: datetime


@get("/me/searches", tags=["Saved searches"])
async def searches(store: GivenStore, caller: GivenCaller) -> tuple[SavedSearch, ...]:
    """List the caller's searches, the latest first, each with how many listings are new since they last looked (up to 99)."""
    return await saved_searches(store, caller)


@post("/me/searches", tags=["Saved searches"])
async def keep(store: GivenStore, caller: GivenCaller, data: JSONBody[NewAlert]) -> Created:
    """Keep a search. One that asks for the same is kept once: its id comes back."""
    asked = data.criteria
    if (asked.near is None) != (asked.radius_m is None):
        together = "A place and a radius come together."
        raise FieldErrors({"near": together, "radius_m": together})
    if asked.category is not None:
        (await category_tree(store.db)).get(asked.category)
    request = SearchRequest(**{f: getattr(asked, f) for f in Criteria.__struct_fields__})
    async with store.db.transaction(actor=caller.actor) as tx:
        return Created(await keep_search(tx, caller, request, data.name))


@get("/me/searches/{alert_id:uuid}", tags=["Saved searches"])
async def one_search(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> Alert:
    """Return one of the caller's searches."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await access_alert(tx, caller, alert_id)


@patch("/me/searches/{alert_id:uuid}", tags=["Saved searches"])
async def rename(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID], data: JSONBody[AlertName]) -> Alert:
    """Call a search something else."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await rename_alert(tx, caller, alert_id, data.name)
        return await access_alert(tx, caller, alert_id)


@post("/me/searches/{alert_id:uuid}/check", tags=["Saved searches"])
async def check(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> CheckedAlert:
    """Note that the person has looked: what is there now is not new any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await check_off(tx, caller, alert_id)
        return CheckedAlert((await access_alert(tx, caller, alert_id)).last_checked_at)


@delete("/me/searches/{alert_id:uuid}", tags=["Saved searches"])
async def remove(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> None:
    """Keep a search no longer. For a day it can be restored."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_alert(tx, caller, alert_id)


@post("/me/searches/{alert_id:uuid}/restore", tags=["Saved searches"])
async def restore(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> Alert:
    """Take a removed search back."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await restore_alert(tx, caller, alert_id)
        return await access_alert(tx, caller, alert_id)


alert_routes: list[Any] = [searches, keep, one_search, rename, check, remove, restore]
