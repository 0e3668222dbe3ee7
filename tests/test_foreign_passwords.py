"""Passwords that came from other systems: they open the door once more, and are kept our way from then on."""

import base64
import hashlib

import bcrypt
import pytest
from argon2 import PasswordHasher
from argon2.low_level import Type
from sqlalchemy import text

from tests.factories import Factory
from tests.people import visitor
from tradepost.accounts.foreign_passwords import verify_foreign
from tradepost.accounts.passwords import check_password, needs_rehash
from tradepost.accounts.types import BadSignIn, SignIn
from tradepost.core.database import SYSTEM
from tradepost.flows.sign_in import sign_in
from tradepost.flows.store import Store

PASSWORD = "sourdough & rye, née 1987"


def pbkdf2(digest: str, rounds: int = 20) -> str:
    made = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), b"grain", rounds)
    return f"pbkdf2_{digest}${rounds}$grain${base64.b64encode(made).decode()}"


def plain_bcrypt(given: bytes, version: bytes = b"2b") -> str:
    return bcrypt.hashpw(given, bcrypt.gensalt(4, version if version != b"2y" else b"2b")).decode()


def argon2(kind: Type) -> str:
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=kind).hash(PASSWORD)


HASHES = {
    "pbkdf2_sha256": pbkdf2("sha256"),
    "pbkdf2_sha1": pbkdf2("sha1"),
    "bcrypt_sha256": "bcrypt_sha256$" + plain_bcrypt(hashlib.sha256(PASSWORD.encode()).hexdigest().encode()),
    "bcrypt of Django": "bcrypt$" + plain_bcrypt(PASSWORD.encode()),
    "bcrypt 2a": plain_bcrypt(PASSWORD.encode(), b"2a"),
    "bcrypt 2b": plain_bcrypt(PASSWORD.encode()),
    "bcrypt 2y": plain_bcrypt(PASSWORD.encode()).replace("$2b$", "$2y$", 1),
    "argon2id of Django": "argon2" + argon2(Type.ID),
    "argon2i of Django": "argon2" + argon2(Type.I),
    "argon2i": argon2(Type.I),
    "argon2id": argon2(Type.ID),
}


@pytest.mark.parametrize("stored", HASHES.values(), ids=HASHES)
async def test_every_form_knows_its_password_and_no_other(stored: str) -> None:
    assert await check_password(stored, PASSWORD)
    assert not await check_password(stored, PASSWORD + "!")
    assert not await check_password(stored, "")
    assert needs_rehash(stored)


def test_a_hash_that_django_made_is_understood() -> None:
    # django.contrib.auth.hashers.make_password("lètmein", "seasalt", "pbkdf2_sha256") with 10,000 rounds, from Django's own tests.
    stored = "pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY="
    assert verify_foreign(stored, "lètmein")
    assert not verify_foreign(stored, "letmein")


@pytest.mark.parametrize("stored", [
    "", "!", "x", "letmein", "md5$grain$7b9c", "pbkdf2_sha256$0$grain$AAAA", "pbkdf2_sha256$20$grain", "pbkdf2_sha256$20$grain$né",
    "pbkdf2_sha256$99999999$grain$AAAA", "pbkdf2_md5$20$grain$AAAA", "$2b$31$" + "a" * 53, "$2b$03$" + "a" * 53, "bcrypt$$2b$99$" + "a" * 53,
    "argon2$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$AAAA", "argon2$argon2id$v=19$m=8,t=9999,p=1$c2FsdHNhbHQ$AAAA",
    "argon2$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA", "$2b$10$short", "$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$AAAA",
])  # fmt: skip
async def test_what_is_no_hash_or_would_take_too_long_fits_nothing(stored: str) -> None:
    assert not await check_password(stored, PASSWORD)
    assert not await check_password(stored, "letmein")


@pytest.mark.parametrize("beyond", ["t=11", "p=9", "m=262145"])
async def test_an_argon2id_that_asks_for_too_much_is_not_even_tried(
    monkeypatch: pytest.MonkeyPatch, beyond: str
) -> None:
    def fail(*_: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(PasswordHasher, "verify", fail)
    given = {"m": "m=8", "t": "t=1", "p": "p=1"} | {beyond[0]: beyond}
    assert not await check_password(f"$argon2id$v=19${','.join(given.values())}$c2FsdHNhbHQ$AAAA", PASSWORD)


@pytest.mark.parametrize("form", ["pbkdf2_sha256", "bcrypt 2a"])
async def test_signing_in_keeps_the_password_our_way(store: Store, make: Factory, form: str) -> None:
    ann = await make.person("buyer", "ann", password_hash=HASHES[form])
    with pytest.raises(BadSignIn):
        await sign_in(store, visitor(), SignIn(login="ann", password=PASSWORD + "!"))
    for _ in range(2):
        found = await sign_in(store, visitor(), SignIn(login="ann", password=PASSWORD))
        assert found.caller.user_id == ann.user_id
        async with store.db.transaction(actor=SYSTEM) as tx:
            kept = await tx.value(text("SELECT password_hash FROM users WHERE username = 'ann'"))
        assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert not needs_rehash(kept)
