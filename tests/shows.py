"""A host with a live show and somebody who watches: the few words in which tests of shows are written."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Database
from tradepost.flows.show_sales import open_auction
from tradepost.flows.shows import add_to_show, go_live, pin, read_log, schedule_show
from tradepost.streams.types import Auction, AuctionForm, PinForm, StreamForm

PLAYLIST = "https://video.example.com/live.m3u8"


class Market:
    """A show of one host, with one lamp at 100.00 on its list."""

    def __init__(self, shop: Shop, make: Factory, host: Caller, stream_id: UUID, lamp: UUID, owner: Database) -> None:
        self.shop, self.store, self.make, self.host, self.id, self.lamp = shop, shop.store, make, host, stream_id, lamp
        self.buyer = shop.buyer
        self.owner = owner

    @classmethod
    async def open(cls, shop: Shop, make: Factory, owner: Database, *, stock: int = 1) -> "Market":
        """Plan a show with a lamp on its list."""
        host = await make.person("seller", "hana")
        lamp = await make.listing(host, "Brass lamp", category="tools", price=10_000, stock=stock)
        stream = await schedule_show(shop.store, host, plan())
        await add_to_show(shop.store, host, stream.id, PinForm(listing_id=lamp, price_minor=8_000))
        return cls(shop, make, host, stream.id, lamp, owner)

    async def live(self) -> "Market":
        """Begin, and show the lamp."""
        await go_live(self.store, self.host, self.id)
        await pin(self.store, self.host, self.id, 1)
        return self

    async def auction(self, **terms: Any) -> Auction:
        """Open an auction on the lamp."""
        values = {
            "position": 1,
            "starts_minor": 1_000,
            "increment_minor": 100,
            "seconds": 60,
            "soft_close_s": 10,
            **terms,
        }
        return await open_auction(self.store, self.host, self.id, AuctionForm(**values))

    async def variant(self) -> UUID:
        """Return what the lamp is sold as."""
        return await self.make.variant_of(self.lamp)

    async def kinds(self) -> list[str]:
        """Return what happened, in order."""
        return [row.kind for row in await read_log(self.store, self.id, 0)]

    async def change(self, sql: str, **params: Any) -> None:
        """Change what the server itself may not, as the owner of the tables."""
        async with self.owner.transaction(actor=SYSTEM) as tx:
            await tx.run(text(sql), **params)

    async def time_is_up(self, auction_id: UUID) -> None:
        """Let an auction's time run out."""
        await self.change(
            "UPDATE auctions SET opens_at = opens_at - interval '1 hour', closes_at = clock_timestamp() WHERE id = :id",
            id=auction_id,
        )


def plan(**fields: Any) -> StreamForm:
    """Return a show as somebody would plan it."""
    values = {
        "title": "Friday lamps",
        "category": "tools",
        "scheduled_at": now() + timedelta(hours=1),
        "stream_url": PLAYLIST,
    }
    return StreamForm(**{**values, **fields})
