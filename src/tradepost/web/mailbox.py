"""The demo's mailbox: what a mail server would have sent. Elsewhere it does not exist."""

from typing import Any
from uuid import UUID

from litestar import Response, get
from litestar.params import FromPath

from tradepost.core.database import SYSTEM
from tradepost.flows.store import Store
from tradepost.notifications.service import latest_mails, read_mail
from tradepost.notifications.types import Letter, NoSuchMail
from tradepost.web.pages import page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

# A letter has styles within it, and its links lead out of the frame it is shown in.
_LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'self'; frame-ancestors 'self'; "
    "sandbox allow-top-navigation-by-user-activation"
)


def _check_demo(store: Store) -> None:
    """Letters are other people's: only a demo, where everybody is made up, shows them."""
    if not store.is_demo or not store.mailer.keeps:
        raise NoSuchMail


@get("/mailbox", include_in_schema=False)
async def mailbox(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """List the letters that would have been sent, the latest first."""
    _check_demo(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        mails = await latest_mails(tx, store.keys)
    return await page(request, store, caller, "mailbox", mails=mails)


async def _letter(store: Store, mail_id: UUID) -> tuple[Any, Letter]:
    _check_demo(store)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        mail = await read_mail(tx, store.keys, mail_id)
    if mail.letter is None:
        raise NoSuchMail
    return mail, mail.letter


@get("/mailbox/{mail_id:uuid}", include_in_schema=False)
async def one_mail(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, mail_id: FromPath[UUID]
) -> Response[str]:
    """Show one letter in both its forms."""
    mail, letter = await _letter(store, mail_id)
    return await page(request, store, caller, "mail", mail=mail, letter=letter)


@get("/mailbox/{mail_id:uuid}/letter", include_in_schema=False)
async def mail_html(store: GivenStore, mail_id: FromPath[UUID]) -> Response[str]:
    """Send the letter's HTML as a mail program would draw it."""
    _, letter = await _letter(store, mail_id)
    body = letter.html.replace("<head>", '<head><base target="_top">', 1)
    headers = {"content-security-policy": _LETTER_POLICY, "cache-control": "no-store"}
    return Response(body, media_type="text/html", headers=headers)


mailbox_routes = [mailbox, one_mail, mail_html]
