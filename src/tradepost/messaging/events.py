"""Facts of conversations. They carry ids, never what was said."""

from uuid import UUID

import msgspec


class ConversationStarted(msgspec.Struct, frozen=True):
    """Somebody began a conversation."""

    conversation_id: UUID
    started_by: UUID
    listing_id: UUID | None
    order_id: UUID | None


class MessageSent(msgspec.Struct, frozen=True):
    """Somebody wrote a message, or the system did, to these people."""

    conversation_id: UUID
    seq: int
    sender_id: UUID | None
    to: tuple[UUID, ...]
