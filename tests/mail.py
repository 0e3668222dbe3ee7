"""Letters that a store would have sent, and the jobs that send them, done here and now."""

import re
from urllib.parse import urlsplit

from sqlalchemy import text

from tradepost.core.database import SYSTEM
from tradepost.core.jobs import DECLARED
from tradepost.flows.store import Store
from tradepost.notifications.service import latest_mails
from tradepost.notifications.types import Letter
from tradepost.worker import compose

_JOBS = ("accounts.send_link", "notifications.send_mail", "notifications.send_text")


async def do_jobs(store: Store) -> int:
    """Do the jobs of letters and links that are waiting, until there are none; return how many."""
    compose()
    done = 0
    while True:
        async with store.db.transaction(actor=SYSTEM) as tx:
            waiting = await tx.all(
                text(
                    "DELETE FROM pgqueuer WHERE entrypoint = ANY(CAST(:names AS text[])) RETURNING entrypoint, payload"
                ),
                names=list(_JOBS),
            )
        if not waiting:
            return done
        for row in waiting:
            await DECLARED[row["entrypoint"]].call(store, row["payload"])
            done += 1


async def letters(store: Store, kind: str = "", to: str = "") -> list[Letter]:
    """Return the letters of a kind to an address, the oldest first, after doing the jobs that write and send them."""
    await do_jobs(store)
    async with store.db.transaction(actor=SYSTEM) as tx:
        found = await latest_mails(tx, store.keys, 500)
    return [
        m.letter
        for m in reversed(found)
        if m.letter and m.kind in {kind, kind or m.kind} and m.letter.to in {to, to or m.letter.to}
    ]


def link_in(letter: Letter) -> str:
    """Return the path that a letter's link leads to; text and HTML have the same one."""
    found = re.search(r"https?://\S+/link/\S+", letter.text)
    assert found, letter.text
    assert f'href="{found[0]}"' in letter.html
    parts = urlsplit(found[0])
    return f"{parts.path}?{parts.query}"


def token_in(letter: Letter) -> str:
    """Return the secret of a letter's link."""
    return link_in(letter).partition("token=")[2]
