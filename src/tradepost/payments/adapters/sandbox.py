"""The sandbox gateway: no real money, and every way in which a real gateway misbehaves, on demand.

It plays another company: it keeps its own books (`sandbox_charges`, `sandbox_refunds`), which the kernel never reads, signs its
calls, and is asked over the same port as Stripe. `method` chooses what it does:

page: the buyer decides on a page (the default) · approve, decline: at once · delay: approves a few seconds later by itself ·
lost: approves, but neither reply nor call says so · early: calls before it replies · duplicate: calls twice before it replies ·
down: takes the money and then does not answer · nothing: never answers and takes nothing.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import httpx
import msgspec
from sqlalchemy import text

from tradepost.core.clock import now
from tradepost.core.database import Database
from tradepost.core.ids import readable_code
from tradepost.payments.adapters.sandbox_payouts import SandboxPayouts
from tradepost.payments.ports import (
    About,
    ChargeRequest,
    Outcome,
    OutcomeState,
    RefundOutcome,
    RefundRequest,
    SettledPayment,
    WebhookEvent,
)
from tradepost.payments.types import ForgedWebhook, GatewayDown, NoSuchPayment

SIGNATURE = "x-sandbox-signature"
DELAY = timedelta(seconds=5)
Send = Callable[[str, Mapping[str, str], bytes], Awaitable[None]]
Decision = Literal["approve", "decline", "cancel", "delay", "duplicate", "lost", "dispute"]

_STATES: dict[str, OutcomeState] = {
    "open": "pending", "approved": "success", "disputed": "success", "declined": "failed", "cancelled": "cancelled",
}  # fmt: skip
_BEHAVIOURS = ("page", "approve", "decline", "delay", "lost", "early", "duplicate", "down", "nothing")
_BEGIN_AS = {"approve": "approved", "lost": "approved", "early": "approved", "duplicate": "approved", "down": "approved",
             "decline": "declined"}  # fmt: skip

_COLUMNS = "payment_id, ref, amount_minor, refunded_minor, currency, behaviour, state, due_at, created_at"
_CHARGE = text(f"""
    INSERT INTO sandbox_charges AS c (payment_id, ref, amount_minor, currency, behaviour, state, due_at)
    VALUES (:payment_id, :ref, :amount_minor, :currency, :behaviour, :state, :due_at)
    ON CONFLICT (payment_id) DO UPDATE SET asked = c.asked + 1 RETURNING {_COLUMNS}
""")
_LOOK = text(f"""
    UPDATE sandbox_charges SET state = CASE WHEN state = 'open' AND due_at <= :now THEN 'approved' ELSE state END
    WHERE payment_id = :payment_id OR ref = :ref RETURNING {_COLUMNS}
""")
_DECIDE = text(f"""
    UPDATE sandbox_charges SET state = :state, due_at = :due_at
    WHERE payment_id = :payment_id AND (state = 'open' OR (state = 'approved' AND :state = 'disputed')) RETURNING {_COLUMNS}
""")
_CANCEL = text(f"""
    UPDATE sandbox_charges SET state = CASE WHEN state = 'open' THEN 'cancelled' ELSE state END
    WHERE payment_id = :payment_id RETURNING {_COLUMNS}
""")
_REFUND = text("""
    WITH given AS (
        INSERT INTO sandbox_refunds (refund_id, payment_id, amount_minor)
        SELECT :refund_id, payment_id, :amount_minor FROM sandbox_charges
        WHERE payment_id = :payment_id AND state IN ('approved', 'disputed') AND refunded_minor + :amount_minor <= amount_minor
        ON CONFLICT (refund_id) DO NOTHING RETURNING payment_id
    ), counted AS (
        UPDATE sandbox_charges c SET refunded_minor = refunded_minor + :amount_minor FROM given WHERE c.payment_id = given.payment_id
    )
    SELECT EXISTS (SELECT FROM given) OR EXISTS (SELECT FROM sandbox_refunds WHERE refund_id = :refund_id)
""")
_SETTLED = text(
    f"SELECT {_COLUMNS} FROM sandbox_charges WHERE state IN ('approved', 'disputed') AND created_at >= :since ORDER BY created_at"
)


class Charge(msgspec.Struct, frozen=True):
    """A row of the sandbox's books."""

    payment_id: UUID
    ref: str
    amount_minor: int
    refunded_minor: int
    currency: str
    behaviour: str
    state: str
    due_at: datetime | None
    created_at: datetime


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a call to a store."""

    id: str
    payment_id: UUID
    ref: str
    state: str
    amount_minor: int
    currency: str


async def post(url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Call a store as a real gateway does: over HTTP, without caring whether it worked."""
    async with httpx.AsyncClient(timeout=5) as client:
        try:
            await client.post(url, headers=dict(headers), content=body)
        except httpx.HTTPError:
            return


class SandboxGateway(SandboxPayouts):
    """The sandbox of one store. `send` delivers its calls; `secret` signs them."""

    def __init__(self, db: Database, secret: bytes, base_url: str, send: Send = post) -> None:
        super().__init__(db)
        self._secret = secret
        self._base_url = base_url
        self.send = send

    @property
    def about(self) -> About:
        """How a page shows it."""
        return About(
            code="sandbox", name="Test payment", description="No money moves. You choose what happens.", is_test=True,
            unshown_methods=_BEHAVIOURS,
        )  # fmt: skip

    async def charge(self, request: ChargeRequest) -> Outcome:
        """Do what the method says. Raises `GatewayDown` for `down` and `nothing`."""
        behaviour = request.method or "page"
        if behaviour == "nothing":
            raise GatewayDown(self.about.name)
        charge = await self._one(
            _CHARGE, payment_id=request.payment_id, ref=f"sb_{readable_code(16)}", amount_minor=request.amount_minor,
            currency=request.currency, behaviour=behaviour, state=_BEGIN_AS.get(behaviour, "open"),
            due_at=now() + DELAY if behaviour == "delay" else None,
        )  # fmt: skip
        if behaviour == "down":
            raise GatewayDown(self.about.name)
        for _ in range({"early": 1, "duplicate": 2}.get(behaviour, 0)):
            await self.call(request.webhook_url, charge)
        if behaviour == "lost":
            return Outcome(state="pending", payment_id=charge.payment_id, ref=charge.ref)
        return self._outcome(charge)

    async def look_up(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Return what the books say; a delayed payment whose time has come is approved by it."""
        try:
            return self._outcome(await self._one(_LOOK, payment_id=payment_id, ref=ref, now=now()))
        except NoSuchPayment:
            return Outcome(state="unknown", payment_id=payment_id)

    async def cancel(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Cancel a payment that is still open."""
        try:
            return self._outcome(await self._one(_CANCEL, payment_id=payment_id))
        except NoSuchPayment:
            return Outcome(state="cancelled", payment_id=payment_id, ref=ref)

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Give money back once for each refund id, never more than was taken."""
        rows = await self._db.read(_REFUND, fresh=True, refund_id=request.refund_id, payment_id=request.payment_id,
                                   amount_minor=request.amount_minor)  # fmt: skip
        if rows[0][0]:
            return RefundOutcome(state="success", ref=f"sbr_{request.refund_id.hex}")
        return RefundOutcome(state="failed", error="More than was taken, or never taken.")

    def read_webhook(self, headers: Mapping[str, str], body: bytes, /) -> WebhookEvent:
        """Check the signature and return what the call says."""
        if not hmac.compare_digest(self.sign(body).encode(), headers.get(SIGNATURE, "").encode()):
            raise ForgedWebhook
        try:
            call = msgspec.json.decode(body, type=_Call)
        except msgspec.MsgspecError:
            raise ForgedWebhook from None
        outcome = Outcome(
            state=_STATES.get(call.state, "pending"), payment_id=call.payment_id, ref=call.ref, amount_minor=call.amount_minor,
            currency=call.currency, disputed=call.state == "disputed",
        )  # fmt: skip
        return WebhookEvent(event_id=call.id, outcome=outcome)

    async def settled(self, since: datetime, /) -> AsyncIterator[SettledPayment]:
        """Yield what was approved since then."""
        for charge in await self._db.read(_SETTLED, into=Charge, fresh=True, since=since):
            yield SettledPayment(ref=charge.ref, payment_id=charge.payment_id, amount_minor=charge.amount_minor,
                                 refunded_minor=charge.refunded_minor, currency=charge.currency, at=charge.created_at)  # fmt: skip

    async def close(self) -> None:
        """Nothing to let go of: the database is the store's."""

    async def decide(self, payment_id: UUID, decision: Decision, webhook_url: str) -> Charge:
        """Let the buyer's choice on the page come true, and call the store as often as the choice says.

        Raises `NoSuchPayment` for one that is unknown or decided already.
        """
        state = {"decline": "declined", "cancel": "cancelled", "delay": "open", "dispute": "disputed"}.get(
            decision, "approved"
        )
        charge = await self._one(
            _DECIDE, payment_id=payment_id, state=state, due_at=now() + DELAY if decision == "delay" else None
        )
        for _ in range({"duplicate": 2, "lost": 0, "delay": 0}.get(decision, 1)):
            await self.call(webhook_url, charge)
        return charge

    async def call(self, webhook_url: str, charge: Charge) -> None:
        """Tell the store what became of a payment."""
        body = self.call_body(charge)
        await self.send(webhook_url, {SIGNATURE: self.sign(body), "content-type": "application/json"}, body)

    def call_body(self, charge: Charge) -> bytes:
        """Return the call for a payment's present state; the same state has the same event id."""
        return msgspec.json.encode(
            _Call(id=f"{charge.ref}:{charge.state}", payment_id=charge.payment_id, ref=charge.ref, state=charge.state,
                  amount_minor=charge.amount_minor, currency=charge.currency)
        )  # fmt: skip

    def sign(self, body: bytes) -> str:
        """Return the signature that a genuine call carries."""
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()

    def _outcome(self, charge: Charge) -> Outcome:
        decided = charge.state != "open"
        waits_for_buyer = charge.state == "open" and charge.behaviour == "page" and charge.due_at is None
        return Outcome(
            state=_STATES[charge.state], payment_id=charge.payment_id, ref=charge.ref,
            amount_minor=charge.amount_minor if decided else None, currency=charge.currency if decided else None,
            redirect_url=f"{self._base_url}/pay/sandbox/{charge.payment_id}" if waits_for_buyer else None,
            error="The test card was declined." if charge.state == "declined" else None,
            disputed=charge.state == "disputed", is_settling=charge.due_at is not None and not decided,
        )  # fmt: skip

    async def _one(self, statement: Any, **params: Any) -> Charge:
        """Run one statement as a transaction of its own: another company's books never share ours."""
        rows = await self._db.read(statement, into=Charge, fresh=True, **params)
        if not rows:
            raise NoSuchPayment
        return rows[0]
