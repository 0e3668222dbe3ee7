"""Telling people what their alerts found: each find at once, or so many in a digest; within the store and by the ways they chose."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from babel.numbers import format_currency

from tradepost.alerts.matching import Match
from tradepost.alerts.telling import Find, finds_of, note_told, put_into_digests, take_digests
from tradepost.alerts.types import Telling
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.jobs import scheduled
from tradepost.core.money import to_major
from tradepost.flows.store import Store
from tradepost.notifications.notices import News, tell_each
from tradepost.notifications.types import Channel, Frequency

_AT_ONCE: Final = 200
_WORDS: Final = {"new": "New", "changed": "New", "price_drop": "Cheaper", "back_in_stock": "Back"}


async def tell_matches(tx: Transaction, store: Store, matches: Sequence[Match]) -> None:
    """Tell of what was found: those who want it at once are told, for the others it waits. In the transaction that wrote it down."""
    if not matches:
        return
    finds = await finds_of(tx, matches)
    now = [find for find in finds if find.telling.frequency == "instant" and not find.is_broad]
    later = list(dict.fromkeys(find.alert_id for find in finds if find.telling.frequency != "instant" or find.is_broad))
    await tell_each(tx, "alert_match", [_news(store, mine) for mine in _by_person_and_subject(now)])
    await note_told(tx, now)
    await put_into_digests(tx, later)


def _by_person_and_subject(finds: Iterable[Find]) -> Iterable[list[Find]]:
    """Gather what several alerts of one person found, so that it is told once."""
    same: dict[tuple[UUID, UUID], list[Find]] = {}
    for find in finds:
        same.setdefault((find.user_id, subject_of(find)), []).append(find)
    return same.values()


def subject_of(find: Find) -> UUID:
    """Return what is told once: a listing, each further price of it, and each day on which it is back."""
    if find.reason == "price_drop":
        return uuid5(find.listing_id, f"price:{find.price_minor}")
    if find.reason == "back_in_stock":
        return uuid5(find.listing_id, f"back:{find.matched_at:%Y-%m-%d}")
    return find.listing_id


def _news(store: Store, finds: list[Find]) -> News:
    first = finds[0]
    chosen = [channels_of(find.telling, "instant") for find in finds]
    return News(
        user_id=first.user_id, subject_id=subject_of(first), title=f"{_WORDS[first.reason]}: {first.title}", path=first.path,
        content=f"{_price(store, first)}{' · ' if first.price_minor is not None else ''}for “{first.alert_name}”",
        data={"alert_id": first.alert_id, "listing_id": first.listing_id, "reason": first.reason},
        channels={c: "instant" if any(one[c] != "off" for one in chosen) else "off" for c in ("email", "push", "webhook")},
    )  # fmt: skip


def channels_of(telling: Telling, often: Frequency) -> dict[Channel, Frequency]:
    """Return by which ways an alert tells."""
    return {
        "email": often if telling.email else "off",
        "push": often if telling.push else "off",
        "webhook": often if telling.webhook else "off",
    }


def _price(store: Store, find: Find) -> str:
    if find.price_minor is None or find.currency is None:
        return ""
    now = _money(store, find.price_minor, find.currency)
    if find.reason == "price_drop" and find.price_before is not None:
        return f"{now} instead of {_money(store, find.price_before, find.currency)}"
    return now


def _money(store: Store, minor: int, currency: str) -> str:
    return str(format_currency(to_major(minor, currency), currency, locale=store.settings.store.locale))


@scheduled("alerts.send_digests", cron="* * * * *", time_limit=timedelta(minutes=15))
async def send_digests(store: Store) -> None:
    """Tell what has gathered for those who want it hourly, daily or weekly, and for broad alerts."""
    while await send_some_digests(store) == _AT_ONCE:
        pass


async def send_some_digests(store: Store) -> int:
    """Tell of up to 200 alerts whose digest is due; return how many. What it says is noted as told in the same transaction."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        digests = await take_digests(tx, _AT_ONCE)
        told: list[News] = []
        for one in (digest for digest in digests if digest.count):
            data: dict[str, Any] = {"alert_id": one.alert_id, "count": one.count}
            told.append(News(
                user_id=one.user_id, subject_id=uuid5(one.alert_id, one.digest_at.isoformat()),
                title=f"{one.count} new for “{one.alert_name}”", path=f"/me/matches?alert={one.alert_id}",
                content=" · ".join(one.titles), data=data,
                channels=channels_of(msgspec.convert(one.settings, Telling), "instant"),
            ))  # fmt: skip
        await tell_each(tx, "alert_digest", told)
    return len(digests)
