"""Listings of outside markets: rows become listings once, change, go and come back, and what is wrong with a row is told."""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.factories import Factory
from tests.visitor import Visitor
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import Caller, NewToken, NotAllowed, SignInFirst
from tradepost.core.database import SYSTEM
from tradepost.flows.ingest import as_rows
from tradepost.flows.manage_sources import put_source
from tradepost.flows.push_listings import Receipt, receive_rows
from tradepost.flows.store import Store
from tradepost.sources.queries import find_source
from tradepost.sources.types import Raw, Reading, Source, SourceDraft

ROWS = text("""
    SELECT l.external_id, l.title, l.price_minor, l.currency, l.status, l.in_stock, l.version, i.missing_since IS NOT NULL AS missing
    FROM listings l JOIN outside_items i ON i.listing_id = l.id ORDER BY l.external_id
""")
HISTORY = text("""
    SELECT h.amount_minor, h.availability FROM price_history h JOIN listings l ON l.id = h.listing_id
    WHERE l.external_id = :id ORDER BY h.at
""")


@pytest_asyncio.fixture
async def staff(make: Factory) -> Caller:
    return await make.person("admin")


@pytest_asyncio.fixture
async def source(store: Store, staff: Caller) -> Source:
    """A source that is pushed."""
    await put_source(store, staff, SourceDraft(code="hub", name="Hub", kind="push", settings=Reading(category="fruit")))
    return await find_source(store.db, "hub")


async def push(store: Store, caller: Caller, rows: Sequence[dict[str, Any]], *, complete: bool = False) -> Receipt:
    raws = as_rows(Raw(f"row {n}", row) for n, row in enumerate(rows, 1))
    return await receive_rows(store, caller, "hub", raws, complete=complete)


async def listings(store: Store) -> dict[str, Any]:
    return {row["external_id"]: row for row in await store.db.read(ROWS)}


async def history(store: Store, external_id: str) -> list[tuple[int | None, str]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [tuple(row) for row in await tx.all(HISTORY, id=external_id)]


def counted(receipt: Receipt) -> dict[str, int]:
    run = receipt.run
    return {
        n: getattr(run, n)
        for n in ("inserted", "changed", "unchanged", "returned", "gone", "refused")
        if getattr(run, n)
    }


async def test_a_row_is_one_listing_however_often_it_comes(store: Store, staff: Caller, source: Source) -> None:
    rows = [{"id": "a", "title": "Red apples", "price": "$2.50"}, {"id": "b", "title": "Pears", "price": "1.299,00 €"}]
    assert counted(await push(store, staff, rows)) == {"inserted": 2}
    before = await store.db.read(text("SELECT xmin::text AS x, ctid::text AS c FROM listings ORDER BY id"))
    assert counted(await push(store, staff, rows)) == {"unchanged": 2}
    assert await store.db.read(text("SELECT xmin::text AS x, ctid::text AS c FROM listings ORDER BY id")) == before
    found = await listings(store)
    assert [(r["title"], r["price_minor"], r["currency"]) for r in found.values()] == [
        ("Red apples", 250, "USD"),
        ("Pears", 129_900, "EUR"),
    ]


async def test_a_row_that_says_the_same_in_other_words_is_not_written(
    store: Store, staff: Caller, source: Source
) -> None:
    await push(store, staff, [{"id": "a", "title": "Red apples", "price": "$2.50", "scraped_at": "yesterday"}])
    again = await push(store, staff, [{"id": "a", "title": "Red apples", "price": 2.5, "scraped_at": "today"}])
    assert counted(again) == {"unchanged": 1}
    assert (await listings(store))["a"]["version"] == 1


async def test_change_disappearance_and_return_are_recognised(store: Store, staff: Caller, source: Source) -> None:
    a, b = {"id": "a", "title": "Red apples", "price": 2.5}, {"id": "b", "title": "Pears", "price": 3}
    await push(store, staff, [a, b], complete=True)
    assert counted(await push(store, staff, [a | {"price": 2}, b], complete=True)) == {"changed": 1, "unchanged": 1}
    assert counted(await push(store, staff, [b], complete=True)) == {"unchanged": 1, "gone": 1}
    assert ((await listings(store))["a"]["status"], (await listings(store))["a"]["missing"]) == ("removed", True)
    assert counted(await push(store, staff, [a | {"price": 2}, b], complete=True)) == {"returned": 1, "unchanged": 1}
    assert ((await listings(store))["a"]["status"], (await listings(store))["a"]["missing"]) == ("active", False)
    assert await history(store, "a") == [(250, "available"), (200, "available"), (200, "deleted"), (200, "available")]


async def test_sold_and_out_of_stock_are_told_apart(store: Store, staff: Caller, source: Source) -> None:
    row = {"id": "a", "title": "Red apples", "price": 2.5}
    await push(store, staff, [row])
    await push(store, staff, [row | {"availability": "https://schema.org/OutOfStock"}])
    assert ((await listings(store))["a"]["status"], (await listings(store))["a"]["in_stock"]) == ("active", False)
    assert counted(await push(store, staff, [row | {"is_sold": True}])) == {"changed": 1}
    assert (await listings(store))["a"]["status"] == "sold"
    assert counted(await push(store, staff, [row])) == {"returned": 1}
    assert [state for _, state in await history(store, "a")] == ["available", "out_of_stock", "sold", "available"]


async def test_what_is_wrong_with_a_row_is_told_and_spoils_nothing_else(
    store: Store, staff: Caller, source: Source
) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "title": "Red apples", "price": "ask"},
        {"title": "Pears", "price": 3},
        {"id": "c", "price": 3},
        {"id": "d", "title": "Plums", "price": 1},
        {"id": "d", "title": "Plums", "price": 2},
        {"id": "e", "title": "Quinces"},
    ]
    receipt = await push(store, staff, rows)
    assert counted(receipt) == {"inserted": 2, "refused": 4}
    assert [(e.place, e.external_id, e.reason) for e in receipt.errors] == [
        ("row 2", None, "It has no id."),
        ("row 4", "d", "The same id comes again at row 5, which counts."),
        ("row 1", "a", "The price “ask” has no amount in it, or one that is too large."),
        ("row 3", "c", "It has no title."),
    ]
    assert {k: r["price_minor"] for k, r in (await listings(store)).items()} == {"d": 200, "e": None}


async def test_attributes_pictures_seller_and_place_come_along(store: Store, staff: Caller, source: Source) -> None:
    await push(store, staff, [{
        "id": "a", "title": "Red apples <b>now</b>", "price": "4", "description": "<p>Crisp.</p><p>Sweet &amp; red.</p>",
        "brand": {"name": "Orchard"}, "seller": {"name": "Dana", "id": "d7"}, "url": "https://hub.example.com/a",
        "images": [{"url": "https://hub.example.com/a.jpg", "width": 800, "height": 600, "size": 1000}, "https://hub.example.com/b.png"],
        "attributes": {"Weight in kg": "2.5 kg", "organic": "yes"}, "listed_at": "2026-11-01T10:00:00Z",
    }])  # fmt: skip
    row = (await store.db.read(text("SELECT * FROM listings")))[0]
    assert (row["title"], row["description"], row["brand"]) == (
        "Red apples now",
        "Crisp.\nSweet & red.",
        "Orchard",
    )
    assert (row["outside_seller"], row["outside_url"]) == ({"name": "Dana", "id": "d7"}, "https://hub.example.com/a")
    images = await store.db.read(
        text("SELECT position, url, width, height, bytes, format FROM listing_images ORDER BY position")
    )
    assert [tuple(i) for i in images] == [
        (0, "https://hub.example.com/a.jpg", 800, 600, 1000, "jpeg"),
        (1, "https://hub.example.com/b.png", None, None, None, "png"),
    ]
    found = await store.db.read(text("SELECT key, value FROM listing_attributes ORDER BY key"))
    assert dict(tuple(f) for f in found)["weight_in_kg"] == "2.5 kg"


async def test_pictures_of_what_changed_are_fetched_too(store: Store, staff: Caller, source: Source) -> None:
    row = {"id": "a", "title": "Apples", "price": 4, "images": ["https://hub.example.com/a.jpg"]}
    for price in (4, 5, 5):
        await push(store, staff, [row | {"price": price}])
    wanted = await store.db.read(text("SELECT 1 FROM pgqueuer WHERE entrypoint = 'sources.fetch_pictures'"))
    assert len(wanted) == 2


async def test_what_the_staff_hid_stays_hidden(store: Store, staff: Caller, source: Source) -> None:
    await push(store, staff, [{"id": "a", "title": "Red apples", "price": 4}])
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text(
                "INSERT INTO decisions (id, subject_kind, subject_id, action, reason, decided_by) SELECT id, 'listing', id, 'hide', 'fake', :by FROM listings"
            ),
            by=staff.user_id,
        )
        await tx.run(text("UPDATE listings SET status = 'inactive', hidden_by = id"))
    await push(store, staff, [{"id": "a", "title": "Red apples", "price": 3}])
    found = (await listings(store))["a"]
    assert (found["price_minor"], found["status"]) == (300, "inactive")


async def test_a_source_that_nearly_vanishes_is_not_taken_off(store: Store, staff: Caller, source: Source) -> None:
    rows = [{"id": str(n), "title": f"Apples {n}", "price": n + 1} for n in range(30)]
    await push(store, staff, rows, complete=True)
    receipt = await push(store, staff, rows[:3], complete=True)
    assert receipt.problem.startswith("27 of 30 listings were not there")
    assert sum(r["status"] == "active" for r in (await listings(store)).values()) == 30


async def test_refused_rows_alone_take_nothing_off(store: Store, staff: Caller, source: Source) -> None:
    await push(store, staff, [{"id": "a", "title": "Apples", "price": 1}], complete=True)
    receipt = await push(store, staff, [{"id": "b", "price": 1}], complete=True)
    assert counted(receipt) == {"refused": 1}
    assert (await listings(store))["a"]["status"] == "active"


async def test_only_who_manages_the_catalogue_sends_listings(store: Store, make: Factory, source: Source) -> None:
    with pytest.raises(NotAllowed):
        await push(store, await make.person("buyer"), [{"id": "a", "title": "Apples", "price": 1}])
    with pytest.raises(SignInFirst):
        await push(store, Caller(), [{"id": "a", "title": "Apples", "price": 1}])
    token = msgspec.structs.replace(await make.person("admin"), scopes=frozenset({"profile"}))
    with pytest.raises(NotAllowed):
        await push(store, token, [{"id": "a", "title": "Apples", "price": 1}])
    assert await listings(store) == {}


async def test_a_stream_of_lines_is_taken_and_its_broken_line_named(
    store: Store, browse: Visitor, staff: Caller, source: Source
) -> None:
    lines = [msgspec.json.encode({"id": str(n), "title": f"Apples {n}", "price": n}) for n in range(1, 21)]
    lines[12] = b'{"id": "13", "title": "Apples'
    answer = await send(store, browse.client, staff, b"\n".join(lines), "application/x-ndjson")
    assert answer.status_code == 200
    said = answer.json()
    assert (said["run"]["inserted"], said["run"]["refused"], said["problem"]) == (19, 1, "")
    assert said["errors"][0]["place"] == "line 13"
    assert said["errors"][0]["reason"].startswith("This is not JSON: ")


async def test_a_document_that_breaks_off_keeps_what_came_before(
    store: Store, browse: Visitor, staff: Caller, source: Source
) -> None:
    body = b'{"items": [{"id": 1, "title": "Apples", "price": 1},\n{"id": 2, "title": "Pears", "price": 2},\n{"id": 3,, }]}'
    said = (await send(store, browse.client, staff, body, "application/json")).json()
    assert (said["run"]["inserted"], said["run"]["state"]) == (2, "failed")
    assert said["problem"].startswith("It is broken at row 3")
    report = await browse.client.get(f"/api/v1/sources/hub/runs/{said['run']['id']}")
    assert report.json()["problem"] == said["problem"]
    assert (await browse.client.get("/api/v1/sources")).json()[0]["listings"] == 2


async def send(store: Store, client: httpx.AsyncClient, caller: Caller, body: bytes, kind: str) -> httpx.Response:
    """Send a body as a program whose token may manage the catalogue; with it the token, for more requests."""
    async with store.db.transaction(actor=caller.actor) as tx:
        issued = await issue_token(tx, caller, NewToken(name="sender", scopes=("manage_catalog",), expires_in_days=1))
    client.headers["authorization"] = f"Bearer {issued.secret}"
    return await client.post("/api/v1/ingest?source=hub", content=body, headers={"content-type": kind})
