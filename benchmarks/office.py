"""The pages of those who run a store, at a million orders: how many queries, how long, and the slowest plan of each.

The orders are written by the database itself, with its triggers at rest, over three years: nearly all of them delivered, those of the
last day open, two lines each of two thousand listings; then the summaries are made as `rebuild_sales()` makes them. Pages are
asked for over HTTP by a member of the staff.
"""

import asyncio
import re
import time
from datetime import date, timedelta
from statistics import median
from typing import Any

import asyncpg

from benchmarks.ground import ground
from benchmarks.pages import server
from tradepost.core.ids import secret_token, token_hash, uuid7

STORE, ORDERS, LISTINGS, PEOPLE, ROUNDS = "omade", 1_000_000, 2_000, 100_000, 9
_PEOPLE = """
    INSERT INTO users (id, username, email, display_name)
    SELECT uuidv7(), 'eater' || n, 'eater' || n || '@example.com', 'Eater ' || n FROM generate_series(1, $1::int) n
"""
# One window an hour from 8 to 20 on every day; the orders of a day share them.
_SLOTS = """
    INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity, taken, status)
    SELECT d::date, make_time(h, 7, 0), make_time(h + 1, 7, 0), 1000, 0, 'available'
    FROM generate_series(current_date - 1096, current_date + 7, interval '1 day') d, generate_series(8, 19) h
    ON CONFLICT DO NOTHING
"""
_ORDERS = """
    WITH goods AS (SELECT array_agg(l.id ORDER BY l.id) AS listings, array_agg(v.id ORDER BY l.id) AS variants,
                          array_agg(l.seller_id ORDER BY l.id) AS sellers
                   FROM (SELECT id, seller_id FROM listings WHERE seller_id IS NOT NULL ORDER BY id LIMIT $4) l
                   JOIN LATERAL (SELECT id FROM variants WHERE listing_id = l.id ORDER BY position LIMIT 1) v ON true),
    people AS (SELECT array_agg(id) AS ids FROM users WHERE username LIKE 'eater%'),
    chosen AS (
        SELECT n, uuidv7() AS id, 1 + (n * 7919::bigint) % cardinality(g.listings) AS good, 1 + (n * 104729::bigint) % cardinality(g.listings) AS other,
               p.ids[1 + (n * 31::bigint) % cardinality(p.ids)] AS buyer, g.listings, g.variants, g.sellers,
               now() - (($3 - n) * (interval '1095 days' / $3)) AS at,
               CASE WHEN n % 40 = 0 THEN 'refunded' WHEN n % 25 = 0 THEN 'cancelled'
                    WHEN n > $3 - 1000 THEN (ARRAY['confirmed', 'preparing', 'dispatched'])[1 + n % 3]
                    WHEN n % 50 = 1 THEN 'pending' ELSE 'delivered' END AS state
        FROM generate_series($1::int, $2::int) n, goods g, people p
    ),
    placed AS (
        INSERT INTO orders (id, number, buyer_id, seller_ids, process, state, payment_state, currency, subtotal_minor, payment_method,
                            shipping_method, placed_at, state_since)
        SELECT id, 'OM-B' || lpad(n::text, 7, '0'), buyer, ARRAY[sellers[good]], 'purchase', state,
               CASE state WHEN 'refunded' THEN 'refunded' WHEN 'cancelled' THEN 'failed' WHEN 'pending' THEN 'pending' ELSE 'paid' END,
               'USD', 2500 + n % 3000, CASE WHEN n % 10 = 0 THEN 'cash' ELSE 'sandbox' END, 'bakery-van', at, at
        FROM chosen
    ),
    parts AS (
        INSERT INTO fulfilments (order_id, seller_id, buyer_id, process, state, shipping_method, opened_at, handed_over_at)
        SELECT id, sellers[good], buyer, 'purchase', state, 'bakery-van', CASE WHEN state NOT IN ('pending', 'cancelled') THEN at END,
               CASE WHEN state = 'delivered' THEN at END
        FROM chosen
    ),
    lines AS (
        INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, unit, quantity, unit_price_minor,
                                 gross_minor)
        SELECT id, 1, buyer, sellers[good], listings[good], variants[good], 'Bench ' || good, 'piece', 1, 1500, 1500 FROM chosen
        UNION ALL
        SELECT id, 2, buyer, sellers[good], listings[other], variants[other], 'Bench ' || other, 'piece', 1, 1000 + n % 3000, 1000 + n % 3000
        FROM chosen
    )
    INSERT INTO slot_bookings (order_id, slot_id)
    SELECT c.id, s.id FROM chosen c JOIN delivery_slots s ON s.delivery_on = c.at::date + 1
        AND s.starts_at = make_time((8 + c.n % 12)::int, 7, 0) AND s.rider_id IS NULL
    WHERE c.n % 2 = 0 AND c.state <> 'cancelled'
"""
_STEP = 50_000


async def _grow(dsn: str) -> None:
    """Write the orders, once; a run that was ended in the middle goes on."""
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        known = await owner.fetchval("SELECT count(*) FROM orders WHERE number LIKE 'OM-B%'")
        if known >= ORDERS:
            return
        if not await owner.fetchval("SELECT EXISTS (SELECT FROM users WHERE username = 'eater1')"):
            await owner.execute(_PEOPLE, PEOPLE, timeout=600)
            await owner.execute(_SLOTS, timeout=600)
        for first in range(known + 1, ORDERS + 1, _STEP):
            await owner.execute(_ORDERS, first, first + _STEP - 1, ORDERS, LISTINGS, timeout=600)
            print(f"  orders: {first + _STEP - 1:,} of {ORDERS:,}", flush=True)
        await owner.execute(
            "UPDATE delivery_slots s SET taken = (SELECT count(*) FROM slot_bookings b WHERE b.slot_id = s.id)",
            timeout=600,
        )
        await owner.execute("SET session_replication_role = origin")
        await owner.execute("ANALYZE", timeout=600)
        began = time.perf_counter()
        days = await owner.fetchval("SELECT rebuild_sales()", timeout=3_600)
        print(f"  {days} days summed up in {time.perf_counter() - began:.0f} s", flush=True)
        await owner.execute(
            "VACUUM (ANALYZE) orders, order_lines, fulfilments, slot_bookings, sales_days, sales_listings, sales_changed",
            timeout=3_600,
        )
    finally:
        await owner.close()


async def _staff(owner: asyncpg.Connection) -> str:
    """Make a member of the staff with a session; return its token."""
    user_id, token = uuid7(), secret_token()
    name = f"desk{int(time.time())}"
    await owner.execute(
        "INSERT INTO users (id, username, email, display_name) VALUES ($1, CAST($2 AS text), CAST($2 AS text) || '@example.com', $2)",
        user_id,
        name,
    )
    role = await owner.fetchval(
        "SELECT role FROM role_permissions WHERE permission IN ('see_all_orders', 'see_reports', 'manage_store') "
        "GROUP BY role ORDER BY count(*) DESC LIMIT 1"
    )
    await owner.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, $2)", user_id, role)
    await owner.execute(
        "INSERT INTO sessions (id_hash, user_id, expires_at, last_seen_at, data) VALUES ($1, $2, now() + interval '1 day', now(), "
        "jsonb_build_object('proved_at', now()))", token_hash(token), user_id,
    )  # fmt: skip
    return token


def _pages(deep: str) -> dict[str, str]:
    today = date.today()  # noqa: DTZ011 - any day of these will do
    year, long = today - timedelta(days=365), today - timedelta(days=1090)
    return {
        "today": "/office", "board": "/office/orders?view=board", "orders": "/office/orders?view=list",
        "orders, far back": f"/office/orders?view=list&until={today - timedelta(days=700)}", "orders, next page": deep,
        "orders delivered": "/office/orders?view=list&state=purchase:delivered", "orders refunded": "/office/orders?view=list&payment_state=refunded",
        "orders by a way of paying nobody used": "/office/orders?view=list&gateway=nobody",
        "orders in a state nobody is in": "/office/orders?view=list&state=custom:delivered",
        "orders delivered and not paid": "/office/orders?view=list&state=purchase:delivered&payment_state=failed",
        "orders of a day's windows": f"/office/orders?view=list&deliver_on={today}", "orders by a name": "/office/orders?view=list&words=eater+77",
        "orders by a number": "/office/orders?view=list&words=OM-B0777", "kitchen today": "/office/kitchen",
        "kitchen tomorrow": f"/office/kitchen?day={today + timedelta(days=1)}", "figures, 30 days": "/office/figures",
        "figures, a year": f"/office/figures?since={year}&until={today}", "figures, three years": f"/office/figures?since={long}&until={today}",
    }  # fmt: skip


async def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Ask for every page a few times, and print what takes long."""
    async with ground(max_wal_size="1GB") as on:
        name = await on.store(STORE, LISTINGS)
        await _grow(on.dsn(name, "postgres"))
        owner = await asyncpg.connect(on.dsn(name, "postgres"))
        token = await _staff(owner)
        await owner.execute("SELECT refresh_sales()", timeout=600)
        await owner.execute(
            "VACUUM (ANALYZE) sales_days, sales_listings, sales_listing_months, sales_changed", timeout=600
        )
        # As on any day: today changes all the time, and somebody has just sent back what they ordered last month.
        await owner.execute("INSERT INTO sales_changed (day) VALUES (current_date), (current_date - 33)")
        size = await owner.fetchval("SELECT pg_database_size(current_database())")
        await owner.close()
        with server("store", on.dsn(name), STORE, on.cache_url, str(on.home.files(STORE))) as (_, port):
            found = await _ask_all(port, token, rounds)
    print(f"office: {size / 1e9:.1f} GB")
    worst = max(found.values(), key=lambda f: f["ms"])
    return {"pages": found, "slowest_ms": worst["ms"], "most_queries": max(f["queries"] for f in found.values())}


async def _ask_all(port: int, token: str, rounds: int) -> dict[str, dict[str, float]]:
    first, _, _ = await _ask(port, token, "/office/orders?view=list")
    deep = re.search(r'href="(/office/orders\?[^"]*after=[^"]*)"', first)
    found: dict[str, dict[str, float]] = {}
    for what, path in _pages(deep[1].replace("&amp;", "&") if deep else "/office/orders?view=list").items():
        times, queries = [], 0
        for _ in range(rounds):
            _, ms, queries = await _ask(port, token, path)
            times.append(ms)
        found[what] = {"ms": round(median(times), 1), "slowest_ms": round(max(times), 1), "queries": queries}
        print(f"  {what}: {found[what]}", flush=True)
    return found


async def _ask(port: int, token: str, path: str) -> tuple[str, float, int]:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {STORE}.localhost\r\nCookie: session={token}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    ms = (time.perf_counter() - began) * 1000
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"{path}: {head.decode('latin-1')}")
    count = re.search(rb"x-query-count: *(\d+)", head.lower())
    return body.decode(), ms, int(count[1]) if count else 0
