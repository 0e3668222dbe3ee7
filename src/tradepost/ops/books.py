"""Does the ledger still add up? What the database promises by constraints, looked at again from the outside."""

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction

_DRIFT = text("""
    WITH off AS (
        SELECT e.journal_id, a.currency, sum(e.amount_minor) AS amount FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
        GROUP BY e.journal_id, a.currency HAVING sum(e.amount_minor) <> 0
    )
    SELECT (SELECT count(DISTINCT journal_id) FROM off) AS unbalanced,
           CAST(coalesce((SELECT sum(abs(amount)) FROM off), 0) AS bigint) AS off_minor,
           (SELECT count(*) FROM payments p WHERE p.state IN ('success', 'refunded', 'partly_refunded') AND p.amount_minor > 0
              AND p.settled_at < now() - interval '1 hour'
              AND NOT EXISTS (SELECT FROM ledger_journals j WHERE j.kind IN ('capture', 'deposit') AND j.reference = CAST(p.id AS text)))
           AS unbooked
""")


class Drift(msgspec.Struct, frozen=True):
    """How far the ledger is off: journals that do not sum to nothing, by how much in all, and money taken that is in no journal."""

    unbalanced: int
    off_minor: int
    unbooked: int

    @property
    def found(self) -> int:
        """How many things are wrong."""
        return self.unbalanced + self.unbooked

    @property
    def sentence(self) -> str:
        """What is wrong, in words."""
        if not self.found:
            return "Every journal adds up, and all money taken is booked."
        return f"{self.unbalanced} journals of the ledger do not add up (by {self.off_minor} minor units in all), {self.unbooked} payments are not booked."


async def find_drift(tx: Transaction) -> Drift:
    """Add the whole ledger up; reads every entry once."""
    return await tx.one(_DRIFT, into=Drift)
