"""Pages of outside markets: for the staff who add and watch them, and a listing with its curve."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.catalog.types import PricePoint
from tradepost.core.settings import IngestSettings, Settings
from tradepost.flows.read_sources import read_source
from tradepost.sources.queries import find_source
from tradepost.web.curves import BOTTOM, LEFT, RIGHT, TOP, draw_curve

DAY = timedelta(days=1)
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    return Settings(stores=("market",), test_payments=True, ingest=IngestSettings(folder=str(tmp_path)))


async def test_staff_add_a_market_by_its_address_and_see_what_it_brings(shop: Shop, tmp_path: Path) -> None:
    feed = tmp_path / "feed.ndjson"
    rows = [{"id": "a", "title": "Oak table", "price": 90}, {"id": "b", "title": "Elm chair", "price": "ask"}]
    feed.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    staff = await browser_of(shop, await shop.make.person("admin"))
    assert "No market yet" in text_of((await staff.get("/office/sources")).text)
    form = {
        "url": "folder:feed.ndjson",
        "kind": "ndjson_feed",
        "name": "Hub",
        "code": "hub",
        "category": "fruit",
        "complete": "1",
    }
    guessed = await staff.post("/office/sources/preview", {"url": "folder:feed.ndjson"})
    assert 'value="ndjson_feed" selected' in guessed.text
    looked = text_of((await staff.post("/office/sources/preview", form)).text)
    assert "1 of the first 2 rows would become listings." in looked
    assert "Oak table" in looked
    assert "The price “ask” has no amount in it" in looked
    assert await shop.store.db.read(text("SELECT 1 FROM sources")) == []
    assert "Hub is saved." in text_of((await staff.post("/office/sources", form)).text)
    source = await find_source(shop.store.db, "hub")
    run = (await read_source(shop.store, source.id, "command")).run
    rows[0]["price"] = 75
    feed.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    await read_source(shop.store, source.id, "command")
    assert "Read, some refused" in text_of((await staff.get("/office/sources")).text)
    assert "1 new" in text_of((await staff.get("/office/sources/hub")).text)
    report = text_of((await staff.get(f"/office/sources/hub/runs/{run.id}")).text)
    assert "line 2 b The price “ask” has no amount in it" in report
    bad = await staff.post("/office/sources", form | {"of": "hub", "schedule": "sometimes"})
    assert bad.status_code == 422
    assert "Five fields" in text_of(bad.text)
    await staff.post("/office/sources/hub", {"action": "off"})
    assert not (await find_source(shop.store.db, "hub")).is_active
    listing = await shop.store.db.read(text("SELECT slug, id FROM listings"))
    from tradepost.core.ids import short_id

    page = await (await browser_of(shop, shop.buyer)).get(f"/l/{listing[0]['slug']}-{short_id(listing[0]['id'])}")
    assert "It was $90.00 when we first saw it. Lowest $75.00, highest $90.00." in text_of(page.text)
    assert 'class="price-curve"' in page.text
    assert "Add to cart" not in page.text


async def test_only_who_manages_the_catalogue_sees_the_markets(shop: Shop) -> None:
    buyer = await browser_of(shop, shop.buyer)
    for path in ("/office/sources", "/office/sources/hub"):
        assert (await buyer.get(path)).status_code in {403, 404}
    assert (await buyer.post("/office/sources", {"name": "Hub", "code": "hub", "kind": "push"})).status_code in {
        403,
        404,
    }
    assert await shop.store.db.read(text("SELECT 1 FROM sources")) == []


def test_a_curve_goes_in_steps_over_time() -> None:
    points = [
        PricePoint(BEGIN, 1000, "USD", "available"),
        PricePoint(BEGIN + 5 * DAY, 500, "USD", "available"),
        PricePoint(BEGIN + 8 * DAY, 500, "USD", "sold"),
    ]
    curve = draw_curve(points, BEGIN + 10 * DAY)
    assert curve is not None
    middle = (LEFT + RIGHT) / 2
    assert curve.stretches[0].points == f"{LEFT},{TOP} {middle},{TOP} {middle},{BOTTOM}"
    assert [s.is_gone for s in curve.stretches] == [False, False, True]
    assert (curve.low_minor, curve.high_minor, curve.first_minor, len(curve.marks)) == (500, 1000, 1000, 3)
    assert draw_curve(points[:1], BEGIN + DAY) is None
    assert draw_curve((), BEGIN) is None
