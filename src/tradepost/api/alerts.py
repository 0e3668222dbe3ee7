"""A person's alerts and what they found, for programs."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import UNSET, Meta, UnsetType

from tradepost.alerts.criteria import Criteria, check_criteria
from tradepost.alerts.finds import FoundListing, Preview, list_finds, mark_find, read_finds, would_match
from tradepost.alerts.queries import access_alert
from tradepost.alerts.service import change_alert, check_off, keep_alert, remove_alert, rename_alert, restore_alert
from tradepost.alerts.types import Alert, Telling
from tradepost.api.catalog import Created
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.pages import Page
from tradepost.flows.match_alerts import offered_by
from tradepost.flows.saved_searches import SavedSearch, saved_searches
from tradepost.flows.store import Store
from tradepost.web.typing import GivenCaller, GivenStore

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]


class NewAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look for, what to call it, and how to tell of what it finds."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    criteria: Criteria
    telling: Telling = Telling()


class AlertChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to change of an alert; what is left out stays."""

    name: Annotated[str, Meta(min_length=1, max_length=80)] | UnsetType = UNSET
    criteria: Criteria | UnsetType = UNSET
    telling: Telling | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET


class FindChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to note of something that an alert found; what is left out stays."""

    is_saved: bool | None = None
    is_read: bool | None = None


class CheckedAlert(msgspec.Struct, frozen=True):
    """When the person looked."""

    last_checked_at: datetime


class ReadFinds(msgspec.Struct, frozen=True):
    """How many finds were not read until now."""

    read: int


async def _check(store: Store, asked: Criteria) -> None:
    if asked.category is not None:
        (await category_tree(store.db)).get(asked.category)
    check_criteria(asked, await offered_by(store))


@get("/alerts/schema", tags=["Alerts"])
async def schema() -> dict[str, Any]:
    """Return the JSON Schema of what an alert can ask for."""
    return msgspec.json.schema(Criteria)


@get("/me/searches", tags=["Alerts"])
async def searches(store: GivenStore, caller: GivenCaller) -> tuple[SavedSearch, ...]:
    """List the caller's alerts, the latest first, each with how many listings are new since they last looked (up to 99)."""
    return await saved_searches(store, caller)


@post("/me/searches", tags=["Alerts"])
async def keep(store: GivenStore, caller: GivenCaller, data: JSONBody[NewAlert]) -> Created:
    """Keep an alert. One that asks for the same is kept once: its id comes back."""
    await _check(store, data.criteria)
    async with store.db.transaction(actor=caller.actor) as tx:
        return Created(await keep_alert(tx, caller, data.criteria, data.name, data.telling))


@post("/me/searches/preview", tags=["Alerts"], status_code=HTTP_200_OK)
async def preview(store: GivenStore, caller: GivenCaller, data: JSONBody[Criteria]) -> Preview:
    """Say what an alert would have found in the last week, among the 5,000 newest listings."""
    caller.check_signed_in()
    await _check(store, data)
    offered = await offered_by(store)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await would_match(tx, caller, data, offered)


@get("/me/searches/{alert_id:uuid}", tags=["Alerts"])
async def one_search(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> Alert:
    """Return one of the caller's alerts."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await access_alert(tx, caller, alert_id)


@patch("/me/searches/{alert_id:uuid}", tags=["Alerts"])
async def change(
    store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID], data: JSONBody[AlertChange]
) -> Alert:
    """Call an alert something else, change what it asks for or how it tells, pause it or let it go on."""
    if data.criteria is not UNSET:
        await _check(store, data.criteria)
    async with store.db.transaction(actor=caller.actor) as tx:
        if data.name is not UNSET:
            await rename_alert(tx, caller, alert_id, data.name)
        if data.criteria is not UNSET or data.telling is not UNSET or data.is_active is not UNSET:
            await change_alert(
                tx, caller, alert_id, asked=None if data.criteria is UNSET else data.criteria,
                telling=None if data.telling is UNSET else data.telling,
                is_active=None if data.is_active is UNSET else data.is_active,
            )  # fmt: skip
        return await access_alert(tx, caller, alert_id)


@post("/me/searches/{alert_id:uuid}/check", tags=["Alerts"])
async def check(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> CheckedAlert:
    """Note that the person has looked: what is there now is not new any more."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await check_off(tx, caller, alert_id)
        return CheckedAlert((await access_alert(tx, caller, alert_id)).last_checked_at)


@delete("/me/searches/{alert_id:uuid}", tags=["Alerts"])
async def remove(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> None:
    """Keep an alert no longer. For a day it can be restored."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_alert(tx, caller, alert_id)


@post("/me/searches/{alert_id:uuid}/restore", tags=["Alerts"])
async def restore(store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID]) -> Alert:
    """Take a removed alert back."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await restore_alert(tx, caller, alert_id)
        return await access_alert(tx, caller, alert_id)


@get("/me/matches", tags=["Alerts"])
async def matches(
    store: GivenStore,
    caller: GivenCaller,
    alert: FromQuery[UUID | None] = None,
    saved: FromQuery[bool] = False,
    unread: FromQuery[bool] = False,
    after: Cursor = None,
) -> Page[FoundListing]:
    """List what the caller's alerts found, the latest first: of one alert, or only what they saved or have not read."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await list_finds(tx, caller, alert_id=alert, only_saved=saved, only_unread=unread, after=after)


@patch("/me/matches/{alert_id:uuid}/{listing_id:uuid}", tags=["Alerts"])
async def mark(
    store: GivenStore, caller: GivenCaller, alert_id: FromPath[UUID], listing_id: FromPath[UUID], data: JSONBody[FindChange]
) -> FindChange:  # fmt: skip
    """Save something that an alert found, or note it as read."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await mark_find(tx, caller, alert_id, listing_id, is_saved=data.is_saved, is_read=data.is_read)
    return data


@post("/me/matches/read", tags=["Alerts"], status_code=HTTP_200_OK)
async def read_all(store: GivenStore, caller: GivenCaller, alert: FromQuery[UUID | None] = None) -> ReadFinds:
    """Note all that was found as read, or all that one alert found."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return ReadFinds(await read_finds(tx, caller, alert))


alert_routes: list[Any] = [
    schema, searches, keep, preview, one_search, change, check, remove, restore, matches, mark, read_all,
]  # fmt: skip
