"""Text messages: through whatever service the operator names, or nowhere.

What is sent: `POST {url}` with a bearer token and JSON `{to, text}`, the number as +263771234567. Any 200 is a yes; 400, 404 and 422 are
refusals of this number or text; everything else is tried again.
"""

from typing import Final

import msgspec

from tradepost.core.errors import DomainError
from tradepost.core.http import Outside
from tradepost.core.settings import SmsSettings
from tradepost.notifications.types import MessengerAway, TextMessage, TextRefused

_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")
_REFUSED: Final = frozenset({400, 404, 422})


class KeepingMessenger:
    """Sends nothing: messages stay in the database, for the demo's mailbox page."""

    keeps = True

    async def send(self, message: TextMessage) -> None:
        """Do nothing."""


class HttpMessenger:
    """Hands messages to a service over HTTP. Its address is the operator's own choice and may be in the house."""

    keeps = False

    def __init__(self, settings: SmsSettings) -> None:
        self._settings = settings

    async def send(self, message: TextMessage) -> None:
        """Hand a message over. Raises `MessengerAway`, `TextRefused`."""
        body = msgspec.json.encode({"to": message.to, "text": message.text})
        headers = {"authorization": f"Bearer {self._settings.key}", "content-type": "application/json"}
        try:
            async with Outside(allowed=_EVERYWHERE) as outside:
                reply = await outside.fetch(
                    self._settings.url, method="POST", headers=headers, content=body, redirects=0, most_bytes=100_000,
                    seconds=self._settings.timeout_ms / 1000,
                )  # fmt: skip
        except DomainError as error:
            raise MessengerAway from error
        if reply.status in _REFUSED:
            raise TextRefused
        if not reply.is_success:
            raise MessengerAway
