"""Every order of the store, for those who run it: a list that can be asked anything, and a board of what is open.

Everything here is bounded: pages go on after the last row, counts stop at 100, a column of the board shows its oldest 20.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import TextClause, text

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction
from tradepost.core.errors import DomainError
from tradepost.core.pages import Page, newest_first, page_size, to_cursor
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import reading
from tradepost.flows.store import Store
from tradepost.orders.processes import Course, courses
from tradepost.orders.types import Move, Tone

MOST_COUNTED = 100
CARDS = 20
MOST_AT_ONCE = 100


class OrderQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of orders is asked for; what is empty does not matter. Days are the store's own, `until` is included.

    `words`: the beginning of a number, or part of a buyer's name or address. `deliver_on`: the day of the window that was taken.
    """

    words: str = ""
    process: str = ""
    state: str = ""
    payment_state: str = ""
    gateway: str = ""
    since: date | None = None
    until: date | None = None
    deliver_on: date | None = None


class OfficeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the people behind the counter see it in a list. `moves`: what staff may do with the whole of it."""

    id: UUID
    number: str
    process: str
    state: str
    state_name: str
    tone: Tone
    payment_state: str
    payment_method: str
    currency: str
    total_minor: int
    placed_at: datetime
    due_at: datetime | None
    buyer_name: str
    is_guest: bool
    line_count: int
    titles: tuple[str, ...]
    quantities: tuple[str, ...]
    image_ids: tuple[UUID, ...]
    sellers: int
    shipping_method: str | None
    deliver_on: date | None
    slot_starts: str | None
    made_to_order: bool
    moves: tuple[Move, ...] = ()

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"

    @property
    def next_move(self) -> Move | None:
        """The move that brings the order on, where one click is enough: nothing goes back and nothing is called off."""
        return next(
            (m for m in self.moves if not m.refunds and not m.keeps_deposit and m.tone not in {"bad", "idle"}), None
        )


class OfficeColumn(msgspec.Struct, frozen=True, kw_only=True):
    """The open orders in one state: how many (at most 100 are counted) and the first of them, the oldest first."""

    process: str
    state: str
    name: str
    tone: Tone
    count: int
    cards: tuple[OfficeOrder, ...]

    @property
    def shown_count(self) -> str:
        """The count as it is written: “100+” where counting stopped."""
        return f"{MOST_COUNTED}+" if self.count >= MOST_COUNTED else str(self.count)


class StateChoice(msgspec.Struct, frozen=True):
    """A state to filter by."""

    process: str
    code: str
    name: str
    is_open: bool


PAYMENT_STATES = ("pending", "deposit_paid", "paid", "failed", "partly_refunded", "refunded")
_SELECT = """
    SELECT o.id, o.number, o.process, o.state, s.name AS state_name, s.tone, o.payment_state, o.payment_method, o.currency,
           o.total_minor, o.placed_at, o.due_at, coalesce(u.business_name, u.display_name, '') AS buyer_name,
           o.buyer_id IS NULL AS is_guest, l.line_count, l.titles, l.quantities, l.image_ids, cardinality(o.seller_ids) AS sellers,
           o.shipping_method, w.delivery_on AS deliver_on, to_char(w.starts_at, 'HH24:MI') AS slot_starts, l.made_to_order
    FROM {orders} JOIN order_states s ON (s.process, s.code) = (o.process, o.state) LEFT JOIN users u ON u.id = o.buyer_id
    LEFT JOIN slot_bookings b ON b.order_id = o.id AND b.state = 'booked' LEFT JOIN delivery_slots w ON w.id = b.slot_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS line_count, (array_agg(title ORDER BY line_no))[1:3] AS titles,
               (array_agg(CAST(trim_scale(quantity) AS text) ORDER BY line_no))[1:3] AS quantities,
               (array_remove(array_agg(CAST(snapshot ->> 'image_id' AS uuid) ORDER BY line_no), NULL))[1:3] AS image_ids,
               coalesce(bool_or(snapshot ? 'configuration' AND snapshot -> 'configuration' <> '{{}}'), false) AS made_to_order
        FROM order_lines WHERE order_id = o.id
    ) l
"""
_PERSONS = """o.buyer_id = ANY (ARRAY(SELECT p.id FROM users p WHERE
    lower(p.username::text || ' ' || p.display_name || ' ' || coalesce(p.email::text, '')) LIKE :words LIMIT 200))"""
_TESTS = {
    # Not LIKE: behind row-level security only an operator that leaks nothing may use the index.
    "number": "o.number ~>=~ CAST(:number AS text) AND o.number ~<~ (CAST(:number AS text) || '~')",
    "words": _PERSONS,
    "process": "o.process = :process",
    "state": "o.state = :state",
    # Written out, so that the partial index of what is not simply paid fits.
    **{f"payment_state={state}": f"o.payment_state = '{state}'" for state in PAYMENT_STATES},
    "gateway": "o.payment_method = :gateway",
    "since": "o.placed_at >= :since",
    "until": "o.placed_at < :until",
    "deliver_on": "o.id = ANY (ARRAY(SELECT t.order_id FROM delivery_slots d JOIN slot_bookings t ON t.slot_id = d.id "
    "WHERE d.delivery_on = :deliver_on AND t.state = 'booked'))",
}
_AFTER = "(o.placed_at, o.id) < (:after_at, :after_id) ORDER BY o.placed_at DESC, o.id DESC LIMIT :limit"


@cache
def _page_of(names: frozenset[str]) -> TextClause:
    """Return the statement for these filters: each set of them has its own plan."""
    tests = " AND ".join([*(_TESTS[name] for name in sorted(names)), _AFTER])
    inner = f"(SELECT * FROM orders o WHERE {tests}) o"
    return text(f"{_SELECT.format(orders=inner)} ORDER BY o.placed_at DESC, o.id DESC")


_OPEN = """
    unnest(CAST(:processes AS text[]), CAST(:states AS text[])) AS c(process, state)
    CROSS JOIN LATERAL (
        SELECT * FROM orders WHERE orders.state = c.state AND orders.process = c.process ORDER BY placed_at, id LIMIT :cards
    ) o
"""
_BOARD = text(f"{_SELECT.format(orders=_OPEN)} ORDER BY o.placed_at, o.id")
COUNTS = text(f"""
    SELECT c.process, c.state, (
        SELECT count(*) FROM (SELECT FROM orders o WHERE o.state = c.state AND o.process = c.process LIMIT {MOST_COUNTED}) n
    ) AS orders
    FROM unnest(CAST(:processes AS text[]), CAST(:states AS text[])) AS c(process, state)
""")
_NUMBER = re.compile(r"[A-Z]{1,6}-[A-Z0-9]{0,12}")


def _filters(store: Store, asked: OrderQuestion) -> dict[str, Any]:
    """Return the parameters of the filters in force, by their names."""
    found: dict[str, Any] = {
        name: value for name in ("process", "state", "gateway") if (value := getattr(asked, name)[:40])
    }
    words = " ".join(asked.words.split())[:60]
    prefix = words.upper() if "-" in words else f"{store.settings.store.order_prefix}-{words.upper()}"
    if _NUMBER.fullmatch(prefix) and ("-" in words or (len(words) == 8 and any(c.isdigit() for c in words))):
        found["number"] = prefix
    elif words:
        found["words"] = "%" + "".join("\\" + c if c in "%_\\" else c for c in words.lower()) + "%"
    if asked.since:
        found["since"] = datetime.combine(asked.since, datetime.min.time(), store.zone)
    if asked.until and asked.until < date.max:
        found["until"] = datetime.combine(asked.until + timedelta(days=1), datetime.min.time(), store.zone)
    if asked.deliver_on:
        found["deliver_on"] = asked.deliver_on
    return found


def _money_test(asked: OrderQuestion) -> set[str]:
    return {f"payment_state={asked.payment_state}"} if asked.payment_state in PAYMENT_STATES else set()


async def search_orders(
    store: Store, caller: Caller, asked: OrderQuestion, *, after: str | None = None, limit: int = 50
) -> Page[OfficeOrder]:
    """Return the orders that fit, newest first. Raises `NotAllowed`, `NoSuchPage`."""
    caller.check_can("see_all_orders")
    at, key = newest_first(after)
    size, filters = page_size(limit), _filters(store, asked)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        known = await courses(tx)
        names = frozenset(filters) | _money_test(asked)
        rows = await tx.all(_page_of(names), **filters, after_at=at, after_id=key, limit=size + 1)
    items = tuple(_card(store, row, known, caller) for row in rows[:size])
    return Page(items, to_cursor(items[-1].placed_at, items[-1].id) if len(rows) > size else None)


async def get_office_board(store: Store, caller: Caller) -> tuple[OfficeColumn, ...]:
    """Return the open orders by state, in the order of their processes. Raises `NotAllowed`."""
    caller.check_can("see_all_orders")
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        known = await courses(tx)
        columns = await read_columns(tx, known)
        busy = [c for c in columns if c.count]
        rows = await tx.all(
            _BOARD, processes=[c.process for c in busy], states=[c.state for c in busy], cards=CARDS
        )  # fmt: skip
    cards: dict[tuple[str, str], list[OfficeOrder]] = {}
    for row in rows:
        cards.setdefault((row["process"], row["state"]), []).append(_card(store, row, known, caller))
    return tuple(msgspec.structs.replace(c, cards=tuple(cards.get((c.process, c.state), ()))) for c in columns)


async def read_columns(tx: Transaction, known: dict[str, Course]) -> list[OfficeColumn]:
    """Return how many orders stand in each open state, without their cards."""
    open_states = [(c.code, s) for c in known.values() for s in c.states.values() if not s.is_final]
    counted = await tx.all(COUNTS, processes=[code for code, _ in open_states], states=[s.code for _, s in open_states])
    counts = {(row["process"], row["state"]): row["orders"] for row in counted}
    return [
        OfficeColumn(
            process=code, state=s.code, name=s.name, tone=s.tone, count=counts.get((code, s.code), 0), cards=()
        )
        for code, s in open_states
    ]


def _card(store: Store, row: Any, known: dict[str, Course], caller: Caller) -> OfficeOrder:
    course = known[row["process"]]
    moves = course.choices(row["state"], frozenset({"staff"})) if caller.can("move_orders") else ()
    paying, gateway = course.payment_move(row["state"]), store.gateways.get(row["payment_method"])
    if paying is not None and not (
        gateway and gateway.about.is_offline
    ):  # its payment brings it on; staff only on its page
        moves = tuple(m for m in moves if m.to_state != paying.to_state)
    lists = {name: tuple(row[name] or ()) for name in ("titles", "quantities", "image_ids")}
    return OfficeOrder(**{**row, **lists}, moves=moves)


async def state_choices(store: Store, caller: Caller) -> tuple[StateChoice, ...]:
    """Return every state an order can be in, in the order of the store's processes."""
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        known = await courses(tx)
    return tuple(StateChoice(c.code, s.code, s.name, s.is_open) for c in known.values() for s in c.states.values())


class MovedOrders(msgspec.Struct, frozen=True):
    """What became of several orders that were to be moved at once: how many went, and why others did not."""

    moved: int
    refused: tuple[tuple[str, str], ...]


async def move_orders(store: Store, caller: Caller, orders: Iterable[UUID], to_state: str) -> MovedOrders:
    """Move up to 100 orders, each on its own: one that cannot go holds up no other. Raises `NotAllowed`."""
    caller.check_can("move_orders")
    moved, refused = 0, []
    for order_id in list(dict.fromkeys(orders))[:MOST_AT_ONCE]:
        try:
            await move_order(store, caller, order_id, to_state)
        except DomainError as error:
            if error.kind == "unavailable":
                raise
            refused.append((str(order_id), error.message))
        else:
            moved += 1
    return MovedOrders(moved, tuple(refused))
