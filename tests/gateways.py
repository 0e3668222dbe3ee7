"""Every gateway with its provider beside it, in the words of the contract that all of them keep (test_gateways.py)."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text

from tests.fake_paynow import FakePaynow
from tests.fake_stripe import FakeStripe
from tests.loopback import serving
from tradepost.core.database import Database
from tradepost.core.ids import uuid7
from tradepost.core.settings import PaynowSettings, StripeSettings
from tradepost.payments.adapters.cash import CashGateway
from tradepost.payments.adapters.paynow import PaynowGateway
from tradepost.payments.adapters.sandbox import SIGNATURE, Charge, SandboxGateway
from tradepost.payments.adapters.stripe.gateway import StripeGateway
from tradepost.payments.ports import ChargeRequest, Gateway, RefundRequest

Call = tuple[dict[str, str], bytes]


def a_charge(amount_minor: int = 1000, currency: str = "USD", **fields: Any) -> ChargeRequest:
    """Return what a checkout asks a gateway for."""
    values = {
        "payment_id": uuid7(), "order_id": uuid7(), "order_number": "MK-1", "method": "", "payer": "", "email": "ann@example.com",
        "description": "Market MK-1", "return_url": "http://market.localhost/orders/MK-1",
        "webhook_url": "http://market.localhost/api/webhooks/x", **fields,
    }  # fmt: skip
    return ChargeRequest(amount_minor=amount_minor, currency=currency, **values)


def a_refund(charge: ChargeRequest, ref: str | None, amount_minor: int) -> RefundRequest:
    """Return what a refund asks a gateway for."""
    return RefundRequest(
        refund_id=uuid7(), payment_id=charge.payment_id, payment_ref=ref or "", amount_minor=amount_minor, currency=charge.currency,
        reason="It broke.",
    )  # fmt: skip


class Bench(Protocol):
    """A gateway with its provider."""

    gateway: Gateway

    async def pay(self, payment_id: UUID) -> None:
        """Have the buyer pay at the provider, whose call does not arrive."""
        ...

    async def call(self, payment_id: UUID, *, age: timedelta = timedelta(0)) -> Call:
        """Return the provider's call about a payment that was just paid, signed so long ago."""
        ...

    async def lose_reply(self) -> None:
        """Have the next request that takes effect at the provider stay without its reply."""
        ...

    async def taken(self) -> list[tuple[int, str]]:
        """Return every amount that the provider took."""
        ...

    async def given_back(self) -> int:
        """Return how much the provider gave back."""
        ...


class SandboxBench:
    """The sandbox, whose provider is a table."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.gateway = SandboxGateway(db, b"secret", "http://market.localhost")
        self.sent: list[Call] = []
        self.gateway.send = self._keep

    async def _keep(self, _url: str, headers: Any, body: bytes) -> None:
        self.sent.append((dict(headers), body))

    async def pay(self, payment_id: UUID) -> None:
        await self.gateway.decide(payment_id, "lost", "")

    async def call(self, payment_id: UUID, *, age: timedelta = timedelta(0)) -> Call:  # noqa: ARG002  # it dates nothing
        rows = await self.db.read(
            text(
                "SELECT payment_id, ref, amount_minor, refunded_minor, currency, behaviour, state, due_at, created_at "
                "FROM sandbox_charges WHERE payment_id = :id"
            ),
            into=Charge, fresh=True, id=payment_id,
        )  # fmt: skip
        body = self.gateway.call_body(rows[0])
        return {SIGNATURE: self.gateway.sign(body)}, body

    async def lose_reply(self) -> None:
        """Told by the method of the charge: `down`."""

    async def taken(self) -> list[tuple[int, str]]:
        sql = "SELECT amount_minor, currency FROM sandbox_charges WHERE state = 'approved'"
        return [tuple(row) for row in await self.db.read(text(sql), fresh=True)]  # type: ignore[misc]

    async def given_back(self) -> int:
        rows = await self.db.read(text("SELECT coalesce(sum(amount_minor), 0) FROM sandbox_refunds"), fresh=True)
        return int(rows[0][0])


class StripeBench:
    """Stripe, in front of a local server."""

    def __init__(self, server: FakeStripe) -> None:
        self.server = server
        settings = StripeSettings(
            secret_key=server.secret_key,
            webhook_secret=server.webhook_secret,
            api_base=server.base,
            checkout_origin=server.base,
        )
        self.gateway = StripeGateway(settings, "market")

    async def pay(self, payment_id: UUID) -> None:
        self.server.pay(payment_id)

    async def call(self, payment_id: UUID, *, age: timedelta = timedelta(0)) -> Call:
        event = next(
            e for e in reversed(self.server.events)
            if e["data"]["object"].get("client_reference_id") == str(payment_id)
        )  # fmt: skip
        return self.server.call(event, at=time.time() - age.total_seconds())

    async def lose_reply(self) -> None:
        self.server.fail("/v1/checkout/sessions", "lost", times=2)  # the SDK asks once more by itself

    async def taken(self) -> list[tuple[int, str]]:
        return [(c["amount"], c["currency"].upper()) for c in self.server.charges.values()]

    async def given_back(self) -> int:
        return sum(r["amount"] for r in self.server.refunds.values())


class PaynowBench:
    """Paynow, in front of a local server."""

    def __init__(self, server: FakePaynow) -> None:
        self.server = server
        settings = PaynowSettings(
            integration_id=server.integration_id, integration_key=server.key, api_base=server.base
        )
        self.gateway = PaynowGateway(settings, "shop@market.localhost")

    async def pay(self, payment_id: UUID) -> None:
        self.server.move(payment_id, "Paid")

    async def call(self, payment_id: UUID, *, age: timedelta = timedelta(0)) -> Call:  # noqa: ARG002  # it dates nothing
        return self.server.call(payment_id)

    async def lose_reply(self) -> None:
        self.server.fail("/interface/initiatetransaction", "lost")

    async def taken(self) -> list[tuple[int, str]]:
        return [(int(t["amount"].replace(".", "")), "USD") for t in self.server.transactions if t["status"] == "Paid"]

    async def given_back(self) -> int:
        return 0


class CashBench:
    """Cash: there is nobody beside it."""

    def __init__(self) -> None:
        self.gateway = CashGateway()


@asynccontextmanager
async def stripe_bench() -> AsyncIterator[StripeBench]:
    """Serve Stripe for the length of the block."""
    server = FakeStripe()
    async with serving(server):
        bench = StripeBench(server)
        yield bench
        await bench.gateway.close()


@asynccontextmanager
async def paynow_bench() -> AsyncIterator[PaynowBench]:
    """Serve Paynow for the length of the block."""
    server = FakePaynow()
    async with serving(server):
        bench = PaynowBench(server)
        yield bench
        await bench.gateway.close()
