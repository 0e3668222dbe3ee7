"""Disputes: both sides show words and pictures while an order is disputed, and staff decide with all of it before them."""

from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.catalog.pictures import ReceivedPicture, add_picture, receive_picture
from tradepost.core.database import Actor, Transaction
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.limits import check_rate
from tradepost.core.text import paragraphs
from tradepost.flows.move_order import SCOPES
from tradepost.flows.orders import Access, access_order, reading
from tradepost.flows.store import Store
from tradepost.notifications import notices
from tradepost.orders import disputes
from tradepost.orders import service as orders
from tradepost.orders.disputes import DISPUTED, Evidence, EvidenceForm, NotDisputed
from tradepost.orders.events import EvidenceAdded
from tradepost.orders.types import LockedOrder, NoSuchOrder, Party

MOST_PICTURES = 30  # in a quarter of an hour


async def show_evidence(
    store: Store, caller: Caller, order_id: UUID, form: EvidenceForm, picture: bytes | None = None
) -> Evidence:
    """Show something about a disputed order, as its buyer, a seller or staff; the other side is told.

    Raises `NoSuchOrder`, `NotDisputed`, `NothingShown`, `EnoughShown`, `FieldErrors`, `TooOften`, and what pictures raise.
    """
    check_fields(broken_limits(form))
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        access = await access_order(tx, caller, order_id=order_id)
    side = _side(caller, access)
    if access.row["state"] != DISPUTED:
        raise NotDisputed
    received = await _receive(store, caller, picture)
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        order = await orders.lock_order(tx, order_id)
        if order.state != DISPUTED:
            raise NotDisputed
        file_id = (await add_picture(tx, received)).id if received is not None else None
        evidence_id = await disputes.add_evidence(tx, order_id, side, caller.user_id, paragraphs(form.body), file_id)
        await record(tx, EvidenceAdded(evidence_id, order_id, order.number, side), subject_id=order_id)
        await _tell_others(tx, order, side, caller, evidence_id)
        return next(e for e in await disputes.evidence_of(tx, order_id) if e.id == evidence_id)


def _side(caller: Caller, access: Access) -> Party:
    """Return on which side the caller stands. Raises `NoSuchOrder` for riders, `NotAllowed` for a token that is for less."""
    side: Party | None = next((p for p in ("buyer", "seller", "staff") if p in access.parties), None)
    if side is None:
        raise NoSuchOrder
    caller.check_token(SCOPES[side])
    return side


async def _receive(store: Store, caller: Caller, picture: bytes | None) -> ReceivedPicture | None:
    """Check and put away a picture; who sends many is stopped before any work is done."""
    if picture is None:
        return None
    who = str(caller.user_id) if caller.user_id else caller.address
    await check_rate(store.cache, who, "evidence_pictures", MOST_PICTURES)
    return await receive_picture(store.files, picture, most_mb=store.installation.files.upload_limit_mb)


async def _tell_others(tx: Transaction, order: LockedOrder, side: Party, caller: Caller, evidence_id: UUID) -> None:
    """Tell the buyer of what sellers and staff show, and sellers of what the buyer and staff show."""
    people = {order.buyer_id} if side != "buyer" else set()
    people |= set(order.seller_ids) if side != "seller" else set()
    to = [person for person in people if person is not None and person != caller.user_id]
    title = f"Something new was shown about order {order.number}"
    await notices.tell(tx, to, "evidence", evidence_id, title, f"/orders/{order.number}#dispute")


async def list_evidence(store: Store, caller: Caller, order_id: UUID) -> list[Evidence]:
    """Return what was shown about an order, as far as it concerns the caller. Raises `NoSuchOrder`."""
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        access = await access_order(tx, caller, order_id=order_id)
        if access.parties == {"rider"}:
            return []
        only_of = caller.user_id if access.parties <= {"seller", "rider"} else None
        return await disputes.evidence_of(tx, order_id, only_of=only_of)
