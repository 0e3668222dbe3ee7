"""Paynow, Zimbabwe: its payment page, and EcoCash and OneMoney by a prompt on the buyer's telephone.

Its protocol is a form post each way (https://developers.paynow.co.zw), signed with the SHA-512 of all values in their order and the
integration key. Promises that nothing unsigned is believed but a refusal, that poll addresses of other servers are never asked, and
that a payment is begun once: its id is the merchant trace, by which it is also found again when a reply was lost. Paynow gives no
money back over its protocol, cancels nothing and keeps no list: staff refund on its pages.
"""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import structlog

from tradepost.core.errors import DomainError
from tradepost.core.http import Outside
from tradepost.core.money import NotAnAmount, to_major, to_minor
from tradepost.core.settings import PaynowSettings
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
from tradepost.payments.types import ForgedWebhook, GatewayDown

API_BASE = "https://www.paynow.co.zw"
NAME = "Paynow"
_SECONDS = 6.0  # for each request; a charge makes at most three, within the checkout's own limit of 20 seconds
_LARGEST_REPLY = 20_000
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_FORM = {"content-type": "application/x-www-form-urlencoded"}
_STATES: dict[str, OutcomeState] = {
    "created": "pending", "sent": "pending", "paid": "success", "awaiting delivery": "success", "delivered": "success",
    "disputed": "success", "cancelled": "cancelled", "failed": "failed", "refunded": "cancelled",
}  # fmt: skip
_WORDS = {
    "cancelled": "The payment was cancelled.", "failed": "The payment failed.", "refunded": "Paynow gave the money back.",
}  # fmt: skip
# The signature covers values without their names or ends; only values of these forms leave one way to read them.
_FORMS = {
    "reference": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "paynowreference": re.compile(r"[0-9,]{1,20}"),
    "amount": re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?"),
    "status": re.compile(r"[A-Za-z ]{1,30}"),
    "pollurl": re.compile(r"https?://[!-~]{1,300}"),
}
_MOBILE = re.compile(r"(?:\+?263|00263|0)?(7[1378][0-9]{7})")
_log = structlog.get_logger(__name__)


class PaynowGateway:
    """Paynow with one integration, which takes one currency. `email`: given to Paynow for buyers who have none."""

    def __init__(self, settings: PaynowSettings, email: str = "") -> None:
        self._settings = settings
        self._email = email
        self._base = (settings.api_base or API_BASE).rstrip("/")
        # Its address is the operator's own choice, and poll addresses are held to it: a server in the house is as good as any.
        self._outside = Outside(allowed=_EVERYWHERE if settings.api_base else ())

    @property
    def about(self) -> About:
        """How a page shows it."""
        methods = (("web", "Paynow page"), ("ecocash", "EcoCash"), ("onemoney", "OneMoney"))
        return About(
            code="paynow", name=NAME, description="Mobile money, cards and banks of Zimbabwe.", methods=methods, needs_phone=True,
            phone_methods=("ecocash", "onemoney"), origins=(_origin(self._base),), currencies=(self._settings.currency,),
            keeps_list=False, wants_email=True, refunds_by_hand=True,
        )  # fmt: skip

    async def charge(self, request: ChargeRequest) -> Outcome:
        """Begin a transaction; for a payment that has one, say how it stands."""
        problem = self._problem(request)
        if problem is not None:
            return Outcome(state="failed", payment_id=request.payment_id, error=problem)
        known = await self._trace(request.payment_id)
        if known.state != "unknown":
            return known
        path = "initiatetransaction" if request.method in {"", "web"} else "remotetransaction"
        reply = await self._post(f"{self._base}/interface/{path}", self._transaction(request))
        if reply.get("status", "").lower() == "ok":
            return self._begun(request.payment_id, reply)
        known = await self._trace(request.payment_id)  # another request of ours may have been first
        return known if known.state != "unknown" else _refused(request.payment_id, reply)

    def _problem(self, request: ChargeRequest) -> str | None:
        if request.currency != self._settings.currency:
            return f"Paynow takes {self._settings.currency} here; please choose another way to pay."
        if request.method in self.about.phone_methods and _mobile(request.payer) is None:
            return "This is not a number of a mobile wallet in Zimbabwe, such as 077 123 4567."
        return None

    def _transaction(self, request: ChargeRequest) -> list[tuple[str, str]]:
        fields = [
            ("id", self._settings.integration_id),
            ("reference", str(request.payment_id)),
            ("amount", str(to_major(request.amount_minor, request.currency))),
            ("additionalinfo", request.description),
            ("returnurl", request.return_url),
            ("resulturl", request.webhook_url),
        ]
        if request.method in self.about.phone_methods:
            email = self._settings.auth_email or request.email or self._email
            fields += [("authemail", email), ("phone", _mobile(request.payer) or ""), ("method", request.method)]
        elif self._settings.auth_email:
            fields += [("authemail", self._settings.auth_email)]
        return [*fields, ("merchanttrace", request.payment_id.hex), ("status", "Message")]

    def _begun(self, payment_id: UUID, reply: Mapping[str, str]) -> Outcome:
        """Return a payment that waits for its buyer: on Paynow's page, or on their telephone."""
        poll, page = reply.get("pollurl", ""), reply.get("browserurl", "")
        if not self._is_ours(poll) or (page and not self._is_ours(page)):
            raise self._odd("address", payment_id)
        return Outcome(
            state="pending", payment_id=payment_id, ref=poll, redirect_url=page or None, is_settling=not page,
            instructions=reply.get("instructions", "")[:500] or ("" if page else "Please confirm the payment on your telephone."),
        )  # fmt: skip

    async def look_up(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Ask at the poll address, or by the merchant trace where the reply that named the address was lost."""
        if ref is None or not self._is_ours(ref):
            return await self._trace(payment_id)
        return self._status(payment_id, await self._post(ref, []))

    async def _trace(self, payment_id: UUID) -> Outcome:
        fields = [("id", self._settings.integration_id), ("merchanttrace", payment_id.hex), ("status", "Message")]
        reply = await self._post(f"{self._base}/interface/trace", fields)
        if reply.get("status", "").lower() == "notfound":
            return Outcome(state="unknown", payment_id=payment_id)
        return self._status(payment_id, reply)

    def _status(self, payment_id: UUID, reply: Mapping[str, str]) -> Outcome:
        """Read an answer about a payment. An error is no answer: it does not mean that there is no transaction."""
        outcome = self._read(reply)
        if outcome is None or outcome.payment_id != payment_id:
            raise self._odd("answer", payment_id)
        return outcome

    async def cancel(self, payment_id: UUID, ref: str | None) -> Outcome:
        """Give a payment up that its buyer has not begun to pay: Paynow cannot be told, so money that comes yet goes back.

        One that a telephone asks its owner about at this moment stays open.
        """
        outcome = await self.look_up(payment_id, ref)
        if outcome.state == "unknown" or (outcome.state == "pending" and not outcome.is_settling):
            return Outcome(state="cancelled", payment_id=payment_id, ref=ref)
        return outcome

    async def refund(self, request: RefundRequest) -> RefundOutcome:
        """Have staff give the money back on Paynow's own pages."""
        return RefundOutcome(state="manual", ref=str(request.refund_id))

    def read_webhook(self, _headers: Mapping[str, str], body: bytes, /) -> WebhookEvent:
        """Check the signature and the form of every value, and return what the call says."""
        try:
            fields = _parsed(body)
        except ValueError:
            raise ForgedWebhook from None
        outcome = self._read(fields) if self._is_signed(fields) else None
        if outcome is None:
            raise ForgedWebhook
        return WebhookEvent(event_id=fields["hash"], outcome=outcome)

    async def settled(self, _since: datetime, /) -> AsyncIterator[SettledPayment]:
        """Paynow's list is on its pages only."""
        nothing: tuple[SettledPayment, ...] = ()
        for payment in nothing:
            yield payment

    async def close(self) -> None:
        """Close the connections."""
        await self._outside.__aexit__()

    def _read(self, fields: Mapping[str, str]) -> Outcome | None:
        """Return what a signed status message says, None for one that is not whole."""
        if not all(form.fullmatch(fields.get(name, "")) for name, form in _FORMS.items()):
            return None
        poll, status, currency = fields["pollurl"], fields["status"].lower(), self._settings.currency
        state = _STATES.get(status)
        if state is None or not self._is_ours(poll):
            return None
        try:
            amount = to_minor(fields["amount"], currency)
        except NotAnAmount:
            return None
        taken = state == "success"
        return Outcome(
            state=state, payment_id=UUID(fields["reference"]), ref=poll, amount_minor=amount if taken else None,
            currency=currency if taken else None, error=_WORDS.get(status), disputed=status == "disputed",
            is_settling=status == "sent",
        )  # fmt: skip

    async def _post(self, url: str, fields: Iterable[tuple[str, str]]) -> Mapping[str, str]:
        """Send a signed form and return the fields of the answer, names in lower case. An answer without a signature is an error.

        Raises `GatewayDown` for no answer, or one that is signed wrongly.
        """
        signed = list(fields)
        body = urlencode([*signed, ("hash", self.sign(signed))] if signed else []).encode()
        try:
            reply = await self._outside.fetch(
                url,
                method="POST",
                headers=_FORM,
                content=body,
                seconds=_SECONDS,
                most_bytes=_LARGEST_REPLY,
                redirects=0,
            )
            found = _parsed(reply.body)
        except (DomainError, ValueError) as error:
            _log.warning("paynow.down", error=type(error).__name__)
            raise GatewayDown(NAME) from error
        if not reply.is_success or not (self._is_signed(found) or found.get("status", "").lower() == "error"):
            raise self._odd("reply", url)
        return found

    def sign(self, fields: Iterable[tuple[str, str]]) -> str:
        """Return the hash of a message: all values but the hash's own, in their order, then the key."""
        text = "".join(value for name, value in fields if name != "hash") + self._settings.integration_key
        return hashlib.sha512(text.encode()).hexdigest().upper()

    def _is_signed(self, fields: Mapping[str, str]) -> bool:
        return hmac.compare_digest(self.sign(fields.items()).encode(), fields.get("hash", "").encode())

    def _is_ours(self, url: str) -> bool:
        return _origin(url) == _origin(self._base)

    def _odd(self, what: str, about: object) -> GatewayDown:
        _log.error("paynow.odd", what=what, about=str(about))
        return GatewayDown(NAME)


def _parsed(body: bytes) -> dict[str, str]:
    """Return the fields of a message in their order, names in lower case. Raises `ValueError` for one that says a thing twice."""
    pairs = parse_qsl(body.decode("utf-8").strip(), keep_blank_values=True, errors="strict", max_num_fields=40)
    fields = {name.lower(): value for name, value in pairs}
    if len(fields) != len(pairs):
        raise ValueError(body)
    return fields


def _refused(payment_id: UUID, reply: Mapping[str, str]) -> Outcome:
    said = reply.get("error", "")[:200]
    return Outcome(
        state="failed", payment_id=payment_id, error=f"Paynow says: {said}" if said else "Paynow refuses this payment."
    )


def _mobile(text: str) -> str | None:
    """Return a number of a mobile wallet as Paynow takes it, 0771234567."""
    found = _MOBILE.fullmatch(re.sub(r"[ ()./-]", "", text))
    return f"0{found[1]}" if found else None


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return ""
