"""What the rest of the product knows of letters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from tradepost.core.errors import Invalid, NotFound, Unavailable

MailState = Literal["queued", "sent", "kept", "failed"]
Topic = Literal["orders", "messages", "offers", "shows", "account", "alerts"]
Channel = Literal["email", "push", "webhook"]
Frequency = Literal["off", "instant", "hourly", "daily", "weekly"]
NoticeKind = Literal[
    "show_planned",
    "show_started",
    "evidence",
    "order",
    "message",
    "offer",
    "verification",
    "alert_match",
    "alert_digest",
]


class NoSuchBrowser(NotFound):
    """There is no such browser."""


class NoHook(NotFound):
    """There is no address that your program is told at."""


class NoSuchLink(NotFound):
    """This link is not one that we wrote, or not all of it."""


class NoSuchMail(NotFound):
    """There is no such letter."""


@dataclass(eq=False)
class NotALetter(Invalid):
    """A letter's {part} cannot go into a mail."""

    part: str


@dataclass(eq=False)
class MailServerAway(Unavailable):
    """The mail server does not take letters at the moment: {problem}"""

    problem: str


@dataclass(eq=False)
class MailRefused(Invalid):
    """The mail server refused a letter for good: {problem}"""

    problem: str


class MessengerAway(Unavailable):
    """The service that sends text messages does not answer as it should; it is tried again."""


class TextRefused(Invalid):
    """The service that sends text messages refused this number for good."""


@dataclass(eq=False)
class BadMailServer(Invalid):
    """The setting mail.smtp_url is not right: {problem}. It looks like smtp://user:password@mail.example.org:587."""

    problem: str


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A letter to one person, as text and as HTML that say the same. `sender` is an address, `sender_name` the store's.

    `unsubscribe`: where a mail program sends its “no more of these” (RFC 8058), "" for letters that must come.
    """

    to: str
    subject: str
    text: str
    html: str
    sender: str
    sender_name: str
    unsubscribe: str = ""


class TextMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A text message to one telephone, its number as +263771234567."""

    to: str
    text: str


class QueuedMail(msgspec.Struct, frozen=True):
    """A letter on its way."""

    id: UUID
    kind: str
    state: MailState
    created_at: datetime
    letter: Letter | None
