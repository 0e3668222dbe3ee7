"""The feeds: why a listing stands where it does, walking to the end without repeats, and neighbours nobody can find by asking."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.visitor import Visitor
from tradepost.accounts.types import Caller
from tradepost.catalog.feeds import STRETCH, FeedPage
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, count_queries
from tradepost.core.pages import NoSuchPage, to_cursor
from tradepost.flows.feeds import NoSuchFeed, people_near, read_feed
from tradepost.flows.store import Store

HERE, ACROSS_TOWN, FAR = (36.80, 10.18), (36.86, 10.25), (34.74, 10.76)


async def run(store: Store, sql: str, **params: Any) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text(sql), **params)


async def follow(store: Store, who: Caller, whom: Caller) -> None:
    sql = "INSERT INTO follows (follower_id, followed_id) VALUES (:a, :b)"
    await run(store, sql, a=who.user_id, b=whom.user_id)


def titles(page: FeedPage) -> list[str]:
    """Return what is shown, in order."""
    return [item.card.title for item in page.items]


async def test_a_feed_says_why(store: Store, make: Factory) -> None:
    reader, friend, other = await make.person("buyer"), await make.person("seller"), await make.person("seller")
    old = {"published_at": now() - timedelta(days=3)}
    await make.listing(friend, "From a friend", **old)
    saved = await make.listing(other, "Saved before", category="tools", published_at=now() - timedelta(days=9))
    await make.listing(other, "Of that kind", category="tools", published_at=now() - timedelta(days=1))
    await make.listing(other, "Near by", place=ACROSS_TOWN, published_at=now() - timedelta(hours=20))
    await make.listing(other, "Just new", published_at=now() - timedelta(minutes=5))
    await follow(store, reader, friend)
    await run(store, "INSERT INTO wishlists (user_id, listing_id) VALUES (:me, :it)", me=reader.user_id, it=saved)
    page = await read_feed(store, reader, "discover", near=HERE)
    assert [(i.card.title, i.why, i.is_saved) for i in page.items] == [
        ("From a friend", "follows", False), ("Of that kind", "likes", False), ("Near by", "near", False),
        ("Just new", "new", False), ("Saved before", "likes", True),
    ]  # fmt: skip
    assert (page.items[2].card.distance_m or 0) == pytest.approx(9_100, rel=0.05)
    assert titles(await read_feed(store, Caller(), "discover"))[:2] == ["Just new", "Near by"]


async def test_the_community_is_near_or_followed(store: Store, make: Factory) -> None:
    reader, friend, neighbour, stranger = (await make.person("buyer"), *[await make.person("seller") for _ in range(3)])
    for who, title, place in (
        (friend, "Friend", FAR),
        (neighbour, "Neighbour", ACROSS_TOWN),
        (stranger, "Stranger", FAR),
    ):
        await make.listing(who, title, feed="community", place=place)
    await make.listing(neighbour, "Not of this feed", place=HERE)
    await follow(store, reader, friend)
    assert set(titles(await read_feed(store, reader, "community", near=HERE))) == {"Friend", "Neighbour"}
    assert set(titles(await read_feed(store, reader, "community"))) == {"Friend"}
    assert set(titles(await read_feed(store, Caller(), "community"))) == {"Friend", "Neighbour", "Stranger"}
    await run(
        store,
        "UPDATE users SET location = geo_point(:lat, :lon) WHERE id = :me",
        lat=HERE[0],
        lon=HERE[1],
        me=reader.user_id,
    )
    assert set(titles(await read_feed(store, reader, "community"))) == {"Friend", "Neighbour"}
    await run(store, "INSERT INTO blocks (user_id, blocked_id) VALUES (:a, :b)", a=reader.user_id, b=neighbour.user_id)
    assert set(titles(await read_feed(store, reader, "community"))) == {"Friend"}


async def grow(
    store: Store, seller: Caller, count: int, *, feed: str = "discover", where: tuple[float, float] = HERE
) -> None:
    """Publish many listings, one a minute."""
    await run(store, """
        INSERT INTO listings (seller_id, kind, feed, slug, title, description, category_id, status, published_at, location)
        SELECT :seller, 'product', :feed, 'l', 'L' || n, '', (SELECT id FROM categories WHERE slug = 'tools'), 'active',
               now() - make_interval(mins => n), geo_point(:lat, :lon) FROM generate_series(1, CAST(:count AS int)) AS n
    """, seller=seller.user_id, count=count, feed=feed, lat=where[0], lon=where[1])  # fmt: skip


async def walk(store: Store, reader: Caller, feed: str, *, meanwhile: Any = None) -> list[UUID]:
    """Read a feed to its end."""
    seen: list[UUID] = []
    after, n = None, 0
    while True:
        page = await read_feed(store, reader, feed, near=HERE, after=after, limit=17)
        seen += [item.id for item in page.items]
        after, n = page.after, n + 1
        if meanwhile is not None and n % 5 == 0:
            await meanwhile()
        if after is None:
            return seen


async def test_every_listing_comes_once_while_new_ones_arrive(store: Store, make: Factory) -> None:
    reader, seller, friend = await make.person("buyer"), await make.person("seller"), await make.person("seller")
    await grow(store, seller, STRETCH + 100)
    await grow(store, friend, STRETCH + 50)
    await follow(store, reader, friend)
    seen = await walk(store, reader, "discover", meanwhile=lambda: make.listing(seller, "Brand new"))
    assert len(seen) == len(set(seen)) == 2 * STRETCH + 150


async def test_neighbours_are_found_behind_thousands_of_others(store: Store, make: Factory) -> None:
    near, far = await make.person("seller"), await make.person("seller")
    await grow(store, far, 10_050, feed="community", where=FAR)
    await grow(store, near, 3, feed="community")
    await run(
        store,
        "UPDATE listings SET published_at = published_at - interval '30 days' WHERE seller_id = :s",
        s=near.user_id,
    )
    assert len(await walk(store, Caller(), "community")) == 3


async def test_a_page_is_one_query(store: Store, make: Factory, browse: Visitor) -> None:
    await make.listing(await make.person("seller"), "Apples")
    reader = await make.person("buyer")
    with count_queries() as count:
        await read_feed(store, reader, "discover", near=HERE)
    assert count.queries == 1
    await browse.get("/feed/discover")
    page = await browse.get("/feed/discover")
    assert int(page.headers["x-query-count"]) <= 2
    assert "Apples" in page.text


async def test_places_to_go_on_from_that_we_did_not_write(store: Store) -> None:
    good = [now(), now(), UUID(int=1), 1.0, UUID(int=1), 36.8, 10.1]
    for n, bad in ((5, 91.0), (6, 181.0), (5, None), (3, "x"), (0, "yesterday")):
        with pytest.raises(NoSuchPage):
            await read_feed(store, Caller(), "discover", after=to_cursor(*[*good[:n], bad, *good[n + 1 :]]))
    for after in ("", "nonsense", to_cursor(1)):
        with pytest.raises(NoSuchPage):
            await read_feed(store, Caller(), "discover", after=after)
    with pytest.raises(NoSuchFeed):
        await read_feed(store, Caller(), "nowhere")


async def test_nobody_finds_a_door_by_asking_from_many_places(store: Store, make: Factory) -> None:
    one, two = await make.person("seller", "one"), await make.person("seller", "two")
    for who, lat, lon in ((one, 36.80412, 10.18377), (two, 36.79871, 10.17644)):
        await make.listing(who, "Something")
        await run(
            store, "UPDATE users SET location = geo_point(:lat, :lon) WHERE id = :id", lat=lat, lon=lon, id=who.user_id
        )
    for lat, lon in ((36.8, 10.18), (36.9, 10.1), (36.75, 10.3), (36.80412, 10.18377)):
        found = {p.username: p.distance_m for p in await people_near(store, Caller(), (lat, lon)) or ()}
        assert found["one"] == found["two"]
        assert found["one"] % 500 == 0


async def test_neighbours_come_nearest_first_within_the_radius(store: Store, make: Factory) -> None:
    me = await make.person("buyer")
    for name, place in (("far", FAR), ("across", ACROSS_TOWN), ("here", HERE)):
        who = await make.person("seller", name)
        await make.listing(who, "Something")
        await run(
            store,
            "UPDATE users SET location = geo_point(:lat, :lon) WHERE id = :id",
            lat=place[0],
            lon=place[1],
            id=who.user_id,
        )
    assert [p.username for p in await people_near(store, me, HERE) or ()] == ["here", "across"]
    assert [p.username for p in await people_near(store, me, HERE, radius_m=2_000) or ()] == ["here"]


async def test_without_a_position_near_means_where_one_lives(store: Store, make: Factory) -> None:
    me, seller = await make.person("buyer"), await make.person("seller", "here")
    await make.listing(seller, "Something")
    assert await people_near(store, me, None) is None
    await run(store, "UPDATE users SET location = geo_point(:lat, :lon)", lat=HERE[0], lon=HERE[1])
    assert [p.username for p in await people_near(store, me, None) or ()] == ["here"]


async def test_a_forged_position_changes_nothing(browse: Visitor, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples", feed="community")
    for forged in ("91,0", "x,y", "1", "36.8,10.1,5", "nan,nan", "inf,0"):
        browse.client.cookies.set("position", forged)
        assert (await browse.get("/feed/community")).status_code == 200
        assert "Where are you?" in (await browse.get("/near")).text
    browse.client.cookies.delete("position")
    for query in ("lat=91&lon=0", "lat=1", "lat=x&lon=1", "lat=1&lon=181"):
        assert (await browse.get(f"/api/v1/feeds/community?{query}")).status_code in {400, 422}
    assert (await browse.get("/api/v1/people-near?lat=36.8&lon=10.1&radius_m=1")).status_code in {400, 422}
