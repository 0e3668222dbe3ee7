"""Sending what people are told: letters that gather what is due, pushes to browsers, signed requests to people's own programs."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from uuid import UUID

import msgspec
import structlog

from tradepost.core.clock import now
from tradepost.core.database import SYSTEM
from tradepost.core.errors import DomainError
from tradepost.core.http import Outside, Reply
from tradepost.core.jobs import job, scheduled
from tradepost.flows.letters import sender_of, write_letter
from tradepost.flows.store import Store
from tradepost.flows.unsubscribe import Unsubscription, unsubscribe_path
from tradepost.notifications import push, sending, ways
from tradepost.notifications.preferences import TOPIC_OF
from tradepost.notifications.sending import Bundle, Due
from tradepost.notifications.service import queue_letter
from tradepost.notifications.types import Letter, Topic

SHOWN: Final = 20
"""How many notices a letter shows; it says how many more there are."""
_AT_ONCE: Final = 50
_SHARE: Final = 8
_LONGEST_S: Final = 120.0
_GONE: Final = frozenset({404, 410})
_log = structlog.get_logger("tradepost.notices")


@job("notices.send_due")
async def send_due(store: Store) -> None:
    """Send what is due by every channel, until nothing is."""
    while await send_letters(store):
        pass
    await send_outside(store)


@scheduled("notices.send_waiting", cron="* * * * *")
async def send_waiting(store: Store) -> None:
    """Send digests, what waited for the end of quiet hours, and what is tried again."""
    await send_due(store)


async def send_letters(store: Store) -> int:
    """Put what is due by letter into letters, one a person; return how many. Taken and queued in one transaction."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        bundles, unreachable = await sending.take_letters(tx)
        mails: list[tuple[Bundle, UUID]] = []
        for bundle in bundles:
            letter = letter_of(store, bundle)
            mails.append((bundle, await queue_letter(tx, store.keys, "notices", letter, bundle.user_id)))
        await sending.note_queued(tx, mails, unreachable)
    return len(bundles)


def letter_of(store: Store, bundle: Bundle) -> Letter:
    """Write the letter that tells somebody everything that is due to them, with the way to stop it."""
    told = bundle.notices
    topics: tuple[Topic, ...] = tuple(sorted({TOPIC_OF[one.kind] for one in told}))
    alerts = {str(one.data.get("alert_id", "")) for one in told}
    only = alerts.pop() if len(alerts) == 1 else ""
    stop = Unsubscription(bundle.user_id, topics, UUID(only) if only else None)
    address = store.base_url + unsubscribe_path(store.keys, stop)
    letter = write_letter(
        store, "notices", bundle.email, name=bundle.username, notices=told[:SHOWN], more=max(len(told) - SHOWN, 0),
        link=store.base_url + (told[0].path if len(told) == 1 else "/notices"), stop=address, about=stop.about,
        settings=store.base_url + "/me/notices",
    )  # fmt: skip
    return msgspec.structs.replace(letter, unsubscribe=store.base_url + "/api" + unsubscribe_path(store.keys, stop))


async def send_outside(store: Store) -> int:
    """Send what is due by push and web hook; return how much was taken. What is not noted in two minutes another sends again.

    What somebody's program takes long for delays nobody else's: as one is done the next is taken, and of each person only some at once.
    What is due after some minutes of this is left to whoever is called next.
    """
    sent, ends = 0, asyncio.get_running_loop().time() + _LONGEST_S
    running: dict[asyncio.Task[None], UUID] = {}
    async with Outside(allowed=store.installation.http.reachable, agent="Tradepost notices") as outside:
        try:
            while True:
                taken = await _take(store, running.values()) if asyncio.get_running_loop().time() < ends else []
                sent += len(taken)
                running |= {asyncio.create_task(_send(store, outside, due)): due.user_id for due in taken}
                if not running:
                    return sent
                if not taken or len(running) == _AT_ONCE:
                    await _some_end(running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _some_end(running: dict[asyncio.Task[None], UUID]) -> None:
    """Wait for a few of these. One that could not be noted is sent again."""
    ended = 0
    while running and ended < _SHARE // 2:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        ended += len(done)
        for task in done:
            del running[task]
            if error := task.exception():
                _log.error("notice.not_noted", exc_info=error)


async def _take(store: Store, people: Iterable[UUID]) -> list[Due]:
    """Take more of what is due, of people who are not told as much as they may be already."""
    told = Counter(people)
    async with store.db.transaction(actor=SYSTEM) as tx:
        but = [person for person, count in told.items() if count >= _SHARE]
        return await sending.take_due(tx, _AT_ONCE - told.total(), _SHARE, but)


async def _send(store: Store, outside: Outside, due: Due) -> None:
    """Send one and note what came of it: sent, tried again later, or never. One that nobody foresaw is one that failed."""
    ways_to_send: dict[str, Callable[[Store, Outside, Due], Awaitable[str | None]]] = {"push": _push, "webhook": _call}
    try:
        problem = await ways_to_send[due.channel](store, outside, due)
    except DomainError as error:
        problem = error.message
    except Exception:  # noqa: BLE001  # whatever it was, it is put off and ends after its tries; the others go on
        _log.exception("notice.failed", store=store.code, channel=due.channel, notice_id=str(due.notice_id))
        problem = "something unexpected went wrong"
    async with store.db.transaction(actor=SYSTEM) as tx:
        if due.channel == "webhook":
            await ways.note_hook(tx, due.user_id, problem)
        if problem is None:
            await sending.note_sent(tx, due)
        else:
            await sending.put_off(tx, due, problem)
            _log.info("notice.put_off", store=store.code, channel=due.channel, tries=due.tries, problem=problem[:200])


async def _call(store: Store, outside: Outside, due: Due) -> str | None:
    """Tell somebody's program; return what went wrong. The number of the notice is the same however often it is sent."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        hook = await ways.hook_of(tx, store.keys, due.user_id)
    if hook is None:
        return "there is no address any more"
    url, secret = hook
    body = msgspec.json.encode({
        "id": due.notice_id, "kind": due.kind, "topic": TOPIC_OF[due.kind], "title": due.title, "content": due.content,
        "url": store.base_url + due.path, "data": due.data, "at": due.at, "store": store.code,
    })  # fmt: skip
    reply = await outside.fetch(
        url, method="POST", content=body, redirects=0, most_bytes=100_000, seconds=10,
        headers={"content-type": "application/json", "tradepost-id": str(due.notice_id),
                 "tradepost-signature": ways.signature(secret, body, int(now().timestamp()))},
    )  # fmt: skip
    return None if reply.is_success else f"it answers {reply.status}"


async def _push(store: Store, outside: Outside, due: Due) -> str | None:
    """Push a notice to each of somebody's browsers; return what went wrong where none took it. Browsers that are gone are forgotten."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        browsers = await ways.browsers_of(tx, store.keys, due.user_id)
        key = await ways.read_push_key(tx, store.keys)
    body = msgspec.json.encode(
        {"id": due.notice_id, "title": due.title[:200], "body": due.content[:300], "path": due.path}
    )
    replies = [await _push_one(store, outside, key, browser, body, due) for _, browser in browsers]
    async with store.db.transaction(actor=SYSTEM) as tx:
        for (browser_id, _), reply in zip(browsers, replies, strict=True):
            if isinstance(reply, Reply) and reply.status in _GONE:
                await ways.forget_browser(tx, browser_id)
    if any(isinstance(reply, Reply) and reply.is_success for reply in replies):
        return None
    last = replies[-1] if replies else "there is no browser any more"
    return last if isinstance(last, str) else f"the push service answers {last.status}"


async def _push_one(
    store: Store, outside: Outside, key: ways.PushKey, browser: push.Subscription, body: bytes, due: Due
) -> Reply | str:
    """Hand a message to a browser's push service; the topic makes one that was sent twice replace itself while it waits there."""
    headers = {
        "authorization": push.authorization(key.private, key.public, browser.endpoint, f"mailto:{sender_of(store)}", now()),
        "content-encoding": "aes128gcm", "content-type": "application/octet-stream", "ttl": "86400", "urgency": "normal",
        "topic": due.notice_id.hex,
    }  # fmt: skip
    try:
        return await outside.fetch(
            browser.endpoint, method="POST", headers=headers, content=push.encrypt(body, browser), redirects=0,
            most_bytes=100_000, seconds=10,
        )  # fmt: skip
    except DomainError as error:
        return error.message
