"""The staff keep the places that forms suggest and searches know."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.catalog import places
from tradepost.catalog.places import OfficePlace, PlaceDraft
from tradepost.core.pages import Page
from tradepost.flows.store import Store

PERMISSION = "manage_catalog"


async def list_places(
    store: Store, caller: Caller, words: str = "", *, after: str | None = None, limit: int = 50
) -> tuple[Page[OfficePlace], list[str]]:
    """Return places by name, and the regions there are. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await places.list_places(tx, words, after=after, limit=limit), await places.list_regions(tx)


async def get_place(store: Store, caller: Caller, place_id: UUID) -> tuple[OfficePlace, list[str]]:
    """Return a place, and the regions there are. Raises `NotAllowed`, `NoSuchPlace`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await places.access_place(tx, place_id), await places.list_regions(tx)


async def add_place(store: Store, caller: Caller, draft: PlaceDraft) -> UUID:
    """Add a place; return its id. Raises `NotAllowed`, `FieldErrors`, `PlaceKnown`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        return await places.add_place(tx, draft)


async def change_place(store: Store, caller: Caller, place_id: UUID, draft: PlaceDraft) -> None:
    """Write a place anew. Raises `NotAllowed`, `NoSuchPlace`, `FieldErrors`, `PlaceKnown`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await places.change_place(tx, place_id, draft)


async def show_place(store: Store, caller: Caller, place_id: UUID, *, is_active: bool) -> None:
    """Offer a place, or no longer. Raises `NotAllowed`, `NoSuchPlace`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await places.show_place(tx, place_id, is_active=is_active)
