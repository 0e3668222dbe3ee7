"""Every read of conversations. `access_conversation` is the only door to one; strangers find nothing."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, literal_column, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import bindparam

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction
from tradepost.core.pages import Page, newest_first, page_of, page_size, to_cursor
from tradepost.messaging.tables import messages, participants
from tradepost.messaging.types import Conversation, ConversationCard, FoundMessage, Message, NoSuchConversation

_PEOPLE = """
    SELECT jsonb_agg(jsonb_build_object('user_id', o.user_id, 'username', u.username, 'display_name', u.display_name,
                     'avatar_file_id', u.avatar_file_id, 'last_read_seq', o.last_read_seq, 'last_read_at', o.last_read_at,
                     'last_delivered_seq', greatest(o.last_delivered_seq, o.last_read_seq))
                     ORDER BY o.created_at, o.user_id)
    FROM participants o JOIN users u ON u.id = o.user_id WHERE o.conversation_id = c.id
"""
CONVERSATION = text(f"""
    SELECT c.id, c.subject, c.listing_id, c.order_id, c.last_seq, p.last_read_seq, p.archived_at IS NOT NULL AS is_archived,
           p.user_id AS me,
           (SELECT u.created_at > now() - interval '1 day' FROM users u WHERE u.id = p.user_id) AS is_new, ({_PEOPLE}) AS people
    FROM conversations c JOIN participants p ON p.conversation_id = c.id AND p.user_id = :me
    WHERE c.id = :conversation_id
""")  # our own text
INBOX = text(f"""
    SELECT c.id, c.subject, c.listing_id, p.unread, p.last_message_at, m.kind AS last_kind, left(m.body, 200) AS last_body,
           m.sender_id AS last_sender_id, m.deleted_at IS NOT NULL AS is_deleted,
           coalesce(({_PEOPLE} AND o.user_id <> p.user_id), '[]') AS others,
           p.unread > 0 AND p.last_delivered_seq < p.last_seq AS is_fresh
    FROM participants p
    JOIN conversations c ON c.id = p.conversation_id
    JOIN messages m ON m.conversation_id = c.id AND m.seq = c.last_seq
    WHERE p.user_id = :me AND p.last_message_at IS NOT NULL AND (p.archived_at IS NOT NULL) = :archived
      AND (p.last_message_at, p.conversation_id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY p.last_message_at DESC, p.conversation_id DESC LIMIT :limit
""")  # our own text
FOUND = text("""
    SELECT m.id, m.conversation_id, m.seq, coalesce(u.display_name, '') AS sender_name, c.subject, left(m.body, 300) AS body, m.at
    FROM participants p
    JOIN conversations c ON c.id = p.conversation_id
    JOIN messages m ON m.conversation_id = p.conversation_id
    LEFT JOIN users u ON u.id = m.sender_id
    WHERE p.user_id = :me AND m.body ILIKE :pattern AND (m.at, m.id) < (CAST(:before_at AS timestamptz), CAST(:before_id AS uuid))
    ORDER BY m.at DESC, m.id DESC LIMIT :limit
""")
_MESSAGE = select(*(messages.c[name] for name in Message.__struct_fields__))
_OF = messages.c.conversation_id == bindparam("conversation_id", type_=postgresql.UUID)
_LIMIT = bindparam("limit", type_=postgresql.BIGINT)
BEFORE = (
    _MESSAGE.where(_OF, messages.c.seq < bindparam("seq", type_=postgresql.INTEGER))
    .order_by(messages.c.seq.desc())
    .limit(_LIMIT)
)
AFTER = (
    _MESSAGE.where(_OF, messages.c.seq > bindparam("seq", type_=postgresql.INTEGER))
    .order_by(messages.c.seq)
    .limit(_LIMIT)
)
_FIELDS = ", ".join(f"m.{name}" for name in Message.__struct_fields__)
AFTER_EACH = text(f"""
    SELECT w.seq, {_FIELDS} FROM unnest(CAST(:conversations AS uuid[]), CAST(:seqs AS int[])) AS w(conversation_id, seq)
    CROSS JOIN LATERAL (SELECT * FROM messages n WHERE n.conversation_id = w.conversation_id AND n.seq > w.seq
                        ORDER BY n.seq LIMIT :limit) m
    ORDER BY m.conversation_id, m.seq
""")  # our own text
BY_NONCE = _MESSAGE.where(
    _OF,
    messages.c.sender_id == bindparam("sender_id", type_=postgresql.UUID),
    messages.c.nonce == bindparam("nonce", type_=postgresql.TEXT),
)
BY_ABOUT = text("SELECT id FROM conversations WHERE about = :about")
COUNT_SENT = text("SELECT count(*) FROM messages WHERE sender_id = :me AND at > now() - interval '15 minutes'")
LAST_SEQ = text("SELECT last_seq FROM conversations WHERE id = :conversation_id")
COUNT_STARTED = text("""
    SELECT count(*) FROM conversations WHERE started_by = :me AND created_at > now() - interval '1 day'
""")
UNREAD = (
    select(func.count())
    .select_from(participants)
    .where(
        participants.c.user_id == bindparam("user_id", type_=postgresql.UUID),
        participants.c.unread > literal_column("0"),
        participants.c.archived_at.is_(None),
    )
)


async def access_conversation(tx: Transaction, caller: Caller, conversation_id: UUID) -> Conversation:
    """Return a conversation in which the caller takes part. Raises `NoSuchConversation` to everybody else."""
    found = await tx.maybe(
        CONVERSATION, into=Conversation, conversation_id=conversation_id, me=caller.check_signed_in()
    )
    if found is None:
        raise NoSuchConversation
    return found


async def list_conversations(
    tx: Transaction, caller: Caller, *, archived: bool = False, after: str | None = None, limit: int = 24
) -> Page[ConversationCard]:
    """Return the caller's conversations, the one written in last first. Raises `NoSuchPage`."""
    size = page_size(limit)
    at, key = newest_first(after)
    rows = await tx.all(
        INBOX, into=ConversationCard, me=caller.check_signed_in(), archived=archived, before_at=at, before_id=key,
        limit=size + 1,
    )  # fmt: skip
    return page_of(rows, size, lambda last: to_cursor(last.last_message_at, last.id))


async def list_messages(
    tx: Transaction, conversation_id: UUID, *, before: int = 2**31 - 1, limit: int = 40
) -> tuple[Message, ...]:
    """Return messages of a conversation that was accessed, those just before number `before`, in their order."""
    rows = await tx.all(BEFORE, into=Message, conversation_id=conversation_id, seq=before, limit=limit)
    return tuple(reversed(rows))


async def messages_after(tx: Transaction, conversation_id: UUID, seq: int, limit: int = 200) -> list[Message]:
    """Return the messages that follow number `seq`, in their order."""
    return await tx.all(AFTER, into=Message, conversation_id=conversation_id, seq=seq, limit=limit)


async def messages_after_each(
    tx: Transaction, places: Sequence[tuple[UUID, int]], limit: int = 200
) -> list[list[Message]]:
    """Return for each conversation and number the messages that follow it, in their order. `tx` is the system's."""
    of: dict[tuple[UUID, int], list[Message]] = {place: [] for place in places}
    rows = await tx.all(AFTER_EACH, conversations=[c for c, _ in of], seqs=[seq for _, seq in of], limit=limit)
    for after, *columns in rows:
        message = Message(*columns)
        of[message.conversation_id, after].append(message)
    return [of[place] for place in places]


async def find_messages(
    tx: Transaction, caller: Caller, words: str, *, after: str | None = None, limit: int = 24
) -> Page[FoundMessage]:
    """Return the caller's messages that contain `words` as typed, the latest first. Raises `NoSuchPage`."""
    size = page_size(limit)
    at, key = newest_first(after)
    escaped = words.strip()[:100].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = await tx.all(
        FOUND, into=FoundMessage, me=caller.check_signed_in(), pattern=f"%{escaped}%", before_at=at, before_id=key,
        limit=size + 1,
    )  # fmt: skip
    return page_of(rows, size, lambda last: to_cursor(last.at, last.id))


async def count_unread(tx: Transaction, user_id: UUID) -> int:
    """Return in how many conversations somebody has something to read."""
    return int(await tx.value(UNREAD, user_id=user_id))


async def count_started(tx: Transaction, user_id: UUID) -> int:
    """Return how many conversations somebody began within the last day."""
    return int(await tx.value(COUNT_STARTED, me=user_id))


async def count_sent(tx: Transaction, user_id: UUID) -> int:
    """Return how many messages somebody wrote within the last quarter of an hour."""
    return int(await tx.value(COUNT_SENT, me=user_id))


async def last_seq(tx: Transaction, conversation_id: UUID) -> int:
    """Return the number of a conversation's last message, 0 before the first."""
    return int(await tx.value(LAST_SEQ, conversation_id=conversation_id) or 0)


async def find_conversation(tx: Transaction, about: str) -> UUID | None:
    """Return the conversation that two people have about one thing, or None."""
    found: UUID | None = await tx.value(BY_ABOUT, about=about)
    return found


async def find_sent(tx: Transaction, caller: Caller, conversation_id: UUID, nonce: str) -> Message:
    """Return the message the caller sent with that mark. Raises `NotFound`."""
    return await tx.one(
        BY_NONCE, into=Message, conversation_id=conversation_id, sender_id=caller.check_signed_in(), nonce=nonce
    )
