"""Values that must not be readable in the database: encrypted with keys that rotate, and findable without decrypting.

Owns the format of an encrypted value: one byte of version, the length and text of the key's id, 12 bytes of nonce, then the
ciphertext with its tag (AES-256-GCM). Purpose, version and key id are authenticated, so a value moved to another column does
not decrypt. Keys are derived (HKDF-SHA256) for each purpose: no secret is used for two things.

Promises that the newest key encrypts and that every key in the ring decrypts. Rotation: put a new key in front, encrypt old
values again (`is_current` tells which), then drop the old key. Blind indexes come from the oldest key of the ring, so that they
stay findable until the last value of that key is written again; whoever drops it rebuilds them.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tradepost.core.errors import Invalid, Unavailable

_VERSION = 1
_NONCE = 12
_TAG = 16
_LEAST_SECRET = 32


@dataclass(eq=False)
class KeyMissing(Unavailable):
    """A stored value needs the key “{key_id}”, which is not in the key ring; put it back into secret_key."""

    key_id: str


@dataclass(eq=False)
class NotDecryptable(Invalid):
    """A stored value for “{purpose}” was changed or belongs to another purpose."""

    purpose: str


@dataclass(eq=False)
class BadKey(Invalid):
    """The key in {source} is not usable: {problem}. Make one with: openssl rand -base64 32"""

    source: str
    problem: str


class Key:
    """One secret of at least 32 bytes under an id that is stored, unencrypted, with every value."""

    __slots__ = ("_ciphers", "_secret", "id")

    def __init__(self, key_id: str, secret: bytes) -> None:
        if len(secret) < _LEAST_SECRET:
            raise BadKey(f"“{key_id}”", f"it has {len(secret)} bytes, {_LEAST_SECRET} is the least")
        if not 0 < len(key_id.encode()) < 256:
            raise BadKey(f"“{key_id[:20]}”", "its id must have 1 to 255 bytes")
        self.id = key_id
        self._secret = secret
        self._ciphers: dict[str, AESGCM] = {}

    def __repr__(self) -> str:
        return f"Key({self.id!r})"

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes that stand for this key and purpose only."""
        return HKDF(SHA256(), 32, salt=None, info=b"tradepost:" + purpose.encode()).derive(self._secret)

    def cipher(self, purpose: str) -> AESGCM:
        """Return the cipher for a purpose, derived once."""
        found = self._ciphers.get(purpose)
        if found is None:
            found = self._ciphers[purpose] = AESGCM(self.derived(f"encrypt:{purpose}"))
        return found


class Keyring:
    """The keys of an installation, newest first."""

    def __init__(self, keys: Sequence[Key]) -> None:
        if not keys:
            raise BadKey("the key ring", "it is empty")
        self._keys = tuple(keys)
        self._by_id = {key.id: key for key in keys}
        self._index_keys: dict[str, bytes] = {}

    @classmethod
    def from_secret(cls, key_id: str, secret: bytes) -> Self:
        """Return a ring of one key."""
        return cls([Key(key_id, secret)])

    @classmethod
    def from_text(cls, text: str, source: str) -> Self:
        """Return the ring that a setting or a file describes: base64 keys, newest first, apart by commas or white space.

        A key's id is a fingerprint of the key, so the order and the file may change. Raises `BadKey`, which names `source`.
        """
        secrets_found = [_secret_of(part, source) for part in text.replace(",", " ").split()]
        if not secrets_found:
            raise BadKey(source, "it is empty")
        return cls([Key(_fingerprint(secret), secret) for secret in secrets_found])

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, newest first."""
        return tuple(key.id for key in self._keys)

    @property
    def head(self) -> bytes:
        """What every value begins with that the newest key encrypted."""
        return _head(self._keys[0].id)

    def encrypt(self, text: str, purpose: str) -> bytes:
        """Return text encrypted by the newest key for one purpose, for example `users.phone`. Twice the same text differs."""
        return self.seal(text.encode(), purpose)

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Return bytes, a whole file for example, encrypted by the newest key for one purpose."""
        key = self._keys[0]
        head = _head(key.id)
        nonce = secrets.token_bytes(_NONCE)
        return head + nonce + key.cipher(purpose).encrypt(nonce, data, head + purpose.encode())

    def decrypt(self, value: bytes, purpose: str) -> str:
        """Return the text of an encrypted value. Raises `KeyMissing`, `NotDecryptable`."""
        return self.unseal(value, purpose).decode()

    def unseal(self, value: bytes, purpose: str) -> bytes:
        """Return the bytes that `seal` encrypted. Raises `KeyMissing`, `NotDecryptable`."""
        key_id, start = _read_head(value, purpose)
        key = self._by_id.get(key_id)
        if key is None:
            raise KeyMissing(key_id)
        nonce, sealed = value[start : start + _NONCE], value[start + _NONCE :]
        try:
            return key.cipher(purpose).decrypt(nonce, sealed, value[:start] + purpose.encode())
        except InvalidTag:
            raise NotDecryptable(purpose) from None

    def is_current(self, value: bytes) -> bool:
        """Whether the newest key encrypted the value; False asks for decrypt and encrypt."""
        return value.startswith(_head(self._keys[0].id))

    def blind_index(self, text: str, purpose: str) -> bytes:
        """Return 32 bytes that are the same for the same text and purpose, and tell nothing else about it without the key.

        The caller brings text into one form first: a telephone number in E.164, an address in lower case.
        """
        return hmac.digest(self._index_key(purpose), text.encode(), hashlib.sha256)

    def sign(self, data: bytes, purpose: str) -> str:
        """Return the newest key's signature of data, with the key's id: `id:hex`."""
        key = self._keys[0]
        return f"{key.id}:{hmac.new(key.derived(f'sign:{purpose}'), data, hashlib.sha256).hexdigest()}"

    def is_signed(self, data: bytes, signature: str, purpose: str) -> bool:
        """Whether a signature of `sign` fits the data. Raises `KeyMissing` where its key is not in the ring."""
        key_id, _, digest = signature.partition(":")
        key = self._by_id.get(key_id)
        if key is None:
            raise KeyMissing(key_id)
        genuine = hmac.new(key.derived(f"sign:{purpose}"), data, hashlib.sha256).hexdigest()
        return hmac.compare_digest(genuine.encode(), digest.encode())

    def cipher(self, key_id: str, purpose: str) -> AESGCM:
        """Return the cipher of one key, for data too long to encrypt at once. Raises `KeyMissing`."""
        key = self._by_id.get(key_id)
        if key is None:
            raise KeyMissing(key_id)
        return key.cipher(purpose)

    def derived_key(self, purpose: str) -> bytes:
        """Return a 32-byte key of the newest secret for signing something short-lived, such as a form's token."""
        return self._keys[0].derived(f"derive:{purpose}")

    def _index_key(self, purpose: str) -> bytes:
        found = self._index_keys.get(purpose)
        if found is None:
            found = self._index_keys[purpose] = self._keys[-1].derived(f"index:{purpose}")
        return found


def open_keyring(secret_key: str, folder: Path) -> Keyring:
    """Return the installation's keys: those of the setting `secret_key`, else of the file `keys` in `folder`.

    The file is made, with one new key and mode 0600, where it is missing; two processes that start at once end up with the same.
    Raises `BadKey`.
    """
    if secret_key.strip():
        return Keyring.from_text(secret_key, "secret_key")
    path = folder / "keys"
    if not path.exists():
        _make_file(path)
    return Keyring.from_text(path.read_text("ascii", errors="replace"), str(path))


def _make_file(path: Path) -> None:
    """Write the file whole under another name first: a reader never sees half of it, and the first writer wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _secret_of(text: str, source: str) -> bytes:
    try:
        secret = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadKey(source, "it is not base64") from None
    if len(secret) < _LEAST_SECRET:
        raise BadKey(source, f"it has {len(secret)} bytes, {_LEAST_SECRET} is the least")
    return secret


def _fingerprint(secret: bytes) -> str:
    return hashlib.sha256(b"tradepost key id:" + secret).hexdigest()[:8]


def _head(key_id: str) -> bytes:
    name = key_id.encode()
    return bytes((_VERSION, len(name))) + name


def _read_head(value: bytes, purpose: str) -> tuple[str, int]:
    """Return the key's id and where the nonce starts."""
    if len(value) < 2 or value[0] != _VERSION:
        raise NotDecryptable(purpose)
    start = 2 + value[1]
    if len(value) < start + _NONCE + _TAG:
        raise NotDecryptable(purpose)
    try:
        return value[2:start].decode(), start
    except UnicodeDecodeError:
        raise NotDecryptable(purpose) from None
