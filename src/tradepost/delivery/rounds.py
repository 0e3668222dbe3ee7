"""Rounds: who rides a window, in which order the stops come, and what became of each try to hand something over."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal, get_args
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction

FailedReason = Literal["nobody_home", "wrong_address", "refused", "damaged", "no_access", "other"]
REASONS: dict[str, str] = {
    "nobody_home": "Nobody opened", "wrong_address": "The address is wrong", "refused": "It was refused",
    "damaged": "It was damaged on the way", "no_access": "I could not get in", "other": "Something else",
}  # fmt: skip
assert set(REASONS) == set(get_args(FailedReason))  # noqa: S101  # two spellings of one list


class Rider(msgspec.Struct, frozen=True):
    """Somebody who may carry orders."""

    id: UUID
    username: str
    display_name: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A try to hand something over, to be written down. `key`: the rider's phone made it."""

    key: UUID
    order_id: UUID
    seller_id: UUID
    rider_id: UUID | None
    outcome: Literal["handed_over", "failed"]
    proof: Literal["", "pin", "photo"] = ""
    reason: str = ""
    note: str = ""
    file_id: UUID | None = None


_RIDERS = text("""
    SELECT u.id, CAST(u.username AS text) AS username, u.display_name FROM users u
    WHERE u.is_active AND EXISTS (SELECT FROM user_roles ur JOIN role_permissions p ON p.role = ur.role
                                  WHERE ur.user_id = u.id AND p.permission = 'deliver')
    ORDER BY EXISTS (SELECT FROM user_roles ur JOIN role_permissions p ON p.role = ur.role
                     WHERE ur.user_id = u.id AND p.permission = 'manage_store'), u.display_name, u.id LIMIT 100
""")
_SET_SLOT_RIDER = text("""
    UPDATE delivery_slots SET rider_id = :rider_id,
        status = CASE WHEN CAST(:rider_id AS uuid) IS NULL THEN 'available' ELSE 'assigned' END
    WHERE id = :slot_id AND (rider_id IS DISTINCT FROM CAST(:rider_id AS uuid) OR status = 'completed')
""")
_LOCK_SLOTS = text("SELECT id FROM delivery_slots WHERE delivery_on = :day ORDER BY id FOR NO KEY UPDATE")
_PLACE = text("""
    INSERT INTO delivery_stops (order_id, seller_id, position)
    SELECT * FROM unnest(CAST(:order_ids AS uuid[]), CAST(:seller_ids AS uuid[]), CAST(:positions AS int[]))
    ON CONFLICT (order_id, seller_id) DO UPDATE SET position = excluded.position
""")
_TRY = text("""
    INSERT INTO delivery_attempts (key, order_id, seller_id, rider_id, outcome, proof, reason, note, file_id)
    VALUES (:key, :order_id, :seller_id, :rider_id, :outcome, :proof, :reason, :note, :file_id) ON CONFLICT (key) DO NOTHING
""")
_TRIED = text("SELECT order_id, seller_id, outcome FROM delivery_attempts WHERE key = :key")
_COMPLETE = text("""
    UPDATE delivery_slots s SET status = 'completed'
    WHERE s.id = (SELECT b.slot_id FROM slot_bookings b WHERE b.order_id = :order_id AND b.state = 'booked') AND s.status = 'assigned'
      AND NOT EXISTS (SELECT FROM slot_bookings b JOIN fulfilments f ON f.order_id = b.order_id
                      JOIN order_states st ON (st.process, st.code) = (f.process, f.state)
                      WHERE b.slot_id = s.id AND b.state = 'booked' AND NOT st.is_final)
""")
_REBOOK = text("UPDATE slot_bookings SET slot_id = :slot_id WHERE order_id = :order_id AND state = 'booked'")
_BOOK_AGAIN = text("""
    INSERT INTO slot_bookings (order_id, slot_id) VALUES (:order_id, :slot_id)
    ON CONFLICT (order_id) DO UPDATE SET slot_id = excluded.slot_id, state = 'booked'
""")
_FORGET_PLACE = text("DELETE FROM delivery_stops WHERE order_id = :order_id")


class Tried(msgspec.Struct, frozen=True):
    """An attempt that is known already."""

    order_id: UUID
    seller_id: UUID
    outcome: str


async def list_riders(tx: Transaction) -> list[Rider]:
    """Return who may carry orders: riders by trade first, then those who run the store."""
    return await tx.all(_RIDERS, into=Rider)


async def lock_day(tx: Transaction, day: date) -> None:
    """Keep others from sharing out the same day until the commit."""
    await tx.all(_LOCK_SLOTS, day=day)


async def set_slot_rider(tx: Transaction, slot_id: UUID, rider_id: UUID | None) -> None:
    """Give a window a rider, or none: it is assigned, or available again."""
    await tx.run(_SET_SLOT_RIDER, slot_id=slot_id, rider_id=rider_id)


async def place_stops(tx: Transaction, stops: Sequence[tuple[UUID, UUID]]) -> None:
    """Have these parts (order, seller) ridden in this order."""
    if stops:
        await tx.run(
            _PLACE, order_ids=[s[0] for s in stops], seller_ids=[s[1] for s in stops],
            positions=list(range(1, len(stops) + 1)),
        )  # fmt: skip


async def tried_before(tx: Transaction, key: UUID) -> Tried | None:
    """Return what this key of a rider's phone has led to before."""
    return await tx.maybe(_TRIED, into=Tried, key=key)


async def note_attempt(tx: Transaction, attempt: Attempt) -> bool:
    """Write an attempt down; return whether its key is new."""
    return bool(await tx.run(_TRY, **msgspec.structs.asdict(attempt)))


async def complete_slot(tx: Transaction, order_id: UUID) -> None:
    """Close the window of an order when nothing of it is left to bring. Idempotent."""
    await tx.run(_COMPLETE, order_id=order_id)


async def move_booking(tx: Transaction, order_id: UUID, slot_id: UUID) -> None:
    """Bring an order in another window; the first one has room again. `SlotFull` comes at the commit."""
    if not await tx.run(_REBOOK, order_id=order_id, slot_id=slot_id):
        await tx.run(_BOOK_AGAIN, order_id=order_id, slot_id=slot_id)
    await tx.run(_FORGET_PLACE, order_id=order_id)


class AttemptLine(msgspec.Struct, frozen=True):
    """A try to hand something over, as its parties read it."""

    at: datetime
    outcome: str
    proof: str
    reason: str
    note: str
    file_id: UUID | None

    @property
    def said(self) -> str:
        """What happened, in words."""
        if self.outcome == "handed_over":
            return {"pin": "Handed over against the PIN", "photo": "Left with a picture"}.get(self.proof, "Handed over")
        return REASONS.get(self.reason, "It did not work")


_ATTEMPTS = text("""
    SELECT at, outcome, proof, reason, note, file_id FROM delivery_attempts WHERE order_id = :order_id ORDER BY at DESC LIMIT 20
""")


async def list_attempts(tx: Transaction, order_id: UUID) -> list[AttemptLine]:
    """Return the tries to hand an order over, the latest first."""
    return await tx.all(_ATTEMPTS, into=AttemptLine, order_id=order_id)
