"""Notices: followers are told of shows, and whoever has a page open sees it at once."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import enqueue, job, scheduled
from tradepost.core.live import Entry, bells_of
from tradepost.core.pages import Page
from tradepost.flows.store import Store
from tradepost.notifications import notices
from tradepost.notifications.notices import Notice
from tradepost.notifications.types import NoticeKind
from tradepost.streams import queries
from tradepost.streams.events import ShowScheduled, ShowStarted
from tradepost.streams.types import NoSuchStream, Stream

AT_ONCE: Final = 1_000  # followers told in one transaction

_FOLLOWERS = text("""
    SELECT f.follower_id FROM follows f JOIN users u ON u.id = f.follower_id AND u.is_active
    WHERE f.followed_id = :host_id AND f.follower_id > :after ORDER BY f.follower_id LIMIT :limit
""")


class FollowersArgs(msgspec.Struct, frozen=True):
    """Whose followers are told of which show, and after whom to go on."""

    stream_id: UUID
    kind: NoticeKind
    after: UUID = UUID(int=0)


@job("notices.tell_of_plan", args=ShowScheduled)
async def tell_of_plan(store: Store, fact: ShowScheduled) -> None:
    """Tell a host's followers that a show is planned."""
    await tell_followers(store, FollowersArgs(fact.stream_id, "show_planned"))


@job("notices.tell_of_start", args=ShowStarted)
async def tell_of_start(store: Store, fact: ShowStarted) -> None:
    """Tell a host's followers that a show is on."""
    await tell_followers(store, FollowersArgs(fact.stream_id, "show_started"))


@job("notices.tell_followers", args=FollowersArgs)
async def tell_followers(store: Store, args: FollowersArgs) -> None:
    """Tell so many of a host's followers, and have the rest told by another job. Idempotent; nothing of a show that is no news."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        try:
            stream = await queries.get_stream(tx, args.stream_id)
        except NoSuchStream:
            return
        if stream.status != ("live" if args.kind == "show_started" else "scheduled"):
            return
        people = await tx.values(_FOLLOWERS, host_id=stream.host_id, after=args.after, limit=AT_ONCE)
        await notices.tell(tx, people, args.kind, stream.id, _sentence(stream, args.kind), stream.path)
        if len(people) == AT_ONCE:
            await enqueue(tx, "notices.tell_followers", FollowersArgs(args.stream_id, args.kind, people[-1]))


def _sentence(stream: Stream, kind: NoticeKind) -> str:
    if kind == "show_started":
        return f"{stream.host_name} is live: {stream.title}"
    return f"{stream.host_name} plans a show: {stream.title}"


@scheduled("notices.forget_notices", cron="17 3 * * *")
async def forget_notices(store: Store) -> None:
    """Forget what people were told long ago."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await notices.forget(tx)


async def read_notices(store: Store, caller: Caller, *, after: str | None = None) -> Page[Notice]:
    """Return what the caller was told, the latest first. Raises `SignInFirst`, `NoSuchPage`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await notices.list_notices(tx, caller, after=after)


async def mark_notices_read(store: Store, caller: Caller) -> int:
    """Note that the caller has seen what they were told; return how much was new. Raises `SignInFirst`, `NotAllowed`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await notices.read_all(tx, caller)


async def mark_notice_read(store: Store, caller: Caller, notice_id: UUID) -> None:
    """Note that the caller has seen one thing they were told. Idempotent. Raises `SignInFirst`, `NotAllowed`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await notices.read_one(tx, caller, notice_id)


async def watch_notices(store: Store, caller: Caller) -> AsyncGenerator[list[Entry], None]:
    """Return how much the caller has not seen: now, and with each thing they are told."""
    return _watch(store, caller.check_signed_in())


async def _watch(store: Store, me: UUID) -> AsyncGenerator[list[Entry], None]:
    yield [await _unread(store, me)]
    async with aclosing(bells_of(store.db).watch(notices.notices_of(me), _nothing, None, _zero)) as watch:
        async for entries in watch:
            yield [*entries, await _unread(store, me)] if entries else []


async def _unread(store: Store, me: UUID) -> Entry:
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        return Entry("unread", {"unread": await notices.count_unread(tx, me)})


async def _nothing(_after: int) -> list[Entry]:
    return []


async def _zero() -> int:
    return 0
