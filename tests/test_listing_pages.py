"""Pages of listings: each shows what its filter says, and together they show every listing once."""

from tests.factories import Factory
from tradepost.catalog.listing_pages import list_listings
from tradepost.catalog.types import ListingFilter
from tradepost.flows.store import Store

TOWN = (-17.83, 31.05)


async def test_listings_of_one_place_come_once_each_nearest_first(store: Store, make: Factory) -> None:
    """Many listings are in the same town, to the metre."""
    seller = await make.person("seller")
    made = {await make.listing(seller, f"Pear {n}", place=TOWN) for n in range(30)}
    far = await make.listing(seller, "Far away", place=(-20.0, 28.6))
    seen, after = [], None
    while True:
        page = await list_listings(store.db, ListingFilter(near=TOWN), sort="nearest", after=after, limit=7)
        seen += [card.id for card in page.items]
        after = page.after
        if after is None:
            break
    assert seen[-1] == far
    assert len(seen) == 31
    assert set(seen) == {*made, far}


async def test_nothing_is_a_price_to_filter_by(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    free = await make.listing(seller, "Free", price=0)
    await make.listing(seller, "Dear", price=100)
    page = await list_listings(store.db, ListingFilter(max_minor=0))
    assert [card.id for card in page.items] == [free]
