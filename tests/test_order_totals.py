"""An order's total is the sum of its lines and its delivery, whoever changes them at the same moment; so are the sales of its day."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.shop import Shop
from tests.test_figures import BASE, BASE_LISTINGS, sold
from tradepost.core.database import SYSTEM, ChangedMeanwhile, TookTooLong, Transaction
from tradepost.flows.figures import refresh_sales

_ADD = text("""
    INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, unit, quantity, unit_price_minor,
                             gross_minor, tax_minor)
    SELECT order_id, :line, buyer_id, seller_id, listing_id, variant_id, title, unit, 1, :gross, :gross, :tax
    FROM order_lines WHERE order_id = :id AND line_no = 1
""")
_CHANGE = text("UPDATE order_lines SET gross_minor = :gross, tax_minor = :tax WHERE order_id = :id AND line_no = :line")
_REMOVE = text("DELETE FROM order_lines WHERE order_id = :id AND line_no = :line")
_SHIP = text("UPDATE fulfilments SET shipping_minor = :gross WHERE order_id = :id")
_WRONG = """
    SELECT o.number, o.total_minor, s.total FROM orders o
    CROSS JOIN LATERAL (SELECT coalesce(sum(l.total_minor), 0) AS total FROM order_lines l WHERE l.order_id = o.id) l
    CROSS JOIN LATERAL (SELECT l.total + coalesce(sum(f.shipping_minor), 0) AS total FROM fulfilments f WHERE f.order_id = o.id) s
    WHERE o.total_minor <> s.total
"""


async def _step(tx: Transaction, dice: random.Random, order_id: UUID, session: int) -> None:
    """Do one thing to a line that all fight for, or to one of the session's own."""
    line = dice.choice([2, 3, 100 * session + dice.randrange(3)])
    gross, tax = dice.randrange(0, 5000), dice.randrange(0, 300)
    what = dice.randrange(8)
    if what == 0:
        await tx.run(_SHIP, id=order_id, gross=gross)
    elif what <= 2:
        await tx.run(_REMOVE, id=order_id, line=line)
    elif not await tx.run(_CHANGE, id=order_id, line=line, gross=gross, tax=tax):
        await tx.run(_ADD, id=order_id, line=line, gross=gross, tax=tax)


async def _session(shop: Shop, orders: list[UUID], number: int, seed: int, done: dict[str, int]) -> None:
    dice = random.Random(seed)  # noqa: S311 - a test's dice
    for _ in range(12):
        try:
            async with shop.store.db.transaction(actor=SYSTEM) as tx:
                for _ in range(dice.randrange(1, 4)):
                    await _step(tx, dice, dice.choice(orders), number)
                if dice.randrange(6) == 0:
                    raise LookupError  # noqa: TRY301 - inside the transaction, so that none of it happens
            done["kept"] += 1
        except LookupError:
            done["undone"] += 1
        except Exception as error:
            # Two that hold what the other wants, or that put in the same line: one of them is sent away whole.
            if not isinstance(error, ChangedMeanwhile | TookTooLong) and "pk_order_lines" not in str(error):
                raise
            done["sent away"] += 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_totals_are_the_sums_whoever_changes_lines_at_once(shop: Shop, seed: int) -> None:
    variant = await shop.goods(price=1000, stock=50)
    orders = [(await shop.buy(variant, 1, shipping="standard")).order_id for _ in range(2)]
    done = {"kept": 0, "undone": 0, "sent away": 0}
    await asyncio.gather(*(_session(shop, orders, n, 100 * seed + n, done) for n in range(1, 7)))
    assert done["kept"] >= 20, done
    assert await shop.rows(_WRONG) == []
    assert await shop.rows("SELECT number FROM orders WHERE total_minor <> subtotal_minor - discount_minor - points_minor "
                           "+ shipping_minor + tax_minor") == []  # fmt: skip


async def _base(shop: Shop) -> tuple[list[Any], list[Any]]:
    return await shop.rows(BASE, zone="UTC"), await shop.rows(BASE_LISTINGS, zone="UTC")


async def _summed(shop: Shop) -> tuple[list[Any], list[Any]]:
    return (
        await shop.rows("SELECT day, orders, revenue_minor FROM sales_by_day WHERE orders > 0 ORDER BY day"),
        await shop.rows("SELECT listing_id, day, quantity, revenue_minor FROM sales_by_listing ORDER BY 1, 2"),
    )


async def test_sales_are_those_of_the_orders_while_both_change(shop: Shop) -> None:
    """Sessions change delivered orders while the job sums them up again and again; afterwards, and after one run more, all is equal."""
    orders = await sold(shop)
    done = {"kept": 0, "undone": 0, "sent away": 0}
    changing = asyncio.gather(*(_session(shop, orders, n, 900 + n, done) for n in range(1, 5)))
    runs = 0
    while not changing.done():
        await refresh_sales(shop.store)
        runs += 1
    await changing
    assert done["kept"] >= 10, done
    assert runs > 1
    assert await _summed(shop) == await _base(shop)
    await refresh_sales(shop.store)
    assert await shop.count("sales_changed") == 0
    assert await _summed(shop) == await _base(shop)


async def test_delivery_that_is_given_back_shows_in_the_days_sales(shop: Shop) -> None:
    order_id, *_ = await sold(shop, 1)
    await refresh_sales(shop.store)
    await shop.run(text("UPDATE fulfilments SET shipping_minor = 500 WHERE order_id = :id"), id=order_id)
    await refresh_sales(shop.store)
    await shop.run(
        text("UPDATE fulfilments SET shipping_refunded_minor = 200 WHERE order_id = :id AND shipping_minor > 0 AND seller_id = "
             "(SELECT min(seller_id::text)::uuid FROM fulfilments WHERE order_id = :id)"), id=order_id,
    )  # fmt: skip
    told = "SELECT sum(refunded_minor)::bigint FROM sales_by_day"
    assert (await shop.row(told))[0] == 200
    await refresh_sales(shop.store)
    assert (await shop.row(told))[0] == 200
