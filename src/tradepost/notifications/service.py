"""Letters on their way: written in the transaction that causes them, sent by a job, forgotten after a while.

`queue_letter` joins the caller's transaction. The rest is the job's, and needs an actor that sees all.
"""

from datetime import timedelta
from html import escape
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, LargeBinary, Text, bindparam, case, delete, insert, null, or_, select, update
from sqlalchemy.dialects import postgresql

from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.jobs import Priority, enqueue
from tradepost.notifications.tables import mails
from tradepost.notifications.types import Letter, MailState, NoSuchMail, QueuedMail, TextMessage

LETTER: Final = "mails.letter"
TEXT: Final = "text-message"
REMEMBERED: Final = timedelta(days=30)

_ID = bindparam("id", type_=postgresql.UUID)
_ADD = insert(mails).values(
    id=_ID, user_id=bindparam("user_id", type_=postgresql.UUID), kind=bindparam("kind"),
    letter_enc=bindparam("letter_enc", type_=LargeBinary),
)  # fmt: skip
_COLUMNS = (mails.c.id, mails.c.kind, mails.c.state, mails.c.created_at, mails.c.letter_enc)
_ONE = select(*_COLUMNS).where(mails.c.id == _ID)
_LATEST = (
    select(*_COLUMNS)
    .where(mails.c.letter_enc.is_not(None))
    .order_by(mails.c.created_at.desc(), mails.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)
_STATE = bindparam("state", type_=Text)
_NOTE = (
    update(mails)
    .where(mails.c.id == _ID, mails.c.state == "queued")
    .values(
        state=_STATE,
        error=bindparam("error", type_=Text),
        sent_at=bindparam("now", type_=Timestamp),
        letter_enc=case((or_(_STATE == "sent", _STATE == "failed"), null()), else_=mails.c.letter_enc),
    )
)
_FORGET = delete(mails).where(mails.c.created_at < bindparam("before", type_=Timestamp))


class MailArgs(msgspec.Struct, frozen=True):
    """Which letter to send."""

    mail_id: UUID


class TextArgs(msgspec.Struct, frozen=True):
    """Which text message to send, encrypted, because jobs are kept in the clear; and to whom."""

    user_id: UUID
    sealed: bytes


async def queue_letter(tx: Transaction, keys: Keyring, kind: str, letter: Letter, user_id: UUID | None = None) -> UUID:
    """Have a letter sent once this transaction has committed; return the id it is known by."""
    mail_id = uuid7()  # given, because whoever causes a letter may not read it
    sealed = keys.encrypt(msgspec.json.encode(letter).decode(), LETTER)
    await tx.run(_ADD, id=mail_id, user_id=user_id, kind=kind, letter_enc=sealed)
    await enqueue(tx, "notifications.send_mail", MailArgs(mail_id), priority=Priority.URGENT)
    return mail_id


async def queue_text(tx: Transaction, keys: Keyring, user_id: UUID, to: str, words: str) -> None:
    """Have a text message sent once this transaction has committed. Number and words are encrypted in the job."""
    sealed = keys.encrypt(msgspec.json.encode(TextMessage(to=to, text=words)).decode(), TEXT)
    await enqueue(tx, "notifications.send_text", TextArgs(user_id, sealed), priority=Priority.URGENT)


def opened_text(keys: Keyring, args: TextArgs) -> TextMessage:
    """Return the message of a job."""
    return msgspec.json.decode(keys.decrypt(args.sealed, TEXT), type=TextMessage)


async def keep_text(tx: Transaction, keys: Keyring, user_id: UUID, message: TextMessage) -> None:
    """Keep a message that no service sends, among the letters, for the demo's mailbox page."""
    words = f"<p>{escape(message.text)}</p>"
    letter = Letter(
        to=message.to, subject="Text message", text=message.text, html=words, sender="", sender_name=""
    )  # fmt: skip
    sealed, mail_id = keys.encrypt(msgspec.json.encode(letter).decode(), LETTER), uuid7()
    await tx.run(_ADD, id=mail_id, user_id=user_id, kind="text", letter_enc=sealed)
    await tx.run(_NOTE, id=mail_id, state="kept", error=None, now=now())


async def read_mail(tx: Transaction, keys: Keyring, mail_id: UUID) -> QueuedMail:
    """Return a letter. Raises `NoSuchMail` when it was forgotten."""
    row = await tx.maybe(_ONE, id=mail_id)
    if row is None:
        raise NoSuchMail
    return _opened(keys, row)


async def latest_mails(tx: Transaction, keys: Keyring, limit: int = 50) -> tuple[QueuedMail, ...]:
    """Return the letters that are still here, the latest first."""
    return tuple(_opened(keys, row) for row in await tx.all(_LATEST, limit=limit))


async def note_mail(tx: Transaction, mail_id: UUID, state: MailState, error: str | None = None) -> None:
    """Write down what became of a letter; once the mail server has it, or never will, its words are forgotten."""
    await tx.run(_NOTE, id=mail_id, state=state, error=error, now=now())


async def forget_mails(tx: Transaction) -> int:
    """Delete what is older than 30 days; return how many."""
    return await tx.run(_FORGET, before=now() - REMEMBERED)


def _opened(keys: Keyring, row: Any) -> QueuedMail:
    values = dict(row)
    sealed = values.pop("letter_enc")
    letter = msgspec.json.decode(keys.decrypt(sealed, LETTER), type=Letter) if sealed else None
    return QueuedMail(letter=letter, **values)
