"""Commands on conversations: beginning one, writing, reading, putting aside, taking a message back."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record, record_all
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.ids import uuid7
from tradepost.core.live import Entry, give_after_commit, ring_after_commit
from tradepost.core.text import paragraphs
from tradepost.messaging import queries
from tradepost.messaging.events import ConversationStarted, MessageSent
from tradepost.messaging.types import (
    MOST_PEOPLE,
    Draft,
    EmptyMessage,
    Message,
    NoSuchMessage,
    NotTakingMessages,
    Said,
    SentAlready,
    TalkingToYourself,
    TooManyConversations,
    TooManyPeople,
    about_key,
)

on_violation("uq_messages_conversation_id_sender_id_nonce", SentAlready)
on_violation("ck_messages_not_blocked", NotTakingMessages)

_BEGIN = text("""
    INSERT INTO conversations (id, people, started_by, listing_id, order_id, subject, about)
    VALUES (:id, :people, :me, :listing_id, :order_id, :subject, :about) ON CONFLICT (about) DO NOTHING RETURNING id
""")
# One person begins one conversation at a time, so that the count of today's is true.
_ONE_AT_A_TIME = text(
    "SELECT pg_advisory_xact_lock(hashtext('begin_conversation'), hashtext(CAST(CAST(:me AS uuid) AS text)))"
)
_SEND = text(f"""
    INSERT INTO messages (conversation_id, id, sender_id, kind, body, file_id, offer_id, nonce)
    VALUES (:conversation_id, :id, :sender_id, :kind, :body, :file_id, :offer_id, :nonce)
    RETURNING {", ".join(Message.__struct_fields__)}, (SELECT c.people FROM conversations c WHERE c.id = messages.conversation_id)
""")  # our own text
# In the order of conversations, so that two processes never wait for each other crosswise; triggers number them in this order. Who is
# less than a day old is counted first, so not here.
_SEND_ALL = text(f"""
    WITH sent AS (
        INSERT INTO messages (conversation_id, id, sender_id, body, nonce)
        SELECT c.id, w.id, w.sender_id, w.body, w.nonce
        FROM unnest(CAST(:ids AS uuid[]), CAST(:conversations AS uuid[]), CAST(:senders AS uuid[]), CAST(:bodies AS text[]), CAST(:nonces AS text[]))
             WITH ORDINALITY AS w(id, conversation_id, sender_id, body, nonce, n)
        JOIN conversations c ON c.id = w.conversation_id AND w.sender_id = ANY (c.people)
        JOIN users u ON u.id = w.sender_id AND u.created_at <= now() - interval '1 day'
        ORDER BY c.id, w.n
        RETURNING {", ".join(Message.__struct_fields__)})
    SELECT sent.*, c.people FROM sent JOIN conversations c ON c.id = sent.conversation_id
""")  # our own text
_READ = text("""
    UPDATE participants SET last_read_seq = least(greatest(last_read_seq, CAST(:seq AS int)), last_seq), last_read_at = now()
    WHERE conversation_id = :conversation_id AND user_id = :me AND last_read_seq < least(CAST(:seq AS int), last_seq)
""")
# By the index of what is unread: who reads at once needs no note of delivery.
_TAKE_DELIVERY = text("""
    UPDATE participants SET last_delivered_seq = last_seq, last_delivered_at = now()
    WHERE user_id = :me AND unread > 0 AND archived_at IS NULL AND last_delivered_seq < last_seq
    RETURNING conversation_id, last_seq
""")
_ARCHIVE = text("""
    UPDATE participants SET archived_at = CASE WHEN :archived THEN coalesce(archived_at, now()) END
    WHERE conversation_id = :conversation_id AND user_id = :me
""")
_TAKE_BACK = text("""
    UPDATE messages SET body = '', file_id = NULL, deleted_at = now()
    WHERE conversation_id = :conversation_id AND seq = :seq AND sender_id = :me AND kind IN ('text', 'image') AND deleted_at IS NULL
""")


# What is emptied is what was there: two moderators at once take it out once.
_REMOVE = text("""
    WITH was AS (SELECT conversation_id, seq, body, file_id FROM messages WHERE id = :message_id AND deleted_at IS NULL
                 AND kind IN ('text', 'image') FOR UPDATE),
         gone AS (UPDATE messages m SET body = '', file_id = NULL, deleted_at = now() FROM was
                  WHERE m.conversation_id = was.conversation_id AND m.seq = was.seq)
    SELECT conversation_id, seq, body, file_id FROM was
""")
_RESTORE = text("""
    UPDATE messages SET body = :body, file_id = CAST(:file_id AS uuid), deleted_at = NULL
    WHERE id = :message_id AND deleted_at IS NOT NULL RETURNING conversation_id
""")


def topic_of(conversation_id: UUID) -> str:
    """Return the topic that is rung when something happens in a conversation."""
    return f"conversation:{conversation_id}"


def inbox_of(user_id: UUID) -> str:
    """Return the topic that is rung when somebody's list of conversations changes."""
    return f"inbox:{user_id}"


def entry_of(message: Message) -> Entry:
    """Return a message as those who watch its conversation are told it."""
    return Entry("message", message, message.seq)


async def begin_conversation(
    tx: Transaction,
    caller: Caller,
    others: Sequence[UUID],
    *,
    listing_id: UUID | None = None,
    order_id: UUID | None = None,
    subject: str = "",
    most_a_day: int = 100,
) -> UUID:
    """Begin a conversation, or return the one that these two have about the same thing.

    Raises `TalkingToYourself`, `TooManyPeople`, `TooManyConversations` above `most_a_day` new ones within a day.
    """
    me = caller.check_scope(PROFILE_SCOPE)
    people = sorted({me, *others})
    if len(people) < 2:
        raise TalkingToYourself
    if len(people) > MOST_PEOPLE:
        raise TooManyPeople
    about = about_key(*people, listing_id=listing_id, order_id=order_id) if len(people) == 2 else None
    known = await queries.find_conversation(tx, about) if about else None
    if known is not None:
        return known
    await tx.value(_ONE_AT_A_TIME, me=me)
    if await queries.count_started(tx, me) >= most_a_day:
        raise TooManyConversations(most_a_day)
    found: UUID | None = await tx.value(
        _BEGIN, id=uuid7(), people=people, me=me, listing_id=listing_id, order_id=order_id, subject=subject[:255],
        about=about,
    )  # fmt: skip
    if found is None:  # the other one began it at the same moment
        begun: UUID = await tx.value(queries.BY_ABOUT, about=about)
        return begun
    await record(tx, ConversationStarted(found, me, listing_id, order_id), subject_id=found)
    return found


async def send_message(
    tx: Transaction, caller: Caller, conversation_id: UUID, draft: Draft, *, file_id: UUID | None = None
) -> Message:
    """Write a message in a conversation that was accessed. Locks the conversation until the commit.

    Raises `EmptyMessage`, `FieldErrors`, `NotTakingMessages` where one of two has blocked the other, and `SentAlready` for a nonce
    that was used there before.
    """
    me = caller.check_scope(PROFILE_SCOPE)
    body = body_of(draft, has_picture=file_id is not None)
    kind = "text" if file_id is None else "image"
    return await _write(tx, conversation_id, me, kind, body, file_id=file_id, nonce=draft.nonce or None)


def body_of(draft: Draft, *, has_picture: bool = False) -> str:
    """Return what a draft says, as it is kept. Raises `EmptyMessage`, `FieldErrors`."""
    check_fields(broken_limits(draft))
    body = paragraphs(draft.body)
    if not body and not has_picture:
        raise EmptyMessage
    return body


async def send_texts(tx: Transaction, wanted: Sequence[Said]) -> list[Message | None]:
    """Write texts of several people in one go, those of one conversation in this order; `tx` is the system's.

    None for each that is not the plain case: its sender takes no part there, or is new. Locks the conversations until the commit.
    Raises what `send_message` would raise for any of them; then none is written.
    """
    ids = [uuid7() for _ in wanted]
    rows = await tx.all(
        _SEND_ALL, ids=ids, conversations=[said.conversation_id for said in wanted], senders=[said.sender_id for said in wanted],
        bodies=[said.body for said in wanted], nonces=[said.nonce for said in wanted],
    )  # fmt: skip
    sent = {row["id"]: (Message(*list(row)[:-1]), row["people"]) for row in rows}
    written = [sent[key] for key in ids if key in sent]
    await record_all(tx, [_fact(m, people) for m, people in written], by=[m.sender_id for m, _ in written])
    for message, people in written:
        _tell_after_commit(tx, message, people)
    return [sent[key][0] if key in sent else None for key in ids]


async def tell_offer(tx: Transaction, conversation_id: UUID, sender_id: UUID, offer_id: UUID, body: str) -> Message:
    """Show an offer in the conversation it belongs to, with what its sender says to it."""
    return await _write(tx, conversation_id, sender_id, "offer", paragraphs(body), offer_id=offer_id)


async def tell(tx: Transaction, conversation_id: UUID, sentence: str) -> Message:
    """Write a sentence of the system's into a conversation, and have pages that show it look again. `tx` is the system's."""
    ring_after_commit(tx, topic_of(conversation_id), note={"changed": True})
    return await _write(tx, conversation_id, None, "system", sentence)


async def _write(
    tx: Transaction, conversation_id: UUID, sender_id: UUID | None, kind: str, body: str, *,
    file_id: UUID | None = None, offer_id: UUID | None = None, nonce: str | None = None,
) -> Message:  # fmt: skip
    *columns, people = await tx.one(
        _SEND, conversation_id=conversation_id, id=uuid7(), sender_id=sender_id, kind=kind, body=body, file_id=file_id,
        offer_id=offer_id, nonce=nonce,
    )  # fmt: skip
    sent = Message(*columns)
    await record_all(tx, [_fact(sent, people)])
    _tell_after_commit(tx, sent, people)
    return sent


def _fact(sent: Message, people: Sequence[UUID]) -> tuple[MessageSent, UUID]:
    to = tuple(p for p in people if p != sent.sender_id)
    return MessageSent(sent.conversation_id, sent.seq, sent.sender_id, to), sent.conversation_id


def _tell_after_commit(tx: Transaction, sent: Message, people: Sequence[UUID]) -> None:
    give_after_commit(tx, topic_of(sent.conversation_id), entry_of(sent))
    ring_after_commit(tx, *(inbox_of(p) for p in people), note={"conversation": str(sent.conversation_id)})


async def read_up_to(tx: Transaction, caller: Caller, conversation_id: UUID, seq: int) -> bool:
    """Note that the caller has read a conversation up to a message; return whether that was new."""
    me = caller.check_signed_in()
    if not await tx.run(_READ, conversation_id=conversation_id, me=me, seq=seq):
        return False
    ring_after_commit(tx, topic_of(conversation_id), note={"read": str(me), "seq": seq})
    ring_after_commit(tx, inbox_of(me), note={"conversation": str(conversation_id)})
    return True


async def take_delivery(tx: Transaction, user_id: UUID) -> None:
    """Note that everything written to somebody has reached a device of theirs, and tell those who wrote it."""
    for row in await tx.all(_TAKE_DELIVERY, me=user_id):
        ring_after_commit(tx, topic_of(row[0]), note={"delivered": str(user_id), "seq": row[1]})


async def archive(tx: Transaction, caller: Caller, conversation_id: UUID, *, archived: bool) -> None:
    """Put a conversation aside for the caller, or take it back; a new message takes it back by itself."""
    me = caller.check_scope(PROFILE_SCOPE)
    await tx.run(_ARCHIVE, conversation_id=conversation_id, me=me, archived=archived)
    ring_after_commit(tx, inbox_of(me), note={"conversation": str(conversation_id)})


async def take_back(tx: Transaction, caller: Caller, conversation_id: UUID, seq: int) -> None:
    """Empty one's own message, for everybody. Raises `NoSuchMessage` for others', the system's and those taken back."""
    me = caller.check_scope(PROFILE_SCOPE)
    if not await tx.run(_TAKE_BACK, conversation_id=conversation_id, seq=seq, me=me):
        raise NoSuchMessage
    ring_after_commit(tx, topic_of(conversation_id), note={"gone": seq})


async def remove_message(tx: Transaction, message_id: UUID) -> dict[str, Any] | None:
    """Empty anybody's message for everybody, as a moderator; return what it held, None where nothing was to be taken out."""
    row = await tx.maybe(_REMOVE, message_id=message_id)
    if row is None:
        return None
    ring_after_commit(tx, topic_of(row["conversation_id"]), note={"gone": row["seq"]})
    return {"body": row["body"], "file_id": str(row["file_id"]) if row["file_id"] else None}


async def restore_message(tx: Transaction, message_id: UUID, held: dict[str, Any]) -> None:
    """Put back what `remove_message` took out."""
    file_id = UUID(held["file_id"]) if held["file_id"] else None
    conversation_id = await tx.value(_RESTORE, message_id=message_id, body=held["body"], file_id=file_id)
    if conversation_id is not None:
        ring_after_commit(tx, topic_of(conversation_id), note={"changed": True})
