"""What sends letters, as the rest of the product sees it."""

from typing import Protocol
from uuid import UUID

from tradepost.notifications.types import Letter, TextMessage


class Mailer(Protocol):
    """A way for letters to leave the house."""

    @property
    def keeps(self) -> bool:
        """Whether letters stay here, to be looked at, because there is no mail server."""
        ...

    async def send(self, letter: Letter, mail_id: UUID) -> None:
        """Hand a letter over. The id becomes its Message-ID, so that one sent twice can be known for the same.

        Raises `MailServerAway` where trying again may help, `MailRefused` where it will not, `NotALetter`.
        """
        ...


class Messenger(Protocol):
    """A way for text messages to leave the house."""

    @property
    def keeps(self) -> bool:
        """Whether messages stay here, to be looked at, because there is no service."""
        ...

    async def send(self, message: TextMessage) -> None:
        """Hand a message over. Raises `MessengerAway` where trying again may help, `TextRefused` where it will not."""
        ...
