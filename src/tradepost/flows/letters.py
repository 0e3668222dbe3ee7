"""Letters of a store: from whom they are, how they look, and sending them."""

from typing import Any
from uuid import UUID

import structlog

from tradepost.accounts.emails import ADDRESSEE_BY_ID, Addressee
from tradepost.core.database import SYSTEM, Transaction
from tradepost.flows.store import Store
from tradepost.notifications import service
from tradepost.notifications.letters import compose, look_of
from tradepost.notifications.sending import note_mail_failed
from tradepost.notifications.service import MailArgs, TextArgs
from tradepost.notifications.types import Letter, MailRefused, NoSuchMail, NotALetter, TextRefused

_log = structlog.get_logger("tradepost.mail")


def sender_of(store: Store) -> str:
    """Return the address that the store's letters come from."""
    known = store.installation.mail.sender or store.settings.store.support_email
    return known or f"no-reply@{store.installation.http.domain}"


def write_letter(store: Store, kind: str, to: str, **context: Any) -> Letter:
    """Write a letter in the store's name and colours."""
    look = look_of(store.preset_folder / "theme" / "theme.css")
    return compose(
        kind, to=to, sender=sender_of(store), store_name=store.settings.store.name, store_url=store.base_url, look=look,
        **context,
    )  # fmt: skip


async def send_letter(
    tx: Transaction, store: Store, kind: str, user_id: UUID, *, to: str | None = None, **context: Any
) -> None:
    """Have a letter sent to a person, at their address or another one, once the transaction has committed.

    A person without an address gets none.
    """
    person = await tx.maybe(ADDRESSEE_BY_ID, into=Addressee, user_id=user_id)
    address = to or (person.email if person else None)
    if person is None or not address:
        return
    letter = write_letter(store, kind, address, name=person.username, username=person.username, **context)
    await service.queue_letter(tx, store.keys, kind, letter, user_id)


async def send_text(store: Store, args: TextArgs) -> None:
    """Hand a text message over, or keep it where there is no service. One sent twice after a crash says the same.

    Raises `MessengerAway`, to be tried again; a message that is refused for good is logged and dropped.
    """
    message = service.opened_text(store.keys, args)
    if store.messenger.keeps:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await service.keep_text(tx, store.keys, args.user_id, message)
        return
    try:
        await store.messenger.send(message)
    except TextRefused:
        _log.warning("text.refused", store=store.code, user_id=str(args.user_id))


async def send_mail(store: Store, args: MailArgs) -> None:
    """Hand a letter to the mail server. Idempotent but for a crash between handing over and writing that down.

    Raises `MailServerAway`, to be tried again; a letter that is refused for good is noted as failed.
    """
    async with store.db.transaction(actor=SYSTEM) as tx:
        try:
            mail = await service.read_mail(tx, store.keys, args.mail_id)
        except NoSuchMail:
            return
    if mail.state != "queued" or mail.letter is None:
        return
    state, problem = "kept" if store.mailer.keeps else "sent", None
    try:
        await store.mailer.send(mail.letter, mail.id)
    except (MailRefused, NotALetter) as error:
        state, problem = "failed", error.message[:400]
        _log.warning("mail.failed", store=store.code, mail=str(mail.id), kind=mail.kind)
    async with store.db.transaction(actor=SYSTEM) as tx:
        if problem is not None:
            await note_mail_failed(tx, mail.id, problem)
        await service.note_mail(tx, mail.id, state, problem)  # type: ignore[arg-type]  # two of its states
