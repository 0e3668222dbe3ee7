"""What the rest of the product knows of conversations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.core.errors import Conflict, Invalid, NotFound, Refused, TooMany

LONGEST = 4000
MOST_PEOPLE = 20
MessageKind = Literal["text", "image", "offer", "system"]


class NoSuchConversation(NotFound):
    """There is no such conversation."""


class NoSuchMessage(NotFound):
    """There is no such message."""


class NoMessagesHere(NotFound):
    """This store does without messages."""


class TalkingToYourself(Refused):
    """That would be a conversation with yourself."""


class NotTakingMessages(Refused):
    """This person does not take messages from you."""


class NobodyToWriteTo(Refused):
    """There is nobody to write to about this."""


@dataclass(eq=False)
class TooManyPeople(Invalid):
    """A conversation has {most} people at most."""

    most: int = MOST_PEOPLE
    field: str | None = "people"


@dataclass(eq=False)
class EmptyMessage(Invalid):
    """Write something, or add a picture."""

    field: str | None = "body"


@dataclass(eq=False)
class TooManyConversations(TooMany):
    """You have started {most} conversations today; please wait until tomorrow with the next."""

    most: int
    retry_after_s: int = 3600


class SentAlready(Conflict):
    """This message was sent already."""


class Message(msgspec.Struct, frozen=True):
    """A message. `seq` counts from 1 within its conversation; `sender_id` None: the system's."""

    conversation_id: UUID
    seq: int
    id: UUID
    sender_id: UUID | None
    kind: MessageKind
    body: str
    file_id: UUID | None
    offer_id: UUID | None
    at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None


class Said(msgspec.Struct, frozen=True):
    """A text that somebody wants in a conversation, as it is kept."""

    conversation_id: UUID
    sender_id: UUID
    body: str
    nonce: str | None = None


class Participant(msgspec.Struct, frozen=True):
    """Somebody in a conversation, with how far they have read and when they last did."""

    user_id: UUID
    username: str
    display_name: str
    avatar_file_id: UUID | None
    last_read_seq: int
    last_read_at: datetime | None
    last_delivered_seq: int = 0


class Conversation(msgspec.Struct, frozen=True):
    """A conversation as one of its people sees it. `is_new`: the account that looks is less than a day old."""

    id: UUID
    subject: str
    listing_id: UUID | None
    order_id: UUID | None
    last_seq: int
    last_read_seq: int
    is_archived: bool
    me: UUID
    is_new: bool
    people: tuple[Participant, ...]

    @property
    def others(self) -> tuple[Participant, ...]:
        """The people one talks to."""
        return tuple(p for p in self.people if p.user_id != self.me)

    @property
    def title(self) -> str:
        """Who one talks to, in words."""
        return ", ".join(p.display_name for p in self.others)

    @property
    def path(self) -> str:
        """The address of the conversation's page."""
        return f"/messages/{self.id}"

    @property
    def seen_seq(self) -> int:
        """The number of the last message that everybody else has read."""
        return min((p.last_read_seq for p in self.others), default=0)

    @property
    def delivered_seq(self) -> int:
        """The number of the last message that has reached everybody else."""
        return min((p.last_delivered_seq for p in self.others), default=0)


class ConversationCard(msgspec.Struct, frozen=True):
    """A conversation in one's list, with its last message; `is_fresh` where that comes to a device of one's own only now."""

    id: UUID
    subject: str
    listing_id: UUID | None
    unread: int
    last_message_at: datetime
    last_kind: str
    last_body: str
    last_sender_id: UUID | None
    is_deleted: bool
    others: tuple[Participant, ...]
    is_fresh: bool

    @property
    def title(self) -> str:
        """Who one talks to, in words."""
        return ", ".join(p.display_name for p in self.others)

    @property
    def path(self) -> str:
        """The address of the conversation's page."""
        return f"/messages/{self.id}"


class FoundMessage(msgspec.Struct, frozen=True):
    """A message that a search in one's own messages found."""

    id: UUID
    conversation_id: UUID
    seq: int
    sender_name: str
    subject: str
    body: str
    at: datetime


def about_key(one: UUID, other: UUID, *, listing_id: UUID | None = None, order_id: UUID | None = None) -> str:
    """Return the name under which two people have one conversation about a listing, an order or nothing."""
    first, second = sorted((one, other))
    thing = f"listing:{listing_id}" if listing_id else f"order:{order_id}" if order_id else "talk"
    return f"{thing}:{first}:{second}"


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody writes. `nonce` is a mark of the sender's own: the same one again sends nothing twice."""

    body: Annotated[str, Meta(max_length=LONGEST)] = ""
    nonce: Annotated[str, Meta(max_length=64)] | None = None
