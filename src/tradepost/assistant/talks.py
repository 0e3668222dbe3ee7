"""Talks and their turns as they are kept: begun, claimed for one answer at a time, joined to a person, forgotten.

Promises that two questions of one talk are never answered at once, so that nobody says yes to the same change twice, and that a talk
of somebody else is as if there were none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.assistant.types import DialogueState, Reply
from tradepost.core.clock import now
from tradepost.core.database import Transaction
from tradepost.core.errors import Conflict, NotFound
from tradepost.core.ids import uuid7

Channel = Literal["web", "api", "mcp"]
MadeBy = Literal["engine", "model"]
LONGEST_KEPT: Final = 2000
_TURNS_SHOWN: Final = 100


class NoSuchTalk(NotFound):
    """There is no such talk with the assistant (any more)."""


@dataclass(eq=False)
class StillAnswering(Conflict):
    """One question at a time, please: the one before is still being answered."""


class Talk(msgspec.Struct, frozen=True):
    """A talk, as its person sees it."""

    id: UUID
    channel: Channel
    turns: int
    created_at: datetime
    last_at: datetime
    expires_at: datetime
    handed_over_at: datetime | None
    conversation_id: UUID | None


class KeptTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as it was said."""

    seq: int
    at: datetime
    asked: str
    reply: Reply
    made_by: MadeBy
    feedback: int | None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to be kept. `withheld`: sentences of a model that nothing stood behind."""

    asked: str
    reply: Reply
    made_by: MadeBy
    ms: int
    tokens: int = 0
    withheld: int = 0


_TALK = ", ".join(Talk.__struct_fields__)
_OWN = "(user_id = CAST(:user_id AS uuid) OR (user_id IS NULL AND session_hash = CAST(:session AS bytea)))"
_BEGIN = text("""
    INSERT INTO assistant_talks (id, user_id, session_hash, channel, expires_at)
    VALUES (:id, :user_id, :session, :channel, :expires_at)
""")
_LATEST = text(f"""
    SELECT {_TALK} FROM assistant_talks WHERE {_OWN} AND channel = :channel AND expires_at > :now ORDER BY last_at DESC LIMIT 1
""")
_OWN_TALKS = text(
    f"SELECT {_TALK} FROM assistant_talks WHERE {_OWN} AND expires_at > :now ORDER BY last_at DESC LIMIT 50"
)
_ACCESS = text(f"SELECT {_TALK} FROM assistant_talks WHERE id = :id AND {_OWN} AND expires_at > :now")
_ANY = text(f"SELECT {_TALK} FROM assistant_talks WHERE id = :id")
_CLAIM = text(f"""
    UPDATE assistant_talks SET busy_until = :until
    WHERE id = :id AND {_OWN} AND expires_at > :now AND (busy_until IS NULL OR busy_until < :now) RETURNING state, turns
""")
_RELEASE = text("UPDATE assistant_talks SET busy_until = NULL WHERE id = :id")
_GO_ON = text("""
    UPDATE assistant_talks SET state = :state, turns = :seq, last_at = :now, expires_at = :expires_at, busy_until = NULL
    WHERE id = :id
""")
_KEEP = text("""
    INSERT INTO assistant_turns (talk_id, seq, at, asked, reply, intents, is_understood, made_by, ms, tokens, withheld)
    VALUES (:id, :seq, :now, :asked, :reply, :intents, :is_understood, :made_by, :ms, :tokens, :withheld)
""")
_TURNS = text("""
    SELECT seq, at, asked, reply, made_by, feedback FROM (
        SELECT * FROM assistant_turns WHERE talk_id = :id ORDER BY seq DESC LIMIT :limit) t ORDER BY seq
""")
_RATE = text("UPDATE assistant_turns SET feedback = CAST(:feedback AS smallint) WHERE talk_id = :id AND seq = :seq")
_HAND_OVER = text("UPDATE assistant_talks SET handed_over_at = :now, conversation_id = :conversation_id WHERE id = :id")
_FORGET = text(f"DELETE FROM assistant_talks WHERE id = :id AND {_OWN}")
_ADOPT = text("""
    UPDATE assistant_talks SET user_id = :user_id, session_hash = NULL WHERE user_id IS NULL AND session_hash = :session
""")
_EXPIRE = text("DELETE FROM assistant_talks WHERE expires_at <= :now")


def _owner(caller: Caller) -> dict[str, Any]:
    return {"user_id": caller.user_id, "session": caller.session}


async def begin_talk(tx: Transaction, caller: Caller, channel: Channel, days: int) -> UUID:
    """Begin a talk, which is forgotten so many days after its last turn; return its id. Raises `SignInFirst` for nobody at all."""
    if caller.user_id is None and caller.session is None:
        raise SignInFirst
    talk_id = uuid7()
    owner = {"user_id": caller.user_id, "session": None if caller.user_id else caller.session}
    await tx.run(_BEGIN, id=talk_id, channel=channel, expires_at=now() + timedelta(days=days), **owner)
    return talk_id


async def latest_talk(tx: Transaction, caller: Caller, channel: Channel) -> Talk | None:
    """Return the talk that the caller is in."""
    return await tx.maybe(_LATEST, into=Talk, channel=channel, now=now(), **_owner(caller))


async def list_talks(tx: Transaction, caller: Caller) -> list[Talk]:
    """Return the caller's talks, the latest first."""
    return await tx.all(_OWN_TALKS, into=Talk, now=now(), **_owner(caller))


async def access_talk(tx: Transaction, caller: Caller, talk_id: UUID) -> Talk:
    """Return one of the caller's talks. Raises `NoSuchTalk`."""
    found = await tx.maybe(_ACCESS, into=Talk, id=talk_id, now=now(), **_owner(caller))
    if found is None:
        raise NoSuchTalk
    return found


async def read_talk(tx: Transaction, talk_id: UUID) -> Talk:
    """Return anybody's talk: for staff, whose transaction alone sees it. Raises `NoSuchTalk`."""
    found = await tx.maybe(_ANY, into=Talk, id=talk_id)
    if found is None:
        raise NoSuchTalk
    return found


async def claim_talk(tx: Transaction, caller: Caller, talk_id: UUID, seconds: int) -> tuple[DialogueState, int]:
    """Take a talk for the length of one answer; return what is remembered and how many turns there were.

    Raises `NoSuchTalk`, and `StillAnswering` while another one has it, `seconds` at most.
    """
    moment = now()
    until = moment + timedelta(seconds=seconds)
    row = await tx.maybe(_CLAIM, id=talk_id, until=until, now=moment, **_owner(caller))
    if row is None:
        await access_talk(tx, caller, talk_id)
        raise StillAnswering
    return as_state(row["state"]), row["turns"]


def as_state(kept: dict[str, Any]) -> DialogueState:
    """Return what was remembered; what an older version wrote and this one cannot read is forgotten."""
    try:
        return msgspec.convert(kept, DialogueState)
    except msgspec.ValidationError:
        return DialogueState()


async def release_talk(tx: Transaction, talk_id: UUID) -> None:
    """Give a claimed talk back without an answer."""
    await tx.run(_RELEASE, id=talk_id)


async def keep_turn(tx: Transaction, talk_id: UUID, seq: int, turn: Answered, days: int) -> None:
    """Keep a turn and what it leaves to remember, and give the talk back."""
    moment = now()
    reply = turn.reply
    await tx.run(
        _KEEP, id=talk_id, seq=seq, now=moment, asked=turn.asked[:LONGEST_KEPT], intents=list(reply.intents),
        reply=msgspec.to_builtins(msgspec.structs.replace(reply, state=DialogueState())), is_understood=reply.is_understood,
        made_by=turn.made_by, ms=turn.ms, tokens=turn.tokens, withheld=turn.withheld,
    )  # fmt: skip
    expires_at = moment + timedelta(days=days)
    await tx.run(_GO_ON, id=talk_id, seq=seq, state=msgspec.to_builtins(reply.state), now=moment, expires_at=expires_at)


async def list_turns(tx: Transaction, talk_id: UUID, *, limit: int = _TURNS_SHOWN) -> list[KeptTurn]:
    """Return the last turns of a talk in order; who may read it was asked before."""
    return await tx.all(_TURNS, into=KeptTurn, id=talk_id, limit=limit)


async def rate_turn(tx: Transaction, caller: Caller, talk_id: UUID, seq: int, feedback: Literal[-1, 1]) -> None:
    """Note that an answer helped (1) or did not (-1). Raises `NoSuchTalk`."""
    await access_talk(tx, caller, talk_id)
    if not await tx.run(_RATE, id=talk_id, seq=seq, feedback=feedback):
        raise NoSuchTalk


async def note_hand_over(tx: Transaction, talk_id: UUID, conversation_id: UUID) -> None:
    """Note that a person has taken over, and in which conversation."""
    await tx.run(_HAND_OVER, id=talk_id, conversation_id=conversation_id, now=now())


async def forget_talk(tx: Transaction, caller: Caller, talk_id: UUID) -> None:
    """Delete one of the caller's talks with every turn. Raises `NoSuchTalk`."""
    if not await tx.run(_FORGET, id=talk_id, **_owner(caller)):
        raise NoSuchTalk


async def adopt_talks(tx: Transaction, session: bytes, user_id: UUID) -> int:
    """Make a visitor's talks those of the person that they turn out to be; return how many."""
    return await tx.run(_ADOPT, session=session, user_id=user_id)


async def expire_talks(tx: Transaction) -> int:
    """Delete the talks whose time is over; return how many."""
    return await tx.run(_EXPIRE, now=now())
