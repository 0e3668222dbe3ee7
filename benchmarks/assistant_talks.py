"""Scripted conversations with the assistant of each store: what people ask, and what must have come of it after every turn.

The scripts are data: `tests/conversations/<store>.toml`. A conversation is done when every one of its turns came out as written; every
reply is also searched for numbers that no tool of its turn returned.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text

from benchmarks.ground import Ground
from tradepost.accounts.types import Caller
from tradepost.assistant.speech import numbers_without_source
from tradepost.assistant.types import DialogueState, Reply
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.ids import secret_token, token_hash
from tradepost.core.settings import Settings
from tradepost.flows.assistant import answer
from tradepost.flows.cart import get_cart
from tradepost.flows.preset import PRESETS
from tradepost.flows.store import Store, open_store

SCRIPTS = Path(__file__).parents[1] / "tests" / "conversations"
_PERSON = text("""
    SELECT u.id, u.username, u.display_name, array_agg(p.permission) AS permissions FROM users u JOIN user_roles r ON r.user_id = u.id
    JOIN role_permissions p ON p.role = r.role WHERE u.username = :username GROUP BY u.id
""")


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A turn, and what must be so after it. `intent`: one of those understood; `shows`: in the titles beside it, one each."""

    say: str
    intent: str = ""
    shows: tuple[str, ...] = ()
    first: str = ""
    shows_no: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    says_no: tuple[str, ...] = ()
    proposes: str = ""
    asks: str = ""
    cart: dict[str, int] | None = None
    button: str = ""
    most: str = ""
    hands_over: bool = False


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"person": "as"}):
    """A conversation of a visitor, or of a person of the sample data."""

    name: str
    steps: tuple[Step, ...]
    person: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a conversation: nothing in `wrong` where it is done."""

    store: str
    name: str
    wrong: str
    unsupported: tuple[str, ...]


def scripts_of(store: str) -> tuple[Script, ...]:
    """Return the conversations of a store."""
    path = SCRIPTS / f"{store}.toml"
    found = tomllib.loads(path.read_text("utf-8"))
    return msgspec.convert(found["talks"], tuple[Script, ...])


async def caller_of(store: Store, username: str) -> Caller:
    """Return a sample person, or a new visitor for no name."""
    if not username:
        return Caller(session=token_hash(secret_token()))
    async with store.db.transaction(actor=SYSTEM) as tx:
        row = await tx.one(_PERSON, username=username)
    return Caller(
        user_id=row["id"],
        username=row["username"],
        display_name=row["display_name"],
        permissions=frozenset(row["permissions"]),
    )


async def hold(store: Store, script: Script, *, is_told: bool = False) -> Outcome:
    """Hold a conversation and return what came of it."""
    caller, state = await caller_of(store, script.person), DialogueState()
    unsupported: list[str] = []
    for step in script.steps:
        reply = await answer(store, caller, step.say, state)
        state = msgspec.json.decode(msgspec.json.encode(reply.state), type=DialogueState)
        unsupported += numbers_without_source(reply)
        wrong = await _wrong(store, caller, step, reply)
        if is_told:
            print(
                f"  > {step.say}\n    [{', '.join(reply.intents)}] {reply.text}\n    {[c.title for c in reply.cards]} {[b.label for b in reply.buttons]}"
            )
        if wrong:
            return Outcome(store.code, script.name, f"“{step.say}”: {wrong}", tuple(unsupported))
    return Outcome(store.code, script.name, "", tuple(unsupported))


async def _wrong(store: Store, caller: Caller, step: Step, reply: Reply) -> str:
    said = reply.text.casefold()
    titles = [card.title.casefold() for card in reply.cards]
    problems = [
        step.intent and step.intent not in reply.intents and f"understood {reply.intents}",
        next((f"“{w}” is not shown: {titles}" for w in step.shows if not any(w.casefold() in t for t in titles)), ""),
        step.first and not (titles and step.first.casefold() in titles[0]) and f"“{step.first}” is not first: {titles}",
        next((f"“{w}” is shown" for w in step.shows_no if any(w.casefold() in t for t in titles)), ""),
        next((f"“{w}” is not said: {reply.text}" for w in step.says if w.casefold() not in said), ""),
        next((f"“{w}” is said: {reply.text}" for w in step.says_no if w.casefold() in said), ""),
        step.proposes and (reply.pending is None or reply.pending.tool != step.proposes) and f"proposed {reply.pending}, said {reply.text}",
        not step.proposes and reply.pending is not None and f"proposed {reply.pending.summary}",
        step.asks and reply.state.asked != step.asks and f"asked {reply.state.asked}, said {reply.text}",
        step.button and not any(step.button.casefold() in b.label.casefold() or step.button in b.href for b in reply.buttons) and f"no button {step.button}",
        step.most and _dearest(reply) > float(step.most) and f"dearer than {step.most}: {[c.price for c in reply.cards]}",
        step.hands_over != reply.hands_over and "handed over wrongly",
        step.cart is not None and await _cart(store, caller) != step.cart and f"cart {await _cart(store, caller)}",
    ]  # fmt: skip
    return next((str(p) for p in problems if p), "")


def _dearest(reply: Reply) -> float:
    firsts = [re.sub(r"[^\d.]", "", c.price.split(" to ")[0]) for c in reply.cards if c.price]
    return max((float(f) for f in firsts if f), default=0.0)


async def _cart(store: Store, caller: Caller) -> dict[str, int]:
    view = await get_cart(store, caller)
    return {line.title: int(line.quantity) for line in view.lines}


def settings() -> Settings:
    """Return the settings that the stores run with."""
    return Settings(stores=tuple(sorted(p.name for p in PRESETS.iterdir())), test_payments=True)


def opened(ground: Ground, code: str, database: str) -> Any:
    """Open a store of the benchmarks' ground."""
    return open_store(
        code, settings(), dsn=ground.dsn(database), cache_url=ground.cache_url, files_url=str(ground.home.files(code)),
        keys=Keyring.from_secret("bench", b"0" * 32), preset_folder=PRESETS / code,
    )  # fmt: skip
