"""Commands on shows: planning, going live, ending; their list; comments, likes, moderation. `tx` is the system's throughout."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.clock import now
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.ids import uuid7
from tradepost.core.live import Entry, give_after_commit, ring_after_commit
from tradepost.core.text import one_line, paragraphs
from tradepost.streams import queries
from tradepost.streams.events import ShowEnded, ShowScheduled, ShowStarted
from tradepost.streams.types import (
    MOST_PINS,
    AlreadyLive,
    BadStreamAddress,
    Comment,
    EmptyComment,
    Happening,
    NoStreamAddress,
    NoSuchComment,
    NoSuchPin,
    NoSuchStream,
    NotWelcome,
    NotYourShow,
    PinnedAlready,
    SaidTwice,
    StreamForm,
    TooManyPins,
    TooSoon,
    WrongMoment,
)

ALL_SHOWS: Final = "streams"
_LATEST_PLAN = timedelta(days=366)
_ADDRESSES = ("https://", "http://")
_ENDINGS = (".m3u8", ".mp4")

on_violation("uq_streams_live", AlreadyLive)
on_violation("uq_stream_listings_open", PinnedAlready)
on_violation("uq_stream_events_stream_id_user_id_nonce", SaidTwice)

_ADD = text("""
    INSERT INTO streams (id, host_id, title, description, category_id, scheduled_at, stream_url, thumbnail_file_id)
    VALUES (:id, :host_id, :title, :description, :category_id, :scheduled_at, :stream_url, :thumbnail_file_id)
""")
_CHANGE = text("""
    UPDATE streams SET title = :title, description = :description, category_id = :category_id, scheduled_at = :scheduled_at,
           stream_url = :stream_url, thumbnail_file_id = coalesce(CAST(:thumbnail_file_id AS uuid), thumbnail_file_id) WHERE id = :id
""")
_MOVE_SHOWS = text("UPDATE streams SET category_id = :target WHERE category_id = :source")
_START = text("UPDATE streams SET status = 'live', started_at = clock_timestamp() WHERE id = :id")
_END = text("UPDATE streams SET status = 'ended', ended_at = clock_timestamp() WHERE id = :id")
_RECORDING = text("UPDATE streams SET recording_url = :recording_url WHERE id = :id")
_VIEWED = text("UPDATE streams SET views = views + 1 WHERE id = :id")
_SHARED = text("UPDATE streams SET shares = shares + 1 WHERE id = :id")
_ADD_PIN = text("""
    INSERT INTO stream_listings (stream_id, position, listing_id, variant_id, price_minor, currency)
    SELECT :stream_id, coalesce(max(position), 0) + 1, :listing_id, :variant_id, :price_minor, :currency
    FROM stream_listings WHERE stream_id = :stream_id RETURNING position
""")
_COUNT_PINS = text("SELECT count(*) FROM stream_listings WHERE stream_id = :stream_id")
_DROP_PIN = text(
    "DELETE FROM stream_listings WHERE stream_id = :stream_id AND position = :position AND pinned_from IS NULL"
)
_PIN = text("""
    UPDATE stream_listings SET pinned_from = clock_timestamp(), price_minor = :price_minor
    WHERE stream_id = :stream_id AND position = :position AND pinned_from IS NULL
""")
_UNPIN = text("""
    UPDATE stream_listings SET pinned_to = clock_timestamp()
    WHERE stream_id = :stream_id AND position = :position AND pinned_from IS NOT NULL AND pinned_to IS NULL
""")
_UNPIN_ALL = text("""
    UPDATE stream_listings SET pinned_to = clock_timestamp()
    WHERE stream_id = :stream_id AND pinned_from IS NOT NULL AND pinned_to IS NULL
""")
_NOTE = text(f"""
    WITH e AS (INSERT INTO stream_events (stream_id, kind, user_id, body, data, nonce)
               VALUES (:stream_id, :kind, :user_id, :body, :data, :nonce) RETURNING *)
    SELECT {queries.HAPPENING} FROM e JOIN streams s ON s.id = e.stream_id LEFT JOIN users u ON u.id = e.user_id
""")  # our own text
_REMOVE = text("""
    UPDATE stream_events SET body = '', removed_at = now()
    WHERE stream_id = :stream_id AND seq = :seq AND kind = 'comment' AND removed_at IS NULL RETURNING user_id
""")
_MUTE = text("INSERT INTO stream_mutes (stream_id, user_id) VALUES (:stream_id, :user_id) ON CONFLICT DO NOTHING")
_UNMUTE = text("DELETE FROM stream_mutes WHERE stream_id = :stream_id AND user_id = :user_id")
_LIKE = text("INSERT INTO stream_likes (stream_id, user_id) VALUES (:stream_id, :me) ON CONFLICT DO NOTHING")
_UNLIKE = text("DELETE FROM stream_likes WHERE stream_id = :stream_id AND user_id = :me")
_WATCH = text("""
    WITH mine AS (INSERT INTO stream_viewers (stream_id, process, viewers) VALUES (:stream_id, :process, :viewers)
                  ON CONFLICT (stream_id, process) DO UPDATE SET viewers = excluded.viewers, seen_at = now()),
         gone AS (DELETE FROM stream_viewers WHERE stream_id = :stream_id AND seen_at < now() - interval '1 hour')
    UPDATE streams SET most_viewers = :total WHERE id = :stream_id AND most_viewers < :total
""")
_OTHERS = text(f"""
    SELECT coalesce(sum(viewers), 0)::int FROM stream_viewers
    WHERE stream_id = :stream_id AND process <> :process AND seen_at > now() - interval '{queries.FRESH_S} seconds'
""")  # our own text


def topic_of(stream_id: UUID) -> str:
    """Return the topic that is rung when something happens in a show."""
    return f"stream:{stream_id}"


async def move_shows(tx: Transaction, source: UUID, target: UUID) -> int:
    """Give the shows of one category to another; return how many."""
    return await tx.run(_MOVE_SHOWS, source=source, target=target)


async def note(
    tx: Transaction, stream_id: UUID, kind: str, *, user_id: UUID | None = None, body: str = "",
    data: dict[str, Any] | None = None, nonce: str | None = None,
) -> Happening:  # fmt: skip
    """Write a line in a show's log and tell those who watch; return it. Locks the show until the commit."""
    written = await tx.one(
        _NOTE, into=Happening, stream_id=stream_id, kind=kind, user_id=user_id, body=body, data=data or {}, nonce=nonce
    )
    give_after_commit(tx, topic_of(stream_id), entry_of(written))
    return written


def check_video(address: str, field: str) -> str | None:
    """Return the address of a video as it is kept, None for none. Raises `BadStreamAddress`."""
    address = address.strip()
    if not address:
        return None
    path = address.partition("?")[0]
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    if (
        not (is_ours or address.startswith(_ADDRESSES))
        or not path.endswith(_ENDINGS)
        or any(c in address for c in " ;,'\"")
    ):
        raise BadStreamAddress(field)
    return address


def _check_plan(when: datetime) -> datetime:
    moment = now()
    if when.tzinfo is None or not moment - timedelta(minutes=10) <= when <= moment + _LATEST_PLAN:
        raise TooSoon
    return when


async def schedule_show(
    tx: Transaction, caller: Caller, form: StreamForm, category_id: UUID, thumbnail_file_id: UUID | None
) -> UUID:
    """Plan a show of the caller's. Raises `TooSoon`, `BadStreamAddress`."""
    stream_id = uuid7()
    me = caller.check_signed_in()
    await tx.run(
        _ADD, id=stream_id, host_id=me, title=one_line(form.title), description=paragraphs(form.description), category_id=category_id,
        scheduled_at=_check_plan(form.scheduled_at), stream_url=check_video(form.stream_url, "stream_url"),
        thumbnail_file_id=thumbnail_file_id,
    )  # fmt: skip
    await record(tx, ShowScheduled(stream_id, me), subject_id=stream_id)
    return stream_id


async def change_show(
    tx: Transaction,
    caller: Caller,
    stream_id: UUID,
    form: StreamForm,
    category_id: UUID,
    thumbnail_file_id: UUID | None,
) -> None:
    """Change a show that is not over; its moment only while it is planned. Raises `NotYourShow`, `WrongMoment`, `TooSoon`."""
    status = await lock_own(tx, caller, stream_id)
    if status == "ended":
        raise WrongMoment("over")
    known = await queries.get_stream(tx, stream_id)
    when = (
        _check_plan(form.scheduled_at)
        if status == "scheduled" and form.scheduled_at != known.scheduled_at
        else known.scheduled_at
    )
    address = check_video(form.stream_url, "stream_url")
    if status == "live" and address is None:
        raise NoStreamAddress
    await tx.run(
        _CHANGE, id=stream_id, title=one_line(form.title), description=paragraphs(form.description), category_id=category_id,
        scheduled_at=when, stream_url=address, thumbnail_file_id=thumbnail_file_id,
    )  # fmt: skip


async def lock_own(tx: Transaction, caller: Caller, stream_id: UUID) -> str:
    """Lock a show of the caller's own and return its status. Raises `NoSuchStream`, `NotYourShow`."""
    me = caller.check_signed_in()
    status = await tx.value(queries.LOCKED, stream_id=stream_id)
    if status is None:
        raise NoSuchStream
    if (await queries.get_stream(tx, stream_id)).host_id != me:
        raise NotYourShow
    return str(status)


async def lock_live(tx: Transaction, caller: Caller, stream_id: UUID) -> None:
    """Lock a live show of the caller's own. Raises `NoSuchStream`, `NotYourShow`, `WrongMoment`."""
    status = await lock_own(tx, caller, stream_id)
    if status != "live":
        raise WrongMoment("over" if status == "ended" else "planned")


async def go_live(tx: Transaction, caller: Caller, stream_id: UUID) -> None:
    """Begin a planned show. Raises `NotYourShow`, `WrongMoment`, `NoStreamAddress`, `AlreadyLive`."""
    status = await lock_own(tx, caller, stream_id)
    if status != "scheduled":
        raise WrongMoment("live" if status == "live" else "over")
    known = await queries.get_stream(tx, stream_id)
    if known.stream_url is None:
        raise NoStreamAddress
    await tx.run(_START, id=stream_id)
    await note(tx, stream_id, "started", user_id=known.host_id)
    ring_after_commit(tx, ALL_SHOWS, note={"live": str(stream_id)})
    await record(tx, ShowStarted(stream_id, known.host_id), subject_id=stream_id)


async def end_show(tx: Transaction, caller: Caller, stream_id: UUID) -> None:
    """End a live show, or call off a planned one. Takes down its pins. Raises `NotYourShow`, `WrongMoment`."""
    status = await lock_own(tx, caller, stream_id)
    if status == "ended":
        raise WrongMoment("over")
    me = caller.check_signed_in()
    await tx.run(_UNPIN_ALL, stream_id=stream_id)
    await tx.run(_END, id=stream_id)
    await note(tx, stream_id, "ended", user_id=me)
    ring_after_commit(tx, ALL_SHOWS, note={"over": str(stream_id)})
    await record(tx, ShowEnded(stream_id, me), subject_id=stream_id)


async def set_recording(tx: Transaction, caller: Caller, stream_id: UUID, address: str) -> None:
    """Say where the recording of a show is, or that there is none. Raises `NotYourShow`, `BadStreamAddress`."""
    await lock_own(tx, caller, stream_id)
    await tx.run(_RECORDING, id=stream_id, recording_url=check_video(address, "recording_url"))


async def add_pin(
    tx: Transaction,
    caller: Caller,
    stream_id: UUID,
    listing_id: UUID,
    variant_id: UUID,
    price_minor: int | None,
    currency: str,
) -> int:
    """Put a listing on a show's list; return its position. Raises `NotYourShow`, `WrongMoment`, `PinnedAlready`, `TooManyPins`."""
    if await lock_own(tx, caller, stream_id) == "ended":
        raise WrongMoment("over")
    if await tx.value(_COUNT_PINS, stream_id=stream_id) >= MOST_PINS:
        raise TooManyPins
    position: int = await tx.value(
        _ADD_PIN,
        stream_id=stream_id,
        listing_id=listing_id,
        variant_id=variant_id,
        price_minor=price_minor,
        currency=currency,
    )
    return position


async def drop_pin(tx: Transaction, caller: Caller, stream_id: UUID, position: int) -> None:
    """Take something off the list that was not shown yet. Raises `NotYourShow`, `NoSuchPin`."""
    await lock_own(tx, caller, stream_id)
    if not await tx.run(_DROP_PIN, stream_id=stream_id, position=position):
        raise NoSuchPin


async def pin(tx: Transaction, caller: Caller, stream_id: UUID, position: int, price_minor: int | None = None) -> None:
    """Show something of the list; with a price from now on at that. Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`."""
    await lock_live(tx, caller, stream_id)
    known = await queries.get_pin(tx, stream_id, position)
    live = price_minor if price_minor is not None else known.live_minor
    if not await tx.run(_PIN, stream_id=stream_id, position=position, price_minor=live):
        raise NoSuchPin
    await note(
        tx,
        stream_id,
        "pinned",
        user_id=caller.user_id,
        data=_goods(position, known.title, live or known.own_minor, known.currency, known.left),
    )


async def unpin(tx: Transaction, caller: Caller, stream_id: UUID, position: int) -> None:
    """Show something no more. Raises `NotYourShow`, `WrongMoment`, `NoSuchPin`."""
    await lock_live(tx, caller, stream_id)
    known = await queries.get_pin(tx, stream_id, position)
    if not await tx.run(_UNPIN, stream_id=stream_id, position=position):
        raise NoSuchPin
    await note(tx, stream_id, "unpinned", user_id=caller.user_id, data={"position": position, "title": known.title})


def _goods(position: int, title: str, price_minor: int | None, currency: str, left: Decimal | None) -> dict[str, Any]:
    return {"position": position, "title": title, "price_minor": price_minor, "currency": currency,
            "left": None if left is None else f"{left.normalize():f}"}  # fmt: skip


async def note_sale(tx: Transaction, stream_id: UUID, position: int, mark: str, *, is_paid: bool) -> None:
    """Tell a show that something of its list was ordered, with what is left by now; nobody hears who it was.

    Raises `SaidTwice` for a `mark` that was told before.
    """
    known = await queries.get_pin(tx, stream_id, position)
    host = (await queries.get_stream(tx, stream_id)).host_id
    data = _goods(position, known.title, known.price_minor, known.currency, known.left) | {"is_paid": is_paid}
    await note(tx, stream_id, "sold", user_id=host, data=data, nonce=mark)


async def say(tx: Transaction, caller: Caller, stream_id: UUID, comment: Comment) -> Happening:
    """Say something in a live show. Raises `EmptyComment`, `NoSuchStream`, `WrongMoment`, `NotWelcome`, `SaidTwice`."""
    me = caller.check_signed_in()
    body = one_line(comment.body)
    if not body:
        raise EmptyComment
    known = await tx.maybe(queries.MAY_SAY, stream_id=stream_id, user_id=me)
    if known is None:
        raise NoSuchStream
    if known["status"] != "live":
        raise WrongMoment("over" if known["status"] == "ended" else "planned")
    if known["is_muted"]:
        raise NotWelcome
    return await note(tx, stream_id, "comment", user_id=me, body=body, nonce=comment.nonce or None)


def entry_of(happening: Happening) -> Entry:
    """Return a line of a show's log as those who watch are told it."""
    return Entry("show", happening, happening.seq)


async def remove_comment(
    tx: Transaction, caller: Caller, stream_id: UUID, seq: int, *, mute: bool, as_staff: bool
) -> None:
    """Empty a comment: its writer's, the host's and staff's to do; with `mute` its writer says nothing more here.

    Raises `NotYourShow`, `NoSuchComment`.
    """
    me = caller.check_signed_in()
    known = await queries.get_stream(tx, stream_id)
    said = await tx.maybe(queries.ONE, into=Happening, stream_id=stream_id, seq=seq)
    if said is None or said.kind != "comment":
        raise NoSuchComment
    leads = known.host_id == me or as_staff
    if not leads and said.user_id != me:
        raise NotYourShow
    if await tx.value(_REMOVE, stream_id=stream_id, seq=seq) is not None:
        await note(tx, stream_id, "removed", data={"seq": seq})
    if mute and leads and said.user_id != known.host_id:
        await tx.run(_MUTE, stream_id=stream_id, user_id=said.user_id)


async def let_speak(tx: Transaction, caller: Caller, stream_id: UUID, user_id: UUID) -> None:
    """Take comments from somebody again. Raises `NotYourShow`."""
    await lock_own(tx, caller, stream_id)
    await tx.run(_UNMUTE, stream_id=stream_id, user_id=user_id)


async def like_show(tx: Transaction, caller: Caller, stream_id: UUID, *, likes: bool) -> dict[str, int]:
    """Like a show, or not any more; return its counts. Idempotent. Raises `NoSuchStream`."""
    me = caller.check_signed_in()
    await queries.get_stream(tx, stream_id)
    await tx.run(_LIKE if likes else _UNLIKE, stream_id=stream_id, me=me)
    return await _tell_counts(tx, stream_id)


async def count_share(tx: Transaction, stream_id: UUID) -> dict[str, int]:
    """Count that somebody passed a show on; return its counts. Raises `NoSuchStream`."""
    if not await tx.run(_SHARED, id=stream_id):
        raise NoSuchStream
    return await _tell_counts(tx, stream_id)


async def _tell_counts(tx: Transaction, stream_id: UUID) -> dict[str, int]:
    counts = await queries.counts_of(tx, stream_id)
    ring_after_commit(tx, topic_of(stream_id), note={"likes": counts["likes"], "shares": counts["shares"]})
    return counts


async def count_stream_view(tx: Transaction, stream_id: UUID) -> None:
    """Count that somebody opened a show."""
    await tx.run(_VIEWED, id=stream_id)


async def note_viewers(tx: Transaction, stream_id: UUID, process: str, viewers: int) -> int:
    """Keep how many watch through one process; return how many watch in all."""
    total: int = viewers + int(await tx.value(_OTHERS, stream_id=stream_id, process=process))
    await tx.run(_WATCH, stream_id=stream_id, process=process, viewers=viewers, total=total)
    return total
