"""Giveaways: the seed is promised before and shown after, and anybody can draw again."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.factories import Factory
from tests.shop import Shop
from tests.shows import Market
from tradepost.core.database import Database
from tradepost.flows.conversations import read_inbox
from tradepost.flows.show_sales import draw_giveaway, open_giveaway, read_giveaway, take_part
from tradepost.streams.rules import draw
from tradepost.streams.types import (
    GiveawayOver,
    GiveawayRunning,
    NobodyTakesPart,
    NoSuchGiveaway,
    NotWelcome,
    NotYourShow,
    TakesPart,
)

Race = Callable[..., Awaitable[list[Any]]]


@pytest_asyncio.fixture
async def market(shop: Shop, make: Factory, store_dsn: str) -> AsyncIterator[Market]:
    """Have a show live."""
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    yield await (await Market.open(shop, make, owner)).live()
    await owner.close()


async def test_anybody_can_draw_again(market: Market, make: Factory, race: Race) -> None:
    opened = await open_giveaway(market.store, market.host, market.id, "A brass bell")
    people = [await make.person("buyer") for _ in range(7)]
    numbers = await race(*(take_part(market.store, p, opened.id) for p in people))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6, 7]
    before, entrants = await read_giveaway(market.store, opened.id)
    assert (before.seed, before.entries, entrants) == (None, 7, ())
    drawn = await draw_giveaway(market.store, market.host, opened.id)
    found, entrants = await read_giveaway(market.store, opened.id)
    seed = bytes.fromhex(found.seed or "")
    assert hashlib.sha256(seed).hexdigest() == opened.commitment == found.commitment
    digest = hashlib.sha256(seed + b"".join(person.bytes for person in entrants)).digest()
    number = int.from_bytes(digest, "big") % 7 + 1
    assert (drawn.winner_no, drawn.winner_id) == (number, entrants[number - 1])
    winner = next(p for p in people if p.user_id == drawn.winner_id)
    assert len((await read_inbox(market.store, winner))[0].items) == 1
    assert (await market.kinds())[-2:] == ["giveaway", "draw"]


async def test_the_seed_is_nobodys_before_the_draw(market: Market, make: Factory) -> None:
    await open_giveaway(market.store, market.host, market.id, "A bell")
    for who in (market.host, market.buyer, await make.person("admin")):
        async with market.store.db.transaction(actor=who.actor) as tx:
            assert await tx.value(text("SELECT count(*) FROM giveaway_seeds")) == 0
    assert await market.shop.count("giveaway_seeds") == 1


async def test_who_takes_part_and_when(market: Market, make: Factory) -> None:
    with pytest.raises(NoSuchGiveaway):
        await take_part(market.store, market.buyer, uuid4())
    opened = await open_giveaway(market.store, market.host, market.id, "A bell")
    with pytest.raises(GiveawayRunning):
        await open_giveaway(market.store, market.host, market.id, "Another")
    with pytest.raises(NotWelcome):
        await take_part(market.store, market.host, opened.id)
    with pytest.raises(NobodyTakesPart):
        await draw_giveaway(market.store, market.host, opened.id)
    await take_part(market.store, market.buyer, opened.id)
    with pytest.raises(TakesPart):
        await take_part(market.store, market.buyer, opened.id)
    with pytest.raises(NotYourShow):
        await draw_giveaway(market.store, await make.person("seller"), opened.id)
    await draw_giveaway(market.store, market.host, opened.id)
    late = await make.person("buyer")
    with pytest.raises(GiveawayOver):
        await take_part(market.store, late, opened.id)
    with pytest.raises(GiveawayOver):
        await draw_giveaway(market.store, market.host, opened.id)
    assert await market.shop.count("giveaway_entries") == 1


def test_every_entrant_has_the_same_chance() -> None:
    people = [uuid4() for _ in range(5)]
    wins = [0] * 5
    for n in range(2_000):
        wins[draw(n.to_bytes(32, "big"), people) - 1] += 1
    assert min(wins) > 330
    assert max(wins) < 470
