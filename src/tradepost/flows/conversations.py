"""Talking: where conversations meet the listings and orders they are about, pictures, limits and live pages."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.accounts.types import PROFILE_SCOPE, Caller, NoSuchPerson
from tradepost.catalog.pictures import ReceivedPicture, add_picture, receive_picture
from tradepost.catalog.types import NoSuchListing
from tradepost.core.database import SYSTEM, Database, TookTooLong, Transaction
from tradepost.core.errors import Conflict, Invalid, Refused
from tradepost.core.ids import short_id
from tradepost.core.limits import TooOften, check_rate
from tradepost.core.live import Entry, Watch, bells_of
from tradepost.core.pages import Page
from tradepost.core.text import is_plain
from tradepost.core.together import Together
from tradepost.flows.orders import access_order
from tradepost.flows.store import Store
from tradepost.messaging import queries, service
from tradepost.messaging.types import (
    Conversation,
    ConversationCard,
    Draft,
    FoundMessage,
    Message,
    NobodyToWriteTo,
    NoMessagesHere,
    Said,
    SentAlready,
    TalkingToYourself,
    about_key,
)

MOST_STARTED, MOST_STARTED_NEW = 100, 5  # conversations a day
MOST_SENT, MOST_SENT_NEW = 600, 60  # messages in a quarter of an hour

_LISTING = text("""
    SELECT l.id, l.title, l.seller_id, u.display_name, u.username FROM listings l JOIN users u ON u.id = l.seller_id
    WHERE l.id = :listing_id AND l.status IN ('active', 'sold', 'inactive') AND u.is_active
""")
_BRIEFS = text("""
    SELECT id, slug, title, image_id, price_minor, currency, status, seller_id, feed FROM listings WHERE id = ANY (CAST(:ids AS uuid[]))
""")
_PEOPLE = text("""
    SELECT id, CAST(username AS text) AS username, display_name FROM users
    WHERE (CAST(username AS text) = ANY (CAST(:names AS text[])) OR id = ANY (CAST(:ids AS uuid[]))) AND is_active AND erased_at IS NULL
    ORDER BY username
""")
_IS_NEW = text("SELECT created_at > now() - interval '1 day' FROM users WHERE id = :me")
_NUMBER = text("SELECT number FROM orders WHERE id = :order_id")


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a conversation is about and with whom: a listing's seller, the other side of an order, or people by username."""

    listing_id: UUID | None = None
    order: Annotated[str, Meta(max_length=60)] | None = None
    people: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=19)] = ()


class Opening(msgspec.Struct, frozen=True):
    """A conversation that could begin: with whom, about what, and the one there is already."""

    others: tuple[UUID, ...]
    names: tuple[str, ...]
    listing_id: UUID | None = None
    order_id: UUID | None = None
    subject: str = ""
    known: UUID | None = None

    @property
    def title(self) -> str:
        """Who would be written to, in words."""
        return ", ".join(self.names)


class ListingBrief(msgspec.Struct, frozen=True):
    """The listing a conversation is about, as its head shows it."""

    id: UUID
    slug: str
    title: str
    image_id: UUID | None
    price_minor: int | None
    currency: str | None
    status: str
    seller_id: UUID | None
    feed: str

    @property
    def path(self) -> str:
        """The address of the listing's page."""
        return f"/l/{self.slug}-{short_id(self.id)}"


class Thread(msgspec.Struct, frozen=True):
    """A conversation with some of its messages. `before` is the number before which older ones are, None at the first."""

    conversation: Conversation
    messages: tuple[Message, ...]
    before: int | None
    listing: ListingBrief | None
    order_number: str | None


def check_talks(store: Store) -> None:
    """Raise `NoMessagesHere` where the store does without messages."""
    if not store.settings.features.messages:
        raise NoMessagesHere


async def find_opening(store: Store, caller: Caller, about: About) -> Opening:
    """Return who would be written to about something, with the conversation that is there already.

    Raises `SignInFirst`, `NoSuchListing`, `NoSuchOrder`, `NoSuchPerson`, `NobodyToWriteTo`, `TalkingToYourself`.
    """
    check_talks(store)
    me = caller.check_signed_in()
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await _opening(tx, caller, about)
        if me in found.others:
            raise TalkingToYourself
        if len(found.others) != 1:
            return found
        key = about_key(me, found.others[0], listing_id=found.listing_id, order_id=found.order_id)
        return msgspec.structs.replace(found, known=await queries.find_conversation(tx, key))


async def _opening(tx: Transaction, caller: Caller, about: About) -> Opening:
    if about.listing_id is not None:
        row = await tx.maybe(_LISTING, listing_id=about.listing_id)
        if row is None:
            raise NoSuchListing
        return Opening((row["seller_id"],), (row["display_name"],), row["id"], None, row["title"])
    if about.order is not None:
        return await _about_order(tx, caller, about.order, about.people)
    people = await _people(tx, names=about.people)
    if len(people) < len(set(about.people)) or not people:
        raise NoSuchPerson
    return Opening(tuple(p["id"] for p in people), tuple(p["display_name"] for p in people))


async def _about_order(tx: Transaction, caller: Caller, number: str, wanted: tuple[str, ...]) -> Opening:
    """The buyer writes to a seller, the first unless one is named; sellers, riders and staff write to the buyer."""
    access = await access_order(tx, caller, number=number)
    order = access.row
    if "buyer" in access.parties:
        sellers = await _people(tx, ids=tuple(order["seller_ids"]))
        people = [p for p in sellers if not wanted or p["username"] in wanted][:1]
    else:
        people = await _people(tx, ids=(order["buyer_id"],)) if order["buyer_id"] else []
    if not people:
        raise NobodyToWriteTo
    return Opening((people[0]["id"],), (people[0]["display_name"],), None, order["id"], f"Order {order['number']}")


async def _people(tx: Transaction, *, names: tuple[str, ...] = (), ids: tuple[UUID, ...] = ()) -> list[Any]:
    return await tx.all(_PEOPLE, names=[n for n in names if is_plain(n)], ids=list(ids))


async def begin(store: Store, caller: Caller, about: About, draft: Draft, picture: bytes | None = None) -> Message:
    """Write the first message about something, or the next one where these two talk about it already.

    Raises what `find_opening` and `say` raise, and `TooManyConversations`: accounts of less than a day begin 5 a day.
    """
    caller.check_scope(PROFILE_SCOPE)
    found = await find_opening(store, caller, about)
    if found.known is not None:
        return await say(store, caller, found.known, draft, picture)
    received = await _receive(store, caller, picture)
    async with store.db.transaction(actor=caller.actor) as tx:
        is_new = bool(await tx.value(_IS_NEW, me=caller.user_id))
        conversation_id = await service.begin_conversation(
            tx, caller, found.others, listing_id=found.listing_id, order_id=found.order_id, subject=found.subject,
            most_a_day=MOST_STARTED_NEW if is_new else MOST_STARTED,
        )  # fmt: skip
        return await _send(tx, caller, conversation_id, draft, received, is_new=is_new)


async def say(
    store: Store, caller: Caller, conversation_id: UUID, draft: Draft, picture: bytes | None = None
) -> Message:
    """Write into a conversation; the same nonce again returns the message that was sent with it.

    Texts that wait at the same moment in this process, of whomever, are written by one transaction. Raises `NoSuchConversation`,
    `EmptyMessage`, `FieldErrors`, `NotTakingMessages`, `TooOften`, `UploadTooLarge`, `NotAPicture`, `PictureTooLarge`.
    """
    me = caller.check_scope(PROFILE_SCOPE)
    check_talks(store)
    await check_rate(store.cache, str(me), "messages", MOST_SENT)
    if picture is not None:
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            await queries.access_conversation(tx, caller, conversation_id)
        return await _say_alone(store, caller, conversation_id, draft, await _receive(store, caller, picture))
    if store.db.is_joined or caller.behind is not None:
        return await _say_alone(store, caller, conversation_id, draft)
    said = Said(conversation_id, me, service.body_of(draft), draft.nonce or None)
    sent = await _SAYING.ask(store.db, said)
    return sent or await _ALONE.ask(
        store.db, partial(_say_alone, store, caller, conversation_id, draft), lane=conversation_id
    )


async def _say_all(db: Database, wanted: list[Said]) -> list[Message | Exception | None]:
    """Write texts in one transaction; None for whatever is not the plain case, and for all where one is refused or has to wait."""
    try:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(_WAIT_BRIEFLY)
            return list(await service.send_texts(tx, wanted))
    except (Conflict, Refused, Invalid, TookTooLong):
        return [None] * len(wanted)


async def _say_one(_: Database, wanted: list[Callable[[], Awaitable[Message]]]) -> list[Message | Exception]:
    (alone,) = wanted
    return [await alone()]


# Strangers wait with whoever writes into a conversation that somebody else holds.
_WAIT_BRIEFLY: Final = text("SET LOCAL lock_timeout = '500ms'")
_SAYING: Final = Together(_say_all)
_ALONE: Final = Together(_say_one, most=1)
"""By conversation: in the order they came, beside what others say elsewhere."""


async def _say_alone(
    store: Store, caller: Caller, conversation_id: UUID, draft: Draft, received: ReceivedPicture | None = None
) -> Message:
    """Write in a transaction of the caller's own."""
    try:
        async with store.db.transaction(actor=caller.actor) as tx:
            known = await queries.access_conversation(tx, caller, conversation_id)
            return await _send(tx, caller, conversation_id, draft, received, is_new=known.is_new)
    except SentAlready:
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            return await queries.find_sent(tx, caller, conversation_id, draft.nonce or "")


async def _receive(store: Store, caller: Caller, picture: bytes | None) -> ReceivedPicture | None:
    """Check and put away a picture; who sends many is stopped before any work is done."""
    if picture is None:
        return None
    await check_rate(store.cache, str(caller.user_id), "message_pictures", MOST_SENT_NEW)
    return await receive_picture(store.files, picture, most_mb=store.installation.files.upload_limit_mb)


async def _send(
    tx: Transaction, caller: Caller, conversation_id: UUID, draft: Draft, received: ReceivedPicture | None, *,
    is_new: bool,
) -> Message:  # fmt: skip
    if is_new and await queries.count_sent(tx, caller.check_signed_in()) >= MOST_SENT_NEW:
        raise TooOften
    stored = await add_picture(tx, received) if received is not None else None
    return await service.send_message(tx, caller, conversation_id, draft, file_id=stored.id if stored else None)


async def read_inbox(
    store: Store, caller: Caller, *, archived: bool = False, after: str | None = None
) -> tuple[Page[ConversationCard], dict[UUID, ListingBrief]]:
    """Return a page of the caller's conversations, and the listings they are about by id; what is unread counts as delivered now."""
    check_talks(store)
    async with store.db.transaction(actor=caller.actor) as tx:
        found = await queries.list_conversations(tx, caller, archived=archived, after=after)
        if caller.behind is None and any(card.is_fresh for card in found.items):
            await service.take_delivery(tx, caller.check_signed_in())
        ids = [card.listing_id for card in found.items if card.listing_id]
        rows = await tx.all(_BRIEFS, into=ListingBrief, ids=ids) if ids else []
    return found, {row.id: row for row in rows}


async def search_messages(store: Store, caller: Caller, words: str, *, after: str | None = None) -> Page[FoundMessage]:
    """Return the caller's messages that contain these words, the latest first; nothing for no words."""
    check_talks(store)
    if not words.strip() or not is_plain(words):
        return Page(())
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.find_messages(tx, caller, words, after=after)


async def read_thread(
    store: Store, caller: Caller, conversation_id: UUID, *, before: int | None = None, after: int | None = None,
    mark: bool = True, limit: int = 40,
) -> Thread:  # fmt: skip
    """Return a conversation with its last messages, those before or those after a number; `mark` notes them as read.

    Raises `NoSuchConversation`.
    """
    check_talks(store)
    async with store.db.transaction(actor=caller.actor) as tx:
        known = await queries.access_conversation(tx, caller, conversation_id)
        if after is not None:
            found = tuple(await queries.messages_after(tx, conversation_id, after))
        else:
            upto = min(before or known.last_seq + 1, known.last_seq + 1)
            found = await queries.list_messages(tx, conversation_id, before=upto, limit=limit)
        if mark and found and found[-1].seq > known.last_read_seq:
            await service.read_up_to(tx, caller, conversation_id, found[-1].seq)
        elif not mark and found and caller.behind is None:
            await service.take_delivery(tx, known.me)
        briefs = await tx.all(_BRIEFS, into=ListingBrief, ids=[known.listing_id]) if known.listing_id else []
        number = await tx.value(_NUMBER, order_id=known.order_id) if known.order_id else None
    first = found[0].seq if found else 1
    return Thread(known, found, first if first > 1 and after is None else None, briefs[0] if briefs else None, number)


async def mark_read(store: Store, caller: Caller, conversation_id: UUID, seq: int) -> None:
    """Note that the caller has read up to a message; less than before changes nothing. Raises `NoSuchConversation`."""
    caller.check_scope(PROFILE_SCOPE)
    async with store.db.transaction(actor=caller.actor) as tx:
        await queries.access_conversation(tx, caller, conversation_id)
        await service.read_up_to(tx, caller, conversation_id, seq)


async def put_aside(store: Store, caller: Caller, conversation_id: UUID, *, archived: bool) -> None:
    """Archive a conversation for the caller, or take it back. Raises `NoSuchConversation`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await queries.access_conversation(tx, caller, conversation_id)
        await service.archive(tx, caller, conversation_id, archived=archived)


async def take_back_message(store: Store, caller: Caller, conversation_id: UUID, seq: int) -> None:
    """Empty one of the caller's own messages. Raises `NoSuchConversation`, `NoSuchMessage`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await queries.access_conversation(tx, caller, conversation_id)
        await service.take_back(tx, caller, conversation_id, seq)


async def note_typing(store: Store, caller: Caller, conversation_id: UUID) -> None:
    """Tell those who watch a conversation that the caller is writing. Raises `NoSuchConversation`."""
    caller.check_scope(PROFILE_SCOPE)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        known = await queries.access_conversation(tx, caller, conversation_id)
    bells_of(store.db).ring(service.topic_of(conversation_id), {"typing": str(known.me)})


async def watch_conversation(store: Store, caller: Caller, conversation_id: UUID, after: int | None) -> Watch:
    """Return a watch of the messages of a conversation, those after number `after` first.

    Who may watch is asked here, before the first entry. Raises `NoSuchConversation`.
    """
    check_talks(store)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        known = await queries.access_conversation(tx, caller, conversation_id)
    start = known.last_seq if after is None else max(0, min(after, known.last_seq))
    read, last = partial(_entries, store, conversation_id), partial(_last, store, conversation_id)
    return bells_of(store.db).watch(service.topic_of(conversation_id), read, start, last)


async def _entries(store: Store, conversation_id: UUID, after: int) -> list[Entry]:
    """Read once for everybody who watches, and for other conversations at once; they were asked before whether they may."""
    return await _READING.ask(store.db, (conversation_id, after))


async def _read_all(db: Database, places: list[tuple[UUID, int]]) -> list[list[Entry] | Exception]:
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await queries.messages_after_each(tx, places)
    return [[service.entry_of(message) for message in messages] for messages in found]


_READING: Final = Together(_read_all)


async def _last(store: Store, conversation_id: UUID) -> int:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return await queries.last_seq(tx, conversation_id)


async def watch_inbox(store: Store, caller: Caller) -> AsyncGenerator[list[Entry], None]:
    """Return the number of conversations with something unread: now, and whenever it may have changed, with what rang.

    What is written to somebody who watches has reached them, and is noted as delivered.
    """
    check_talks(store)
    me = caller.check_signed_in()
    return _watch_inbox(store, me, takes_delivery=caller.behind is None)


async def _watch_inbox(store: Store, me: UUID, *, takes_delivery: bool) -> AsyncGenerator[list[Entry], None]:
    shown = await _unread(store, me, takes_delivery=takes_delivery)
    yield [Entry("unread", {"unread": shown})]
    async with aclosing(bells_of(store.db).watch(service.inbox_of(me), _nothing, None, _zero)) as watch:
        async for entries in watch:
            known, shown = shown, await _unread(store, me, takes_delivery=takes_delivery)
            yield [*entries, Entry("unread", {"unread": shown})] if shown != known else entries


async def _unread(store: Store, me: UUID, *, takes_delivery: bool) -> int:
    async with store.db.transaction(actor=SYSTEM) as tx:
        unread = await queries.count_unread(tx, me)
        if unread and takes_delivery:
            await service.take_delivery(tx, me)
        return unread


async def _nothing(_after: int) -> list[Entry]:
    return []


async def _zero() -> int:
    return 0
