"""Reviews: by those who bought, one a person and listing, answered by the seller, counted by the database."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import bindparam, insert, text, update

from tests.conftest import Servers
from tests.factories import Factory
from tests.people import join, visitor
from tests.shop import TELL
from tradepost.accounts.types import Caller, NotAllowed, SignInFirst
from tradepost.catalog.tables import listings
from tradepost.catalog.types import NoSuchListing
from tradepost.core.clock import now
from tradepost.core.database import ANYBODY, SYSTEM, Database, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import readable_code
from tradepost.core.pages import NoSuchPage
from tradepost.flows.review_listing import review_listing, review_standing
from tradepost.flows.store import Store
from tradepost.orders.tables import fulfilments, order_lines, orders
from tradepost.reviews.queries import (
    access_own_review,
    list_reviews,
    list_reviews_by,
    seller_rating,
    summarise_reviews,
)
from tradepost.reviews.service import answer_review, remove_review
from tradepost.reviews.tables import reviews
from tradepost.reviews.types import (
    NoReviewsHere,
    NoSuchReview,
    NotBought,
    NotYourListing,
    OwnListing,
    Reply,
    ReviewDraft,
)

Race = Callable[..., Awaitable[list[Any]]]
GOOD = ReviewDraft(rating=5, comment="Crisp and sweet.")


async def buy(
    store: Store,
    make: Factory,
    buyer: Caller,
    listing_id: UUID,
    *,
    paid: str = "paid",
    returned: int = 0,
    handed: bool = True,
) -> UUID:
    """Write an order of two of a listing, as it is after payment and delivery."""
    variant = await make.variant_of(listing_id)
    async with store.db.transaction(actor=SYSTEM) as tx:
        order_id: UUID = await tx.value(
            insert(orders)
            .values(
                number=readable_code(), buyer_id=buyer.user_id, process="purchase", state="pending", payment_state=paid,
                currency="USD", payment_method="sandbox",
            )
            .returning(orders.c.id)
        )  # fmt: skip
        seller = await tx.value(text("SELECT seller_id FROM listings WHERE id = :id"), id=listing_id)
        await tx.run(
            insert(fulfilments).values(
                order_id=order_id, seller_id=seller, buyer_id=buyer.user_id, process="purchase",
                state="delivered" if handed else "pending", handed_over_at=now() if handed else None,
            )
        )  # fmt: skip
        await tx.run(
            insert(order_lines).values(
                order_id=order_id, line_no=1, buyer_id=buyer.user_id, seller_id=seller, listing_id=listing_id,
                variant_id=variant, title="Apples", unit="piece", quantity=Decimal(2), unit_price_minor=250, gross_minor=500,
                returned_quantity=Decimal(returned),
            )
        )  # fmt: skip
    return order_id


async def end_without_handover(servers: Servers, store: Store, order_id: UUID) -> None:
    """Have the process know no hand-over, and this order delivered."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        name = await tx.value(text("SELECT current_database()"))
        for state in ("paid", "shipped", "delivered"):
            move = text(f"{TELL} UPDATE fulfilments SET state = :state WHERE order_id = :id")
            await tx.run(move, id=order_id, state=state)
    owner = await Database.open(servers.dsn(str(name), "postgres"), size=1)
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE order_transitions SET effects = array_remove(effects, 'complete_fulfilments')"))
    await owner.close()


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    """Return what a statement over everybody's rows finds."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def rating(store: Store, listing_id: UUID) -> tuple[int, int]:
    """Return how many ratings the database has counted on the listing, and their sum."""
    (row,) = await rows(store, "SELECT rating_count, rating_sum FROM listings WHERE id = :id", id=listing_id)
    return row["rating_count"], row["rating_sum"]


async def hide(store: Store, review_id: UUID) -> None:
    """Hide a review, as moderation would."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(update(reviews).where(reviews.c.id == review_id).values(status="hidden"))


async def test_buyer_reviews_what_they_paid_for(store: Store, make: Factory) -> None:
    buyer, seller = await make.person(username="tafara"), await make.person("seller")
    listing_id = await make.listing(seller)
    order_id = await buy(store, make, buyer, listing_id)
    before = await review_standing(store, buyer, listing_id)
    review_id = await review_listing(
        store, buyer, listing_id, ReviewDraft(rating=4, comment="  Crisp.\r\n\r\n\r\n\r\nAnd sweet. ")
    )
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert (review.id, review.author_id, review.author_username, review.author_name) == (
        review_id, buyer.user_id, "tafara", "Tafara",
    )  # fmt: skip
    assert (review.rating, review.comment, review.reply) == (4, "Crisp.\n\nAnd sweet.", None)
    assert await rating(store, listing_id) == (1, 4)
    after = await review_standing(store, buyer, listing_id)
    assert (before.may_review, before.own) == (True, None)
    assert after.may_review
    assert after.own is not None
    assert (after.own.id, after.own.rating) == (review_id, 4)
    (kept,) = await rows(store, "SELECT order_id FROM reviews")
    assert kept == {"order_id": order_id}
    (fact,) = await rows(store, "SELECT kind, user_id, subject_id, data FROM events")
    assert fact == {
        "kind": "ReviewWritten", "user_id": buyer.user_id, "subject_id": listing_id,
        "data": {"review_id": str(review_id), "listing_id": str(listing_id), "user_id": str(buyer.user_id), "rating": 4},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("paid", "returned", "handed", "may"),
    [
        ("paid", 0, True, True),
        ("paid", 0, False, False),  # nothing has been sent yet
        ("partly_refunded", 1, True, True),
        ("partly_refunded", 1, False, False),
        ("pending", 0, True, True),  # cash on delivery, delivered
        ("pending", 0, False, False),
        ("failed", 0, False, False),
        ("refunded", 0, True, False),
        ("paid", 2, True, False),  # all of it sent back
    ],
)
async def test_only_what_was_paid_or_handed_over_and_kept_counts(
    store: Store, make: Factory, paid: str, returned: int, handed: bool, may: bool
) -> None:
    buyer = await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id, paid=paid, returned=returned, handed=handed)
    assert (await review_standing(store, buyer, listing_id)).may_review == may
    if may:
        await review_listing(store, buyer, listing_id, GOOD)
    else:
        with pytest.raises(NotBought):
            await review_listing(store, buyer, listing_id, GOOD)
    assert await rating(store, listing_id) == ((1, 5) if may else (0, 0))


async def test_where_no_move_hands_goods_over_the_end_of_the_order_counts(
    servers: Servers, store: Store, make: Factory
) -> None:
    buyer, seller = await make.person(), await make.person("seller")
    done, open_still = await make.listing(seller), await make.listing(seller, "Pears")
    await buy(store, make, buyer, open_still, handed=False)
    order_id = await buy(store, make, buyer, done, handed=False)
    await end_without_handover(servers, store, order_id)
    assert (await review_standing(store, buyer, done)).may_review
    assert not (await review_standing(store, buyer, open_still)).may_review


async def test_who_did_not_buy_or_sells_it_cannot_review(store: Store, make: Factory) -> None:
    buyer, other, seller = await make.person(), await make.person(), await make.person("seller")
    staff = await make.person("staff")
    listing_id, another = await make.listing(seller), await make.listing(seller, "Pears")
    await buy(store, make, buyer, listing_id)
    removed = await make.listing(seller, "Plums", status="removed")
    attempts: list[tuple[Caller, UUID, type[Exception]]] = [
        (other, listing_id, NotBought),
        (buyer, another, NotBought),
        (seller, listing_id, OwnListing),
        (buyer, uuid4(), NoSuchListing),
        (buyer, removed, NoSuchListing),
        (staff, listing_id, NotAllowed),
        (visitor(), listing_id, SignInFirst),
    ]
    for caller, wanted, error in attempts:
        assert not (await review_standing(store, caller, wanted)).may_review
        with pytest.raises(error):
            await review_listing(store, caller, wanted, GOOD)
    assert await rows(store, "SELECT 1 FROM reviews UNION ALL SELECT 1 FROM events") == []
    assert await rating(store, listing_id) == (0, 0)


async def test_store_without_reviews_takes_none(store: Store, make: Factory) -> None:
    buyer = await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    features = msgspec.structs.replace(store.settings.features, reviews=False)
    without = replace(store, settings=msgspec.structs.replace(store.settings, features=features))
    assert not (await review_standing(without, buyer, listing_id)).may_review
    with pytest.raises(NoReviewsHere):
        await review_listing(without, buyer, listing_id, GOOD)
    assert await rows(store, "SELECT 1 FROM reviews") == []


@pytest.mark.parametrize(
    ("draft", "errors"),
    [
        (ReviewDraft(rating=0), {"rating": "At least 1."}),
        (ReviewDraft(rating=6), {"rating": "At most 5."}),
        (ReviewDraft(rating=-1, comment="x" * 4001), {"rating": "At least 1.", "comment": "At most 4000 characters."}),
        (ReviewDraft(rating=3, comment="a\x00b"), {"comment": "There is a character in it that cannot be shown."}),
    ],
)
async def test_bad_review_names_the_fields(
    store: Store, make: Factory, draft: ReviewDraft, errors: dict[str, str]
) -> None:
    buyer = await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    with pytest.raises(FieldErrors) as refused:
        await review_listing(store, buyer, listing_id, draft)
    assert refused.value.errors == errors
    assert await rating(store, listing_id) == (0, 0)
    for raw in (
        {"rating": 6},
        {"rating": "5"},
        {"rating": 5, "user_id": str(uuid4())},
        {"rating": 5, "comment": "x" * 4001},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(raw, ReviewDraft)


async def test_second_review_rewrites_the_first(store: Store, make: Factory) -> None:
    buyer = await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    first = await review_listing(store, buyer, listing_id, GOOD)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(update(order_lines).values(returned_quantity=Decimal(2)))
    second = await review_listing(store, buyer, listing_id, ReviewDraft(rating=2, comment="They went soft."))
    assert first == second
    assert await rating(store, listing_id) == (1, 2)
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert (review.rating, review.comment) == (2, "They went soft.")
    assert [r["kind"] for r in await rows(store, "SELECT kind FROM events ORDER BY id")] == [
        "ReviewWritten",
        "ReviewChanged",
    ]


async def test_two_reviews_at_once_are_one(store: Store, make: Factory, race: Race) -> None:
    buyer = await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    results = await race(*(review_listing(store, buyer, listing_id, ReviewDraft(rating=n)) for n in (1, 2, 3, 4, 5)))
    assert len(set(results)) == 1
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert await rating(store, listing_id) == (1, review.rating)
    kinds = [r["kind"] for r in await rows(store, "SELECT kind FROM events ORDER BY kind")]
    assert kinds == ["ReviewChanged"] * 4 + ["ReviewWritten"]


async def test_many_buyers_at_once_are_all_counted(store: Store, make: Factory, race: Race) -> None:
    listing_id = await make.listing(await make.person("seller"))
    buyers = [await make.person() for _ in range(8)]
    for buyer in buyers:
        await buy(store, make, buyer, listing_id)
    await race(*(review_listing(store, b, listing_id, ReviewDraft(rating=1 + n % 5)) for n, b in enumerate(buyers)))
    assert await rating(store, listing_id) == (8, 1 + 2 + 3 + 4 + 5 + 1 + 2 + 3)
    summary = await summarise_reviews(store.db, listing_id)
    assert (summary.count, summary.total, summary.average) == (8, 21, 2.625)
    assert list(summary.counts.items()) == [(5, 1), (4, 1), (3, 2), (2, 2), (1, 2)]


async def test_review_is_taken_back_by_its_author_only(store: Store, make: Factory) -> None:
    buyer, other, seller = await make.person(), await make.person(), await make.person("seller")
    listing_id = await make.listing(seller)
    await buy(store, make, buyer, listing_id)
    review_id = await review_listing(store, buyer, listing_id, GOOD)
    for stranger in (other, seller):
        async with store.db.transaction(actor=stranger.actor) as tx:
            with pytest.raises(NoSuchReview):
                await remove_review(tx, stranger, review_id)
            with pytest.raises(NoSuchReview):
                await access_own_review(tx, stranger, review_id)
    assert await rating(store, listing_id) == (1, 5)
    async with store.db.transaction(actor=buyer.actor) as tx:
        await remove_review(tx, buyer, review_id)
    assert await rating(store, listing_id) == (0, 0)
    assert (await list_reviews(store.db, listing_id)).items == ()
    assert (await summarise_reviews(store.db, listing_id)).average is None


async def test_seller_answers_and_takes_the_answer_back(store: Store, make: Factory) -> None:
    buyer, seller, rival = await make.person(), await make.person("seller"), await make.person("seller")
    listing_id = await make.listing(seller)
    await buy(store, make, buyer, listing_id)
    review_id = await review_listing(store, buyer, listing_id, GOOD)

    async def answer(caller: Caller, words: str, wanted: UUID = review_id) -> None:
        async with store.db.transaction(actor=caller.actor) as tx:
            await answer_review(tx, caller, wanted, Reply(text=words))

    refusals: list[tuple[Caller, UUID, type[Exception]]] = [
        (rival, review_id, NotYourListing), (buyer, review_id, NotAllowed), (visitor(), review_id, SignInFirst),
        (seller, uuid4(), NoSuchReview),
    ]  # fmt: skip
    for caller, wanted, error in refusals:
        with pytest.raises(error):
            await answer(caller, "Thank you!", wanted)
    with pytest.raises(FieldErrors):
        await answer(seller, "x" * 4001)
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert (review.reply, review.replied_at) == (None, None)
    await answer(seller, " Thank you! ")
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert (review.reply, review.rating, review.comment) == ("Thank you!", 5, "Crisp and sweet.")
    assert review.replied_at is not None
    await answer(seller, "  ")
    (review,) = (await list_reviews(store.db, listing_id)).items
    assert (review.reply, review.replied_at) == (None, None)
    assert [r["kind"] for r in await rows(store, "SELECT kind FROM events ORDER BY id")] == [
        "ReviewWritten",
        "ReviewAnswered",
    ]


async def test_reviews_come_in_pages_the_latest_first(store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    listing_id = await make.listing(seller)
    begin = now()
    values = {n: bindparam(n) for n in ("listing_id", "user_id", "rating", "comment", "created_at")}
    async with store.db.transaction(actor=SYSTEM) as tx:
        for n in range(7):
            buyer = await make.person()
            await tx.run(
                insert(reviews).values(values), listing_id=listing_id, user_id=buyer.user_id, rating=5, comment=f"No. {n}",
                created_at=begin - timedelta(days=n // 2),
            )  # fmt: skip
    seen: list[str] = []
    after: str | None = None
    for size in (3, 3, 1):
        with count_queries() as count:
            page = await list_reviews(store.db, listing_id, after=after, limit=3)
        assert (count.queries, len(page.items)) == (1, size)
        seen += [r.comment for r in page.items]
        after = page.after
    assert after is None
    assert [sorted(seen[i : i + 2]) for i in range(0, 7, 2)] == [
        ["No. 0", "No. 1"],
        ["No. 2", "No. 3"],
        ["No. 4", "No. 5"],
        ["No. 6"],
    ]
    with pytest.raises(NoSuchPage):
        await list_reviews(store.db, listing_id, after="made up")
    other = await make.listing(seller, "Pears")
    assert (await list_reviews(store.db, other)).items == ()
    summary = await seller_rating(store.db, seller.user_id or uuid4())
    assert (summary.count, summary.total, summary.average) == (7, 35, 5.0)


async def test_reviews_of_one_person_come_with_their_listings(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    for title in ("Apples", "Pears", "Plums"):
        listing_id = await make.listing(seller, title)
        await buy(store, make, buyer, listing_id)
        await review_listing(store, buyer, listing_id, GOOD)
    assert buyer.user_id is not None
    first = await list_reviews_by(store.db, buyer.user_id, limit=2)
    second = await list_reviews_by(store.db, buyer.user_id, after=first.after, limit=2)
    assert [(r.listing_title, r.listing_slug) for r in (*first.items, *second.items)] == [
        ("Plums", "plums"), ("Pears", "pears"), ("Apples", "apples"),
    ]  # fmt: skip


async def test_hidden_review_is_its_authors_and_the_staffs(store: Store, make: Factory) -> None:
    buyer, other, staff = await make.person(), await make.person(), await make.person("staff")
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    review_id = await review_listing(store, buyer, listing_id, GOOD)
    await hide(store, review_id)
    assert (await list_reviews(store.db, listing_id)).items == ()
    assert (await summarise_reviews(store.db, listing_id)).count == 0
    assert await rating(store, listing_id) == (0, 0)
    for actor, number in ((ANYBODY, 0), (other.actor, 0), (buyer.actor, 1), (staff.actor, 1), (SYSTEM, 1)):
        async with store.db.transaction(actor=actor) as tx:
            assert await tx.value(text("SELECT count(*) FROM reviews")) == number
    own = (await review_standing(store, buyer, listing_id)).own
    assert own is not None
    assert own.status == "hidden"
    await review_listing(store, buyer, listing_id, ReviewDraft(rating=1))
    assert await rating(store, listing_id) == (0, 0)


async def test_database_lets_nobody_write_in_anothers_name(store: Store, make: Factory) -> None:
    buyer, other = await make.person(), await make.person()
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, buyer, listing_id)
    await review_listing(store, buyer, listing_id, GOOD)
    forged = insert(reviews).values(listing_id=listing_id, user_id=buyer.user_id, rating=1)
    async with store.db.transaction(actor=other.actor) as tx:
        assert await tx.run(update(reviews).values(rating=1)) == 0
        assert await tx.run(text("DELETE FROM reviews")) == 0
    with pytest.raises(Exception, match="row-level security"):
        async with store.db.transaction(actor=other.actor) as tx:
            await tx.run(forged)
    assert await rating(store, listing_id) == (1, 5)


async def test_author_can_review_as_themselves_after_signing_up(store: Store, make: Factory) -> None:
    me = (await join(store)).caller
    listing_id = await make.listing(await make.person("seller"))
    await buy(store, make, me, listing_id)
    await review_listing(store, me, listing_id, GOOD)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(update(listings).where(listings.c.id == listing_id).values(status="sold"))
    assert [r.author_username for r in (await list_reviews(store.db, listing_id)).items] == ["tendai"]
