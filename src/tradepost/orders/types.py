"""What the rest of the product sees of orders."""

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused
from tradepost.core.ids import short_id
from tradepost.core.postal import Address

Tone = Literal["info", "good", "warn", "bad", "idle"]
Party = Literal["buyer", "seller", "rider", "staff", "system"]


class NoSuchOrder(NotFound):
    """There is no such order."""


class CartEmpty(Conflict):
    """There is nothing in the cart to order."""


@dataclass(eq=False)
class BookSeparately(Conflict):
    """Services are booked on their own, one provider at a time: {titles}."""

    titles: str


@dataclass(eq=False)
class DayNeeded(Invalid):
    """Please choose the day you would like."""

    field: str | None = "requested_on"


@dataclass(eq=False)
class DepositFirst(Invalid):
    """This order begins with a deposit, which cannot be paid by {gateway}; please choose another way."""

    gateway: str
    field: str | None = "gateway"


@dataclass(eq=False)
class TotalChanged(Conflict):
    """The total is now {now} instead of {was}; please look at the order again."""

    was: str
    now: str


@dataclass(eq=False)
class PricesChanged(Conflict):
    """Prices have changed since these were put in the cart: {titles}."""

    titles: str


@dataclass(eq=False)
class SoldOut(Conflict):
    """{titles}: there is not enough left."""

    titles: str


@dataclass(eq=False)
class NoDelivery(Invalid):
    """{name} does not deliver there; please choose another way."""

    name: str
    field: str | None = "shipping"


@dataclass(eq=False)
class ShippingUnknown(Invalid):
    """There is no way of delivery called “{code_given}”."""

    code_given: str
    field: str | None = "shipping"


@dataclass(eq=False)
class EmailNeeded(Invalid):
    """Please give an e-mail address, so that the confirmation finds you."""

    field: str | None = "email"


@dataclass(eq=False)
class MoveImpossible(Conflict):
    """An order that is “{state}” cannot become “{wanted}”."""

    state: str
    wanted: str


@dataclass(eq=False)
class MoveNotYours(Refused):
    """It is not for you to make an order “{wanted}”."""

    wanted: str


@dataclass(eq=False)
class BadProcess(Invalid):
    """The process “{process}” is not sound: {problem}"""

    process: str
    problem: str
    field: str | None = None


class ExplanationLine(msgspec.Struct, frozen=True, kw_only=True):
    """One step of how a total came about: what it is, and by how much it changes the total.

    `kind`: goods, discount, points, shipping, tax (added), included_tax (contained, so it changes nothing), total.
    """

    kind: str
    text: str
    amount_minor: int
    line_no: int | None = None
    seller_id: UUID | None = None


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """One thing bought, as it was when it was bought. `total_minor` is what was paid for it, delivery apart."""

    line_no: int
    seller_id: UUID
    listing_id: UUID
    variant_id: UUID
    slug: str
    title: str
    sku: str | None
    image_id: UUID | None
    options: dict[str, str]
    configuration: dict[str, Any]
    unit: str
    quantity: Decimal
    unit_price_minor: int
    gross_minor: int
    discount_minor: int
    points_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    refunded_minor: int
    returned_quantity: Decimal

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.listing_id)}"

    @property
    def label(self) -> str:
        """The chosen options in words."""
        return ", ".join(str(v) for v in self.options.values())


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A move the viewer may make now. `seller_id`: of that seller's part; None: of the whole order.

    `refunds`: money goes back, so a page asks once more. `keeps_deposit`: what was paid first stays, in whole or in part.
    `hands_over`: the goods are the buyer's then, which a rider proves with a PIN or a picture.
    """

    to_state: str
    label: str
    tone: Tone
    refunds: bool = False
    keeps_deposit: bool = False
    seller_id: UUID | None = None
    hands_over: bool = False


class OrderPart(msgspec.Struct, frozen=True, kw_only=True):
    """One seller's part of an order, with its own state."""

    seller_id: UUID
    seller_name: str
    seller_username: str
    state: str
    state_name: str
    tone: Tone
    is_open: bool
    shipping_minor: int
    shipping_method: str | None
    carrier: str
    tracking: str
    rider_id: UUID | None
    opened_at: datetime | None
    shipped_at: datetime | None
    handed_over_at: datetime | None
    due_at: datetime | None
    moves: tuple[Move, ...] = ()


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an order. `title` is ready to show."""

    seq: int
    at: datetime
    kind: str
    title: str
    actor_role: str
    actor_name: str | None
    from_state: str | None
    to_state: str | None
    seller_id: UUID | None
    reason: str


class OrderPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment on an order's page. `redirect_url`: where the buyer finishes paying, as long as it is initiated."""

    id: UUID
    purpose: str
    gateway: str
    method: str
    amount_minor: int
    refunded_minor: int
    state: str
    is_offline: bool
    redirect_url: str | None
    instructions: str
    error: str | None
    created_at: datetime
    settled_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether the buyer can finish it on a page of the gateway."""
        return self.state == "initiated" and self.redirect_url is not None

    @property
    def is_settling(self) -> bool:
        """Whether the buyer has done their part, and the gateway's answer is on its way."""
        return self.state == "initiated" and self.redirect_url is None and not self.is_offline


class OrderRefund(msgspec.Struct, frozen=True, kw_only=True):
    """Money given back, on an order's page."""

    id: UUID
    amount_minor: int
    reason: str
    state: str
    created_at: datetime
    gateway: str


class SlotTaken(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery window of an order."""

    id: UUID
    delivery_on: date
    starts_at: time
    ends_at: time


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as one of its parties sees it: a seller sees the own part only, without the buyer's payments.

    `viewer` is what the caller is to this order. `can_pay`: a payment can be started or finished now, of `due_minor`, which is
    all of the order, its deposit or the balance. `deposit_minor`: what its process asks for first; 0 where it does not.
    """

    id: UUID
    number: str
    viewer: Party
    process: str
    state: str
    state_name: str
    tone: Tone
    is_open: bool
    is_final: bool
    payment_state: str
    payment_method: str
    shipping_method: str | None
    currency: str
    tax_inclusive: bool
    subtotal_minor: int
    discount_minor: int
    points_minor: int
    shipping_minor: int
    tax_minor: int
    included_tax_minor: int
    total_minor: int
    refunded_minor: int
    points_spent: int
    placed_at: datetime
    due_at: datetime | None
    requested_on: date | None
    note: str
    buyer_id: UUID | None
    buyer_name: str
    email: str
    shipping_address: Address | None
    billing_address: Address | None
    slot: SlotTaken | None
    explanation: tuple[ExplanationLine, ...]
    lines: tuple[OrderLine, ...]
    parts: tuple[OrderPart, ...]
    timeline: tuple[TimelineEntry, ...]
    payments: tuple[OrderPayment, ...]
    refunds: tuple[OrderRefund, ...]
    moves: tuple[Move, ...]
    can_pay: bool
    due_minor: int = 0
    due_purpose: str = "full"
    deposit_minor: int = 0

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"


class OrderCard(msgspec.Struct, frozen=True, kw_only=True):
    """An order in a list. `titles` are those of its first lines, `image_ids` their pictures."""

    id: UUID
    number: str
    state: str
    state_name: str
    tone: Tone
    is_open: bool
    payment_state: str
    currency: str
    total_minor: int
    placed_at: datetime
    buyer_name: str
    line_count: int
    titles: tuple[str, ...]
    image_ids: tuple[UUID, ...]

    @property
    def path(self) -> str:
        """The address of the order's page."""
        return f"/orders/{self.number}"


class BoardCard(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's part of an order on the seller's board. `earns_minor`: what the seller gets of it."""

    order_id: UUID
    number: str
    state: str
    placed_at: datetime
    opened_at: datetime | None
    due_at: datetime | None
    requested_on: date | None
    buyer_name: str
    place: str
    shipping_method: str | None
    currency: str
    total_minor: int
    earns_minor: int
    line_count: int
    titles: tuple[str, ...]
    quantities: tuple[str, ...]
    image_ids: tuple[UUID, ...]
    moves: tuple[Move, ...] = ()


class BoardColumn(msgspec.Struct, frozen=True, kw_only=True):
    """The parts in one state; `count` may be more than the cards shown."""

    process: str
    state: str
    name: str
    tone: Tone
    is_open: bool
    count: int
    cards: tuple[BoardCard, ...]


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A seller's orders, one column for each state of the store's process in its order."""

    columns: tuple[BoardColumn, ...]


class NothingToPay(Conflict):
    """Nothing is to be paid for this order now."""


class OrderChanged(Conflict):
    """The order has moved on meanwhile; please look at it again."""


class LockedOrder(msgspec.Struct, frozen=True):
    """An order that nobody else can move until the commit."""

    id: UUID
    number: str
    process: str
    state: str
    payment_state: str
    buyer_id: UUID | None
    session_hash: bytes | None
    seller_ids: list[UUID]
    currency: str
    total_minor: int
    points_spent: int
    placed_at: datetime
    cart_id: UUID | None
    rules_version: str


class LockedPart(msgspec.Struct, frozen=True):
    """A seller's part of a locked order."""

    seller_id: UUID
    state: str
    shipping_minor: int
    rider_id: UUID | None
    opened_at: datetime | None
    handed_over_at: datetime | None


@dataclass(eq=False)
class PartsMoveTogether(Conflict):
    """This goes with the payment, so the parts of all sellers move together; move the whole order."""


@dataclass(eq=False)
class PartAhead(Conflict):
    """One seller's part is “{state}” already, so the whole order cannot go this way; deal with the parts one by one."""

    state: str
