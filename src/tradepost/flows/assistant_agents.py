"""The assistant's tools for programs that shop for a person: with the scopes of a token, and never past the person.

Promises that whatever touches an order is done only by the person, in their own browser: an agent gets a link that says what will
happen, good for an hour, once, for that person alone. A cart may be changed by the agent; it is bought by the person, at the checkout.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.assistant.types import Pending
from tradepost.core.clock import now
from tradepost.core.crypto import KeyMissing
from tradepost.core.errors import Conflict, Refused
from tradepost.core.idempotency import once, request_hash
from tradepost.core.limits import check_rate, network_of
from tradepost.flows.assistant_tools import TOOLS, Tool, call_tool
from tradepost.flows.store import Store

CONFIRM: Final = "/assistant/confirm"
GOOD_FOR: Final = timedelta(hours=1)
MOST_CALLS: Final = 600  # of one token or address in a quarter of an hour
BY_THE_AGENT: Final = frozenset({"add_to_cart", "change_cart", "remove_from_cart", "use_promo_code", "keep_alert"})
_PURPOSE: Final = "assistant.confirm"
_LINKS: Final = frozenset({"path", "link", "href"})
_LONGEST: Final = 8_000
_LONGEST_VALUE: Final = 120


@dataclass(eq=False)
class LinkNotGood(Refused):
    """This link is not good (any more). Please ask your assistant for a new one."""


class LinkUsed(Conflict):
    """What this link asks for has been done already. Please ask your assistant for a new one to do it again."""


class _Wish(msgspec.Struct, frozen=True, array_like=True):
    """A change that waits for its person. `until`: seconds since 1970."""

    store: str
    user_id: UUID
    until: int
    tool: str
    arguments: dict[str, Any]


class NeedsPerson(msgspec.Struct, frozen=True):
    """What an agent gets in place of a change: nothing happened yet, and where the person says yes."""

    confirmation_link: str
    will: str
    minutes: int
    done: bool = False


async def call_for_agent(store: Store, caller: Caller, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run a tool for a program, or return the link that asks its person; links in the result are whole addresses.

    Raises `TooOften`, `SignInFirst`, `NotAllowed`, `NoSuchTool`, `BadArguments`, and what the tool raises.
    """
    who = str(caller.user_id) if caller.user_id else network_of(caller.address)
    await check_rate(store.cache, who, "mcp", MOST_CALLS)
    tool = TOOLS.get(name)
    if tool is not None and tool.is_change and name not in BY_THE_AGENT:
        return msgspec.to_builtins(_ask_person(store, caller, tool, given))  # type: ignore[no-any-return]  # a Struct makes a dict
    found = await call_tool(store, caller, name, given, is_confirmed=True)
    made: dict[str, Any] = with_addresses(msgspec.to_builtins(found), store.base_url)
    return made


def _ask_person(store: Store, caller: Caller, tool: Tool[Any, Any], given: dict[str, Any]) -> NeedsPerson:
    tool.read(given)
    user_id = caller.check_scope(tool.scope) if tool.scope else caller.check_signed_in()
    until = int((now() + GOOD_FOR).timestamp())
    data = msgspec.json.encode(_Wish(store.code, user_id, until, tool.name, given))
    written = base64.urlsafe_b64encode(data).decode().rstrip("=")
    link = f"{store.base_url}{CONFIRM}?c={written}.{store.keys.sign(data, _PURPOSE)}"
    return NeedsPerson(link, describe(tool.name, given), int(GOOD_FOR.total_seconds() // 60))


def describe(tool: str, arguments: dict[str, Any]) -> str:
    """Return what a change will do, in words of ours and what it was given: each argument in the tool's order, none hidden by another."""
    given = "; ".join(
        f"{name.replace('_', ' ')}: {_brief(plainly(arguments[name]))}"
        for name in TOOLS[tool].arguments.__struct_fields__
        if arguments.get(name) not in (None, "", [], {})
    )
    return f"{TOOLS[tool].description.rstrip('.')}{' – ' if given else ''}{given}"


def _brief(text: str) -> str:
    """Return a value short enough that none can push another one out of sight."""
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def plainly(value: Any) -> str:
    """Return an argument as a person would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def with_addresses(value: Any, base_url: str, field: str = "") -> Any:
    """Return a result with its links as whole addresses, for who is not on a page of the store."""
    if isinstance(value, dict):
        return {k: with_addresses(v, base_url, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [with_addresses(v, base_url, field) for v in value]
    return base_url + value if field in _LINKS and isinstance(value, str) and value.startswith("/") else value


def read_confirmation(store: Store, caller: Caller, written: str) -> Pending:
    """Return the change that a link asks its person for. Raises `SignInFirst`, `NotByToken`, `LinkNotGood` to anybody else too."""
    me = caller.check_in_person()
    encoded, _, signature = written[:_LONGEST].partition(".")
    try:
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        is_genuine = store.keys.is_signed(data, signature, _PURPOSE)
        wish = msgspec.json.decode(data, type=_Wish) if is_genuine else None
    except (binascii.Error, ValueError, msgspec.MsgspecError, KeyMissing):
        raise LinkNotGood from None
    if (
        wish is None
        or (wish.store, wish.user_id) != (store.code, me)
        or wish.until < now().timestamp()
        or wish.tool not in TOOLS
    ):
        raise LinkNotGood
    return Pending(tool=wish.tool, arguments=wish.arguments, summary=describe(wish.tool, wish.arguments))


async def confirm(store: Store, caller: Caller, written: str) -> Pending:
    """Do what a link asks its person for, as that person and once; return what was done.

    Raises `LinkUsed`, `KeyInFlight` while it is being done, and as `read_confirmation` and the tool do: then the link stays good.
    """
    pending = read_confirmation(store, caller, written)
    fingerprint = request_hash(written)
    async with once(store.db, caller.actor, f"{_PURPOSE}:{fingerprint.hex()}", fingerprint) as reply:
        if reply.is_done:
            raise LinkUsed
        await call_tool(store, caller, pending.tool, pending.arguments, is_confirmed=True)
        reply.keep(200, None)
    return pending
