"""The desk: what waits today, every order found and moved, jobs that gave up; and that none of it is for strangers."""

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import NotAllowed
from tradepost.core.clock import now
from tradepost.core.live import Entry
from tradepost.flows import today as today_flow
from tradepost.flows.engine import decide_jobs, get_engine
from tradepost.flows.move_order import move_order
from tradepost.flows.office_orders import OrderQuestion, get_office_board, move_orders, search_orders
from tradepost.flows.orders import get_order
from tradepost.flows.today import count_desk, get_today, watch_desk

OFFICE_PAGES = ("/office", "/office/orders", "/office/orders?view=list", "/office/engine")


async def three_orders(shop: Shop) -> list[str]:
    """Sell three hammers one by one and send the second; return the numbers, the oldest first."""
    variant = await shop.goods(stock=10)
    placed = [await shop.buy(variant) for _ in range(3)]
    await move_order(shop.store, shop.sellers[variant], placed[1].order_id, "shipped")
    return [p.number for p in placed]


async def test_staff_find_orders_by_what_they_know_of_them(shop: Shop) -> None:
    numbers = await three_orders(shop)
    staff = await shop.make.person("staff")
    today = now().date()

    async def find(**asked: object) -> list[str]:
        return [o.number for o in (await search_orders(shop.store, staff, OrderQuestion(**asked))).items]  # type: ignore[arg-type]

    assert await find() == numbers[::-1]
    assert await find(words=numbers[0]) == numbers[:1]
    assert await find(words=numbers[0].lower()) == numbers[:1]
    assert await find(words=shop.buyer.username) == numbers[::-1]
    assert await find(words=f"{shop.buyer.username}@example.com") == numbers[::-1]
    assert await find(words="nobody at all") == []
    assert await find(words="%") == []
    assert await find(state="shipped") == [numbers[1]]
    assert await find(state="paid", process="purchase") == [numbers[2], numbers[0]]
    assert await find(state="paid", process="service") == []
    assert await find(payment_state="paid") == numbers[::-1]
    assert await find(payment_state="failed") == []
    assert await find(payment_state="x' OR true --") == numbers[::-1]  # what is no state is no filter
    assert await find(gateway="cash") == []
    assert await find(since=today, until=today) == numbers[::-1]
    assert await find(since=today + timedelta(days=1)) == []
    assert await find(deliver_on=today) == []


async def test_the_list_goes_on_where_a_page_ended(shop: Shop) -> None:
    numbers = await three_orders(shop)
    staff = await shop.make.person("staff")
    first = await search_orders(shop.store, staff, OrderQuestion(), limit=2)
    rest = await search_orders(shop.store, staff, OrderQuestion(), after=first.after, limit=2)
    assert [o.number for o in (*first.items, *rest.items)] == numbers[::-1]
    assert rest.after is None
    card = first.items[0]
    assert (card.titles, card.quantities, card.total_minor, card.sellers) == (("Hammer",), ("1",), 1000, 1)


async def test_the_board_shows_open_orders_the_oldest_first(shop: Shop) -> None:
    numbers = await three_orders(shop)
    columns = {c.state: c for c in await get_office_board(shop.store, await shop.make.person("staff"))}
    assert [c.number for c in columns["paid"].cards] == [numbers[0], numbers[2]]
    assert (columns["shipped"].count, columns["pending"].count) == (1, 0)
    assert "delivered" not in columns
    move = columns["paid"].cards[0].next_move
    assert move is not None
    assert (move.to_state, move.label) == ("shipped", "Send")


async def test_several_orders_move_each_on_its_own(shop: Shop) -> None:
    numbers = await three_orders(shop)
    staff = await shop.make.person("staff")
    ids = [(await get_order(shop.store, staff, n)).id for n in numbers]
    done = await move_orders(shop.store, staff, [*ids, ids[0]], "delivered")
    assert (done.moved, len(done.refused)) == (1, 2)
    assert [await shop.row("SELECT state FROM orders WHERE id = :id", id=i) for i in ids] == [
        ("paid",),
        ("delivered",),
        ("paid",),
    ]
    assert (await move_orders(shop.store, staff, ids[::2], "shipped")).moved == 2


async def test_staff_tick_orders_and_send_them_on_the_page(shop: Shop) -> None:
    numbers = await three_orders(shop)
    desk = await browser_of(shop, await shop.make.person("staff"))
    shown = await desk.get("/office/orders?state=purchase:paid")
    ids = re.findall(r'name="(order\.[0-9a-f-]{36})"', shown.text)
    assert len(ids) == 2
    answer = await desk.post(
        "/office/orders/move", {**dict.fromkeys(ids, "1"), "to_state": "shipped", "next": "/office/orders"}
    )
    assert "2 orders moved" in answer.text
    assert text_of(answer.text).count("Hammer") == 3
    nothing = await desk.post("/office/orders/move", {"to_state": "shipped"})
    assert "Tick the orders you mean first" in nothing.text
    assert numbers[0] in answer.text


async def test_today_counts_what_waits(shop: Shop) -> None:
    await three_orders(shop)
    variant = await shop.goods("Saw", price=500)
    await shop.buy(variant, method="page")
    staff = await shop.make.person("staff")
    today = await get_today(shop.store, staff)
    assert {c.state: c.count for c in today.columns if c.process == "purchase"} == {"paid": 2, "shipped": 1}
    assert (today.unpaid, today.waiting.orders_today, today.waiting.sold_today_minor) == (1, 3, 3000)
    page = text_of((await (await browser_of(shop, staff)).get("/office")).text)
    assert "Paid today: 3 orders, $30.00" in page
    assert "1 waits for its payment" in page


async def test_the_desk_counts_for_whoever_looks_and_tells_what_changed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(today_flow, "LOOK_EVERY_S", 0.02)
    await three_orders(shop)
    staff = await shop.make.person("staff")
    await shop.run(
        text("INSERT INTO verifications (user_id, kind, status) VALUES (:id, 'phone', 'pending')"),
        id=shop.buyer.user_id,
    )
    await shop.run(
        text(
            "INSERT INTO pgqueuer (priority, entrypoint, status, created, updated) VALUES (0, 'x.y', 'failed', now(), now())"
        )
    )
    watching = await watch_desk(shop.store, staff)
    first = said(await anext(watching))
    assert {n: v for n, v in first.items() if v and n != "state"} == {
        "orders": 3,
        "total": 3,
    }  # papers and jobs are not theirs
    admin = await count_desk(shop.store, await shop.make.person("admin"))
    assert (admin.orders, admin.papers, admin.failed_jobs, admin.total) == (3, 1, 1, 5)
    await shop.buy(next(iter(shop.sellers)))
    async for entries in watching:
        if entries:
            assert (said(entries)["orders"], said(entries)["total"]) == (4, 4)
            break
    await watching.aclose()
    with pytest.raises(NotAllowed):
        await watch_desk(shop.store, shop.buyer)


def said(entries: list[Entry]) -> dict[str, object]:
    """Return what one piece of the stream says."""
    found: dict[str, object] = json.loads(entries[0].frame)["data"]
    return found


@pytest.mark.parametrize("path", OFFICE_PAGES)
async def test_the_desk_is_for_those_who_work_here(shop: Shop, path: str) -> None:
    for role in ("buyer", "seller", "rider"):
        seen = await browser_of(shop, await shop.make.person(role))
        assert (await seen.get(path)).status_code == 403
    admin = await browser_of(shop, await shop.make.person("admin"))
    assert (await admin.get(path)).status_code == 200


async def test_desk_pages_ask_the_database_little(shop: Shop) -> None:
    await three_orders(shop)
    desk = await browser_of(shop, await shop.make.person("staff"))
    for path in ("/office", "/office/orders", "/office/orders?view=list&words=hammer&state=paid"):
        await desk.get(path)
        answer = await desk.get(path)
        assert (answer.status_code, int(answer.headers["x-query-count"]) <= 5) == (200, True), path


async def test_nonsense_in_the_address_is_said_and_shows_a_page(shop: Shop) -> None:
    desk = await browser_of(shop, await shop.make.person("staff"))
    odd = await desk.get(
        "/office/orders?since=yesterday&after=%00&state=nowhere:at-all&words=%27%3B--&until=9999-12-31"
    )
    assert odd.status_code == 200
    assert "A day is written 2026-01-31" in (await desk.get("/office/orders?since=31.1.")).text


async def test_failed_jobs_are_tried_again_or_forgotten(shop: Shop) -> None:
    admin, staff = await shop.make.person("admin"), await shop.make.person("staff")
    for name in ("search.embed", "search.prune"):
        await shop.run(
            text("INSERT INTO pgqueuer (priority, entrypoint, status, attempts) VALUES (0, :name, 'failed', 5)"),
            name=name,
        )
    found = await get_engine(shop.store, admin)
    assert (found.queue.failed, [j.name for j in found.failed]) == (2, ["search.prune", "search.embed"])
    assert {p.name: p.state for p in found.health.probes} == {"database": "up", "cache": "up", "jobs": "up"}
    with pytest.raises(NotAllowed):
        await decide_jobs(shop.store, staff, [found.failed[0].id], retry=False)
    desk = await browser_of(shop, admin)
    await desk.get("/office/engine")
    answer = await desk.post("/office/engine/jobs", {f"job.{found.failed[0].id}": "1", "action": "discard"})
    assert "1 forgotten" in answer.text
    await desk.post("/office/engine/jobs", {f"job.{found.failed[1].id}": "1", "action": "retry"})
    assert await shop.rows(
        "SELECT entrypoint, status::text, attempts FROM pgqueuer WHERE entrypoint LIKE 'search.%'"
    ) == [("search.embed", "queued", 0)]


async def test_tables_are_read_and_nothing_secret_is(shop: Shop) -> None:
    await three_orders(shop)
    desk = await browser_of(shop, await shop.make.person("admin"))
    shown = await desk.get("/office/data?table=orders")
    assert "MK-" in shown.text
    assert "shipping_address_enc" in shown.text.split("Not shown:")[1].split(".")[0]
    users = await desk.get("/office/data?table=users")
    assert "password_hash" not in users.text.split("<table")[1]
    for name in ("sessions", "tokens", "messages", "pg_authid", "orders; DROP TABLE orders"):
        assert (await desk.get("/office/data", follow=True)).status_code == 200
        assert (await desk.client.get("/office/data", params={"table": name})).status_code == 404
    looked = await shop.rows("SELECT DISTINCT table_name FROM audit_log WHERE action = 'look' ORDER BY 1")
    assert looked == [("orders",), ("users",)]
    for table in re.findall(r'<option value="([a-z_]+)"', shown.text):
        assert (await desk.client.get("/office/data", params={"table": table})).status_code == 200
    staff = await browser_of(shop, await shop.make.person("staff"))
    assert (await staff.get("/office/data")).status_code == 403
    processes = await staff.get("/office/processes")
    assert "Confirm receipt" in processes.text
