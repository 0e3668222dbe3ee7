"""Alerts find their listings: the index against a slow, obviously right matcher, and each way in which a listing becomes news."""

import math
import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tradepost.accounts.types import Caller
from tradepost.alerts.compiling import file_all, put_rows, row_of
from tradepost.alerts.criteria import FARTHEST_M, Criteria, check_criteria, needs_of
from tradepost.alerts.filing import band_of, price_nodes
from tradepost.alerts.matching import claim_waiting, find_matches, find_page
from tradepost.alerts.service import change_alert, keep_alert, keep_search, remove_alert
from tradepost.alerts.types import AlertKnown, Telling
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.jobs import DECLARED
from tradepost.flows.match_alerts import file_alerts, match_waiting, offered_by
from tradepost.flows.store import Store
from tradepost.search.types import SearchRequest

WORDS = [a + b for a in ("bol", "kam", "nur", "tavo", "zid", "wex") for b in ("ak", "ib", "op", "uk", "ag", "om", "ut")]
CATEGORIES = {"fruit": ("food", "fruit"), "vegetables": ("food", "vegetables"), "tools": ("tools",), "help": ("help",)}
COLOURS = ("red", "green", "blue")
TOWNS = [(-17.83, 31.05), (-17.9, 31.2), (-18.1, 31.0), (-17.0, 30.0), (179.9 - 180, 179.95), (48.2, 16.37)]


@dataclass
class Thing:
    """A listing as a person sees it."""

    id: UUID
    seller: UUID
    words: list[str]
    description: list[str]
    brand: str | None
    category: str
    condition: str | None
    attributes: dict[str, Any]
    price: int | None
    stock: int
    at: tuple[float, float] | None
    before: int | None = None
    was_in_stock: bool = False
    is_new: bool = True


@dataclass
class Asked:
    """An alert with whose it is."""

    id: UUID
    owner: UUID
    criteria: Criteria
    words: set[str] = field(default_factory=set)


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the way between two places."""
    (la, oa), (lb, ob) = ((math.radians(x), math.radians(y)) for x, y in (a, b))
    h = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin((ob - oa) / 2) ** 2
    return 2 * 6_371_008 * math.asin(math.sqrt(h))


def text_of(thing: Thing) -> str:
    """Return a listing's sentences, in which phrases are looked for."""
    return f"{' '.join(thing.words)}. {' '.join(thing.description)}."


def fits(asked: Criteria, owner: UUID, thing: Thing) -> bool:
    """Whether a listing is what somebody asked for, one question after the other."""
    said = [*thing.words, *thing.description, *([thing.brand.lower()] if thing.brand else []),
            *(v for v in thing.attributes.values() if isinstance(v, str))]  # fmt: skip
    dropped = thing.before - thing.price if thing.before is not None and thing.price is not None else 0
    tests = [
        thing.seller != owner,
        all(w in said for w in asked.query.split() if not w.startswith("-")),
        all(w[1:] not in said for w in asked.query.split() if w.startswith("-")),
        all(w in said if " " not in w else w in text_of(thing) for w in asked.words),
        all(w not in said for w in asked.without),
        asked.category is None or asked.category in CATEGORIES[thing.category],
        not asked.conditions or thing.condition in asked.conditions,
        not asked.brands or thing.brand in asked.brands,
        all(str(thing.attributes.get(k)).lower() in v for k, v in asked.attributes.items()),
        all(
            isinstance(thing.attributes.get(k), int) and (low or -9e9) <= thing.attributes[k] <= (high or 9e9)
            for k, (low, high) in asked.ranges.items()
        ),
        asked.min_minor is None or (thing.price is not None and thing.price >= asked.min_minor),
        asked.max_minor is None or (thing.price is not None and thing.price <= asked.max_minor),
        asked.currency is None or (asked.currency == "USD" and thing.price is not None),
        not asked.in_stock or thing.stock > 0,
        asked.seller_id is None or asked.seller_id == thing.seller,
        asked.near is None or (thing.at is not None and metres(asked.near, thing.at) <= (asked.radius_m or 0)),
        asked.price_drop_minor is None or dropped >= asked.price_drop_minor,
        asked.price_drop_percent is None
        or (dropped > 0 and thing.before is not None and dropped * 100 >= thing.before * asked.price_drop_percent),
        not asked.back_in_stock or (thing.stock > 0 and not thing.was_in_stock and not thing.is_new),
    ]
    return all(tests)


def some_thing(chance: random.Random, sellers: list[UUID]) -> Thing:
    """Return a listing."""
    attributes: dict[str, Any] = {
        "organic": chance.random() < 0.5,
        "colour": chance.choice(COLOURS),
        "size": chance.randint(1, 50),
    }
    return Thing(
        id=uuid4(), seller=chance.choice(sellers), words=chance.choices(WORDS[:12] * 3 + WORDS, k=chance.randint(2, 5)),
        description=chance.choices(WORDS, k=4), brand=chance.choice([None, "Acme", "Bolt"]), category=chance.choice(list(CATEGORIES)),
        condition=chance.choice([None, "new", "good"]), attributes={k: v for k, v in attributes.items() if chance.random() < 0.7},
        price=chance.choice([0, 1, 99, 100, 127, 128, chance.randint(1, 5_000), 10**9]) if chance.random() < 0.95 else None,
        stock=chance.choice([0, 3]), at=None if chance.random() < 0.2 else near(chance, chance.choice(TOWNS), 0.15),
    )  # fmt: skip


def near(chance: random.Random, town: tuple[float, float], far: float) -> tuple[float, float]:
    """Return a place not far from a town."""
    return round(town[0] + chance.uniform(-far, far), 4), round(min(town[1] + chance.uniform(-far, far), 180.0), 4)


def some_criteria(chance: random.Random, sellers: list[UUID]) -> Criteria:
    """Return something to ask for: a few of all the things that can be."""
    low = chance.choice([None, 0, 90, chance.randint(0, 2_000)])
    every: dict[str, Any] = {
        "query": " ".join(
            [*chance.sample(WORDS[:12], chance.randint(1, 2)), *(["-" + WORDS[13]] if chance.random() < 0.3 else [])]
        ),
        "words": tuple(chance.choice([[chance.choice(WORDS)], [f"{WORDS[0]} {WORDS[1]}"]])),
        "without": (chance.choice(WORDS[:12]),),
        "category": chance.choice(["food", *CATEGORIES]),
        "conditions": tuple(chance.sample(["new", "good"], chance.randint(1, 2))),
        "brands": tuple(chance.sample(["Acme", "Bolt"], chance.randint(1, 2))),
        "attributes": {chance.choice(["colour"]): tuple(chance.sample(COLOURS, chance.randint(1, 2)))},
        "ranges": {"size": chance.choice([(10.0, None), (None, 20.0), (5.0, 30.0)])},
        "min_minor": low,
        "max_minor": (low or 0) + chance.randint(0, 3_000),
        "in_stock": True,
        "seller_id": chance.choice(sellers),
        "price_drop_minor": chance.randint(1, 500),
        "price_drop_percent": chance.randint(1, 60),
        "back_in_stock": True,
        "currency": chance.choice(["USD", "EUR"]),
    }
    weights = [9, 4, 3, 5, 2, 2, 2, 2, 4, 6, 2, 1, 1, 1, 1, 1]
    chosen = {n: every[n] for n in chance.choices(list(every), weights=weights, k=chance.randint(1, 4))}
    if chance.random() < 0.3:
        chosen |= {
            "near": near(chance, chance.choice(TOWNS), 0.3),
            "radius_m": float(chance.choice([3_000, 20_000, 150_000, FARTHEST_M])),
        }
    return Criteria(**chosen)


_LISTINGS = text("""
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, condition, attributes, status,
                          published_at, location)
    SELECT t.id, t.seller, 'product', 'discover', 'x', t.title, t.description, c.id, t.brand, t.condition, t.attributes, 'active', now(),
           CASE WHEN t.lat IS NOT NULL THEN geo_point(t.lat, t.lon) END
    FROM jsonb_to_recordset(CAST(:things AS jsonb)) AS t(id uuid, seller uuid, title text, description text, category text, brand text,
        condition text, attributes jsonb, lat float8, lon float8) JOIN categories c ON c.slug = t.category
""")
_VARIANTS = text("""
    WITH v AS (INSERT INTO variants (id, listing_id, unit, on_hand)
               SELECT id, id, 'piece', stock FROM jsonb_to_recordset(CAST(:things AS jsonb)) AS t(id uuid, stock int))
    SELECT 1
""")
_PRICES = text("""
    INSERT INTO prices (variant_id, currency, amount_minor, valid_from)
    SELECT id, 'USD', price, now() - interval '1 day' FROM jsonb_to_recordset(CAST(:things AS jsonb)) AS t(id uuid, price bigint)
    WHERE price IS NOT NULL
""")


async def offer(store: Store, things: list[Thing]) -> None:
    """Put listings into the store, all at once."""
    rows = [
        {"id": t.id, "seller": t.seller, "title": " ".join(t.words), "description": " ".join(t.description), "category": t.category,
         "brand": t.brand, "condition": t.condition, "attributes": t.attributes, "price": t.price, "stock": t.stock,
         "lat": t.at[0] if t.at else None, "lon": t.at[1] if t.at else None}
        for t in things
    ]  # fmt: skip
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(_LISTINGS, things=rows)
        await tx.value(_VARIANTS, things=rows)
        await tx.run(_PRICES, things=rows)


async def ask(store: Store, asked: list[Asked]) -> None:
    """File alerts as they are filed in a store with this many documents."""
    offered = await offered_by(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("""INSERT INTO alerts (id, user_id, name, query, criteria_hash)
                    SELECT id, owner, 'x', 'x', uuid_send(id) FROM unnest(CAST(:ids AS uuid[]), CAST(:owners AS uuid[])) AS a(id, owner)"""),
            ids=[a.id for a in asked], owners=[a.owner for a in asked],
        )  # fmt: skip
        needs = {a.id: needs_of(a.criteria, offered) for a in asked}
        filed = await file_all(tx, needs)
        await put_rows(tx, [row_of(a.id, a.owner, needs[a.id], filed[a.id]) for a in asked], filed.values())


def expected(asked: list[Asked], things: list[Thing]) -> set[tuple[UUID, UUID]]:
    """Return what should be found."""
    return {(t.id, a.id) for t in things for a in asked if fits(a.criteria, a.owner, t)}


def explained(pairs: set[tuple[UUID, UUID]], asked: list[Asked], things: list[Thing]) -> list[tuple[str, str]]:
    """Return what the two matchers see differently, to be read."""
    alerts, listings = {a.id: a for a in asked}, {t.id: t for t in things}
    usual = msgspec.structs.asdict(Criteria())
    said = {
        a: {k: v for k, v in msgspec.structs.asdict(one.criteria).items() if v != usual[k]} for a, one in alerts.items()
    }
    return [(str(said[a]), str(listings[t])) for t, a in pairs][:3]


async def found(store: Store) -> set[tuple[UUID, UUID]]:
    """Return what the index finds for all that waits; every way of looking must find the same."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        changes = await claim_waiting(tx, 10_000)
        pairs = {(p.listing_id, p.alert_id) for p in await find_matches(tx, changes)}
        page = {(p.listing_id, p.alert_id) for p in await find_page(tx, changes[0], UUID(int=0))}
        assert page == {p for p in pairs if p[0] == changes[0].listing_id}
    return pairs


async def count_words(store: Store, documents: int) -> None:
    """Have the store know how common everything is, as in a store of so many documents."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM search_terms"))
        await tx.run(text("""
            INSERT INTO search_terms (kind, term, documents)
            SELECT kind, term, count(*) * :times FROM search_documents d CROSS JOIN LATERAL (
                SELECT 'word', unnest(tsvector_to_array(d.words)) UNION ALL SELECT 'tag', unnest(d.tags)
                UNION ALL SELECT 'mark', unnest(d.marks)) AS t(kind, term) GROUP BY 1, 2
        """), times=max(documents // 100, 1))  # fmt: skip
        await tx.run(text("UPDATE search_state SET documents = :n"), n=documents)


@pytest.mark.parametrize("seed", [1, 2])
async def test_index_finds_what_a_slow_matcher_finds(store: Store, make: Factory, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    sellers = [(await make.person("seller")).check_signed_in() for _ in range(4)]
    people = [*sellers, (await make.person()).check_signed_in()]
    await offer(store, [some_thing(chance, sellers) for _ in range(60)])  # what was there before is nobody's news
    await count_words(store, 100_000 if seed == 2 else 60)
    asked = [Asked(uuid4(), chance.choice(people), some_criteria(chance, sellers)) for _ in range(270)]
    await ask(store, asked)
    things = [some_thing(chance, sellers) for _ in range(160)]
    await offer(store, things)
    wanted = expected(asked, things)
    assert len(wanted) > 1_000
    seen = await found(store)
    assert explained(seen ^ wanted, asked, things) == []
    changed = [t for t in things if t.price is not None][:60]
    for thing in changed:
        thing.is_new, thing.before, thing.was_in_stock = False, thing.price, thing.stock > 0
        thing.price = (thing.price or 0) * chance.choice([40, 90, 99, 100, 120]) // 100
        thing.stock = 3 - thing.stock
    async with store.db.transaction(actor=SYSTEM) as tx:
        rows = [{"id": t.id, "price": t.price, "stock": t.stock} for t in changed]
        await tx.run(text("""
            UPDATE prices SET amount_minor = t.price FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS t(id uuid, price bigint)
            WHERE variant_id = t.id"""), rows=rows)  # fmt: skip
        await tx.run(text("""
            INSERT INTO stock_movements (variant_id, quantity, reason)
            SELECT v.id, t.stock - v.on_hand, 'correction' FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS t(id uuid, stock int)
            JOIN variants v ON v.id = t.id WHERE t.stock <> v.on_hand"""), rows=rows)  # fmt: skip
    seen = await found(store)
    news = [t for t in changed if t.price != t.before or (t.stock > 0 and not t.was_in_stock)]
    assert explained(seen ^ expected(asked, news), asked, news) == []
    assert any(a.criteria.back_in_stock for a in asked if any((t.id, a.id) in seen for t in news))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (0, None), (5, 5), (127, 128), (0, 8_000), (999, 10**15), (3_000, 3_001)]
)
def test_price_nodes_cover_their_range(low: int, high: int | None) -> None:
    nodes = price_nodes("USD", low, high)
    assert 1 <= len(nodes) <= 4
    chance = random.Random(7)  # noqa: S311  # as above
    top = 10**15 if high is None else high
    inside = [low, top, *(chance.randint(low, top) for _ in range(200))]
    for minor in inside:
        mine = {f"$USD{height}:{band_of(minor) >> height}" for height in range(9)}
        assert len(mine & set(nodes)) == 1


async def test_what_is_common_is_never_filed_as_rare(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(3):
        await make.listing(seller, f"Lamp {n}", price=4_000)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE listings SET brand = 'Acme'"))
    await count_words(store, 100_000)
    offered = await offered_by(store)
    common: tuple[dict[str, Any], ...] = (
        {"brands": ("aCME",)}, {"sources": ("hub",)}, {"price_drop_percent": 10}, {"back_in_stock": True},
    )  # fmt: skip
    asked = {uuid4(): needs_of(Criteria(max_minor=5_000, currency="USD", **one), offered) for one in common}
    async with store.db.transaction(actor=SYSTEM) as tx:
        filed = await file_all(tx, asked)
    assert [all("|" in term for term in filed[key].terms) for key in asked] == [True] * 4


async def keep(store: Store, caller: Caller, **asked: Any) -> UUID:
    """Keep an alert, as filed."""
    telling = asked.pop("telling", Telling())
    async with store.db.transaction(actor=caller.actor) as tx:
        alert_id = await keep_alert(tx, caller, Criteria(**asked), "Mine", telling)
    await file_alerts(store, [alert_id])
    return alert_id


async def matches(store: Store) -> list[tuple[UUID, UUID, str]]:
    """Match what waits; return everything that was ever found."""
    await match_waiting(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        rows = await tx.all(
            text("SELECT alert_id, listing_id, reason FROM alert_matches ORDER BY matched_at, listing_id")
        )
    return [tuple(row) for row in rows]


async def set_price(store: Store, listing: UUID, minor: int) -> None:
    """Have a listing cost something else."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("UPDATE prices SET amount_minor = :minor WHERE variant_id = (SELECT id FROM variants WHERE listing_id = :id)"),
            minor=minor, id=listing,
        )  # fmt: skip


async def test_new_listing_is_found_once_by_those_who_asked(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person()
    old = await make.listing(seller, "Sourdough bread")
    alert = await keep(store, ann, words=("sourdough",))
    await keep(store, ann, words=("rye",))
    await keep(store, seller, words=("sourdough",))  # one's own goods are no news
    assert await matches(store) == []
    fresh = await make.listing(seller, "Fresh sourdough")
    assert await matches(store) == [(alert, fresh, "new")]
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("UPDATE listings SET description = 'Better yet' WHERE id = ANY (CAST(:ids AS uuid[]))"),
            ids=[old, fresh],
        )
    assert sorted(r for *_, r in await matches(store)) == ["changed", "new"]


async def test_nothing_waits_while_there_are_no_alerts(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller)
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await claim_waiting(tx) == []
        assert await tx.value(text("SELECT count(*) FROM pgqueuer WHERE entrypoint LIKE 'alerts.%'")) == 0


async def test_change_calls_the_matcher_once_a_transaction(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await keep(store, await make.person(), words=("sourdough",))
    await offer(store, [some_thing(random.Random(n), [seller.check_signed_in()]) for n in range(30)])  # noqa: S311  # as above
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM alert_queue")) == 30
        assert await tx.value(text("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'alerts.match_waiting'")) == 1


async def test_drop_is_told_and_a_further_one_if_asked(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person()
    drop = await keep(store, ann, words=("lamp",), price_drop_percent=10)
    again = await keep(store, ann, words=("lamp",), telling=Telling(again_on_drop=True))
    once = await keep(store, ann, words=("lamp",), max_minor=10_000)
    lamp = await make.listing(seller, "Red lamp", price=1_000)
    assert {a for a, *_ in await matches(store)} == {again, once}
    await set_price(store, lamp, 950)
    assert {(a, r) for a, _, r in await matches(store)} == {(again, "price_drop"), (once, "new")}
    await set_price(store, lamp, 800)
    assert {(a, r) for a, _, r in await matches(store)} == {(again, "price_drop"), (once, "new"), (drop, "price_drop")}
    await set_price(store, lamp, 900)
    await set_price(store, lamp, 850)
    await matches(store)
    told = text("SELECT alert_id, price_minor, price_before FROM alert_matches WHERE price_minor < 900")
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert {tuple(r)[:2] for r in await tx.all(told)} == {(drop, 800), (again, 800)}
    await set_price(store, lamp, 700)
    await matches(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        rows = await tx.all(told)
    assert {tuple(r) for r in rows} == {(drop, 700, 800), (again, 700, 800)}


async def test_goods_that_are_back_are_found(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person()
    alert = await keep(store, ann, words=("sourdough",), back_in_stock=True)
    bread = await make.listing(seller, "Sourdough", stock=0)
    assert await matches(store) == []
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("""INSERT INTO stock_movements (variant_id, quantity, reason)
                             SELECT id, 5, 'restock' FROM variants WHERE listing_id = :id"""), id=bread)  # fmt: skip
    assert await matches(store) == [(alert, bread, "back_in_stock")]


async def test_paused_and_removed_alerts_find_nothing(store: Store, make: Factory) -> None:
    seller, ann = await make.person("seller"), await make.person()
    paused, removed = await keep(store, ann, words=("lamp",)), await keep(store, ann, words=("red",))
    async with store.db.transaction(actor=ann.actor) as tx:
        await change_alert(tx, ann, paused, is_active=False)
        await remove_alert(tx, ann, removed)
    await make.listing(seller, "Red lamp")
    assert await matches(store) == []  # at once, although the index does not know yet
    await file_alerts(store, [paused, removed])
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM alert_index")) == 0


async def test_listing_for_a_crowd_is_matched_apart(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    owner = (await make.person()).check_signed_in()
    asked = [Asked(uuid4(), owner, Criteria(words=("lamp",))) for _ in range(1_100)]
    await ask(store, [*asked, Asked(uuid4(), owner, Criteria(words=("chair",)))])
    lamp, chair = await make.listing(seller, "Lamp"), await make.listing(seller, "Chair")
    assert [listing for _, listing, _ in await matches(store)] == [chair]
    async with store.db.transaction(actor=SYSTEM) as tx:
        payload = await tx.value(text("SELECT payload FROM pgqueuer WHERE entrypoint = 'alerts.match_crowd'"))
    await DECLARED["alerts.match_crowd"].call(store, payload)
    await DECLARED["alerts.match_crowd"].call(store, payload)  # a worker that died is followed by another
    assert sorted(listing for _, listing, _ in await matches(store)) == sorted([chair, *[lamp] * 1_100])


async def test_alert_that_cannot_be_read_stops_no_other(store: Store, make: Factory) -> None:
    ann = await make.person()
    odd, good = await keep(store, ann, words=("lamp",)), await keep(store, ann, words=("chair",))
    async with store.db.transaction(actor=SYSTEM) as tx:
        spoil = text("UPDATE alerts SET criteria = '{\"radius_m\": 1e9}', compiled_at = NULL WHERE id = :id")
        await tx.run(spoil, id=odd)
        await tx.run(text("UPDATE alerts SET compiled_at = NULL WHERE id = :id"), id=good)
    await file_alerts(store, [odd, good])
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.values(text("SELECT DISTINCT alert_id FROM alert_index")) == [good]
        assert await tx.value(text("SELECT count(*) FROM alerts WHERE compiled_at IS NULL")) == 0


async def test_search_that_an_alert_cannot_hold_is_not_kept(store: Store, make: Factory) -> None:
    ann = await make.person()
    with pytest.raises(FieldErrors, match="marked"):
        async with store.db.transaction(actor=ann.actor) as tx:
            await keep_search(tx, ann, SearchRequest(brands=("x" * 201,)), "Mine")
    assert await store.db.read(text("SELECT 1 FROM alerts")) == []


async def test_alert_says_which_field_is_wrong(store: Store) -> None:
    offered = await offered_by(store)
    bad = Criteria(
        category="nowhere", conditions=("shiny",), near=(1.0, 2.0), min_minor=5, max_minor=4, ranges={"size": (5.0, 1.0)}, sources=("x",)
    )  # fmt: skip
    with pytest.raises(FieldErrors) as caught:
        check_criteria(bad, offered)
    assert set(caught.value.errors) == {"category", "conditions", "near", "radius_m", "min_minor", "ranges", "sources"}
    check_criteria(Criteria(category="fruit", conditions=("new",), near=(1.0, 2.0), radius_m=5.0), offered)


async def test_alert_cannot_become_another_one(store: Store, make: Factory) -> None:
    ann = await make.person()
    first, _ = await keep(store, ann, words=("lamp",)), await keep(store, ann, words=("chair",))
    with pytest.raises(AlertKnown):
        async with store.db.transaction(actor=ann.actor) as tx:
            await change_alert(tx, ann, first, asked=Criteria(words=("Chair",)))
