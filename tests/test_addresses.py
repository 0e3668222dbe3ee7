"""The address book: what is kept, encrypted; one default; nobody else's."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.people import join
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import Caller, NewToken, NotAllowed, SignInFirst
from tradepost.core.crypto import Keyring, NotDecryptable
from tradepost.core.database import ANYBODY, SYSTEM, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.postal import Address
from tradepost.delivery.queries import access_address, default_address, list_addresses
from tradepost.delivery.service import add_address, change_address, make_default, remove_address
from tradepost.delivery.types import AddressDraft, NoSuchAddress, SavedAddress, TooManyAddresses
from tradepost.flows.sign_in import load_caller_by_token
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]


def draft(line1: str = "12 Samora Machel Avenue", **changed: Any) -> AddressDraft:
    """Return an address that would be accepted."""
    given = {"label": "Home", "name": "Tendai Moyo", "line1": line1, "city": "Harare", "country": "ZW"} | changed
    return AddressDraft(**given)


async def add(store: Store, caller: Caller, form: AddressDraft) -> SavedAddress:
    """Add an address in a transaction of one's own."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await add_address(tx, store.keys, caller, form)


async def book(store: Store, caller: Caller) -> list[tuple[str, bool]]:
    """Return the first lines of somebody's addresses, and which is the default."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return [(a.address.line1, a.is_default) for a in await list_addresses(tx, store.keys, caller)]


async def test_address_is_kept_as_written_and_unreadable_in_the_database(store: Store, make: Factory) -> None:
    me = await make.person()
    form = draft(
        "  12  Samora Machel Avenue",
        line2="Flat 3",
        region="Harare",
        postcode="00263",
        phone="+263 77 123 4567",
        country="zw",
    )
    added = await add(store, me, form)
    assert added.address == Address(
        name="Tendai Moyo", line1="12 Samora Machel Avenue", line2="Flat 3", city="Harare", region="Harare", postcode="00263",
        country="ZW", phone="+263 77 123 4567",
    )  # fmt: skip
    assert (added.label, added.is_default) == ("Home", True)
    async with store.db.transaction(actor=SYSTEM) as tx:
        sealed: bytes = await tx.value(text("SELECT address_enc FROM addresses"))
    for word in (b"Tendai", b"Samora", b"Harare", b"771234567"):
        assert word not in sealed
    other = Keyring.from_secret("test", b"1" * 32)
    async with store.db.transaction(actor=me.actor) as tx:
        with count_queries() as count:
            assert await list_addresses(tx, store.keys, me) == (added,)
        with pytest.raises(NotDecryptable):
            await list_addresses(tx, other, me)
    assert count.queries == 1


async def test_everything_wrong_is_said_at_once_and_nothing_is_kept(store: Store, make: Factory) -> None:
    me = await make.person()
    wrong = draft(" ", label="x" * 61, name="", city="Harare\x00", country="XX", postcode="1" * 21, phone="1" * 41)
    with pytest.raises(FieldErrors) as refused:
        await add(store, me, wrong)
    assert refused.value.errors == {
        "label": "At most 60 characters.",
        "name": "This is needed.",
        "line1": "This is needed.",
        "city": "There is a character in it that cannot be shown.",
        "country": "Please choose a country.",
        "postcode": "At most 20 characters.",
        "phone": "At most 40 characters.",
    }
    assert await book(store, me) == []


@pytest.mark.parametrize("country", ["", "Z", "ZZ", "EU", "UN", "12", "ZWE", "z\n"])
async def test_country_must_be_one(store: Store, make: Factory, country: str) -> None:
    with pytest.raises(FieldErrors) as refused:
        await add(store, await make.person(), draft(country=country))
    assert list(refused.value.errors) == ["country"]


def test_form_takes_no_other_field() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `user_id`"):
        msgspec.convert(msgspec.to_builtins(draft()) | {"user_id": str(uuid4())}, AddressDraft)


async def test_there_is_one_default_and_the_latest_takes_over(store: Store, make: Factory) -> None:
    me = await make.person()
    farm, town, shop = [await add(store, me, draft(line)) for line in ("Farm 7", "Town 1", "Shop 2")]
    assert await book(store, me) == [("Farm 7", True), ("Shop 2", False), ("Town 1", False)]
    async with store.db.transaction(actor=me.actor) as tx:
        await make_default(tx, store.keys, me, town.id)
        await make_default(tx, store.keys, me, town.id)
        assert (await default_address(tx, store.keys, me) or farm).id == town.id
    assert await book(store, me) == [("Town 1", True), ("Shop 2", False), ("Farm 7", False)]
    await add(store, me, draft("Depot 9", is_default=True))
    assert (await book(store, me))[0] == ("Depot 9", True)
    async with store.db.transaction(actor=me.actor) as tx:
        changed = await change_address(tx, store.keys, me, shop.id, draft("Shop 3", is_default=True, label=""))
        assert (changed.label, changed.is_default, changed.address.line1) == ("", True, "Shop 3")
        await remove_address(tx, store.keys, me, shop.id)
    assert await book(store, me) == [("Depot 9", True), ("Town 1", False), ("Farm 7", False)]
    async with store.db.transaction(actor=me.actor) as tx:
        await change_address(tx, store.keys, me, farm.id, draft("Farm 8"))
        await remove_address(tx, store.keys, me, town.id)
    assert await book(store, me) == [("Depot 9", True), ("Farm 8", False)]


async def test_address_is_nobody_elses(store: Store, make: Factory) -> None:
    me, stranger = await make.person(), await make.person()
    mine = await add(store, me, draft())
    async with store.db.transaction(actor=stranger.actor) as tx:
        assert await list_addresses(tx, store.keys, stranger) == ()
        for attempt in (
            access_address(tx, store.keys, stranger, mine.id),
            change_address(tx, store.keys, stranger, mine.id, draft("Elsewhere")),
            make_default(tx, store.keys, stranger, mine.id),
            remove_address(tx, store.keys, stranger, mine.id),
        ):
            with pytest.raises(NoSuchAddress):
                await attempt
        assert await tx.all(text("SELECT id FROM addresses")) == []
        assert await tx.run(text("DELETE FROM addresses")) == 0
    async with store.db.transaction(actor=ANYBODY) as tx:
        assert await default_address(tx, store.keys, Caller()) is None
        with pytest.raises(SignInFirst):
            await list_addresses(tx, store.keys, Caller())
    assert await book(store, me) == [("12 Samora Machel Avenue", True)]


async def test_book_holds_twenty_addresses_however_many_browsers_write(store: Store, make: Factory, race: Race) -> None:
    me = await make.person()
    for n in range(18):
        await add(store, me, draft(f"Plot {n}"))
    results = await race(*(add(store, me, draft(f"Late {n}", is_default=True)) for n in range(5)))
    assert [type(r) for r in results if isinstance(r, Exception)] == [TooManyAddresses] * 3
    held = await book(store, me)
    assert len(held) == 20
    assert [is_default for _, is_default in held].count(True) == 1
    assert held[0][0].startswith("Late")


async def test_first_addresses_of_two_browsers_leave_one_default(store: Store, make: Factory, race: Race) -> None:
    me = await make.person()
    await race(*(add(store, me, draft(f"Plot {n}")) for n in range(4)))
    held = await book(store, me)
    assert sorted(line for line, _ in held) == ["Plot 0", "Plot 1", "Plot 2", "Plot 3"]
    assert [is_default for _, is_default in held] == [True, False, False, False]


async def test_program_needs_the_profile_scope(store: Store) -> None:
    me = (await join(store)).caller
    async with store.db.transaction(actor=me.actor) as tx:
        reads = await issue_token(tx, me, NewToken(name="reads"))
        writes = await issue_token(tx, me, NewToken(name="writes", scopes=("profile",)))
    reader = await load_caller_by_token(store, reads.secret, "203.0.113.5")
    writer = await load_caller_by_token(store, writes.secret, "203.0.113.5")
    with pytest.raises(NotAllowed):
        await add(store, reader, draft())
    assert await book(store, reader) == []
    added: UUID = (await add(store, writer, draft())).id
    async with store.db.transaction(actor=reader.actor) as tx:
        assert (await access_address(tx, store.keys, reader, added)).label == "Home"
        with pytest.raises(NotAllowed):
            await remove_address(tx, store.keys, reader, added)
