"""Conversations: who may read and write, numbers without gaps, what is unread, and live events that lose nothing."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from PIL import Image
from sqlalchemy import text

from tests.factories import Factory
from tests.people import visitor
from tests.shop import Shop
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller, NoSuchPerson, NotAllowed, SignInFirst
from tradepost.catalog.pictures import UploadTooLarge
from tradepost.catalog.types import NoSuchListing
from tradepost.core import live
from tradepost.core.database import SYSTEM, Database, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.limits import TooOften
from tradepost.core.live import Channel, Entry, Watch, bells_of
from tradepost.core.pictures import NotAPicture
from tradepost.flows.conversations import (
    About,
    begin,
    find_opening,
    mark_read,
    put_aside,
    read_inbox,
    read_thread,
    say,
    search_messages,
    take_back_message,
    watch_conversation,
    watch_inbox,
)
from tradepost.flows.store import Store
from tradepost.messaging import service
from tradepost.messaging.types import (
    Draft,
    EmptyMessage,
    NobodyToWriteTo,
    NoSuchConversation,
    NoSuchMessage,
    NotTakingMessages,
    TalkingToYourself,
    TooManyConversations,
)
from tradepost.orders.types import NoSuchOrder

Race = Callable[..., Awaitable[list[Any]]]
NEW = "UPDATE users SET created_at = now() - interval '1 year'"


class Talk:
    """A buyer and a seller who talk about a listing."""

    def __init__(self, store: Store, buyer: Caller, seller: Caller, listing_id: UUID, conversation_id: UUID) -> None:
        self.store, self.buyer, self.seller = store, buyer, seller
        self.listing_id, self.id = listing_id, conversation_id


async def settled(store: Store) -> None:
    """Let everybody be here for long enough not to be limited."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text(NEW))


@pytest_asyncio.fixture
async def talk(store: Store, make: Factory) -> Talk:
    """Have a buyer ask a seller about a lamp."""
    seller, buyer = await make.person("seller", "sami"), await make.person("buyer", "bea")
    listing_id = await make.listing(seller, "Brass lamp", category="tools")
    await settled(store)
    sent = await begin(store, buyer, About(listing_id=listing_id), Draft(body="Is it still there?"))
    return Talk(store, buyer, seller, listing_id, sent.conversation_id)


async def rows(store: Store, sql: str, **params: Any) -> list[tuple[Any, ...]]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [tuple(row) for row in await tx.all(text(sql), **params)]


async def test_a_first_message_opens_a_conversation_with_the_seller(talk: Talk) -> None:
    page, briefs = await read_inbox(talk.store, talk.seller)
    (card,) = page.items
    assert (card.title, card.subject, card.unread, card.last_body) == ("Bea", "Brass lamp", 1, "Is it still there?")
    assert briefs[talk.listing_id].title == "Brass lamp"
    thread = await read_thread(talk.store, talk.seller, talk.id)
    assert [(m.seq, m.sender_id, m.body) for m in thread.messages] == [(1, talk.buyer.user_id, "Is it still there?")]
    assert (await read_inbox(talk.store, talk.seller))[0].items[0].unread == 0


async def test_asking_again_goes_on_in_the_same_conversation(talk: Talk) -> None:
    again = await begin(talk.store, talk.buyer, About(listing_id=talk.listing_id), Draft(body="Hello?"))
    assert (again.conversation_id, again.seq) == (talk.id, 2)
    assert (await find_opening(talk.store, talk.buyer, About(listing_id=talk.listing_id))).known == talk.id


async def test_two_who_begin_at_once_meet_in_one_conversation(store: Store, make: Factory, race: Race) -> None:
    ann, ben = await make.person("buyer", "ann"), await make.person("buyer", "ben")
    sent = await race(
        *(begin(store, ann, About(people=("ben",)), Draft(body=f"a{n}")) for n in range(3)),
        *(begin(store, ben, About(people=("ann",)), Draft(body=f"b{n}")) for n in range(3)),
    )
    assert len({m.conversation_id for m in sent}) == 1
    assert sorted(m.seq for m in sent) == [1, 2, 3, 4, 5, 6]
    assert await rows(store, "SELECT count(*) FROM conversations") == [(1,)]


async def test_a_stranger_finds_nothing(talk: Talk, make: Factory) -> None:
    eve = await make.person("buyer", "eve")
    for attempt in (
        read_thread(talk.store, eve, talk.id),
        say(talk.store, eve, talk.id, Draft(body="Boo")),
        mark_read(talk.store, eve, talk.id, 1),
        put_aside(talk.store, eve, talk.id, archived=True),
        take_back_message(talk.store, eve, talk.id, 1),
        watch_conversation(talk.store, eve, talk.id, None),
    ):
        with pytest.raises(NoSuchConversation):
            await attempt
    assert await rows(talk.store, "SELECT count(*) FROM messages") == [(1,)]
    assert (await read_inbox(talk.store, eve))[0].items == ()
    assert (await search_messages(talk.store, eve, "still")).items == ()


async def test_staff_read_no_conversations_that_are_not_theirs(talk: Talk, make: Factory) -> None:
    with pytest.raises(NoSuchConversation):
        await read_thread(talk.store, await make.person("admin"), talk.id)


async def test_row_level_security_hides_what_a_query_forgets_to(talk: Talk, make: Factory) -> None:
    eve = await make.person("buyer", "eve")
    for table in ("conversations", "participants", "messages"):
        async with talk.store.db.transaction(actor=eve.actor) as tx:
            assert await tx.value(text(f"SELECT count(*) FROM {table}")) == 0
        async with talk.store.db.transaction(actor=talk.buyer.actor) as tx:
            assert await tx.value(text(f"SELECT count(*) FROM {table}")) > 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET body = 'Yours for free' WHERE sender_id = '{seller}'",
        "UPDATE participants SET archived_at = now() WHERE user_id = '{seller}'",
    ],
)
async def test_nobody_changes_what_is_anothers(talk: Talk, change: str) -> None:
    await say(talk.store, talk.seller, talk.id, Draft(body="Yes"))
    async with talk.store.db.transaction(actor=talk.buyer.actor) as tx:
        assert await tx.run(text(change.format(seller=talk.seller.user_id))) == 0


@pytest.mark.parametrize(
    "insert",
    [
        "INSERT INTO messages (conversation_id, sender_id, body) VALUES ('{id}', '{seller}', 'Free')",
        "INSERT INTO messages (conversation_id, kind, body) VALUES ('{id}', 'system', 'Sold to Bea')",
        "INSERT INTO messages (conversation_id, seq, sender_id, body) VALUES ('{id}', 9, '{buyer}', 'Free')",
        "INSERT INTO participants (conversation_id, user_id) VALUES ('{id}', '{seller}')",
        "UPDATE conversations SET people = people",
        "UPDATE participants SET unread = DEFAULT",
    ],
)
async def test_nobody_writes_in_anothers_name_or_sets_numbers(talk: Talk, insert: str) -> None:
    sql = insert.format(id=talk.id, buyer=talk.buyer.user_id, seller=talk.seller.user_id)
    with pytest.raises(Exception, match=r"row-level security|permission denied"):
        async with talk.store.db.transaction(actor=talk.buyer.actor) as tx:
            await tx.run(text(sql))


async def test_numbers_follow_the_commits_without_gaps(talk: Talk, race: Race) -> None:
    sent = await race(
        *(say(talk.store, p, talk.id, Draft(body=str(n))) for n in range(10) for p in (talk.buyer, talk.seller))
    )
    assert sorted(m.seq for m in sent) == list(range(2, 22))
    found = await rows(talk.store, "SELECT seq, at FROM messages ORDER BY at")
    assert [seq for seq, _ in found] == list(range(1, 22))
    assert await rows(talk.store, "SELECT last_seq FROM conversations") == [(21,)]


async def test_the_same_nonce_sends_nothing_twice(talk: Talk, race: Race) -> None:
    sent = await race(*(say(talk.store, talk.buyer, talk.id, Draft(body="Once", nonce="n-1")) for _ in range(5)))
    assert {m.id for m in sent} == {sent[0].id}
    assert [m.body for m in (await read_thread(talk.store, talk.buyer, talk.id)).messages] == [
        "Is it still there?",
        "Once",
    ]
    assert await rows(talk.store, "SELECT last_seq FROM conversations") == [(2,)]


async def test_what_many_say_at_once_is_written_together_and_refused_one_by_one(
    talk: Talk, make: Factory, race: Race
) -> None:
    """One transaction for all that wait, in which nobody's refusal is another's."""
    store, carl, dora = talk.store, await make.person("buyer", "carl"), await make.person("seller", "dora")
    await settled(store)
    second = (await begin(store, carl, About(people=("dora",)), Draft(body="Hello"))).conversation_id
    third = (await begin(store, carl, About(people=("sami",)), Draft(body="Hello"))).conversation_id
    new = await make.person("buyer", "nina")
    fourth = (await begin(store, new, About(people=("dora",)), Draft(body="I am new"))).conversation_id
    await say(store, talk.buyer, talk.id, Draft(body="first", nonce="x"))
    await rows(store, "INSERT INTO blocks (user_id, blocked_id) SELECT :a, :b RETURNING 1", a=talk.seller.user_id, b=carl.user_id)  # fmt: skip
    before = await rows(store, "SELECT max(xmin::text::bigint) FROM messages")
    sent = await race(
        say(store, talk.buyer, talk.id, Draft(body="a")), say(store, carl, second, Draft(body="b")),
        say(store, talk.buyer, talk.id, Draft(body="c")), say(store, dora, second, Draft(body="d")),
    )  # fmt: skip
    assert [(m.conversation_id, m.sender_id, m.body) for m in sent] == [
        (talk.id, talk.buyer.user_id, "a"), (second, carl.user_id, "b"), (talk.id, talk.buyer.user_id, "c"), (second, dora.user_id, "d"),
    ]  # fmt: skip
    assert (sent[0].seq, sent[2].seq) == (3, 4)
    assert sorted((sent[1].seq, sent[3].seq)) == [2, 3]
    written = await rows(store, "SELECT DISTINCT xmin::text::bigint FROM messages WHERE xmin::text::bigint > :before", before=before[0][0])  # fmt: skip
    assert len(written) <= 2  # who came first went alone, all others together
    told = await rows(
        store, "SELECT user_id, data ->> 'seq' FROM events WHERE kind = 'MessageSent' ORDER BY id DESC LIMIT 4"
    )
    assert {(m.sender_id, str(m.seq)) for m in sent} == set(told)

    mixed = await race(
        say(store, talk.buyer, talk.id, Draft(body="first", nonce="x")), say(store, carl, third, Draft(body="Psst")),
        say(store, dora, talk.id, Draft(body="I am a stranger")), say(store, talk.seller, talk.id, Draft(body="e")),
        say(store, new, fourth, Draft(body="Me again")), say(store, dora, fourth, Draft(body="Welcome")),
    )  # fmt: skip
    assert (mixed[0].seq, mixed[0].body) == (2, "first")
    assert [type(mixed[1]), type(mixed[2])] == [NotTakingMessages, NoSuchConversation]
    assert [m.body for m in mixed[3:]] == ["e", "Me again", "Welcome"]
    numbers = await rows(store, "SELECT conversation_id, array_agg(seq ORDER BY seq) FROM messages GROUP BY 1")
    assert dict(numbers) == {talk.id: [1, 2, 3, 4, 5], second: [1, 2, 3], third: [1], fourth: [1, 2, 3]}


async def test_a_conversation_that_is_held_holds_up_nobody_elsewhere(talk: Talk, make: Factory) -> None:
    store, carl = talk.store, await make.person("buyer", "carl")
    await settled(store)
    held = (await begin(store, carl, About(people=(talk.seller.username,)), Draft(body="Hello"))).conversation_id
    first = asyncio.create_task(say(store, talk.buyer, talk.id, Draft(body="goes alone")))
    async with store.db.transaction(actor=SYSTEM) as tx:
        await service.tell(tx, held, "Something of the store's own, not committed yet")
        stuck = asyncio.create_task(say(store, carl, held, Draft(body="waits")))
        others = [say(store, talk.seller, talk.id, Draft(body=str(n))) for n in range(3)]
        assert [m.body for m in await asyncio.gather(first, *others)] == ["goes alone", "0", "1", "2"]
        assert not stuck.done()
    assert (await stuck).body == "waits"


async def test_what_was_written_here_is_told_without_reading_it_again() -> None:
    """Unless its number does not follow on what is known here: then somebody else wrote in between."""
    written, reads = [Entry("message", n, n) for n in range(1, 6)], []

    async def read(after: int) -> list[Entry]:
        reads.append(after)
        return written[after:]

    channel = Channel(read, 0)
    channel.give(written[:1])
    channel.give(written[1:2])
    assert (channel.fresh(0), reads) == (written[:2], [])
    channel.give(written[3:4])
    await channel.news()
    assert (channel.fresh(0), reads) == (written, [2])
    channel.give(written[4:])  # was read meanwhile
    await channel.news()
    assert channel.fresh(0) == written


async def test_unread_counts_what_others_wrote_since(talk: Talk) -> None:
    for n in range(3):
        await say(talk.store, talk.seller, talk.id, Draft(body=str(n)))
    assert (await read_inbox(talk.store, talk.buyer))[0].items[0].unread == 3
    await mark_read(talk.store, talk.buyer, talk.id, 2)
    assert (await read_inbox(talk.store, talk.buyer))[0].items[0].unread == 2
    await mark_read(talk.store, talk.buyer, talk.id, 1)
    assert (await read_inbox(talk.store, talk.buyer))[0].items[0].unread == 2
    await mark_read(talk.store, talk.buyer, talk.id, 10**6)
    assert (await read_inbox(talk.store, talk.buyer))[0].items[0].unread == 0


async def test_reading_while_somebody_writes_loses_no_unread_message(talk: Talk, race: Race) -> None:
    for n in range(2, 22):
        await race(
            say(talk.store, talk.seller, talk.id, Draft(body=str(n))),
            mark_read(talk.store, talk.buyer, talk.id, n - 1),
        )
    ((last, read, unread),) = await rows(
        talk.store,
        "SELECT last_seq, last_read_seq, unread FROM participants WHERE user_id = :id",
        id=talk.buyer.user_id,
    )
    assert (last, read, unread) == (21, 20, 1)


async def test_the_sender_sees_what_was_read(talk: Talk) -> None:
    assert (await read_thread(talk.store, talk.buyer, talk.id)).conversation.seen_seq == 0
    await read_thread(talk.store, talk.seller, talk.id)
    known = (await read_thread(talk.store, talk.buyer, talk.id)).conversation
    assert known.seen_seq == 1
    assert known.others[0].last_read_at is not None


async def test_a_message_is_delivered_before_it_is_seen(talk: Talk) -> None:
    async def reached() -> tuple[int, int]:
        found = (await read_thread(talk.store, talk.buyer, talk.id, mark=False)).conversation
        return found.delivered_seq, found.seen_seq

    assert await reached() == (0, 0)
    await read_inbox(talk.store, talk.seller)
    assert await reached() == (1, 0)
    with count_queries() as queries:
        await read_inbox(talk.store, talk.seller)
    assert queries.queries == 2  # nothing new has come: nothing is written
    await say(talk.store, talk.buyer, talk.id, Draft(body="Hello?"))
    assert await reached() == (1, 0)
    await read_thread(talk.store, talk.seller, talk.id, after=0, mark=False)
    assert await reached() == (2, 0)
    await say(talk.store, talk.buyer, talk.id, Draft(body="Anybody?"))
    async with aclosing(await watch_inbox(talk.store, talk.seller)) as line:
        await anext(line)
    assert await reached() == (3, 0)
    await mark_read(talk.store, talk.seller, talk.id, 3)
    assert await reached() == (3, 3)


async def test_who_reads_at_once_has_it_delivered_too(talk: Talk) -> None:
    await read_thread(talk.store, talk.seller, talk.id)
    found = (await read_thread(talk.store, talk.buyer, talk.id)).conversation
    assert (found.delivered_seq, found.seen_seq) == (1, 1)


async def test_the_sender_is_told_of_the_delivery(talk: Talk) -> None:
    async def first_note(watch: Watch) -> dict[str, Any]:
        return await anext(data_of(e) async for entries in watch for e in entries if e.name == "note")

    async with aclosing(await watch_conversation(talk.store, talk.buyer, talk.id, 1)) as watch:
        assert await anext(watch) == []  # it watches now
        told = asyncio.create_task(first_note(watch))
        await read_inbox(talk.store, talk.seller)
        async with asyncio.timeout(20):
            assert await told == {"delivered": str(talk.seller.user_id), "seq": 1}


async def test_what_is_put_aside_comes_back_with_the_next_message(talk: Talk) -> None:
    await put_aside(talk.store, talk.seller, talk.id, archived=True)
    assert (await read_inbox(talk.store, talk.seller))[0].items == ()
    assert len((await read_inbox(talk.store, talk.seller, archived=True))[0].items) == 1
    assert len((await read_inbox(talk.store, talk.buyer))[0].items) == 1
    await say(talk.store, talk.buyer, talk.id, Draft(body="Hello?"))
    assert len((await read_inbox(talk.store, talk.seller))[0].items) == 1


async def test_a_message_can_be_taken_back_by_who_wrote_it(talk: Talk) -> None:
    with pytest.raises(NoSuchMessage):
        await take_back_message(talk.store, talk.seller, talk.id, 1)
    await take_back_message(talk.store, talk.buyer, talk.id, 1)
    (message,) = (await read_thread(talk.store, talk.seller, talk.id)).messages
    assert message.body == ""
    assert message.deleted_at is not None
    with pytest.raises(NoSuchMessage):
        await take_back_message(talk.store, talk.buyer, talk.id, 1)


@pytest.mark.parametrize(
    ("body", "error"), [("", EmptyMessage), (" \n ", EmptyMessage), ("x" * 4001, FieldErrors), ("\0", FieldErrors)]
)
async def test_a_message_says_something_that_can_be_shown(talk: Talk, body: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await say(talk.store, talk.buyer, talk.id, Draft(body=body))
    assert await rows(talk.store, "SELECT count(*) FROM messages") == [(1,)]


def png(width: int = 40) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, 30), "teal").save(out, "PNG")
    return out.getvalue()


async def test_a_picture_goes_through_the_safe_path(talk: Talk) -> None:
    sent = await say(talk.store, talk.buyer, talk.id, Draft(), png())
    assert (sent.kind, sent.body) == ("image", "")
    assert sent.file_id is not None
    with pytest.raises(NotAPicture):
        await say(talk.store, talk.buyer, talk.id, Draft(body="Look"), b"MZ\x90 not a picture" * 100)
    with pytest.raises(UploadTooLarge):
        await say(talk.store, talk.buyer, talk.id, Draft(body="Look"), png() + b"\0" * (13 * 1024 * 1024))
    assert await rows(talk.store, "SELECT count(*) FROM messages") == [(2,)]


async def test_who_cannot_be_written_to(store: Store, make: Factory, talk: Talk) -> None:
    for about, error in (
        (About(listing_id=uuid4()), NoSuchListing),
        (About(people=("nobody-here",)), NoSuchPerson),
        (About(people=("sami", "nobody-here")), NoSuchPerson),
        (About(people=("bea",)), TalkingToYourself),
        (About(), NoSuchPerson),
        (About(order="MK-NONE"), NoSuchOrder),
    ):
        with pytest.raises(error):
            await begin(store, talk.buyer, about, Draft(body="Hi"))
    with pytest.raises(TalkingToYourself):
        await begin(store, talk.seller, About(listing_id=talk.listing_id), Draft(body="Me?"))
    with pytest.raises(SignInFirst):
        await begin(store, visitor(), About(listing_id=talk.listing_id), Draft(body="Hi"))
    program = msgspec.structs.replace(talk.buyer, scopes=frozenset({"buy"}))
    with pytest.raises(NotAllowed):
        await say(store, program, talk.id, Draft(body="Hi"))
    assert await rows(store, "SELECT count(*) FROM conversations") == [(1,)]


async def test_both_sides_of_an_order_can_write(shop: Shop, make: Factory) -> None:
    variant = await shop.goods()
    placed = await shop.buy(variant)
    seller = shop.sellers[variant]
    sent = await begin(shop.store, shop.buyer, About(order=placed.number), Draft(body="When?"))
    back = await begin(shop.store, seller, About(order=placed.number), Draft(body="Tomorrow."))
    assert (back.conversation_id, back.seq) == (sent.conversation_id, 2)
    thread = await read_thread(shop.store, seller, sent.conversation_id)
    assert (thread.order_number, thread.conversation.subject) == (placed.number, f"Order {placed.number}")
    with pytest.raises(NoSuchOrder):
        await begin(shop.store, await make.person(), About(order=placed.number), Draft(body="Mine?"))


async def test_a_guests_order_has_nobody_to_write_to(shop: Shop) -> None:
    variant = await shop.goods()
    guest = Caller(session=b"g" * 32, address=visitor().address)
    shop.buyer = guest
    placed = await shop.buy(variant, email="guest@example.com")
    with pytest.raises(NobodyToWriteTo):
        await begin(shop.store, shop.sellers[variant], About(order=placed.number), Draft(body="Hello"))


@pytest.mark.parametrize("blocker", ["buyer", "seller"])
async def test_nothing_is_written_between_two_of_whom_one_blocks_the_other(talk: Talk, blocker: str) -> None:
    one, other = (talk.buyer, talk.seller) if blocker == "buyer" else (talk.seller, talk.buyer)
    async with talk.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("INSERT INTO blocks (user_id, blocked_id) VALUES (:a, :b)"), a=one.user_id, b=other.user_id)
    for who in (talk.buyer, talk.seller):
        with pytest.raises(NotTakingMessages):
            await say(talk.store, who, talk.id, Draft(body="Hello?"))
    with pytest.raises(NotTakingMessages):
        await begin(talk.store, talk.buyer, About(people=("sami",)), Draft(body="Elsewhere, then?"))
    assert await rows(talk.store, "SELECT count(*), max(seq) FROM messages") == [(1, 1)]
    assert await rows(talk.store, "SELECT count(*) FROM conversations") == [(1,)]
    assert len((await read_thread(talk.store, talk.buyer, talk.id)).messages) == 1


async def test_new_accounts_begin_five_conversations_a_day(store: Store, make: Factory) -> None:
    ann = await make.person("buyer", "ann")
    others = [await make.person("buyer") for _ in range(6)]
    for other in others[:5]:
        await begin(store, ann, About(people=(other.username,)), Draft(body="Hi"))
    with pytest.raises(TooManyConversations):
        await begin(store, ann, About(people=(others[5].username,)), Draft(body="Hi"))
    await begin(store, ann, About(people=(others[0].username,)), Draft(body="Still me"))
    assert await rows(store, "SELECT count(*) FROM conversations") == [(5,)]
    await settled(store)
    await begin(store, ann, About(people=(others[5].username,)), Draft(body="Hi"))


async def test_new_accounts_write_sixty_messages_in_a_quarter_of_an_hour(store: Store, make: Factory) -> None:
    ann, ben = await make.person("buyer", "ann"), await make.person("buyer", "ben")
    first = await begin(store, ann, About(people=("ben",)), Draft(body="0"))
    for n in range(59):
        await say(store, ann, first.conversation_id, Draft(body=str(n)))
    with pytest.raises(TooOften):
        await say(store, ann, first.conversation_id, Draft(body="61"))
    assert (await say(store, ben, first.conversation_id, Draft(body="Enough"))).seq == 61


async def test_a_search_finds_words_in_ones_own_messages(talk: Talk) -> None:
    await say(talk.store, talk.seller, talk.id, Draft(body="Yes, 100% brass"))
    (found,) = (await search_messages(talk.store, talk.buyer, "100% BRASS")).items
    assert (found.body, found.sender_name, found.seq) == ("Yes, 100% brass", "Sami", 2)
    assert (await search_messages(talk.store, talk.buyer, "100_")).items == ()


async def test_long_conversations_and_lists_come_in_pages(talk: Talk, make: Factory) -> None:
    for n in range(2, 51):
        await say(talk.store, talk.seller, talk.id, Draft(body=str(n)))
    thread = await read_thread(talk.store, talk.buyer, talk.id)
    assert [m.seq for m in thread.messages] == list(range(11, 51))
    older = await read_thread(talk.store, talk.buyer, talk.id, before=thread.before)
    assert ([m.seq for m in older.messages], older.before) == (list(range(1, 11)), None)
    assert [m.seq for m in (await read_thread(talk.store, talk.buyer, talk.id, after=48)).messages] == [49, 50]
    for _ in range(30):
        other = await make.person()
        await begin(talk.store, other, About(people=("bea",)), Draft(body="Hi"))
    page, _ = await read_inbox(talk.store, talk.buyer)
    rest, _ = await read_inbox(talk.store, talk.buyer, after=page.after)
    assert (len(page.items), len(rest.items), rest.after) == (24, 7, None)
    assert len({c.id for c in (*page.items, *rest.items)}) == 31


async def test_a_list_costs_two_queries_and_a_thread_three(talk: Talk) -> None:
    with count_queries() as count:
        await read_inbox(talk.store, talk.buyer)
    assert count.queries == 2
    with count_queries() as count:
        await read_thread(talk.store, talk.buyer, talk.id)
    assert count.queries == 3


async def following(stream: Watch, count: int) -> list[dict[str, Any]]:
    """Return the next so many messages of a stream."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async for entries in stream:
            found += [data_of(e) for e in entries if e.name == "message"]
            if len(found) >= count:
                break
    return found


def data_of(entry: Entry) -> dict[str, Any]:
    """Return what an entry says; both its forms say the same."""
    said: dict[str, Any] = msgspec.json.decode(entry.event.partition(b"data: ")[2])
    assert msgspec.json.decode(entry.frame)["data"] == said
    return said


async def test_who_watches_gets_each_message_once_and_in_order(talk: Talk) -> None:
    streams = [await watch_conversation(talk.store, p, talk.id, 0) for p in (talk.buyer, talk.seller, talk.seller)]
    waiting = [asyncio.create_task(following(stream, 21)) for stream in streams]
    for n in range(10):
        await say(talk.store, talk.seller, talk.id, Draft(body=f"s{n}"))
        await say(talk.store, talk.buyer, talk.id, Draft(body=f"b{n}"))
    for found in await asyncio.gather(*waiting):
        assert [m["seq"] for m in found] == list(range(1, 22))
    for stream in streams:
        await stream.aclose()


async def test_who_comes_back_reads_on_from_the_last_number(talk: Talk) -> None:
    stream = await watch_conversation(talk.store, talk.buyer, talk.id, 0)
    assert [m["seq"] for m in await following(stream, 1)] == [1]
    await stream.aclose()
    for n in range(300):  # more than a channel keeps
        async with talk.store.db.transaction(actor=SYSTEM) as tx:
            await tx.run(
                text("INSERT INTO messages (conversation_id, sender_id, body) VALUES (:c, :s, :b)"),
                c=talk.id, s=talk.seller.user_id, b=str(n),
            )  # fmt: skip
    stream = await watch_conversation(talk.store, talk.buyer, talk.id, 1)
    assert [m["seq"] for m in await following(stream, 300)] == list(range(2, 302))
    await stream.aclose()


async def test_a_number_from_nowhere_is_taken_for_the_last(talk: Talk) -> None:
    stream = await watch_conversation(talk.store, talk.buyer, talk.id, 10**8)
    waiting = asyncio.create_task(following(stream, 1))
    await asyncio.sleep(0.05)
    await say(talk.store, talk.seller, talk.id, Draft(body="Now"))
    assert [m["seq"] for m in await waiting] == [2]
    await stream.aclose()


async def test_another_process_hears_of_it(talk: Talk, store_dsn: str) -> None:
    """Two pools on one database are two processes as far as bells go."""
    elsewhere = await Database.open(store_dsn, size=2)
    other = Store(**{**{f: getattr(talk.store, f) for f in talk.store.__dataclass_fields__}, "db": elsewhere})
    stream = await watch_conversation(other, talk.buyer, talk.id, 1)
    waiting = asyncio.create_task(following(stream, 1))
    await asyncio.sleep(0.5)
    await say(talk.store, talk.seller, talk.id, Draft(body="From here"))
    assert [m["body"] for m in await waiting] == ["From here"]
    await stream.aclose()
    await elsewhere.close()


async def test_the_inbox_says_what_is_unread(talk: Talk) -> None:
    stream = await watch_inbox(talk.store, talk.buyer)
    assert [data_of(e) for e in await anext(stream)] == [{"unread": 0}]
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    await say(talk.store, talk.seller, talk.id, Draft(body="Hello"))
    async with asyncio.timeout(5):
        while not (entries := await waiting):
            waiting = asyncio.ensure_future(anext(stream))
    assert [data_of(e) for e in entries] == [{"conversation": str(talk.id)}, {"unread": 1}]
    await stream.aclose()


async def test_a_slow_watcher_reads_what_was_dropped_again(store: Store) -> None:
    """A channel keeps 256 entries; whoever is further behind gets the rest from the database."""
    written: list[Entry] = []
    reads: list[int] = []

    async def read(after: int) -> list[Entry]:
        reads.append(after)
        return written[after : after + 200]

    async def start() -> int:
        return 0

    bells = bells_of(store.db)
    async with aclosing(bells.watch("something", read, 0, start)) as stream, asyncio.timeout(10):
        assert await anext(stream) == []  # who begins to watch looks
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        written += [Entry("message", n, n) for n in range(1, 2001)]
        bells.ring("something")
        seen = await first
        await asyncio.sleep(0.05)
        before = len(reads)
        while len(seen) < len(written):
            seen += await anext(stream)
    assert seen == written
    assert len(reads) > before  # what the channel keeps no more


async def test_what_was_not_rung_for_is_found_within_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died between commit and bell leaves entries that nobody rang for."""
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.3)
    written: list[Entry] = []

    async def read(after: int) -> list[Entry]:
        return written[after:]

    async def start() -> int:
        return 0

    async with aclosing(bells_of(store.db).watch("something", read, 0, start)) as stream, asyncio.timeout(5):
        assert await anext(stream) == []
        written.append(Entry("message", 1, 1))
        while not (seen := await anext(stream)):
            pass
    assert seen == written


async def test_pages_work_by_reload(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller", "sami")
    listing_id = await make.listing(seller, "Brass lamp", category="tools")
    (path,) = [r[0] for r in await rows(store, "SELECT slug FROM listings")]
    await browse.sign_up("bea")
    compose = await browse.get(f"/messages/new?listing={listing_id}")
    assert "Brass lamp" in text_of(compose.text)
    answer = await browse.post("/messages", {"listing": str(listing_id), "body": "Is it <b>still</b> there?"})
    assert answer.status_code == 200
    assert str(answer.url.path).startswith("/messages/")
    assert "Is it &lt;b&gt;still&lt;/b&gt; there?" in answer.text
    again = await browse.get(f"/messages/new?listing={listing_id}")
    assert again.url.path == answer.url.path
    refused = await browse.post(answer.url.path, {"body": " "})
    assert refused.status_code == 422
    assert "Write something" in text_of(refused.text)
    assert path == "brass-lamp"
    inbox = await browse.get("/messages")
    assert "Is it <b>still</b> there?" in text_of(inbox.text).replace("&lt;", "<")


async def test_the_unread_badge_costs_no_query_more(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller", "sami")
    await browse.sign_up("bea")
    before = (await browse.get("/")).headers["x-query-count"]
    await begin(store, seller, About(people=("bea",)), Draft(body="Hello"))
    after = await browse.get("/")
    assert after.headers["x-query-count"] == before
    assert "Messages, unread: 1" in text_of(after.text)


async def test_programs_talk_too(browse: Visitor, store: Store, make: Factory) -> None:
    await make.person("seller", "sami")
    await browse.sign_up("bea")
    await browse.get("/")
    headers = {"x-csrf-token": browse.token}
    begun = await browse.client.post(
        "/api/v1/conversations", json={"about": {"people": ["sami"]}, "body": "Hi"}, headers=headers
    )
    assert begun.status_code == 201
    conversation_id = begun.json()["conversation_id"]
    sent = await browse.client.post(
        f"/api/v1/conversations/{conversation_id}/messages", json={"body": "There?", "nonce": "1"}, headers=headers
    )
    assert sent.json()["seq"] == 2
    await settled(store)
    keyed = headers | {"idempotency-key": "the-same"}
    path = f"/api/v1/conversations/{conversation_id}/messages"
    again = [await browse.client.post(path, json={"body": "Once"}, headers=keyed) for _ in range(2)]
    assert [reply.json()["seq"] for reply in again] == [3, 3]
    found = (await browse.client.get(f"/api/v1/conversations/{conversation_id}")).json()
    assert [m["body"] for m in found["messages"]] == ["Hi", "There?", "Once"]
    refused = await browse.client.get(f"/api/v1/conversations/{uuid4()}")
    assert (refused.status_code, refused.json()["code"]) == (404, "NoSuchConversation")
