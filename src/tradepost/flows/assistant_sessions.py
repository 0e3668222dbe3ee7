"""Talking with the assistant: a question comes in, one answer goes out and is kept; handed over to a person, rated, forgotten.

Who answers is the built-in engine, or a language model in front of it where the settings name one; either way with the rights of
whoever asks. One question of a talk is answered at a time.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.assistant import talks
from tradepost.assistant.talks import Answered, Channel, KeptTurn, Talk
from tradepost.assistant.types import DialogueState, Reply, Turn
from tradepost.core.audit import note_look
from tradepost.core.database import SYSTEM
from tradepost.core.jobs import scheduled
from tradepost.core.limits import check_rate, network_of
from tradepost.core.settings import AssistantSettings, StoreKeys
from tradepost.core.text import paragraphs
from tradepost.flows.assistant import answer
from tradepost.flows.assistant_model import answer_with_model, model_of
from tradepost.flows.conversations import About, begin, check_talks
from tradepost.flows.store import Store
from tradepost.messaging.types import LONGEST, Draft, NobodyToWriteTo

LONGEST_READ: Final = 4_000
_ADDRESS_FACTOR: Final = 4  # people behind one address
_CLAIMED_S: Final = 30  # beyond the time limit of a model
_HELPER = text("""
    SELECT CAST(u.username AS text) FROM users u
    WHERE u.is_active AND u.erased_at IS NULL AND u.id <> :me
      AND EXISTS (SELECT FROM user_roles r JOIN role_permissions p ON p.role = r.role WHERE r.user_id = u.id AND p.permission = 'staff')
    ORDER BY (SELECT count(*) FROM assistant_talks t JOIN conversations c ON c.id = t.conversation_id
              WHERE u.id = ANY (c.people) AND t.handed_over_at > now() - interval '30 days'), u.last_login_at DESC NULLS LAST, u.id
    LIMIT 1
""")

Engine = Callable[[Store, Caller, str, DialogueState], Awaitable[Reply]]
OnSentence = Callable[[str], Awaitable[None]]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, with the talk and the number of the turn it belongs to."""

    talk_id: UUID
    seq: int
    reply: Reply
    made_by: Literal["engine", "model"]


def assistant_settings(store: Store) -> AssistantSettings:
    """Return the assistant's settings: the store's own over the installation's."""
    own = store.installation.store.get(store.code, StoreKeys()).assistant
    return own.over(store.installation.assistant)


async def current_talk(store: Store, caller: Caller, channel: Channel = "web") -> tuple[Talk | None, list[KeptTurn]]:
    """Return the talk that the caller is in with its last turns, or none."""
    if caller.user_id is None and caller.session is None:
        return None, []
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await talks.latest_talk(tx, caller, channel)
        return found, await talks.list_turns(tx, found.id) if found else []


async def own_talks(store: Store, caller: Caller) -> list[Talk]:
    """Return the caller's talks, the latest first."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await talks.list_talks(tx, caller)


async def read_turns(store: Store, caller: Caller, talk_id: UUID) -> list[KeptTurn]:
    """Return the turns of one of the caller's talks. Raises `NoSuchTalk`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        await talks.access_talk(tx, caller, talk_id)
        return await talks.list_turns(tx, talk_id)


async def ask(
    store: Store, caller: Caller, message: str, *, talk_id: UUID | None = None, channel: Channel = "web",
    on_sentence: OnSentence | None = None, engine: Engine = answer,
) -> Said:  # fmt: skip
    """Answer a message in one of the caller's talks, the latest or a new one unless named; keep both.

    `on_sentence` is told each sentence as soon as it is certain. Raises `TooOften`, `NoSuchTalk`, `StillAnswering`, `SignInFirst`.
    """
    settings = assistant_settings(store)
    await _check_pace(store, caller, settings)
    asked = paragraphs(message[:LONGEST_READ].replace("\x00", " "))
    started = time.perf_counter()
    async with store.db.transaction(actor=caller.actor) as tx:
        if talk_id is None:
            latest = await talks.latest_talk(tx, caller, channel)
            talk_id = latest.id if latest else await talks.begin_talk(tx, caller, channel, settings.keep_days)
        seconds = settings.timeout_ms // 1000 + _CLAIMED_S
        state, count = await talks.claim_talk(tx, caller, talk_id, seconds)
    try:
        turn = Turn(message=asked, state=state)
        made = await _answer(store, caller, talk_id, turn, settings, on_sentence, engine)
        ms = round((time.perf_counter() - started) * 1000)
        kept = Answered(
            asked=asked, reply=made.reply, made_by=made.made_by, ms=ms, tokens=made.tokens, withheld=made.withheld
        )
        async with store.db.transaction(actor=caller.actor) as tx:
            await talks.keep_turn(tx, talk_id, count + 1, kept, settings.keep_days)
    except BaseException:
        async with store.db.transaction(actor=caller.actor) as tx:
            await talks.release_talk(tx, talk_id)
        raise
    return Said(talk_id=talk_id, seq=count + 1, reply=made.reply, made_by=made.made_by)


async def _check_pace(store: Store, caller: Caller, settings: AssistantSettings) -> None:
    network = network_of(caller.address)
    who = str(caller.user_id) if caller.user_id else caller.session.hex()[:32] if caller.session else network
    await check_rate(store.cache, who, "assistant", settings.most_messages)
    await check_rate(store.cache, network, "assistant_address", settings.most_messages * _ADDRESS_FACTOR)


class _Made(msgspec.Struct, frozen=True):
    reply: Reply
    made_by: Literal["engine", "model"]
    tokens: int = 0
    withheld: int = 0


async def _answer(
    store: Store, caller: Caller, talk_id: UUID, turn: Turn, settings: AssistantSettings, on_sentence: OnSentence | None,
    engine: Engine,
) -> _Made:  # fmt: skip
    """Answer by the model where there is one and nothing waits for a yes; by the engine otherwise, and whenever the model fails."""
    model = model_of(settings)
    tokens = withheld = 0
    if model is not None and turn.state.pending is None:
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            before = await talks.list_turns(tx, talk_id, limit=8)
        found = await answer_with_model(store, caller, turn, before, model, settings, on_sentence)
        if found.reply is not None:
            return _Made(found.reply, "model", found.tokens, found.withheld)
        tokens, withheld = found.tokens, found.withheld
    reply = await engine(store, caller, turn.message, turn.state)
    if on_sentence is not None:
        for sentence in reply.texts:
            await on_sentence(sentence)
    return _Made(reply, "engine", tokens, withheld)


async def rate(store: Store, caller: Caller, talk_id: UUID, seq: int, feedback: Literal[-1, 1]) -> None:
    """Note that an answer helped, or did not. Raises `NoSuchTalk`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await talks.rate_turn(tx, caller, talk_id, seq, feedback)


async def forget(store: Store, caller: Caller, talk_id: UUID) -> None:
    """Delete one of the caller's talks, every word of it. Raises `NoSuchTalk`."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await talks.forget_talk(tx, caller, talk_id)


async def hand_over(store: Store, caller: Caller, talk_id: UUID) -> UUID:
    """Begin a conversation with somebody of the staff that starts with the transcript; return its id. Once: again returns the same.

    Raises `SignInFirst`, `NoMessagesHere`, `NobodyToWriteTo`, `NoSuchTalk`, and what beginning a conversation raises.
    """
    me = caller.check_signed_in()
    check_talks(store)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        talk = await talks.access_talk(tx, caller, talk_id)
        turns = await talks.list_turns(tx, talk_id)
    if talk.conversation_id is not None:
        return talk.conversation_id
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        helper = await tx.value(_HELPER, me=me)
    if helper is None:
        raise NobodyToWriteTo
    written = Draft(body=transcript(turns), nonce=f"talk-{talk_id.hex}")
    message = await begin(store, caller, About(people=(helper,)), written)
    async with store.db.transaction(actor=caller.actor) as tx:
        await talks.note_hand_over(tx, talk_id, message.conversation_id)
    return message.conversation_id


def transcript(turns: list[KeptTurn]) -> str:
    """Return what was said, as a message holds it: the end of it where it is too long."""
    said = [f"Me: {turn.asked}\nAssistant: {turn.reply.text}" for turn in turns]
    head = "I talked with the assistant and would like a person to take over.\n\n"
    body = "\n".join(said)
    left = LONGEST - len(head) - 2
    return head + (body if len(body) <= left else "…" + body[-left:])


async def read_for_staff(store: Store, caller: Caller, talk_id: UUID) -> tuple[Talk, list[KeptTurn]]:
    """Return anybody's talk, to staff who see reports; the audit log says that they did. Raises `NotAllowed`, `NoSuchTalk`."""
    caller.check_can("see_reports")
    async with store.db.transaction(actor=caller.actor) as tx:
        found = await talks.read_talk(tx, talk_id)
        await note_look(tx, "assistant_talks", str(talk_id))
        return found, await talks.list_turns(tx, talk_id)


@scheduled("assistant.expire_talks", cron="23 4 * * *")
async def expire_talks_job(store: Store) -> None:
    """Delete the talks whose time is over."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await talks.expire_talks(tx)
