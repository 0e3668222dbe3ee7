"""Offers: one open a buyer and listing, one winner whoever is faster, a floor nobody can find, and a price that is kept."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.factories import Factory
from tests.people import visitor
from tests.shop import Shop
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller, NotAllowed, SignInFirst
from tradepost.catalog.types import NoSuchListing
from tradepost.core.database import SYSTEM, Database, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import short_id
from tradepost.flows.checkout import checkout
from tradepost.flows.conversations import read_inbox, read_thread
from tradepost.flows.haggle import (
    Floor,
    OfferArgs,
    accept_offer,
    counter_offer,
    expire_offers,
    get_offer,
    list_offers,
    make_offer,
    own_floor,
    reject_offer,
    review_offer,
    set_floor,
    withdraw_offer,
)
from tradepost.flows.orders import get_order
from tradepost.flows.quote import CheckoutChoice, quote_cart
from tradepost.flows.store import Store
from tradepost.flows.sweep import sweep
from tradepost.offers.types import (
    NewOffer,
    NoLongerThere,
    NoSuchOffer,
    NotOpenToOffers,
    NotYourTurn,
    Offer,
    OfferAboveAsking,
    OfferClosed,
    OfferForm,
    OfferOnOwnListing,
    OfferOpen,
    TooManyOffers,
)
from tradepost.orders.types import SoldOut

Race = Callable[..., Awaitable[list[Any]]]
LATER = "UPDATE offers SET expires_at = now() - interval '1 minute', held_until = held_until - interval '2 days'"


class Haggle:
    """A seller with one lamp at 100.00, and people who would like it for less."""

    def __init__(self, shop: Shop, seller: Caller, listing_id: UUID, variant_id: UUID, owner: Database) -> None:
        self.owner = owner
        self.shop, self.store, self.seller = shop, shop.store, seller
        self.listing_id, self.variant_id = listing_id, variant_id
        self.buyer = shop.buyer

    async def offer(self, amount: int = 8000, by: Caller | None = None) -> Offer:
        """Have somebody propose a price."""
        return await make_offer(self.store, by or self.buyer, self.listing_id, NewOffer(amount_minor=amount))

    async def change(self, sql: str) -> None:
        """Change what the server itself may not, as the owner of the tables."""
        async with self.owner.transaction(actor=SYSTEM) as tx:
            await tx.run(text(sql))

    async def said(self, offer: Offer, to: Caller | None = None) -> list[str]:
        """Return what the system said in the offer's conversation."""
        thread = await read_thread(self.store, to or self.buyer, offer.conversation_id)
        return [m.body for m in thread.messages if m.kind == "system"]

    async def status(self, offer: Offer) -> str:
        """Return an offer's state."""
        return str((await self.shop.row("SELECT status FROM offers WHERE id = :id", id=offer.id))[0])


@pytest_asyncio.fixture
async def haggle(shop: Shop, make: Factory, store_dsn: str) -> AsyncIterator[Haggle]:
    """Offer one lamp on the community feed."""
    owner = await Database.open(store_dsn.replace("tradepost_app", "postgres"), size=1)
    seller = await make.person("seller", "sami")
    listing_id = await make.listing(seller, "Brass lamp", category="tools", price=10_000, stock=1, feed="community")
    yield Haggle(shop, seller, listing_id, await make.variant_of(listing_id), owner)
    await owner.close()


async def test_an_offer_stands_in_the_conversation_with_the_seller(haggle: Haggle) -> None:
    made = await make_offer(
        haggle.store, haggle.buyer, haggle.listing_id, NewOffer(amount_minor=8000, message="Cash today?")
    )
    assert (made.status, made.by, made.amount_minor, made.currency, made.quantity) == (
        "pending",
        "buyer",
        8000,
        "USD",
        1,
    )
    page, _ = await read_inbox(haggle.store, haggle.seller)
    assert (page.items[0].last_kind, page.items[0].last_body, page.items[0].unread) == ("offer", "Cash today?", 1)
    assert (await read_thread(haggle.store, haggle.seller, made.conversation_id)).messages[0].offer_id == made.id
    assert [o.id for o in (await list_offers(haggle.store, haggle.seller)).items] == [made.id]


async def test_one_open_offer_a_buyer_and_listing(haggle: Haggle, race: Race) -> None:
    done = await race(*(haggle.offer(5000 + n) for n in range(4)))
    assert sum(isinstance(d, Offer) for d in done) == 1
    assert [type(d) for d in done if not isinstance(d, Offer)] == [OfferOpen] * 3
    assert await haggle.shop.count("offers") == 1
    assert await haggle.shop.count("messages") == 1


async def test_what_cannot_be_offered_for(haggle: Haggle, make: Factory) -> None:
    fixed = await make.listing(haggle.seller, "New lamp", category="tools", price=10_000)
    gone = await make.listing(haggle.seller, "Old lamp", category="tools", price=10_000, stock=0, feed="community")
    draft = await make.listing(haggle.seller, "No lamp", category="tools", feed="community", status="draft")
    sold = await make.listing(haggle.seller, "Sold lamp", category="tools", price=100, feed="community", status="sold")
    for who, listing_id, amount, error in (
        (haggle.seller, haggle.listing_id, 8000, OfferOnOwnListing),
        (haggle.buyer, haggle.listing_id, 10_001, OfferAboveAsking),
        (haggle.buyer, haggle.listing_id, 0, FieldErrors),
        (haggle.buyer, fixed, 8000, NotOpenToOffers),
        (haggle.buyer, gone, 8000, NoLongerThere),
        (haggle.buyer, sold, 50, NoLongerThere),
        (haggle.buyer, draft, 50, NoSuchListing),
        (haggle.buyer, uuid4(), 8000, NoSuchListing),
        (visitor(), haggle.listing_id, 8000, SignInFirst),
        (msgspec.structs.replace(haggle.buyer, permissions=frozenset()), haggle.listing_id, 8000, NotAllowed),
    ):
        with pytest.raises(error):
            await make_offer(haggle.store, who, listing_id, NewOffer(amount_minor=amount))
    assert await haggle.shop.count("offers") == 0
    assert await haggle.shop.count("messages") == 0


async def test_strangers_find_no_offer(haggle: Haggle, make: Factory) -> None:
    made, eve = await haggle.offer(), await make.person()
    for attempt in (
        get_offer(haggle.store, eve, made.id),
        accept_offer(haggle.store, eve, made.id),
        reject_offer(haggle.store, eve, made.id),
        withdraw_offer(haggle.store, eve, made.id),
        counter_offer(haggle.store, eve, made.id, OfferForm(amount_minor=1)),
        set_floor(haggle.store, haggle.seller, made.id, Floor(1)),
    ):
        with pytest.raises(NoSuchOffer):
            await attempt
    assert await haggle.status(made) == "pending"


async def test_only_the_other_side_answers(haggle: Haggle) -> None:
    made = await haggle.offer()
    with pytest.raises(NotYourTurn):
        await accept_offer(haggle.store, haggle.buyer, made.id)
    with pytest.raises(NotYourTurn):
        await withdraw_offer(haggle.store, haggle.seller, made.id)
    back = await counter_offer(
        haggle.store, haggle.seller, made.id, OfferForm(amount_minor=9000, message="Meet me at 90")
    )
    assert (back.by, back.parent_id, await haggle.status(made)) == ("seller", made.id, "countered")
    with pytest.raises(NotYourTurn):
        await accept_offer(haggle.store, haggle.seller, back.id)
    again = await counter_offer(haggle.store, haggle.buyer, back.id, OfferForm(amount_minor=8500))
    assert (await accept_offer(haggle.store, haggle.seller, again.id)).status == "accepted"
    assert await haggle.shop.rows("SELECT status, amount_minor FROM offers ORDER BY id") == [
        ("countered", 8000), ("countered", 9000), ("accepted", 8500)
    ]  # fmt: skip


async def test_an_accepted_offer_holds_the_item(haggle: Haggle) -> None:
    made = await haggle.offer()
    accepted = await accept_offer(haggle.store, haggle.seller, made.id)
    assert accepted.held_until is not None
    assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), Decimal(1))
    assert (await haggle.said(made))[0].startswith("The seller accepted 80.00 USD.")
    with pytest.raises(Exception, match="can be had"):
        await haggle.shop.put(haggle.variant_id, 1)


async def test_the_buyer_checks_out_at_the_locked_price(haggle: Haggle) -> None:
    made = await haggle.offer()
    await accept_offer(haggle.store, haggle.seller, made.id)
    async with haggle.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE prices SET amount_minor = 20000"))
    other = await haggle.shop.goods("Hammer")
    await haggle.shop.put(other, 1)
    quote = await quote_cart(haggle.store, haggle.buyer, CheckoutChoice(shipping="pickup", offer_id=made.id))
    assert (quote.total_minor, len(quote.lines)) == (8000, 1)
    placed = await checkout(haggle.store, haggle.buyer, haggle.shop.form(offer_id=made.id), "offer-checkout")
    assert (placed.total_minor, placed.payment_state) == (8000, "success")
    order = await get_order(haggle.store, haggle.buyer, placed.number)
    assert [(line.title, line.unit_price_minor) for line in order.lines] == [("Brass lamp", 8000)]
    assert await haggle.shop.stock(haggle.variant_id) == (Decimal(0), Decimal(0))
    assert await haggle.shop.count("cart_lines") == 1
    assert (await haggle.shop.balances())["fee"] == -800
    with pytest.raises(OfferClosed, match="ordered"):
        await checkout(haggle.store, haggle.buyer, haggle.shop.form(offer_id=made.id), "offer-again")
    assert await haggle.shop.count("orders") == 1


async def test_nobody_else_checks_out_somebodys_offer(haggle: Haggle, make: Factory) -> None:
    made = await haggle.offer()
    with pytest.raises(OfferClosed, match="pending"):
        await checkout(haggle.store, haggle.buyer, haggle.shop.form(offer_id=made.id), "offer-early")
    await accept_offer(haggle.store, haggle.seller, made.id)
    for eve in (await make.person(), haggle.seller):
        with pytest.raises((NoSuchOffer, OfferClosed)):
            await checkout(haggle.store, eve, haggle.shop.form(offer_id=made.id), "offer-eve")
    assert await haggle.shop.count("orders") == 0


async def test_two_checkouts_of_one_offer_make_one_order(haggle: Haggle, race: Race) -> None:
    made = await haggle.offer()
    await accept_offer(haggle.store, haggle.seller, made.id)
    form = haggle.shop.form(offer_id=made.id)
    done = await race(*(checkout(haggle.store, haggle.buyer, form, f"offer-{n}-key") for n in range(4)))
    assert sum(isinstance(d, OfferClosed) for d in done) == 3
    assert await haggle.shop.count("orders") == 1
    assert await haggle.shop.stock(haggle.variant_id) == (Decimal(0), Decimal(0))


async def test_losers_are_told(haggle: Haggle, make: Factory) -> None:
    other = await make.person()
    mine, theirs = await haggle.offer(), await haggle.offer(9000, by=other)
    await accept_offer(haggle.store, haggle.seller, theirs.id)
    assert await haggle.status(mine) == "rejected"
    assert await haggle.said(mine) == ["This went to somebody else."]
    with pytest.raises(OfferClosed):
        await accept_offer(haggle.store, haggle.seller, mine.id)


async def test_where_there_is_more_of_it_nobody_loses(haggle: Haggle, make: Factory) -> None:
    await haggle.shop.run(text("UPDATE variants SET on_hand = 3"))
    offers = [await haggle.offer(9000, by=await make.person()) for _ in range(4)]
    for made in offers[:2]:
        await accept_offer(haggle.store, haggle.seller, made.id)
    assert [await haggle.status(o) for o in offers] == ["accepted", "accepted", "pending", "pending"]
    await accept_offer(haggle.store, haggle.seller, offers[2].id)
    assert await haggle.status(offers[3]) == "rejected"


async def test_of_two_accepts_one_wins(haggle: Haggle, make: Factory, race: Race) -> None:
    for _ in range(5):
        offers = [await haggle.offer(9000, by=await make.person()) for _ in range(3)]
        done = await race(*(accept_offer(haggle.store, haggle.seller, o.id) for o in offers))
        assert sum(isinstance(d, Offer) for d in done) == 1
        assert all(isinstance(d, Offer | OfferClosed) for d in done)
        assert sorted([await haggle.status(o) for o in offers]) == ["accepted", "rejected", "rejected"]
        assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), Decimal(1))
        await haggle.change(LATER)
        await expire_offers(haggle.store)
        assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), Decimal(0))


async def test_accept_against_withdraw_has_one_winner(haggle: Haggle, race: Race) -> None:
    seen = set()
    for _ in range(8):
        made = await haggle.offer()
        taken, back = await race(
            accept_offer(haggle.store, haggle.seller, made.id), withdraw_offer(haggle.store, haggle.buyer, made.id)
        )
        status = await haggle.status(made)
        seen.add(status)
        assert isinstance(taken, Offer) is (status == "accepted")
        assert isinstance(back, Offer) is (status == "cancelled")
        assert isinstance(back if status == "accepted" else taken, OfferClosed)
        held = Decimal(1) if status == "accepted" else Decimal(0)
        assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), held)
        await haggle.change(LATER)
        await expire_offers(haggle.store)
        await haggle.change("UPDATE offers SET created_at = created_at - interval '2 days'")
    assert seen <= {"accepted", "cancelled"}


async def test_accept_against_expiry_has_one_winner(haggle: Haggle, race: Race) -> None:
    for soon in ("0", "0.02", "0.05"):
        made = await haggle.offer()
        await haggle.change(
            f"UPDATE offers SET expires_at = clock_timestamp() + interval '{soon} s' WHERE status = 'pending'"
        )
        taken, *_ = await race(
            accept_offer(haggle.store, haggle.seller, made.id), *(expire_offers(haggle.store) for _ in range(3))
        )
        await expire_offers(haggle.store)
        status = await haggle.status(made)
        assert isinstance(taken, Offer) is (status == "accepted")
        assert status in {"accepted", "expired", "pending"}
        held = Decimal(1) if status == "accepted" else Decimal(0)
        assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), held)
        await haggle.change(LATER)
        await expire_offers(haggle.store)
        await haggle.change("UPDATE offers SET created_at = created_at - interval '2 days'")


async def test_an_offer_whose_time_is_up_cannot_be_accepted(haggle: Haggle) -> None:
    made = await haggle.offer()
    await haggle.change(LATER)
    with pytest.raises(OfferClosed, match="expired"):
        await accept_offer(haggle.store, haggle.seller, made.id)
    await expire_offers(haggle.store)
    assert await haggle.status(made) == "expired"
    assert await haggle.said(made) == ["The offer of 80.00 USD has run out."]
    await expire_offers(haggle.store)
    assert len(await haggle.said(made)) == 1


async def test_what_nobody_pays_for_is_free_again(haggle: Haggle, make: Factory) -> None:
    made = await haggle.offer()
    await accept_offer(haggle.store, haggle.seller, made.id)
    await haggle.change(LATER)
    with pytest.raises(OfferClosed, match="expired"):
        await checkout(haggle.store, haggle.buyer, haggle.shop.form(offer_id=made.id), "offer-late")
    await expire_offers(haggle.store)
    await sweep(haggle.store)
    assert await haggle.status(made) == "expired"
    assert await haggle.shop.stock(haggle.variant_id) == (Decimal(1), Decimal(0))
    haggle.shop.buyer = await make.person()
    assert (await haggle.shop.buy(haggle.variant_id)).payment_state == "success"


async def test_a_hold_keeps_the_item_from_carts(haggle: Haggle, make: Factory) -> None:
    made = await haggle.offer()
    haggle.shop.buyer = await make.person()
    await haggle.shop.put(haggle.variant_id, 1)
    await accept_offer(haggle.store, haggle.seller, made.id)
    with pytest.raises(SoldOut):
        await checkout(haggle.store, haggle.shop.buyer, haggle.shop.form(), "cart-late")


async def test_what_a_cart_took_cannot_be_promised(haggle: Haggle, make: Factory) -> None:
    made = await haggle.offer()
    haggle.shop.buyer = await make.person()
    await haggle.shop.buy(haggle.variant_id)
    with pytest.raises(NoLongerThere):
        await accept_offer(haggle.store, haggle.seller, made.id)
    assert await haggle.status(made) == "pending"


async def test_offers_on_what_is_taken_off_end(haggle: Haggle) -> None:
    made = await haggle.offer()
    await haggle.shop.run(text("UPDATE listings SET status = 'inactive'"))
    await expire_offers(haggle.store)
    assert await haggle.status(made) == "expired"


async def test_five_offers_a_day_on_one_thing(haggle: Haggle) -> None:
    for n in range(5):
        made = await haggle.offer(5000 + n)
        await withdraw_offer(haggle.store, haggle.buyer, made.id)
    with pytest.raises(TooManyOffers):
        await haggle.offer()


async def test_the_floor_declines_in_the_sellers_words(haggle: Haggle, make: Factory) -> None:
    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(9000))
    low, enough = await haggle.offer(8999), await haggle.offer(9000, by=await make.person())
    for made in (low, enough):
        await review_offer(haggle.store, OfferArgs(made.id))
        await review_offer(haggle.store, OfferArgs(made.id))
    assert (await haggle.status(low), await haggle.status(enough)) == ("rejected", "pending")
    by_floor = await haggle.said(low)
    again = await haggle.offer(9500)
    await reject_offer(haggle.store, haggle.seller, again.id)
    by_hand = [s for s in await haggle.said(low) if s not in by_floor]
    assert [by_floor[0].replace("89.99", "#"), by_hand[0].replace("95.00", "#")] == [
        "The offer of # USD was declined."
    ] * 2


async def test_an_offer_is_answered_the_same_below_and_above_the_floor(haggle: Haggle, make: Factory) -> None:
    """Statement by statement: nothing about the floor is asked while the buyer waits, and the job comes minutes later."""
    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(9000))
    counts, shapes = set(), set()
    for amount in (1, 8999, 9000, 10_000):
        buyer = await make.person()
        with count_queries() as count:
            made = await haggle.offer(amount, by=buyer)
        counts.add(count.queries)
        shown = msgspec.to_builtins(await get_offer(haggle.store, buyer, made.id))
        shapes.add((shown["status"], tuple(shown)))
    assert (len(counts), len(shapes)) == (1, 1)
    waits = await haggle.shop.rows(
        "SELECT extract(epoch FROM execute_after - created)::int FROM pgqueuer WHERE entrypoint = 'offers.review_offer'"
    )
    assert len(waits) == 4
    assert all(180 <= wait <= 900 for (wait,) in waits)


async def test_nobody_but_the_seller_reads_the_floor(haggle: Haggle, make: Factory) -> None:
    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(9000))
    assert await own_floor(haggle.store, haggle.seller, haggle.listing_id) == 9000
    for eve in (haggle.buyer, await make.person("admin")):
        assert await own_floor(haggle.store, eve, haggle.listing_id) is None
        async with haggle.store.db.transaction(actor=eve.actor) as tx:
            assert await tx.values(text("SELECT floor_minor FROM offer_floors")) == []
    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(None))
    assert await own_floor(haggle.store, haggle.seller, haggle.listing_id) is None


async def test_a_floor_is_for_ones_own_listing(haggle: Haggle, make: Factory) -> None:
    with pytest.raises(NoSuchOffer):
        await set_floor(haggle.store, await make.person("seller"), haggle.listing_id, Floor(1))
    with pytest.raises(NotAllowed):
        await set_floor(haggle.store, haggle.buyer, haggle.listing_id, Floor(1))


async def test_an_offer_survives_what_the_store_forgets(haggle: Haggle, store: Store) -> None:
    """An emptied cache changes nothing: offers are PostgreSQL's."""
    made = await haggle.offer()
    await store.cache.delete(f"rate_limit:{haggle.buyer.user_id}:messages")
    assert (await accept_offer(store, haggle.seller, made.id)).status == "accepted"


async def test_haggling_on_pages(browse: Visitor, haggle: Haggle) -> None:
    await browse.sign_up("bea")
    listing = f"/l/brass-lamp-{short_id(haggle.listing_id)}"
    page = await browse.get(listing)
    assert "Make an offer" in text_of(page.text)
    refused = await browse.post(f"/listings/{haggle.listing_id}/offers", {"amount": "200", "next": listing})
    assert "more than the asking price" in text_of(refused.text)
    talk = await browse.post(
        f"/listings/{haggle.listing_id}/offers", {"amount": "80", "message": "Please", "next": listing}
    )
    assert "Waiting for an answer" in text_of(talk.text)
    (made,) = (await list_offers(haggle.store, haggle.seller)).items
    await accept_offer(haggle.store, haggle.seller, made.id)
    talk = await browse.get(f"/messages/{made.conversation_id}")
    assert f'href="/checkout?offer={made.id}"' in talk.text
    form = await browse.get(f"/checkout?offer={made.id}")
    assert "$80.00" in text_of(form.text)
    key = re.search(r'name="idempotency_key" value="([^"]+)"', form.text)
    assert key is not None
    done = await browse.post("/checkout", {
        "idempotency_key": key[1], "offer_id": str(made.id), "shipping": "pickup", "gateway": "sandbox", "method": "approve",
    })  # fmt: skip
    assert "/orders/" in str(done.url)
    assert "$80.00" in text_of(done.text)
    assert await haggle.shop.rows("SELECT total_minor FROM orders") == [(8000,)]


async def test_the_floor_is_on_no_page_but_its_sellers(browse: Visitor, haggle: Haggle) -> None:
    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(7771))
    await browse.sign_up("bea")
    made = await browse.post(f"/listings/{haggle.listing_id}/offers", {"amount": "10", "next": "/"})
    listing = f"/l/brass-lamp-{short_id(haggle.listing_id)}"
    for path in (listing, str(made.url.path), "/api/v1/offers", f"/api/v1/listings/{haggle.listing_id}"):
        answer = await browse.get(path)
        assert answer.status_code == 200
        assert "77.71" not in answer.text
        assert "7771" not in answer.text


LAMP = {"kind": "product", "title": "Copper pan", "category": "tools", "attribute.power": "hand", "feed": "community", "variant.0.price": "100",
        "variant.0.on_hand": "1", "variant.0.unit": "piece"}  # fmt: skip


async def floors(store: Store) -> list[int]:
    """Return every floor there is."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return list(await tx.values(text("SELECT floor_minor FROM offer_floors")))


async def test_a_seller_keeps_the_floor_in_the_form_of_the_listing(browse: Visitor, store: Store) -> None:
    await browse.sign_up("sami", "seller")
    assert "The least you would take" in text_of((await browse.get("/me/listings/new")).text)
    for typed in ("100.01", "a lot", "-1"):
        refused = await browse.post("/me/listings/new", {**LAMP, "floor": typed, "action": "publish"})
        assert refused.status_code == 422
        assert f'value="{typed}"' in refused.text
    assert await store.db.read(text("SELECT id FROM listings")) == []
    assert await floors(store) == []
    await browse.post("/me/listings/new", {**LAMP, "floor": "77.71", "action": "publish"})
    assert await floors(store) == [7771]
    listing_id = (await store.db.read(text("SELECT id FROM listings")))[0][0]
    variant_id = (await store.db.read(text("SELECT id FROM variants")))[0][0]
    path, saved = f"/me/listings/{listing_id}", {**LAMP, "variant.0.id": str(variant_id)}
    assert 'value="77.71"' in (await browse.get(path)).text
    await browse.post(path, {**saved, "action": "save"})  # a form without the field leaves it
    assert await floors(store) == [7771]
    await browse.post(path, {**saved, "floor": "", "action": "save"})
    assert await floors(store) == []


async def test_staff_who_change_a_listing_neither_see_nor_set_its_floor(shop: Shop, haggle: Haggle) -> None:
    from tests.people import join_as
    from tests.test_after_sale import browser_of

    await set_floor(haggle.store, haggle.seller, haggle.listing_id, Floor(7771))
    admin = await join_as(haggle.store, "ada", "admin")
    assert admin.caller.can("manage_catalog")
    staff, path = await browser_of(shop, admin.caller), f"/me/listings/{haggle.listing_id}"
    page = await staff.get(path)
    assert page.status_code == 200
    assert "77.71" not in page.text
    assert "The least you would take" not in text_of(page.text)
    await staff.post(path, {**LAMP, "variant.0.id": str(haggle.variant_id), "floor": "1", "action": "save"})
    assert await floors(haggle.store) == [7771]
