"""Reports, decisions and what they do, undoing them, appeals, suspensions that end, blocks."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.people import join_as
from tests.shop import Shop
from tests.visitor import Visitor
from tradepost.accounts.service import follow
from tradepost.accounts.types import Caller, NotAllowed, NotByToken, SignInFirst
from tradepost.catalog.service import publish_listing
from tradepost.catalog.types import ListingHidden
from tradepost.core.database import SYSTEM
from tradepost.core.errors import FieldErrors
from tradepost.core.limits import TooOften
from tradepost.flows import moderate
from tradepost.flows.conversations import About, begin, read_thread, say
from tradepost.flows.sign_in import load_caller
from tradepost.flows.store import Store
from tradepost.messaging.types import Draft, NotTakingMessages
from tradepost.moderation.types import (
    AppealAnswer,
    AppealedAlready,
    AppealForm,
    BlockedPerson,
    CannotBlock,
    DecidedMeanwhile,
    DecisionForm,
    NoSuchDecision,
    NoSuchSubject,
    NotForThat,
    NotYourself,
    OwnDecision,
    ReportForm,
)

SPAM = ReportForm(reason="spam", details="The same ten times.")
HIDE = DecisionForm(action="hide", reason="This may not be sold here.")


async def value(store: Store, sql: str, **params: Any) -> Any:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return await tx.value(text(sql), **params)


async def status_of(store: Store, listing_id: UUID) -> str:
    return str(await value(store, "SELECT status FROM listings WHERE id = :id", id=listing_id))


async def test_a_report_waits_in_the_queue_once_a_person(store: Store, make: Factory) -> None:
    seller, one, two, staff = (
        await make.person("seller"),
        await make.person(),
        await make.person(),
        await make.person("staff"),
    )
    listing = await make.listing(seller)
    assert await moderate.report_subject(store, one, "listing", listing, SPAM)
    assert not await moderate.report_subject(store, one, "listing", listing, SPAM)
    assert await moderate.report_subject(store, two, "listing", listing, ReportForm(reason="fraud"))
    queue = await moderate.moderation_queue(store, staff)
    [(case, subject)] = queue.cases
    assert (case.reports, sorted(case.reasons), case.subject_id) == (2, ["fraud", "spam"], listing)
    assert subject is not None
    assert subject.name == "Red apples"
    view = await moderate.open_case(store, staff, "listing", listing)
    assert {r.reporter for r in view.reports} == {one.username, two.username}
    assert view.actions == ("none", "warn", "hide")


async def test_what_cannot_be_reported(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    listing = await make.listing(seller)
    with pytest.raises(NotYourself):
        await moderate.report_subject(store, seller, "listing", listing, SPAM)
    with pytest.raises(NoSuchSubject):
        await moderate.report_subject(store, buyer, "listing", UUID(int=7), SPAM)
    with pytest.raises(SignInFirst):
        await moderate.report_subject(store, Caller(), "listing", listing, SPAM)
    program = Caller(buyer.user_id, permissions=buyer.permissions, scopes=frozenset({"buy"}))
    with pytest.raises(NotByToken):
        await moderate.report_subject(store, program, "listing", listing, SPAM)
    assert await value(store, "SELECT count(*) FROM reports") == 0


async def test_reports_are_limited(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    listing = await make.listing(seller)
    for _ in range(moderate.MOST_REPORTS):
        await moderate.report_subject(store, buyer, "listing", listing, SPAM)
    with pytest.raises(TooOften):
        await moderate.report_subject(store, buyer, "listing", listing, SPAM)


async def test_a_hidden_listing_is_gone_stays_gone_and_comes_back_with_the_undoing(store: Store, make: Factory) -> None:
    seller, buyer, staff = await make.person("seller"), await make.person(), await make.person("staff")
    listing = await make.listing(seller)
    await moderate.report_subject(store, buyer, "listing", listing, SPAM)
    decision = await moderate.decide_case(store, staff, "listing", listing, HIDE)
    assert await status_of(store, listing) == "inactive"
    assert (await moderate.moderation_queue(store, staff)).cases == []
    with pytest.raises(ListingHidden):
        async with store.db.transaction(actor=seller.actor) as tx:
            await publish_listing(tx, seller, listing)
    await moderate.undo_decision(store, staff, decision, "It was allowed after all.")
    assert await status_of(store, listing) == "active"
    with pytest.raises(DecidedMeanwhile):
        await moderate.undo_decision(store, staff, decision, "Once more.")


async def test_a_draft_that_was_hidden_comes_back_as_a_draft(store: Store, make: Factory) -> None:
    seller, staff = await make.person("seller"), await make.person("staff")
    listing = await make.listing(seller, status="draft")
    decision = await moderate.decide_case(store, staff, "listing", listing, HIDE)
    await moderate.undo_decision(store, staff, decision, "A mistake.")
    assert await status_of(store, listing) == "draft"


async def test_a_hidden_review_counts_no_longer_and_its_author_cannot_show_it(shop: Shop) -> None:
    store, make = shop.store, shop.make
    variant = await shop.goods()
    listing, staff = (
        (await shop.row("SELECT listing_id FROM variants WHERE id = :id", id=variant))[0],
        await make.person("staff"),
    )
    review = await value(
        store, "INSERT INTO reviews (listing_id, user_id, rating, comment) VALUES (:l, :u, 1, 'Idiots') RETURNING id", l=listing, u=shop.buyer.user_id,
    )  # fmt: skip
    assert await value(store, "SELECT rating_count FROM listings WHERE id = :id", id=listing) == 1
    decision = await moderate.decide_case(
        store, staff, "review", review, DecisionForm(action="hide", reason="An insult.")
    )
    assert await value(store, "SELECT rating_count FROM listings WHERE id = :id", id=listing) == 0
    await moderate.undo_decision(store, staff, decision, "It is an opinion.")
    assert await value(store, "SELECT rating_count FROM listings WHERE id = :id", id=listing) == 1


async def test_whoever_is_suspended_may_do_nothing_and_sells_nothing_until_it_ends(store: Store, make: Factory) -> None:
    started = await join_as(store, "mallory", "seller")
    mallory, staff = started.caller, await make.person("staff")
    on_offer, drafted = await make.listing(mallory), await make.listing(mallory, status="draft")
    assert mallory.user_id is not None
    form = DecisionForm(action="suspend", reason="Sells what she does not have.", days=7)
    await moderate.decide_case(store, staff, "person", mallory.user_id, form)
    again = await load_caller(store, started.token, mallory.address)
    assert (again.is_signed_in, again.permissions) == (True, frozenset())
    assert await status_of(store, on_offer) == "inactive"
    assert await moderate.end_suspensions(store) == 0
    await make_overdue(store)
    assert await moderate.end_suspensions(store) == 1
    assert (await load_caller(store, started.token, mallory.address)).can("sell")
    assert (await status_of(store, on_offer), await status_of(store, drafted)) == ("active", "draft")
    assert await moderate.end_suspensions(store) == 0


async def make_overdue(store: Store) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE decisions SET until = now() - interval '1 minute' WHERE action = 'suspend'"))


async def test_a_ban_takes_who_manages_people_and_undoing_opens_the_account(store: Store, make: Factory) -> None:
    started = await join_as(store, "mallory", "seller")
    mallory, staff, admin = started.caller, await make.person("staff"), await make.person("admin")
    assert mallory.user_id is not None
    ban = DecisionForm(action="ban", reason="Fraud, again.")
    with pytest.raises(NotAllowed):
        await moderate.decide_case(store, staff, "person", mallory.user_id, ban)
    assert await value(store, "SELECT count(*) FROM decisions") == 0
    decision = await moderate.decide_case(store, admin, "person", mallory.user_id, ban)
    assert not (await load_caller(store, started.token, mallory.address)).is_signed_in
    await moderate.undo_decision(store, admin, decision, "It was somebody else.")
    assert await value(store, "SELECT is_active FROM users WHERE id = :id", id=mallory.user_id)


async def test_staff_are_not_moved_against_by_moderators(store: Store, make: Factory) -> None:
    staff, colleague = await make.person("staff"), await make.person("staff")
    assert colleague.user_id is not None
    with pytest.raises(NotAllowed):
        await moderate.decide_case(
            store, staff, "person", colleague.user_id, DecisionForm(action="suspend", reason="I do not like him.")
        )


@pytest.mark.parametrize(("kind", "action"), [("listing", "ban"), ("person", "hide"), ("review", "suspend")])
async def test_a_decision_fits_its_subject(store: Store, make: Factory, kind: Any, action: Any) -> None:
    staff = await make.person("staff")
    with pytest.raises(NotForThat):
        await moderate.decide_case(store, staff, kind, UUID(int=1), DecisionForm(action=action, reason="Because."))


async def test_only_moderators_decide_and_see_the_queue(store: Store, make: Factory) -> None:
    seller, buyer = await make.person("seller"), await make.person()
    listing = await make.listing(seller)
    with pytest.raises(NotAllowed):
        await moderate.moderation_queue(store, buyer)
    with pytest.raises(NotAllowed):
        await moderate.decide_case(store, buyer, "listing", listing, HIDE)
    assert await status_of(store, listing) == "active"


async def test_an_appeal_is_decided_by_somebody_else_and_granting_it_undoes(store: Store, make: Factory) -> None:
    seller, one, two = await make.person("seller"), await make.person("staff"), await make.person("staff")
    listing = await make.listing(seller)
    decision = await moderate.decide_case(store, one, "listing", listing, HIDE)
    stranger = await make.person()
    with pytest.raises(NoSuchDecision):
        await moderate.appeal_decision(store, stranger, decision, AppealForm(text="Let it be."))
    await moderate.appeal_decision(store, seller, decision, AppealForm(text="I grow them myself."))
    with pytest.raises(AppealedAlready):
        await moderate.appeal_decision(store, seller, decision, AppealForm(text="I grow them myself!"))
    grant = AppealAnswer(grant=True, answer="We looked again.")
    with pytest.raises(OwnDecision):
        await moderate.answer_appeal(store, one, decision, grant)
    assert [d.id for d in (await moderate.moderation_queue(store, two)).appeals] == [decision]
    await moderate.answer_appeal(store, two, decision, grant)
    assert await status_of(store, listing) == "active"
    [told], _, _ = await moderate.standing(store, seller)
    assert (told.appeal_state, told.appeal_answer, told.ended_at is not None) == ("granted", "We looked again.", True)


async def test_a_refused_appeal_leaves_things_as_they_are(store: Store, make: Factory) -> None:
    seller, staff = await make.person("seller"), await make.person("staff")
    listing = await make.listing(seller)
    decision = await moderate.decide_case(store, staff, "listing", listing, HIDE)
    await moderate.appeal_decision(store, seller, decision, AppealForm(text="But why?"))
    await moderate.answer_appeal(store, staff, decision, AppealAnswer(grant=False, answer="The law says so."))
    assert await status_of(store, listing) == "inactive"


async def test_a_decision_needs_a_reason(store: Store, make: Factory) -> None:
    seller, staff = await make.person("seller"), await make.person("staff")
    listing = await make.listing(seller)
    with pytest.raises(FieldErrors):
        await moderate.decide_case(store, staff, "listing", listing, DecisionForm(action="hide", reason="  "))
    assert await status_of(store, listing) == "active"


async def test_people_who_block_each_other_do_not_follow_each_other(store: Store, make: Factory) -> None:
    ann, ben = await make.person(), await make.person()
    assert ann.user_id is not None
    assert ben.user_id is not None
    async with store.db.transaction(actor=ben.actor) as tx:
        await follow(tx, ben, ann.user_id)
    assert await moderate.block_person(store, ann, ben.user_id)
    assert not await moderate.block_person(store, ann, ben.user_id)
    assert await value(store, "SELECT count(*) FROM follows") == 0
    with pytest.raises(BlockedPerson):
        async with store.db.transaction(actor=ben.actor) as tx:
            await follow(tx, ben, ann.user_id)
    assert [b.username for b in (await moderate.standing(store, ann))[2]] == [ben.username]
    assert (await moderate.standing(store, ben))[2] == []
    assert await moderate.unblock_person(store, ann, ben.user_id)
    async with store.db.transaction(actor=ben.actor) as tx:
        await follow(tx, ben, ann.user_id)
    with pytest.raises(CannotBlock):
        await moderate.block_person(store, ann, ann.user_id)


async def test_two_moderators_at_once_undo_a_decision_once(store: Store, make: Factory, race: Any) -> None:
    seller, one, two = await make.person("seller"), await make.person("staff"), await make.person("staff")
    listing = await make.listing(seller)
    decision = await moderate.decide_case(store, one, "listing", listing, HIDE)
    results = await race(*(moderate.undo_decision(store, who, decision, "Wrong.") for who in (one, two)))
    assert sorted(type(r).__name__ for r in results) == ["DecidedMeanwhile", "NoneType"]
    assert await status_of(store, listing) == "active"


async def test_a_message_is_reported_by_who_got_it_and_moderators_read_no_other(store: Store, make: Factory) -> None:
    ann, ben, eve = await make.person("buyer", "ann"), await make.person("buyer", "ben"), await make.person()
    staff = await make.person("staff")
    first = await begin(store, ann, About(people=("ben",)), Draft(body="You are a toad"))
    other = await say(store, ann, first.conversation_id, Draft(body="A private word"))
    with pytest.raises(NoSuchSubject):
        await moderate.report_subject(store, eve, "message", first.id, SPAM)
    with pytest.raises(NotYourself):
        await moderate.report_subject(store, ann, "message", first.id, SPAM)
    with pytest.raises(NoSuchSubject):
        await moderate.open_case(store, staff, "message", first.id)
    assert await moderate.report_subject(store, ben, "message", first.id, SPAM) is True
    case = await moderate.open_case(store, staff, "message", first.id)
    assert (case.subject.words, case.subject.username, case.actions) == (
        "You are a toad",
        "ann",
        ("none", "warn", "hide"),
    )
    with pytest.raises(NoSuchSubject):
        await moderate.open_case(store, staff, "message", other.id)
    with pytest.raises(NotForThat):
        await moderate.decide_case(store, staff, "message", first.id, DecisionForm(action="suspend", reason="No."))
    decision = await moderate.decide_case(store, staff, "message", first.id, HIDE)
    seen = [m.body for m in (await read_thread(store, ben, first.conversation_id)).messages]
    assert seen == ["", "A private word"]
    await moderate.undo_decision(store, staff, decision, "It was a joke between friends.")
    seen = [m.body for m in (await read_thread(store, ben, first.conversation_id)).messages]
    assert seen == ["You are a toad", "A private word"]


async def test_report_and_block_are_at_hand_in_a_conversation(store: Store, make: Factory, browse: Visitor) -> None:
    ann = await make.person("buyer", "ann")
    await browse.sign_up("ben")
    first = await begin(store, ann, About(people=("ben",)), Draft(body="You are a toad"))
    page = (await browse.get(f"/messages/{first.conversation_id}")).text
    for link in (f'/report/message/{first.id}"', f'/report/person/{ann.user_id}"', 'action="/u/ann/block"'):
        assert link in page
    assert "About a message of" in (await browse.get(f"/report/message/{first.id}")).text
    sent = await browse.post(f"/report/message/{first.id}", {"reason": "abuse", "details": ""})
    assert sent.url.path == "/me/standing"
    await browse.post("/u/ann/block", {})
    with pytest.raises(NotTakingMessages):
        await say(store, ann, first.conversation_id, Draft(body="And a frog"))
