"""Listings in bulk, tables in and out, promo codes and points: what changes, and that what is wrong changes nothing."""

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.catalog.imports import ImportMovedOn, file_key
from tradepost.core.errors import FieldErrors
from tradepost.core.sheets import read_sheet, write_csv, write_xlsx
from tradepost.flows.import_listings import (
    COLUMNS,
    ImportArgs,
    WrongColumns,
    apply_import,
    begin_import,
    check_import,
    decide_import,
    import_listings,
    show_import,
)
from tradepost.flows.loyalty import get_points, list_promos
from tradepost.flows.manage_listings import BulkForm, ListingQuestion, change_many, export_listings, search_listings

HEAD = ("sku", "title", "category", "price", "stock", "status", "attribute.power")


async def shelf(shop: Shop) -> tuple[Caller, UUID, UUID]:
    """Offer a hammer (SKU H-1) and a saw; return the admin and both variants."""
    hammer, saw = await shop.goods(price=1000, stock=10), await shop.goods("Saw", price=700, stock=2)
    await shop.run(text("UPDATE variants SET sku = 'H-1' WHERE id = :id"), id=hammer)
    return await shop.make.person("admin"), hammer, saw


async def price_of(shop: Shop, variant: UUID) -> int:
    return int(
        (await shop.row("SELECT amount_minor FROM prices WHERE variant_id = :id AND valid_to IS NULL", id=variant))[0]
    )


async def test_listings_are_found_by_what_one_knows(shop: Shop) -> None:
    admin, *_ = await shelf(shop)

    async def find(**asked: object) -> list[str]:
        return [r.title for r in (await search_listings(shop.store, admin, ListingQuestion(**asked))).items]  # type: ignore[arg-type]

    assert await find() == ["Saw", "Hammer"]
    assert await find(words="h-1") == ["Hammer"]
    assert await find(words="aw") == ["Saw"]
    assert await find(words="%") == []
    assert await find(low=True) == ["Saw"]
    assert await find(status="draft") == []
    assert await find(category="fruit") == []
    assert await find(category="tools", status="active") == ["Saw", "Hammer"]
    first = await search_listings(shop.store, admin, ListingQuestion(), limit=1)
    rest = await search_listings(shop.store, admin, ListingQuestion(), limit=1, after=first.after)
    assert [r.title for r in (*first.items, *rest.items)] == ["Saw", "Hammer"]
    with pytest.raises(NotAllowed):
        await search_listings(shop.store, shop.buyer, ListingQuestion())


async def test_many_change_at_once_each_on_its_own(shop: Shop) -> None:
    admin, hammer, saw = await shelf(shop)
    done = await change_many(shop.store, admin, [hammer, saw], BulkForm(action="price", amount=Decimal("-12.5")))
    assert (done.changed, await price_of(shop, hammer), await price_of(shop, saw)) == (2, 875, 612)
    await shop.buy(saw, 2, method="page")  # held: there cannot be less
    held = await change_many(shop.store, admin, [hammer, saw], BulkForm(action="stock", amount=Decimal(-1)))
    assert (held.changed, len(held.refused)) == (1, 1)
    assert "Saw" in held.refused[0]
    assert (await shop.stock(hammer), await shop.stock(saw)) == ((9, 0), (2, 2))
    await change_many(shop.store, admin, [hammer], BulkForm(action="withdraw"))
    assert await shop.count("listings", "status = 'inactive'") == 1
    await change_many(shop.store, admin, [hammer], BulkForm(action="publish"))
    assert await shop.count("listings", "status = 'active'") == 2
    for amount in (None, Decimal(-95), Decimal(5000)):
        with pytest.raises(FieldErrors):
            await change_many(shop.store, admin, [hammer], BulkForm(action="price", amount=amount))


async def test_a_dry_run_says_what_would_happen_and_does_nothing(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    table = [HEAD, ("H-1", "", "", "12.00", "4", ""), ("N-1", "Nails", "tools", "3,50", "100", "active", "hand")]
    dry = await import_listings(shop.store, admin, table, dry=True)
    assert [(r.sku, r.does) for r in dry.rows] == [("H-1", "changed"), ("N-1", "new")]
    assert (dry.done, await price_of(shop, hammer), await shop.count("listings")) == (False, 1000, 2)
    real = await import_listings(shop.store, admin, table, dry=False)
    assert (real.done, await price_of(shop, hammer), await shop.stock(hammer)) == (True, 1200, (4, 0))
    nails = await shop.row(
        "SELECT l.status, v.on_hand FROM listings l JOIN variants v ON v.listing_id = l.id WHERE v.sku = 'N-1'"
    )
    assert nails == ("active", 100)
    again = await import_listings(shop.store, admin, table, dry=False)
    assert [r.does for r in again.rows] == ["same", "same"]
    moved = await shop.rows(
        "SELECT quantity, reason FROM stock_movements WHERE variant_id = :id AND reason = 'import'", id=hammer
    )
    assert moved == [(-6, "import")]


async def test_one_bad_row_keeps_everything_out(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    table = [
        HEAD, ("H-1", "", "", "12.00", "4", ""), ("H-1", "", "", "13.00", "", ""), ("", "x", "tools", "1", "", ""),
        ("A", "Axe", "nowhere", "1", "", ""), ("B", "Bit", "tools", "free", "1", ""), ("C", "Cog", "tools", "1", "-4", ""),
        ("D", "", "tools", "1", "", ""), ("E", "Elk", "tools", "1", "NaN", ""), ("F", "Fan", "tools", "1", "1", "gone", "hand"),
        ("G", "=cmd|'/c calc'!A0", "tools", "1", "1", "", "hand"),
    ]  # fmt: skip
    report = await import_listings(shop.store, admin, table, dry=False)
    assert report.done is False
    assert [(r.number, r.does, sorted(r.problems)) for r in report.rows] == [
        (2, "changed", []), (3, "refused", ["sku"]), (4, "refused", ["sku"]), (5, "refused", ["category"]), (6, "refused", ["price"]),
        (7, "refused", ["stock"]), (8, "refused", ["title"]), (9, "refused", ["stock"]), (10, "refused", ["status"]), (11, "new", []),
    ]  # fmt: skip
    assert (await price_of(shop, hammer), await shop.count("listings")) == (1000, 2)


@pytest.mark.parametrize("head", [("name", "cost"), ("sku",), ("sku", "price", "colour"), ("sku", "sku", "price"), ()])
async def test_wrong_columns_are_said(shop: Shop, head: tuple[str, ...]) -> None:
    with pytest.raises(WrongColumns):
        await import_listings(shop.store, await shop.make.person("admin"), [head], dry=True)


async def test_what_goes_out_comes_in_again_unchanged(shop: Shop) -> None:
    admin, *_ = await shelf(shop)
    await shop.run(text("UPDATE variants SET sku = 'S-1' WHERE sku IS NULL"))
    pages = await export_listings(shop.store, admin, ListingQuestion())
    rows = [row async for page in pages for row in page]
    for data in ("".join(write_csv(COLUMNS, rows)).encode(), write_xlsx("Listings", COLUMNS, rows)):
        report = await import_listings(shop.store, admin, read_sheet(data, most_rows=100), dry=False)
        assert [r.does for r in report.rows] == ["same", "same"]


async def test_everything_goes_out_however_much_it_is(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    listing = (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=hammer))[0]
    await shop.run(
        text(
            "INSERT INTO variants (listing_id, unit, sku, options) SELECT :id, 'piece', '=CMD(' || n || ')', jsonb_build_object('Size', n::text) "
            "FROM generate_series(1, 250) n"
        ),
        id=listing,
    )
    staff = await browser_of(shop, admin)
    for name in ("listings.csv", "listings.xlsx"):
        table = read_sheet((await staff.get(f"/office/listings/file/{name}")).content, most_rows=1000)
        assert (len(table), len({row[0] for row in table[1:]})) == (253, 252)
    sent = (await staff.get("/office/listings/file/listings.csv")).text
    assert sent.count("'=CMD(") == 250
    assert "\n=CMD(" not in sent


async def test_tables_are_brought_in_on_the_page(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    desk = await browser_of(shop, admin)
    await desk.get("/office/listings/import")
    good = ("prices.csv", b"sku,price\nH-1,12.00\n", "text/csv")
    shown = await desk.post("/office/listings/import", {"action": "check"}, files={"file": good})
    assert "0 new, 1 changed, 0 as they are" in text_of(shown.text)
    assert await price_of(shop, hammer) == 1000
    done = await desk.post("/office/listings/import", {"action": "import", "table": "sku,price\nH-1,12.00\n"})
    assert "1 changed" in done.text
    assert await price_of(shop, hammer) == 1200
    for data, said in (
        (b"sku;cost\nH-1;1\n", "needs the columns"), (b"\x89PNG\r\n\x1a\n\x00\x00", "not a table"), (b"", "it is empty"),
    ):  # fmt: skip
        refused = await desk.post(
            "/office/listings/import", {"action": "import"}, files={"file": ("x.csv", data, "text/csv")}
        )
        assert (refused.status_code, said in refused.text) == (422, True)
    bad = await desk.post(
        "/office/listings/import", {"action": "import"}, files={"file": ("x.csv", b"sku,price\nH-1,x\n", "text/csv")}
    )
    assert (bad.status_code, "nothing is brought in" in bad.text) == (422, True)
    assert await price_of(shop, hammer) == 1200


async def test_the_table_of_listings_changes_what_is_ticked(shop: Shop) -> None:
    admin, hammer, saw = await shelf(shop)
    desk = await browser_of(shop, admin)
    await desk.get("/office/listings")
    shown = await desk.get("/office/listings?words=Hammer")
    assert int(shown.headers["x-query-count"]) <= 4
    answer = await desk.post("/office/listings/change", {f"row.{hammer}": "1", "action": "price", "amount": "10"})
    assert "1 changed" in answer.text
    assert (await price_of(shop, hammer), await price_of(shop, saw)) == (1100, 700)
    for fields in ({}, {f"row.{hammer}": "1", "action": "burn"}, {"row.x": "1", "action": "price", "amount": "1"}):
        assert "Tick the rows" in (await desk.post("/office/listings/change", fields)).text
    file = await desk.get("/office/listings/file/listings.csv")
    assert "H-1" in file.text
    assert (await desk.get("/office/listings/file/passwd")).status_code == 404
    for path in ("/office/listings", "/office/listings/import", "/office/listings/file/listings.csv", "/office/promos"):
        assert (await (await browser_of(shop, shop.buyer)).get(path)).status_code == 403
    assert (await desk.get("/office/listings?after=nonsense&category=%27&status=%00")).status_code == 200


async def test_promo_codes_say_what_they_have_done(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    desk = await browser_of(shop, admin)
    await desk.get("/office/promos")
    form = {"code": "spring10", "kind": "percent", "amount": "10", "usage_limit": "5"}
    assert "SPRING10 can be used" in (await desk.post("/office/promos", form)).text
    for wrong in ({"amount": "0"}, {"amount": "101"}, {"amount": "x"}, {"code": "a b"}, {"code": "spring10"}, {"valid_to": "2020-01-01"},
                  {"valid_to": "soon"}, {"usage_limit": "0"}, {"kind": "fixed", "amount": "-1"}):  # fmt: skip
        assert (await desk.post("/office/promos", {**form, "code": "OTHER", **wrong})).status_code == 422
    assert await shop.count("promo_codes", "code = 'OTHER'") == 0
    buyer = await browser_of(shop, shop.buyer)
    hammer = await shop.goods(price=1000, stock=5)
    await shop.put(hammer, 2)
    await buyer.get("/cart")
    await buyer.post("/cart/promo", {"code": "SPRING10"})
    from tradepost.flows.checkout import checkout

    await checkout(shop.store, shop.buyer, shop.form(), "promo")
    line = (await list_promos(shop.store, admin))[0]
    assert (line.used_count, line.discount_minor, line.sales_minor, line.persons, line.usage_limit) == (
        1,
        200,
        1800,
        1,
        5,
    )
    await desk.post(f"/office/promos/{line.id}", {"action": "off"})
    assert (await list_promos(shop.store, admin))[0].is_active is False


async def test_a_store_without_points_has_no_page_of_them(shop: Shop) -> None:
    assert await get_points(shop.store, shop.buyer) is None
    assert (await (await browser_of(shop, shop.buyer)).get("/me/points")).status_code == 404


def csv_of(*rows: str) -> bytes:
    return "\n".join((",".join(HEAD), *rows)).encode()


async def where(shop: Shop, admin: Caller, import_id: UUID) -> tuple[str, dict[str, int]]:
    found, _ = await show_import(shop.store, admin, import_id)
    return found.state, found.counts


async def test_a_long_table_is_checked_and_then_brought_in_by_jobs(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    table = csv_of("H-1,,,12.00,4,", ",,,,,", *(f"N-{n},Nail {n},tools,1,5,active,hand" for n in range(700)))
    args = ImportArgs(await begin_import(shop.store, admin, "spring.csv", table))
    assert await where(shop, admin, args.import_id) == ("checking", {})
    await check_import(shop.store, args)
    assert await where(shop, admin, args.import_id) == ("checked", {"new": 700, "changed": 1})
    assert (
        await price_of(shop, hammer),
        await shop.count("listings"),
        await shop.count("stock_movements", "reason = 'import'"),
    ) == (1000, 2, 0)
    _, new = await show_import(shop.store, admin, args.import_id, does="new", limit=2)
    _, rest = await show_import(shop.store, admin, args.import_id, does="new", after=new.after, limit=2)
    assert [(r.number, r.sku) for r in (*new.items, *rest.items)] == [(4, "N-0"), (5, "N-1"), (6, "N-2"), (7, "N-3")]
    await apply_import(shop.store, args)  # nobody has decided yet
    assert await shop.count("listings") == 2
    await decide_import(shop.store, admin, args.import_id, "import")
    await apply_import(shop.store, args)
    await apply_import(shop.store, args)
    assert await where(shop, admin, args.import_id) == ("done", {"new": 700, "changed": 1})
    assert (await price_of(shop, hammer), await shop.stock(hammer)) == (1200, (4, 0))
    assert await shop.count("listings", "status = 'active' AND price_minor = 100 AND in_stock") == 700
    assert await shop.count("search_documents", "title ILIKE 'nail%'") == 700
    assert not await shop.store.files.exists(file_key(args.import_id))
    with pytest.raises(ImportMovedOn):
        await decide_import(shop.store, admin, args.import_id, "import")
    with pytest.raises(NotAllowed):
        await show_import(shop.store, shop.buyer, args.import_id)


async def test_what_the_database_refuses_is_found_in_the_middle_of_many(shop: Shop) -> None:
    admin, hammer, saw = await shelf(shop)
    await shop.run(text("UPDATE variants SET sku = 'S-1' WHERE id = :id"), id=saw)
    await shop.buy(saw, 2, method="page")  # held: there cannot be less
    await shop.run(
        text("UPDATE listings SET status = 'removed' WHERE id = (SELECT listing_id FROM variants WHERE id = :id)"),
        id=hammer,
    )
    rows = [f"N-{n},Nail,tools,1,1,active,hand" for n in range(40)]
    table = csv_of(*rows[:20], "S-1,,,7,1,", "H-1,Taken,tools,1,1,,hand", *rows[20:])
    report = await import_listings(shop.store, admin, read_sheet(table, most_rows=100), dry=False)
    assert (report.done, report.count("new"), report.count("refused")) == (False, 40, 2)
    assert [(r.sku, sorted(r.problems)) for r in report.rows if r.does == "refused"] == [
        ("S-1", ["stock"]),
        ("H-1", ["sku"]),
    ]
    args = ImportArgs(await begin_import(shop.store, admin, "x.csv", table))
    await check_import(shop.store, args)
    assert await where(shop, admin, args.import_id) == ("refused", {"new": 40, "refused": 2})
    assert await shop.count("listings") == 2


async def test_what_changed_since_the_check_keeps_all_of_it_out(shop: Shop) -> None:
    admin, hammer, saw = await shelf(shop)
    await shop.run(text("UPDATE variants SET sku = 'S-1' WHERE id = :id"), id=saw)
    args = ImportArgs(await begin_import(shop.store, admin, "x.csv", csv_of("H-1,,,12.00,4,", "S-1,,,8,1,")))
    await check_import(shop.store, args)
    await shop.buy(saw, 2, method="page")
    await decide_import(shop.store, admin, args.import_id, "import")
    await apply_import(shop.store, args)
    assert await where(shop, admin, args.import_id) == ("refused", {"refused": 1})
    assert (await price_of(shop, hammer), await shop.stock(saw)) == (1000, (2, 2))


async def test_a_table_can_be_called_off(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    for until in ("checking", "checked", "importing"):
        args = ImportArgs(await begin_import(shop.store, admin, "x.csv", csv_of("H-1,,,12.00,4,")))
        if until != "checking":
            await check_import(shop.store, args)
        if until == "importing":
            await decide_import(shop.store, admin, args.import_id, "import")
        await decide_import(shop.store, admin, args.import_id, "cancel")
        await (check_import if until == "checking" else apply_import)(shop.store, args)
        assert (await where(shop, admin, args.import_id))[0] == "cancelled"
    assert await price_of(shop, hammer) == 1000


@pytest.mark.parametrize(("data", "problem"), [
    (csv_of(*(f'A{n},"x' for n in range(3))), "not closed"), (csv_of(""), "no rows"),
])  # fmt: skip
async def test_a_long_table_that_cannot_be_read_says_why(shop: Shop, data: bytes, problem: str) -> None:
    admin, *_ = await shelf(shop)
    args = ImportArgs(await begin_import(shop.store, admin, "x.csv", data))
    await check_import(shop.store, args)
    found, _ = await show_import(shop.store, admin, args.import_id)
    assert (found.state, problem in found.problem) == ("failed", True)


async def test_a_long_table_is_watched_on_its_page(shop: Shop) -> None:
    admin, hammer, _ = await shelf(shop)
    desk = await browser_of(shop, admin)
    await desk.get("/office/listings/import")
    many = b"sku,price\nH-1,1.00\n" + b"".join(b"S-%d,x\n" % n for n in range(200_000))
    answer = await desk.post(
        "/office/listings/import", {"action": "import"}, files={"file": ("big.csv", many, "text/csv")}
    )
    assert "0 of about 200,001 rows" in text_of(answer.text)
    assert await price_of(shop, hammer) == 1000
    await desk.post(answer.url.path, {"action": "cancel"})
    short = csv_of("H-1,,,12.00,4,", "N-1,Nail,tools,free,1,active,hand")
    import_id = await begin_import(shop.store, admin, "spring.csv", short)
    await check_import(shop.store, ImportArgs(import_id))
    shown = text_of((await desk.get(f"/office/listings/import/{import_id}")).text)
    assert "1 row is refused, so nothing was brought in" in shown
    assert "“free” is no price." in text_of((await desk.get(f"/office/listings/import/{import_id}?only=refused")).text)
    listed = text_of((await desk.get("/office/listings/import")).text)
    assert "big.csv" in listed
    assert "Called off" in listed
    good = await begin_import(shop.store, admin, "good.csv", csv_of("H-1,,,12.00,4,"))
    await check_import(shop.store, ImportArgs(good))
    sent = await desk.post(f"/office/listings/import/{good}", {"action": "import"})
    assert "Bringing it in" in sent.text
    await apply_import(shop.store, ImportArgs(good))
    assert "Everything is in" in (await desk.get(f"/office/listings/import/{good}")).text
    assert await price_of(shop, hammer) == 1200
    stranger = await browser_of(shop, shop.buyer)
    assert (await stranger.get(f"/office/listings/import/{good}")).status_code == 403
