"""Commands on giveaways: the seed is promised before the first entry and shown after the last. `tx` is the system's."""

import secrets
from uuid import UUID

from sqlalchemy import text

from tradepost.accounts.types import Caller
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.ids import uuid7
from tradepost.core.live import ring_after_commit
from tradepost.core.text import one_line
from tradepost.streams import queries, service
from tradepost.streams.events import GiveawayWinnerChosen
from tradepost.streams.rules import commitment_of, draw
from tradepost.streams.types import (
    Giveaway,
    GiveawayOver,
    GiveawayRunning,
    NobodyTakesPart,
    NotWelcome,
    NotYourShow,
    TakesPart,
)

on_violation("uq_giveaways_open", GiveawayRunning)
on_violation("uq_giveaway_entries_giveaway_id_user_id", TakesPart)
on_violation("ck_giveaway_entries_open", GiveawayOver)

_OPEN = text("""
    INSERT INTO giveaways (id, stream_id, prize, commitment) VALUES (:id, :stream_id, :prize, :commitment)
""")
_KEEP = text("INSERT INTO giveaway_seeds (giveaway_id, seed) VALUES (:id, :seed)")
_ENTER = text("INSERT INTO giveaway_entries (giveaway_id, user_id) VALUES (:id, :me) RETURNING entry_no")
_LOCK = text("SELECT state FROM giveaways WHERE id = :id FOR NO KEY UPDATE")
_SEED = text("SELECT seed FROM giveaway_seeds WHERE giveaway_id = :id")
_FORGET = text("DELETE FROM giveaway_seeds WHERE giveaway_id = :id")
_DRAW = text("""
    UPDATE giveaways SET state = 'drawn', drawn_at = clock_timestamp(), seed = :seed, winner_no = :winner_no, winner_id = :winner_id
    WHERE id = :id
""")


async def open_giveaway(tx: Transaction, caller: Caller, stream_id: UUID, prize: str) -> UUID:
    """Open a giveaway and publish what its seed hashes to. Raises `NotYourShow`, `WrongMoment`, `GiveawayRunning`."""
    await service.lock_live(tx, caller, stream_id)
    giveaway_id, seed = uuid7(), secrets.token_bytes(32)
    prize = one_line(prize)
    await tx.run(_OPEN, id=giveaway_id, stream_id=stream_id, prize=prize, commitment=commitment_of(seed))
    await tx.run(_KEEP, id=giveaway_id, seed=seed)
    data = {"giveaway_id": str(giveaway_id), "prize": prize, "commitment": commitment_of(seed).hex()}
    await service.note(tx, stream_id, "giveaway", user_id=caller.user_id, data=data)
    return giveaway_id


async def take_part(tx: Transaction, caller: Caller, giveaway_id: UUID) -> int:
    """Enter the caller; return their number. Raises `NoSuchGiveaway`, `GiveawayOver`, `TakesPart`, `NotWelcome`."""
    me = caller.check_signed_in()
    known = await queries.get_giveaway(tx, giveaway_id)
    host = (await queries.get_stream(tx, known.stream_id)).host_id
    if host == me or await tx.value(queries.IS_MUTED, stream_id=known.stream_id, user_id=me):
        raise NotWelcome
    number: int = await tx.value(_ENTER, id=giveaway_id, me=me)
    ring_after_commit(tx, service.topic_of(known.stream_id), note={"entries": number, "giveaway_id": str(giveaway_id)})
    return number


async def draw_giveaway(tx: Transaction, caller: Caller, giveaway_id: UUID) -> Giveaway:
    """End the entries, draw the winner, and show the seed. Raises `NotYourShow`, `GiveawayOver`, `NobodyTakesPart`."""
    known = await queries.get_giveaway(tx, giveaway_id)
    if (await queries.get_stream(tx, known.stream_id)).host_id != caller.check_signed_in():
        raise NotYourShow
    if await tx.value(_LOCK, id=giveaway_id) != "open":
        raise GiveawayOver
    entrants = await queries.list_entrants(tx, giveaway_id)
    if not entrants:
        raise NobodyTakesPart
    seed: bytes = await tx.value(_SEED, id=giveaway_id)
    number = draw(seed, [person for person, _ in entrants])
    winner_id, name = entrants[number - 1]
    await tx.run(_DRAW, id=giveaway_id, seed=seed, winner_no=number, winner_id=winner_id)
    await tx.run(_FORGET, id=giveaway_id)
    data = {
        "giveaway_id": str(giveaway_id),
        "prize": known.prize,
        "name": name,
        "number": number,
        "entries": len(entrants),
        "seed": seed.hex(),
    }
    await service.note(tx, known.stream_id, "draw", user_id=winner_id, data=data)
    await record(tx, GiveawayWinnerChosen(giveaway_id, known.stream_id, winner_id), subject_id=giveaway_id)
    return await queries.get_giveaway(tx, giveaway_id)
