"""Who does what, as far as visitors let the store know: what analytics is told of a request.

Nothing is set in a browser to tell it from others: a visit is a keyed hash of address, browser and day. Only somebody's own
decision (web/measuring) is kept there, so that it holds.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any
from uuid import UUID

from tradepost.accounts.types import Caller
from tradepost.analytics.noting import note
from tradepost.analytics.types import Kind, Visit
from tradepost.core.clock import now
from tradepost.core.crypto import Keyring
from tradepost.core.limits import network_of
from tradepost.flows.store import Store
from tradepost.web.typing import HttpRequest

CHOICE_COOKIE = "measure"
_PROGRAM = re.compile(r"bot\b|crawl|spider|slurp|preview|monitor|headless|curl/|wget/|python-", re.IGNORECASE)


def saw(
    request: HttpRequest, store: Store, caller: Caller, kind: Kind, listing_id: UUID | None = None, **data: Any
) -> None:
    """Note what a visitor does, without waiting; `data` is of the store's own making, never what somebody typed."""
    note(store.db, visit_of(request, store, caller), kind, listing_id, **data)


def visit_of(request: HttpRequest, store: Store, caller: Caller) -> Visit | None:
    """Return who makes a request as far as it may be told, or None where it is not counted at all: robots, staff with others' eyes."""
    browser = request.headers.get("user-agent", "")
    if store.installation.analytics.collect == "off" or caller.behind is not None or _PROGRAM.search(browser):
        return None
    if not may_tell_who(request, store):
        return Visit()
    made_of = f"{now().date()}\n{network_of(caller.address)}\n{browser}".encode("utf-8", "replace")
    return Visit(
        hashlib.blake2b(made_of, digest_size=12, key=_key(store.keys)).digest(), caller.session, caller.user_id
    )


def may_tell_who(request: HttpRequest, store: Store) -> bool:
    """Whether it may be told who does something: as the visitor decided, else as their browser asks and the store's settings say."""
    collect = store.installation.analytics.collect
    choice = request.cookies.get(CHOICE_COOKIE, "")
    if collect == "counts" or choice == "no":
        return False
    if choice == "yes":
        return True
    asks_not_to = request.headers.get("sec-gpc") == "1" or request.headers.get("dnt") == "1"
    return collect == "all" and not asks_not_to


def is_asked(request: HttpRequest, store: Store) -> bool:
    """Whether this visitor has yet to decide, in a store that needs a yes."""
    return store.installation.analytics.collect == "consent" and CHOICE_COOKIE not in request.cookies


@lru_cache(maxsize=64)
def _key(keys: Keyring) -> bytes:
    return keys.derived_key("visitors")
