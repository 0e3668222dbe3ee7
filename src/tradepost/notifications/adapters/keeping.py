"""No mail server: letters stay in the database, for the demo's mailbox page."""

from uuid import UUID

from tradepost.notifications.adapters.smtp import as_message
from tradepost.notifications.types import Letter


class KeepingMailer:
    """Sends nothing, but refuses what a mail server would refuse."""

    keeps = True

    async def send(self, letter: Letter, mail_id: UUID) -> None:
        """Check that the letter could be sent. Raises `NotALetter`."""
        as_message(letter, mail_id)
