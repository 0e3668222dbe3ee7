"""Reading orders as their parties see them: the buyer, each seller, riders, staff. Everybody else finds nothing.

`access_order` is the only door to an order; it says what the caller is to it. Everything is read as the caller, so that row-level
security stands behind it: a seller's or rider's transaction does not even see the other parts.
"""

from typing import Any
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.database import Actor, Transaction
from tradepost.core.pages import Page, newest_first, page_size, to_cursor
from tradepost.core.postal import Address
from tradepost.delivery.slots import slot_of_order
from tradepost.flows.processes import PURCHASE
from tradepost.flows.refund import net_price
from tradepost.flows.store import Store
from tradepost.orders import queries
from tradepost.orders.processes import Course, Transition, courses
from tradepost.orders.types import (
    Board,
    BoardCard,
    BoardColumn,
    ExplanationLine,
    Move,
    NoSuchOrder,
    OrderCard,
    OrderLine,
    OrderPart,
    OrderPayment,
    OrderRefund,
    OrderView,
    Party,
    SlotTaken,
    TimelineEntry,
)
from tradepost.payments import queries as payment_queries


class Access(msgspec.Struct, frozen=True):
    """An order's row, and what the caller is to it; `role` is the most telling of them."""

    row: Any
    parties: frozenset[Party]

    @property
    def role(self) -> Party:
        """The one role the page is shown for."""
        order: tuple[Party, ...] = ("buyer", "seller", "rider", "staff")
        return next(p for p in order if p in self.parties)


async def access_order(
    tx: Transaction, caller: Caller, *, number: str | None = None, order_id: UUID | None = None
) -> Access:
    """Return an order that concerns the caller. `tx` is the caller's, or the system's for a move. Raises `NoSuchOrder`, to strangers too."""
    row = await tx.maybe(queries.ORDER, number=number, order_id=order_id)
    if row is None:
        raise NoSuchOrder
    parties: set[Party] = set()
    if _is_buyer(row, caller):
        parties.add("buyer")
    if caller.user_id is not None and caller.user_id in row["seller_ids"]:
        parties.add("seller")
    if caller.can("see_all_orders"):
        parties.add("staff")
    if caller.can("deliver") and caller.user_id in await tx.values(queries.PART_OWNERS, order_id=row["id"]):
        parties.add("rider")
    if not parties:
        raise NoSuchOrder
    return Access(row, frozenset(parties))


def reading(caller: Caller) -> Actor:
    """Return the actor an order is read as: whoever may see all of them is shown every row, whatever else their roles say."""
    actor = caller.actor
    return msgspec.structs.replace(actor, role="staff") if caller.can("see_all_orders") else actor


def _is_buyer(row: Any, caller: Caller) -> bool:
    if row["buyer_id"] is not None:
        return bool(row["buyer_id"] == caller.user_id)
    return caller.session is not None and row["session_hash"] == caller.session


async def get_order(store: Store, caller: Caller, number: str) -> OrderView:
    """Return an order by its number (or id), as the caller may see it. Raises `NoSuchOrder`, to strangers too."""
    order_id = _as_id(number)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        access = await access_order(tx, caller, number=None if order_id else number[:40], order_id=order_id)
        return await read_order(tx, store, caller, access)


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def read_order(tx: Transaction, store: Store, caller: Caller, access: Access) -> OrderView:
    """Return everything of an order that this caller may see; a seller only sees the own part."""
    row, order_id = access.row, access.row["id"]
    course = (await courses(tx, row["rules_version"]))[row["process"]]
    only = caller.user_id if access.parties == {"seller"} else None
    lines = [
        line for line in await tx.all(queries.LINES, order_id=order_id) if only is None or line["seller_id"] == only
    ]
    parts = [
        part for part in await tx.all(queries.PARTS, order_id=order_id) if only is None or part["seller_id"] == only
    ]
    events = [
        e for e in await tx.all(queries.EVENTS, order_id=order_id) if only is None or e["seller_id"] in {None, only}
    ]
    sees_money = only is None and access.role != "rider"
    payments = await tx.all(payment_queries.PAYMENTS_OF_ORDER, order_id=order_id) if sees_money else []
    refunds = await tx.all(payment_queries.REFUNDS_OF_ORDER, order_id=order_id) if sees_money else []
    slot = await slot_of_order(tx, order_id)
    due = _due(row, course, payments) if "buyer" in access.parties else None
    totals = _totals(row, lines, parts, whole=only is None)
    return OrderView(
        id=order_id,
        number=row["number"],
        viewer=access.role,
        process=row["process"],
        state=row["state"],
        state_name=row["state_name"],
        tone=row["tone"],
        is_open=row["is_open"],
        is_final=row["is_final"],
        payment_state=row["payment_state"],
        payment_method=row["payment_method"],
        shipping_method=row["shipping_method"],
        currency=row["currency"],
        tax_inclusive=row["tax_inclusive"],
        **totals,
        points_spent=row["points_spent"] if only is None else 0,
        placed_at=row["placed_at"],
        due_at=row["due_at"],
        requested_on=row["requested_on"],
        note=row["note"],
        buyer_id=row["buyer_id"],
        buyer_name=row["buyer_name"] or "",
        email=_opened(store, row["email_enc"], "order-email") or "" if sees_money else "",
        shipping_address=_destination(store, row, parts, access.parties),
        billing_address=_address(store, row["billing_address_enc"]) if sees_money else None,
        slot=SlotTaken(id=slot.id, delivery_on=slot.delivery_on, starts_at=slot.starts_at, ends_at=slot.ends_at)
        if slot
        else None,
        explanation=tuple(msgspec.convert(e, ExplanationLine) for e in row["explanation"]) if only is None else (),
        lines=tuple(OrderLine(**line) for line in lines),
        parts=tuple(_part(part, course, access.parties, caller, several=len(row["seller_ids"]) > 1) for part in parts),
        timeline=tuple(_happened(e) for e in events),
        payments=tuple(OrderPayment(**p) for p in payments),
        refunds=tuple(OrderRefund(**r) for r in refunds),
        moves=_moves(row, course, access.parties),
        can_pay=due is not None,
        due_minor=await _due_minor(tx, row, course, due, payments) if due else 0,
        due_purpose=due.purpose if due else "full",
        deposit_minor=course.first_amount(row["total_minor"], row["currency"]) if course.deposit and sees_money else 0,
    )


def _totals(row: Any, lines: list[Any], parts: list[Any], *, whole: bool) -> dict[str, int]:
    """Return the totals of an order, or of the one part that is shown."""
    refunded = sum(line["refunded_minor"] for line in lines)
    names = (
        "subtotal_minor",
        "discount_minor",
        "points_minor",
        "shipping_minor",
        "tax_minor",
        "included_tax_minor",
        "total_minor",
    )
    if whole:
        return {**{name: row[name] for name in names}, "refunded_minor": refunded}
    shipping = sum(part["shipping_minor"] for part in parts)
    found = {
        name: sum(line[name] for line in lines) for name in names if name not in {"subtotal_minor", "shipping_minor"}
    }
    found["subtotal_minor"] = sum(line["gross_minor"] for line in lines)
    found["shipping_minor"], found["refunded_minor"] = shipping, refunded
    found["total_minor"] += shipping
    return found


def _part(part: Any, course: Course, parties: frozenset[Party], caller: Caller, *, several: bool) -> OrderPart:
    """Return a part with the moves that its own seller, its rider or staff may make with it alone."""
    mine: set[Party] = set(parties) & {"staff"}
    if part["seller_id"] == caller.user_id:
        mine.add("seller")
    if part["rider_id"] is not None and part["rider_id"] == caller.user_id:
        mine.add("rider")
    moves: tuple[Move, ...] = ()
    if several or mine & {"seller", "rider"}:
        moves = course.choices(part["state"], frozenset(mine), part["seller_id"], is_one_of_several=several)
    return OrderPart(**part, moves=moves)


def _moves(row: Any, course: Course, parties: frozenset[Party]) -> tuple[Move, ...]:
    """Return the moves of the whole order: the buyer's and staff's; a seller or rider moves a part."""
    whole = parties & {"buyer", "staff"}
    return course.choices(row["state"], frozenset(whole)) if whole else ()


def _due(row: Any, course: Course, payments: list[Any]) -> Transition | None:
    """Return the move that a payment would make now; None where nothing is to be paid, or has been."""
    move = course.payment_move(row["state"])
    if move is None or any(
        p["state"] in {"success", "partly_refunded", "refunded"} and p["purpose"] == move.purpose for p in payments
    ):
        return None
    return move


async def _due_minor(tx: Transaction, row: Any, course: Course, move: Transition, payments: list[Any]) -> int:
    """Return what that payment is over; asked of the payments, because a guest sees no accounts."""
    if move.purpose != "balance":
        return course.first_amount(row["total_minor"], row["currency"])
    paid = [p for p in payments if p["purpose"] == "deposit" and p["state"] in {"success", "partly_refunded"}]
    left: int = sum(p["amount_minor"] - p["refunded_minor"] for p in paid)
    return await net_price(tx, row["id"]) - left


_TITLES = {
    "placed": "Order placed", "payment_failed": "Payment failed", "late_money": "A late payment goes back",
    "disputed": "The bank asks about the payment", "refunded": "Money given back", "noted": "Note",
    "return_requested": "Return asked for", "return_accepted": "Return accepted", "return_rejected": "Return refused",
    "return_received": "Returned goods are back", "return_withdrawn": "Return called off", "items_changed": "Other options chosen", "exchange_asked": "Exchange asked for", "address_changed": "Goes to another address", "payment_changed": "To be paid another way", "delivery_failed": "Could not be handed over", "rescheduled": "Another delivery window",
}  # fmt: skip


def _happened(event: Any) -> TimelineEntry:
    title = _TITLES.get(event["kind"], event["state_name"] or event["kind"].replace("_", " ").capitalize())
    if event["kind"] == "part_moved":
        title = f"{title}: {event['seller_name']}"
    return TimelineEntry(
        seq=event["seq"], at=event["at"], kind=event["kind"], title=title, actor_role=event["actor_role"],
        actor_name=event["actor_name"], from_state=event["from_state"], to_state=event["to_state"],
        seller_id=event["seller_id"], reason=event["reason"],
    )  # fmt: skip


def _destination(store: Store, row: Any, parts: list[Any], parties: frozenset[Party]) -> Address | None:
    """Return where an order goes; sellers and riders are told the street once their part is paid for, or accepted."""
    address = _address(store, row["shipping_address_enc"])
    if address is None or parties & {"buyer", "staff"} or any(part["opened_at"] is not None for part in parts):
        return address
    return address.district


def _opened(store: Store, sealed: bytes | None, purpose: str) -> str | None:
    return store.keys.decrypt(sealed, purpose) if sealed else None


def _address(store: Store, sealed: bytes | None) -> Address | None:
    text = _opened(store, sealed, "order-address")
    return msgspec.json.decode(text, type=Address) if text else None


async def list_orders(store: Store, caller: Caller, *, after: str | None = None, limit: int = 24) -> Page[OrderCard]:
    """Return the orders the caller placed, newest first."""
    at, key = newest_first(after)
    if caller.user_id is None and caller.session is None:
        return Page(())
    statement = queries.CARDS_OF_BUYER if caller.user_id else queries.CARDS_OF_SESSION
    owner: dict[str, Any] = {"user_id": caller.user_id} if caller.user_id else {"session": caller.session}
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        rows = await tx.all(statement, **owner, after_at=at, after_id=key, limit=page_size(limit) + 1)
    return _page(rows, page_size(limit))


async def list_all_orders(
    store: Store,
    caller: Caller,
    *,
    state: str | None = None,
    search: str = "",
    after: str | None = None,
    limit: int = 50,
) -> Page[OrderCard]:
    """Return every order of the store, newest first; needs the permission see_all_orders. `search`: part of a number."""
    caller.check_can("see_all_orders")
    at, key = newest_first(after)
    wanted = "".join(c for c in search if c.isalnum() or c == "-")[:40]
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        rows = await tx.all(
            queries.ALL_CARDS, state=state or None, search=f"%{wanted}%" if wanted else "", after_at=at, after_id=key,
            limit=page_size(limit) + 1,
        )  # fmt: skip
    return _page(rows, page_size(limit))


def _page(rows: list[Any], size: int) -> Page[OrderCard]:
    items = tuple(
        OrderCard(**{**row, "titles": tuple(row["titles"] or ()), "image_ids": tuple(row["image_ids"] or ())})
        for row in rows[:size]
    )
    last = items[-1] if len(rows) > size else None
    return Page(items, to_cursor(last.placed_at, last.id) if last else None)


async def get_board(store: Store, caller: Caller, *, limit: int = 50) -> Board:
    """Return the caller's parts of orders as a seller, in columns by state, the most pressing first.

    The columns of another process than the store's usual one, such as bookings, are there once there is something in them.
    """
    seller_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        known = await courses(tx)
        states = [f"{c.code}:{m.from_state}" for c in known.values() for m in c.moves if "seller" in m.actors]
        counted = await tx.all(queries.BOARD_COUNTS, seller_id=seller_id, states=states)
        rows = await tx.all(queries.BOARD_CARDS, seller_id=seller_id, states=states, limit=page_size(limit))
    counts = {(row["process"], row["state"]): row["parts"] for row in counted}
    cards: dict[tuple[str, str], list[BoardCard]] = {}
    for row in rows:
        card = _board_card(store, row, known[row["process"]], seller_id)
        cards.setdefault((row["process"], row["state"]), []).append(card)
    busy = {process for process, _ in counts}
    return Board(
        columns=tuple(
            BoardColumn(process=c.code, state=s.code, name=s.name, tone=s.tone, is_open=s.is_open,
                        count=counts.get((c.code, s.code), 0), cards=tuple(cards.get((c.code, s.code), ())))
            for c in known.values()
            if c.code == PURCHASE or c.code in busy
            for s in c.states.values()
            if s.code != c.initial or f"{c.code}:{s.code}" in states
        )
    )  # fmt: skip


def _board_card(store: Store, row: Any, course: Course, seller_id: UUID) -> BoardCard:
    values = dict(row)
    del values["process"]
    address = _address(store, values.pop("shipping_address_enc"))
    return BoardCard(
        **{
            **values,
            "titles": tuple(row["titles"]),
            "quantities": tuple(row["quantities"]),
            "image_ids": tuple(row["image_ids"] or ()),
        },
        place=address.city if address else "",
        moves=course.choices(row["state"], frozenset({"seller"}), seller_id),
    )
