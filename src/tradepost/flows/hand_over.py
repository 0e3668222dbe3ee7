"""Handing over at the door: on the way, against the buyer's PIN or with a picture, or not at all and why.

Everything a rider's phone sends may come late and twice; the key that the phone made sees to it that it happens once.
"""

from secrets import compare_digest
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.database import SYSTEM, Actor, Transaction
from tradepost.core.limits import check_rate
from tradepost.delivery import rounds
from tradepost.delivery.rounds import Attempt, AttemptLine, FailedReason
from tradepost.delivery.types import ProofNeeded, WrongPin
from tradepost.flows.make_move import Mover
from tradepost.flows.move_order import move_part
from tradepost.flows.orders import access_order
from tradepost.flows.store import Store
from tradepost.orders import service as orders
from tradepost.orders.processes import Course, courses
from tradepost.orders.types import LockedOrder, LockedPart, MoveImpossible, NoSuchOrder, OrderView

MOST_PINS = 5


class HandOverForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a rider sends from the door, besides a picture."""

    key: UUID
    pin: Annotated[str, Meta(max_length=12)] = ""
    note: Annotated[str, Meta(max_length=500)] = ""


class FailedForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something could not be handed over."""

    key: UUID
    reason: FailedReason
    note: Annotated[str, Meta(max_length=500)] = ""


def pin_of(store: Store, order_id: UUID, seller_id: UUID) -> str:
    """Return the four digits that a buyer tells the rider: made of the order and the store's key, so kept nowhere."""
    made = store.keys.blind_index(f"{order_id}:{seller_id}", "hand-over-pin")
    return f"{int.from_bytes(made[:8], 'big') % 10_000:04d}"


async def set_out(store: Store, caller: Caller, order_id: UUID, seller_id: UUID) -> None:
    """Say that a part is on its way to its buyer. Repeating it is no error. Raises `NoSuchOrder`, `MoveImpossible`."""
    caller.check_can("deliver")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, course, parts, part = await _carried(tx, caller, order_id, seller_id)
        move = next(
            (m for m in course.moves_from(part.state) if "rider" in m.actors and "complete_fulfilments" not in m.effects
             and not course.states[m.to_state].is_final), None,
        )  # fmt: skip
        if move is None:
            if _arrival(course, part.state) or course.states[part.state].is_final:
                return
            raise MoveImpossible(course.states[part.state].name, "on its way")
        await move_part(tx, store, order, course, parts, part, move, Mover("rider", caller.user_id))


async def hand_over(
    store: Store, caller: Caller, order_id: UUID, seller_id: UUID, form: HandOverForm, picture: bytes | None = None
) -> None:
    """Hand a part over, against the buyer's PIN or with a picture. The same key again does nothing.

    Raises `NoSuchOrder`, `ProofNeeded`, `WrongPin`, `TooOften` after five PINs for an order in a quarter of an hour,
    `MoveImpossible`, and what `receive_picture` raises.
    """
    caller.check_can("deliver")
    if form.pin and picture is None:
        await _check_pin(store, order_id, seller_id, form.pin)
    elif picture is None:
        raise ProofNeeded
    received = None
    if picture is not None:
        received = await receive_picture(store.files, picture, most_mb=store.installation.files.upload_limit_mb)
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, course, parts, part = await _carried(tx, caller, order_id, seller_id)
        if await rounds.tried_before(tx, form.key) is not None or part.handed_over_at is not None:
            return
        file_id = (await add_picture(tx, received)).id if received else None
        proof: Any = "photo" if file_id else "pin"
        await _bring(tx, store, order, course, parts, part, Mover("rider", caller.user_id, form.note))
        await orders.set_proof(tx, order_id, seller_id, {"kind": proof, "file_id": str(file_id) if file_id else None})
        await rounds.note_attempt(
            tx, Attempt(key=form.key, order_id=order_id, seller_id=seller_id, rider_id=caller.user_id, outcome="handed_over",
                        proof=proof, note=form.note, file_id=file_id),
        )  # fmt: skip
        await rounds.complete_slot(tx, order_id)


async def _check_pin(store: Store, order_id: UUID, seller_id: UUID, pin: str) -> None:
    """Raise `WrongPin`; and `TooOften`, right or wrong, after five tries: ten thousand PINs are quickly tried."""
    await check_rate(store.cache, str(order_id), "hand_over_pin", MOST_PINS)
    if not compare_digest(pin.strip().encode(), pin_of(store, order_id, seller_id).encode()):
        raise WrongPin


async def fail_hand_over(store: Store, caller: Caller, order_id: UUID, seller_id: UUID, form: FailedForm) -> None:
    """Say that a part could not be handed over, and why: the buyer reads it, staff decide. The same key again does nothing."""
    caller.check_can("deliver")
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order, course, _, part = await _carried(tx, caller, order_id, seller_id)
        if course.states[part.state].is_final:
            return
        attempt = Attempt(key=form.key, order_id=order_id, seller_id=seller_id, rider_id=caller.user_id, outcome="failed",
                          reason=form.reason, note=form.note)  # fmt: skip
        if await rounds.note_attempt(tx, attempt):
            said = ". ".join(t for t in (rounds.REASONS[form.reason], form.note.strip()) if t)
            await orders.note(
                tx,
                order,
                "delivery_failed",
                actor_role="rider",
                actor_id=caller.user_id,
                seller_id=seller_id,
                reason=said,
            )


async def _carried(
    tx: Transaction, caller: Caller, order_id: UUID, seller_id: UUID
) -> tuple[LockedOrder, Course, list[LockedPart], LockedPart]:
    """Lock an order of which the caller carries this part. Raises `NoSuchOrder`, to everybody else."""
    await access_order(tx, caller, order_id=order_id)
    order = await orders.lock_order(tx, order_id)
    parts = await orders.lock_parts(tx, order_id)
    part = next((p for p in parts if p.seller_id == seller_id and p.rider_id == caller.user_id), None)
    if part is None:
        raise NoSuchOrder
    return order, (await courses(tx, order.rules_version))[order.process], parts, part


def _arrival(course: Course, state: str) -> str | None:
    """Return the state that a hand-over by a rider leads to from here, straight or over others."""
    ends = [m.to_state for m in course.moves if "complete_fulfilments" in m.effects and "rider" in m.actors]
    return next((end for end in ends if course.path(state, end, frozenset({"rider"}))), None)


async def _bring(
    tx: Transaction, store: Store, order: LockedOrder, course: Course, parts: list[LockedPart], part: LockedPart, mover: Mover
) -> None:  # fmt: skip
    """Move a part to where it is handed over; a phone that was offline may not have said before that it was on its way."""
    end = _arrival(course, part.state)
    if end is None:
        raise MoveImpossible(course.states[part.state].name, "handed over")
    for step in course.path(part.state, end, frozenset({"rider"})):
        await move_part(tx, store, order, course, parts, part, step, mover)
        order = await orders.lock_order(tx, order.id)
        parts = await orders.lock_parts(tx, order.id)
        part = next(p for p in parts if p.seller_id == part.seller_id)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a delivery stands, for its buyer and for staff. `before`: stops of the rider before this one; None until it is out."""

    rider_name: str
    before: int | None
    attempts: tuple[AttemptLine, ...]
    pin: str = ""


_STANDING = text("""
    SELECT coalesce(u.display_name, '') AS rider_name, st.is_final,
           (SELECT count(*) FROM fulfilments g JOIN delivery_stops t ON (t.order_id, t.seller_id) = (g.order_id, g.seller_id)
            JOIN order_states gs ON (gs.process, gs.code) = (g.process, g.state)
            JOIN slot_bookings gb ON gb.order_id = g.order_id AND gb.state = 'booked' JOIN delivery_slots gd ON gd.id = gb.slot_id
            WHERE g.rider_id = f.rider_id AND NOT gs.is_final AND gd.delivery_on = d.delivery_on
              AND (gd.starts_at, t.position) < (d.starts_at, s.position)) AS before
    FROM fulfilments f JOIN order_states st ON (st.process, st.code) = (f.process, f.state)
    LEFT JOIN users u ON u.id = f.rider_id
    LEFT JOIN delivery_stops s ON (s.order_id, s.seller_id) = (f.order_id, f.seller_id)
    LEFT JOIN slot_bookings b ON b.order_id = f.order_id AND b.state = 'booked' LEFT JOIN delivery_slots d ON d.id = b.slot_id
    WHERE f.order_id = :order_id ORDER BY f.seller_id LIMIT 1
""")


async def get_standing(store: Store, order: OrderView) -> Standing | None:
    """Return where the delivery of an order stands that the caller may see; None where nobody was to bring it yet."""
    carried = [part for part in order.parts if part.rider_id is not None]
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        attempts = await rounds.list_attempts(tx, order.id)
        row = await tx.maybe(_STANDING, order_id=order.id) if carried else None
    if row is None and not attempts and order.slot is None:
        return None
    open_part = next((part for part in order.parts if part.handed_over_at is None and part.opened_at is not None), None)
    shows_pin = order.viewer == "buyer" and open_part is not None and not order.is_final and order.slot is not None
    is_out = row is not None and not row["is_final"] and row["rider_name"] != ""
    return Standing(
        rider_name=row["rider_name"] if row else "", before=row["before"] if is_out and row else None,
        attempts=tuple(attempts), pin=pin_of(store, order.id, open_part.seller_id) if shows_pin and open_part else "",
    )  # fmt: skip
