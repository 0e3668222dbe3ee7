"""The engine room as operators see it: whether everything answers, jobs that failed, and what the cache is good for."""

from collections.abc import Iterable

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.cache import HitRate
from tradepost.core.database import SYSTEM, Actor
from tradepost.core.health import Health, readiness
from tradepost.core.jobs import FailedJob, QueueState, discard_failed, list_failed, queue_state, retry_failed
from tradepost.flows.store import Store


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator looks at first. `failed`: the latest 50 jobs that gave up; `rates`: of the cache, in this process."""

    health: Health
    queue: QueueState
    failed: tuple[FailedJob, ...]
    rates: tuple[HitRate, ...]


async def get_engine(store: Store, caller: Caller) -> Engine:
    """Return how the engine room does. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    health = await readiness(store.db, store.cache)
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        queue = await queue_state(tx)
        failed = await list_failed(tx)
    return Engine(health=health, queue=queue, failed=tuple(failed), rates=tuple(store.cache.rates()))


async def decide_jobs(store: Store, caller: Caller, ids: Iterable[int], *, retry: bool) -> int:
    """Put failed jobs back into the queue, or forget them; return how many there were. Raises `NotAllowed`."""
    caller.check_can("manage_store")
    chosen = list(ids)[:100]
    async with store.db.transaction(actor=Actor("system", caller.user_id)) as tx:
        return await (retry_failed(tx, chosen) if retry else discard_failed(tx, chosen))
