"""A seller's statement: what the store owes them, what it still holds, and every change of either."""

import msgspec

from tradepost.accounts.types import Caller
from tradepost.core.pages import page_size
from tradepost.flows.store import Store
from tradepost.payments.statements import Balance, StatementLine, balances_of, statement_of


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a seller's statement, with the balances as they are now."""

    balances: tuple[Balance, ...]
    lines: tuple[StatementLine, ...]
    after: str | None = None


async def get_statement(store: Store, caller: Caller, *, after: str | None = None, limit: int = 50) -> Statement:
    """Return the caller's own statement, the newest change first. Raises `SignInFirst`, `NotAllowed`, `NoSuchPage`."""
    caller.check_can("sell")
    seller_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        found = await statement_of(tx, seller_id, after, page_size(limit))
        return Statement(balances=tuple(await balances_of(tx, seller_id)), lines=found.items, after=found.after)
