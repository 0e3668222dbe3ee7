"""A copy of everything about a person, erasure that keeps the books, verification and keys that change."""

import io
import zipfile
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from PIL import Image
from sqlalchemy import text

from tests.factories import Factory
from tests.people import PASSWORD, join, join_as
from tests.shop import TELL, Shop
from tradepost.accounts.data_rights import ExportUnderWay, NoSuchExport
from tradepost.accounts.types import AccountClosed, EditProfile, NotAllowed, SignIn
from tradepost.accounts.verification_types import (
    FILE,
    DocumentsMissing,
    IdentityCase,
    NoSuchDocument,
    NoSuchVerification,
    NotADocument,
    Verdict,
    VerificationDecidedAlready,
    VerificationDecision,
    VerificationForm,
    VerifiedOrWaiting,
)
from tradepost.core.audit import AuditSearch, search_audit
from tradepost.core.crypto import Key, KeyMissing, Keyring
from tradepost.core.database import SYSTEM, OnlyLooking
from tradepost.core.errors import FieldErrors
from tradepost.core.settings import PrivacySettings, Settings
from tradepost.flows import privacy, rotate_keys, see_as, verify
from tradepost.flows.badges import refresh_badges
from tradepost.flows.manage_account import edit_profile
from tradepost.flows.manage_people import reactivate_person
from tradepost.flows.sealed import SEALED
from tradepost.flows.sign_in import sign_in
from tradepost.flows.store import Store
from tradepost.migrations.schema import metadata

OLD, NEW = Key("old", b"0" * 32), Key("new", b"1" * 32)


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "white").save(file, "PNG")
    return file.getvalue()


PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FORM = VerificationForm(kind="government_id", name="Tendai Moyo", number="63-1234567 A 42")


async def value(store: Store, sql: str, **params: Any) -> Any:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.value(text(sql), **params)


async def run(store: Store, sql: str, **params: Any) -> int:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.run(text(sql), **params)


def test_every_encrypted_column_is_known_to_rotation() -> None:
    columns = {(t.name, c.name) for t in metadata.tables.values() for c in t.columns if c.name.endswith("_enc")}
    assert columns - SEALED.keys() == set()


async def test_papers_are_sent_encrypted_looked_at_and_accepted(store: Store) -> None:
    person, admin = (await join(store, "tendai")).caller, (await join_as(store, "boss", "admin")).caller
    sent = await verify.submit_verification(store, person, FORM, [("id.png", png()), ("bill.pdf", PDF)])
    stored = await store.files.get(f"private/verifications/{sent}/1")
    assert b"PDF" not in stored
    assert store.keys.unseal(stored, FILE) == PDF
    assert b"Moyo" not in await value(store, "SELECT data_enc FROM verifications")
    [waiting] = await verify.waiting_verifications(store, admin)
    assert (waiting.username, waiting.documents) == ("tendai", 2)
    case = await verify.verification_case(store, admin, sent)
    assert case.data is not None
    assert (case.data.name, [d.name for d in case.documents]) == ("Tendai Moyo", ["id.png", "bill.pdf"])
    assert await verify.verification_document(store, admin, sent, 1) == (PDF, "application/pdf")
    with pytest.raises(NoSuchDocument):
        await verify.verification_document(store, admin, sent, 2)
    async with store.db.transaction(actor=SYSTEM) as tx:
        looks = (await search_audit(tx, AuditSearch(action="look"))).items
    assert [(e.table_name, e.row_key, e.actor_id) for e in looks] == [
        ("verification_documents", f"{sent}/1", admin.user_id), ("verifications", str(sent), admin.user_id),
    ]  # fmt: skip
    await verify.decide_verification(store, admin, sent, VerificationDecision(verify=True))
    [mine] = await verify.own_verifications(store, person)
    assert (mine.status, mine.expires_at is not None) == ("verified", True)
    await refresh_badges(store)
    assert await value(store, "SELECT badge FROM user_badges") == "verified"


async def test_a_refusal_needs_a_reason_and_lets_one_try_again(store: Store) -> None:
    person, admin = (await join(store, "tendai")).caller, (await join_as(store, "boss", "admin")).caller
    sent = await verify.submit_verification(store, person, FORM, [("id.png", png())])
    with pytest.raises(VerifiedOrWaiting):
        await verify.submit_verification(store, person, FORM, [("id.png", png())])
    with pytest.raises(FieldErrors):
        await verify.decide_verification(store, admin, sent, VerificationDecision(verify=False))
    await verify.decide_verification(store, admin, sent, VerificationDecision(verify=False, reason="It is blurred."))
    with pytest.raises(VerificationDecidedAlready):
        await verify.decide_verification(store, admin, sent, VerificationDecision(verify=True))
    again = await verify.submit_verification(store, person, FORM, [("id.png", png())])
    assert [v.status for v in await verify.own_verifications(store, person)] == ["pending", "rejected"]
    await verify.withdraw_verification(store, person, again)
    assert not await store.files.exists(f"private/verifications/{again}/0")


async def test_what_is_no_document_is_refused_and_leaves_nothing(store: Store) -> None:
    person = (await join(store, "tendai")).caller
    for uploads, error in (
        ([], DocumentsMissing),
        ([("a.html", b"<script>")], NotADocument),
        ([("a.pdf", b"%PDF-")], NotADocument),
    ):
        with pytest.raises(error):
            await verify.submit_verification(store, person, FORM, uploads)
    assert await value(store, "SELECT count(*) FROM verifications") == 0


async def test_papers_are_for_those_who_manage_people_only(store: Store, make: Factory) -> None:
    person, staff = (await join(store, "tendai")).caller, await make.person("staff")
    sent = await verify.submit_verification(store, person, FORM, [("id.png", png())])
    for who in (staff, person):
        with pytest.raises(NotAllowed):
            await verify.verification_document(store, who, sent, 0)
        with pytest.raises(NotAllowed):
            await verify.decide_verification(store, who, sent, VerificationDecision(verify=True))


async def test_nobody_verifies_themselves(store: Store) -> None:
    admin = (await join_as(store, "boss", "admin")).caller
    sent = await verify.submit_verification(store, admin, FORM, [("id.png", png())])
    with pytest.raises(NoSuchVerification):
        await verify.decide_verification(store, admin, sent, VerificationDecision(verify=True))


async def test_documents_go_some_days_after_the_decision_and_verification_ends(store: Store) -> None:
    person, admin = (await join(store, "tendai")).caller, (await join_as(store, "boss", "admin")).caller
    sent = await verify.submit_verification(store, person, FORM, [("id.png", png())])
    await verify.decide_verification(store, admin, sent, VerificationDecision(verify=True))
    assert await verify.tidy_verifications(store) == 0
    await run(store, "UPDATE verifications SET decided_at = now() - interval '31 days', expires_at = now()")
    assert await verify.tidy_verifications(store) == 1
    case = await verify.verification_case(store, admin, sent)
    assert (case.status, case.data, case.documents, case.cleared_at is not None) == ("expired", None, (), True)
    assert not await store.files.exists(f"private/verifications/{sent}/0")


class Oracle:
    """An identity service that says what it was told to."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.seen: list[IdentityCase] = []

    async def look_at(self, case: IdentityCase) -> Verdict:
        self.seen.append(case)
        return self.verdict


@pytest.mark.parametrize("status", ["pending", "verified", "rejected"])
async def test_an_outside_service_decides_or_leaves_it_to_the_staff(store: Store, status: Any) -> None:
    person = (await join(store, "tendai")).caller
    sent = await verify.submit_verification(store, person, FORM, [("id.pdf", PDF)])
    oracle = Oracle(Verdict(status, "Blurred.", "x-1"))
    for _ in range(2):
        await verify.ask_identity_service(store, oracle, sent)
    assert oracle.seen[0].documents[0].data == PDF
    assert len(oracle.seen) == (2 if status == "pending" else 1)
    [mine] = await verify.own_verifications(store, person)
    assert (mine.status, mine.rejection_reason) == (status, "Blurred." if status == "rejected" else None)


async def made_export(store: Store, who: Any) -> zipfile.ZipFile:
    export_id = await privacy.ask_for_export(store, who)
    with pytest.raises(ExportUnderWay):
        await privacy.ask_for_export(store, who)
    with pytest.raises(NoSuchExport):
        await privacy.fetch_export(store, who, export_id)
    await privacy.make_export(store, export_id)
    [card, *_] = await privacy.own_exports(store, who)
    assert (card.state, card.done) == ("ready", card.parts)
    return zipfile.ZipFile(io.BytesIO(await privacy.fetch_export(store, who, export_id)))


async def test_the_copy_holds_everything_in_the_clear_and_no_secret(shop: Shop) -> None:
    store = shop.store
    started = await join(store, "tendai")
    await edit_profile(store, started.caller, EditProfile(phone="+263 77 123 4567", bio="Grows maize."))
    await verify.submit_verification(store, started.caller, FORM, [("id.pdf", PDF)])
    mine = replace_buyer(shop, started.caller)
    placed = await mine.buy(await mine.goods())
    found = await made_export(store, started.caller)
    data = {n: msgspec.json.decode(found.read(n)) for n in found.namelist() if n.endswith(".json")}
    assert data["data/users.json"][0]["phone"] == "+263771234567"
    assert data["data/orders.json"][0]["number"] == placed.number
    assert "Springfield" in data["data/orders.json"][0]["shipping_address"]
    assert data["data/order_lines.json"][0]["title"] == "Hammer"
    assert found.read("documents/government_id-1.pdf") == PDF
    whole = b"".join(found.read(n) for n in found.namelist())
    for secret in (b"argon2", b"password_hash", b"token_hash", b"id_hash", b"storage_key"):
        assert secret not in whole


def replace_buyer(shop: Shop, caller: Any) -> Shop:
    return Shop(shop.store, shop.make, caller)


async def test_the_copy_holds_nothing_of_anybody_else(shop: Shop) -> None:
    store = shop.store
    await shop.buy(await shop.goods())
    stranger = (await join(store, "stranger")).caller
    found = await made_export(store, stranger)
    whole = b"".join(found.read(n) for n in found.namelist()).decode()
    assert str(shop.buyer.user_id) not in whole
    assert "Springfield" not in whole


async def test_every_table_that_names_a_person_is_in_the_copy() -> None:
    personal = {
        t.name for t in metadata.tables.values() for c in t.columns
        for key in c.foreign_keys if key.target_fullname == "users.id" and key.ondelete == "CASCADE"
    }  # fmt: skip
    assert personal - privacy.sections().keys() - privacy.LEFT_OUT.keys() == set()


async def test_a_copy_is_fetched_by_its_person_only_and_not_for_ever(store: Store) -> None:
    ann, ben = (await join(store, "ann")).caller, (await join(store, "ben")).caller
    export_id = await privacy.ask_for_export(store, ann)
    await privacy.make_export(store, export_id)
    with pytest.raises(NoSuchExport):
        await privacy.fetch_export(store, ben, export_id)
    await run(store, "UPDATE data_exports SET expires_at = now()")
    await privacy.keep_no_longer(store)
    with pytest.raises(NoSuchExport):
        await privacy.fetch_export(store, ann, export_id)
    assert not await store.files.exists(f"private/exports/{export_id}")


async def closed(store: Store, shop: Shop | None = None) -> Any:
    started = await join(store, "tendai")
    await edit_profile(store, started.caller, EditProfile(phone="+263 77 123 4567", first_name="Tendai"))
    return started.caller


async def test_erasure_waits_and_can_be_called_off(store: Store, make: Factory) -> None:
    person, admin = await closed(store), await make.person("admin")
    assert await privacy.ask_for_erasure(store, person, PASSWORD) == 14
    with pytest.raises(AccountClosed):
        await sign_in(store, replace_address(person), SignIn(login="tendai", password=PASSWORD))
    assert await privacy.erase_due(store) == 0
    await reactivate_person(store, admin, person.user_id)
    assert await value(store, "SELECT erase_at FROM users WHERE username = 'tendai'") is None
    await sign_in(store, replace_address(person), SignIn(login="tendai", password=PASSWORD))


def replace_address(caller: Any) -> Any:
    return msgspec.structs.replace(caller, session=None, user_id=None)


async def test_an_erased_person_is_nowhere_and_the_books_stay(shop: Shop) -> None:
    store, person = shop.store, await closed(shop.store)
    mine = replace_buyer(shop, person)
    placed = await mine.buy(await mine.goods())
    await verify.submit_verification(store, person, FORM, [("id.pdf", PDF)])
    await privacy.ask_for_erasure(store, person, PASSWORD)
    await run(store, "UPDATE users SET erase_at = now() WHERE id = :id", id=person.user_id)
    assert await privacy.erase_due(store) == 0  # an order is open

    await finish_order(store, placed.order_id)
    assert await privacy.erase_due(store) == 1
    async with store.db.transaction(actor=SYSTEM) as tx:
        row = dict(await tx.one(text("SELECT * FROM users WHERE id = :id"), id=person.user_id))
        order = dict(await tx.one(text("SELECT * FROM orders")))
        log = await tx.values(text("SELECT concat(before::text, after::text) FROM audit_log"))
    assert row["display_name"] == "Former member"
    assert [row[n] for n in ("email", "phone_enc", "phone_index", "password_hash", "first_name")] == [
        None,
        None,
        None,
        None,
        "",
    ]
    assert (order["buyer_id"], order["shipping_address_enc"], order["email_enc"]) == (person.user_id, None, None)
    assert order["total_minor"] == 1000
    for table in ("sessions", "tokens", "addresses", "verifications", "user_roles", "carts"):
        assert await value(store, f"SELECT count(*) FROM {table} WHERE user_id = :id", id=person.user_id) == 0, table
    assert not [line for line in log if "tendai" in (line or "").lower()]
    assert await privacy.erase_due(store) == 0


async def finish_order(store: Store, order_id: Any) -> None:
    """Bring an order to its end as the buyer's process has it."""
    for state in ("shipped", "delivered"):
        await run(store, f"{TELL} UPDATE orders SET state = :state WHERE id = :id", state=state, id=order_id)
        await run(store, "UPDATE fulfilments SET state = :state WHERE order_id = :id", state=state, id=order_id)


async def test_looking_with_anothers_eyes_shows_theirs_and_changes_nothing(store: Store) -> None:
    admin, person = (await join_as(store, "boss", "admin")).caller, (await join(store, "tendai")).caller
    look = await see_as.begin_look(store, admin, person.user_id, see_as.LookForm(reason="She cannot find her order."))  # type: ignore[arg-type]
    eyes = await see_as.eyes_of(store, admin, look)
    assert (eyes.user_id, eyes.behind is not None and eyes.behind.id) == (person.user_id, admin.user_id)
    assert not eyes.can("manage_people")
    with pytest.raises(OnlyLooking):
        await edit_profile(store, eyes, EditProfile(bio="Hacked."))
    [seen] = await see_as.looks_at_me(store, person)
    assert (seen.by, seen.reason) == ("boss", "She cannot find her order.")
    other_session = msgspec.structs.replace(admin, session=b"x" * 32)
    assert (await see_as.eyes_of(store, other_session, look)).user_id == admin.user_id
    await see_as.end_look(store, eyes)
    assert (await see_as.eyes_of(store, admin, look)).user_id == admin.user_id


async def test_nobody_of_the_staff_is_looked_at_that_way(store: Store, make: Factory) -> None:
    admin, staff = (await join_as(store, "boss", "admin")).caller, await make.person("staff")
    form = see_as.LookForm(reason="Out of curiosity.")
    for who in (staff, admin):
        with pytest.raises(NotAllowed):
            await see_as.begin_look(store, admin, who.user_id, form)  # type: ignore[arg-type]
    person = (await join(store, "tendai")).caller
    with pytest.raises(NotAllowed):
        await see_as.begin_look(store, staff, person.user_id, form)  # type: ignore[arg-type]
    assert await value(store, "SELECT count(*) FROM impersonations") == 0


async def test_a_look_ends_by_itself(store: Store) -> None:
    admin, person = (await join_as(store, "boss", "admin")).caller, (await join(store, "tendai")).caller
    look = await see_as.begin_look(store, admin, person.user_id, see_as.LookForm(reason="She asked."))  # type: ignore[arg-type]
    await run(store, "UPDATE impersonations SET ends_at = now()")
    assert (await see_as.eyes_of(store, admin, look)).user_id == admin.user_id


def silent(_what: str, _done: int, _whole: int) -> None:
    """Show no progress."""


async def test_rotation_writes_everything_anew_and_retires_the_old_key(shop: Shop) -> None:
    store = replace(shop.store, keys=Keyring([OLD]))
    person = await closed(store)
    mine = replace_buyer(Shop(store, shop.make, person), person)
    await mine.buy(await mine.goods())
    sent = await verify.submit_verification(store, person, FORM, [("id.pdf", PDF)])
    await rotate_keys.check_keys(store.db, store.keys)
    both, only = Keyring([NEW, OLD]), Keyring([NEW])
    await rotate_keys.check_keys(store.db, both)
    with pytest.raises(rotate_keys.KeysMissing, match="old"):
        await rotate_keys.check_keys(store.db, only)
    old = await rotate_keys.count_old(store.db, both)
    assert old["users", "phone_enc"] == old["orders", "shipping_address_enc"] == old["verifications", "data_enc"] == 1
    assert await rotate_keys.rotate(store.db, store.files, both, silent) == sum(old.values()) + 1
    assert not any((await rotate_keys.count_old(store.db, both)).values())
    assert only.unseal(await store.files.get(f"private/verifications/{sent}/0"), FILE) == PDF
    with pytest.raises(rotate_keys.IndexKeyGone):
        await rotate_keys.check_keys(store.db, only)
    assert await rotate_keys.reindex(store.db, only, silent) == 1
    await rotate_keys.check_keys(store.db, only)
    index = await value(store, "SELECT phone_index FROM users WHERE phone_index IS NOT NULL")
    assert index == only.blind_index("+263771234567", "users.phone")
    assert await rotate_keys.rotate(store.db, store.files, only, silent) == 0


async def test_rotation_goes_on_where_it_was_interrupted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(store, """
        INSERT INTO users (username, email, display_name, phone_enc)
        SELECT 'p' || n, n || '@example.com', 'P', CAST(:sealed AS bytea) FROM generate_series(1, 1200) n
    """, sealed=Keyring([OLD]).encrypt("+263771234567", "users.phone"))  # fmt: skip
    both = Keyring([NEW, OLD])

    class Interrupted(Exception):
        """The power went."""

    def stop(_what: str, done: int, _whole: int) -> None:
        if done >= 500:
            raise Interrupted

    with pytest.raises(Interrupted):
        await rotate_keys.rotate(store.db, store.files, both, stop)
    assert (await rotate_keys.count_old(store.db, both))["users", "phone_enc"] == 700
    assert await rotate_keys.rotate(store.db, store.files, both, silent) == 700


async def test_rotation_without_the_old_key_says_which_is_missing_and_changes_nothing(store: Store) -> None:
    person = (await join(replace(store, keys=Keyring([OLD])), "tendai")).caller
    await edit_profile(replace(store, keys=Keyring([OLD])), person, EditProfile(phone="+263 77 123 4567"))
    with pytest.raises(KeyMissing, match="old"):
        await rotate_keys.rotate(store.db, store.files, Keyring([NEW]), silent)
    assert (await rotate_keys.count_old(store.db, Keyring([OLD])))["users", "phone_enc"] == 0


def test_privacy_settings_have_sound_defaults() -> None:
    assert Settings().privacy == PrivacySettings(
        erase_after_days=14, documents_days=30, verified_days=730, export_days=7, audit_months=24
    )
    assert timedelta(days=Settings().privacy.erase_after_days) == timedelta(days=14)
