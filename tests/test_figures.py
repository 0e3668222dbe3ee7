"""The figures: equal to the orders whatever happens, in the store's own days; as views, on a page, in files that harm nobody."""

import csv
import io
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from openpyxl import load_workbook
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import NotAllowed
from tradepost.analytics import queries
from tradepost.core.database import SYSTEM
from tradepost.core.sheets import NotASheet, TooManyRows, harmless, read_sheet, write_csv, write_xlsx
from tradepost.flows.figures import get_figures, get_sheet, refresh_sales, stretch
from tradepost.flows.move_order import move_order
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.refund_order import RefundForm, RefundLine, refund_order

# The sums, made in the slow and obvious way: of each order by itself.
BASE = """
    SELECT (o.placed_at AT TIME ZONE :zone)::date AS day, count(*), sum(o.total_minor)::bigint
    FROM orders o WHERE o.state = 'delivered' GROUP BY 1 ORDER BY 1
"""
BASE_LISTINGS = """
    SELECT l.listing_id, (o.placed_at AT TIME ZONE :zone)::date AS day, sum(l.quantity), sum(l.total_minor)::bigint
    FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE o.state = 'delivered' GROUP BY 1, 2 ORDER BY 1, 2
"""
MONTHS = "SELECT month, currency, listing_id, quantity, revenue_minor, orders::bigint FROM sales_listing_months ORDER BY 1, 2, 3"
BASE_MONTHS = """
    SELECT date_trunc('month', o.placed_at AT TIME ZONE 'UTC')::date, o.currency, l.listing_id, sum(l.quantity), sum(l.total_minor)::bigint,
           count(DISTINCT o.id)
    FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE o.state = 'delivered' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

ADD_LINE = text("""
    INSERT INTO order_lines (order_id, line_no, buyer_id, session_hash, seller_id, listing_id, variant_id, title, unit, quantity,
        unit_price_minor, gross_minor)
    SELECT order_id, CAST(:line_no AS int), buyer_id, session_hash, seller_id, listing_id, variant_id, title, unit, 1,
           unit_price_minor * CAST(:factor AS int), unit_price_minor * CAST(:factor AS int)
    FROM order_lines WHERE order_id = :id AND line_no = 1
""")


async def assert_equal_to_the_orders(shop: Shop, zone: str = "UTC") -> None:
    """What the views say is what the orders say, before and after the job."""
    base, of_listings = await shop.rows(BASE, zone=zone), await shop.rows(BASE_LISTINGS, zone=zone)
    for _ in range(2):
        assert (
            await shop.rows("SELECT day, orders, revenue_minor FROM sales_by_day WHERE orders > 0 ORDER BY day") == base
        )
        found = await shop.rows("SELECT listing_id, day, quantity, revenue_minor FROM sales_by_listing ORDER BY 1, 2")
        assert found == of_listings
        await refresh_sales(shop.store)
        assert await shop.count("sales_changed") == 0
        assert await shop.rows(MONTHS) == await shop.rows(BASE_MONTHS)


async def deliver(shop: Shop, *orders: UUID) -> None:
    staff = await shop.make.person("staff")
    for order_id in orders:
        await move_order(shop.store, staff, order_id, "shipped")
        await move_order(shop.store, staff, order_id, "delivered")


async def sold(shop: Shop, count: int = 3) -> list[UUID]:
    """Sell hammers and saws in orders of both and hand them over; return the orders."""
    hammer, saw = await shop.goods(price=1000, stock=50), await shop.goods("Saw", price=700, stock=50)
    placed = []
    for n in range(count):
        await shop.put(hammer, n + 1)
        placed.append((await shop.buy(saw)).order_id)
    await deliver(shop, *placed)
    return placed


async def test_the_summaries_are_the_orders(shop: Shop) -> None:
    await assert_equal_to_the_orders(shop)
    first, second, third = await sold(shop)
    assert await shop.count("sales_changed") > 0
    await assert_equal_to_the_orders(shop)
    await shop.run(text("UPDATE orders SET placed_at = placed_at - interval '40 days' WHERE id = :id"), id=first)
    await assert_equal_to_the_orders(shop)
    await shop.run(
        text("UPDATE order_lines SET gross_minor = gross_minor + 55 WHERE order_id = :id AND line_no = 1"), id=second
    )
    await assert_equal_to_the_orders(shop)
    await shop.run(text("DELETE FROM order_lines WHERE order_id = :id AND line_no = 2"), id=third)
    await assert_equal_to_the_orders(shop)
    for line_no, factor in ((8, 1), (9, 0)):  # one that costs something and one for nothing, long after the order
        await shop.run(ADD_LINE, id=second, line_no=line_no, factor=factor)
        await assert_equal_to_the_orders(shop)
    variant = await shop.goods("Nail", stock=9)
    await shop.buy(variant)  # paid, not handed over: no sale yet
    await assert_equal_to_the_orders(shop)
    assert (await shop.row("SELECT sum(orders) FROM sales_by_day"))[0] == 3


async def test_a_day_is_the_stores_own(shop: Shop) -> None:
    first, second, _ = await sold(shop)
    zone = "America/New_York"
    await shop.run(text("SELECT 1"))
    night = datetime(2026, 3, 8, 23, 30, tzinfo=ZoneInfo(zone))  # the night in which the clocks go forward there
    await shop.run(text("UPDATE orders SET placed_at = :at WHERE id = :id"), at=night, id=first)
    await shop.run(text("UPDATE orders SET placed_at = :at WHERE id = :id"), at=night + timedelta(hours=1), id=second)
    await refresh_sales(shop.store)
    assert (await shop.rows("SELECT day::text, orders FROM sales_by_day ORDER BY day"))[0] == ("2026-03-09", 2)


async def test_a_store_in_another_zone_sums_up_its_own_days(owner: Any) -> None:
    """Straight in the database, as its owner: what changes the zone rebuilds the sums."""
    from sqlalchemy import insert

    from tradepost.core.database import SYSTEM
    from tradepost.core.tables import store_facts

    async with owner.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT store_timezone()")) == "UTC"
        await tx.run(insert(store_facts).values(name="timezone", value="Africa/Harare"))
        assert await tx.value(text("SELECT store_timezone()")) == "Africa/Harare"
        assert await tx.value(text("SELECT rebuild_sales()")) == 0
        amounts = await tx.values(
            text("SELECT major_units(m, c)::text FROM (VALUES (1999, 'USD'), (1999, 'JPY'), (1999, 'TND')) v(m, c)")
        )
        assert amounts == ["19.99", "1999", "1.999"]


async def test_the_documents_views_count_nothing_twice(shop: Shop) -> None:
    await sold(shop)
    hammer = (await shop.row("SELECT id FROM listings WHERE title = 'Hammer'"))[0]
    for n, rating in enumerate((5, 4, 3)):
        reader = await shop.make.person("buyer", f"reader{n}")
        await shop.run(
            text("INSERT INTO reviews (listing_id, user_id, rating) VALUES (:listing, :user, :rating)"),
            listing=hammer, user=reader.user_id, rating=rating,
        )  # fmt: skip
    row = await shop.row(
        "SELECT name, category, price, stock, avg_rating, review_count, total_sold FROM documented.product_stats WHERE id = :id",
        id=hammer,
    )
    assert row == ("Hammer", "tools", Decimal("10.00"), Decimal(44), Decimal(4), 3, Decimal(6))
    person = await shop.row(
        "SELECT total_orders, total_spent FROM documented.user_order_summary WHERE user_id = :id", id=shop.buyer.user_id
    )
    assert person == (3, Decimal("81.00"))
    assert await shop.row("SELECT order_count, total_revenue, avg_order_value FROM documented.daily_sales") == (
        3,
        Decimal("81.00"),
        Decimal("27.00"),
    )
    async with shop.store.db.transaction(
        actor=shop.buyer.actor
    ) as tx:  # behind row-level security, also through a view
        stranger = await shop.make.person()
        assert await tx.value(
            text("SELECT total_orders FROM documented.user_order_summary WHERE user_id = :id"), id=stranger.user_id
        ) in {None, 0}
        assert await tx.value(text("SELECT count(*) FROM sales_by_day")) == 0


async def test_figures_of_a_stretch(shop: Shop) -> None:
    first, *_ = await sold(shop)
    staff = await shop.make.person("admin")
    await refund_order(shop.store, staff, first, RefundForm(lines=(RefundLine(line_no=1),), reason="Chipped"))
    found = await get_figures(shop.store, staff)
    assert (found.orders, found.revenue_minor, found.average_minor, len(found.days)) == (3, 8100, 2700, 30)
    assert found.refunded_minor in {700, 1000}
    assert [(b.title, b.quantity, b.revenue_minor, b.orders) for b in found.best] == [
        ("Hammer", 6, 6000, 3),
        ("Saw", 3, 2100, 3),
    ]
    tomorrow = today_of(shop.store) + timedelta(days=1)
    assert (await get_figures(shop.store, staff, tomorrow, tomorrow)).orders == 0
    with pytest.raises(NotAllowed):
        await get_figures(shop.store, shop.buyer)
    today = today_of(shop.store)
    assert stretch(shop.store, today, today - timedelta(days=5)) == (today - timedelta(days=5), today)
    assert stretch(shop.store, today - timedelta(days=5000), today)[0] > today - timedelta(days=1200)


@pytest.mark.parametrize("waiting", [False, True])
async def test_best_sellers_of_long_stretches_are_those_of_the_orders(shop: Shop, waiting: bool) -> None:
    """Whole months come from their sums, days at the edges and months with a change from the days."""
    today = today_of(shop.store)
    placed = await sold(shop, 4)
    for order_id, days in zip(placed, (0, 40, 75, 400), strict=True):
        await shop.run(
            text("UPDATE orders SET placed_at = placed_at - make_interval(days => :days) WHERE id = :id"),
            id=order_id,
            days=days,
        )
    await refresh_sales(shop.store)
    if waiting:
        await shop.run(text("UPDATE order_lines SET gross_minor = gross_minor + 77 WHERE order_id = :id"), id=placed[2])
        assert await shop.count("sales_changed") > 0
    admin = await shop.make.person("admin")
    for back, forward in ((0, 0), (39, 0), (41, 0), (80, 0), (80, 39), (400, 0), (401, 0), (800, 30), (500, 100)):
        first, last = today - timedelta(days=back), today - timedelta(days=forward)
        found = await get_figures(shop.store, admin, first, last)
        slow = await shop.rows(
            "SELECT l.listing_id, sum(l.quantity), sum(l.total_minor)::bigint FROM orders o JOIN order_lines l ON l.order_id = o.id "
            "WHERE o.state = 'delivered' AND (o.placed_at AT TIME ZONE :zone)::date BETWEEN :first AND :last GROUP BY 1 ORDER BY 3 DESC, 1",
            zone=str(shop.store.zone), first=first, last=last,
        )  # fmt: skip
        assert [(b.listing_id, b.quantity, b.revenue_minor) for b in found.best] == slow, (back, forward)


SCANS = text("""
    SELECT CAST(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)) AS int) FROM pg_stat_xact_user_tables
    WHERE relname IN ('orders', 'order_lines')
""")


async def scans_of_orders(shop: Shop) -> int:
    """Return how often the statements of the figures look into orders or their lines, in whatever function."""
    today = today_of(shop.store)
    days = {"since": today - timedelta(days=1090), "until": today}
    parts = {"months": [today.replace(day=1)], "days": [today - timedelta(days=n) for n in range(40)]}
    currency = shop.store.currency
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        before = int(await tx.value(SCANS) or 0)  # what this connection did before may not have been handed in yet
        await tx.all(queries.SALES, **days, currency=currency)
        await tx.all(queries.BEST_SELLERS, **parts, currency=currency, limit=10)
        return int(await tx.value(SCANS) or 0) - before


async def test_figures_read_sums_and_no_lines_once_all_days_are_summed_up(shop: Shop) -> None:
    """So their cost follows the days and the things sold, and not the lines: ten million of them cost what ten do."""
    await sold(shop, 2)
    assert await scans_of_orders(shop) > 0  # the day that is not summed up yet
    await refresh_sales(shop.store)
    assert await scans_of_orders(shop) == 0


async def test_the_page_of_figures(shop: Shop) -> None:
    await sold(shop)
    desk = await browser_of(shop, await shop.make.person("admin"))
    await desk.get("/office/figures")
    shown = await desk.get("/office/figures")
    assert "$81.00" in shown.text
    assert int(shown.headers["x-query-count"]) <= 5
    assert "was the best day" in text_of(shown.text)
    for odd in (
        "since=x",
        "since=9999-12-31",
        "until=0001-01-01",
        "since=2026-12-01&until=2020-01-01",
        "since=0001-01-01&until=9999-12-31",
    ):
        assert (await desk.get(f"/office/figures?{odd}")).status_code == 200
    file = await desk.get("/office/figures/listings.csv")
    assert list(csv.reader(io.StringIO(file.text.lstrip("\ufeff"))))[1] == ["Hammer", "6.000", "3", "60.00", "USD"]
    book = load_workbook(io.BytesIO((await desk.get("/office/figures/days.xlsx")).content))
    assert book.active is not None
    assert book.active.max_row == 31
    assert (await desk.get("/office/figures/everything.exe")).status_code == 404
    assert (await (await browser_of(shop, shop.buyer)).get("/office/figures/days.csv")).status_code == 403


async def test_a_title_is_no_formula_in_a_file(shop: Shop) -> None:
    evil = '=HYPERLINK("http://evil.example","Prize")'
    variant = await shop.goods(evil, stock=5)
    placed = await shop.buy(variant)
    await deliver(shop, placed.order_id)
    sheet = await get_sheet(shop.store, await shop.make.person("admin"), "listings", None, None)
    assert sheet.rows[0][0] == evil
    assert f'"\'{evil.replace(chr(34), chr(34) * 2)}"' in "".join(write_csv(sheet.head, sheet.rows))
    cell = load_workbook(io.BytesIO(write_xlsx("Sales", sheet.head, sheet.rows))).active["A2"]  # type: ignore[index]
    assert (cell.data_type, cell.value) == ("s", "'" + evil)


@pytest.mark.parametrize("typed", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=cmd|'/c calc'!A0"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(typed: str) -> None:
    assert harmless(typed) == "'" + typed
    assert harmless("Plain - text = fine") == "Plain - text = fine"


def test_files_are_read_as_they_were_written() -> None:
    rows = [("Böreks", Decimal("2.50"), "=1+1", None), ('say "hi", twice', Decimal(3), "-5", "x")]
    expected = [["A", "B", "C", "D"], ["Böreks", "2.50", "=1+1", ""], ['say "hi", twice', "3", "-5", "x"]]
    assert read_sheet("".join(write_csv("ABCD", rows)).encode(), most_rows=10) == expected
    read = read_sheet(write_xlsx("x", "ABCD", rows), most_rows=10)
    assert [row[0] for row in read] == ["A", "Böreks", 'say "hi", twice']
    assert read[1][2] == "=1+1"
    assert read_sheet(b"A;B\n1;2\n", most_rows=10) == [["A", "B"], ["1", "2"]]
    assert read_sheet("Größe\n1".encode("cp1252"), most_rows=10)[0] == ["Größe"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"PK\x03\x04 but no zip", b"\x89PNG\r\n\x00\x00", b'a,"b\n'])
def test_what_is_no_table_is_said(data: bytes) -> None:
    with pytest.raises(NotASheet):
        read_sheet(data, most_rows=10)


def test_a_file_has_its_limits() -> None:
    with pytest.raises(TooManyRows):
        read_sheet(b"1\n" * 20, most_rows=10)
