"""Web push: notices encrypted for one browser (RFC 8291), and the store's signature for its push service (RFC 8292, VAPID).

Written on `cryptography`, which the store has anyway: docs/decisions says why. Knows no database and sends nothing.
"""

import base64
import os
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from tradepost.core.errors import Invalid

_RECORD: Final = 4096
_VALID_FOR: Final = timedelta(hours=12)


class NotASubscription(Invalid):
    """The browser's push subscription is not complete."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A browser as it introduces itself: where its push service listens, and its keys, in base64url."""

    endpoint: Annotated[str, Meta(min_length=10, max_length=2000, pattern="^https?://")]
    p256dh: Annotated[str, Meta(min_length=80, max_length=100)]
    auth: Annotated[str, Meta(min_length=20, max_length=30)]


def encode(data: bytes) -> str:
    """Return bytes in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url, padded or not. Raises `NotASubscription`."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise NotASubscription from None


def new_key() -> tuple[bytes, str]:
    """Return a new key of a store: its private half, and its public one as browsers want it."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_numbers().private_value.to_bytes(32, "big")
    return private, encode(_point(key.public_key()))


def check_subscription(given: Subscription) -> None:
    """Raise `NotASubscription` unless its keys are keys."""
    if len(decode(given.auth)) != 16:
        raise NotASubscription
    _public(decode(given.p256dh))


def encrypt(
    message: bytes, to: Subscription, *, salt: bytes | None = None, key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    """Return a message as only this browser can read it (RFC 8291, content coding aes128gcm). `salt` and `key` are for tests."""
    theirs, secret = _public(decode(to.p256dh)), decode(to.auth)
    mine = key or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    shared = mine.exchange(ec.ECDH(), theirs)
    own_point = _point(mine.public_key())
    start = _derived(shared, secret, b"WebPush: info\0" + _point(theirs) + own_point, 32)
    content_key = _derived(start, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(start, salt, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content_key).encrypt(nonce, message + b"\x02", None)
    return salt + _RECORD.to_bytes(4, "big") + bytes([len(own_point)]) + own_point + sealed


def authorization(private: bytes, public: str, endpoint: str, contact: str, at: datetime) -> str:
    """Return the header by which a push service knows the store; `contact` is how its people reach ours."""
    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int((at + _VALID_FOR).timestamp()), "sub": contact}
    unsigned = ".".join(encode(msgspec.json.encode(part)) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(unsigned.encode(), ec.ECDSA(hashes.SHA256())))
    return f"vapid t={unsigned}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}, k={public}"


def _public(point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (ValueError, InvalidKey):
        raise NotASubscription from None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)
