"""`Idempotency-Key` on every request that changes something: the reply is kept in the transaction of the effect.

Promises that repeating a request with its key does nothing again and gets the same reply, and that one that was refused may be
repeated. Checkout and paying again ask a gateway in between, where no transaction may be open; they keep their own key. Nor may one be while a language
model answers: a question to the assistant is asked anew. A visitor
without a session owns no keys: nobody could tell two of them apart. Replies are kept encrypted: an address may be in one, or the
secret of a new token.
"""

import base64
from typing import Any

from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware

from tradepost.core.idempotency import once, request_hash
from tradepost.web.context import provide_caller, provide_store

OWN_KEY = "keeps_its_own_key"
REPLY = "idempotency-reply"
_SAFE = {"GET", "HEAD", "OPTIONS"}


class _Refused(Exception):
    """The request was refused: its transaction is undone, its reply goes out all the same."""


class RepeatableRequests(ASGIMiddleware):
    """Does a request with an Idempotency-Key once."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = OWN_KEY

    async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
        """Pass a request on, or answer it with the reply it got before. Raises `KeyReused`, `KeyInFlight`, `BadKeyText`."""
        key = next((value for name, value in scope["headers"] if name == b"idempotency-key"), b"").decode("latin-1")
        if not key or scope["method"] in _SAFE:
            await next_app(scope, receive, send)
            return
        body = await _read(receive)
        request: Any = Request(scope, _again(body))
        store = provide_store(request)
        caller = await provide_caller(request, store)
        if caller.user_id is None and caller.session is None:
            await next_app(scope, _again(body), send)
            return
        fingerprint = request_hash(scope["method"], scope["path"], scope["query_string"], body)
        sent: list[Any] = []
        try:
            async with once(store.db, caller.actor, key, fingerprint) as reply:
                if not reply.is_done:
                    await next_app(scope, _again(body), _into(sent))
                    status, content = _kept(sent)
                    reply.keep(status, base64.b64encode(store.keys.seal(content, REPLY)).decode())
        except _Refused:
            pass
        for message in sent or _reply(reply.status, store.keys.unseal(base64.b64decode(reply.body), REPLY)):
            await send(message)


async def _read(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes) -> Any:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _into(sent: list[Any]) -> Any:
    async def keep(message: Any) -> None:
        sent.append(message)

    return keep


def _kept(sent: list[Any]) -> tuple[int, bytes]:
    """Return the status and the content of a reply. Raises `_Refused` where it is a refusal."""
    if sent[0]["status"] >= 400:
        raise _Refused
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def _reply(status: int, content: bytes) -> list[Any]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"idempotency-replayed", b"true"),
    ]
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": content},
    ]
