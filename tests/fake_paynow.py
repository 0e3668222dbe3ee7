"""Paynow, as far as a store can tell: its form posts as documented, hashes checked both ways, and calls to the result URL.

Buyers act through `pay`, `cancel` and the like; `call` is the message that Paynow then posts to the store.
"""

import hashlib
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from tests.loopback import Answer, Asked, Loopback

_OK = re.compile(r"[0-9]{1,9}\.[0-9]{2}")
_NO_MONEY, _WRONG = "0774444444", re.compile(r"(?!07[1378][0-9]{7}$).*")


class FakePaynow(Loopback):
    """One integration, in one currency."""

    def __init__(self, integration_id: str = "1201", key: str = "3e9fed89-60e1-4ce5-ab6e-6b1eb2d4f977") -> None:
        super().__init__()
        self.integration_id = integration_id
        self.key = key
        self.transactions: list[dict[str, str]] = []
        self.poll_origin = ""
        self.signs_wrongly = False

    def of(self, payment_id: object) -> dict[str, str]:
        """Return the transaction of a payment."""
        return next(t for t in self.transactions if t["reference"] == str(payment_id))

    def move(self, payment_id: object, status: str) -> None:
        """Bring a transaction into another state, as its buyer, their bank or Paynow's staff do."""
        self.of(payment_id)["status"] = status

    def message(self, payment_id: object, **changes: str) -> str:
        """Return the signed status message of a transaction, as posted to the result URL and answered to polls."""
        found = self.of(payment_id)
        fields = {name: found[name] for name in ("reference", "paynowreference", "amount", "status", "pollurl")}
        return self._signed({**fields, **changes})

    def call(self, payment_id: object, **changes: str) -> tuple[dict[str, str], bytes]:
        """Return the call about a transaction's present state: headers and body."""
        return {"content-type": "application/x-www-form-urlencoded"}, self.message(payment_id, **changes).encode()

    def hash(self, fields: dict[str, str]) -> str:
        """Return the documented hash: all values, then the key, SHA-512, upper case."""
        text = "".join(value for name, value in fields.items() if name.lower() != "hash") + self.key
        return hashlib.sha512(text.encode("utf-8")).hexdigest().upper()

    def _signed(self, fields: dict[str, str]) -> str:
        given = "0" * 128 if self.signs_wrongly else self.hash(fields)
        return urlencode({**fields, "hash": given})

    async def answer(self, asked: Asked) -> Answer:
        """Answer a post."""
        fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        return Answer(200, self._text(asked, fields).encode(), {"content-type": "text/plain"})

    def _text(self, asked: Asked, fields: dict[str, str]) -> str:
        if asked.path == "/Interface/CheckPayment/":
            found = next((t for t in self.transactions if t["guid"] == asked.query.get("guid")), None)
            return self.message(found["reference"]) if found else _error("Transaction not found")
        if fields.get("hash") != self.hash(fields):
            return _error("Invalid Hash. Hash should start with: " + self.hash(fields)[:6])
        if fields.get("id") != self.integration_id:
            return _error("Invalid Id")
        if asked.path == "/interface/trace":
            return self._trace(fields)
        return self._begin(fields, mobile=asked.path == "/interface/remotetransaction")

    def _begin(self, fields: dict[str, str], *, mobile: bool) -> str:
        if not _OK.fullmatch(fields.get("amount", "")):
            return _error("Invalid amount field")
        if any(t["merchanttrace"] == fields["merchanttrace"] for t in self.transactions):
            return _error("Duplicate merchanttrace")
        if mobile and "@" not in fields.get("authemail", ""):
            return _error("authemail is required for remote transactions")
        if mobile and (
            fields.get("method") not in {"ecocash", "onemoney"} or _WRONG.fullmatch(fields.get("phone", ""))
        ):
            return _error("Invalid Mobile Number")
        if mobile and fields["phone"] == _NO_MONEY:
            return _error("Insufficient balance")
        return self._begun(fields, mobile=mobile)

    def _begun(self, fields: dict[str, str], *, mobile: bool) -> str:
        guid, number = str(uuid4()), str(10_000 + len(self.transactions))
        poll = f"{self.poll_origin or self.base}/Interface/CheckPayment/?guid={guid}"
        found = {
            **fields,
            "guid": guid,
            "paynowreference": number,
            "pollurl": poll,
            "status": "Sent" if mobile else "Created",
        }
        self.transactions.append(found)
        reply: dict[str, Any] = {"status": "Ok"}
        if mobile:
            reply |= {
                "instructions": "Dial *151*2*4# and enter your EcoCash PIN.",
                "paynowreference": number,
                "pollurl": poll,
            }
        else:
            reply |= {"browserurl": f"{self.base}/Payment/ConfirmPayment/{number}", "pollurl": poll}
        return self._signed(reply)

    def _trace(self, fields: dict[str, str]) -> str:
        found = next((t for t in self.transactions if t["merchanttrace"] == fields["merchanttrace"]), None)
        return self.message(found["reference"]) if found else self._signed({"status": "NotFound"})


def _error(text: str) -> str:
    return urlencode({"status": "Error", "error": text})
