"""Letters by SMTP, with the standard library's client in a thread.

Promises that a password never goes over a connection that is not encrypted (but to this machine itself), that certificates are
checked, and that a letter's fields cannot become headers or commands.
"""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit
from uuid import UUID

from tradepost.core.clock import now
from tradepost.core.text import is_plain
from tradepost.notifications.types import BadMailServer, Letter, MailRefused, MailServerAway, NotALetter

SECONDS = 20.0
_HEADERS = HeaderRegistry()
_HERE = {"localhost", "127.0.0.1", "::1"}


class _OnOneLine(UnstructuredHeader):
    """A header that is not folded: Python would write a long address as an encoded word, which no mail program opens."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        """Return the header as one line."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS.map_to_type("list-unsubscribe", _OnOneLine)  # type: ignore[arg-type]  # the registry adds the base class by itself
_POLICY = SMTP.clone(header_factory=_HEADERS)


@dataclass(frozen=True, repr=False)
class SmtpServer:
    """Where letters are handed over. `is_tls`: encrypted from the first byte; otherwise by STARTTLS where it is offered."""

    host: str
    port: int
    is_tls: bool
    user: str = ""
    password: str = ""

    @classmethod
    def from_url(cls, url: str) -> "SmtpServer":
        """Read `smtp://user:password@host:587` or `smtps://host`. Raises `BadMailServer`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its words quote what may be a piece of the password
            raise BadMailServer("it cannot be read") from None
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise BadMailServer("it does not name a mail server")
        is_tls = parts.scheme == "smtps"
        return cls(
            parts.hostname, port or (465 if is_tls else 587 if parts.username else 25), is_tls,
            unquote(parts.username or ""), unquote(parts.password or ""),
        )  # fmt: skip


class SmtpMailer:
    """Hands letters to a mail server, one connection each: letters are few and connections time out."""

    keeps = False

    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def send(self, letter: Letter, mail_id: UUID) -> None:
        """Hand a letter over. Raises `MailServerAway`, `MailRefused`, `NotALetter`."""
        await asyncio.to_thread(self._send, as_message(letter, mail_id))

    def _send(self, message: EmailMessage) -> None:
        try:
            with self._connected() as client:
                client.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _problem(code, said) from None
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPHeloError) as error:
            raise _problem(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPResponseException as error:  # a password that changed is mended by the operator, then sent
            raise MailServerAway(f"{error.smtp_code} {_said(error.smtp_error)}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise MailServerAway(str(error) or type(error).__name__) from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context()
        if server.is_tls:
            client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=context)
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
        try:
            self._greet(client, context)
        except BaseException:
            client.close()
            raise
        return client

    def _greet(self, client: smtplib.SMTP, context: ssl.SSLContext) -> None:
        server = self._server
        client.ehlo()
        if not server.is_tls and client.has_extn("starttls"):
            client.starttls(context=context)
            client.ehlo()
        elif not server.is_tls and server.user and server.host not in _HERE:
            raise MailServerAway("it offers no encryption, and the password is not sent in the clear")
        if server.user:
            client.login(server.user, server.password)


def as_message(letter: Letter, mail_id: UUID) -> EmailMessage:
    """Return a letter as a mail. Raises `NotALetter` for anything that a header cannot hold."""
    for part in ("to", "subject", "sender", "sender_name", "unsubscribe"):
        value = getattr(letter, part)
        if not is_plain(value) or any(c in value for c in "\r\n\t"):
            raise NotALetter(part)
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = Address(letter.sender_name, addr_spec=letter.sender)
        message["To"] = Address(addr_spec=letter.to)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(now())
        message["Message-ID"] = f"<{mail_id}@{letter.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        if letter.unsubscribe:
            message["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(letter.text, cte="quoted-printable")
        message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
        message.as_bytes()
    except (MessageError, ValueError, IndexError):
        raise NotALetter("address") from None
    return message


def _problem(code: int, said: bytes | str) -> MailServerAway | MailRefused:
    """A 4xx may pass, a 5xx stays (RFC 5321, 4.2.1)."""
    text = f"{code} {_said(said)}"
    return MailRefused(text) if 500 <= code < 600 else MailServerAway(text)


def _said(text: bytes | str) -> str:
    return (text.decode("utf-8", "replace") if isinstance(text, bytes) else text)[:300]
