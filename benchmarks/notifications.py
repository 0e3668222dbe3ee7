"""10,000 notices by web hook, with a sender that is killed at random: none may be lost, and how many come twice.

A killed sender leaves what it had taken to another after two minutes, here at once. What a program heard twice carries the same number both
times: it answered, and its sender died before it could note that.
"""

import asyncio
import random
from time import perf_counter
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from sqlalchemy import text
from tests.loopback import Answer, Asked, Loopback, serving

from benchmarks.ground import ground
from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.settings import HttpSettings, Settings
from tradepost.flows.send_notices import send_outside
from tradepost.flows.store import Store, open_store
from tradepost.notifications.notices import News, tell_each
from tradepost.notifications.ways import set_hook

STORE, NOTICES, PEOPLE = "tese", 10_000, 50
_KILLED = 0.004  # of all answers
_PENDING = text("SELECT count(*) FROM deliveries WHERE state = 'pending' AND channel = 'webhook'")
_DUE = text("UPDATE deliveries SET due_at = now() WHERE state = 'pending' AND channel = 'webhook'")


class _Program(Loopback):
    """Everybody's program, which kills its caller now and then before it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.caller: asyncio.Task[int] | None = None
        self.chance = random.Random(9)  # noqa: S311  # plausible, not secret
        self.heard: dict[str, int] = {}

    async def answer(self, asked: Asked) -> Answer:
        key = asked.headers["tradepost-id"]
        self.heard[key] = self.heard.get(key, 0) + 1
        self.asked.clear()
        if self.caller is not None and self.chance.random() < _KILLED:
            self.caller.cancel()
        return Answer(204, b"")


async def measure() -> dict[str, Any]:
    """Send all, and count."""
    settings = Settings(stores=(STORE,), http=HttpSettings(reachable=("127.0.0.0/8",)))
    keys, program = Keyring.from_secret("bench", b"0" * 32), _Program()
    async with ground() as on:
        name = await on.store(STORE, 0)
        people = await _people(on.dsn(name, "postgres"))
        opened = open_store(
            STORE, settings, dsn=on.dsn(name), cache_url=on.cache_url, files_url=str(on.home.files(STORE)), keys=keys
        )
        async with opened as store, serving(program):
            await _tell(store, people, keys, program.base)
            kills, started = 0, perf_counter()
            while await _pending(store):
                program.caller = asyncio.create_task(send_outside(store))
                (outcome,) = await asyncio.gather(program.caller, return_exceptions=True)
                kills += isinstance(outcome, asyncio.CancelledError)
                async with store.db.transaction(actor=SYSTEM) as tx:
                    await tx.run(_DUE)
            took = perf_counter() - started
    assert kills, "nobody was killed"
    return {
        "notices": NOTICES, "kills": kills, "lost": NOTICES - len(program.heard), "twice": sum(n > 1 for n in program.heard.values()),
        "notices_s": round(NOTICES / took),
    }  # fmt: skip


async def _people(dsn: str) -> list[UUID]:
    """Return people who have been told nothing yet."""
    people = [UUID(int=n + 1) for n in range(PEOPLE)]
    owner = await asyncpg.connect(dsn)
    try:
        await owner.execute("DELETE FROM users WHERE id = ANY ($1)", people)
        await owner.executemany(
            "INSERT INTO users (id, username, email, display_name) VALUES ($1, $2, $3, 'Told')",
            [(person, f"told{n}", f"told{n}@example.com") for n, person in enumerate(people)],
        )
    finally:
        await owner.close()
    return people


async def _tell(store: Store, people: list[UUID], keys: Keyring, address: str) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        for person in people:
            await set_hook(tx, keys, Caller(person), address)
        for start in range(0, NOTICES, 1_000):
            await tell_each(tx, "order", [
                News(user_id=people[n % PEOPLE], subject_id=uuid5(people[0], str(n)), title="Told", path="/")
                for n in range(start, start + 1_000)
            ])  # fmt: skip


async def _pending(store: Store) -> int:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return int(await tx.value(_PENDING))
