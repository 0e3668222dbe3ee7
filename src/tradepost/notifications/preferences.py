"""How people want to hear of what: topics, channels and how often, quiet hours, and what is usual where they said nothing."""

from collections.abc import Mapping
from datetime import time
from typing import Annotated, Final, get_args

import msgspec
from msgspec import Meta
from sqlalchemy import text

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.core.database import Transaction
from tradepost.core.errors import FieldErrors
from tradepost.notifications.types import Channel, Frequency, NoticeKind, Topic

TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
TOPIC_OF: Final[Mapping[NoticeKind, Topic]] = {
    "show_planned": "shows", "show_started": "shows", "evidence": "orders", "order": "orders", "message": "messages",
    "offer": "offers", "verification": "account", "alert_match": "alerts", "alert_digest": "alerts",
}  # fmt: skip
USUAL: Final[Mapping[Topic, Mapping[Channel, Frequency]]] = {
    "orders": {"email": "instant", "push": "instant", "webhook": "instant"},
    "messages": {"email": "hourly", "push": "instant", "webhook": "instant"},
    "offers": {"email": "instant", "push": "instant", "webhook": "instant"},
    "shows": {"email": "off", "push": "instant", "webhook": "instant"},
    "account": {"email": "instant", "push": "instant", "webhook": "instant"},
    "alerts": {"email": "instant", "push": "instant", "webhook": "instant"},
}
"""What holds where somebody said nothing. Alerts say how often by themselves; theirs are only on or off here."""


class Times(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When somebody wants to be left alone, and at which hour digests come; in their own time zone."""

    quiet_from: time | None = None
    quiet_to: time | None = None
    digest_hour: Annotated[int, Meta(ge=0, le=23)] = 8


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody hears of each topic by each channel, when, and in which time zone that is."""

    frequencies: dict[Topic, dict[Channel, Frequency]]
    times: Times
    timezone: str


_FREQUENCIES = text("SELECT topic, channel, frequency FROM notice_preferences WHERE user_id = :me")
_TIMES = text("""
    SELECT t.quiet_from, t.quiet_to, coalesce(t.digest_hour, 8) AS digest_hour,
           coalesce(u.timezone, (SELECT value FROM store_facts WHERE name = 'timezone'), 'UTC') AS timezone
    FROM users u LEFT JOIN notice_times t ON t.user_id = u.id WHERE u.id = :me
""")
_SET = text("""
    INSERT INTO notice_preferences (user_id, topic, channel, frequency)
    SELECT :me, * FROM unnest(CAST(:topics AS text[]), CAST(:channels AS text[]), CAST(:frequencies AS text[]))
    ON CONFLICT (user_id, topic, channel) DO UPDATE SET frequency = excluded.frequency
""")
_SET_TIMES = text("""
    INSERT INTO notice_times (user_id, quiet_from, quiet_to, digest_hour)
    VALUES (:me, CAST(:quiet_from AS time), CAST(:quiet_to AS time), :digest_hour)
    ON CONFLICT (user_id) DO UPDATE SET quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to,
        digest_hour = excluded.digest_hour
""")


async def read_preferences(tx: Transaction, caller: Caller) -> Preferences:
    """Return how the caller hears of what. Raises `SignInFirst`."""
    me = caller.check_signed_in()
    found: dict[Topic, dict[Channel, Frequency]] = {topic: dict(usual) for topic, usual in USUAL.items()}
    for row in await tx.all(_FREQUENCIES, me=me):
        found[row["topic"]][row["channel"]] = row["frequency"]
    row = await tx.one(_TIMES, me=me)
    times = Times(quiet_from=row["quiet_from"], quiet_to=row["quiet_to"], digest_hour=row["digest_hour"])
    return Preferences(frequencies=found, times=times, timezone=row["timezone"])


async def set_frequencies(tx: Transaction, caller: Caller, wanted: Mapping[Topic, Mapping[Channel, Frequency]]) -> None:
    """Note how often the caller hears of topics by channels; what is not named stays. Raises `SignInFirst`, `NotAllowed`."""
    me = caller.check_scope(PROFILE_SCOPE)
    rows = [(topic, channel, often) for topic, channels in wanted.items() for channel, often in channels.items()]
    if rows:
        topics, channels, often = (list(column) for column in zip(*rows, strict=True))
        await tx.run(_SET, me=me, topics=topics, channels=channels, frequencies=often)


async def set_times(tx: Transaction, caller: Caller, times: Times) -> None:
    """Note when the caller wants to be left alone. Raises `FieldErrors`, `SignInFirst`, `NotAllowed`."""
    me = caller.check_scope(PROFILE_SCOPE)
    if (times.quiet_from is None) != (times.quiet_to is None) or (
        times.quiet_from is not None and times.quiet_from == times.quiet_to
    ):
        raise FieldErrors({"quiet_to": "Quiet hours need a beginning and another end."})
    await tx.run(_SET_TIMES, me=me, quiet_from=times.quiet_from, quiet_to=times.quiet_to, digest_hour=times.digest_hour)


async def switch_off(tx: Transaction, user: Caller, topic: Topic) -> None:
    """Have somebody hear of a topic by letter no more."""
    await set_frequencies(tx, user, {topic: {"email": "off"}})
