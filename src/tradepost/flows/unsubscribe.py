"""No more letters about something, by the link in a letter: without signing in, and only that.

The link is signed, holds whom it is about and what, and works for ever: a letter may be read a year later.
"""

from typing import Final
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.alerts.service import set_letters
from tradepost.core.crypto import KeyMissing, Keyring
from tradepost.core.database import SYSTEM
from tradepost.flows.store import Store
from tradepost.notifications.preferences import USUAL, set_frequencies
from tradepost.notifications.push import NotASubscription, decode, encode
from tradepost.notifications.types import NoSuchLink, Topic

_PURPOSE: Final = "unsubscribe"
_NAMES: Final[dict[Topic, str]] = {
    "orders": "orders", "messages": "messages", "offers": "offers", "shows": "shows", "account": "your account", "alerts": "alerts",
}  # fmt: skip


class Unsubscription(msgspec.Struct, frozen=True, array_like=True):
    """Whose letters, about what: one alert alone, or whole topics."""

    user_id: UUID
    topics: tuple[Topic, ...]
    alert_id: UUID | None = None

    @property
    def about(self) -> str:
        """What it is about, in words."""
        return "this alert" if self.alert_id else " and ".join(_NAMES[topic] for topic in self.topics)


def unsubscribe_path(keys: Keyring, stop: Unsubscription) -> str:
    """Return the address that stops these letters."""
    data = msgspec.json.encode(stop)
    return f"/unsubscribe/{encode(data)}.{keys.sign(data, _PURPOSE)}"


def read_token(keys: Keyring, token: str) -> Unsubscription:
    """Return what a link is about. Raises `NoSuchLink` for one that the store did not write."""
    written, _, signed = token.partition(".")
    try:
        data = decode(written)
        if not keys.is_signed(data, signed, _PURPOSE):
            raise NoSuchLink
        return msgspec.json.decode(data, type=Unsubscription)
    except (NotASubscription, KeyMissing, msgspec.MsgspecError, UnicodeError):
        raise NoSuchLink from None


async def unsubscribe(store: Store, token: str, *, again: bool = False) -> Unsubscription:
    """Send no more such letters, or send them `again`; return what it was about. Idempotent. Raises `NoSuchLink`."""
    stop = read_token(store.keys, token)
    async with store.db.transaction(actor=SYSTEM) as tx:
        if stop.alert_id is not None:
            await set_letters(tx, stop.user_id, stop.alert_id, is_on=again)
        else:
            often = {
                topic: USUAL[topic]["email"] if USUAL[topic]["email"] != "off" else "instant" for topic in stop.topics
            }
            await set_frequencies(
                tx, Caller(stop.user_id), {topic: {"email": often[topic] if again else "off"} for topic in stop.topics}
            )
    return stop
