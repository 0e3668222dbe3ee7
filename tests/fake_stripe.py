"""Stripe, as far as a store can tell: its HTTP API as documented, books of its own, and signed events.

It checks what it is sent as Stripe does (unknown parameters, amounts, idempotency keys used twice) and keeps the first reply of every
key. Buyers act through `pay`, `decline`, `pay_by_bank` and the like; `events` then has what Stripe would call the store with.
"""

import hashlib
import hmac
import json
import re
import time
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from tests.loopback import Answer, Asked, Loopback

_SMALLEST = {"usd": 50, "eur": 50, "jpy": 50, "tnd": 500}
_THREE = {"bhd", "jod", "kwd", "omr", "tnd"}
_KNOWN = {
    "/v1/checkout/sessions": {
        "mode", "client_reference_id", "line_items", "metadata", "payment_intent_data", "success_url", "cancel_url", "expires_at",
        "customer_email", "excluded_payment_method_types",
    },
    "/v1/refunds": {"payment_intent", "amount", "metadata"},
    "/v1/transfers": {"amount", "currency", "destination", "transfer_group", "description", "metadata"},
    "/v1/accounts": {"controller", "capabilities", "country", "email", "metadata"},
    "/v1/account_links": {"account", "type", "return_url", "refresh_url"},
}  # fmt: skip


class StripeRefuses(Exception):
    """An error as Stripe words it."""

    def __init__(
        self, message: str, *, status: int = 400, code: str = "", kind: str = "invalid_request_error", param: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"type": kind, "message": message, "code": code or None, "param": param or None}


class FakeStripe(Loopback):
    """One Stripe account, in test mode."""

    def __init__(self) -> None:
        super().__init__()
        self.secret_key = "sk_test_local"
        self.webhook_secret = "whsec_local"
        self.sessions: dict[str, dict[str, Any]] = {}
        self.intents: dict[str, dict[str, Any]] = {}
        self.charges: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.transfers: dict[str, dict[str, Any]] = {}
        self.reversals: dict[str, dict[str, Any]] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.balance: dict[str, int] = {}
        self.refund_state = "succeeded"
        self._keys: dict[str, tuple[bytes, Answer]] = {}

    def open_page(self, request: Any, store: str = "market") -> None:
        """Open a page as a store would, without the way over the network: for books with hundreds of them."""
        marks = {"payment_id": str(request.payment_id), "store": store, "amount_minor": str(request.amount_minor)}
        price = {"unit_amount": str(request.amount_minor), "currency": request.currency.lower()}
        self._create_session({
            "mode": "payment", "client_reference_id": str(request.payment_id), "line_items": {"0": {"price_data": price}},
            "metadata": marks, "payment_intent_data": {"metadata": marks}, "success_url": "", "cancel_url": "",
            "expires_at": int(time.time()) + 3600,
        })  # fmt: skip

    def session_of(self, payment_id: object) -> dict[str, Any]:
        """Return the page of a payment."""
        return next(s for s in self.sessions.values() if s["client_reference_id"] == str(payment_id))

    def pay(self, payment_id: object) -> None:
        """The buyer pays by card on Stripe's page."""
        session = self.session_of(payment_id)
        intent = self._confirm(session)
        self._take(intent)
        session.update(status="complete", payment_status="paid", url=None)
        self._event("payment_intent.succeeded", intent)
        self._event("checkout.session.completed", session)

    def decline(self, payment_id: object) -> None:
        """The buyer's card is declined; the page stays open for another."""
        intent = self._confirm(self.session_of(payment_id))
        self._event("payment_intent.payment_failed", intent)

    def pay_by_bank(self, payment_id: object) -> None:
        """The buyer orders a bank debit, which takes days."""
        session = self.session_of(payment_id)
        intent = self._confirm(session)
        intent["status"] = "processing"
        session.update(status="complete", payment_status="unpaid", url=None)
        self._event("payment_intent.processing", intent)
        self._event("checkout.session.completed", session)

    def bank_pays(self, payment_id: object) -> None:
        """The bank sends the money."""
        session = self.session_of(payment_id)
        self._take(self.intents[session["payment_intent"]])
        session["payment_status"] = "paid"
        self._event("checkout.session.async_payment_succeeded", session)

    def bank_refuses(self, payment_id: object) -> None:
        """The bank sends nothing."""
        session = self.session_of(payment_id)
        self.intents[session["payment_intent"]]["status"] = "requires_payment_method"
        self._event("checkout.session.async_payment_failed", session)

    def dispute(self, payment_id: object) -> None:
        """The buyer's bank asks for the money back."""
        intent = self.session_of(payment_id)["payment_intent"]
        self._event("charge.dispute.created", {
            "id": "dp_1", "object": "dispute", "payment_intent": intent, "amount": self.intents[intent]["amount"],
            "currency": self.intents[intent]["currency"], "status": "needs_response", "reason": "fraudulent",
        })  # fmt: skip

    def finish_refund(self, refund_id: object, state: str) -> None:
        """A refund that was pending comes to its end."""
        refund = next(r for r in self.refunds.values() if r["metadata"].get("refund_id") == str(refund_id))
        refund["status"] = state
        self._event("refund.updated", refund)

    def verify(self, account: str) -> None:
        """The seller answers Stripe's questions."""
        self.accounts[account].update(payouts_enabled=True, capabilities={"transfers": "active"})
        self.accounts[account]["requirements"] = {"currently_due": [], "past_due": []}

    def call(self, event: dict[str, Any], *, at: float | None = None) -> tuple[dict[str, str], bytes]:
        """Return the call for an event, signed at a time: headers and body."""
        body = json.dumps(event).encode()
        moment = int(at if at is not None else time.time())
        signature = hmac.new(self.webhook_secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={moment},v1={signature}", "content-type": "application/json"}, body

    def _confirm(self, session: dict[str, Any]) -> dict[str, Any]:
        if session["payment_intent"] is None:
            intent = {
                "id": _id("pi"), "object": "payment_intent", "amount": session["amount_total"], "amount_received": 0,
                "currency": session["currency"], "status": "requires_payment_method", "created": int(time.time()),
                **session["payment_intent_data"],
            }  # fmt: skip
            self.intents[intent["id"]] = intent
            session["payment_intent"] = intent["id"]
        return self.intents[session["payment_intent"]]

    def _take(self, intent: dict[str, Any]) -> None:
        intent.update(status="succeeded", amount_received=intent["amount"])
        charge = {
            "id": _id("ch"), "object": "charge", "status": "succeeded", "paid": True, "captured": True,
            "amount": intent["amount"], "amount_captured": intent["amount"], "amount_refunded": 0,
            "currency": intent["currency"], "created": int(time.time()), "payment_intent": intent["id"],
            "metadata": dict(intent["metadata"]),
        }  # fmt: skip
        self.charges[charge["id"]] = charge
        self.balance[intent["currency"]] = self.balance.get(intent["currency"], 0) + intent["amount"]

    def _event(self, kind: str, found: dict[str, Any]) -> None:
        shown = {name: value for name, value in found.items() if name != "payment_intent_data"}
        self.events.append({
            "id": _id("evt"), "object": "event", "api_version": "2026-10-28.endive", "created": int(time.time()), "type": kind,
            "livemode": False, "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None},
            "data": {"object": json.loads(json.dumps(shown))},
        })  # fmt: skip

    async def answer(self, asked: Asked) -> Answer:
        """Answer a request of the API."""
        try:
            self._check_key(asked)
            if asked.method == "POST":
                return self._once(asked)
            return _reply(200, self._get(asked.path, asked.query))
        except StripeRefuses as refusal:
            return _reply(refusal.status, {"error": refusal.error})

    def _check_key(self, asked: Asked) -> None:
        if asked.headers.get("authorization") != f"Bearer {self.secret_key}":
            raise StripeRefuses("Invalid API Key provided", status=401)

    def _once(self, asked: Asked) -> Answer:
        key = asked.headers["idempotency-key"]
        if key in self._keys:
            body, first = self._keys[key]
            if body != asked.path.encode() + asked.body:
                raise StripeRefuses(
                    "Keys for idempotent requests can only be used with the same parameters", kind="idempotency_error"
                )
            return Answer(first.status, first.body, {**first.headers, "idempotent-replayed": "true"})
        reply = _reply(200, self._post(asked.path, _nested(asked.body)))
        self._keys[key] = (asked.path.encode() + asked.body, reply)
        return reply

    def forget_keys(self) -> None:
        """Let a day pass: Stripe forgets idempotency keys."""
        self._keys.clear()

    def _post(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        creates = {
            "/v1/checkout/sessions": self._create_session, "/v1/refunds": self._create_refund, "/v1/transfers": self._create_transfer,
            "/v1/accounts": self._create_account, "/v1/account_links": self._create_link,
        }  # fmt: skip
        if path in creates:
            unknown = set(params) - _KNOWN[path]
            if unknown:
                raise StripeRefuses(f"Received unknown parameter: {min(unknown)}", code="parameter_unknown")
            return creates[path](params)
        return self._act(path, params)

    def _act(self, path: str, params: dict[str, Any]) -> dict[str, Any]:
        match path.removeprefix("/v1/").split("/"):
            case ["checkout", "sessions", ref, "expire"]:
                return self._expire(self._of(self.sessions, ref))
            case ["payment_intents", ref, "cancel"]:
                return self._cancel(self._of(self.intents, ref))
            case ["transfers", ref, "reversals"]:
                return self._reverse(self._of(self.transfers, ref), params)
        raise StripeRefuses(f"Unrecognized request URL (POST: {path})", status=404)

    def _get(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        lists = {
            "/v1/checkout/sessions": self.sessions, "/v1/charges": self.charges, "/v1/refunds": self.refunds,
            "/v1/transfers": self.transfers,
        }  # fmt: skip
        if path in lists:
            return self._listed(path, lists[path], query)
        match path.removeprefix("/v1/").split("/"):
            case ["checkout", "sessions", ref]:
                return self._shown(self._of(self.sessions, ref), query)
            case ["payment_intents", ref]:
                return self._of(self.intents, ref)
            case ["accounts", ref]:
                return self._of(self.accounts, ref)
            case ["transfers", ref, "reversals"]:
                self._of(self.transfers, ref)
                return self._listed(path, {k: r for k, r in self.reversals.items() if r["transfer"] == ref}, query)
        raise StripeRefuses(f"Unrecognized request URL (GET: {path})", status=404)

    def _of(self, books: dict[str, dict[str, Any]], ref: str) -> dict[str, Any]:
        if ref not in books:
            raise StripeRefuses(f"No such object: '{ref}'", status=404, code="resource_missing")
        return books[ref]

    def _listed(self, path: str, books: dict[str, dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        """Page as Stripe does: the latest first, `limit` of at most 100, `starting_after` the last one seen."""
        low, high = int(query.get("created[gte]", 0)), int(query.get("created[lte]", 10**12))
        only = {name: query[name] for name in ("payment_intent", "transfer_group") if name in query}
        if "payment_intent" in only:
            self._of(self.intents, only["payment_intent"])
        rows = [r for r in reversed(books.values()) if low <= r["created"] <= high and only.items() <= r.items()]
        after = query.get("starting_after")
        if after is not None:
            rows = rows[next(n for n, r in enumerate(rows) if r["id"] == after) + 1 :]
        limit = int(query.get("limit", 10))
        if not 1 <= limit <= 100:
            raise StripeRefuses("Invalid integer: limit", param="limit")
        page = [self._shown(row, query) for row in rows[:limit]]
        return {"object": "list", "url": path, "has_more": len(rows) > limit, "data": page}

    def _shown(self, found: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        shown = {name: value for name, value in found.items() if name != "payment_intent_data"}
        expands = any("payment_intent" in value for name, value in query.items() if name.startswith("expand"))
        if expands and shown.get("payment_intent"):
            shown["payment_intent"] = self.intents[shown["payment_intent"]]
        return shown

    def _create_session(self, params: dict[str, Any]) -> dict[str, Any]:
        price = params["line_items"]["0"]["price_data"]
        amount, currency, now = int(price["unit_amount"]), price["currency"], int(time.time())
        _check_amount(amount, currency)
        if not now + 1800 <= int(params["expires_at"]) <= now + 86_400:
            raise StripeRefuses("The `expires_at` timestamp must be at least 30 minutes from now", param="expires_at")
        ref = _id("cs_test")
        session = {
            "id": ref, "object": "checkout.session", "mode": params["mode"], "status": "open", "payment_status": "unpaid",
            "amount_total": amount, "amount_subtotal": amount, "currency": currency, "created": now,
            "expires_at": int(params["expires_at"]), "client_reference_id": params["client_reference_id"],
            "metadata": params["metadata"], "payment_intent": None, "url": f"{self.base}/c/pay/{ref}",
            "success_url": params["success_url"], "cancel_url": params["cancel_url"], "livemode": False,
            "customer_email": params.get("customer_email"), "payment_intent_data": params["payment_intent_data"],
        }  # fmt: skip
        self.sessions[ref] = session
        return self._shown(session, {})

    def _expire(self, session: dict[str, Any]) -> dict[str, Any]:
        if session["status"] != "open":
            raise StripeRefuses(
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
                f"{session['status']}"
            )
        session.update(status="expired", url=None)
        self._event("checkout.session.expired", session)
        return self._shown(session, {})

    def _cancel(self, intent: dict[str, Any]) -> dict[str, Any]:
        if intent["status"] in {"succeeded", "processing"}:
            raise StripeRefuses(
                f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
                code="payment_intent_unexpected_state",
            )
        intent["status"] = "canceled"
        return intent

    def _create_refund(self, params: dict[str, Any]) -> dict[str, Any]:
        intent = self._of(self.intents, params["payment_intent"])
        charge = next((c for c in self.charges.values() if c["payment_intent"] == intent["id"]), None)
        if charge is None:
            raise StripeRefuses("This PaymentIntent does not have a successful charge to refund.")
        amount = int(params["amount"])
        if intent["currency"] in _THREE and amount % 10:
            raise StripeRefuses("Invalid amount: the last digit must be 0", code="invalid_amount")
        if charge["amount_refunded"] + amount > charge["amount"]:
            raise StripeRefuses(
                "Refund amount is greater than unrefunded amount on charge", code="charge_already_refunded"
            )
        charge["amount_refunded"] += amount
        refund = {
            "id": _id("re"), "object": "refund", "amount": amount, "currency": intent["currency"], "created": int(time.time()),
            "status": self.refund_state, "payment_intent": intent["id"], "charge": charge["id"], "metadata": params["metadata"],
        }  # fmt: skip
        self.refunds[refund["id"]] = refund
        self._event("refund.created", refund)
        return refund

    def _create_account(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["country"] == "ZZ":
            raise StripeRefuses("Country 'ZZ' is unknown.", code="country_unsupported")
        account = {
            "id": _id("acct"), "object": "account", "country": params["country"], "email": params["email"],
            "capabilities": {"transfers": "inactive"}, "payouts_enabled": False, "metadata": params["metadata"],
            "requirements": {"currently_due": ["individual.dob.day", "external_account"], "past_due": []},
        }  # fmt: skip
        self.accounts[account["id"]] = account
        return account

    def _create_link(self, params: dict[str, Any]) -> dict[str, Any]:
        account = self._of(self.accounts, params["account"])
        return {
            "object": "account_link",
            "url": f"{self.base}/setup/{account['id']}/{uuid4().hex}",
            "created": 1,
            "expires_at": 2,
        }

    def _create_transfer(self, params: dict[str, Any]) -> dict[str, Any]:
        account, amount, currency = (
            self._of(self.accounts, params["destination"]),
            int(params["amount"]),
            params["currency"],
        )
        if account["capabilities"]["transfers"] != "active":
            raise StripeRefuses(
                "Your destination account needs to have at least one of the following capabilities enabled: transfers",
                code="insufficient_capabilities_for_transfer",
            )
        if amount > self.balance.get(currency, 0):
            raise StripeRefuses(
                "You have insufficient available funds in your Stripe account.", code="balance_insufficient"
            )
        self.balance[currency] -= amount
        transfer = {
            "id": _id("tr"), "object": "transfer", "amount": amount, "amount_reversed": 0, "currency": currency,
            "destination": account["id"], "transfer_group": params["transfer_group"], "created": int(time.time()),
            "metadata": params["metadata"],
        }  # fmt: skip
        self.transfers[transfer["id"]] = transfer
        return transfer

    def _reverse(self, transfer: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        amount = int(params["amount"])
        if transfer["amount_reversed"] + amount > transfer["amount"]:
            raise StripeRefuses("Transfer reversal amount is greater than unreversed amount on transfer")
        transfer["amount_reversed"] += amount
        self.balance[transfer["currency"]] += amount
        reversal = {
            "id": _id("trr"), "object": "transfer_reversal", "amount": amount, "currency": transfer["currency"],
            "transfer": transfer["id"], "created": int(time.time()), "metadata": params["metadata"],
        }  # fmt: skip
        self.reversals[reversal["id"]] = reversal
        return reversal


def _check_amount(amount: int, currency: str) -> None:
    if amount < _SMALLEST.get(currency, 1):
        raise StripeRefuses(
            "The Checkout Session's total amount must convert to at least 50 cents.", code="amount_too_small"
        )
    if amount > 99_999_999:
        raise StripeRefuses("Amount must be no more than $999,999.99", code="amount_too_large")
    if currency in _THREE and amount % 10:
        raise StripeRefuses("Invalid amount: the last digit must be 0", code="invalid_amount")


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"


def _reply(status: int, found: dict[str, Any]) -> Answer:
    headers = {"content-type": "application/json", "request-id": _id("req")}
    return Answer(status, json.dumps(found).encode(), headers)


def _nested(body: bytes) -> dict[str, Any]:
    """Return a form with names such as `line_items[0][price_data][currency]` as the objects it stands for."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True):
        *path, last = re.findall(r"[^\[\]]+", name)
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return found
